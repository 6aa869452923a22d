using System.Text.Json.Nodes;
using Edge.Cloud.EdgeController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Simulation.Tests.Model;

/// <summary>The kinds that CloudCore watches, each with a watch of its own.</summary>
internal enum Watched
{
    Node,
    Pod,
    ConfigMap,
    Secret,
    DeviceModel,
    Device,
}

/// <summary>The Kubernetes API: durable objects, one counter of versions, a log of changes for each kind; and what edges have reported.</summary>
internal sealed class ClusterModel
{
    public const int KindCount = 6;
    private const string Namespace = "default";

    private readonly World _world;
    private OrderedDictionary<string, JsonObject>[] _objects = [.. Enumerable.Range(0, KindCount).Select(_ => new OrderedDictionary<string, JsonObject>())];
    private readonly List<ObjectChange>[] _logs = [.. Enumerable.Range(0, KindCount).Select(_ => new List<ObjectChange>())];
    private readonly HashSet<string> _gone = [];
    private Dictionary<string, JsonObject> _deviceStatuses = [];
    private (OrderedDictionary<string, JsonObject>[] Objects, Dictionary<string, JsonObject> DeviceStatuses, long Version)? _copy;
    private readonly HashSet<string> _endedModels = [];
    private readonly HashSet<(string Node, string Secret)> _secretsUsed = [];

    public ClusterModel(World world) => _world = world;

    public long Version { get; private set; }

    public IReadOnlyList<ObjectChange> Log(Watched kind) => _logs[(int)kind];

    public IEnumerable<JsonObject> List(Watched kind) => _objects[(int)kind].Values;

    public JsonObject? Find(Watched kind, string name) => _objects[(int)kind].GetValueOrDefault(name);

    /// <summary>True when the object of this uid was deleted: it never comes back, unless the cluster is set back.</summary>
    public bool IsGone(string uid) => _gone.Contains(uid);

    /// <summary>Whether there is something to set the cluster back to.</summary>
    public bool HasCopy => _copy is not null;

    /// <summary>Keeps a copy of everything, in place of the last. None while a device waits for its model: set back, one that had got it would be without it again, which is left
    /// to the user as the end of a model is.</summary>
    public void Copy()
    {
        if (List(Watched.Device).Any(device => Find(Watched.DeviceModel, device.Text("spec", "deviceModelRef", "name")) is null))
            return;
        _world.Note("cluster copied", -1, number: Version);
        _copy = (CopyOf(_objects), new(_deviceStatuses), Version);
    }

    /// <summary>Everything is as it was copied, and versions are counted from there. No watch may be open.</summary>
    public void SetBack()
    {
        var (objects, statuses, version) = _copy!.Value;
        _world.Note("cluster set back", -1, number: version);
        _gone.UnionWith(_objects.SelectMany(kind => kind.Values).Select(obj => obj.Uid()));
        (_objects, _deviceStatuses, Version) = (CopyOf(objects), new(statuses), version);
        _gone.ExceptWith(_objects.SelectMany(kind => kind.Values).Select(obj => obj.Uid()));
    }

    public void AddNode(string name) => Create(Watched.Node, name, new JsonObject(), labels: new JsonObject { [PodPlacement.EdgeRoleLabel] = "" });

    /// <summary>One change of the kind a user makes.</summary>
    public void Change()
    {
        switch (_world.Random.Next(22))
        {
            case >= 20:
                AddEphemeral();
                break;
            case < 5:
                CreatePod($"pod{_world.Random.Next(12)}");
                break;
            case < 8:
                UpdateSpec(Watched.Pod);
                break;
            case < 11:
                DeletePod();
                break;
            case < 14:
                ChangeConfig(_world.Random.Next(3) == 0 ? Watched.Secret : Watched.ConfigMap);
                break;
            case < 17:
                ChangeDevice();
                break;
            case < 19:
                ChangeModel();
                break;
            default:
                UpdateSpec(Watched.Node);
                break;
        }
    }

