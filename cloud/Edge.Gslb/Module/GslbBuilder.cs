using System.Text.Json.Nodes;
using Edge.GlobalServices.Health;
using Edge.GlobalServices.Locations;
using Edge.GlobalServices.Resources;
using Edge.GlobalServices.Services;
using Edge.GlobalServices.Zones;
using Edge.Kubernetes;
using Edge.Protocol.Dns;

namespace Edge.Cloud.Gslb.Module;

/// <summary>What is served from one moment on, and what is said about it.</summary>
internal sealed record GslbSnapshot(ZoneSet Zones, AddressSelector Selector, IReadOnlyCollection<HealthTarget> Targets, IReadOnlyDictionary<(string Kind, string Key), ObjectStatus> Statuses)
{
    /// <summary>The number of the service that answers for a canonical name; -1 for none.</summary>
    public int ServiceOf(string host) => Hosts.TryGetValue(host, out var number) ? number : -1;

    public required IReadOnlyDictionary<string, int> Hosts { get; init; }
}

/// <summary>Makes snapshots from objects. Pure, one owner: objects, pods, files and health go in, <see cref="Build"/> compiles what they changed. An object that cannot be used
/// leaves its last good state in service.</summary>
internal sealed class GslbBuilder
{
    private readonly SortedDictionary<string, Held<ZoneSpec>> _zones = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, Held<GlobalServiceSpec>> _services = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, Held<LocationMapSpec>> _maps = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (CompiledLayer? Layer, string Error)> _databases = new(StringComparer.Ordinal);
    private readonly Dictionary<string, HealthState> _health = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TurnState> _turns = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (ServiceDefinition Definition, CompiledService Compiled)> _compiled = new(StringComparer.Ordinal);
    private readonly HashSet<string> _recompile = new(StringComparer.Ordinal);
    private readonly Dictionary<string, ZoneSource> _goodZones = new(StringComparer.Ordinal);
    private readonly MeasuredLatencies _measured = new();
    private ClusterState _cluster = ClusterState.Empty;
    private LocationTable _locations = LocationTable.Empty;
    private ZoneSet _zoneSet = ZoneSet.Empty;
    private string _bound = "";

    // By zone, the names that GlobalServices have in it: an edge that has the zone must not deny those whose service it does not know.
    private Dictionary<string, IReadOnlyList<string>> _hostsIn = [];
    private bool _mapsChanged = true;
    private bool _zonesChanged = true;

    /// <summary>The .mmdb files that maps name.</summary>
    public IReadOnlyCollection<string> DatabasePaths => [.. _maps.Values.Select(held => held.Good?.DatabasePath ?? "").Where(path => path.Length > 0).Distinct()];

    /// <summary>The pods that services ask for: namespace and label selector.</summary>
    public IReadOnlyCollection<(string Namespace, string Selector)> PodSelections
        => [.. _services.Values.SelectMany(held => held.Good?.Endpoints ?? []).Select(item => item.Source).OfType<EndpointSource.Pods>().Select(pods => (pods.Namespace, pods.SelectorText)).Distinct()];

    /// <summary>A Zone, GlobalService or LocationMap as it is now.</summary>
    public void Put(ResourceKind kind, JsonObject obj)
    {
        var key = KeyOf(obj);
        if (kind == GslbKinds.Zone)
        {
            Hold(_zones, key, obj, ZoneSpec.Read(obj, out var problems), problems);
            _zonesChanged = true;
        }
        else if (kind == GslbKinds.GlobalService)
        {
            Hold(_services, key, obj, GlobalServiceSpec.Read(obj, out var problems), problems);
        }
        else if (kind == GslbKinds.LocationMap)
        {
            Hold(_maps, key, obj, LocationMapSpec.Read(obj, out var problems), problems);
            _mapsChanged = true;
        }
    }

