using System.Diagnostics.Metrics;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common.Configuration;
using Edge.Common.Storage;
using Edge.Common.Text;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Edge.Protocol.Messages;
using Google.Protobuf;
using Microsoft.Extensions.Logging;

namespace Edge.Core.DeviceTwin;

/// <summary>Runs <see cref="TwinCore"/>: devices from MetaManager down to the mappers, reports from the mappers up to the cloud.
/// One reader of a bounded inbox, so the core needs no lock.</summary>
public sealed class TwinService : IEdgeModule, IDmiManager
{
    private const string Room = "twin";
    internal const int InboxCapacity = 1024;

    // Inputs that share a commit. More would let the first of them wait for the work of the last.
    private const int BatchMax = 256;

    // sun_path of sockaddr_un holds 108 bytes with the closing zero.
    private const int SocketPathMax = 107;

    private static readonly Meter s_meter = new("Edge.Core.DeviceTwin");
    private static readonly Counter<long> s_droppedCounter = s_meter.CreateCounter<long>("edge_twin_reports_dropped", description: "Reported values not taken");

    private readonly string _socketPath;
    private readonly string _nodeName;
    private readonly long _windowMs;
    private readonly IMetaStore _meta;
    private readonly IUplink _uplink;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILoggerFactory _loggers;
    private readonly ILogger _log;
    private readonly List<TwinOutput> _outputs = [];
    private readonly Dictionary<string, MapperLink> _links = new(StringComparer.Ordinal);

    // Rows that the disk refused; they are written with the next batch. Null: the row goes. Bounded by the devices and mappers.
    private readonly Dictionary<string, byte[]?> _unstored = new(StringComparer.Ordinal);

    // Full: the mappers' calls wait, and so does the reading of MetaManager's channel, which coalesces.
    private readonly TwinTraces _traces = new();
    private Channel<Job> _inbox = NewInbox();
    private long _dropped;
    private long _wokenMs; // when the loop's timer comes, ms since the epoch; 0: it is not set

    public TwinService(
        string dmiSockPath, string nodeName, IMetaStore meta, IUplink uplink, TimeProvider time, Random random, ILoggerFactory loggers,
        long windowMs = TwinCore.WindowMs)
    {
        _socketPath = dmiSockPath;
        _windowMs = windowMs;
        _nodeName = nodeName;
        _meta = meta;
        _uplink = uplink;
        _time = time;
        _random = random;
        _loggers = loggers;
        _log = loggers.CreateLogger<TwinService>();
    }

    public TwinService(EdgeServices services)
        : this(
            services.Options.DeviceTwin.DmiSockPath, services.Options.NodeName, services.Meta, services.Uplink, services.Time, services.Random, services.Loggers,
            services.Options.DeviceTwin.ReportWindowMs)
    {
    }

    public string Name => "devicetwin";

    /// <summary>Publishes to the applications at this edge (topic, payload); set before <see cref="RunAsync"/>, null where there is no broker. It must not block.</summary>
    public Action<string, ReadOnlyMemory<byte>>? Publish { get; set; }

    /// <summary>Reported values that were not taken, since the start.</summary>
    public long DroppedCount => Interlocked.Read(ref _dropped);

