namespace Edge.GlobalServices.Health;

/// <summary>Whether edge nodes can be reached, from what is known of each: the hub's session in this process, and what the cluster says (the Ready condition, and when the
/// node last gave a sign of life), which covers nodes at another CloudCore. Pure.</summary>
/// <remarks>A session's end counts at once. What the API says soon after is not believed against it: it may be what the node sent before. A sign of life that is seen later
/// comes from another CloudCore that has the node now.</remarks>
internal sealed class NodeReach
{
    /// <summary>For so long after a session's end a sign of life may be an old one, still on its way.</summary>
    public const long OldSignsMs = 5_000;

    private readonly Dictionary<string, Known> _nodes = new(StringComparer.Ordinal);

    /// <summary>Why the node cannot be reached; null when it can. A node of which nothing is known can.</summary>
    public string? ProblemOf(string node) => _nodes.TryGetValue(node, out var known) ? known.Problem : null;

    /// <summary>The node's session here began or ended. True when <see cref="ProblemOf"/> changed.</summary>
    public bool Session(string node, bool isConnected, long nowMs)
    {
        var known = Of(node);
        (known.Session, known.EndedAtMs) = (isConnected ? SessionState.Here : SessionState.Ended, nowMs);
        return Settle(known, node);
    }

    /// <summary>What the API says of the node. True when <see cref="ProblemOf"/> changed.</summary>
    /// <param name="sign">Changes with every sign of life: a heartbeat or a lease's renewTime.</param>
    public bool Observed(string node, bool isReady, string sign, long nowMs)
    {
        var known = Of(node);
        known.IsReady = isReady;
        if (known.Session == SessionState.Ended && sign != known.Sign && nowMs - known.EndedAtMs > OldSignsMs)
            known.Session = SessionState.None;
        known.Sign = sign;
        return Settle(known, node);
    }

    /// <summary>The Node object is gone. True when <see cref="ProblemOf"/> changed.</summary>
    public bool Deleted(string node) => _nodes.Remove(node, out var known) && known.Problem is not null;

    private static bool Settle(Known known, string node)
    {
        var problem = known.Session switch
        {
            SessionState.Here => null,
            SessionState.Ended => $"the session of node {node} ended",
            _ => known.IsReady ? null : $"node {node} is not ready",
        };
        var changed = problem != known.Problem;
        known.Problem = problem;
        return changed;
    }

    private Known Of(string node)
    {
        if (!_nodes.TryGetValue(node, out var known))
            _nodes[node] = known = new Known();
        return known;
    }

    private enum SessionState
    {
        None,
        Here,
        Ended,
    }

    private sealed class Known
    {
        public SessionState Session { get; set; }

        public long EndedAtMs { get; set; }

        public bool IsReady { get; set; } = true;

        public string Sign { get; set; } = "";

        public string? Problem { get; set; }
    }
}
