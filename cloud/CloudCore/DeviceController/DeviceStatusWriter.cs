using System.Text.Json.Nodes;
using Edge.Cloud.Observability;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.DeviceController;

/// <summary>Writes what edges report into DeviceStatus objects. Each device has its own writer, in order; the first report is written at
/// once, what comes within <see cref="Interval"/> of a write goes into the next one.</summary>
/// <remarks>A report is confirmed only after it was written, so an edge's durable queue keeps it until then. Values are kept newest per property, so
/// memory is bounded by devices and properties.</remarks>
internal sealed class DeviceStatusWriter(IKubeClient kube, TimeProvider time, Random random, HubMetrics metrics, ILogger logger) : IAsyncDisposable
{
    /// <summary>Shortest time between two writes of one device.</summary>
    public static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(200);

    // Answers that may wait for one write. Beyond, the oldest report goes unanswered and its edge sends it again.
    private const int AnswersMax = 1000;

    private readonly Lock _gate = new();
    private readonly Dictionary<(string Namespace, string Name), Lane> _lanes = [];
    private readonly CancellationTokenSource _stop = new();

    /// <summary>Takes a report about <paramref name="device"/>; <paramref name="confirm"/> is called once it is written, or cannot ever be.</summary>
    public void Report(JsonObject device, DeviceReport report, Action confirm)
    {
        metrics.DeviceReported();
        var key = (report.Namespace, report.Name);
        lock (_gate)
        {
            if (_stop.IsCancellationRequested)
                return;
            if (!_lanes.TryGetValue(key, out var lane) || lane.Uid != device.Uid())
            {
                var before = lane?.Loop ?? Task.CompletedTask;
                _lanes[key] = lane = new Lane(device, before);
            }

            foreach (var (property, twin) in report.Twins)
            {
                if (!lane.Pending.TryGetValue(property, out var entry))
                    lane.Pending[property] = entry = [];
                DeviceReport.Merge(entry, twin);
            }

            if (report.State.Length > 0)
                lane.State = report.State;
            if (report.LastOnlineTime.Length > 0)
                lane.LastOnlineTime = report.LastOnlineTime;
            lane.Answers.Enqueue(confirm);
            if (lane.Answers.Count > AnswersMax)
                lane.Answers.Dequeue();
            if (lane.IsRunning)
                return;
            lane.IsRunning = true;
            var previous = lane.Loop;
            lane.Loop = Task.Run(() => RunAsync(key, lane, previous, _stop.Token));
        }
    }

    /// <summary>Forgets a device that is gone.</summary>
    public void Forget(string @namespace, string name, string uid)
    {
        lock (_gate)
        {
            if (!_lanes.TryGetValue((@namespace, name), out var lane) || lane.Uid != uid)
                return;
            lane.IsForgotten = true;
            if (!lane.IsRunning)
                _lanes.Remove((@namespace, name));
        }
    }

    public async ValueTask DisposeAsync()
    {
        Task[] running;
        lock (_gate)
        {
            running = [.. _lanes.Values.Select(lane => lane.Loop)];
        }

        await _stop.CancelAsync();
        await Task.WhenAll(running);
        _stop.Dispose();
    }

