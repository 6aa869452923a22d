using System.Diagnostics.Metrics;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common.Configuration;
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
    private const int InboxCapacity = 1024;

    // sun_path of sockaddr_un holds 108 bytes with the closing zero.
    private const int SocketPathMax = 107;

    private static readonly Meter s_meter = new("Edge.Core.DeviceTwin");
    private static readonly Counter<long> s_droppedCounter = s_meter.CreateCounter<long>("edge_twin_reports_dropped", description: "Reported values not taken");

    private readonly string _socketPath;
    private readonly string _nodeName;
    private readonly IMetaStore _meta;
    private readonly IUplink _uplink;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILoggerFactory _loggers;
    private readonly ILogger _log;
    private readonly List<TwinOutput> _outputs = [];
    private readonly Dictionary<string, MapperLink> _links = new(StringComparer.Ordinal);

    // Full: the mappers' calls wait, and so does the reading of MetaManager's channel, which coalesces.
    private Channel<Job> _inbox = NewInbox();
    private long _dropped;

    public TwinService(
        string dmiSockPath, string nodeName, IMetaStore meta, IUplink uplink, TimeProvider time, Random random, ILoggerFactory loggers)
    {
        _socketPath = dmiSockPath;
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
            services.Options.DeviceTwin.DmiSockPath, services.Options.NodeName, services.Meta, services.Uplink, services.Time, services.Random, services.Loggers)
    {
    }

    public string Name => "devicetwin";

    /// <summary>Reported values that were not taken, since the start.</summary>
    public long DroppedCount => Interlocked.Read(ref _dropped);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        PrepareSocket();
        _inbox = NewInbox();
        var core = new TwinCore();
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
            await foreach (var job in _inbox.Reader.ReadAllAsync(stop.Token))
                await HandleAsync(core, job, stop.Token);
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
        => (MapperRegisterResponse)await AskAsync(new TwinInput.RegisterMapper(request.Mapper ?? new MapperInfo(), request.WithData), cancellationToken);

    async Task<ReportDeviceStatusResponse> IDmiManager.ReportDeviceStatusAsync(ReportDeviceStatusRequest request, CancellationToken cancellationToken)
        => (ReportDeviceStatusResponse)await AskAsync(new TwinInput.ReportStatus(request, NowMs()), cancellationToken);

    async Task<ReportDeviceStatesResponse> IDmiManager.ReportDeviceStatesAsync(ReportDeviceStatesRequest request, CancellationToken cancellationToken)
        => (ReportDeviceStatesResponse)await AskAsync(new TwinInput.ReportState(request, NowMs()), cancellationToken);

    private async Task<IMessage> AskAsync(TwinInput input, CancellationToken cancellationToken)
    {
        var job = new Job(input, new TaskCompletionSource<IMessage>(TaskCreationOptions.RunContinuationsAsynchronously));
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
        await PerformAsync(null, cancellationToken);
    }

    private async Task FeedAsync(CancellationToken cancellationToken)
    {
        await foreach (var change in _meta.Subscribe(ResourceTypes.DeviceModel, ResourceTypes.Device).ReadAllAsync(cancellationToken))
            if (Read(change) is { } input)
                await _inbox.Writer.WriteAsync(new Job(input, null), cancellationToken);
    }

    private TwinInput.ObjectChanged? Read(MetaChange change)
    {
        var one = change.Object;
        if (change.Deleted)
            return new TwinInput.ObjectChanged(one.Type, one.Namespace, one.Name, null);
        try
        {
            if (JsonNode.Parse(one.Json.Span) is JsonObject node)
                return new TwinInput.ObjectChanged(one.Type, one.Namespace, one.Name, node);
            TwinLog.BadObject(_log, one.Key, "it is not a JSON object");
        }
        catch (JsonException e)
        {
            TwinLog.BadObject(_log, one.Key, e.Message);
        }

        return null;
    }

    private async Task HandleAsync(TwinCore core, Job job, CancellationToken cancellationToken)
    {
        try
        {
            core.Step(job.Input, _outputs);
            await PerformAsync(job.Answer, cancellationToken);
        }
        catch (Exception e)
        {
            // The caller must not wait for an answer that will not come; the module's own end is decided above.
            job.Answer?.TrySetException(e is OperationCanceledException ? Stopping() : new GrpcException(GrpcStatusCode.Internal, e.Message, e));
            throw;
        }
    }

    private async Task PerformAsync(TaskCompletionSource<IMessage>? answer, CancellationToken cancellationToken)
    {
        foreach (var output in _outputs)
        {
            switch (output)
            {
                case TwinOutput.Persist(var key, var row):
                    await _meta.PutLocalAsync(Room, key, row, cancellationToken);
                    break;
                case TwinOutput.Forget(var key):
                    await _meta.DeleteLocalAsync(Room, key, cancellationToken);
                    break;
                case TwinOutput.SendTwin(var space, var name, var properties):
                    await PostAsync(
                        $"twin/{space}/{name}", $"device/{space}/{name}/twin/edge_updated", TwinPayload.Twin(NewId(), NowMs(), properties), cancellationToken);
                    break;
                case TwinOutput.SendState(var space, var name, var state, var lastOnline):
                    TwinLog.State(_log, $"{space}/{name}", state);
                    await PostAsync(
                        $"state/{space}/{name}", $"device/{space}/{name}/state/update", TwinPayload.State(NewId(), NowMs(), name, state, lastOnline), cancellationToken);
                    break;
                case TwinOutput.MapperChanged(var mapper, var delivered):
                    await LinkAsync(mapper, delivered);
                    break;
                case TwinOutput.Deliver(var mapper, var call):
                    _links.GetValueOrDefault(mapper)?.Post(call);
                    break;
                case TwinOutput.Answer(var message):
                    answer?.TrySetResult(message);
                    break;
                case TwinOutput.Refuse(var code, var reason):
                    answer?.TrySetException(new GrpcException(code, reason));
                    break;
                case TwinOutput.Dropped(var device, var property, var reason):
                    s_droppedCounter.Add(1, new KeyValuePair<string, object?>("node", _nodeName));
                    TwinLog.Dropped(_log, device, property, reason, Interlocked.Increment(ref _dropped));
                    break;
                case TwinOutput.WaitsForModel(var device, var model):
                    TwinLog.WaitsForModel(_log, device, model);
                    break;
            }
        }

        _outputs.Clear();
    }

    // Newest: an unanswered older twin of the device is replaced, since each message has all its properties.
    private ValueTask PostAsync(string key, string resource, ReadOnlyMemory<byte> content, CancellationToken cancellationToken)
        => _uplink.PostAsync(
            new UplinkEntry(key, UplinkPriority.Twin, UplinkRule.Newest, Sources.Twin, Groups.Resource, Operations.Update, resource, content), cancellationToken);

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
            link = _links[mapper.Name] = new MapperLink(mapper.Name, address, _time, _random, _log);
        }

        link.Reset(delivered);
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

    private sealed record Job(TwinInput Input, TaskCompletionSource<IMessage>? Answer);
}
