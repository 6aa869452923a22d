using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.EdgeController;

/// <summary>Which node should have which node object, pods, ConfigMaps, Secrets and RuntimeClasses; pure, one caller at a time.</summary>
/// <remarks>ConfigMaps, Secrets and RuntimeClasses go only where a pod uses them, before the pod; the last user's end takes them away again.</remarks>
internal sealed class PodPlacement
{
    public const string EdgeRoleLabel = "node-role.kubernetes.io/edge";

    private readonly Dictionary<string, ObjectBody> _nodes = [];
    private readonly Dictionary<(string Namespace, string Name), PodRecord> _pods = [];
    private readonly Dictionary<ConfigKey, ObjectBody> _configs = [];
    private readonly Dictionary<string, Dictionary<(string, string), PodRecord>> _podsByNode = [];
    private readonly Dictionary<ConfigKey, Dictionary<string, HashSet<(string, string)>>> _users = [];

    public bool IsEdgeNode(string name) => _nodes.ContainsKey(name);

    public JsonObject? Node(string name) => _nodes.GetValueOrDefault(name)?.Json;

    /// <summary>The one edge node that reports the address; null where none or several do.</summary>
    public string? NodeAt(string address)
        => _nodes.Where(node => node.Value.Json.Items("status", "addresses").Any(one => one.Text("address") == address)).Take(2).ToList() is [var (name, _)] ? name : null;

    public JsonObject? Pod(string @namespace, string name) => _pods.GetValueOrDefault((@namespace, name))?.Pod.Json;

    /// <summary>True when a pod of the node uses the ConfigMap or Secret.</summary>
    public bool Uses(string node, ConfigKey key) => _users.TryGetValue(key, out var nodes) && nodes.ContainsKey(node);

    /// <summary>The node, pod, ConfigMap or Secret as the node should have it, or null.</summary>
    public DownObject? Find(string node, ResourcePath path)
    {
        switch (path.Type)
        {
            case ResourceTypes.Node:
                return path.Name == node && _nodes.TryGetValue(node, out var own) ? OfNode(own, Operations.Update) : null;
            case ResourceTypes.Pod:
                return _pods.TryGetValue((path.Namespace, path.Name), out var record) && record.Node == node ? OfPod(record.Pod, Operations.Insert) : null;
            case ResourceTypes.ConfigMap or ResourceTypes.Secret or ResourceTypes.RuntimeClass:
                var key = new ConfigKey(path.Type, path.Type == ResourceTypes.RuntimeClass ? "" : path.Namespace, path.Name);
                return Uses(node, key) && _configs.TryGetValue(key, out var config) ? OfConfig(key, config, Operations.Update) : null;
            default:
                return null;
        }
    }

    /// <summary>Everything the node should have, in the order in which the edge wants it.</summary>
    public IEnumerable<DownObject> All(string node)
    {
        if (_nodes.TryGetValue(node, out var own))
            yield return OfNode(own, Operations.Update);
        if (!_podsByNode.TryGetValue(node, out var pods))
            yield break;
        foreach (var key in pods.Values.SelectMany(pod => pod.Uses).Distinct())
        {
            if (_configs.TryGetValue(key, out var config))
                yield return OfConfig(key, config, Operations.Update);
        }

        foreach (var record in pods.Values)
            yield return OfPod(record.Pod, Operations.Insert);
    }

    public void NodeChanged(ObjectChange change, List<PlacementOutput> outputs)
    {
        var name = change.Object.Name();
        var isEdge = change.Type != ChangeType.Deleted && change.Object.Label(EdgeRoleLabel) is not null;
        if (isEdge)
        {
            var before = _nodes.GetValueOrDefault(name);
            var node = new ObjectBody(change.Text, before);
            _nodes[name] = node;
            if (before is null)
                outputs.AddRange(SecretsOnlyAt(name).Select(key => new PlacementOutput.Used(key)));
            if (HasChanged(before, node))
                outputs.Add(new PlacementOutput.Deliver(name, OfNode(node, Operations.Update)));
        }
        else if (_nodes.Remove(name))
        {
            outputs.AddRange(SecretsOnlyAt(name).Select(key => new PlacementOutput.Unused(key)));
            outputs.Add(new PlacementOutput.Deliver(name, OfNode(new ObjectBody(change.Text), Operations.Delete, change.Type == ChangeType.Deleted)));
            outputs.Add(new PlacementOutput.NodeGone(name));
        }
    }

