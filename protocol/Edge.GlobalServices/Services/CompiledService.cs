using System.Text;
using Edge.GlobalServices.Locations;

namespace Edge.GlobalServices.Services;

/// <summary>A service made ready for choices: who is eligible is decided here, once for each change of health, and not for each query. Immutable.</summary>
internal sealed class CompiledService
{
    /// <summary>Endpoints of one service; further ones are left out by whoever resolves them, with a condition.</summary>
    public const int EndpointsMax = 1024;

    private readonly Family _ipv4;
    private readonly Family _ipv6;
    private readonly Dictionary<string, double[]> _latencies;
    private readonly (int Group, ulong Key)[][] _groups;

    private CompiledService(
        ServiceDefinition definition, Family ipv4, Family ipv6, ulong[] keys, (int Group, ulong Key)[][] groups, Dictionary<string, double[]> latencies)
    {
        Definition = definition;
        Endpoints = [.. definition.Endpoints];
        Keys = keys;
        _ipv4 = ipv4;
        _ipv6 = ipv6;
        _groups = groups;
        _latencies = latencies;
    }

    public ServiceDefinition Definition { get; }

    public ServiceEndpoint[] Endpoints { get; }

    /// <summary>What consistent hashing knows an endpoint by.</summary>
    public ulong[] Keys { get; }

    /// <param name="healthOf">By the endpoint's place in the definition.</param>
    public static CompiledService Compile(ServiceDefinition definition, Func<int, EndpointHealth> healthOf)
    {
        var endpoints = definition.Endpoints;
        if (endpoints.Count > EndpointsMax)
            throw new ArgumentException($"{definition.Name} has {endpoints.Count} endpoints, more than {EndpointsMax}", nameof(definition));
        var groups = new List<(int Group, ulong Key)[]>();
        for (var step = definition.Policy; step.Then is not null; step = step.Then)
            groups.Add(GroupsOf(endpoints, step.By));
        var latencies = new Dictionary<string, double[]>(StringComparer.Ordinal);
        foreach (var latency in definition.Latencies)
        {
            if (!latencies.TryGetValue(latency.From, out var row))
            {
                latencies[latency.From] = row = new double[endpoints.Count];
                Array.Fill(row, double.PositiveInfinity);
            }

            for (var i = 0; i < endpoints.Count; i++)
            {
                if (endpoints[i].Name == latency.To)
                    row[i] = latency.Milliseconds;
            }
        }

        var health = Enumerable.Range(0, endpoints.Count).Select(healthOf).ToArray();
        return new CompiledService(
            definition, Family.Of(definition, health, isIPv6: false), Family.Of(definition, health, isIPv6: true), [.. endpoints.Select(one => KeyOf(one.Name))], [.. groups], latencies);
    }

    /// <summary>The eligible endpoints and the verdict on each, for questions of one IP version.</summary>
    public Family Of(bool isIPv6) => isIPv6 ? _ipv6 : _ipv4;

    /// <summary>The group of an endpoint at a step that chooses groups: the place of the first endpoint of the group.</summary>
    public int GroupOf(int step, int endpoint) => _groups[step][endpoint].Group;

    /// <summary>What consistent hashing knows that group by: its name, so that it stays when its first endpoint goes.</summary>
    public ulong GroupKeyOf(int step, int endpoint) => _groups[step][endpoint].Key;

    /// <summary>What was measured from where the client is, in ms by endpoint (infinite where nothing was); null when nothing was measured there at all.</summary>
    public double[]? LatenciesFrom(Location client)
        => _latencies.Count == 0 ? null
            : _latencies.TryGetValue(client.Site, out var row) || _latencies.TryGetValue(client.Region, out row) || _latencies.TryGetValue(client.Country, out row) ? row : null;

    /// <summary>What makes a group's name at a step.</summary>
    public static string GroupName(ServiceEndpoint endpoint, PolicyBy by) => by switch
    {
        PolicyBy.Site => endpoint.Location.Site,
        PolicyBy.Region => endpoint.Location.Region,
        PolicyBy.Country => endpoint.Location.Country,
        PolicyBy.Priority => FormattableString.Invariant($"{endpoint.Priority}"),
        _ => endpoint.Name,
    };

