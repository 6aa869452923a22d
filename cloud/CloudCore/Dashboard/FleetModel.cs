using System.Globalization;
using System.Text.Json.Nodes;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;

namespace Edge.Cloud.Dashboard;

/// <summary>A row and the number of the change that made it what it is.</summary>
internal sealed record Numbered<T>(long Order, T Row);

/// <summary>A numeric value of a property at a time.</summary>
internal readonly record struct Sample(long UnixMs, double Value);

/// <summary>The page's picture of the fleet in memory: rows fed by informers and by the history of links. Every change has a number, so that a listener that says up to which one it
/// knows gets what came after. Safe for concurrent calls; none waits.</summary>
/// <remarks>Memory: one small row per node, pod and device, <see cref="EventsMax"/> events, <see cref="SeriesMax"/> series of <see cref="SamplesMax"/> samples.</remarks>
internal sealed class FleetModel(LinkHistory links)
{
    public const int EventsMax = 500;

    /// <summary>Samples kept of a property, newest first to stay.</summary>
    public const int SamplesMax = 300;

    /// <summary>Properties whose samples are kept; of further ones the page has what comes while it looks.</summary>
    public const int SeriesMax = 1000;

    private const int GoneMax = 4096;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, Numbered<NodeRow>> _nodes = [];
    private readonly Dictionary<(string, string), PodRow> _pods = [];
    private readonly Dictionary<string, HashSet<(string, string)>> _podsOf = [];
    private readonly Dictionary<string, int> _phases = [];
    private readonly Dictionary<(string, string), Numbered<DeviceRow>> _devices = [];
    private readonly Dictionary<(string, string), DeviceStatusRow> _statuses = [];
    private readonly Dictionary<(string, string), ServiceRow> _services = [];
    private readonly Dictionary<string, Numbered<EventRow>> _events = [];
    private readonly Dictionary<(string, string, string), Queue<Sample>> _series = [];
    private readonly Queue<(long Order, string Node)> _gone = [];
    private long _goneBefore;
    private long _order;

    /// <summary>The number of the last change.</summary>
    public long Order
    {
        get
        {
            lock (_gate)
            {
                return _order;
            }
        }
    }

    /// <summary>The number of the last change of a node, of an event and of a device.</summary>
    public (long Nodes, long Events, long Devices) Orders
    {
        get
        {
            lock (_gate)
            {
                return field;
            }
        }

        private set;
    }

    public int DeviceCount
    {
        get
        {
            lock (_gate)
            {
                return _devices.Count;
            }
        }
    }

    public void Changed(ResourceKind kind, ObjectChange change)
    {
        var obj = change.Object;
        var key = (obj.Namespace(), obj.Name());
        var isGone = change.Type == ChangeType.Deleted;
        lock (_gate)
        {
            _order++;
            if (kind == ResourceKind.Node)
                Node(obj, isGone);
            else if (kind == ResourceKind.Pod)
                Pod(key, isGone ? null : PodRow.Of(obj));
            else if (kind == ResourceKind.Device)
                Device(key, isGone ? null : DeviceRow.Of(obj));
            else if (kind == ResourceKind.DeviceStatus)
                Status(key, isGone ? null : DeviceStatusRow.Of(obj));
            else if (kind == GslbKinds.GlobalService)
                Service(key, isGone ? null : ServiceRow.Of(obj));
            else if (kind == ResourceKind.Event && !isGone)
                Event(EventRow.Of(obj));
        }
    }

    /// <summary>The node's link came or went: whoever listens is told its row again.</summary>
    public void Touch(string node)
    {
        lock (_gate)
        {
            _order++;
            TouchNode(node);
        }
    }

