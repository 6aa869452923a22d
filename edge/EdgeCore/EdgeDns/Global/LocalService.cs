using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Edge.GlobalServices;
using Edge.GlobalServices.Health;
using Edge.GlobalServices.Locations;
using Edge.GlobalServices.Resources;
using Edge.GlobalServices.Services;

namespace Edge.Core.EdgeDns.Global;

/// <summary>What the node itself knows when it chooses.</summary>
/// <param name="Group">Its NodeGroup; empty for none.</param>
/// <param name="Location">By its labels and annotations.</param>
/// <param name="Pods">Its pods; null where no Edged runs here, so that only the cloud's word counts.</param>
/// <param name="Checked">What checks from here decided, by <c>namespace/service/endpoint</c>.</param>
internal sealed record LocalView(string Node, string Group, Location Location, IReadOnlyList<LocalPod>? Pods, IReadOnlyDictionary<string, EndpointHealth> Checked)
{
    /// <summary>Round trips from here by <c>namespace/service</c> and endpoint, ms.</summary>
    public ImmutableDictionary<string, IReadOnlyDictionary<string, double>> RoundTrips { get; init; } = ImmutableDictionary<string, IReadOnlyDictionary<string, double>>.Empty;

    /// <summary>The name that latencies measured here have as their beginning; empty where the node has no place.</summary>
    public string Place => Location.Site.Length > 0 ? Location.Site : Location.Region.Length > 0 ? Location.Region : Location.Country;
}

/// <summary>A GlobalService as this node answers it: an instance here, else one in the NodeGroup, else as the cloud would choose for a client where the node is. Pure and immutable.</summary>
/// <remarks>What the cloud said last counts for other nodes, however long ago. Of endpoints here the node knows better: a lost session with the cloud, or what the cloud cannot reach, is
/// no reason not to use them.</remarks>
internal sealed class LocalService
{
    private readonly CompiledService[] _tiers; // nearest first
    private readonly LocationTable _locations;
    private readonly TurnState _turns;
    private readonly ClientSubnet _client;

    private LocalService(string key, uint ttl, CompiledService[] tiers, IReadOnlyList<HealthTarget> targets, LocalView view, TurnState turns)
    {
        Key = key;
        TtlSeconds = ttl;
        Targets = targets;
        _tiers = tiers;
        _turns = turns;
        // Without a location the policies that need one go by weight, as in the cloud.
        _locations = view.Location == Location.Unknown ? LocationTable.Empty : LocationTable.Build([(new Network(0, 0, true), view.Location)], []);
        // All clients here are one subnet: what is sticky stays for the node.
        _client = new ClientSubnet(System.Buffers.Binary.BinaryPrimitives.ReadUInt128BigEndian(SHA256.HashData(Encoding.UTF8.GetBytes(view.Node))), 128, true, false);
    }

    /// <summary><c>namespace/name</c>.</summary>
    public string Key { get; }

    public uint TtlSeconds { get; }

    /// <summary>The endpoints that are to be checked from here.</summary>
    public IReadOnlyList<HealthTarget> Targets { get; }

