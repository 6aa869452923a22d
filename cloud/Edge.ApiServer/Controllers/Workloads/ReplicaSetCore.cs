using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>Keeps the number of a ReplicaSet's pods (k8s.io/kubernetes/pkg/controller/replicaset). Pure.</summary>
internal static class ReplicaSetCore
{
    // So many writes at once; the next pass does the rest.
    private const int BurstMax = 100;

    public static WorkloadPlan Reconcile(JsonObject set, WorkloadWorld world, DateTimeOffset now)
    {
        var plan = new WorkloadPlan();
        var mine = Ownership.Claim(ResourceKind.Pod, set, ResourceKind.ReplicaSet, world, plan);
        var active = mine.Where(PodFacts.IsActive).ToList();
        var wanted = (int)set.Number(1, "spec", "replicas");
        if (!set.IsDeleting())
        {
            if (active.Count < wanted)
            {
                for (var i = 0; i < Math.Min(wanted - active.Count, BurstMax); i++)
                {
                    var pod = PodFacts.FromTemplate(set.At("spec", "template"), set, ResourceKind.ReplicaSet);
                    pod.Child("metadata")["generateName"] = set.Name() + "-";
                    plan.Add(new CreateAction(ResourceKind.Pod, pod));
                }
            }
            else if (active.Count > wanted)
            {
                var order = DeleteOrder(active, now).Take(Math.Min(active.Count - wanted, BurstMax)).ToList();
                plan.Actions.AddRange(order.Select(pod => new DeleteAction(ResourceKind.Pod, pod)));
            }
        }

        SetStatus(set, active, now, plan);
        return plan;
    }

    /// <summary>Those that go first, first: without a node, pending, not ready, of low deletion cost, on a node with many of them, ready for
    /// the shortest time, restarted often, new.</summary>
    public static IEnumerable<JsonObject> DeleteOrder(IReadOnlyList<JsonObject> pods, DateTimeOffset now)
    {
        var crowd = pods.GroupBy(pod => pod.Text("spec", "nodeName"), StringComparer.Ordinal).ToDictionary(group => group.Key, group => group.Count(), StringComparer.Ordinal);
        return pods
            .OrderBy(pod => pod.Text("spec", "nodeName").Length > 0)
            .ThenBy(pod => pod.Text("status", "phase") switch { "Running" => 2, "Unknown" => 1, _ => 0 })
            .ThenBy(PodFacts.IsReady)
            .ThenBy(pod => int.TryParse(pod.Annotation("controller.kubernetes.io/pod-deletion-cost"), out var cost) ? cost : 0)
            .ThenByDescending(pod => crowd[pod.Text("spec", "nodeName")])
            .ThenByDescending(pod => PodFacts.ReadySince(pod) ?? now)
            .ThenByDescending(PodFacts.Restarts)
            .ThenByDescending(PodFacts.Created)
            .ThenBy(pod => pod.Name(), StringComparer.Ordinal);
    }

    private static void SetStatus(JsonObject set, List<JsonObject> active, DateTimeOffset now, WorkloadPlan plan)
    {
        var labels = set.Map("spec", "template", "metadata", "labels").ToList();
        var minReady = set.Number(0, "spec", "minReadySeconds");
        var status = new JsonObject { ["replicas"] = (long)active.Count };
        status.Count("fullyLabeledReplicas", active.Count(pod => labels.TrueForAll(label => pod.Label(label.Key) == label.Value)));
        status.Count("readyReplicas", active.Count(PodFacts.IsReady));
        status.Count("availableReplicas", active.Count(pod => PodFacts.IsAvailable(pod, minReady, now, plan)));
        status["observedGeneration"] = set.Number(0, "metadata", "generation");
        StatusWrites.Set(ResourceKind.ReplicaSet, set, status, plan);
        // It is told with what there is: a quota may let some of the pods be. The condition goes with the next status.
        plan.OnCreateFailed = why =>
        {
            status["conditions"] = new JsonArray(StatusWrites.Condition(set.Items("status", "conditions"), "ReplicaFailure", "True", "FailedCreate", why, now));
            return StatusWrites.Of(ResourceKind.ReplicaSet, set, status);
        };
    }
}
