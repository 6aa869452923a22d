using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using Edge.GlobalServices.Locations;

namespace Edge.GlobalServices.Services;

/// <summary>Counts where clients were sent: by service, endpoint and the client's country or region. At most <see cref="PlacesMax"/> of these; what is beyond counts under "other".
/// Allocates only when a combination is seen for the first time; safe from several threads.</summary>
internal sealed class ClientCounts
{
    public const int PlacesMax = 4096;

    private readonly ConcurrentDictionary<(string Service, string Endpoint, string Country, string Region), StrongBox<long>> _counts = new();
    private readonly StrongBox<long> _others = new();

    /// <param name="location">Null where it is not known.</param>
    public void Count(string service, string endpoint, Location? location)
    {
        var key = (service, endpoint, location?.Country ?? "", location?.Region ?? "");
        if (!_counts.TryGetValue(key, out var count))
            count = _counts.Count < PlacesMax ? _counts.GetOrAdd(key, static _ => new StrongBox<long>()) : _others;
        Interlocked.Increment(ref count.Value);
    }

    /// <summary>What was counted so far, in no order; a location is <c>country/region</c>, or <c>unknown</c>.</summary>
    public IReadOnlyList<(string Service, string Endpoint, string Location, long Answers)> Read()
    {
        var all = _counts.Select(pair => (
            pair.Key.Service, pair.Key.Endpoint,
            pair.Key is { Country: "", Region: "" } ? "unknown" : string.Join('/', new[] { pair.Key.Country, pair.Key.Region }.Where(name => name.Length > 0)),
            Interlocked.Read(ref pair.Value.Value))).ToList();
        if (Interlocked.Read(ref _others.Value) is > 0 and var others)
            all.Add(("other", "other", "other", others));
        return all;
    }
}
