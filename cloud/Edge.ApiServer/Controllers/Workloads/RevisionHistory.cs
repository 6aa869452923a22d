using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>The ControllerRevisions of a DaemonSet or StatefulSet: one for each template that it has had (k8s.io/kubernetes/pkg/controller/history). Pure.</summary>
internal sealed class RevisionHistory
{
    public const string HashLabel = "controller-revision-hash";

    private readonly JsonObject _owner;
    private readonly WorkloadPlan _plan;
    private readonly List<JsonObject> _revisions;

    public RevisionHistory(JsonObject owner, ResourceKind kind, WorkloadWorld world, WorkloadPlan plan)
    {
        _owner = owner;
        _plan = plan;
        Collisions = owner.Number(0, "status", "collisionCount");
        _revisions = [.. Ownership.Claim(ResourceKind.ControllerRevision, owner, kind, world, plan).OrderBy(Number)];
        var data = Data(owner.At("spec", "template"));
        var last = _revisions.Count > 0 ? Number(_revisions[^1]) : 0;
        if (_revisions.FindLast(revision => JsonNode.DeepEquals(revision["data"], data)) is { } known)
        {
            Update = known;
            if (Number(Update) < last && !owner.IsDeleting())
                plan.Add(new PatchAction(ResourceKind.ControllerRevision, Update, new JsonObject { ["revision"] = last + 1 }));
            return;
        }

        var hash = TemplateHash.Of(owner.At("spec", "template"), Collisions);
        Update = Make(owner, kind, data, hash, last + 1);
        IsNew = true;
        if (owner.IsDeleting())
            return;
        if (world.Revisions(owner.Namespace()).Any(revision => revision.Name() == Update.Name()))
            Collisions++; // another template with this hash: the next pass has another name
        else
            plan.Add(new CreateAction(ResourceKind.ControllerRevision, Update));
    }

    /// <summary>The revision of the wanted template.</summary>
    public JsonObject Update { get; }

    /// <summary>It is only just made.</summary>
    public bool IsNew { get; }

    public long Collisions { get; }

    public JsonObject? Find(string name) => Update.Name() == name ? Update : _revisions.Find(revision => revision.Name() == name);

    public static string Hash(JsonObject revision) => revision.Label(HashLabel) ?? "";

    /// <summary>The pod template that the revision keeps.</summary>
    public static JsonNode? Template(JsonObject revision)
    {
        var template = revision.At("data", "spec", "template")?.DeepClone() as JsonObject;
        template?.Remove("$patch");
        return template;
    }

    /// <summary>Deletes the oldest beyond the limit; those that are in use stay.</summary>
    public void CleanUp(Func<JsonObject, bool> inUse)
    {
        var limit = _owner.Number(10, "spec", "revisionHistoryLimit");
        var spare = _revisions.Where(revision => revision != Update && !revision.IsDeleting() && !inUse(revision)).ToList();
        foreach (var revision in spare.Take((int)Math.Max(0, spare.Count - limit)))
            _plan.Add(new DeleteAction(ResourceKind.ControllerRevision, revision));
    }

    private static long Number(JsonObject revision) => revision.Number(0, "revision");

    // As kubectl rollout undo sends it back: a strategic merge patch that replaces the template.
    private static JsonObject Data(JsonNode? template)
    {
        var copy = template?.DeepClone() as JsonObject ?? [];
        copy["$patch"] = "replace";
        return new JsonObject { ["spec"] = new JsonObject { ["template"] = copy } };
    }

    private static JsonObject Make(JsonObject owner, ResourceKind kind, JsonObject data, string hash, long number)
    {
        var name = $"{owner.Name()}-{hash}";
        var labels = owner.At("spec", "template", "metadata", "labels")?.DeepClone() as JsonObject ?? [];
        labels[HashLabel] = kind == ResourceKind.StatefulSet ? name : hash;
        var metadata = new JsonObject
        {
            ["name"] = name, ["namespace"] = owner.Namespace(), ["labels"] = labels, ["ownerReferences"] = new JsonArray(Ownership.Reference(owner, kind)),
        };
        if (owner.Annotation("kubernetes.io/change-cause") is { } cause)
            metadata["annotations"] = new JsonObject { ["kubernetes.io/change-cause"] = cause };
        return new JsonObject { ["apiVersion"] = "apps/v1", ["kind"] = "ControllerRevision", ["metadata"] = metadata, ["data"] = data, ["revision"] = number };
    }
}
