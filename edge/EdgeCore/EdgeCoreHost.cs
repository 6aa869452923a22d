using System.Text.Json.Nodes;
using Edge.Common;
using Edge.Common.Configuration;
using Edge.Common.Metrics;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Core.Edged.LocalApi;
using Edge.Core.EdgeDns;
using Edge.Core.EdgeHub;
using Edge.Core.EdgeStream;
using Edge.Core.EventBus;
using Edge.Core.MetaManager;
using Edge.Core.MetaManager.MetaServer;
using Edge.Core.NodeStatus;
using Edge.Core.ServiceBus;
using Edge.Core.TaskManager;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Core;

/// <summary>One whole EdgeCore: store, link, node, and the modules that were added. Several can live in one process.</summary>
/// <example><code>
/// await using var edge = new EdgeCoreHost(options, TimeProvider.System, new Random(), loggers);
/// edge.AddPods(services => new EdgedModule(services)); edge.AddModule(services => new TwinModule(services));
/// await edge.RunAsync(stop.Token);
/// </code></example>
public sealed class EdgeCoreHost : IAsyncDisposable
{
    private static readonly TimeSpan s_stopDeadline = TimeSpan.FromSeconds(4);
    private readonly EdgeCoreOptions _options;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILoggerFactory _loggers;
    private readonly ILogger _log;
    private readonly Lock _portsGate = new();
    private EventBusService? _eventBus;
    private EdgeDnsModule? _edgeDns;
    private ServiceBusModule? _serviceBus;
    private readonly SqliteDatabase _database;
    private readonly HubService _hub;
    private readonly MetaService _meta;
    private readonly EdgeServices _services;
    private readonly List<IEdgeModule> _modules = [];
    private readonly Func<NodeFacts> _readFacts;
    private readonly LocalApiModule? _localApi;
    private readonly MetaServerModule? _metaServer;
    private readonly ModuleHealth _health;
    private readonly MeterText _meters = new();
    private IRuntimeState? _runtime;
    private readonly Readiness _readiness;
    private readonly TaskService _tasks;
    private readonly TaskCompletionSource _restart = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private IPodModule? _pods;
    private ITwinMessages? _twin;

    /// <summary>Opens the store.</summary>
    /// <exception cref="StoreException">The database cannot be opened.</exception>
    public EdgeCoreHost(EdgeCoreOptions options, TimeProvider time, Random random, ILoggerFactory loggers)
        : this(options, time, random, loggers, () => NodeFacts.Read(options.Edged))
    {
    }

    internal EdgeCoreHost(EdgeCoreOptions options, TimeProvider time, Random random, ILoggerFactory loggers, Func<NodeFacts> readFacts)
    {
        _options = options;
        _time = time;
        _random = random;
        _loggers = loggers;
        _readFacts = readFacts;
        _log = loggers.CreateLogger("EdgeCore");
        _health = new ModuleHealth(time);
        _readiness = new Readiness(time);
        _database = EdgeDatabase.Open(options.MetaManager.DatabasePath, time);
        _hub = new HubService(options, _database, time, random, loggers);
        _meta = new MetaService(options.MetaManager, _database, _hub, time, loggers);
        _services = new EdgeServices(options, _meta, _hub, time, random, loggers) { Answer = AnswerAsync, InCluster = () => _metaServer?.InCluster };
        _hub.UserAsked = UserAsked;
        _tasks = new TaskService(_services, () => _restart.TrySetResult());
        _modules.Add(_tasks);
        _hub.TaskAsked = message =>
        {
            if (!_tasks.TryTake(message))
                TaskLog.NotTaken(_log, message.Resource, "too many tasks wait");
        };
        if (options.Edged.Enable && options.LocalApi.Enable)
            _localApi = new LocalApiModule(_services, () => MetricsServer.Text(_hub, _database.QueueDepth));
        if (options.MetaManager.MetaServer.Enable)
        {
            _metaServer = new MetaServerModule(_services, _meta, _hub, () => _localApi?.At?.Token) { LocalApi = () => _localApi?.At };
            _hub.ApplicationAnswered = _metaServer.Receive;
        }

        if (options.EdgeHub.Enable && options.EdgeStream.Enable)
            _modules.Add(new EdgeStreamModule(_services, _hub, () => _localApi?.At));
        if (options.EdgeHub.Enable && options.EdgeStream is { Enable: true, Server.Length: > 0 })
            _modules.Add(new TunnelModule(_services, _hub, () => _localApi?.At));
    }

