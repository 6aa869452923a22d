using System.Collections.Frozen;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Core.MetaManager;
using Edge.GlobalServices.Health;
using Edge.GlobalServices.Locations;
using Edge.GlobalServices.Resources;
using Edge.GlobalServices.Services;
using Edge.Kubernetes;
using Edge.Protocol.Dns;
using Edge.Protocol.Messages;

namespace Edge.Core.EdgeDns.Global;

/// <summary>The GlobalServices that CloudCore sent, ready for answers. Changes come from several tasks and are put in one at a time; answers take the newest state without waiting.</summary>
internal sealed class GlobalServiceCatalog(string node)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Held> _held = new(StringComparer.Ordinal); // by namespace/name
    private LocalView _view = new(node, "", Location.Unknown, null, new Dictionary<string, EndpointHealth>());
    private volatile FrozenDictionary<DnsName, LocalService> _byHost = FrozenDictionary<DnsName, LocalService>.Empty;
    private volatile IReadOnlyList<HealthTarget> _targets = [];
    private volatile IReadOnlyList<MeasuredPlace> _measured = [];
    private volatile bool _needsPods;

    /// <summary>Names that are answered.</summary>
    public int Hosts => _byHost.Count;

    /// <summary>The endpoints on this node that are to be checked from here.</summary>
    public IReadOnlyList<HealthTarget> Targets => _targets;

    /// <summary>The endpoints to which the way from here counts: of services that go by latency and whose user gives none. None where this node has no place by name, as nobody could
    /// be told where the way begins.</summary>
    public IReadOnlyList<MeasuredPlace> Measured => _measured;

    /// <summary>Whether any service has pods as endpoints, so that the pods here matter.</summary>
    public bool NeedsPods => _needsPods;

    /// <summary>Takes a change of the store. What cannot be read leaves the last good state.</summary>
    public void Take(MetaChange change)
    {
        var (obj, deleted) = change;
        lock (_gate)
        {
            if (obj.Type == ResourceTypes.Node && obj.Name == node)
            {
                var json = deleted ? null : Parse(obj);
                var view = _view with
                {
                    Group = json?.Label(EndpointResolver.GroupLabel) ?? "", Location = json is null ? Location.Unknown : EndpointResolver.LocationOf(Location.Unknown, json),
                };
                if (view == _view)
                    return;
                _view = view;
                BuildAll();
            }
            else if (obj.Type == ResourceTypes.GlobalService)
            {
                TakeService($"{obj.Namespace}/{obj.Name}", deleted ? null : Parse(obj), deleted);
                Publish();
            }
        }
    }

    /// <summary>The pods of this node as they are now; null where no Edged runs.</summary>
    public void SetPods(IReadOnlyList<LocalPod>? pods)
    {
        lock (_gate)
        {
            if (ReferenceEquals(pods, _view.Pods) || (pods is not null && _view.Pods is { } before && before.Count == pods.Count && before.Zip(pods).All(pair => pair.First.IsSame(pair.Second))))
                return;
            _view = _view with { Pods = pods };
            BuildAll();
        }
    }

    /// <summary>What the checks from here say now, by <c>namespace/service/endpoint</c>.</summary>
    public void SetChecked(IReadOnlyDictionary<string, EndpointHealth> states)
    {
        lock (_gate)
        {
            _view = _view with { Checked = states };
            BuildAll();
        }
    }

    /// <summary>The way from here to a service's endpoints, ms.</summary>
    public void SetRoundTrips(string service, IReadOnlyDictionary<string, double> milliseconds)
    {
        lock (_gate)
        {
            _view = _view with { RoundTrips = _view.RoundTrips.SetItem(service, milliseconds) };
            if (!_held.TryGetValue(service, out var held))
                return;
            held.Service = LocalService.Build(held.Spec!, held.Endpoints, _view, held.Turns);
            Publish();
        }
    }

    /// <summary>The answer for a host of a GlobalService; null for all else, which others may know. Types other than A and AAAA are the zone's.</summary>
    public DnsAnswer? Answer(DnsQuestion question) => AnswerOf(question.Name, question);

    /// <summary>Whether a GlobalService answers for this very name.</summary>
    public bool Has(DnsName host) => _byHost.ContainsKey(host);

    /// <summary>As <see cref="Answer"/>, with the addresses of <paramref name="host"/>: another name than the question's where that is a wildcard.</summary>
    public DnsAnswer? AnswerOf(DnsName host, DnsQuestion question)
    {
        if (question.Type is not (RecordType.A or RecordType.AAAA) || !_byHost.TryGetValue(host, out var service))
            return null;
        Span<UInt128> addresses = stackalloc UInt128[Explanation.AddressesMax];
        var selection = service.Select(question.Type == RecordType.AAAA, addresses);
        if (selection.Count == 0)
            return new DnsAnswer(ResponseCode.NoError, [], [Soa(question.Name, service.TtlSeconds)]);
        var rows = new List<DnsRow>(selection.Count);
        foreach (var address in addresses[..selection.Count])
            rows.Add(DnsRow.Address(question.Name, selection.TtlSeconds, Network.ToIPAddress(address)));
        return new DnsAnswer(ResponseCode.NoError, rows, []);
    }

    private void TakeService(string key, JsonObject? json, bool isDeleted)
    {
        if (isDeleted)
        {
            _held.Remove(key);
            _view = _view with { RoundTrips = _view.RoundTrips.Remove(key) };
            return;
        }

        // The cloud says on the object what is wrong with a spec, and serves the one before; so does the edge while it remembers it.
        if (json is null || GlobalServiceSpec.Read(json, out _) is not { } spec)
            return;
        if (!_held.TryGetValue(key, out var held))
            _held[key] = held = new Held();
        held.Spec = spec;
        held.Endpoints = [.. json.Items("resolved", "endpoints").Select(EndpointStatus.Read).OfType<EndpointStatus>()];
        // Those that the cloud answers for: each in a zone, and no other service's.
        held.Hosts = [.. json.Texts("resolved", "hosts").Where(host => spec.Hosts.Contains(host)).Select(host => DnsName.TryParse(host, out var name) ? name : null).OfType<DnsName>()];
        held.Service = LocalService.Build(spec, held.Endpoints, _view, held.Turns);
    }

    private void BuildAll()
    {
        foreach (var held in _held.Values)
            held.Service = LocalService.Build(held.Spec!, held.Endpoints, _view, held.Turns);
        Publish();
    }

    private void Publish()
    {
        var hosts = new Dictionary<DnsName, LocalService>();
        // Where the cloud has just moved a host, and only one of the two objects has come: the first by name.
        foreach (var (_, held) in _held.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            foreach (var host in held.Endpoints.Count == 0 ? [] : held.Hosts)
                hosts.TryAdd(host, held.Service!);
        }

        _byHost = hosts.ToFrozenDictionary();
        _targets = [.. _held.Values.SelectMany(held => held.Service!.Targets)];
        _measured = _view.Place.Length == 0 ? []
            : [.. _held.Values.Where(held => held.Spec is { Latencies.Count: 0 } spec && spec.Policy.Uses(PolicyKind.Latency)).SelectMany(held => held.Endpoints
                .Select(one => new MeasuredPlace(held.Spec!.Key, one.Endpoint.Name, one.Endpoint.Addresses[0], held.Spec.Check.Port > 0 ? held.Spec.Check.Port : one.Endpoint.Port))
                .Where(place => place.Port > 0))];
        _needsPods = _held.Values.Any(held => held.Spec!.Endpoints.Any(item => item.Source is EndpointSource.Pods));
    }

    // RFC 2308 §3: how long the absence may be remembered. The zone's own is not known here.
    private static DnsRow Soa(DnsName host, uint ttl)
    {
        if (!RecordData.TryParse(RecordType.SOA, $"{host} {host} 1 7200 1800 86400 {ttl}", DnsName.Root, out var data, out var error))
            throw new System.Diagnostics.UnreachableException(error);
        return new DnsRow(host, RecordType.SOA, ttl, data);
    }

    private static JsonObject? Parse(MetaObject obj)
    {
        try
        {
            return JsonNode.Parse(obj.Json.Span) as JsonObject;
        }
        catch (JsonException)
        {
            return null; // stored by this house from the cloud's message, which was JSON: nothing is known of a damaged one
        }
    }

    private sealed class Held
    {
        public GlobalServiceSpec? Spec { get; set; }

        public IReadOnlyList<EndpointStatus> Endpoints { get; set; } = [];

        public IReadOnlyList<DnsName> Hosts { get; set; } = [];

        public LocalService? Service { get; set; }

        public TurnState Turns { get; } = new();
    }
}
