namespace Edge.Cloud.Dashboard;

/// <summary>One connect or disconnect of a node.</summary>
/// <param name="Detail">Of a connect where it came from and over what; of a disconnect why.</param>
internal sealed record LinkEvent(long Order, DateTimeOffset At, string Node, bool IsConnect, string Detail);

/// <summary>Connects and disconnects of all nodes: the newest <see cref="EventsMax"/>, older ones are overwritten. Safe for concurrent calls; none waits.</summary>
internal sealed class LinkHistory(TimeProvider time)
{
    public const int EventsMax = 4096;

    private readonly Lock _gate = new();
    private readonly LinkEvent?[] _ring = new LinkEvent?[EventsMax];
    private readonly Dictionary<string, LinkEvent> _last = [];
    private readonly Dictionary<string, long> _connects = [];
    private long _next;

    /// <summary>Told the node after each change; must be quick. At most one listener.</summary>
    public Action<string>? Changed { get; set; }

    public void Connected(string node, string address, string over) => Add(node, true, $"from {address} over {over}");

    /// <param name="isReplaced">A newer session of the node has begun: the node stays connected.</param>
    public void Disconnected(string node, string reason, bool isReplaced)
    {
        if (isReplaced)
            Add(node, null, reason);
        else
            Add(node, false, reason);
    }

    /// <summary>The last event of the node; null when none is remembered.</summary>
    public LinkEvent? Last(string node)
    {
        lock (_gate)
        {
            return _last.GetValueOrDefault(node);
        }
    }

    /// <summary>What is remembered of the node, newest first, at most <paramref name="max"/>.</summary>
    public IReadOnlyList<LinkEvent> Of(string node, int max)
    {
        var found = new List<LinkEvent>();
        lock (_gate)
        {
            for (var order = _next - 1; order >= Math.Max(0, _next - EventsMax) && found.Count < max; order--)
            {
                if (_ring[order % EventsMax] is { } one && one.Node == node)
                    found.Add(one);
            }
        }

        return found;
    }

    // Null: a disconnect after which the node is connected all the same.
    private void Add(string node, bool? isConnect, string detail)
    {
        lock (_gate)
        {
            var place = _next % EventsMax;
            if (_ring[place] is { } old && _connects.TryGetValue(old.Node, out var count))
            {
                // Nothing is kept of a node whose events are all forgotten and that is away.
                if (count <= 1)
                    _connects.Remove(old.Node);
                else
                    _connects[old.Node] = count - 1;
                if (count <= 1 && !_last[old.Node].IsConnect)
                    _last.Remove(old.Node);
            }

            var added = new LinkEvent(_next, time.GetUtcNow(), node, isConnect == true, detail);
            _ring[place] = added;
            _connects[node] = _connects.GetValueOrDefault(node) + 1;
            if (isConnect is not null || !_last.ContainsKey(node))
                _last[node] = added;
            _next++;
        }

        Changed?.Invoke(node);
    }
}