    /// <param name="told">The endpoints as the cloud told them last.</param>
    /// <param name="turns">Goes on over changes of the service.</param>
    public static LocalService Build(GlobalServiceSpec spec, IReadOnlyList<EndpointStatus> told, LocalView view, TurnState turns)
    {
        var endpoints = new List<(ServiceEndpoint Endpoint, EndpointHealth Health)>();
        var targets = new List<HealthTarget>();
        foreach (var one in told)
            endpoints.Add(one.Endpoint.Node == view.Node ? Own(spec, one, view, targets) : (one.Endpoint, new EndpointHealth(one.IsUp, one.Reason)));
        foreach (var item in spec.Endpoints)
        {
            // Pods that came here since the cloud was heard last.
            var name = EndpointResolver.NameAt(item, view.Node);
            if (item.Source is EndpointSource.Pods source && told.All(one => one.Endpoint.Name != name) && Ready(source, view, item.Port) is { Count: > 0 } ready)
            {
                var endpoint = new ServiceEndpoint(name, Addresses(ready), item.Port, item.Weight, item.Priority, item.IsDrained, view.Location, view.Node, "") { Group = view.Group };
                endpoints.Add((endpoint, EndpointHealth.Up));
            }
        }

        // As in the cloud: what the user gives is not mixed with what is measured.
        var latencies = spec.Latencies.Count > 0 || !view.RoundTrips.TryGetValue(spec.Key, out var measured) ? spec.Latencies
            : [.. measured.Select(one => new Latency(view.Place, one.Key, one.Value))];

        CompiledService Tier(Func<ServiceEndpoint, bool> isIn, int minimumHealthyPercent)
        {
            var chosen = endpoints.Where(one => isIn(one.Endpoint)).Take(CompiledService.EndpointsMax).ToList();
            var definition = new ServiceDefinition(
                spec.Key, spec.TtlSeconds, spec.Policy, spec.Sticky, minimumHealthyPercent, [.. chosen.Select(one => one.Endpoint)], latencies);
            return CompiledService.Compile(definition, i => chosen[i].Health);
        }

        // Fail open is for the whole: an ill endpoint here is no reason to pass over a healthy one elsewhere.
        CompiledService[] tiers =
        [
            Tier(one => one.Node == view.Node, 0),
            Tier(one => view.Group.Length > 0 && (one.Node == view.Node || one.Group == view.Group), 0),
            Tier(_ => true, spec.MinimumHealthyPercent),
        ];
        return new LocalService(spec.Key, spec.TtlSeconds, tiers, targets, view, turns);
    }

    /// <summary>Chooses; the count is 0 where the service has no address of this version now.</summary>
    public Selection Select(bool isIPv6, Span<UInt128> addresses)
    {
        foreach (var tier in _tiers)
        {
            // By both versions at once: a client that has no IPv6 address here is not to go far away for one.
            if (tier.Of(false).Eligible.Length + tier.Of(true).Eligible.Length > 0)
                return new AddressSelector([tier], _locations, [_turns]).Select(0, isIPv6, _client, addresses);
        }

        return new Selection(0, TtlSeconds, 0);
    }

    // What the node knows of an endpoint that is on it.
    private static (ServiceEndpoint Endpoint, EndpointHealth Health) Own(GlobalServiceSpec spec, EndpointStatus told, LocalView view, List<HealthTarget> targets)
    {
        var endpoint = told.Endpoint;
        // That the cloud has no session with this node says nothing to clients on it.
        var health = told.State == nameof(HealthStatus.NodeGone) ? EndpointHealth.Up : new EndpointHealth(told.IsUp, told.Reason);
        if (view.Pods is not null && spec.Endpoints.FirstOrDefault(item => EndpointResolver.NameAt(item, view.Node) == endpoint.Name)?.Source is EndpointSource.Pods source)
        {
            var ready = Ready(source, view, endpoint.Port);
            var isAnyReady = view.Pods.Any(pod => pod.IsReady && Matches(source, pod));
            endpoint = endpoint with { Addresses = ready.Count > 0 ? Addresses(ready) : endpoint.Addresses, NotReady = isAnyReady ? "" : $"no pod with {source.SelectorText} on this node is ready" };
            if (told.State == EndpointStatus.NotReady)
                health = EndpointHealth.Up;
        }

        if (spec.Check is { FromEdge: true, Kind: not CheckKind.None })
        {
            var name = $"{spec.Key}/{endpoint.Name}";
            targets.Add(new HealthTarget(name, endpoint.Addresses[0], spec.Check.Port > 0 ? spec.Check.Port : endpoint.Port, view.Node, spec.Check with { FromEdge = false }));
            health = view.Checked.GetValueOrDefault(name, EndpointHealth.Up);
        }

        return (endpoint, health);
    }

    private static List<LocalPod> Ready(EndpointSource.Pods source, LocalView view, int port)
        => [.. (view.Pods ?? []).Where(pod => pod.IsReady && Matches(source, pod) && pod.IsReachedAt(port))];

    private static bool Matches(EndpointSource.Pods source, LocalPod pod) => pod.Namespace == source.Namespace && source.Selector.Matches(pod.Labels);

    private static List<UInt128> Addresses(List<LocalPod> pods) => [.. pods.SelectMany(pod => pod.Addresses).Distinct().Take(Explanation.AddressesMax)];
}
