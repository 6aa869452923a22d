using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Edge.Core.EdgeDns.Global;
using Edge.Core.MetaManager;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeDns;

/// <summary>EdgeDns: answers DNS queries of this node's pods and devices, with or without the cloud.</summary>
public sealed class EdgeDnsModule : IEdgeModule
{
    private static readonly TimeSpan s_look = TimeSpan.FromSeconds(1);

    private readonly EdgeServices _services;
    private readonly EdgeDnsOptions _options;
    private readonly ILogger _log;
    private readonly EdgeDnsCounters _counters = new();
    private readonly IUpstreamClient _client;
    private volatile ServiceCatalog _catalog;
    private readonly GlobalServiceCatalog _globalServices;
    private readonly ZoneCatalog _zones;
    private volatile EndpointChecks? _checks;
    private volatile RoundTripProbe? _roundTrips;
    private System.Threading.Channels.ChannelReader<MetaChange>? _changes; // one for all runs: the store keeps every subscription
    private volatile Forwarder? _forwarder;
    private volatile IReadOnlyList<EdgeDnsServer> _servers = [];

    public EdgeDnsModule(EdgeServices services)
        : this(services, new UpstreamClient())
    {
    }

    internal EdgeDnsModule(EdgeServices services, IUpstreamClient client)
    {
        _services = services;
        _options = services.Options.EdgeDns;
        _log = services.Loggers.CreateLogger("EdgeDns");
        _client = client;
        _globalServices = new GlobalServiceCatalog(services.Options.NodeName);
        _zones = new ZoneCatalog(ZoneCatalog.RecordsMaxDefault, reason => EdgeDnsLog.ZonesLeftOut(_log, reason));
        _catalog = ServiceCatalog.Empty with { Node = services.Options.NodeName };
    }

    public string Name => "edgedns";

    /// <summary>Where it listens; empty while it does not.</summary>
    public IReadOnlyList<IPEndPoint> EndPoints => [.. _servers.Select(server => server.EndPoint)];

    /// <summary>Called when <see cref="EndPoints"/> changed.</summary>
    public Action? Listening { get; set; }

