using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Workloads;
using Edge.ApiServer.Patching;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Controllers.Workloads;

/// <summary>Objects in memory, changed by the cores' own decisions: what they decide is done, pods run when the test says so.</summary>
internal sealed class FakeCluster
{
    private readonly List<(ResourceKind Kind, JsonObject Object)> _objects = [];
    private long _version;

    public DateTimeOffset Now { get; set; } = new(2026, 3, 1, 12, 0, 0, TimeSpan.Zero);

    /// <summary>Reasons of all Events, in order.</summary>
    public List<string> Events { get; } = [];

    /// <summary>After what time the last look wanted another.</summary>
    public TimeSpan? Next { get; private set; }

    public List<JsonObject> All(ResourceKind kind) => [.. _objects.Where(entry => entry.Kind == kind).Select(entry => entry.Object)];

    public JsonObject Get(ResourceKind kind, string name) => All(kind).Single(obj => obj.Name() == name);

    public IEnumerable<JsonObject> Alive => All(ResourceKind.Pod).Where(PodFacts.IsActive);

    public JsonObject Add(ResourceKind kind, JsonObject obj)
    {
        var metadata = obj.Child("metadata");
        obj["kind"] = kind.Kind;
        if (obj.Name().Length == 0)
            metadata["name"] = $"{metadata.Text("generateName")}{++_version:D4}";
        if (kind.Namespaced)
            metadata["namespace"] = "default";
        metadata["uid"] = $"uid-{++_version}";
        metadata["generation"] = 1;
        metadata["creationTimestamp"] = KubeObject.Time(Now);
        metadata["resourceVersion"] = $"{++_version}";
        obj.Remove("status");
        BuiltinObjects.Default(kind, obj);
        var faults = BuiltinObjects.Validate(kind, obj, null);
        Assert.True(faults.Count == 0, string.Join("\n", faults));
        Assert.DoesNotContain(All(kind), other => other.Name() == obj.Name());
        _objects.Add((kind, obj));
        return obj;
    }

    public JsonObject Add(ResourceKind kind, string json) => Add(kind, Json.Object(json));

    /// <summary>Looks at the workload again and again until nothing is to be done; returns how many writes there were.</summary>
    public int Settle(ResourceKind kind, string name, WorkloadCore core, Action? between = null)
    {
        var writes = 0;
        between?.Invoke();
        for (var i = 0; i < 200; i++)
        {
            if (!All(kind).Exists(obj => obj.Name() == name))
                return writes;
            var count = Look(kind, name, core);
            writes += count;
            between?.Invoke();
            if (count == 0)
                return writes;
        }

        throw new InvalidOperationException($"{kind.Kind} {name} does not come to rest");
    }

    /// <summary>One look; returns how many writes it made.</summary>
    public int Look(ResourceKind kind, string name, WorkloadCore core)
    {
        var world = new WorkloadWorld(of => [.. All(of).Select(obj => obj.DeepClone().AsObject())]);
        var plan = core(Get(kind, name).DeepClone().AsObject(), world, Now);
        Next = plan.Next;
        foreach (var action in plan.Actions)
            Do(action);
        return plan.Actions.Count(action => action is not TellAction);
    }

    public void Do(WorkloadAction action)
    {
        switch (action)
        {
            case CreateAction create when create.MayExist && All(create.Kind).Exists(obj => obj.Name() == create.Object.Name()):
                break;
            case CreateAction create:
                Add(create.Kind, create.Object.DeepClone().AsObject());
                break;
            case PatchAction patch:
                Patch(patch.Kind, patch.Target.Name(), patch.Patch);
                break;
            case DeleteAction delete:
                Delete(delete.Kind, delete.Target.Name());
                break;
            case TellAction tell:
                Events.Add(tell.Reason);
                break;
        }
    }

    public void Patch(ResourceKind kind, string name, JsonObject patch)
    {
        var index = _objects.FindIndex(entry => entry.Kind == kind && entry.Object.Name() == name);
        if (index < 0)
            return;
        var old = _objects[index].Object;
        if (patch.ResourceVersion() is { Length: > 0 } seen && seen != old.ResourceVersion())
            return; // 409: decided anew
        var next = MergePatch.Apply((JsonObject)old.DeepClone(), (JsonObject)patch.DeepClone())!.AsObject();
        next.Child("metadata")["resourceVersion"] = $"{++_version}";
        if (!JsonNode.DeepEquals(old["spec"], next["spec"]))
            next.Child("metadata")["generation"] = old.Number(0, "metadata", "generation") + 1;
        if (next.IsDeleting() && !next.Texts("metadata", "finalizers").Any())
            _objects.RemoveAt(index);
        else
            _objects[index] = (kind, next);
    }

    public void Patch(ResourceKind kind, string name, string patch) => Patch(kind, name, Json.Object(patch));

    /// <summary>At once, unless finalizers hold the object.</summary>
    public void Delete(ResourceKind kind, string name) => Patch(kind, name, new JsonObject { ["metadata"] = new JsonObject { ["deletionTimestamp"] = KubeObject.Time(Now) } });

    /// <summary>Makes pods run and be ready.</summary>
    public void Run(Func<JsonObject, bool>? which = null)
    {
        foreach (var pod in Alive.Where(pod => (which is null || which(pod)) && !PodFacts.IsReady(pod)).ToList())
        {
            Patch(ResourceKind.Pod, pod.Name(), new JsonObject
            {
                ["spec"] = new JsonObject { ["nodeName"] = pod.Text("spec", "nodeName") is { Length: > 0 } node ? node : "n1" },
                ["status"] = new JsonObject
                {
                    ["phase"] = "Running", ["conditions"] = new JsonArray(new JsonObject { ["type"] = "Ready", ["status"] = "True", ["lastTransitionTime"] = KubeObject.Time(Now) }),
                },
            });
        }
    }

    public void Finish(string pod, string phase) => Patch(ResourceKind.Pod, pod, new JsonObject
    {
        ["status"] = new JsonObject
        {
            ["phase"] = phase, ["conditions"] = null,
            ["containerStatuses"] = new JsonArray(new JsonObject { ["name"] = "c", ["state"] = new JsonObject { ["terminated"] = new JsonObject { ["finishedAt"] = KubeObject.Time(Now) } } }),
        },
    });
}
