using System.Globalization;
using System.Text;
using Edge.GlobalServices.Locations;

namespace Edge.GlobalServices.Services;

/// <summary>A choice with its reasons, from the code that makes the choice.</summary>
internal sealed class Explanation
{
    /// <summary>As many as an answer of DNS holds.</summary>
    public const int AddressesMax = 64;

    private readonly List<string> _lines = [];

    private Explanation()
    {
    }

    public Selection Selection { get; private set; }

    public IReadOnlyList<UInt128> Addresses { get; private set; } = [];

    public static Explanation Of(CompiledService service, bool isIPv6, in ClientSubnet client, LocationTable locations, TurnState turns)
    {
        var explanation = new Explanation();
        explanation.Begin(service, isIPv6, client);
        Span<UInt128> addresses = stackalloc UInt128[AddressesMax];
        var trace = new Trace(service, explanation._lines);
        explanation.Selection = Choice.Select(service, isIPv6, client, locations, turns, addresses, ref trace);
        trace.End();
        explanation.Addresses = addresses[..explanation.Selection.Count].ToArray();
        explanation.End(isIPv6, client);
        return explanation;
    }

    public override string ToString() => string.Join('\n', _lines) + "\n";

    private void Begin(CompiledService service, bool isIPv6, in ClientSubnet client)
    {
        var definition = service.Definition;
        var family = service.Of(isIPv6);
        _lines.Add($"client      {Network.Containing(client.Address, client.PrefixLength, client.IsIPv6)} ({(client.FromEcs ? "client subnet" : "resolver's address")})");
        _lines.Add($"service     {definition.Name}, policy {definition.Policy}{(definition.Sticky is null ? "" : ", sticky")}");
        _lines.Add($"considered  {family.Eligible.Length} of {service.Endpoints.Length} endpoints{(family.IsFailOpen ? $": fail open, fewer than {definition.MinimumHealthyPercent} % are healthy" : "")}");
        for (var i = 0; i < service.Endpoints.Length; i++)
        {
            var endpoint = service.Endpoints[i];
            var addresses = string.Join(',', (family.Addresses[i].Length > 0 ? family.Addresses[i] : [.. endpoint.Addresses]).Select(address => Network.ToIPAddress(address).ToString()));
            var verdict = family.Verdicts[i] switch
            {
                Verdict.Eligible => "",
                Verdict.FailOpen => $"ill, answered all the same: {family.Reasons[i]}",
                _ => $"fell out: {family.Reasons[i]}",
            };
            _lines.Add($"  {endpoint.Name}  {addresses}  at {endpoint.Location}{(verdict.Length > 0 ? "  " + verdict : "")}");
        }
    }

    private void End(bool isIPv6, in ClientSubnet client)
    {
        var type = isIPv6 ? "AAAA" : "A";
        foreach (var address in Addresses)
            _lines.Add($"answer      {type} {Network.ToIPAddress(address)}");
        if (Addresses.Count == 0)
            _lines.Add($"answer      none (NODATA): no endpoint is eligible for {type}");
        _lines.Add($"ttl         {Selection.TtlSeconds} s");
        _lines.Add($"scope       /{Selection.ScopePrefix}, the same answer for {Network.Containing(client.Address, Selection.ScopePrefix, client.IsIPv6)}");
    }

    private struct Trace(CompiledService service, List<string> lines) : IChoiceTrace
    {
        private readonly StringBuilder _measured = new();
        private readonly List<string> _chosen = [];
        private readonly HashSet<int> _told = [];
        private Policy? _policy;
        private string _head = "";

        public void Client(Location? location, byte scope)
            => lines.Add(location is null ? $"location    not known (nothing in the maps, /{scope}): endpoints are chosen by weight" : $"location    {location} (the same for /{scope})");

        public void Step(int step, Policy policy, ReadOnlySpan<ushort> candidates)
        {
            End();
            _policy = policy;
            var by = policy.By == PolicyBy.Endpoint ? "" : $" by {Policy.Name(policy.By)}";
            _head = $"step {step + 1}      {Policy.Name(policy.Kind)}{by} among {candidates.Length}";
        }

        public readonly void Measured(PolicyKind kind, int endpoint, double value)
        {
            // An answer of several asks again about the rest.
            if (!_told.Add(endpoint))
                return;
            var text = kind switch
            {
                PolicyKind.Nearest => string.Create(CultureInfo.InvariantCulture, $"{value:0} km"),
                PolicyKind.Latency => double.IsInfinity(value) ? "not measured" : string.Create(CultureInfo.InvariantCulture, $"{value:0.#} ms"),
                PolicyKind.Failover => string.Create(CultureInfo.InvariantCulture, $"priority {value:0}"),
                _ => string.Create(CultureInfo.InvariantCulture, $"weight {value:0}"),
            };
            _measured.Append(_measured.Length > 0 ? ", " : "").Append(Name(endpoint)).Append(' ').Append(text);
        }

        public readonly void Chose(int endpoint) => _chosen.Add(Name(endpoint));

        public void End()
        {
            if (_policy is null)
                return;
            lines.Add($"{_head}: {string.Join(", ", _chosen)}{(_measured.Length > 0 ? $" ({_measured})" : "")}");
            _measured.Clear();
            _chosen.Clear();
            _told.Clear();
            _policy = null;
        }

        private readonly string Name(int endpoint)
        {
            var one = service.Endpoints[endpoint];
            // Distances and the like are an endpoint's; what is chosen may be its group.
            return _policy is { By: not PolicyBy.Endpoint } policy && CompiledService.GroupName(one, policy.By) is { Length: > 0 } group && group != one.Name ? $"{group} [{one.Name}]" : one.Name;
        }
    }
}
