using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>Brings a Deployment's ReplicaSets to its template and number (k8s.io/kubernetes/pkg/controller/deployment). Pure.</summary>
internal static class DeploymentCore
{
    public const string Revision = "deployment.kubernetes.io/revision";
    public const string HashLabel = "pod-template-hash";

    public static WorkloadPlan Reconcile(JsonObject deployment, WorkloadWorld world, DateTimeOffset now)
    {
        var plan = new WorkloadPlan();
        var state = new DeploymentState(deployment, world, plan, now);
        if (deployment.IsDeleting())
        {
            DeploymentStatus.Set(state);
            return plan;
        }

        if (deployment.Flag(false, "spec", "paused"))
        {
            DeploymentScaling.Scale(state);
            if (state.OldSets.All(set => Replicas(set) == 0))
                CleanUp(state);
            DeploymentStatus.Set(state);
            return plan;
        }

        var number = NextRevision(state).ToString(CultureInfo.InvariantCulture);
        if (state.NewSet is { } current)
            Adopt(state, current, number);
        if (state.NewSet is not null && DeploymentScaling.IsScaling(state))
        {
            DeploymentScaling.Scale(state);
            DeploymentStatus.Set(state);
            return plan;
        }

        if (deployment.Text("spec", "strategy", "type") == "Recreate")
            Recreate(state, world, number);
        else
            Roll(state, number);
        DeploymentStatus.Set(state);
        return plan;
    }

    internal static long Replicas(JsonObject set) => set.Number(1, "spec", "replicas");

    internal static long Available(JsonObject set) => set.Number(0, "status", "availableReplicas");

    /// <summary>The template of a ReplicaSet without the hash that the Deployment gave it.</summary>
    internal static JsonNode? Template(JsonObject set)
    {
        var template = set.At("spec", "template")?.DeepClone() as JsonObject;
        if (template.At("metadata", "labels") is JsonObject labels)
        {
            labels.Remove(HashLabel);
            if (labels.Count == 0)
                template!.Child("metadata").Remove("labels");
        }

        return template;
    }

    private static void Roll(DeploymentState state, string revision)
    {
        if (state.NewSet is not { } set)
        {
            var room = state.Wanted + state.MaxSurge - state.OldSets.Sum(Replicas);
            Create(state, Math.Clamp(room, 0, state.Wanted), revision);
            return;
        }

        var (have, wanted) = (Replicas(set), state.Wanted);
        if (have > wanted)
        {
            DeploymentScaling.ScaleTo(state, set, wanted);
            return;
        }

        if (have < wanted)
        {
            var total = state.AllSets.Sum(Replicas);
            var more = Math.Min(wanted + state.MaxSurge - total, wanted - have);
            if (more > 0)
            {
                DeploymentScaling.ScaleTo(state, set, have + more);
                return;
            }
        }

        if (ScaleDownOld(state, set))
            return;
        if (DeploymentStatus.IsComplete(state))
            CleanUp(state);
    }

    private static bool ScaleDownOld(DeploymentState state, JsonObject newSet)
    {
        if (state.OldSets.Sum(Replicas) == 0)
            return false;
        var minAvailable = state.Wanted - state.MaxUnavailable;
        var mayGo = state.AllSets.Sum(Replicas) - minAvailable - Math.Max(0, Replicas(newSet) - Available(newSet));
        if (mayGo <= 0)
            return false;
        var next = state.OldSets.OrderBy(PodFacts.Created).ToDictionary(set => set, Replicas);
        // What is not healthy serves nobody: it goes first.
        foreach (var set in next.Keys.ToList())
        {
            var down = Math.Min(mayGo, Math.Max(0, next[set] - Available(set)));
            next[set] -= down;
            mayGo -= down;
        }

        var spare = state.AllSets.Sum(Available) - minAvailable;
        foreach (var set in next.Keys.ToList())
        {
            var down = Math.Min(Math.Max(0, spare), next[set]);
            next[set] -= down;
            spare -= down;
        }

        var changed = false;
        foreach (var (set, count) in next.Where(pair => pair.Value != Replicas(pair.Key)))
        {
            DeploymentScaling.ScaleTo(state, set, count);
            changed = true;
        }

        return changed;
    }

    private static void Recreate(DeploymentState state, WorkloadWorld world, string revision)
    {
        var down = state.OldSets.Where(set => Replicas(set) > 0).ToList();
        foreach (var set in down)
            DeploymentScaling.ScaleTo(state, set, 0);
        var old = state.OldSets.Select(set => set.Uid()).ToHashSet(StringComparer.Ordinal);
        if (down.Count > 0 || world.Pods(state.Deployment.Namespace()).Any(pod => !Conditions.IsFinished(pod) && old.Contains(Ownership.ControllerOf(pod).Text("uid"))))
            return;
        if (state.NewSet is null)
            Create(state, state.Wanted, revision);
        else if (Replicas(state.NewSet) != state.Wanted)
            DeploymentScaling.ScaleTo(state, state.NewSet, state.Wanted);
        else if (DeploymentStatus.IsComplete(state))
            CleanUp(state);
    }