    /// <summary>True when a pod of the node uses or has used the Secret of this name.</summary>
    public bool EverUsed(string node, string secret) => _secretsUsed.Contains((node, secret));

    /// <summary>The paths of what a node is to have, devices and their models left out: from the objects themselves, without any core.</summary>
    public HashSet<string> Wanted(string node)
    {
        var wanted = new HashSet<string>();
        foreach (var pod in List(Watched.Pod))
        {
            if (pod.Text("spec", "nodeName") != node)
                continue;
            wanted.Add($"{Namespace}/pod/{pod.Name()}");
            foreach (var from in pod.Items("spec", "containers").Concat(pod.Items("spec", "ephemeralContainers")).SelectMany(container => container.Items("envFrom")))
            {
                if (from.Text("configMapRef", "name") is { Length: > 0 } config && Find(Watched.ConfigMap, config) is not null)
                    wanted.Add($"{Namespace}/configmap/{config}");
                if (from.Text("secretRef", "name") is { Length: > 0 } secret && Find(Watched.Secret, secret) is not null)
                    wanted.Add($"{Namespace}/secret/{secret}");
            }
        }

        return wanted;
    }

    /// <summary>Merges annotations into a Node; onto the version that <paramref name="change"/> names.</summary>
    /// <exception cref="KubeException">The Node is of another version by now.</exception>
    public JsonObject AnnotateNode(string name, JsonObject change)
    {
        var node = Find(Watched.Node, name) ?? throw new KubeException(404, "NotFound", $"nodes \"{name}\" not found");
        if (change.ResourceVersion() != node.ResourceVersion())
            throw new KubeException(409, "Conflict", "the object has been modified");
        var next = Next(node);
        var annotations = next["metadata"]!["annotations"]?.AsObject() ?? [];
        foreach (var (key, value) in change["metadata"]!["annotations"]!.AsObject())
            annotations[key] = value!.DeepClone();
        next["metadata"]!["annotations"] = annotations;
        Put(Watched.Node, name, next, ChangeType.Updated, node);
        return next.DeepClone().AsObject();
    }

    /// <summary>The status of a device as an edge reports it; there from the start.</summary>
    public JsonObject DeviceStatus(string name)
    {
        if (!_deviceStatuses.TryGetValue(name, out var status))
            _deviceStatuses[name] = status = new JsonObject { ["metadata"] = new JsonObject { ["name"] = name, ["resourceVersion"] = NextVersion() } };
        return status.DeepClone().AsObject();
    }

    /// <summary>Merges a status that an edge reported: the value, conditions by type, extensions by name.</summary>
    /// <exception cref="KubeException">The object is gone, or of another version than the change names.</exception>
    public JsonObject PatchStatus(ResourceKind kind, string name, JsonObject change)
    {
        var watched = kind == ResourceKind.Node ? Watched.Node : Watched.Pod;
        var old = kind == ResourceKind.DeviceStatus ? DeviceStatus(name) : Find(watched, name) ?? throw new KubeException(404, "NotFound", $"{kind.Plural} \"{name}\" not found");
        if (change.ResourceVersion() is { Length: > 0 } onto && onto != old.ResourceVersion())
            throw new KubeException(409, "Conflict", "the object has been modified");
        var next = Next(old);
        var status = next.Child("status");
        foreach (var (key, value) in change["status"]!.AsObject())
        {
            if (key == "extensions")
            {
                foreach (var (extension, versions) in value!.AsObject())
                {
                    foreach (var (report, version) in versions!.AsObject())
                        status.Child("extensions").Child(extension)[report] = version!.DeepClone();
                }

                continue;
            }

            status[key] = value!.DeepClone();
        }

        if (kind == ResourceKind.DeviceStatus)
            _deviceStatuses[name] = next;
        else
            Put(watched, name, next, ChangeType.Updated, old);
        return next.DeepClone().AsObject();
    }

    // The objects themselves are never changed, but replaced.
    private static OrderedDictionary<string, JsonObject>[] CopyOf(OrderedDictionary<string, JsonObject>[] objects)
        => [.. objects.Select(kind => new OrderedDictionary<string, JsonObject>(kind))];