    /// <summary>Nodes that changed after <paramref name="after"/>, and the names of those that went; -1 for all there are. Null where so many went since that the whole list must be read again.</summary>
    public (List<NodeView> Changed, List<string> Gone, long Order)? NodesAfter(long after)
    {
        lock (_gate)
        {
            if (after >= 0 && after < _goneBefore)
                return null;
            var changed = new List<NodeView>();
            foreach (var node in _nodes.Values)
            {
                if (node.Order > after)
                    changed.Add(View(node.Row));
            }

            return (changed, [.. _gone.Where(one => one.Order > after && !_nodes.ContainsKey(one.Node)).Select(one => one.Node).Distinct()], _order);
        }
    }

    public NodeView? Node(string name)
    {
        lock (_gate)
        {
            return _nodes.TryGetValue(name, out var node) ? View(node.Row) : null;
        }
    }

    public List<PodRow> PodsOf(string node)
    {
        lock (_gate)
        {
            return _podsOf.TryGetValue(node, out var keys) ? [.. keys.Select(key => _pods[key]).OrderBy(pod => pod.Namespace, StringComparer.Ordinal).ThenBy(pod => pod.Name, StringComparer.Ordinal)] : [];
        }
    }

    public List<(DeviceRow Device, DeviceStatusRow Status)> Devices(string? node = null)
    {
        lock (_gate)
        {
            return [.. _devices.Where(pair => node is null || pair.Value.Row.Node == node).Select(pair => (pair.Value.Row, _statuses.GetValueOrDefault(pair.Key, DeviceStatusRow.None)))];
        }
    }

    /// <summary>A device, its twins, and the order of its last change; null when there is none.</summary>
    public (DeviceRow Device, DeviceStatusRow Status, long Order)? Device(string @namespace, string name)
    {
        lock (_gate)
        {
            return _devices.TryGetValue((@namespace, name), out var device) ? (device.Row, _statuses.GetValueOrDefault((@namespace, name), DeviceStatusRow.None), device.Order) : null;
        }
    }

    public Sample[] Series(string @namespace, string name, string property)
    {
        lock (_gate)
        {
            return _series.TryGetValue((@namespace, name, property), out var samples) ? [.. samples] : [];
        }
    }

    public List<ServiceRow> Services()
    {
        lock (_gate)
        {
            return [.. _services.Values.OrderBy(one => one.Namespace, StringComparer.Ordinal).ThenBy(one => one.Name, StringComparer.Ordinal)];
        }
    }

    /// <summary>Events that came or came again after <paramref name="after"/>, oldest change first.</summary>
    public List<EventRow> EventsAfter(long after)
    {
        lock (_gate)
        {
            return [.. _events.Values.Where(one => one.Order > after).OrderBy(one => one.Order).Select(one => one.Row)];
        }
    }

    public FleetCounts Counts()
    {
        lock (_gate)
        {
            var counts = new FleetCounts { Pods = new Dictionary<string, int>(_phases) };
            foreach (var node in _nodes.Values)
            {
                counts.Nodes[Health(node.Row)] = counts.Nodes.GetValueOrDefault(Health(node.Row)) + 1;
            }

            foreach (var key in _devices.Keys)
            {
                var state = _statuses.GetValueOrDefault(key, DeviceStatusRow.None).State;
                counts.Devices[state] = counts.Devices.GetValueOrDefault(state) + 1;
            }

            return counts;
        }
    }

    private NodeView View(NodeRow row) => new(row, Health(row), links.Last(row.Name), _podsOf.TryGetValue(row.Name, out var pods) ? pods.Count : 0);

    // Away: the cluster has not heard of it for long, or it was connected here and is not now. (A node of another CloudCore has no last link here, or one that moved.)
    private string Health(NodeRow row)
    {
        var link = links.Last(row.Name);
        if (row.Ready is "Unknown" || (link is { IsConnect: false } && link.Detail != nameof(CloudHub.Sessions.SessionEndReason.Moved)))
            return "offline";
        return row.Ready == "True" ? "ready" : "notReady";
    }