    public void PodChanged(ObjectChange change, List<PlacementOutput> outputs)
    {
        var pod = change.Text;
        var id = (pod.Namespace, pod.Name);
        var node = pod.Text("spec", "nodeName");
        var before = _pods.GetValueOrDefault(id);
        // A watch that was interrupted may show a deleted and recreated pod as one change.
        if (before is not null && (before.Node != node || before.Pod.Uid != pod.Uid))
        {
            Remove(id, before, before.Pod, outputs);
            before = null;
        }

        if (change.Type == ChangeType.Deleted)
        {
            if (before is not null)
                Remove(id, before, new ObjectBody(pod), outputs);
            return;
        }

        if (node.Length == 0)
            return;
        var mayGrow = PodReferences.MayGrow(pod);
        var uses = before is { UsesMayGrow: false } && !mayGrow ? before.Uses : PodReferences.Of(pod.Json);
        var body = new ObjectBody(pod, before?.Pod);
        var (bodyBefore, usesBefore) = (before?.Pod, before?.Uses);
        if (before is null)
        {
            _pods[id] = ByNode(node)[id] = new PodRecord(body, node, uses, mayGrow);
        }
        else
        {
            (before.Pod, before.UsesMayGrow) = (body, mayGrow);
            if (uses != usesBefore)
                before.Uses = uses;
        }

        if (uses != usesBefore)
        {
            foreach (var key in uses)
                AddUser(key, node, id, outputs);
        }

        if (HasChanged(bodyBefore, body))
            outputs.Add(new PlacementOutput.Deliver(node, OfPod(body, before is null ? Operations.Insert : Operations.Update)));
        if (usesBefore is not null && uses != usesBefore)
        {
            foreach (var key in usesBefore.Where(key => !uses.Contains(key)))
                RemoveUser(key, node, id, outputs);
        }
    }

    public void ConfigChanged(string type, ObjectChange change, List<PlacementOutput> outputs)
    {
        var key = new ConfigKey(type, change.Text.Namespace, change.Text.Name);
        var isGone = change.Type == ChangeType.Deleted;
        _configs.TryGetValue(key, out var before);
        var config = new ObjectBody(change.Text, before);
        if (isGone)
            _configs.Remove(key);
        else
            _configs[key] = config;
        if (!_users.TryGetValue(key, out var nodes) || (!isGone && !HasChanged(before, config)))
            return;
        foreach (var node in nodes.Keys)
        {
            if (!isGone && before is not null && before.Uid != config.Uid)
                outputs.Add(new PlacementOutput.Deliver(node, OfConfig(key, before, Operations.Delete, isFinal: true)));
            outputs.Add(new PlacementOutput.Deliver(node, OfConfig(key, config, isGone ? Operations.Delete : Operations.Update, isGone)));
        }
    }

    /// <summary>Forgets what no pod of an edge node names: it is told again when one does. False where one does.</summary>
    public bool Drop(ConfigKey key)
    {
        if (IsUsedAtEdges(key, except: null))
            return false;
        _configs.Remove(key);
        return true;
    }

    // A change of the status alone is the edge's own report coming back.
    private static bool HasChanged(ObjectBody? before, ObjectBody after)
        => before is null || before.Uid != after.Uid || (before.Version != after.Version && before.Fingerprint != after.Fingerprint);