    private async Task RunAsync((string Namespace, string Name) key, Lane lane, Task previous, CancellationToken cancellationToken)
    {
        await previous;
        var failures = 0;
        try
        {
            while (true)
            {
                Batch batch;
                lock (_gate)
                {
                    if (lane.Pending.Count == 0 && lane.State.Length == 0 && lane.LastOnlineTime.Length == 0 && lane.Answers.Count == 0)
                    {
                        lane.IsRunning = false;
                        if (lane.IsForgotten && _lanes.GetValueOrDefault(key) == lane)
                            _lanes.Remove(key);
                        return;
                    }

                    batch = lane.Take();
                }

                var pause = Interval;
                try
                {
                    await WriteAsync(key, lane, batch, cancellationToken);
                    metrics.DeviceWritten();
                    failures = 0;
                    Confirm(batch);
                }
                catch (KubeException e) when (e.Code is >= 400 and < 500 and not (401 or 403 or 408 or 409 or 429))
                {
                    // The API will never take this; asking the edge to send it again would stop its queue.
                    DeviceLog.NotAccepted(logger, key.Namespace, key.Name, e.Message);
                    lane.Status = null;
                    Confirm(batch);
                }
                catch (KubeException e)
                {
                    pause = e.Code == 409 ? TimeSpan.Zero : BackoffAfter(++failures);
                    if (e.Code != 409)
                        DeviceLog.NotWritten(logger, key.Namespace, key.Name, e.Message, pause.TotalSeconds);
                    lane.Status = null;
                    lock (_gate)
                    {
                        lane.PutBack(batch);
                    }
                }

                catch (Exception e) when (e is not OutOfMemoryException && !cancellationToken.IsCancellationRequested)
                {
                    // A defect here must not leave the device with a writer that writes nothing any more.
                    pause = BackoffAfter(++failures);
                    DeviceLog.WriterBroke(logger, key.Namespace, key.Name, pause.TotalSeconds, e);
                    lane.Status = null;
                    lock (_gate)
                    {
                        lane.PutBack(batch);
                    }
                }

                await Task.Delay(pause, time, cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping: what was not confirmed comes again.
        }
    }

    private static void Confirm(Batch batch)
    {
        foreach (var confirm in batch.Answers)
            confirm();
    }

    private TimeSpan BackoffAfter(int failures)
    {
        lock (_gate)
        {
            return TimeSpan.FromSeconds(Math.Min(30, 0.2 * Math.Pow(2, Math.Min(failures, 10))) * (0.5 + (random.NextDouble() / 2)));
        }
    }

    private async Task WriteAsync((string Namespace, string Name) key, Lane lane, Batch batch, CancellationToken cancellationToken)
    {
        lane.Status ??= await LoadAsync(key, lane, cancellationToken);
        var twins = new JsonArray();
        var left = new Dictionary<string, JsonObject>(batch.Twins);
        foreach (var stored in lane.Status.Items("status", "twins"))
        {
            var entry = stored.DeepClone().AsObject();
            if (left.Remove(entry.Text("propertyName"), out var fresh))
                Overlay(entry, fresh);
            twins.Add((JsonNode)entry);
        }

        foreach (var (property, fresh) in left)
        {
            if (twins.Count >= DeviceReport.TwinsMax)
            {
                DeviceLog.TooManyTwins(logger, key.Namespace, key.Name, DeviceReport.TwinsMax);
                break;
            }

            var entry = new JsonObject { ["propertyName"] = property };
            Overlay(entry, fresh);
            twins.Add((JsonNode)entry);
        }

        var status = new JsonObject();
        if (batch.Twins.Count > 0)
            status["twins"] = twins;
        if (batch.State.Length > 0)
            status["state"] = batch.State;
        if (batch.LastOnlineTime.Length > 0)
            status["lastOnlineTime"] = batch.LastOnlineTime;
        // The version makes a write of somebody else a conflict: the array is replaced as a whole.
        var patch = new JsonObject
        {
            ["metadata"] = new JsonObject { ["resourceVersion"] = lane.Status.ResourceVersion() },
            ["status"] = status,
        };
        try
        {
            lane.Status = await kube.PatchAsync(ResourceKind.DeviceStatus, key.Namespace, key.Name, PatchKind.Merge, JsonBytes.Of(patch), "status", cancellationToken);
        }
        catch (KubeException e) when (e.Code == 404)
        {
            // Somebody deleted it since; the next try makes it again.
            throw new KubeException(409, "Conflict", e.Message, inner: e);
        }
    }

    private async Task<JsonObject> LoadAsync((string Namespace, string Name) key, Lane lane, CancellationToken cancellationToken)
    {
        if (await kube.TryGetAsync(ResourceKind.DeviceStatus, key.Namespace, key.Name, cancellationToken) is { } stored)
        {
            // One left by a deleted device of the same name belongs to the garbage collector; a new one follows it.
            var owner = stored.Items("metadata", "ownerReferences").Select(one => one.Text("uid")).FirstOrDefault("");
            if (owner.Length == 0 || owner == lane.Uid)
                return stored;
            await DeleteStaleAsync(key, stored, cancellationToken);
        }

        return await kube.CreateAsync(ResourceKind.DeviceStatus, key.Namespace, new JsonObject
        {
            ["apiVersion"] = ResourceKind.DeviceStatus.ApiVersion,
            ["kind"] = ResourceKind.DeviceStatus.Kind,
            ["metadata"] = new JsonObject
            {
                ["name"] = key.Name,
                ["namespace"] = key.Namespace,
                ["ownerReferences"] = new JsonArray(new JsonObject
                {
                    ["apiVersion"] = ResourceKind.Device.ApiVersion,
                    ["kind"] = ResourceKind.Device.Kind,
                    ["name"] = key.Name,
                    ["uid"] = lane.Uid,
                    ["controller"] = true,
                    ["blockOwnerDeletion"] = true,
                }),
            },
        }, cancellationToken);
    }

    private async Task DeleteStaleAsync((string Namespace, string Name) key, JsonObject stored, CancellationToken cancellationToken)
    {
        try
        {
            await kube.DeleteAsync(ResourceKind.DeviceStatus, key.Namespace, key.Name, new JsonObject
            {
                ["apiVersion"] = "v1",
                ["kind"] = "DeleteOptions",
                ["preconditions"] = new JsonObject { ["uid"] = stored.Uid() },
            }, cancellationToken);
        }
        catch (KubeException e) when (e.Code == 404)
        {
            // The garbage collector was faster.
        }
    }

    private static void Overlay(JsonObject entry, JsonObject fresh)
    {
        foreach (var (side, value) in fresh)
            entry[side] = value!.DeepClone();
    }

    private sealed record Batch(Dictionary<string, JsonObject> Twins, string State, string LastOnlineTime, Queue<Action> Answers);

    private sealed class Lane(JsonObject device, Task loop)
    {
        public string Uid { get; } = device.Uid();

        public Task Loop { get; set; } = loop;

        public bool IsRunning { get; set; }

        /// <summary>The device is gone; the lane goes when it has nothing left to write.</summary>
        public bool IsForgotten { get; set; }

        public Dictionary<string, JsonObject> Pending { get; private set; } = [];

        public string State { get; set; } = "";

        public string LastOnlineTime { get; set; } = "";

        public Queue<Action> Answers { get; private set; } = [];

        /// <summary>The DeviceStatus as last seen; null asks for a fresh look. Only the writer touches it.</summary>
        public JsonObject? Status { get; set; }

        public Batch Take()
        {
            var batch = new Batch(Pending, State, LastOnlineTime, Answers);
            (Pending, State, LastOnlineTime, Answers) = ([], "", "", []);
            return batch;
        }

        /// <summary>Returns what could not be written; what came meanwhile is newer.</summary>
        public void PutBack(Batch batch)
        {
            foreach (var (property, newer) in Pending)
            {
                if (batch.Twins.TryGetValue(property, out var older))
                    Overlay(older, newer);
                else
                    batch.Twins[property] = newer;
            }

            Pending = batch.Twins;
            State = State.Length > 0 ? State : batch.State;
            LastOnlineTime = LastOnlineTime.Length > 0 ? LastOnlineTime : batch.LastOnlineTime;
            foreach (var answer in Answers)
                batch.Answers.Enqueue(answer);
            Answers = batch.Answers;
        }
    }
}

/// <summary>Ids 1100-1119.</summary>
internal static partial class DeviceLog
{
    [LoggerMessage(1100, LogLevel.Warning, "a report of device {Namespace}/{Name} was not accepted by the API and is dropped: {Error}")]
    public static partial void NotAccepted(ILogger logger, string @namespace, string name, string error);

    [LoggerMessage(1101, LogLevel.Warning, "the status of device {Namespace}/{Name} could not be written: {Error}; trying again in {Seconds} s")]
    public static partial void NotWritten(ILogger logger, string @namespace, string name, string error, double seconds);

    [LoggerMessage(1102, LogLevel.Warning, "device {Namespace}/{Name} reports more than {Max} properties; the rest is dropped")]
    public static partial void TooManyTwins(ILogger logger, string @namespace, string name, int max);

    [LoggerMessage(1103, LogLevel.Warning, "node {Node} reported on device {Namespace}/{Name}, which is not its own; refused")]
    public static partial void NotOwn(ILogger logger, string node, string @namespace, string name);

    [LoggerMessage(1104, LogLevel.Warning, "node {Node} sent a device report that cannot be used: {Error}")]
    public static partial void BadReport(ILogger logger, string node, string error);

    [LoggerMessage(1105, LogLevel.Debug, "node {Node} reported on device {Namespace}/{Name}, which is unknown; ignored")]
    public static partial void Unknown(ILogger logger, string node, string @namespace, string name);

    [LoggerMessage(1106, LogLevel.Error, "the writer of device {Namespace}/{Name} met a defect; trying again in {Seconds} s")]
    public static partial void WriterBroke(ILogger logger, string @namespace, string name, double seconds, Exception exception);
}
