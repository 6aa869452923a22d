using System.Diagnostics.Metrics;

namespace Edge.Kubernetes;

/// <summary>Holds requests to an API server to a rate, as client-go's QPS and burst do. Shared by the clients of the same options; safe for concurrent calls.</summary>
public sealed class RequestRate
{
    private static readonly Meter s_meter = new("Edge.Kubernetes");
    private static readonly Counter<long> s_waits = s_meter.CreateCounter<long>("edge_kube_requests_delayed", description: "Requests to the Kubernetes API that waited for their turn (kubeAPIConfig.qps)");
    private static readonly Counter<double> s_waited = s_meter.CreateCounter<double>("edge_kube_requests_delay_seconds", description: "Seconds that requests to the Kubernetes API waited for their turn");

    private readonly TimeProvider _time;
    private readonly long _start;
    private readonly TokenBucket _bucket;
    private readonly Lock _gate = new();

    /// <param name="perSecond">Requests a second on the average.</param>
    /// <param name="burst">Requests at once after a pause.</param>
    public RequestRate(int perSecond, int burst, TimeProvider time)
    {
        (PerSecond, Burst) = (perSecond, burst);
        _time = time;
        _start = time.GetTimestamp();
        _bucket = new TokenBucket(perSecond, burst);
    }

    public int PerSecond { get; }

    public int Burst { get; }

    /// <summary>Ends when the request may go.</summary>
    /// <param name="longest">How long it can wait at all: what would take longer fails at once, so that the queue has a bound.</param>
    /// <exception cref="KubeException">Code 0, reason TooManyRequests: the wait would be longer.</exception>
    public async ValueTask WaitAsync(TimeSpan longest, CancellationToken cancellationToken)
    {
        TimeSpan? wait;
        lock (_gate)
        {
            wait = _bucket.Reserve(_time.GetElapsedTime(_start), longest);
        }

        if (wait is not { } time)
            throw new KubeException(0, "TooManyRequests", $"more requests wait than {PerSecond} a second let through in {longest.TotalSeconds:0.#} s; raise kubeAPIConfig.qps if the API server can take more");
        if (time == TimeSpan.Zero)
            return;
        s_waits.Add(1);
        s_waited.Add(time.TotalSeconds);
        try
        {
            await Task.Delay(time, _time, cancellationToken);
        }
        catch (OperationCanceledException)
        {
            lock (_gate)
            {
                _bucket.Return();
            }

            throw;
        }
    }
}
