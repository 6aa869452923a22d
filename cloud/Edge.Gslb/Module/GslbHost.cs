using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Threading.Channels;
using Edge.GlobalServices.Health;
using Edge.GlobalServices.Resources;
using Edge.GlobalServices.Services;
using Edge.Cloud.Gslb.Zones;
using Edge.GlobalServices.Zones;
using Edge.Kubernetes;
using Edge.Protocol.Dns;
using Edge.Protocol.Dns.Server;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Gslb.Module;

/// <summary>The GSLB module in this process: watches its objects, checks health and answers DNS queries. One loop builds what is served; the servers take it whole.</summary>
public sealed class GslbHost : IAsyncDisposable
{
    // Changes that come together are built together.
    private static readonly TimeSpan s_together = TimeSpan.FromMilliseconds(25);

    private static readonly TimeSpan s_cachesWithin = TimeSpan.FromSeconds(30);

    private readonly CancellationTokenSource _stop = new();
    private readonly List<Informer> _informers = [];
    private readonly ConcurrentDictionary<string, (bool IsReady, string Heartbeat, string Renewed)> _signs = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, HealthState> _healthNews = new(StringComparer.Ordinal);

    // Informers wait when it is full; the loop takes everything that is there at once.
    private readonly Channel<Action<GslbBuilder>> _changes = Channel.CreateBounded<Action<GslbBuilder>>(new BoundedChannelOptions(4096) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });

    // One wake for any number of changes.
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { SingleReader = true, FullMode = BoundedChannelFullMode.DropWrite });
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly AuthoritativeResponder _responder;
    private readonly HealthMonitor _health;
    private readonly PodWatches _pods;
    private readonly StatusWriter _statuses;
    private readonly DatabaseFiles _files;
    private volatile IReadOnlyCollection<string> _paths = [];
    private Informer? _nodes;
    private Informer? _services;
    private DnsServer? _server;
    private Task _running = Task.CompletedTask;
    private volatile GslbSnapshot? _snapshot;
    private volatile ClientCounts? _counts;
    private long _builds;

    private GslbHost(GslbOptions options, IKubeClient kube, Func<bool> mayWrite, TimeProvider time, Random random, ILoggerFactory loggers)
    {
        _time = time;
        _logger = loggers.CreateLogger("Edge.Cloud.Gslb");
        if (!NetworkList.TryParse(options.EcsResolvers, out var resolvers, out var error))
            throw new GslbException($"modules.gslb.ecsResolvers: {error}");
        _responder = new AuthoritativeResponder(new AuthoritativeOptions
        {
            Nsid = options.Nsid,
            EcsResolvers = resolvers,
            Cookies = new DnsCookies(RandomNumberGenerator.GetBytes(16)),
            RateLimiter = options.ResponsesPerSecond > 0 ? new ResponseRateLimiter(options.ResponsesPerSecond, 2, 16, ResponseRateLimiter.NewSeed()) : null,
        });
        _health = new HealthMonitor(HealthChanged, time, new Random(random.Next()), options.IsAlone ? HealthMonitor.KeptShareAlone : HealthMonitor.KeptShare);
        _pods = new PodWatches(kube, Wake, time, new Random(random.Next()), _logger);
        _statuses = new StatusWriter(kube, mayWrite, time, _logger);
        _files = new DatabaseFiles(() => _paths, (path, layer, error) => PostAsync(builder => builder.SetDatabase(path, layer, error), _stop.Token), time, _logger);
    }

    /// <summary>The port of DNS, UDP and TCP.</summary>
    public int Port => _server?.EndPoint.Port ?? 0;

    /// <summary>Starts the module; on return it answers from what the cluster has. The CRDs must be there.</summary>
    /// <param name="mayWrite">Whether it is this one, of several beside one API, that writes statuses; asked before each round, must be quick.</param>
    /// <exception cref="GslbException">It cannot start; the message says why and what to change.</exception>
    public static async Task<GslbHost> StartAsync(
        GslbOptions options, IKubeClient kube, Func<bool> mayWrite, TimeProvider time, Random random, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var host = new GslbHost(options, kube, mayWrite, time, random, loggers);
        try
        {
            await host.StartAsync(options, kube, random, cancellationToken);
            return host;
        }
        catch
        {
            await host.DisposeAsync();
            throw;
        }
    }

    /// <summary>A node's hub session began or ended. Never waits.</summary>
    public void NodeSession(string node, bool isConnected) => _health.Session(node, isConnected);

    /// <summary>An EdgeCore checked an endpoint that CloudCore cannot reach.</summary>
    /// <param name="node">The node that checked.</param>
    /// <param name="endpoint"><c>namespace/service/endpoint</c>.</param>
    /// <param name="error">Null when it is well.</param>
    public ValueTask ReportAsync(string node, string endpoint, string? error, CancellationToken cancellationToken)
        => _health.ReportAsync(new NodeReport(node, endpoint, error), cancellationToken);

    /// <summary>A node measured the way to a service's endpoints.</summary>
    /// <param name="service"><c>namespace/name</c>.</param>
    /// <param name="milliseconds">By endpoint.</param>
    public ValueTask ReportRoundTripsAsync(string node, string service, IReadOnlyDictionary<string, double> milliseconds, CancellationToken cancellationToken)
        => PostAsync(builder => builder.SetRoundTrips(node, service, milliseconds), cancellationToken);

    /// <summary>Where clients were sent: service (<c>namespace/name</c>), endpoint, the client's location, answers.</summary>
    public IReadOnlyList<(string Service, string Endpoint, string Location, long Answers)> Clients() => _counts?.Read() ?? [];

    /// <summary>Figures in Prometheus' text form.</summary>
    public string RenderMetrics()
    {
        var text = new StringBuilder();
        var snapshot = _snapshot;
        void Add(string name, string type, string help, long value) => text.Append($"# HELP {name} {help}\n# TYPE {name} {type}\n{name} {value}\n");
        var figures = _server?.Figures ?? default;
        Add("edge_gslb_queries_total", "counter", "DNS queries that came in.", figures.Queries);
        Add("edge_gslb_answers_total", "counter", "DNS answers that went out.", figures.Answers);
        Add("edge_gslb_health_checks_total", "counter", "Health checks that have ended.", _health.Counts.Checks);
        Add("edge_gslb_health_check_failures_total", "counter", "Health checks that failed.", _health.Counts.Failures);
        Add("edge_gslb_health_checks_skipped_total", "counter", "Health checks not made because no file was left for a socket.", _health.Skipped);
        Add("edge_gslb_health_targets", "gauge", "Endpoints whose health is kept.", _health.Targets);
        Add("edge_gslb_builds_total", "counter", "States built from changes.", Interlocked.Read(ref _builds));
        Add("edge_gslb_changes_waiting", "gauge", "Changes of objects that wait to be built in, at most 4096.", _changes.Reader.Count);
        Add("edge_gslb_zones", "gauge", "Zones served.", snapshot?.Zones.ZoneCount ?? 0);
        Add("edge_gslb_location_ranges", "gauge", "Ranges of addresses with a location.", snapshot?.Selector.Locations.Ranges ?? 0);
        text.Append("# HELP edge_gslb_clients_total Answers by service, chosen endpoint and the client's location.\n# TYPE edge_gslb_clients_total counter\n");
        foreach (var (service, endpoint, location, answers) in Clients())
            text.Append($"edge_gslb_clients_total{{service=\"{Label(service)}\",endpoint=\"{Label(endpoint)}\",location=\"{Label(location)}\"}} {answers}\n");
        return text.ToString();
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        if (_server is not null)
            await _server.DisposeAsync();
        foreach (var informer in _informers)
            await informer.DisposeAsync();
        await _running;
        await _pods.DisposeAsync();
        await _health.DisposeAsync();
        _stop.Dispose();
    }

    private async Task StartAsync(GslbOptions options, IKubeClient kube, Random random, CancellationToken cancellationToken)
    {
        var loops = Task.Run(BuildLoopAsync, CancellationToken.None);
        _running = loops;
        Informer Watch(ResourceKind kind, string? @namespace, ListOptions selection, Func<ObjectChange, CancellationToken, ValueTask> handle)
        {
            var informer = new Informer(kube, kind, @namespace, selection, _time, new Random(random.Next()), _logger) { LeavesOutManagedFields = true };
            _informers.Add(informer);
            informer.Start(handle);
            return informer;
        }

        foreach (var kind in (ResourceKind[])[GslbKinds.Zone, GslbKinds.GlobalService, GslbKinds.LocationMap])
        {
            Watch(kind, null, new ListOptions(), (change, token) => PostAsync(
                builder =>
                {
                    if (change.Type == ChangeType.Deleted)
                        builder.Remove(kind, change.Object);
                    else
                        builder.Put(kind, change.Object);
                },
                token));
        }

        _services = Watch(ResourceKind.Service, null, new ListOptions(), (_, _) =>
        {
            Wake();
            return ValueTask.CompletedTask;
        });
        _nodes = Watch(ResourceKind.Node, null, new ListOptions(LabelSelector: EndpointResolver.EdgeRoleLabel), NodeChangedAsync);
        Watch(ResourceKind.Lease, "kube-node-lease", new ListOptions(), LeaseChangedAsync);
        try
        {
            await Task.WhenAll(_informers.Select(informer => informer.Synced)).WaitAsync(s_cachesWithin, _time, cancellationToken);
        }
        catch (TimeoutException e)
        {
            var missing = string.Join(", ", _informers.Where(informer => !informer.Synced.IsCompleted).Select(informer => informer.Kind.Plural));
            throw new GslbException($"modules.gslb: the Kubernetes API did not list {missing} within {s_cachesWithin.TotalSeconds:0} s; are the CRDs of {GslbKinds.Group} installed, and may cloudcore list these?", e);
        }

        // The first state is there before the first query.
        var built = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await PostAsync(_ => built.TrySetResult(), cancellationToken);
        await built.Task.WaitAsync(cancellationToken);
        while (_snapshot is null)
            await Task.Delay(s_together, _time, cancellationToken);
        try
        {
            _server = DnsServer.Start(new IPEndPoint(IPAddress.Parse(options.Address), options.Port), _responder, new DnsServerOptions(), _time, e => GslbLog.QueryFailed(_logger, e));
        }
        catch (SocketException e)
        {
            throw new GslbException($"modules.gslb: cannot listen on {options.Address} port {options.Port} ({e.Message}); set modules.gslb.address and modules.gslb.port, ports below 1024 need root or CAP_NET_BIND_SERVICE", e);
        }

        GslbLog.Serving(_logger, _server.EndPoint.ToString());
        _running = Task.WhenAll(loops, LoopAsync(_files.RunAsync), LoopAsync(_statuses.RunAsync));
    }

    private async ValueTask NodeChangedAsync(ObjectChange change, CancellationToken token)
    {
        Wake();
        var name = change.Object.Name();
        if (change.Type == ChangeType.Deleted)
        {
            _signs.TryRemove(name, out _);
            await _health.NodeDeletedAsync(name, token);
            return;
        }

        var ready = change.Object.Items("status", "conditions").FirstOrDefault(one => one.Text("type") == "Ready");
        await SignAsync(name, sign => sign with { IsReady = ready.Text("status") == "True", Heartbeat = ready.Text("lastHeartbeatTime") }, token);
    }

    private ValueTask LeaseChangedAsync(ObjectChange change, CancellationToken token)
        => change.Type == ChangeType.Deleted ? ValueTask.CompletedTask : SignAsync(change.Object.Name(), sign => sign with { Renewed = change.Object.Text("spec", "renewTime") }, token);

    private async ValueTask SignAsync(string node, Func<(bool IsReady, string Heartbeat, string Renewed), (bool IsReady, string Heartbeat, string Renewed)> change, CancellationToken token)
    {
        var sign = _signs.AddOrUpdate(node, _ => change((true, "", "")), (_, before) => change(before));
        await _health.NodeAsync(node, sign.IsReady, $"{sign.Heartbeat}|{sign.Renewed}", token);
    }

    private async ValueTask PostAsync(Action<GslbBuilder> change, CancellationToken token)
    {
        await _changes.Writer.WriteAsync(change, token);
        Wake();
    }

    private void Wake() => _wake.Writer.TryWrite(true);

    private void HealthChanged(IReadOnlyDictionary<string, HealthState> states)
    {
        foreach (var (endpoint, state) in states)
        {
            if (state.Status != HealthStatus.Unknown)
                GslbLog.HealthChanged(_logger, endpoint, state.Status.ToString(), state.Reason ?? "");
            _healthNews[endpoint] = state;
        }

        Wake();
    }

    private Task BuildLoopAsync() => LoopAsync(async token =>
    {
        var builder = new GslbBuilder();
        _counts = builder.Counts;
        IReadOnlyCollection<HealthTarget> targets = [];
        var notifier = new ZoneNotifier(_time);
        while (await _wake.Reader.WaitToReadAsync(token))
        {
            await Task.Delay(s_together, _time, token);
            _wake.Reader.TryRead(out _);
            while (_changes.Reader.TryRead(out var change))
                change(builder);
            var news = _healthNews.Keys.Select(endpoint => _healthNews.TryRemove(endpoint, out var state) ? KeyValuePair.Create(endpoint, state) : default).Where(pair => pair.Key is not null).ToList();
            builder.SetHealth(news);
            await _pods.SetAsync(builder.PodSelections);
            builder.SetCluster(new ClusterState(_nodes?.List() ?? [], _services?.List() ?? [], _pods.Pods));
            try
            {
                var snapshot = builder.Build();
                var before = _responder.Zones;
                _responder.Serve(snapshot.Zones, snapshot.Selector);
                _snapshot = snapshot;
                _paths = builder.DatabasePaths;
                Interlocked.Increment(ref _builds);
                if (!targets.SequenceEqual(snapshot.Targets))
                {
                    targets = snapshot.Targets;
                    await _health.SetTargetsAsync(targets, token);
                }

                _statuses.Set(snapshot.Statuses);
                if (!ReferenceEquals(before, snapshot.Zones))
                    _ = NotifyAsync(notifier, snapshot.Zones.NewerThan(before).ToList(), token);
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                GslbLog.BuildFailed(_logger, e);
            }
        }
    });

    // Tries for half a minute at most; secondaries that stay silent come by their refresh time.
    private async Task NotifyAsync(ZoneNotifier notifier, IReadOnlyList<ZoneSource> zones, CancellationToken token)
    {
        try
        {
            foreach (var result in await notifier.NotifyAsync(zones, token))
            {
                if (result.Error.Length > 0)
                    GslbLog.NotNotified(_logger, result.Target.ToString(), result.Apex.ToString(), result.Error);
            }
        }
        catch (OperationCanceledException) when (token.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private async Task LoopAsync(Func<CancellationToken, Task> run)
    {
        try
        {
            await run(_stop.Token);
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // Disposed.
        }
    }

    // The exposition format's own escapes.
    private static string Label(string text) => text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);
}
