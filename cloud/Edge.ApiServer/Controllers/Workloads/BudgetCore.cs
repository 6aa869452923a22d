using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Selectors;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>How many of a PodDisruptionBudget's pods may be evicted now (k8s.io/kubernetes/pkg/controller/disruption). Pure.</summary>
internal static class BudgetCore
{
    // An eviction that was allowed counts as a lost pod until the pod is seen to go, or for so long.
    private static readonly TimeSpan s_disrupted = TimeSpan.FromMinutes(2);

    public static WorkloadPlan Reconcile(JsonObject budget, WorkloadWorld world, DateTimeOffset now)
    {
        var plan = new WorkloadPlan();
        if (budget.IsDeleting())
            return plan;
        var pods = budget.At("spec", "selector") is JsonObject labels && LabelSelector.FromJson(labels) is var selector
            ? world.Pods(budget.Namespace()).Where(pod => selector.Matches(pod.Map("metadata", "labels")) && !Conditions.IsFinished(pod)).ToList() : [];
        var (expected, desired, problem) = Wanted(budget, pods, world);
        var disrupted = Disrupted(budget, pods, now, plan);
        var healthy = pods.Count(pod => PodFacts.IsReady(pod) && !pod.IsDeleting() && !disrupted.ContainsKey(pod.Name()));
        var allowed = problem.Length > 0 || expected <= 0 ? 0 : Math.Max(0, healthy - desired);
        var (value, reason) = problem.Length > 0 ? ("False", "SyncFailed") : allowed > 0 ? ("True", "SufficientPods") : ("False", "InsufficientPods");
        var condition = StatusWrites.Condition(budget.Items("status", "conditions"), "DisruptionAllowed", value, reason, problem, now);
        condition["observedGeneration"] = budget.Number(0, "metadata", "generation");
        var status = new JsonObject
        {
            ["observedGeneration"] = budget.Number(0, "metadata", "generation"),
            ["disruptionsAllowed"] = allowed,
            ["currentHealthy"] = (long)healthy,
            ["desiredHealthy"] = desired,
            ["expectedPods"] = expected,
            ["conditions"] = new JsonArray(condition),
        };
        if (disrupted.Count > 0)
            status["disruptedPods"] = disrupted;
        // An eviction in between changes the same fields: it must not be overwritten.
        StatusWrites.Set(ResourceKind.PodDisruptionBudget, budget, status, plan, checkVersion: true);
        return plan;
    }

    private static (long Expected, long Desired, string Problem) Wanted(JsonObject budget, List<JsonObject> pods, WorkloadWorld world)
    {
        var (min, max) = (budget.At("spec", "minAvailable"), budget.At("spec", "maxUnavailable"));
        if (max is null && (min is null || min.TryWhole(out _)))
            return (pods.Count, min.TryWhole(out var whole) ? whole : 0, "");
        var scale = 0L;
        var counted = new HashSet<string>(StringComparer.Ordinal);
        foreach (var pod in pods)
        {
            if (ScaleOf(pod, world) is not { } controller)
                return (0, 0, $"found no controllers for pod \"{pod.Name()}\": a percentage or maxUnavailable needs pods of a Deployment, ReplicaSet or StatefulSet");
            if (counted.Add(controller.Uid))
                scale += controller.Replicas;
        }

        return max is not null
            ? (scale, Math.Max(0, scale - Share.Of(max, scale, roundUp: true)), "")
            : (scale, Share.Of(min, scale, roundUp: true), "");
    }

    private static (string Uid, long Replicas)? ScaleOf(JsonObject pod, WorkloadWorld world)
    {
        var owner = Ownership.ControllerOf(pod);
        switch (owner.Text("kind"))
        {
            case "ReplicaSet" when world.ReplicaSets(pod.Namespace()).FirstOrDefault(set => set.Uid() == owner.Text("uid")) is { } set:
                var above = Ownership.ControllerOf(set);
                return above.Text("kind") == "Deployment" && world.List(ResourceKind.Deployment).FirstOrDefault(deployment => deployment.Uid() == above.Text("uid")) is { } found
                    ? (found.Uid(), found.Number(1, "spec", "replicas"))
                    : (set.Uid(), set.Number(1, "spec", "replicas"));
            case "StatefulSet" when world.List(ResourceKind.StatefulSet).FirstOrDefault(set => set.Uid() == owner.Text("uid")) is { } stateful:
                return (stateful.Uid(), stateful.Number(1, "spec", "replicas"));
            default:
                return null;
        }
    }

    private static JsonObject Disrupted(JsonObject budget, List<JsonObject> pods, DateTimeOffset now, WorkloadPlan plan)
    {
        var still = new JsonObject();
        var names = pods.Where(pod => !pod.IsDeleting()).Select(pod => pod.Name()).ToHashSet(StringComparer.Ordinal);
        foreach (var (name, text) in budget.Map("status", "disruptedPods"))
        {
            if (!names.Contains(name) || PodFacts.Time(text) is not { } since)
                continue;
            var left = since + s_disrupted - now;
            if (left <= TimeSpan.Zero)
                continue;
            plan.LookAgain(left);
            still[name] = text;
        }

        return still;
    }
}