    /// <summary>Inputs that wait, at most <see cref="InboxCapacity"/>.</summary>
    internal int WaitingCount => _inbox.Reader.Count;

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        PrepareSocket();
        if (_inbox.Reader.Completion.IsCompleted)
            _inbox = NewInbox();
        var core = new TwinCore(_windowMs) { NodeName = _nodeName, PublishesToApps = Publish is not null };
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        GrpcServer? server = null;
        var feed = Task.CompletedTask;
        try
        {
            await RestoreAsync(core, stop.Token);
            server = await GrpcServer.StartAsync(_socketPath, DmiServices.Map(new GrpcMethods(), this), _loggers, stop.Token);
            File.SetUnixFileMode(_socketPath, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite);
            TwinLog.Serving(_log, _socketPath, _meta.List(ResourceTypes.Device).Count, _links.Count);
            feed = FeedAsync(stop.Token);
            await LoopAsync(core, stop.Token);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Asked to stop.
        }
        finally
        {
            await stop.CancelAsync();
            _inbox.Writer.TryComplete();
            while (_inbox.Reader.TryRead(out var job))
                job.Answer?.TrySetException(Stopping());
            if (server is not null)
                await server.DisposeAsync();
            await feed.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            foreach (var link in _links.Values)
                await link.DisposeAsync();
            _links.Clear();
            _outputs.Clear();
        }
    }

    async Task<MapperRegisterResponse> IDmiManager.MapperRegisterAsync(MapperRegisterRequest request, CancellationToken cancellationToken)
        => (MapperRegisterResponse)(await AskAsync(new TwinInput.RegisterMapper(request.Mapper ?? new MapperInfo(), request.WithData, NowMs()), cancellationToken))!;

    async Task<ReportDeviceStatusResponse> IDmiManager.ReportDeviceStatusAsync(ReportDeviceStatusRequest request, CancellationToken cancellationToken)
        => (ReportDeviceStatusResponse)(await AskAsync(new TwinInput.ReportStatus(request, NowMs()), cancellationToken))!;

    async Task<ReportDeviceStatesResponse> IDmiManager.ReportDeviceStatesAsync(ReportDeviceStatesRequest request, CancellationToken cancellationToken)
        => (ReportDeviceStatesResponse)(await AskAsync(new TwinInput.ReportState(request, NowMs()), cancellationToken))!;

    /// <summary>Takes what an application at this edge published on one of the twin's topics; waits while the inbox is full, and completes when what it changed is on disk. What is wrong with
    /// it the application hears on the topic's <c>/result</c>.</summary>
    /// <exception cref="GrpcException">Unavailable: it could not be stored, or the twin is stopping.</exception>
    public Task TakeAppMessageAsync(string topic, ReadOnlyMemory<byte> payload, CancellationToken cancellationToken)
        => AskAsync(new TwinInput.AppMessage(topic, payload, NowMs()), cancellationToken);

    private async Task<IMessage?> AskAsync(TwinInput input, CancellationToken cancellationToken)
    {
        var job = new Job(input, new TaskCompletionSource<IMessage?>());
        try
        {
            await _inbox.Writer.WriteAsync(job, cancellationToken);
        }
        catch (ChannelClosedException)
        {
            throw Stopping();
        }

        return await job.Answer!.Task.WaitAsync(cancellationToken);
    }

    private async Task RestoreAsync(TwinCore core, CancellationToken cancellationToken)
    {
        foreach (var key in core.Restore(_meta.ListLocal(Room), _outputs))
            TwinLog.BadObject(_log, key, "the local row cannot be read; it starts anew");
        foreach (var type in (string[])[ResourceTypes.DeviceModel, ResourceTypes.Device])
            foreach (var one in _meta.List(type))
                if (Read(new MetaChange(one, false)) is { } input)
                    core.Step(input, _outputs);
        core.ForgetOrphans(_outputs);
        await PerformAsync([], cancellationToken);
    }

    private async Task FeedAsync(CancellationToken cancellationToken)
    {
        await foreach (var change in _meta.Subscribe(ResourceTypes.DeviceModel, ResourceTypes.Device).ReadAllAsync(cancellationToken))
            if (Read(change) is { } input)
                await _inbox.Writer.WriteAsync(new Job(input, null) { Trace = change.Trace }, cancellationToken);
    }

    private TwinInput.ObjectChanged? Read(MetaChange change)
    {
        var one = change.Object;
        if (change.Deleted)
            return new TwinInput.ObjectChanged(one.Type, one.Namespace, one.Name, null, NowMs());
        try
        {
            if (JsonText.IsUnicode(one.Json.Span) && StrictJson.Parse(one.Json.Span) is JsonObject node)
                return new TwinInput.ObjectChanged(one.Type, one.Namespace, one.Name, node, NowMs());
            TwinLog.BadObject(_log, one.Key, "it is not a JSON object of valid Unicode");
        }
        catch (JsonException e)
        {
            TwinLog.BadObject(_log, one.Key, e.Message);
        }

        return null;
    }

    private async Task LoopAsync(TwinCore core, CancellationToken cancellationToken)
    {
        var jobs = new List<Job>(BatchMax);
        // The inbox may be full: then there is work to do, and the window is looked at after it.
        await using var timer = _time.CreateTimer(
            _ => _inbox.Writer.TryWrite(new Job(new TwinInput.Tick(NowMs()), null)), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _wokenMs = 0;
        while (await WaitAsync(timer, core, cancellationToken))
        {
            var isOver = false;
            while (jobs.Count < BatchMax && _inbox.Reader.TryRead(out var job))
                jobs.Add(job);
            var answers = new List<(Job Job, TwinOutput? Answer)>(jobs.Count);
            try
            {
                foreach (var job in jobs)
                {
                    if (job.Input is TwinInput.Tick)
                    {
                        isOver = true;
                        continue;
                    }

                    var from = _outputs.Count;
                    core.Step(job.Input, _outputs);
                    _traces.Follow(job.Input, job.Trace, _outputs, from);
                    answers.Add((job, AnswerOf(from)));
                }

                if (isOver)
                    _wokenMs = 0;
                if (isOver || core.NextTickMs <= NowMs())
                    core.Step(new TwinInput.Tick(NowMs()), _outputs);
                await PerformAsync(answers, cancellationToken);
            }
            catch (Exception e)
            {
                // The callers must not wait for answers that will not come; the module's own end is decided above.
                foreach (var job in jobs)
                    job.Answer?.TrySetException(e is OperationCanceledException ? Stopping() : new GrpcException(GrpcStatusCode.Internal, e.Message, e));
                throw;
            }

            jobs.Clear();
        }
    }

    private TwinOutput? AnswerOf(int from)
    {
        for (var i = from; i < _outputs.Count; i++)
        {
            if (_outputs[i] is TwinOutput.Answer or TwinOutput.Refuse)
                return _outputs[i];
        }

        return null;
    }

    // True when there is something to do: an input, or a window that is over, which the timer makes an input too. With a thousand devices some window ends every millisecond; the timer is set
    // anew only where it would come too late.
    private ValueTask<bool> WaitAsync(ITimer timer, TwinCore core, CancellationToken cancellationToken)
    {
        if (_inbox.Reader.TryPeek(out _))
            return new ValueTask<bool>(true);
        if (core.NextTickMs is { } due && NowMs() is var now && !(_wokenMs > now && _wokenMs <= due))
        {
            var waitMs = Math.Clamp(due - now, 0, TwinCore.RefreshMs);
            _wokenMs = now + waitMs;
            timer.Change(TimeSpan.FromMilliseconds(waitMs), Timeout.InfiniteTimeSpan);
        }

        return _inbox.Reader.WaitToReadAsync(cancellationToken);
    }

    // Stores and queues for the cloud in one commit; then tells the mappers and the applications, then answers. The writer of the database takes its jobs in order, so no
    // entry of the queue is on the disk before the rows that it tells of.
    private async Task PerformAsync(List<(Job Job, TwinOutput? Answer)> answers, CancellationToken cancellationToken)
    {
        var entries = Entries(); // made before, so that nothing lies between the two but the calls themselves
        var storing = StoreAsync(cancellationToken);
        var sending = PostAsync(entries, cancellationToken);
        await Task.WhenAll(storing, sending);
        var failure = await sending ?? await storing;
        foreach (var output in _outputs)
        {
            switch (output)
            {
                case TwinOutput.MapperChanged(var mapper, var delivered):
                    await LinkAsync(mapper, delivered);
                    break;
                case TwinOutput.MapperForgotten(var gone):
                    TwinLog.MapperForgotten(_log, gone.Name, gone.Protocol);
                    if (_links.Remove(gone.Name, out var link))
                        await link.DisposeAsync();
                    break;
                case TwinOutput.Deliver(var mapper, var call):
                    _links.GetValueOrDefault(mapper)?.Post(call);
                    break;
                case TwinOutput.Publish(var topic, var payload):
                    Publish?.Invoke(topic, payload);
                    break;
                case TwinOutput.Dropped(var device, var property, var reason):
                    s_droppedCounter.Add(1, new KeyValuePair<string, object?>("node", _nodeName));
                    TwinLog.Dropped(_log, device, property, reason, Interlocked.Increment(ref _dropped));
                    break;
                case TwinOutput.WaitsForModel(var device, var model):
                    TwinLog.WaitsForModel(_log, device, model);
                    break;
                case TwinOutput.Conflict(var device, var property, var text):
                    TwinLog.Conflict(_log, device, property, text);
                    break;
            }
        }

        _outputs.Clear();
        if (answers.Count > 0)
            ThreadPool.UnsafeQueueUserWorkItem(static batch => Answer(batch.answers, batch.failure), (answers, failure), preferLocal: false);
    }

    // Beside the next batch; the callers go on one after the other on this thread, since to wake one for each costs more than what they then do.
    private static void Answer(List<(Job Job, TwinOutput? Answer)> answers, string? failure)
    {
        foreach (var (job, answer) in answers)
        {
            if (answer is TwinOutput.Refuse(var code, var reason))
                job.Answer?.TrySetException(new GrpcException(code, reason));
            else if (failure is not null)
                job.Answer?.TrySetException(new GrpcException(GrpcStatusCode.Unavailable, failure));
            else if (answer is TwinOutput.Answer(var message))
                job.Answer?.TrySetResult(message);
            else
                job.Answer?.TrySetResult(null);
        }
    }

    // Why something could not be stored, or null. It is tried again with the next batch, whatever that is about.
    private async Task<string?> StoreAsync(CancellationToken cancellationToken)
    {
        foreach (var output in _outputs)
        {
            if (output is TwinOutput.Persist(var key, var row))
                _unstored[key] = row;
            else if (output is TwinOutput.Forget(var gone))
                _unstored[gone] = null;
        }

        if (_unstored.Count == 0)
            return null;
        try
        {
            await _meta.ChangeLocalAsync(Room, [.. _unstored], cancellationToken);
            _unstored.Clear();
            return null;
        }
        catch (Exception e) when (e is StoreException)
        {
            TwinLog.NotStored(_log, e.Message);
            return $"the device twin cannot be stored on this node: {e.Message}";
        }
    }

    // Within a batch the newest twin and state of a device stand for the older ones; every sample goes.
    private List<UplinkEntry> Entries()
    {
        var newest = new Dictionary<string, TwinOutput>(StringComparer.Ordinal);
        Dictionary<(string Namespace, string Name, string Uid), List<TwinOutput.SendSample>>? samples = null;
        foreach (var output in _outputs)
        {
            switch (output)
            {
                case TwinOutput.SendTwin twin: newest[$"twin/{twin.Namespace}/{twin.Name}"] = twin; break;
                case TwinOutput.SendState state: newest[$"state/{state.Namespace}/{state.Name}"] = state; break;
                case TwinOutput.SendSample sample:
                    var key = (sample.Namespace, sample.Name, sample.Uid);
                    if (!(samples ??= []).TryGetValue(key, out var list))
                        samples[key] = list = [];
                    list.Add(sample);
                    break;
            }
        }

        var entries = new List<UplinkEntry>(newest.Count + (samples?.Count ?? 0));
        var now = NowMs();
        foreach (var (key, output) in newest)
        {
            if (output is TwinOutput.SendTwin twin)
            {
                entries.Add(Entry(key, UplinkRule.Newest, $"device/{twin.Namespace}/{twin.Name}/twin/edge_updated", TwinPayload.Twin(NewId(), now, twin)) with
                {
                    Trace = _traces.TakeReport(twin.Namespace, twin.Name),
                });
            }
            else if (output is TwinOutput.SendState state)
            {
                TwinLog.State(_log, $"{state.Namespace}/{state.Name}", state.State);
                entries.Add(Entry(key, UplinkRule.Newest, $"device/{state.Namespace}/{state.Name}/state/update", TwinPayload.State(NewId(), now, state)));
            }
        }

        foreach (var ((space, name, uid), list) in samples ?? [])
        {
            foreach (var part in TwinPayload.Parts(list))
            {
                var id = NewId();
                entries.Add(Entry($"history/{space}/{name}/{id}", UplinkRule.Every, $"device/{space}/{name}/twin/edge_updated", TwinPayload.History(id, now, uid, part)));
            }
        }

        return entries;
    }

    private static UplinkEntry Entry(string key, UplinkRule rule, string resource, ReadOnlyMemory<byte> content)
        => new(key, UplinkPriority.Twin, rule, Sources.Twin, Groups.Resource, Operations.Update, resource, content);

    // Why something could not be queued, or null.
    private async Task<string?> PostAsync(List<UplinkEntry> entries, CancellationToken cancellationToken)
    {
        try
        {
            if (entries.Count > 0)
                await _uplink.PostAsync(entries, cancellationToken);
            return null;
        }
        catch (Exception e) when (e is StoreException)
        {
            TwinLog.NotStored(_log, e.Message);
            return $"the report cannot be queued on this node: {e.Message}";
        }
    }

    private async Task LinkAsync(MapperInfo mapper, IReadOnlyList<MapperCall> delivered)
    {
        var address = Encoding.UTF8.GetString(mapper.Address.Span);
        if (_links.TryGetValue(mapper.Name, out var link) && link.Address != address)
        {
            _links.Remove(mapper.Name);
            await link.DisposeAsync();
            link = null;
        }

        if (link is null)
        {
            TwinLog.MapperRegistered(_log, mapper.Name, mapper.Protocol, mapper.Version, address, delivered.Count);
            if (address.Length == 0)
                return;
            link = _links[mapper.Name] = new MapperLink(mapper.Name, address, _time, _random, _log, isAlive => Seen(mapper.Name, isAlive), (call, reason, stop) => EndedAsync(mapper.Name, call, reason, stop));
        }

        link.Reset(delivered);
    }

    // The inbox may be full: then the link says it again with its next look.
    private bool Seen(string mapper, bool isAlive) => _inbox.Writer.TryWrite(new Job(new TwinInput.MapperSeen(mapper, isAlive, NowMs()), null));

    private async ValueTask EndedAsync(string mapper, MapperCall call, string reason, CancellationToken cancellationToken)
    {
        try
        {
            await _inbox.Writer.WriteAsync(new Job(new TwinInput.CallEnded(mapper, call, reason, NowMs()), null), cancellationToken);
        }
        catch (ChannelClosedException)
        {
            // Stopping.
        }
    }

    private void PrepareSocket()
    {
        if (Encoding.UTF8.GetByteCount(_socketPath) > SocketPathMax)
            throw new ConfigException([$"modules.deviceTwin.dmiSockPath: {_socketPath} is longer than the {SocketPathMax} bytes a unix socket's path may have"]);
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(_socketPath))!);
        if (!File.Exists(_socketPath))
            return;
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(_socketPath));
        }
        catch (SocketException)
        {
            // Nobody listens: left by a process that was killed.
            File.Delete(_socketPath);
            return;
        }

        throw new ConfigException([$"modules.deviceTwin.dmiSockPath: {_socketPath} is served by another process; stop it, or choose another path"]);
    }

    private long NowMs() => _time.GetUtcNow().ToUnixTimeMilliseconds();

    private string NewId()
    {
        Span<byte> bytes = stackalloc byte[16];
        lock (_random)
            _random.NextBytes(bytes);
        bytes[7] = (byte)(bytes[7] & 0x0F | 0x40); // version 4
        bytes[8] = (byte)(bytes[8] & 0x3F | 0x80); // variant 1
        return new Guid(bytes).ToString();
    }

    private static GrpcException Stopping() => new(GrpcStatusCode.Unavailable, "EdgeCore's device twin is stopping");

    private static Channel<Job> NewInbox()
        => Channel.CreateBounded<Job>(new BoundedChannelOptions(InboxCapacity) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });

    private sealed record Job(TwinInput Input, TaskCompletionSource<IMessage?>? Answer)
    {
        /// <summary>The place in a trace of what the input tells, or null.</summary>
        public string? Trace { get; init; }
    }
}
