using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Selectors;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>What the workload cores see of the cluster: one snapshot a pass. The objects are the informers': never changed here.</summary>
internal sealed class WorkloadWorld
{
    private readonly Dictionary<ResourceKind, ByOwner> _owned = [];
    private readonly Lazy<ILookup<string, JsonObject>> _claims;

    public WorkloadWorld(Func<ResourceKind, IReadOnlyCollection<JsonObject>> list)
    {
        _claims = new(() => list(ResourceKind.PersistentVolumeClaim).ToLookup(obj => obj.Namespace(), StringComparer.Ordinal));
        List = list;
    }

    /// <summary>All objects of a kind.</summary>
    public Func<ResourceKind, IReadOnlyCollection<JsonObject>> List { get; }

    public IReadOnlyCollection<JsonObject> Nodes => List(ResourceKind.Node);

    public IEnumerable<JsonObject> Pods(string @namespace) => Index(ResourceKind.Pod).All[@namespace];

    public IEnumerable<JsonObject> ReplicaSets(string @namespace) => Index(ResourceKind.ReplicaSet).All[@namespace];

    public IEnumerable<JsonObject> Revisions(string @namespace) => Index(ResourceKind.ControllerRevision).All[@namespace];

    public IEnumerable<JsonObject> Jobs(string @namespace) => Index(ResourceKind.Job).All[@namespace];

    /// <summary>What an owner can have: the objects of the kind that it controls, and those of its namespace that nobody does. A look at one workload
    /// costs by its own pods, not by its namespace's.</summary>
    public IEnumerable<JsonObject> Candidates(ResourceKind kind, JsonObject owner)
    {
        var index = Index(kind);
        return index.Controlled[owner.Uid()].Where(obj => obj.Namespace() == owner.Namespace()).Concat(index.Free[owner.Namespace()]);
    }

    public IEnumerable<JsonObject> Claims(string @namespace) => _claims.Value[@namespace];

    private ByOwner Index(ResourceKind kind)
    {
        if (!_owned.TryGetValue(kind, out var index))
            _owned[kind] = index = new ByOwner(List(kind));
        return index;
    }

    /// <summary>The objects of a kind by namespace, by the uid of their controller, and by namespace where they have none.</summary>
    private sealed class ByOwner
    {
        public ByOwner(IReadOnlyCollection<JsonObject> objects)
        {
            var owned = objects.Select(obj => (Object: obj, Controller: Ownership.ControllerOf(obj))).ToList();
            All = objects.ToLookup(obj => obj.Namespace(), StringComparer.Ordinal);
            Controlled = owned.Where(one => one.Controller is not null).ToLookup(one => one.Controller.Text("uid"), one => one.Object, StringComparer.Ordinal);
            Free = owned.Where(one => one.Controller is null).ToLookup(one => one.Object.Namespace(), one => one.Object, StringComparer.Ordinal);
        }

        public ILookup<string, JsonObject> All { get; }

        public ILookup<string, JsonObject> Controlled { get; }

        public ILookup<string, JsonObject> Free { get; }
    }
}

/// <summary>Who owns what among workloads: the controller reference and the selector.</summary>
internal static class Ownership
{
    public static JsonObject? ControllerOf(JsonObject obj) => obj.Items("metadata", "ownerReferences").FirstOrDefault(reference => reference.Flag(false, "controller"));

    public static bool IsControlledBy(JsonObject obj, JsonObject owner) => ControllerOf(obj).Text("uid") is { Length: > 0 } uid && uid == owner.Uid();

    public static JsonObject Reference(JsonObject owner, ResourceKind kind) => new()
    {
        ["apiVersion"] = kind.ApiVersion, ["kind"] = kind.Kind, ["name"] = owner.Name(), ["uid"] = owner.Uid(), ["controller"] = true, ["blockOwnerDeletion"] = true,
    };

    /// <summary>Those of the <see cref="WorkloadWorld.Candidates"/> that are the owner's: what it controls and still selects, and what nobody controls and
    /// it selects, which it adopts. What it controls and selects no longer it releases. An owner that is being deleted neither adopts nor releases.</summary>
    public static List<JsonObject> Claim(ResourceKind kind, JsonObject owner, ResourceKind ownerKind, WorkloadWorld world, WorkloadPlan plan, Func<JsonObject, bool>? may = null)
    {
        var selector = owner.At("spec", "selector") is JsonObject labels ? LabelSelector.FromJson(labels) : null;
        var mine = new List<JsonObject>();
        foreach (var candidate in world.Candidates(kind, owner))
        {
            if (may?.Invoke(candidate) == false)
                continue;
            var controller = ControllerOf(candidate);
            var selected = selector is { IsEmpty: false } && selector.Matches(candidate.Map("metadata", "labels"));
            if (controller is not null)
            {
                if (selected || owner.IsDeleting())
                    mine.Add(candidate);
                else
                    plan.Add(new PatchAction(kind, candidate, Owners(candidate, [.. candidate.Items("metadata", "ownerReferences").Where(reference => reference.Text("uid") != owner.Uid())])));
                continue;
            }

            if (!selected || owner.IsDeleting() || candidate.IsDeleting() || (kind == ResourceKind.Pod && Conditions.IsFinished(candidate)))
                continue;
            plan.Add(new PatchAction(kind, candidate, Owners(candidate, [.. candidate.Items("metadata", "ownerReferences"), Reference(owner, ownerKind)])));
            mine.Add(candidate);
        }

        return mine;
    }

    private static JsonObject Owners(JsonObject obj, IReadOnlyList<JsonObject> owners) => new()
    {
        ["metadata"] = new JsonObject
        {
            ["uid"] = obj.Uid(),
            ["resourceVersion"] = obj.ResourceVersion(),
            ["ownerReferences"] = owners.Count == 0 ? null : new JsonArray([.. owners.Select(owner => owner.DeepClone())]),
        },
    };
}
