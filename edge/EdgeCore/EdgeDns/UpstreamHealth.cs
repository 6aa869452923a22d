using System.Net;

namespace Edge.Core.EdgeDns;

/// <summary>Which upstream to ask first; pure, one caller at a time.</summary>
/// <remarks>They are asked in the order of the configuration. One that failed comes last until its rest is over, and longer each time: a query that waits for a dead one first is slow.</remarks>
internal sealed class UpstreamHealth(IReadOnlyList<IPEndPoint> upstreams, Random random)
{
    private const long RestMsMin = 1000;
    private const long RestMsMax = 30_000;

    private readonly int[] _failures = new int[upstreams.Count];
    private readonly long[] _restsUntilMs = new long[upstreams.Count];

    /// <summary>All of them, in the order in which to ask.</summary>
    public List<int> Order(long nowMs)
        => [.. Enumerable.Range(0, upstreams.Count).OrderBy(i => _restsUntilMs[i] > nowMs ? 1 : 0).ThenBy(i => _restsUntilMs[i] > nowMs ? _restsUntilMs[i] : 0).ThenBy(i => i)];

    public void Answered(int upstream) => (_failures[upstream], _restsUntilMs[upstream]) = (0, 0);

    public void Failed(int upstream, long nowMs)
    {
        var rest = Math.Min(RestMsMax, RestMsMin << Math.Min(_failures[upstream]++, 6));
        // A quarter of jitter: many nodes must not come back at once.
        _restsUntilMs[upstream] = nowMs + rest - random.NextInt64(rest / 4);
    }

    public bool IsResting(int upstream, long nowMs) => _restsUntilMs[upstream] > nowMs;
}
