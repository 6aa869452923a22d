using System.Collections.Concurrent;
using System.Globalization;
using System.Text;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>Counts of MetaServer. Any thread.</summary>
internal sealed class MetaServerMetrics
{
    /// <summary>Watches that may be open at once; the next is refused with 429.</summary>
    public const int WatchesMax = 256;

    private readonly ConcurrentDictionary<(string Verb, int Code), long> _requests = new();
    private int _watches;

    public void Count(string verb, int code) => _requests.AddOrUpdate((verb, code), 1, (_, count) => count + 1);

    /// <summary>Takes a place for a watch, which the result gives back.</summary>
    /// <exception cref="MetaServerException">429, all are taken.</exception>
    public IDisposable OpenWatch()
    {
        if (Interlocked.Increment(ref _watches) <= WatchesMax)
            return new Place(this);
        Interlocked.Decrement(ref _watches);
        throw new MetaServerException(429, "TooManyRequests", $"{WatchesMax} watches are open at this node, which is the most; end one and try again");
    }

    public string Text(AnswerCache cache, AccessReviews reviews)
    {
        var text = new StringBuilder("# HELP edgecore_metaserver_requests_total Requests of MetaServer that have ended, by verb and HTTP status.\n# TYPE edgecore_metaserver_requests_total counter\n");
        foreach (var ((verb, code), count) in _requests.OrderBy(pair => pair.Key))
            text.Append(CultureInfo.InvariantCulture, $"edgecore_metaserver_requests_total{{code=\"{code}\",verb=\"{verb}\"}} {count}\n");
        var (answers, bytes) = cache.Size;
        foreach (var (name, help, value) in (ReadOnlySpan<(string, string, long)>)
            [
                ("watches", "Watches that are open.", Math.Max(0, Volatile.Read(ref _watches))), ("cached_answers", "Answers of the API that are kept.", answers),
                ("cached_bytes", "Bytes of the answers that are kept.", bytes), ("access_answers", "Answers about rights that are kept.", reviews.Count),
            ])
            text.Append(CultureInfo.InvariantCulture, $"# HELP edgecore_metaserver_{name} {help}\n# TYPE edgecore_metaserver_{name} gauge\nedgecore_metaserver_{name} {value}\n");
        return text.ToString();
    }

    private sealed class Place(MetaServerMetrics owner) : IDisposable
    {
        private int _disposed;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _disposed, 1) == 0)
                Interlocked.Decrement(ref owner._watches);
        }
    }
}