    public void Remove(ResourceKind kind, JsonObject obj)
    {
        var key = KeyOf(obj);
        if (kind == GslbKinds.Zone)
        {
            _zonesChanged |= _zones.Remove(key);
            _goodZones.Remove(key);
        }
        else if (kind == GslbKinds.GlobalService)
        {
            _services.Remove(key);
            _measured.Forget(key);
            _turns.Remove(key);
            _compiled.Remove(key);
        }
        else if (kind == GslbKinds.LocationMap)
        {
            _mapsChanged |= _maps.Remove(key);
        }
    }

    public void SetCluster(ClusterState cluster) => _cluster = cluster;

    /// <summary>A file was read, or could not be: then what was read of it before goes on.</summary>
    public void SetDatabase(string path, CompiledLayer? layer, string error)
    {
        _databases[path] = (layer ?? _databases.GetValueOrDefault(path).Layer, error);
        _mapsChanged = true;
    }

    public void SetHealth(IEnumerable<KeyValuePair<string, HealthState>> states)
    {
        foreach (var (endpoint, state) in states)
        {
            _health[endpoint] = state;
            // namespace/service/endpoint
            _recompile.Add(endpoint[..endpoint.IndexOf('/', endpoint.IndexOf('/', StringComparison.Ordinal) + 1)]);
        }
    }

    /// <summary>A node measured the way to a service's endpoints.</summary>
    public void SetRoundTrips(string node, string service, IReadOnlyDictionary<string, double> milliseconds) => _measured.Set(node, service, milliseconds);

    /// <summary>What another builder goes by, as its status says.</summary>
    public void SetMeasured(string service, IReadOnlyList<Latency> latencies) => _measured.SetTold(service, latencies);

    /// <summary>Where clients are sent, of all that were built.</summary>
    public ClientCounts Counts { get; } = new();

    public GslbSnapshot Build()
    {
        var statuses = new Dictionary<(string Kind, string Key), ObjectStatus>();
        BuildLocations(statuses);
        var hosts = new Dictionary<string, int>(StringComparer.Ordinal);
        var (compiled, turns, targets, problems) = BuildServices();
        var zoneErrors = BuildZones(compiled, hosts, problems);
        foreach (var (key, held) in _zones)
            statuses[(GslbKinds.Zone.Kind, key)] = ZoneStatus(held, zoneErrors.GetValueOrDefault(key), _goodZones.ContainsKey(key)) with { Hosts = _hostsIn.GetValueOrDefault(key) ?? [] };
        foreach (var (key, held) in _services)
            statuses[(GslbKinds.GlobalService.Kind, key)] = ServiceStatus(key, held, problems.GetValueOrDefault(key) ?? [], hosts);
        _recompile.Clear();
        return new GslbSnapshot(_zoneSet, new AddressSelector(compiled, _locations, turns, Counts), targets, statuses) { Hosts = hosts };
    }

    private void BuildLocations(Dictionary<(string Kind, string Key), ObjectStatus> statuses)
    {
        if (_mapsChanged)
        {
            var good = _maps.Values.Select(held => held.Good).OfType<LocationMapSpec>().ToList();
            _locations = LocationTable.Build(
                good.SelectMany(map => map.Networks),
                good.Select(map => map.DatabasePath).Where(path => path.Length > 0).Distinct().Select(path => _databases.GetValueOrDefault(path).Layer).OfType<CompiledLayer>());
            _mapsChanged = false;
        }

        foreach (var (key, held) in _maps)
        {
            var database = held.Good is { DatabasePath.Length: > 0 } map ? _databases.TryGetValue(map.DatabasePath, out var read) ? read : (null, "the file is being read") : default;
            var error = database.Error ?? "";
            statuses[(GslbKinds.LocationMap.Kind, key)] = held.Problems.Count > 0 ? NotAccepted(held, "Invalid", string.Join("; ", held.Problems), held.Good is not null)
                : error.Length > 0 ? ObjectStatus.Of(held.Generation, "BadDatabase", error, false, database.Layer is not null, database.Layer is null ? "BadDatabase" : "LastGood", database.Layer is null ? error : "the file as it was read before serves")
                : Accepted(held);
        }
    }

