namespace Edge.Cloud.CloudHub;

/// <summary>The <see cref="UplinkGuard"/> of each node that has sent something it guards. Bounded: the one made first goes first, and a node without its guard is only applied once more than
/// needed. Safe for concurrent calls; a guard itself is locked by who uses it.</summary>
internal sealed class UplinkGuards
{
    private const int NodesMax = 16_384;

    // A node's queue has its pods' status and its events in it; few are without an answer at any time.
    private const int KeysMax = 128;

    private readonly Lock _gate = new();
    private readonly OrderedDictionary<string, UplinkGuard> _guards = [];

    public UplinkGuard Of(string node)
    {
        lock (_gate)
        {
            if (_guards.TryGetValue(node, out var guard))
                return guard;
            if (_guards.Count >= NodesMax)
                _guards.RemoveAt(0);
            _guards[node] = guard = new UplinkGuard(KeysMax);
            return guard;
        }
    }
}
