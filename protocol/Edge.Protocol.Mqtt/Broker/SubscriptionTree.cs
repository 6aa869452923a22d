using System.Diagnostics.CodeAnalysis;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>Who subscribes: a session, or a handler in this process.</summary>
internal abstract class Subscriber : Timed
{
    /// <summary>Whether messages of this topic may be delivered to it.</summary>
    public abstract bool MayRead(string topic);
}

/// <summary>One subscription. The filter is without the share's part.</summary>
internal sealed class Subscription(Subscriber owner, string filter, string share, MqttSubscriptionOptions options, uint id)
{
    public Subscriber Owner { get; } = owner;

    public string Filter { get; } = filter;

    /// <summary>Empty: not shared.</summary>
    public string Share { get; } = share;

    public MqttSubscriptionOptions Options { get; } = options;

    /// <summary>The subscription identifier; 0: none.</summary>
    public uint Id { get; } = id;
}

/// <summary>A shared subscription: each message goes to one of the members (4.8.2).</summary>
internal sealed class SharedGroup(string share)
{
    public string Share { get; } = share;

    public List<Subscription> Members { get; } = [];

    /// <summary>Whose turn it is.</summary>
    public int Next { get; set; }
}

/// <summary>For whom a route stands, by who published: no-local makes the difference.</summary>
internal enum Audience : byte
{
    All,
    Others,
    Self,
}

/// <summary>A topic's way to one subscriber; its matching subscriptions are merged to one delivery (3.3.4).</summary>
internal readonly record struct Route(Subscriber Owner, MqttQos Qos, bool RetainAsPublished, Audience Audience, uint[]? Ids);

/// <summary>All routes of one topic.</summary>
internal sealed class RouteList(byte[] topicBytes, string topic, Route[] routes, SharedGroup[] groups, long version)
{
    public byte[] TopicBytes { get; } = topicBytes;

    public string Topic { get; } = topic;

    public Route[] Routes { get; } = routes;

    public SharedGroup[] Groups { get; } = groups;

    /// <summary>Some of them keep the message before it is acknowledged.</summary>
    public bool HasTakers { get; } = Array.Exists(routes, route => route.Owner is LocalSubscriber { IsTaker: true });

    /// <summary>Of the tree when it was made.</summary>
    public long Version { get; } = version;
}

/// <summary>Subscriptions by filter, and a bounded cache of the routes of topics that were published lately (pure).</summary>
internal sealed class SubscriptionTree
{
    private const int CacheMax = 8192;

    private readonly Node _root = new();
    private readonly Dictionary<byte[], RouteList> _cache = new(BytesComparer.Instance);
    private readonly Dictionary<byte[], RouteList>.AlternateLookup<ReadOnlySpan<byte>> _lookup;
    private readonly List<Subscription> _found = [];
    private readonly List<SharedGroup> _groups = [];

    public SubscriptionTree() => _lookup = _cache.GetAlternateLookup<ReadOnlySpan<byte>>();

    /// <summary>Changes with every subscription: older <see cref="RouteList"/>s are void.</summary>
    public long Version { get; private set; }

    /// <summary>Subscriptions in it.</summary>
    public int Count { get; private set; }

    public void Add(Subscription subscription)
    {
        var (node, isHash) = Find(subscription.Filter, create: true)!.Value;
        var place = isHash ? node.Hash ??= new Place() : node.Here ??= new Place();
        if (subscription.Share.Length == 0)
        {
            (place.Plain ??= []).Add(subscription);
        }
        else
        {
            var group = (place.Groups ??= []).Find(one => one.Share == subscription.Share);
            if (group is null)
                place.Groups.Add(group = new SharedGroup(subscription.Share));
            group.Members.Add(subscription);
        }

        Count++;
        Void();
    }

    public void Remove(Subscription subscription)
    {
        if (Find(subscription.Filter, create: false) is not { } found)
            return;
        var (node, isHash) = found;
        var place = isHash ? node.Hash : node.Here;
        if (place is null)
            return;
        var removed = false;
        if (subscription.Share.Length == 0)
        {
            removed = place.Plain?.Remove(subscription) ?? false;
        }
        else if (place.Groups?.Find(one => one.Share == subscription.Share) is { } group)
        {
            removed = group.Members.Remove(subscription);
            if (group.Members.Count == 0)
                place.Groups.Remove(group);
        }

        if (!removed)
            return;
        Count--;
        if (place.IsEmpty)
        {
            if (isHash)
                node.Hash = null;
            else
                node.Here = null;
        }

        Prune(node);
        Void();
    }

    /// <summary>The routes of a topic, from the cache where they are there.</summary>
    public RouteList RoutesOf(ReadOnlySpan<byte> topic)
    {
        if (_lookup.TryGetValue(topic, out var list))
            return list;
        if (_cache.Count >= CacheMax)
            _cache.Clear();
        list = Build(topic.ToArray());
        _cache.Add(list.TopicBytes, list);
        return list;
    }