    private (List<CompiledService> Compiled, List<TurnState> Turns, List<HealthTarget> Targets, Dictionary<string, List<string>> Problems) BuildServices()
    {
        var (compiled, turns, targets, problems) = (new List<CompiledService>(), new List<TurnState>(), new List<HealthTarget>(), new Dictionary<string, List<string>>(StringComparer.Ordinal));
        foreach (var (key, held) in _services)
        {
            if (held.Good is not { } spec)
                continue;
            var resolved = EndpointResolver.Resolve(spec, _cluster);
            problems[key] = [.. resolved.Problems];
            var definition = new ServiceDefinition(key, spec.TtlSeconds, spec.Policy, spec.Sticky, spec.MinimumHealthyPercent, resolved.Endpoints, LatenciesOf(key, spec));
            held.Number = compiled.Count;
            if (!_compiled.TryGetValue(key, out var before) || _recompile.Contains(key) || !IsSame(before.Definition, definition))
                _compiled[key] = before = (definition, CompiledService.Compile(definition, i => HealthOf($"{key}/{definition.Endpoints[i].Name}")));
            compiled.Add(before.Compiled);
            turns.Add(_turns.TryGetValue(key, out var state) ? state : _turns[key] = new TurnState());
            foreach (var endpoint in resolved.Endpoints)
                targets.Add(new HealthTarget($"{key}/{endpoint.Name}", endpoint.Addresses[0], spec.Check.Port > 0 ? spec.Check.Port : endpoint.Port, endpoint.Node, spec.Check));
        }

        return (compiled, turns, targets, problems);
    }

    // What the user gives is not mixed with what is measured: nobody could tell the two apart.
    private IReadOnlyList<Latency> LatenciesOf(string key, GlobalServiceSpec spec)
        => spec.Latencies.Count == 0 && spec.Policy.Uses(PolicyKind.Latency) ? _measured.Of(key, _cluster.Nodes) : spec.Latencies;