    private void CreatePod(string name)
    {
        if (Find(Watched.Pod, name) is not null)
        {
            // Deleted and made again at once, as a StatefulSet does.
            if (_world.Random.Next(2) == 0)
                return;
            Delete(Watched.Pod, name);
        }

        var node = EdgeName();
        Create(Watched.Pod, name, new JsonObject
        {
            ["nodeName"] = node,
            ["containers"] = new JsonArray(new JsonObject { ["name"] = "c", ["envFrom"] = Sources(node) }),
        });
    }

    // More ConfigMaps and Secrets for a pod that runs: all that Kubernetes lets a user add to one that could name some.
    private void AddEphemeral()
    {
        if (Any(Watched.Pod) is not { } pod)
            return;
        var next = Next(pod);
        var containers = next["spec"]!["ephemeralContainers"]?.AsArray();
        if (containers is null)
            next["spec"]!["ephemeralContainers"] = containers = [];
        containers.Add(new JsonObject { ["name"] = $"e{containers.Count}", ["envFrom"] = Sources(pod.Text("spec", "nodeName")) });
        next["spec"]!["generation"] = pod.Number(0, "spec", "generation") + 1;
        Put(Watched.Pod, pod.Name(), next, ChangeType.Updated, pod);
    }

    private JsonArray Sources(string node)
    {
        var sources = new JsonArray();
        for (var left = _world.Random.Next(3); left > 0; left--)
        {
            sources.Add(_world.Random.Next(3) == 0
                ? new JsonObject { ["secretRef"] = new JsonObject { ["name"] = ConfigName() } }
                : new JsonObject { ["configMapRef"] = new JsonObject { ["name"] = ConfigName() } });
        }

        foreach (var source in sources)
        {
            if (source!.AsObject().Text("secretRef", "name") is { Length: > 0 } secret)
                _secretsUsed.Add((node, secret));
        }

        return sources;
    }

    private void DeletePod()
    {
        if (Any(Watched.Pod) is not { } pod)
            return;
        if (_world.Random.Next(2) == 0 && !pod.IsDeleting())
        {
            var next = Next(pod);
            next["metadata"]!["deletionTimestamp"] = "2026-01-01T00:00:00Z";
            Put(Watched.Pod, pod.Name(), next, ChangeType.Updated, pod);
            return;
        }

        Delete(Watched.Pod, pod.Name());
    }

    private void ChangeConfig(Watched kind)
    {
        var name = ConfigName();
        if (Find(kind, name) is null)
        {
            Create(kind, name, new JsonObject());
            return;
        }

        if (_world.Random.Next(3) > 0)
        {
            UpdateSpec(kind, name);
            return;
        }

        Delete(kind, name);
        if (_world.Random.Next(2) == 0)
            Create(kind, name, new JsonObject());
    }

    private void ChangeDevice()
    {
        var name = $"device{_world.Random.Next(4)}";
        if (Find(Watched.Device, name) is not { } device)
        {
            // A device may come before its model, but not after the model's end: a CloudCore that sees the two changes in another order (each kind has a watch
            // of its own) lets the device go on with the model it had.
            var model = ModelName();
            if (Find(Watched.DeviceModel, model) is null && _endedModels.Contains(model))
                Create(Watched.DeviceModel, model, new JsonObject());
            Create(Watched.Device, name, new JsonObject { ["nodeName"] = EdgeName(), ["deviceModelRef"] = new JsonObject { ["name"] = model } });
            return;
        }

        switch (_world.Random.Next(4))
        {
            case 0:
                Delete(Watched.Device, name);
                break;
            case 1:
                var moved = Next(device);
                moved["spec"]!["nodeName"] = EdgeName();
                Put(Watched.Device, name, moved, ChangeType.Updated, device);
                break;
            default:
                UpdateSpec(Watched.Device, name);
                break;
        }
    }

