using System.Text.Json.Nodes;
using Edge.GlobalServices.Locations;
using Edge.Kubernetes;

namespace Edge.GlobalServices.Services;

/// <summary>Round trips that nodes measured, as the latencies of the places where they are. Pure, one owner.</summary>
internal sealed class MeasuredLatencies
{
    /// <summary>Reports kept: one for each node and service; those of further nodes are dropped.</summary>
    public const int ReportsMax = 65_536;

    private readonly Dictionary<string, Dictionary<string, IReadOnlyDictionary<string, double>>> _byService = new(StringComparer.Ordinal);
    private readonly Dictionary<string, IReadOnlyList<Latency>> _told = new(StringComparer.Ordinal);
    private int _reports;

    /// <summary>The newest of a node replaces what it said before.</summary>
    public void Set(string node, string service, IReadOnlyDictionary<string, double> milliseconds)
    {
        if (!_byService.TryGetValue(service, out var nodes))
            _byService[service] = nodes = new Dictionary<string, IReadOnlyDictionary<string, double>>(StringComparer.Ordinal);
        if (!nodes.ContainsKey(node) && _reports >= ReportsMax)
            return;
        if (!nodes.ContainsKey(node))
            _reports++;
        nodes[node] = milliseconds;
    }

    /// <summary>Takes over what somebody else made of reports, instead of reports.</summary>
    public void SetTold(string service, IReadOnlyList<Latency> latencies) => _told[service] = latencies;

    public void Forget(string service)
    {
        _told.Remove(service);
        if (_byService.Remove(service, out var nodes))
            _reports -= nodes.Count;
    }

    /// <summary>From each site, region and country that has nodes with a report: the shortest way any of them found.</summary>
    /// <param name="nodes">As they are now; of others nothing counts, and what they said is forgotten.</param>
    public IReadOnlyList<Latency> Of(string service, IEnumerable<JsonObject> nodes)
    {
        if (!_byService.TryGetValue(service, out var reports))
            return _told.GetValueOrDefault(service) ?? [];
        var places = nodes.ToDictionary(node => node.Name(), node => EndpointResolver.LocationOf(Location.Unknown, node), StringComparer.Ordinal);
        foreach (var gone in reports.Keys.Where(node => !places.ContainsKey(node)).ToList())
        {
            reports.Remove(gone);
            _reports--;
        }

        var best = new SortedDictionary<(string From, string To), double>(Comparer<(string From, string To)>.Create(
            (a, b) => string.CompareOrdinal(a.From, b.From) is var from and not 0 ? from : string.CompareOrdinal(a.To, b.To)));
        foreach (var (node, milliseconds) in reports)
        {
            var place = places[node];
            foreach (var from in (string[])[place.Site, place.Region, place.Country])
            {
                if (from.Length == 0)
                    continue;
                foreach (var (to, value) in milliseconds)
                    best[(from, to)] = best.TryGetValue((from, to), out var known) ? Math.Min(known, value) : value;
            }
        }

        return [.. best.Select(one => new Latency(one.Key.From, one.Key.To, one.Value))];
    }
}