    // Errors by zone; hosts gets the services that are bound.
    private Dictionary<string, string> BuildZones(List<CompiledService> compiled, Dictionary<string, int> hosts, Dictionary<string, List<string>> problems)
    {
        var errors = new Dictionary<string, string>(StringComparer.Ordinal);
        var served = new Dictionary<string, (string Key, ZoneSpec Spec)>(StringComparer.Ordinal);
        // The zone that was there first keeps its apex.
        foreach (var (key, held) in _zones.OrderBy(pair => pair.Value.Created, StringComparer.Ordinal).ThenBy(pair => pair.Key, StringComparer.Ordinal))
        {
            if (held.Good is not { } spec)
                continue;
            if (!served.TryAdd(spec.Apex, (key, spec)))
                errors[key] = $"Overlapping|the Zone {served[spec.Apex].Key} has the apex {spec.Apex} already; merge the two or remove one";
        }

        foreach (var (key, held) in _services.OrderBy(pair => pair.Value.Created, StringComparer.Ordinal).ThenBy(pair => pair.Key, StringComparer.Ordinal))
        {
            foreach (var host in held.Good?.Hosts ?? [])
            {
                var zone = served.Values.Select(one => one.Spec).Where(spec => HostName.IsWithin(host, spec.Apex)).MaxBy(spec => spec.Apex.Length);
                if (zone is null)
                    problems[key].Add($"NoZone|spec.hosts: no Zone has '{host}'; make one with its apex, e.g. {host[(host.IndexOf('.', StringComparison.Ordinal) + 1)..]}");
                else if (zone.Taken.Contains(host))
                    problems[key].Add($"HostTaken|spec.hosts: the Zone {zone.Name} has address records of its own for '{host}'; remove them there, or the host here");
                else if (zone.DelegationOf(host) is { } cut)
                    problems[key].Add($"HostTaken|spec.hosts: the Zone {zone.Name} delegates '{cut}' to other servers, so '{host}' is theirs to answer; remove the NS records there, or the host here");
                else if (!hosts.TryAdd(host, held.Number))
                    problems[key].Add($"HostTaken|spec.hosts: '{host}' belongs to the GlobalService {compiled[hosts[host]].Definition.Name} already");
            }
        }

        var bound = string.Join('\n', hosts.Select(pair => $"{pair.Key}={pair.Value}").Order(StringComparer.Ordinal));
        var sources = served.Values.Select(one => (one.Key, Source: Bind(one.Spec.Source, one.Spec.Apex, served.Keys, hosts))).ToList();
        var set = ZoneSet.Compile([.. sources.Select(one => one.Source)], out var found);
        foreach (var error in found)
        {
            var key = sources.First(one => one.Source.Apex.Equals(error.Apex)).Key;
            errors[key] = errors.TryGetValue(key, out var before) ? $"{before}; {error.Message}" : $"{(error.Message.Contains("CNAME", StringComparison.Ordinal) ? "BadCname" : "Invalid")}|{error.Message}";
        }

        // What does not compile is served as it was.
        var isAnyBack = false;
        for (var i = 0; i < sources.Count; i++)
        {
            var (key, source) = sources[i];
            if (!errors.ContainsKey(key))
            {
                _goodZones[key] = served.Values.First(one => one.Key == key).Spec.Source;
            }
            else if (_goodZones.TryGetValue(key, out var good))
            {
                sources[i] = (key, Bind(good, HostName.Canonical(good.Apex.ToString()), served.Keys, hosts));
                isAnyBack = true;
            }
        }

        if (_zonesChanged || bound != _bound)
        {
            _zoneSet = isAnyBack ? ZoneSet.Compile([.. sources.Select(one => one.Source)], out _) : set;
            (_bound, _zonesChanged) = (bound, false);
            _hostsIn = sources.ToDictionary(
                one => one.Key, one => (IReadOnlyList<string>)[.. one.Source.Services.Select(service => HostName.Canonical(service.Name.ToString())).Order(StringComparer.Ordinal)], StringComparer.Ordinal);
        }

        return errors;
    }

    private static ZoneSource Bind(ZoneSource source, string apex, IEnumerable<string> apexes, Dictionary<string, int> hosts) => new()
    {
        Apex = source.Apex,
        Records = source.Records,
        TransferAcl = source.TransferAcl,
        NotifyTargets = source.NotifyTargets,
        Services = [.. hosts.Where(pair => HostName.IsWithin(pair.Key, apex) && !apexes.Any(other => other.Length > apex.Length && HostName.IsWithin(pair.Key, other)))
            .Select(pair => new ZoneService(DnsName.Parse(pair.Key + "."), pair.Value))],
    };

    private EndpointHealth HealthOf(string endpoint)
        => _health.TryGetValue(endpoint, out var state) && !state.IsUp ? new EndpointHealth(false, state.Reason ?? "") : EndpointHealth.Up;

    private static bool IsSame(ServiceDefinition a, ServiceDefinition b)
        => a with { Endpoints = [], Latencies = [] } == b with { Endpoints = [], Latencies = [] } && a.Latencies.SequenceEqual(b.Latencies) && a.Endpoints.Count == b.Endpoints.Count
            && a.Endpoints.Zip(b.Endpoints).All(pair => pair.First with { Addresses = [] } == pair.Second with { Addresses = [] } && pair.First.Addresses.SequenceEqual(pair.Second.Addresses));