    /// <summary>Raised once, when the first connection to CloudCore stands; the texts are the node's name and the server.</summary>
    public event Action<string, string>? Ready;

    /// <summary>True when <see cref="RunAsync"/> ended because the config has changed: the caller reads it again and runs another host.</summary>
    public bool IsRestartWanted => _restart.Task.IsCompleted;

    public IMetaStore Meta => _meta;

    public IUplink Uplink => _hub;

    /// <summary>Port of /metrics and /healthz; 0 while not served.</summary>
    public int MetricsPort { get; private set; }

    /// <summary>Port of Edged's local API; 0 while not served.</summary>
    public int LocalApiPort => _localApi?.Port ?? 0;

    /// <summary>Adds Edged. Call before <see cref="RunAsync"/>, and only when modules.edged.enable is true.</summary>
    public void AddPods(Func<EdgeServices, IPodModule> make)
    {
        _pods = make(_services);
        _modules.Add(_pods);
    }

    /// <summary>Adds another module; one that implements <see cref="ITwinMessages"/> also gets the messages of group twin.</summary>
    public void AddModule(Func<EdgeServices, IEdgeModule> make)
    {
        var module = make(_services);
        _modules.Add(module);
        _twin = module as ITwinMessages ?? _twin;
    }

    /// <summary>Adds the MQTT side of this edge; its port goes into edgecore.ports.json.</summary>
    public void AddEventBus(Func<EdgeServices, EventBusService> make) => AddModule(services => _eventBus = make(services));

    /// <summary>Adds HTTP for rules; its port goes into edgecore.ports.json.</summary>
    public void AddServiceBus(Func<EdgeServices, ServiceBusModule> make) => AddModule(services => _serviceBus = make(services));

    /// <summary>Adds the resolver; where it listens goes into edgecore.ports.json.</summary>
    public void AddEdgeDns(Func<EdgeServices, EdgeDnsModule> make) => AddModule(services => _edgeDns = make(services));

    /// <summary>Runs until cancelled or <see cref="IsRestartWanted"/>, then stops everything within 5 s; running containers stay.</summary>
    /// <exception cref="ConfigException">Something only another configuration can mend, e.g. no certificate and no token.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        EdgeCoreLog.Starting(_log, _options.NodeName, _options.MetaManager.DatabasePath, _options.EdgeHub.Server);
        foreach (var note in _options.Notes)
            EdgeCoreLog.Note(_log, note);
        if (_options.Edged.Enable && !File.Exists(_options.Edged.RuntimeSocketPath))
            EdgeCoreLog.NoRuntime(_log, _options.Edged.RuntimeSocketPath);

        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var runtime = _runtime = !_options.Edged.Enable ? null : _pods?.Runtime ?? new RuntimeSocket(_options.Edged);
        // Not the link: an edge without its cloud does all its work.
        _readiness.Add("store", _database.WriteProblemAsync);
        if (runtime is not null)
            _readiness.Add("runtime", () => runtime.Current is { Ready: false } state ? state.Message : null);
        _readiness.Add("modules", _health.Problem);
        var metrics = await StartMetricsAsync(cancellationToken);
        if (_localApi is not null)
        {
            _localApi.Listening = WritePorts;
            await _localApi.TryStartAsync(cancellationToken);
        }

        if (_metaServer is not null)
        {
            _metaServer.Listening = WritePorts;
            await _metaServer.TryStartAsync(cancellationToken);
        }

