using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>A Deployment's status and conditions. Pure.</summary>
internal static class DeploymentStatus
{
    private const string Done = "NewReplicaSetAvailable";
    private const string TimedOut = "ProgressDeadlineExceeded";

    /// <summary>All wanted pods are of the new template and available, and no old one is left.</summary>
    public static bool IsComplete(DeploymentState state)
    {
        var made = state.NewSet.Number(0, "status", "replicas");
        return made == state.Wanted && state.AllSets.Sum(Made) == state.Wanted && state.AllSets.Sum(DeploymentCore.Available) >= state.Wanted
            && state.NewSet.Number(-1, "status", "observedGeneration") >= state.NewSet.Number(0, "metadata", "generation");
    }

    public static void Set(DeploymentState state)
    {
        var deployment = state.Deployment;
        var old = deployment.Items("status", "conditions").ToList();
        var available = state.AllSets.Sum(DeploymentCore.Available);
        var status = new JsonObject { ["observedGeneration"] = deployment.Number(0, "metadata", "generation") };
        status.Count("replicas", state.AllSets.Sum(Made));
        status.Count("updatedReplicas", state.NewSet.Number(0, "status", "replicas"));
        status.Count("readyReplicas", state.AllSets.Sum(set => set.Number(0, "status", "readyReplicas")));
        status.Count("availableReplicas", available);
        status.Count("unavailableReplicas", Math.Max(0, state.AllSets.Sum(DeploymentCore.Replicas) - available));
        if (state.Collisions > 0)
            status["collisionCount"] = state.Collisions;

        var enough = available >= state.Wanted - state.MaxUnavailable;
        var conditions = new List<JsonObject>
        {
            enough
                ? StatusWrites.Condition(old, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", state.Now, updates: true)
                : StatusWrites.Condition(old, "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", state.Now, updates: true),
        };
        if (Progress(state, old, status) is { } progress)
            conditions.Add(progress);
        if (state.AllSets.Prepend(state.NewSet).Select(set => set is null ? null : Conditions.Find(set, "ReplicaFailure")).FirstOrDefault(one => one is not null) is { } failure)
            conditions.Add(StatusWrites.Condition(old, "ReplicaFailure", failure.Text("status"), failure.Text("reason"), failure.Text("message"), state.Now, updates: true));
        status["conditions"] = new JsonArray([.. conditions]);
        StatusWrites.Set(ResourceKind.Deployment, deployment, status, state.Plan);
    }

    private static JsonObject? Progress(DeploymentState state, List<JsonObject> old, JsonObject status)
    {
        var before = old.Find(condition => condition.Text("type") == "Progressing");
        if (state.Deployment.At("spec", "progressDeadlineSeconds") is null)
            return null;
        var subject = state.NewSet is { } set ? $"ReplicaSet \"{set.Name()}\"" : $"Deployment \"{state.Deployment.Name()}\"";
        JsonObject Say(string value, string reason, string message, bool touch = false) => StatusWrites.Condition(old, "Progressing", value, reason, message, state.Now, updates: true, touch);

        if (state.Deployment.Flag(false, "spec", "paused"))
            return before.Text("reason") == TimedOut ? (JsonObject)before!.DeepClone() : Say("Unknown", "DeploymentPaused", "Deployment is paused");
        if (state.Created is { } created)
            return Say("True", "NewReplicaSetCreated", $"Created new replica set \"{created}\"", touch: true);
        if (before.Text("reason") == "DeploymentPaused")
            before = Say("Unknown", "DeploymentResumed", "Deployment is resumed", touch: true);
        if (state.NewSet is not null && IsComplete(state))
            return Say("True", Done, $"{subject} has successfully progressed.");
        if (before is null)
            return Say("True", "FoundNewReplicaSet", $"Found new replica set \"{state.NewSet?.Name()}\"", touch: true);
        if (HasMoved(state, status))
            return Say("True", "ReplicaSetUpdated", $"{subject} is progressing.", touch: true);
        if (before.Text("reason") is Done or TimedOut)
            return (JsonObject)before.DeepClone(); // pods of a finished rollout may come and go; a late one waits for a change
        var since = PodFacts.Time(before.Text("lastUpdateTime")) ?? state.Now;
        var left = since.AddSeconds(state.Deployment.Number(600, "spec", "progressDeadlineSeconds")) - state.Now;
        if (left <= TimeSpan.Zero)
            return Say("False", TimedOut, $"{subject} has timed out progressing.");
        state.Plan.LookAgain(left);
        return (JsonObject)before.DeepClone();
    }

    /// <summary>More new pods, fewer old ones, or more of them ready or available than when the status was last written.</summary>
    private static bool HasMoved(DeploymentState state, JsonObject status)
    {
        var before = state.Deployment["status"];
        long Then(string field) => before.Number(0, field);
        long Now(string field) => status.Number(0, field);
        return Now("updatedReplicas") > Then("updatedReplicas")
            || Now("replicas") - Now("updatedReplicas") < Then("replicas") - Then("updatedReplicas")
            || Now("readyReplicas") > Then("readyReplicas")
            || Now("availableReplicas") > Then("availableReplicas");
    }

    private static long Made(JsonObject set) => set.Number(0, "status", "replicas");
}