    private static ObjectStatus ZoneStatus(Held<ZoneSpec> held, string? error, bool isServed)
    {
        if (held.Problems.Count > 0)
            return NotAccepted(held, "Invalid", string.Join("; ", held.Problems), isServed);
        if (error is null)
            return Accepted(held);
        var bar = error.IndexOf('|', StringComparison.Ordinal);
        return NotAccepted(held, error[..bar], error[(bar + 1)..], isServed && !error.StartsWith("Overlapping", StringComparison.Ordinal));
    }

    private ObjectStatus ServiceStatus(string key, Held<GlobalServiceSpec> held, List<string> problems, Dictionary<string, int> hosts)
    {
        var status = held.Problems.Count > 0 ? NotAccepted(held, "Invalid", string.Join("; ", held.Problems), held.Good is not null) : Accepted(held);
        if (held.Good is null)
            return status;
        var compiled = _compiled[key].Compiled;
        var isBound = hosts.ContainsValue(held.Number);
        var texts = problems.Select(problem => problem[(problem.IndexOf('|', StringComparison.Ordinal) + 1)..]).ToList();
        var eligible = compiled.Of(isIPv6: false).Eligible.Union(compiled.Of(isIPv6: true).Eligible).Count();
        if (status.IsAccepted)
        {
            status = !isBound && problems.FirstOrDefault(problem => problem.Contains('|', StringComparison.Ordinal)) is { } first
                ? status with { IsReady = false, ReadyReason = first[..first.IndexOf('|', StringComparison.Ordinal)], ReadyMessage = string.Join("; ", texts) }
                : eligible == 0 ? status with { IsReady = false, ReadyReason = "NoEndpoint", ReadyMessage = string.Join("; ", texts.Prepend("no endpoint is eligible")) }
                : status with { ReadyMessage = string.Join("; ", texts.Prepend($"{eligible} of {compiled.Endpoints.Length} endpoints are eligible")) };
        }

        return status with
        {
            Hosts = [.. hosts.Where(pair => pair.Value == held.Number).Select(pair => pair.Key).Order(StringComparer.Ordinal)],
            Latencies = held.Good.Latencies.Count > 0 ? [] : [.. compiled.Definition.Latencies],
            // All of them: an edge that looks for its own must find it.
            Endpoints = [.. compiled.Endpoints.Select(endpoint => EndpointStatus.Of(endpoint, _health.GetValueOrDefault($"{key}/{endpoint.Name}")))],
        };
    }

    private static ObjectStatus Accepted<T>(Held<T> held) => ObjectStatus.Of(held.Generation, "Accepted", "", true, true, "Serving", "");

    private static ObjectStatus NotAccepted<T>(Held<T> held, string reason, string message, bool hasGood)
        => ObjectStatus.Of(held.Generation, reason, message, false, hasGood, hasGood ? "LastGood" : reason, hasGood ? "the last good state serves" : "there is nothing good to serve");

    private static void Hold<T>(SortedDictionary<string, Held<T>> all, string key, JsonObject obj, T? spec, IReadOnlyList<string> problems)
        where T : class
    {
        var held = all.GetValueOrDefault(key);
        // Made anew under its name: what the one before had is not its own.
        if (held is null || held.Uid != obj.Uid())
            all[key] = held = new Held<T> { Uid = obj.Uid(), Created = obj.Text("metadata", "creationTimestamp") };
        (held.Good, held.Problems, held.Generation) = (spec ?? held.Good, problems, obj.Number(0, "metadata", "generation"));
    }

    private static string KeyOf(JsonObject obj) => obj.Namespace().Length > 0 ? $"{obj.Namespace()}/{obj.Name()}" : obj.Name();

    private sealed class Held<T>
    {
        public required string Uid { get; init; }

        public required string Created { get; init; }

        public long Generation { get; set; }

        public T? Good { get; set; }

        public IReadOnlyList<string> Problems { get; set; } = [];

        /// <summary>Of a service, in the selector.</summary>
        public int Number { get; set; } = -1;
    }
}