        if (_eventBus is not null)
            _eventBus.Listening = WritePorts;
        if (_edgeDns is not null)
            _edgeDns.Listening = WritePorts;
        if (_serviceBus is not null)
            _serviceBus.Listening = WritePorts;
        WritePorts();
        var node = new NodeService(_options, _meta, _hub, runtime, () => _pods?.ReportAll(), _readFacts, _time, _random, _loggers);
        var running = new List<(string Name, Task Task)>();
        foreach (var module in _modules)
            running.Add((module.Name, KeepRunningAsync(module.Name, module.RunAsync, stop.Token)));
        if (_localApi is not null)
            running.Add((_localApi.Name, KeepRunningAsync(_localApi.Name, _localApi.RunAsync, stop.Token)));
        if (_metaServer is not null)
            running.Add((_metaServer.Name, KeepRunningAsync(_metaServer.Name, _metaServer.RunAsync, stop.Token)));
        running.Add(("nodestatus", KeepRunningAsync("nodestatus", node.RunAsync, stop.Token)));
        if (_options.EdgeHub.Enable)
            running.Add(("edgehub", KeepRunningAsync("edgehub", token => _hub.RunAsync(_meta, _twin, token), stop.Token)));
        running.Add(("restart", RestartWantedAsync(stop.Token)));
        running.Add(("ready", AnnounceAsync(stop.Token)));
        try
        {
            // Only cancellation ends these in order; a ConfigException ends one early, and then all.
            var waiting = running.Where(one => one.Name != "ready").Select(one => one.Task).ToArray();
            await await Task.WhenAny(waiting);
        }
        finally
        {
            EdgeCoreLog.Stopping(_log);
            await stop.CancelAsync();
            await Task.WhenAll(running.Select(one => AwaitStopAsync(one.Name, one.Task)));
            if (metrics is not null)
                await metrics.DisposeAsync();
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_metaServer is not null)
            await _metaServer.DisposeAsync();
        if (_localApi is not null)
            await _localApi.DisposeAsync();
        await _database.DisposeAsync();
        _meters.Dispose();
        _readiness.Dispose();
    }

    // On the link's receiving loop: rooms put it into a queue of their own.
    private void UserAsked(Message message)
    {
        var problem = message.Source switch
        {
            Sources.RouterEventBus => _eventBus is null ? "modules.eventBus is off at this node" : _eventBus.TryTake(message) ? null : "the EventBus of this node has too much to do",
            Sources.RouterServiceBus => _serviceBus is null ? "modules.serviceBus is off at this node" : _serviceBus.TryTake(message) ? null : "the ServiceBus of this node has too much to do",
            _ => $"this node knows no '{message.Source}'",
        };
        if (problem is null)
            return;
        EdgeCoreLog.UserMessageNotTaken(_log, message.Source, message.Operation, message.Resource, problem);
        if (RuleAnswers.IsExpected(message))
            _ = AnswerAsync(RuleAnswers.Of(_time, message, 503, problem), CancellationToken.None).AsTask(); // once; it does not throw
    }

    // A stock cloud waits for the answers of services alone.
    private ValueTask AnswerAsync(Message answer, CancellationToken cancellationToken)
        => answer.Source == Sources.Bus && !_hub.IsEdgeWire ? ValueTask.CompletedTask : _hub.SendAsync(answer, cancellationToken);

    private async Task AwaitStopAsync(string name, Task task)
    {
        try
        {
            await task.WaitAsync(s_stopDeadline, TimeProvider.System);
        }
        catch (TimeoutException)
        {
            EdgeCoreLog.SlowStop(_log, name, s_stopDeadline.TotalSeconds);
        }
        catch (Exception e) when (e is OperationCanceledException or ConfigException)
        {
            // Cancelled as asked; a ConfigException goes to the caller from RunAsync itself.
        }
    }

    // Runs a module again after a growing delay when it fails; a module that fails does not take the others with it.
    private async Task KeepRunningAsync(string name, Func<CancellationToken, Task> run, CancellationToken cancellationToken)
    {
        var backoff = new Backoff(_random, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(60));
        while (true)
        {
            var since = _time.GetTimestamp();
            Exception? error = null;
            try
            {
                _health.Started(name);
                await run(cancellationToken);
            }
            catch (ConfigException)
            {
                throw;
            }
            catch (Exception e) // the outermost frame of a module: logged here and nowhere else
            {
                error = e;
            }

            if (cancellationToken.IsCancellationRequested)
                return;
            if (_time.GetElapsedTime(since) > TimeSpan.FromMinutes(2))
                backoff.Reset();
            var delay = backoff.Next();
            _health.Failed(name, error?.Message.ReplaceLineEndings(" ") ?? "it ended by itself");
            EdgeCoreLog.ModuleFailed(_log, name, (long)delay.TotalMilliseconds, error);
            try
            {
                await Task.Delay(delay, _time, cancellationToken);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    // Ends when a restart is wanted, and in order when everything stops.
    private async Task RestartWantedAsync(CancellationToken cancellationToken)
    {
        try
        {
            await _restart.Task.WaitAsync(cancellationToken);
        }
        catch (OperationCanceledException)
        {
            // Stopping.
        }
    }

    private async Task AnnounceAsync(CancellationToken cancellationToken)
    {
        await _hub.ConnectedAfterAsync(0, cancellationToken);
        Ready?.Invoke(_options.NodeName, _options.EdgeHub.Server);
    }

    private async Task<MetricsServer?> StartMetricsAsync(CancellationToken cancellationToken)
    {
        if (!_options.Monitor.Enable)
            return null;
        try
        {
            var server = await MetricsServer.StartAsync(_options.Monitor.BindAddress, () => MetricsServer.Text(_hub, _database.QueueDepth) + _localApi?.Metrics() + _metaServer?.Metrics() + _edgeDns?.Metrics() + RuntimeFigures() + _meters.Render(), _readiness, cancellationToken);
            MetricsPort = server.Port;
            return server;
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException)
        {
            EdgeCoreLog.MetricsFailed(_log, _options.Monitor.BindAddress, e.Message);
            return null;
        }
    }

    private string RuntimeFigures()
        => _runtime is null ? "" : $"# HELP edgecore_runtime_up 1 while the container runtime answers.\n# TYPE edgecore_runtime_up gauge\nedgecore_runtime_up {(_runtime.Current.Ready ? 1 : 0)}\n";

    // Tells scripts and tests which ports were taken.
    private void WritePorts()
    {
        var path = Path.Combine(_options.DataDirectory, "edgecore.ports.json");
        var ports = new JsonObject { ["metrics"] = MetricsPort, ["localApi"] = LocalApiPort, ["dmi"] = _options.DeviceTwin.DmiSockPath };
        if (_eventBus?.EndPoint is { } mqtt)
            ports["mqtt"] = mqtt.Port;
        if (_eventBus?.TlsEndPoint is { } mqtts)
            ports["mqtts"] = mqtts.Port;
        if (_eventBus?.WebSocketEndPoint is { } webSocket)
            ports["mqttWebSocket"] = webSocket.Port;
        if (_eventBus?.WebSocketTlsEndPoint is { } secureWebSocket)
            ports["mqttWebSocketTLS"] = secureWebSocket.Port;
        if (_serviceBus is { Port: > 0 })
            ports["serviceBus"] = _serviceBus.Port;
        if (_metaServer is { Port: > 0 })
            ports["metaServer"] = _metaServer.Port;
        if (_edgeDns is not null)
            ports["dns"] = new JsonArray([.. _edgeDns.EndPoints.Select(one => (JsonNode)one.ToString())]);
        try
        {
            lock (_portsGate)
            {
                Directory.CreateDirectory(_options.DataDirectory);
                File.WriteAllText(path + ".tmp", ports.ToJsonString());
                File.Move(path + ".tmp", path, overwrite: true);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            EdgeCoreLog.PortsFileFailed(_log, path, e.Message);
        }
    }
}
