namespace Edge.Cloud.SyncController;

/// <summary>Decides which refusals of an edge become Kubernetes Events: each object once in a while, and of one node not many at once (a full disk refuses everything).
/// Pure, one caller at a time.</summary>
internal sealed class RefusalLimiter
{
    /// <summary>An object's refusal by a node is told again after so long.</summary>
    public static readonly TimeSpan RepeatAfter = TimeSpan.FromMinutes(1);

    /// <summary>Refusals of one node that are told within <see cref="RepeatAfter"/>.</summary>
    public const int PerNodeMax = 10;

    // Pairs remembered. The oldest goes: it may then be told once more.
    private const int RecentMax = 4096;

    private readonly OrderedDictionary<(string Node, string Uid), DateTimeOffset> _recent = [];
    private readonly OrderedDictionary<string, (DateTimeOffset Since, int Count)> _nodes = [];

    /// <summary>True when this refusal is to be told.</summary>
    public bool Allows(string node, string uid, DateTimeOffset now)
    {
        if (_recent.TryGetValue((node, uid), out var at) && now - at < RepeatAfter)
            return false;
        if (!_nodes.TryGetValue(node, out var window) || now - window.Since >= RepeatAfter)
            window = (now, 0);
        if (window.Count >= PerNodeMax)
            return false;
        _nodes.Remove(node);
        _nodes.Add(node, window with { Count = window.Count + 1 });
        _recent.Remove((node, uid));
        _recent.Add((node, uid), now);
        if (_recent.Count > RecentMax)
            _recent.RemoveAt(0);
        if (_nodes.Count > RecentMax)
            _nodes.RemoveAt(0);
        return true;
    }
}
