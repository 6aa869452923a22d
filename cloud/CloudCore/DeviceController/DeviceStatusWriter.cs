using System.Diagnostics;
using System.Text.Json.Nodes;
using Edge.Cloud.Observability;
using Edge.Common.Tracing;
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

    // Also where the clock was set back in between.
    private static readonly TimeSpan s_pauseMax = TimeSpan.FromSeconds(30);

    private readonly Lock _gate = new();
    private readonly Dictionary<(string Namespace, string Name), DeviceLane> _lanes = [];
    private readonly CancellationTokenSource _stop = new();

    /// <summary>Takes a report about <paramref name="device"/>; <paramref name="confirm"/> is called once it is written, or cannot ever be.</summary>
    /// <param name="problems">What is wrong with the device as far as it shows here.</param>
    public void Report(DeviceFacts device, DeviceReport report, IReadOnlyList<string> problems, Action confirm)
    {
        metrics.DeviceReported();
        lock (_gate)
        {
            if (_stop.IsCancellationRequested)
                return;
            var lane = LaneOf(device);
            lane.Add(report, problems, confirm);
            lane.Trace = EdgeTrace.Current ?? lane.Trace;
            Run((report.Namespace, report.Name), lane);
        }
    }

    /// <summary>Writes what is wrong with a device, as far as it shows here.</summary>
    public void Complain(DeviceFacts device, IReadOnlyList<string> problems)
    {
        lock (_gate)
        {
            if (_stop.IsCancellationRequested)
                return;
            var lane = LaneOf(device);
            lane.Add(problems);
            Run((device.Namespace, device.Name), lane);
        }
    }

    /// <summary>A Device changed: what a node that no longer has it still had to say of it is not written any more.</summary>
    public void Changed(DeviceFacts device)
    {
        lock (_gate)
        {
            if (_lanes.TryGetValue((device.Namespace, device.Name), out var lane) && lane.Uid == device.Uid)
                lane.Device = device;
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

    // The lane of a device that was deleted and made again starts when the old one's is done.
    private DeviceLane LaneOf(DeviceFacts device)
    {
        var key = (device.Namespace, device.Name);
        if (!_lanes.TryGetValue(key, out var lane) || lane.Uid != device.Uid)
            _lanes[key] = lane = new DeviceLane(device, lane?.Loop ?? Task.CompletedTask);
        lane.Device = device;
        return lane;
    }

    private void Run((string Namespace, string Name) key, DeviceLane lane)
    {
        if (lane.IsRunning)
            return;
        lane.IsRunning = true;
        var previous = lane.Loop;
        lane.Loop = RunAsync(key, lane, previous, _stop.Token);
    }

    // Ends when nothing waits: a device that reports once a second has no task and no timer in between, and what it reported is held by nobody.
    private async Task RunAsync((string Namespace, string Name) key, DeviceLane lane, Task previous, CancellationToken cancellationToken)
    {
        await Task.Yield(); // out of the caller's lock
        await previous;
        var failures = 0;
        try
        {
            while (true)
            {
                lock (_gate)
                {
                    if (lane.IsIdle)
                    {
                        lane.IsRunning = false;
                        lane.Loop = Task.CompletedTask;
                        if (lane.IsForgotten && _lanes.GetValueOrDefault(key) == lane)
                            _lanes.Remove(key);
                        return;
                    }
                }

                if (lane.NotBefore - time.GetUtcNow() is var early && early > TimeSpan.Zero)
                    await Task.Delay(early < s_pauseMax ? early : s_pauseMax, time, cancellationToken);
                failures = await TryWriteAsync(key, lane, failures, cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping: what was not confirmed comes again.
        }
    }

    // Writes what waits, or puts it back; sets when the next write may be. Returns how many writes in a row have failed now.
    private async Task<int> TryWriteAsync((string Namespace, string Name) key, DeviceLane lane, int failures, CancellationToken cancellationToken)
    {
        DeviceBatch batch;
        string? trace;
        lock (_gate)
        {
            batch = lane.Take();
            (trace, lane.Trace) = (lane.Trace, null);
        }

        var pause = Interval;
        try
        {
            using (EdgeTrace.Continue("write DeviceStatus", ActivityKind.Client, trace))
                await WriteAsync(key, lane, batch, cancellationToken);
            metrics.DeviceWritten();
            failures = 0;
            Confirm(batch);
        }
        catch (KubeException e) when (e.Code is >= 400 and < 500 and not (401 or 403 or 408 or 409 or 429))
        {
            // The API will never take this; asking the edge to send it again would stop its queue.
            DeviceLog.NotAccepted(logger, key.Namespace, key.Name, e.Message);
            lane.Status = default;
            await TellRefusalAsync(key, lane, batch, e, cancellationToken);
            Confirm(batch);
        }
        catch (KubeException e)
        {
            pause = e.Code == 409 ? TimeSpan.Zero : BackoffAfter(++failures);
            if (e.Code != 409)
                DeviceLog.NotWritten(logger, key.Namespace, key.Name, e.Message, pause.TotalSeconds);
            PutBack(lane, batch);
        }
        catch (Exception e) when (e is not OutOfMemoryException && !cancellationToken.IsCancellationRequested)
        {
            // A defect here must not leave the device with a writer that writes nothing any more.
            pause = BackoffAfter(++failures);
            DeviceLog.WriterBroke(logger, key.Namespace, key.Name, pause.TotalSeconds, e);
            PutBack(lane, batch);
        }

        lane.NotBefore = time.GetUtcNow() + pause;
        return failures;
    }

    // The device's user learns from its status that values are missing in it, and why.
    private async Task TellRefusalAsync((string Namespace, string Name) key, DeviceLane lane, DeviceBatch refused, KubeException refusal, CancellationToken cancellationToken)
    {
        try
        {
            var text = $"the last report is left out, the API refused it: {refusal.Message}";
            await WriteAsync(key, lane, new DeviceBatch([], [], refused.State, refused.LastOnlineTime, [.. refused.CloudProblems ?? [], Short(text)], refused.EdgeProblems, []), cancellationToken);
            lock (_gate)
                lane.ForgetProblems();
        }
        catch (Exception e) when (e is not OutOfMemoryException && !cancellationToken.IsCancellationRequested)
        {
            DeviceLog.NotAccepted(logger, key.Namespace, key.Name, e.Message);
            lane.Status = default;
        }
    }

    private static string Short(string text) => text.Length <= DeviceReport.ProblemLengthMax ? text : text[..DeviceReport.ProblemLengthMax];

    private void PutBack(DeviceLane lane, DeviceBatch batch)
    {
        lane.Status = default;
        lock (_gate)
            lane.PutBack(batch);
    }

    private static void Confirm(DeviceBatch batch)
    {
        foreach (var confirm in batch.Answers)
            confirm();
    }

    private TimeSpan BackoffAfter(int failures)
    {
        lock (_gate)
        {
            return TimeSpan.FromSeconds(Math.Min(s_pauseMax.TotalSeconds, 0.2 * Math.Pow(2, Math.Min(failures, 10))) * (0.5 + (random.NextDouble() / 2)));
        }
    }

    private async Task WriteAsync((string Namespace, string Name) key, DeviceLane lane, DeviceBatch batch, CancellationToken cancellationToken)
    {
        if (lane.Status.IsEmpty)
            lane.Status = JsonBytes.Of(await LoadAsync(key, lane, cancellationToken));
        var patch = DeviceStatusPatch.Of(lane.Status, lane.Device, batch, out var isFull);
        if (isFull)
            DeviceLog.TooManyTwins(logger, key.Namespace, key.Name, DeviceReport.TwinsMax);
        try
        {
            lane.Status = await kube.PatchForBytesAsync(ResourceKind.DeviceStatus, key.Namespace, key.Name, PatchKind.Merge, patch, "status", cancellationToken);
        }
        catch (KubeException e) when (e.Code == 404)
        {
            // Somebody deleted it since; the next try makes it again.
            throw new KubeException(409, "Conflict", e.Message, inner: e);
        }
    }

    private async Task<JsonObject> LoadAsync((string Namespace, string Name) key, DeviceLane lane, CancellationToken cancellationToken)
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
}
