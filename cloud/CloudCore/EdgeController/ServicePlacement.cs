using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.EdgeController;

/// <summary>Services and EndpointSlices as every node with EdgeDns should have them; pure, one caller at a time.</summary>
/// <remarks>
/// <para>They are the same for all nodes, so each is written once. Only what a resolver needs travels; a change of anything else is no change.</para>
/// <para>An endpoint carries the NodeGroup of its node in <c>deprecatedTopology</c>, where discovery.k8s.io has a place for a node's labels: an edge knows no node but its own.
/// A slice then depends on nodes, too, and carries the higher version, or the next one where the version that it would have says something else already.</para>
/// </remarks>
internal sealed class ServicePlacement
{
    /// <summary>On a node, the NodeGroup that it belongs to (apps.kubeedge.io/v1alpha1).</summary>
    public const string GroupLabel = "apps.kubeedge.io/belonging-to";

    public const string TopologyAnnotation = "apps.kubeedge.io/service-topology";
    public const string ServiceLabel = "kubernetes.io/service-name";

    private readonly SharedPlacement _services = new(ResourceKind.Service, ResourceTypes.Service, ServiceTrim.Service);
    private readonly Dictionary<(string Namespace, string Name), SliceRecord> _slices = [];
    private readonly Dictionary<string, string> _groups = []; // by node; only nodes of a group
    private readonly Dictionary<string, HashSet<(string, string)>> _slicesByNode = [];

    /// <summary>Everything a node with EdgeDns should have.</summary>
    public IEnumerable<DownObject> All()
        => [.. _services.All(), .. _slices.Values.Select(slice => OfSlice(slice.Sent, Operations.Update))];

    public DownObject? Find(ResourcePath path) => path.Type == ResourceTypes.EndpointSlice
        ? _slices.TryGetValue((path.Namespace, path.Name), out var slice) ? OfSlice(slice.Sent, Operations.Update) : null
        : _services.Find(path);

    public void ServiceChanged(ObjectChange change, List<PlacementOutput> outputs) => _services.Changed(change, outputs);

    public void SliceChanged(ObjectChange change, List<PlacementOutput> outputs)
    {
        var id = (change.Object.Namespace(), change.Object.Name());
        var before = _slices.GetValueOrDefault(id);
        // One of no Service, or of names instead of addresses, answers no query.
        var isWanted = change.Type != ChangeType.Deleted && change.Object.Label(ServiceLabel) is { Length: > 0 } && change.Object.Text("addressType") is "IPv4" or "IPv6";
        if (before is not null && (!isWanted || before.Sent.Uid != change.Object.Uid()))
        {
            Forget(id, before);
            var isGone = change.Type == ChangeType.Deleted || before.Sent.Uid != change.Object.Uid();
            outputs.Add(new PlacementOutput.DeliverToAll(OfSlice(before.Sent, Operations.Delete, isGone, change.Type == ChangeType.Deleted ? change.Object.Version() : 0)));
            before = null;
        }

        if (isWanted)
            Put(id, before, ServiceTrim.Slice(change.Object), change.Object.Version(), outputs);
    }

    public void NodeChanged(ObjectChange change, List<PlacementOutput> outputs)
    {
        var node = change.Object.Name();
        var group = change.Type == ChangeType.Deleted ? "" : change.Object.Label(GroupLabel) ?? "";
        if (_groups.GetValueOrDefault(node, "") == group)
            return;
        if (group.Length > 0)
            _groups[node] = group;
        else
            _groups.Remove(node);
        foreach (var id in _slicesByNode.GetValueOrDefault(node)?.ToList() ?? [])
            Put(id, _slices[id], _slices[id].Sent.Json.DeepClone().AsObject(), change.Object.Version(), outputs);
    }

    private void Put((string, string) id, SliceRecord? before, JsonObject slice, long version, List<PlacementOutput> outputs)
    {
        var nodes = new HashSet<string>(StringComparer.Ordinal);
        foreach (var endpoint in slice.Items("endpoints"))
        {
            if (endpoint.Text("nodeName") is not { Length: > 0 } node)
                continue;
            nodes.Add(node);
            if (_groups.TryGetValue(node, out var group))
                endpoint["deprecatedTopology"] = new JsonObject { [GroupLabel] = group };
            else
                endpoint.Remove("deprecatedTopology");
        }

        var next = WithVersion(slice, version);
        if (before is not null)
        {
            if (before.Sent.Fingerprint == next.Fingerprint)
                return;
            if (version <= before.Sent.Version)
                next = WithVersion(slice, before.Sent.Version + 1);
            Forget(id, before);
        }

        _slices[id] = new SliceRecord(next, nodes);
        foreach (var node in nodes)
        {
            if (!_slicesByNode.TryGetValue(node, out var slices))
                _slicesByNode[node] = slices = [];
            slices.Add(id);
        }

        outputs.Add(new PlacementOutput.DeliverToAll(OfSlice(next, before is null ? Operations.Insert : Operations.Update)));
    }

    private void Forget((string, string) id, SliceRecord record)
    {
        _slices.Remove(id);
        foreach (var node in record.Nodes)
        {
            if (_slicesByNode.TryGetValue(node, out var slices) && slices.Remove(id) && slices.Count == 0)
                _slicesByNode.Remove(node);
        }
    }

    private static ObjectBody WithVersion(JsonObject slice, long version)
    {
        slice.Child("metadata")["resourceVersion"] = version.ToString(CultureInfo.InvariantCulture);
        return new ObjectBody(slice.DeepClone().AsObject());
    }

    private static DownObject OfSlice(ObjectBody slice, string operation, bool isFinal = false, long version = 0)
        => DownObject.Of(ResourceKind.EndpointSlice, ResourceTypes.EndpointSlice, operation, Sources.EdgeController, slice, isFinal, version);

    private sealed record SliceRecord(ObjectBody Sent, HashSet<string> Nodes);
}