    private void Node(JsonObject obj, bool isGone)
    {
        var name = obj.Name();
        if (!isGone)
        {
            var row = NodeRow.Of(obj);
            // A heartbeat changes nothing that is shown.
            if (_nodes.TryGetValue(name, out var before) && before.Row.IsSame(row))
                return;
            _nodes[name] = new Numbered<NodeRow>(_order, row);
            Orders = Orders with { Nodes = _order };
            return;
        }

        Orders = Orders with { Nodes = _order };

        _nodes.Remove(name);
        _gone.Enqueue((_order, name));
        if (_gone.Count > GoneMax)
            _goneBefore = _gone.Dequeue().Order;
    }

    private void TouchNode(string node)
    {
        if (!_nodes.TryGetValue(node, out var row))
            return;
        _nodes[node] = row with { Order = _order };
        Orders = Orders with { Nodes = _order };
    }

    private void Pod((string, string) key, PodRow? pod)
    {
        if (_pods.Remove(key, out var old))
        {
            _phases[old.Phase]--;
            if (_podsOf.TryGetValue(old.Node, out var others) && others.Remove(key) && others.Count == 0)
                _podsOf.Remove(old.Node);
            TouchNode(old.Node);
        }

        if (pod is null)
            return;
        _pods[key] = pod;
        _phases[pod.Phase] = _phases.GetValueOrDefault(pod.Phase) + 1;
        if (!_podsOf.TryGetValue(pod.Node, out var keys))
            _podsOf[pod.Node] = keys = [];
        keys.Add(key);
        TouchNode(pod.Node);
    }

    private void Device((string Namespace, string Name) key, DeviceRow? device)
    {
        Orders = Orders with { Devices = _order };
        if (device is not null)
        {
            _devices[key] = new Numbered<DeviceRow>(_order, device);
            return;
        }

        if (!_devices.Remove(key, out var gone))
            return;
        foreach (var property in gone.Row.Properties)
            _series.Remove((key.Namespace, key.Name, property));
    }

    private void Status((string Namespace, string Name) key, DeviceStatusRow? status)
    {
        Orders = Orders with { Devices = _order };
        if (_devices.TryGetValue(key, out var device))
            _devices[key] = device with { Order = _order };
        if (status is null)
        {
            _statuses.Remove(key);
            return;
        }

        _statuses[key] = status;
        foreach (var twin in status.Twins)
        {
            if (twin.ReportedMs == 0 || !double.TryParse(twin.Reported, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) || !double.IsFinite(value))
                continue;
            var at = (key.Namespace, key.Name, twin.Property);
            if (!_series.TryGetValue(at, out var samples))
            {
                if (_series.Count >= SeriesMax)
                    continue;
                _series[at] = samples = [];
            }

            if (samples.Count > 0 && samples.Last().UnixMs == twin.ReportedMs)
                continue;
            samples.Enqueue(new Sample(twin.ReportedMs, value));
            if (samples.Count > SamplesMax)
                samples.Dequeue();
        }
    }

    private void Service((string, string) key, ServiceRow? service)
    {
        if (service is null)
            _services.Remove(key);
        else
            _services[key] = service;
    }

    private void Event(EventRow one)
    {
        Orders = Orders with { Events = _order };
        _events[one.Uid] = new Numbered<EventRow>(_order, one);
        if (_events.Count <= EventsMax + 100)
            return;
        // By time, not by number: the first list comes in no order.
        foreach (var old in _events.Values.OrderByDescending(other => other.Row.Time, StringComparer.Ordinal).Skip(EventsMax).ToList())
            _events.Remove(old.Row.Uid);
    }
}

/// <summary>A node with what is known of its link.</summary>
/// <param name="Health"><c>ready</c>, <c>notReady</c> or <c>offline</c>.</param>
internal sealed record NodeView(NodeRow Row, string Health, LinkEvent? Link, int Pods);

/// <summary>How many there are, by health, phase and state.</summary>
internal sealed class FleetCounts
{
    public Dictionary<string, int> Nodes { get; } = [];

    public Dictionary<string, int> Pods { get; init; } = [];

    public Dictionary<string, int> Devices { get; } = [];
}