    /// <summary>Rights have changed.</summary>
    public void Void()
    {
        Version++;
        _cache.Clear();
    }

    private RouteList Build(byte[] bytes)
    {
        var topic = System.Text.Encoding.UTF8.GetString(bytes);
        _found.Clear();
        _groups.Clear();
        Collect(_root, topic, first: true);
        var routes = new List<Route>();
        foreach (var subscriptions in _found.GroupBy(one => one.Owner))
        {
            if (!subscriptions.Key.MayRead(topic))
                continue;
            var others = subscriptions.ToArray();
            var self = others.Where(one => !one.Options.NoLocal).ToArray();
            if (self.Length == others.Length)
            {
                routes.Add(Merge(others, Audience.All));
                continue;
            }

            routes.Add(Merge(others, Audience.Others));
            if (self.Length > 0)
                routes.Add(Merge(self, Audience.Self));
        }

        return new RouteList(bytes, topic, [.. routes], [.. _groups], Version);
    }

    private static Route Merge(Subscription[] all, Audience audience)
    {
        var ids = all.Where(one => one.Id != 0).Select(one => one.Id).ToArray();
        return new Route(all[0].Owner, all.Max(one => one.Options.Qos), all.Any(one => one.Options.RetainAsPublished), audience, ids.Length == 0 ? null : ids);
    }

    private void Collect(Node node, ReadOnlySpan<char> rest, bool first)
    {
        // Wildcards in the first level do not match topics that begin with '$' [MQTT-4.7.2-1].
        var wild = !(first && rest.Length > 0 && rest[0] == '$');
        if (wild)
            Take(node.Hash);
        var end = rest.IndexOf('/');
        var level = end < 0 ? rest : rest[..end];
        if (node.Children is { } children && children.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(level, out var child))
            Descend(child, rest, end);
        if (wild && node.Plus is { } plus)
            Descend(plus, rest, end);
    }

    private void Descend(Node node, ReadOnlySpan<char> rest, int end)
    {
        if (end >= 0)
        {
            Collect(node, rest[(end + 1)..], first: false);
            return;
        }

        Take(node.Here);
        Take(node.Hash); // "sport/#" takes "sport"
    }

    private void Take(Place? place)
    {
        if (place?.Plain is { } plain)
            _found.AddRange(plain);
        if (place?.Groups is { } groups)
            _groups.AddRange(groups);
    }

    private (Node Node, bool IsHash)? Find(string filter, bool create)
    {
        var node = _root;
        foreach (var range in filter.AsSpan().Split('/'))
        {
            var level = filter.AsSpan(range);
            if (level is "#")
                return (node, true);
            Node? next;
            if (level is "+")
            {
                next = node.Plus;
                if (next is null && create)
                    next = node.Plus = new Node { Parent = node, Level = "+" };
            }
            else
            {
                next = null;
                node.Children?.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(level, out next);
                if (next is null && create)
                {
                    next = new Node { Parent = node, Level = level.ToString() };
                    (node.Children ??= new Dictionary<string, Node>(StringComparer.Ordinal)).Add(next.Level, next);
                }
            }

            if (next is null)
                return null;
            node = next;
        }

        return (node, false);
    }

    private static void Prune(Node node)
    {
        while (node is { Parent: { } parent, Here: null, Hash: null, Plus: null } && node.Children is null or { Count: 0 })
        {
            if (ReferenceEquals(parent.Plus, node))
                parent.Plus = null;
            else
                parent.Children!.Remove(node.Level);
            node = parent;
        }
    }

    private sealed class Place
    {
        public List<Subscription>? Plain { get; set; }

        public List<SharedGroup>? Groups { get; set; }

        public bool IsEmpty => Plain is null or { Count: 0 } && Groups is null or { Count: 0 };
    }

    private sealed class Node
    {
        public Node? Parent { get; init; }

        public string Level { get; init; } = "";

        public Dictionary<string, Node>? Children { get; set; }

        public Node? Plus { get; set; }

        public Place? Here { get; set; }

        public Place? Hash { get; set; }
    }
}

/// <summary>Byte strings as keys, found by span. <see cref="HashCode"/> is seeded anew in each process, so a client cannot choose topics that collide.</summary>
internal sealed class BytesComparer : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
{
    public static BytesComparer Instance { get; } = new();

    public bool Equals(byte[]? x, byte[]? y) => x is null ? y is null : y is not null && x.AsSpan().SequenceEqual(y);

    public int GetHashCode([DisallowNull] byte[] obj) => GetHashCode(obj.AsSpan());

    public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

    public int GetHashCode(ReadOnlySpan<byte> alternate)
    {
        var hash = new HashCode();
        hash.AddBytes(alternate);
        return hash.ToHashCode();
    }

    public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();
}