    private static void Create(DeploymentState state, long replicas, string revision)
    {
        var (deployment, plan) = (state.Deployment, state.Plan);
        var hash = TemplateHash.Of(deployment.At("spec", "template"), state.Collisions);
        var name = $"{deployment.Name()}-{hash}";
        if (state.World.ReplicaSets(deployment.Namespace()).Any(set => set.Name() == name))
        {
            // Somebody else's, or another template with this hash: the next pass has another name.
            state.Collisions++;
            return;
        }

        var set = new JsonObject
        {
            ["apiVersion"] = "apps/v1",
            ["kind"] = "ReplicaSet",
            ["metadata"] = new JsonObject
            {
                ["name"] = name,
                ["namespace"] = deployment.Namespace(),
                ["ownerReferences"] = new JsonArray(Ownership.Reference(deployment, ResourceKind.Deployment)),
                ["annotations"] = DeploymentScaling.Annotations(state, null, revision),
            },
            ["spec"] = new JsonObject
            {
                ["replicas"] = replicas,
                ["minReadySeconds"] = deployment.Number(0, "spec", "minReadySeconds"),
                ["selector"] = deployment.At("spec", "selector")?.DeepClone(),
                ["template"] = deployment.At("spec", "template")?.DeepClone(),
            },
        };
        var template = set.Child("spec").Child("template").Child("metadata").Child("labels");
        template[HashLabel] = hash;
        set.Child("metadata")["labels"] = template.DeepClone();
        set.Child("spec").Child("selector").Child("matchLabels")[HashLabel] = hash;
        SetRevision(state, revision);
        plan.Add(new CreateAction(ResourceKind.ReplicaSet, set));
        plan.Tell("ScalingReplicaSet", $"Scaled up replica set {name} from 0 to {replicas}");
        state.Created = name;
    }

    /// <summary>A ReplicaSet with the wanted template exists: its annotations follow the Deployment's, its revision is the newest.</summary>
    private static void Adopt(DeploymentState state, JsonObject set, string revision)
    {
        var wanted = DeploymentScaling.Annotations(state, set, revision);
        var patch = new JsonObject();
        if (StatusWrites.Patch(set.At("metadata", "annotations") as JsonObject ?? [], wanted) is { } annotations)
        {
            // Annotations that others put on the set stay.
            foreach (var (key, _) in annotations.Where(pair => pair.Value is null).ToList())
                annotations.Remove(key);
            if (annotations.Count > 0)
                patch["metadata"] = new JsonObject { ["annotations"] = annotations };
        }

        if (set.Number(0, "spec", "minReadySeconds") != state.Deployment.Number(0, "spec", "minReadySeconds"))
            patch["spec"] = new JsonObject { ["minReadySeconds"] = state.Deployment.Number(0, "spec", "minReadySeconds") };
        if (patch.Count > 0)
            state.Plan.Add(new PatchAction(ResourceKind.ReplicaSet, set, patch));
        SetRevision(state, revision);
    }

    private static void SetRevision(DeploymentState state, string revision)
    {
        if (state.Deployment.Annotation(Revision) != revision)
            state.Plan.Add(new PatchAction(ResourceKind.Deployment, state.Deployment, new JsonObject { ["metadata"] = new JsonObject { ["annotations"] = new JsonObject { [Revision] = revision } } }));
    }

    private static long NextRevision(DeploymentState state)
    {
        var last = state.OldSets.Select(RevisionOf).DefaultIfEmpty().Max();
        return state.NewSet is { } set && RevisionOf(set) > last ? RevisionOf(set) : last + 1;
    }

    private static long RevisionOf(JsonObject set) => long.TryParse(set.Annotation(Revision), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : 0;

    private static void CleanUp(DeploymentState state)
    {
        var limit = state.Deployment.Number(10, "spec", "revisionHistoryLimit");
        var alive = state.OldSets.Where(set => !set.IsDeleting()).ToList();
        foreach (var set in alive.OrderBy(RevisionOf).ThenBy(PodFacts.Created).Take((int)Math.Max(0, alive.Count - limit)))
        {
            if (Replicas(set) == 0 && set.Number(0, "status", "replicas") == 0 && set.Number(0, "status", "observedGeneration") >= set.Number(0, "metadata", "generation"))
                state.Plan.Add(new DeleteAction(ResourceKind.ReplicaSet, set));
        }
    }
}
