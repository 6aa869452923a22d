using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Selectors;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>What the workload cores see of the cluster: one snapshot a pass. The objects are the informers': never changed here.</summary>
internal sealed class WorkloadWorld
{
    private readonly Lazy<ILookup<string, JsonObject>> _pods;
    private readonly Lazy<ILookup<string, JsonObject>> _replicaSets;
    private readonly Lazy<ILookup<string, JsonObject>> _revisions;
    private readonly Lazy<ILookup<string, JsonObject>> _jobs;
    private readonly Lazy<ILookup<string, JsonObject>> _claims;

    public WorkloadWorld(Func<ResourceKind, IReadOnlyCollection<JsonObject>> list)
    {
        Lazy<ILookup<string, JsonObject>> By(ResourceKind kind) => new(() => list(kind).ToLookup(obj => obj.Namespace(), StringComparer.Ordinal));
        _pods = By(ResourceKind.Pod);
        _replicaSets = By(ResourceKind.ReplicaSet);
        _revisions = By(ResourceKind.ControllerRevision);
        _jobs = By(ResourceKind.Job);
        _claims = By(ResourceKind.PersistentVolumeClaim);
        List = list;
    }

    /// <summary>All objects of a kind.</summary>
    public Func<ResourceKind, IReadOnlyCollection<JsonObject>> List { get; }

    public IReadOnlyCollection<JsonObject> Nodes => List(ResourceKind.Node);

    public IEnumerable<JsonObject> Pods(string @namespace) => _pods.Value[@namespace];

    public IEnumerable<JsonObject> ReplicaSets(string @namespace) => _replicaSets.Value[@namespace];

    public IEnumerable<JsonObject> Revisions(string @namespace) => _revisions.Value[@namespace];

    public IEnumerable<JsonObject> Jobs(string @namespace) => _jobs.Value[@namespace];

    public IEnumerable<JsonObject> Claims(string @namespace) => _claims.Value[@namespace];
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

    /// <summary>Those of the candidates that are the owner's: what it controls and still selects, and what nobody controls and it selects, which
    /// it adopts. What it controls and selects no longer it releases. An owner that is being deleted neither adopts nor releases.</summary>
    public static List<JsonObject> Claim(ResourceKind kind, JsonObject owner, ResourceKind ownerKind, IEnumerable<JsonObject> candidates, WorkloadPlan plan)
    {
        var selector = owner.At("spec", "selector") is JsonObject labels ? LabelSelector.FromJson(labels) : null;
        var mine = new List<JsonObject>();
        foreach (var candidate in candidates)
        {
            var controller = ControllerOf(candidate);
            var selected = selector is { IsEmpty: false } && selector.Matches(candidate.Map("metadata", "labels"));
            if (controller is not null)
            {
                if (controller.Text("uid") != owner.Uid())
                    continue;
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