    private void Remove((string, string) id, PodRecord record, ObjectBody last, List<PlacementOutput> outputs)
    {
        _pods.Remove(id);
        if (_podsByNode.TryGetValue(record.Node, out var pods) && pods.Remove(id) && pods.Count == 0)
            _podsByNode.Remove(record.Node);
        outputs.Add(new PlacementOutput.Deliver(record.Node, OfPod(last, Operations.Delete)));
        foreach (var key in record.Uses)
            RemoveUser(key, record.Node, id, outputs);
    }

    private void AddUser(ConfigKey key, string node, (string, string) pod, List<PlacementOutput> outputs)
    {
        if (!_users.TryGetValue(key, out var nodes))
            _users[key] = nodes = [];
        if (!nodes.TryGetValue(node, out var pods))
        {
            nodes[node] = pods = [];
            if (key.Type == ResourceTypes.Secret && IsEdgeNode(node) && !IsUsedAtEdges(key, except: node))
                outputs.Add(new PlacementOutput.Used(key));
        }

        if (pods.Add(pod) && pods.Count == 1 && _configs.TryGetValue(key, out var config))
            outputs.Add(new PlacementOutput.Deliver(node, OfConfig(key, config, Operations.Update)));
    }

    private void RemoveUser(ConfigKey key, string node, (string, string) pod, List<PlacementOutput> outputs)
    {
        if (!_users.TryGetValue(key, out var nodes) || !nodes.TryGetValue(node, out var pods) || !pods.Remove(pod) || pods.Count > 0)
            return;
        nodes.Remove(node);
        if (nodes.Count == 0)
            _users.Remove(key);
        if (key.Type == ResourceTypes.Secret && IsEdgeNode(node) && !IsUsedAtEdges(key, except: node))
            outputs.Add(new PlacementOutput.Unused(key));
        if (_configs.TryGetValue(key, out var config))
            outputs.Add(new PlacementOutput.Deliver(node, OfConfig(key, config, Operations.Delete)));
    }

    // Pods of other nodes are here as well: their node may become an edge. Where edges share a key, the first look finds one.
    private bool IsUsedAtEdges(ConfigKey key, string? except)
        => _users.TryGetValue(key, out var nodes) && nodes.Keys.Any(node => node != except && IsEdgeNode(node));

    private IEnumerable<ConfigKey> SecretsOnlyAt(string node)
        => _podsByNode.TryGetValue(node, out var pods)
            ? pods.Values.SelectMany(pod => pod.Uses).Where(key => key.Type == ResourceTypes.Secret).Distinct().Where(key => !IsUsedAtEdges(key, except: node)) : [];

    private Dictionary<(string, string), PodRecord> ByNode(string node)
    {
        if (!_podsByNode.TryGetValue(node, out var pods))
            _podsByNode[node] = pods = [];
        return pods;
    }

    private static DownObject OfNode(ObjectBody node, string operation, bool isFinal = false)
        => DownObject.Of(ResourceKind.Node, ResourceTypes.Node, operation, Sources.EdgeController, node, isFinal);

    private static DownObject OfPod(ObjectBody pod, string operation)
        => DownObject.Of(ResourceKind.Pod, ResourceTypes.Pod, operation, Sources.EdgeController, pod, isFinal: operation == Operations.Delete);

    private static DownObject OfConfig(ConfigKey key, ObjectBody config, string operation, bool isFinal = false)
        => DownObject.Of(ManagedTypes.KindOf(key.Type)!, key.Type, operation, Sources.EdgeController, config, isFinal);

    // Changed in place: two tables point to it.
    private sealed class PodRecord(ObjectBody pod, string node, HashSet<ConfigKey> uses, bool usesMayGrow)
    {
        public string Node => node;

        public ObjectBody Pod { get; set; } = pod;

        public HashSet<ConfigKey> Uses { get; set; } = uses;

        /// <summary>See <see cref="PodReferences.MayGrow"/>.</summary>
        public bool UsesMayGrow { get; set; } = usesMayGrow;
    }
}
