using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers;
using Edge.ApiServer.Resources;
using Edge.Kubernetes;
using Edge.Kubernetes.Selectors;

namespace Edge.ApiServer.Rest;

/// <summary>What an eviction costs the pod's PodDisruptionBudget (k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go).</summary>
internal sealed class EvictionBudget(ObjectApi api, TimeProvider time)
{
    // The budget's controller forgets them after two minutes; more than this means that it does not keep up.
    private const int DisruptedMax = 2000;

    /// <summary>Takes one disruption from the budget that selects the pod, where there is one.</summary>
    /// <exception cref="ApiException">429 when none is left, 500 when several budgets select the pod.</exception>
    public async Task TakeAsync(JsonObject pod, bool dryRun, CancellationToken cancellationToken)
    {
        if (pod.IsDeleting() || pod.Text("status", "phase") is "Succeeded" or "Failed" or "Pending")
            return;
        var budgets = api.Store.Snapshot(BuiltinResources.DisruptionBudgets.Id).Items.Where(stored => stored.Namespace == pod.Namespace()).Select(stored => stored.Parse())
            .Where(budget => Selects(budget, pod)).ToList();
        if (budgets.Count == 0)
            return;
        if (budgets.Count > 1)
            throw new ApiException(500, "InternalError", "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
        var name = budgets[0].Name();
        await api.ChangeAsServerAsync(BuiltinResources.DisruptionBudgets, pod.Namespace(), name, budget => Take(budget, pod), dryRun, cancellationToken);
    }

    private static bool Selects(JsonObject budget, JsonObject pod)
        => budget.At("spec", "selector") is JsonObject selector && LabelSelector.FromJson(selector).Matches(pod.Map("metadata", "labels"));

    private JsonObject Take(JsonObject budget, JsonObject pod)
    {
        var status = budget.Child("status");
        if (Conditions.Status(pod, "Ready") != "True"
            && (budget.Text("spec", "unhealthyPodEvictionPolicy") == "AlwaysAllow"
                || (status.Number(0, "currentHealthy") >= status.Number(0, "desiredHealthy") && status.Number(0, "desiredHealthy") > 0)))
            return budget; // a pod that is not ready does not count, so its loss costs nothing
        var name = budget.Name();
        if (status.Number(-1, "observedGeneration") < budget.Number(0, "metadata", "generation"))
            throw Refused(name, $"The disruption budget {name} is still being processed by the server.");
        if (status.Child("disruptedPods").Count > DisruptedMax)
            throw Refused(name, $"Forbidden: DisruptedPods map too big - too many evictions not confirmed by PDB controller of {name}");
        var allowed = status.Number(0, "disruptionsAllowed");
        if (allowed <= 0)
            throw Refused(name, $"The disruption budget {name} needs {status.Number(0, "desiredHealthy")} healthy pods and has {status.Number(0, "currentHealthy")} currently");
        status["disruptionsAllowed"] = allowed - 1;
        status.Child("disruptedPods")[pod.Name()] = KubeObject.Time(time.GetUtcNow());
        return budget;
    }

    private static ApiException Refused(string budget, string why)
        => new(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", new JsonObject
        {
            ["causes"] = new JsonArray(new JsonObject { ["reason"] = "DisruptionBudget", ["message"] = why }),
            ["name"] = budget,
        });
}