    private static (int Group, ulong Key)[] GroupsOf(IReadOnlyList<ServiceEndpoint> endpoints, PolicyBy by)
    {
        var first = new Dictionary<string, int>(StringComparer.Ordinal);
        var groups = new (int Group, ulong Key)[endpoints.Count];
        for (var i = 0; i < groups.Length; i++)
        {
            // Endpoints of which it is not known are a group of one each.
            var name = GroupName(endpoints[i], by);
            groups[i] = (name.Length == 0 || first.TryAdd(name, i) ? i : first[name], KeyOf(name.Length == 0 ? endpoints[i].Name : name));
        }

        return groups;
    }

    // FNV-1a, then mixed: must be the same in every process and for ever, or clients move at an upgrade.
    private static ulong KeyOf(string name)
    {
        var hash = 14_695_981_039_346_656_037UL;
        foreach (var one in Encoding.UTF8.GetBytes(name))
            hash = (hash ^ one) * 1_099_511_628_211UL;
        return Hashing.Mix(hash);
    }

    /// <summary>One IP version's view of the service.</summary>
    internal sealed class Family
    {
        private Family(ushort[] eligible, Verdict[] verdicts, string[] reasons, UInt128[][] addresses, bool isFailOpen)
        {
            Eligible = eligible;
            Verdicts = verdicts;
            Reasons = reasons;
            Addresses = addresses;
            IsFailOpen = isFailOpen;
        }

        /// <summary>Places of the endpoints that may be chosen, in order.</summary>
        public ushort[] Eligible { get; }

        public Verdict[] Verdicts { get; }

        public string[] Reasons { get; }

        /// <summary>By endpoint.</summary>
        public UInt128[][] Addresses { get; }

        public bool IsFailOpen { get; }

        public static Family Of(ServiceDefinition definition, EndpointHealth[] health, bool isIPv6)
        {
            var endpoints = definition.Endpoints;
            var addresses = endpoints.Select(one => one.Addresses.Where(address => address >> 32 == 0xffff != isIPv6).ToArray()).ToArray();
            var verdicts = new Verdict[endpoints.Count];
            var reasons = new string[endpoints.Count];
            var (members, healthy) = (0, 0);
            for (var i = 0; i < verdicts.Length; i++)
            {
                (verdicts[i], reasons[i]) = addresses[i].Length == 0 ? (Verdict.NoAddress, isIPv6 ? "it has no IPv6 address" : "it has no IPv4 address")
                    : endpoints[i].IsDrained ? (Verdict.Drained, "it is drained")
                    : endpoints[i].NotReady.Length > 0 ? (Verdict.NotReady, endpoints[i].NotReady)
                    : health[i].IsUp ? (Verdict.Eligible, "") : (Verdict.Unhealthy, health[i].Reason);
                // What is drained was taken out by hand: it says nothing about the health of the rest.
                if (verdicts[i] is Verdict.NoAddress or Verdict.Drained)
                    continue;
                members++;
                if (verdicts[i] == Verdict.Eligible)
                    healthy++;
            }

            var isFailOpen = healthy < members && healthy * 100 < definition.MinimumHealthyPercent * members;
            for (var i = 0; isFailOpen && i < verdicts.Length; i++)
            {
                if (verdicts[i] is Verdict.NotReady or Verdict.Unhealthy)
                    verdicts[i] = Verdict.FailOpen;
            }

            var eligible = Enumerable.Range(0, verdicts.Length).Where(i => verdicts[i] is Verdict.Eligible or Verdict.FailOpen).Select(i => (ushort)i).ToArray();
            return new Family(eligible, verdicts, reasons, addresses, isFailOpen);
        }
    }
}

/// <summary>Hashes that stay the same in every process.</summary>
internal static class Hashing
{
    /// <summary>The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input moves half the bits of the output.</summary>
    public static ulong Mix(ulong x)
    {
        x += 0x9E37_79B9_7F4A_7C15;
        x = (x ^ (x >> 30)) * 0xBF58_476D_1CE4_E5B9;
        x = (x ^ (x >> 27)) * 0x94D0_49BB_1331_11EB;
        return x ^ (x >> 31);
    }
}
