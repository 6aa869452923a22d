namespace Edge.Protocol.Mqtt.Broker;

/// <summary>Retained messages by topic (pure).</summary>
internal sealed class RetainedTree
{
    private readonly Node _root = new();

    public int Count { get; private set; }

    /// <summary>The message of exactly this topic.</summary>
    public StoredMessage? Get(string topic) => Find(topic, create: false)?.Message;

    /// <summary>Sets or, with null, removes; returns what was there.</summary>
    public StoredMessage? Set(string topic, StoredMessage? message)
    {
        var node = Find(topic, create: message is not null);
        if (node is null)
            return null;
        var before = node.Message;
        node.Message = message;
        Count += (message is null ? 0 : 1) - (before is null ? 0 : 1);
        if (message is null)
            Prune(node);
        return before;
    }

    /// <summary>All that match the filter, in no order.</summary>
    public void Collect(string filter, List<StoredMessage> found) => Collect(_root, filter, first: true, found);

    private static void Collect(Node node, ReadOnlySpan<char> filter, bool first, List<StoredMessage> found)
    {
        if (filter is "#")
        {
            CollectAll(node, first, found);
            return;
        }

        var end = filter.IndexOf('/');
        var level = end < 0 ? filter : filter[..end];
        if (level is "+")
        {
            foreach (var (name, child) in node.Children ?? [])
            {
                if (!(first && name.StartsWith('$')))
                    Descend(child, filter, end, found);
            }
        }
        else if (node.Children is { } children && children.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(level, out var child))
        {
            Descend(child, filter, end, found);
        }
    }

    private static void Descend(Node node, ReadOnlySpan<char> filter, int end, List<StoredMessage> found)
    {
        if (end >= 0)
            Collect(node, filter[(end + 1)..], first: false, found);
        else if (node.Message is { } message)
            found.Add(message);
    }

    private static void CollectAll(Node node, bool first, List<StoredMessage> found)
    {
        if (node.Message is { } message)
            found.Add(message);
        foreach (var (name, child) in node.Children ?? [])
        {
            if (!(first && name.StartsWith('$')))
                CollectAll(child, first: false, found);
        }
    }

    private Node? Find(string topic, bool create)
    {
        var node = _root;
        foreach (var range in topic.AsSpan().Split('/'))
        {
            var level = topic.AsSpan(range);
            Node? next = null;
            node.Children?.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(level, out next);
            if (next is null)
            {
                if (!create)
                    return null;
                next = new Node { Parent = node, Level = level.ToString() };
                (node.Children ??= new Dictionary<string, Node>(StringComparer.Ordinal)).Add(next.Level, next);
            }

            node = next;
        }

        return node;
    }

    private static void Prune(Node node)
    {
        while (node is { Parent: { } parent, Message: null } && node.Children is null or { Count: 0 })
        {
            parent.Children!.Remove(node.Level);
            node = parent;
        }
    }

    private sealed class Node
    {
        public Node? Parent { get; init; }

        public string Level { get; init; } = "";

        public Dictionary<string, Node>? Children { get; set; }

        public StoredMessage? Message { get; set; }
    }
}
