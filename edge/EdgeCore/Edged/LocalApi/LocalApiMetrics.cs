using System.Collections.Concurrent;

namespace Edge.Core.Edged.LocalApi;

/// <summary>Counts of the local API itself. Any thread.</summary>
internal sealed class LocalApiMetrics
{
    /// <summary>Followed logs and upgraded connections that may be open at once; the next is refused with 429.</summary>
    public const int StreamsMax = 64;

    private readonly ConcurrentDictionary<(string Endpoint, int Status), long> _requests = new();
    private int _streams;

    public void Count(string endpoint, int status) => _requests.AddOrUpdate((endpoint, status), 1, (_, count) => count + 1);

    /// <summary>Takes a place for a stream, which the result gives back.</summary>
    /// <exception cref="LocalApiRefusal">429, all are taken.</exception>
    public IDisposable OpenStream()
    {
        if (Interlocked.Increment(ref _streams) <= StreamsMax)
            return new Place(this);
        Interlocked.Decrement(ref _streams);
        throw new LocalApiRefusal(429, $"{StreamsMax} logs are followed or connections open already, which is the most; end one and try again");
    }

    public string Text()
    {
        var text = new PrometheusText();
        text.Family("edgecore_local_api_requests_total", "counter", "Requests of the local API that have ended, by endpoint and HTTP status.");
        foreach (var ((endpoint, status), count) in _requests.OrderBy(pair => pair.Key))
            text.Value([("code", status.ToString(System.Globalization.CultureInfo.InvariantCulture)), ("endpoint", endpoint)], (ulong)count, null);
        text.Family("edgecore_local_api_streams", "gauge", "Logs being followed and exec, attach and port-forward connections.");
        text.Value([], (ulong)Math.Max(0, Volatile.Read(ref _streams)), null);
        return text.ToString();
    }

    private sealed class Place(LocalApiMetrics owner) : IDisposable
    {
        private int _disposed;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _disposed, 1) == 0)
                Interlocked.Decrement(ref owner._streams);
        }
    }
}