    /// <exception cref="IOException">None of the addresses can be listened on; the host tries again.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var changes = _changes ??= _services.Meta.Subscribe(ResourceTypes.Node, ResourceTypes.Service, ResourceTypes.EndpointSlice, ResourceTypes.GlobalService, ResourceTypes.Zone);
        // All that is on the disk counts before the first query: a Service that is not known yet would be denied.
        while (changes.TryRead(out var change))
            Take(change);
        _zones.Publish();
        Action<Exception> broke = e => EdgeDnsLog.QueryBroke(_log, e);
        var forwarder = new Forwarder(
            _options, _client, _services.Time, new Random(_services.Random.Next()), _counters, (upstream, reason) => EdgeDnsLog.UpstreamFailed(_log, upstream.ToString(), reason),
            broke, stop.Token);
        var zone = new ClusterZone(_options.ClusterDomain, (uint)_options.TtlSeconds, _options.AnswersWithEndpoints);
        var resolver = new Resolver(zone, () => _catalog, _globalServices, _zones, forwarder, new Random(_services.Random.Next()), _counters);
        var addresses = new LinkAddress(_services.Time, _log);
        var servers = new List<EdgeDnsServer>();
        await using var checks = new EndpointChecks(_services.Uplink, _globalServices.SetChecked, _services.Time, new Random(_services.Random.Next()), _log);
        using var roundTrips = new RoundTripProbe(
            _services.Uplink, _globalServices.SetRoundTrips, (place, token) => RoundTripProbe.HandshakeAsync(place, _services.Time, token), _services.Time, new Random(_services.Random.Next()), _log);
        try
        {
            var upstreams = _options.Upstreams.Count == 0 ? "nobody" : string.Join(", ", _options.Upstreams);
            foreach (var address in _options.Listen)
            {
                await addresses.EnsureAsync(address.Address, cancellationToken);
                try
                {
                    servers.Add(EdgeDnsServer.Open(address, resolver, _counters, broke, _services.Time));
                    EdgeDnsLog.Listening(_log, servers[^1].EndPoint.ToString(), _catalog.Services, _options.ClusterDomain, upstreams);
                }
                catch (SocketException e)
                {
                    EdgeDnsLog.NotListening(_log, address.ToString(), e.Message);
                }
            }

            if (servers.Count == 0)
                throw new IOException("none of modules.edgeDns.listen can be listened on");
            (_forwarder, _servers, _checks, _roundTrips) = (forwarder, servers, checks, roundTrips);
            Listening?.Invoke();
            List<Task> running = [FollowAsync(changes, stop.Token), LookAsync(checks, addresses, stop.Token), UntilStoppedAsync(checks.RunAsync, stop.Token), UntilStoppedAsync(token => roundTrips.RunAsync(() => _globalServices.Measured, token), stop.Token), .. servers.Select(server => server.RunAsync(stop.Token))];
            await Task.WhenAny(running);
            await stop.CancelAsync();
            await Task.WhenAll(running); // with what ended the first one
        }
        finally
        {
            await stop.CancelAsync();
            _servers = [];
            var served = servers.Select(server => server.EndPoint.Address).ToList();
            foreach (var server in servers)
                server.Dispose();
            await addresses.RemoveAsync(served);
        }
    }

    /// <summary>In Prometheus' text form.</summary>
    public string Metrics()
    {
        var text = new StringBuilder();
        void Family(string name, string type, string help, params (string Labels, long Value)[] values)
        {
            text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {type}\n");
            foreach (var (labels, value) in values)
                text.Append(CultureInfo.InvariantCulture, $"{name}{labels} {value}\n");
        }

        var forwarder = _forwarder;
        Family("edge_dns_queries_total", "counter", "Queries received.", ("", Interlocked.Read(ref _counters.Queries)));
        Family("edge_dns_malformed_total", "counter", "Packets that are no query.", ("", Interlocked.Read(ref _counters.Malformed)));
        Family(
            "edge_dns_answers_total", "counter", "Answers by where they came from.",
            ("{from=\"cluster\"}", Interlocked.Read(ref _counters.ClusterAnswers)), ("{from=\"global\"}", Interlocked.Read(ref _counters.GlobalAnswers)), ("{from=\"zone\"}", Interlocked.Read(ref _counters.ZoneAnswers)),
            ("{from=\"cache\"}", Interlocked.Read(ref _counters.CacheHits)),
            ("{from=\"upstream\"}", Interlocked.Read(ref _counters.CacheMisses)), ("{from=\"stale\"}", Interlocked.Read(ref _counters.StaleAnswers)));
        Family("edge_dns_dropped_total", "counter", "Queries or answers dropped: too many wait, or the client went.", ("", Interlocked.Read(ref _counters.Dropped)));
        Family("edge_dns_overloaded_total", "counter", "Questions not asked because too many were under way.", ("", Interlocked.Read(ref _counters.Overloaded)));
        Family("edge_dns_joined_total", "counter", "Questions that waited for the same one asked before.", ("", Interlocked.Read(ref _counters.Joined)));
        Family("edge_dns_prefetches_total", "counter", "Questions asked again before their answer was over.", ("", Interlocked.Read(ref _counters.Prefetches)));
        Family("edge_dns_forwarded_total", "counter", "Queries sent to upstreams.", ("", Interlocked.Read(ref _counters.Forwarded)));
        Family("edge_dns_upstream_failures_total", "counter", "Queries that an upstream did not answer usably.", ("", Interlocked.Read(ref _counters.UpstreamFailures)));
        Family("edge_dns_waiting", "gauge", "Questions under way to upstreams.", ("", forwarder?.InFlight ?? 0));
        Family("edge_dns_cache_entries", "gauge", "Answers kept.", ("", forwarder?.Cache.Count ?? 0));
        Family("edge_dns_cache_evicted_total", "counter", "Answers that went because the cache was full.", ("", forwarder?.Cache.Evicted ?? 0));
        Family("edge_dns_services", "gauge", "Services known.", ("", _catalog.Services));
        var counts = _checks?.Counts ?? default;
        Family("edge_dns_global_hosts", "gauge", "Hosts of GlobalServices that are answered local-first.", ("", _globalServices.Hosts));
        Family("edge_dns_zones", "gauge", "Zones whose static records are answered here.", ("", _zones.Count));
        Family("edge_dns_endpoint_checks_total", "counter", "Health checks of endpoints on this node that have ended.", ("", counts.Checks));
        Family("edge_dns_endpoint_check_failures_total", "counter", "Health checks of endpoints on this node that failed.", ("", counts.Failures));
        Family("edge_dns_endpoint_checks_skipped_total", "counter", "Health checks of endpoints on this node not made because no file was left for a socket.", ("", _checks?.Skipped ?? 0));
        Family("edge_dns_round_trips_total", "counter", "Round trips measured to endpoints of GlobalServices.", ("", _roundTrips?.Measured ?? 0));
        Family(
            "edge_dns_upstream_up", "gauge", "0 while an upstream is passed over because it failed.",
            [.. _options.Upstreams.Select((upstream, i) => ($"{{upstream=\"{upstream}\"}}", forwarder?.IsResting(i) == true ? 0L : 1L))]);
        return text.ToString();
    }

    // The catalog's only writer.
    private async Task FollowAsync(System.Threading.Channels.ChannelReader<MetaChange> changes, CancellationToken cancellationToken)
    {
        try
        {
            while (await changes.WaitToReadAsync(cancellationToken))
            {
                while (changes.TryRead(out var change))
                    Take(change);
                _zones.Publish();
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private void Take(MetaChange change)
    {
        _catalog = _catalog.With(change);
        _globalServices.Take(change);
        _zones.Take(change);
    }

    // Looks every second at what has no changes to follow: the pods of this node as Edged said them last, where GlobalServices want pods; with that what is to be checked; and whether the
    // addresses that are listened on are still this machine's.
    private async Task LookAsync(EndpointChecks checks, LinkAddress addresses, CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                if (_services.Options.Edged.Enable && _globalServices.NeedsPods)
                    _globalServices.SetPods(LocalPod.Read(_services.Meta));
                await checks.SetTargetsAsync(_globalServices.Targets, cancellationToken);
                await addresses.KeepAsync(_servers.Select(server => server.EndPoint.Address).Where(address => !IPAddress.IsLoopback(address)), cancellationToken);
                await Task.Delay(s_look, _services.Time, cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }

    private static async Task UntilStoppedAsync(Func<CancellationToken, Task> run, CancellationToken cancellationToken)
    {
        try
        {
            await run(cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // Stopping.
        }
    }
}
