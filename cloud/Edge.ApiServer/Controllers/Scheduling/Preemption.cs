using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Selectors;

namespace Edge.ApiServer.Controllers.Scheduling;

/// <summary>Which pods of lower priority leave which node for a pod (kube-scheduler's plug-in DefaultPreemption). Pure.</summary>
/// <param name="Node">The node; null when preemption helps nowhere.</param>
/// <param name="Victims">Who leaves, the most important first.</param>
/// <param name="Message">Why nowhere, in Kubernetes' words.</param>
internal sealed record Preemption(NodeInfo? Node, IReadOnlyList<PodInfo> Victims, string Message)
{
    // Of many nodes so many are tried at least, and a tenth of all: a good choice, not the best of all at any price.
    private const int NodesTriedMin = 100;

    /// <param name="pod">Who needs the room.</param>
    /// <param name="cluster">Where.</param>
    /// <param name="verdict">What was said without preemption.</param>
    /// <param name="budgets">All PodDisruptionBudgets: violated only where nothing else helps.</param>
    public static Preemption Find(PodInfo pod, ClusterView cluster, Verdict verdict, IReadOnlyCollection<JsonObject> budgets)
    {
        if (cluster.Nodes.Count == 0)
            return new Preemption(null, [], "");
        if (pod.Pod.Text("spec", "preemptionPolicy") == "Never")
            return new Preemption(null, [], "preemption: not eligible due to preemptionPolicy=Never.");
        var reasons = Enumerable.Repeat("Preemption is not helpful for scheduling", cluster.Nodes.Count - verdict.Candidates.Count).ToList();
        var counted = budgets.Where(budget => budget.At("spec", "selector") is JsonObject { Count: > 0 }).Select(budget => new Budget(budget)).ToList();
        var tries = Math.Max(NodesTriedMin, cluster.Nodes.Count / 10);
        var choices = new List<Choice>();
        foreach (var node in verdict.Candidates)
        {
            if (choices.Count >= tries)
                break;
            var why = Try(pod, node, verdict.Filters!, counted, choices);
            reasons.AddRange(why);
        }

        return choices.Count == 0
            ? new Preemption(null, [], $"preemption: {SchedulerCore.Tell(cluster.Nodes.Count, reasons)}")
            : Best(choices);
    }

    private static Preemption Best(List<Choice> choices)
    {
        // Kubernetes' order: fewest budgets violated, the least important first victim, the smallest sum of priorities, the fewest victims, the youngest first victim.
        var best = choices
            .OrderBy(choice => choice.Violations)
            .ThenBy(choice => choice.Victims[0].Priority)
            .ThenBy(choice => choice.Victims.Sum(victim => victim.Priority + int.MaxValue + 1L))
            .ThenBy(choice => choice.Victims.Count)
            .ThenByDescending(choice => choice.Victims.Where(victim => victim.Priority == choice.Victims[0].Priority).Min(Started))
            .ThenBy(choice => choice.Node.Name, StringComparer.Ordinal)
            .First();
        return new Preemption(best.Node, best.Victims, "");
    }

    // Why not, or a choice more.
    private static IReadOnlyList<string> Try(PodInfo pod, NodeInfo node, PodFilters filters, List<Budget> budgets, List<Choice> choices)
    {
        var lower = node.Pods.Where(other => other.Priority < pod.Priority).OrderByDescending(other => other.Priority).ThenBy(Started).ThenBy(other => other.Pod.Name(), StringComparer.Ordinal).ToList();
        if (lower.Count == 0)
            return ["No preemption victims found for incoming pod"];
        var (trial, rules) = (node.Copy(), filters.Copy());
        void Leave(PodInfo other)
        {
            trial.Remove(other);
            rules.Update(trial, other, -1);
        }

        lower.ForEach(Leave);
        if (rules.Check(trial) is { } refusal)
            return refusal.Reasons;
        // The important ones come back first, and before all others those whose budget allows no loss.
        var left = budgets.ToDictionary(budget => budget, budget => budget.Allowed);
        var violating = lower.Where(other => Violates(other, left)).ToHashSet();
        var victims = new List<PodInfo>();
        foreach (var other in lower.Where(violating.Contains).Concat(lower.Where(other => !violating.Contains(other))))
        {
            trial.Add(other);
            rules.Update(trial, other, 1);
            if (rules.Check(trial) is null)
                continue;
            Leave(other);
            victims.Add(other);
        }

        if (victims.Count > 0)
            choices.Add(new Choice(node, [.. lower.Where(victims.Contains)], victims.Count(violating.Contains)));
        return [];
    }

    private static bool Violates(PodInfo pod, Dictionary<Budget, long> left)
    {
        var violates = false;
        foreach (var budget in left.Keys.Where(budget => budget.Selects(pod)).ToList())
            violates |= --left[budget] < 0;
        return violates;
    }

    private static DateTimeOffset Started(PodInfo pod)
        => DateTimeOffset.TryParse(pod.Pod.Text("status", "startTime"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time : DateTimeOffset.MaxValue;

    private sealed record Choice(NodeInfo Node, IReadOnlyList<PodInfo> Victims, int Violations);

    private sealed class Budget(JsonObject budget)
    {
        private readonly LabelSelector _selector = LabelSelector.FromJson(budget.At("spec", "selector")!.AsObject());
        private readonly string _namespace = budget.Namespace();

        public long Allowed { get; } = budget.Number(0, "status", "disruptionsAllowed");

        // One whose eviction is on its way is paid for.
        public bool Selects(PodInfo pod)
            => pod.Namespace == _namespace && budget.At("status", "disruptedPods", pod.Pod.Name()) is null && _selector.Matches(pod.Labels);
    }
}