    private void ChangeModel()
    {
        var name = ModelName();
        if (Find(Watched.DeviceModel, name) is null)
        {
            Create(Watched.DeviceModel, name, new JsonObject());
            return;
        }

        // A model that devices use is not deleted: what they then should have is left to the user's repair, not to this run.
        foreach (var device in List(Watched.Device))
        {
            if (device.Text("spec", "deviceModelRef", "name") == name)
            {
                UpdateSpec(Watched.DeviceModel, name);
                return;
            }
        }

        Delete(Watched.DeviceModel, name);
        _endedModels.Add(name);
    }

    private string EdgeName() => _world.Edges[_world.Random.Next(_world.Edges.Count)].Name;

    private string ConfigName() => $"config{_world.Random.Next(3)}";

    private string ModelName() => $"model{_world.Random.Next(2)}";

    private JsonObject? Any(Watched kind)
    {
        var all = _objects[(int)kind];
        return all.Count == 0 ? null : all.GetAt(_world.Random.Next(all.Count)).Value;
    }

    private void UpdateSpec(Watched kind, string? name = null)
    {
        if ((name is null ? Any(kind) : Find(kind, name)) is not { } obj)
            return;
        var next = Next(obj);
        next["spec"]!["generation"] = obj.Number(0, "spec", "generation") + 1;
        Put(kind, obj.Name(), next, ChangeType.Updated, obj);
    }

    private void Create(Watched kind, string name, JsonObject spec, JsonObject? labels = null)
    {
        var resource = KindOf(kind);
        var metadata = new JsonObject { ["name"] = name, ["uid"] = _world.NewId("u") };
        if (resource.Namespaced)
            metadata["namespace"] = Namespace;
        if (labels is not null)
            metadata["labels"] = labels;
        var obj = new JsonObject { ["apiVersion"] = resource.ApiVersion, ["kind"] = resource.Kind, ["metadata"] = metadata, ["spec"] = spec };
        obj["metadata"]!["resourceVersion"] = NextVersion();
        Put(kind, name, obj, ChangeType.Added, null);
    }

    private void Delete(Watched kind, string name)
    {
        var last = Find(kind, name)!;
        _objects[(int)kind].Remove(name);
        _gone.Add(last.Uid());
        _logs[(int)kind].Add(new ObjectChange(ChangeType.Deleted, Next(last), last));
        _world.Note("API deleted", -1, $"{kind} {name} {last.Uid()}", Version);
        WakeWatches(kind);
    }

    private void Put(Watched kind, string name, JsonObject obj, ChangeType type, JsonObject? before)
    {
        _objects[(int)kind][name] = obj;
        _logs[(int)kind].Add(new ObjectChange(type, obj, before));
        _world.Note(type == ChangeType.Added ? "API added" : "API updated", -1, $"{kind} {name} {obj.Uid()}", Version);
        WakeWatches(kind);
    }

    private void WakeWatches(Watched kind)
    {
        foreach (var cloud in _world.Clouds)
            cloud?.WatchWakes(kind);
    }

    private JsonObject Next(JsonObject obj)
    {
        var next = obj.DeepClone().AsObject();
        next["metadata"]!["resourceVersion"] = NextVersion();
        return next;
    }

    private string NextVersion() => (++Version).ToString(System.Globalization.CultureInfo.InvariantCulture);

    public static ResourceKind KindOf(Watched kind) => kind switch
    {
        Watched.Node => ResourceKind.Node,
        Watched.Pod => ResourceKind.Pod,
        Watched.ConfigMap => ResourceKind.ConfigMap,
        Watched.Secret => ResourceKind.Secret,
        Watched.DeviceModel => ResourceKind.DeviceModel,
        _ => ResourceKind.Device,
    };

    public static Watched? WatchedOf(string type) => type switch
    {
        ResourceTypes.Node => Watched.Node,
        ResourceTypes.Pod => Watched.Pod,
        ResourceTypes.ConfigMap => Watched.ConfigMap,
        ResourceTypes.Secret => Watched.Secret,
        ResourceTypes.DeviceModel => Watched.DeviceModel,
        ResourceTypes.Device => Watched.Device,
        _ => null,
    };
}
