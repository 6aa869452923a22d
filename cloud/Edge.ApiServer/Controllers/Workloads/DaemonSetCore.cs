using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>Keeps one pod of a DaemonSet on every node that it fits, edge nodes among them (k8s.io/kubernetes/pkg/controller/daemon). Pure.</summary>
internal static class DaemonSetCore
{
    private const int BurstMax = 100;

    // A pod that fails at once is made again at this pace.
    private static readonly TimeSpan s_failedPause = TimeSpan.FromSeconds(5);

    private static readonly (string Key, string Effect)[] s_tolerations =
    [
        (Taint.NotReady, Taint.NoExecute), (Taint.Unreachable, Taint.NoExecute), ("node.kubernetes.io/disk-pressure", Taint.NoSchedule),
        ("node.kubernetes.io/memory-pressure", Taint.NoSchedule), ("node.kubernetes.io/pid-pressure", Taint.NoSchedule), (Taint.Unschedulable, Taint.NoSchedule),
    ];

    public static WorkloadPlan Reconcile(JsonObject set, WorkloadWorld world, DateTimeOffset now)
    {
        var plan = new WorkloadPlan();
        var history = new RevisionHistory(set, ResourceKind.DaemonSet, world, plan);
        var mine = Ownership.Claim(ResourceKind.Pod, set, ResourceKind.DaemonSet, world, plan).ToLookup(NodeOf, StringComparer.Ordinal);
        var hash = RevisionHistory.Hash(history.Update);
        var template = Pod(set, hash);
        var placed = new List<Placed>();
        var deletes = new List<JsonObject>();
        var creates = new List<string>();
        var nodes = world.Nodes.OrderBy(node => node.Name(), StringComparer.Ordinal).ToList();
        foreach (var node in nodes)
        {
            var (should, may) = Fits(template, node);
            var pods = new List<JsonObject>();
            foreach (var pod in mine[node.Name()])
            {
                if (Conditions.IsFinished(pod) && !pod.IsDeleting())
                {
                    var wait = Ended(pod) + s_failedPause - now;
                    if (wait > TimeSpan.Zero && may)
                    {
                        plan.LookAgain(wait);
                        pods.Add(pod); // stands for itself until it is made again
                        continue;
                    }

                    plan.Tell("FailedDaemonPod", $"Found failed daemon pod {pod.Namespace()}/{pod.Name()} on node {node.Name()}, will try to kill it", "Warning");
                    deletes.Add(pod);
                }
                else if (!pod.IsDeleting())
                {
                    pods.Add(pod);
                }
            }

            var terminating = mine[node.Name()].Any(pod => pod.IsDeleting());
            pods = [.. pods.OrderByDescending(pod => pod.Text("spec", "nodeName").Length > 0).ThenBy(PodFacts.Created).ThenBy(pod => pod.Name(), StringComparer.Ordinal)];
            deletes.AddRange(may ? pods.Skip(1) : pods);
            if (should && pods.Count == 0 && !terminating)
                creates.Add(node.Name());
            placed.Add(new Placed(should, pods.FirstOrDefault()));
        }

        // A pod that waits for a node that is gone would wait for ever; one that ran there is left to the pod garbage collector.
        var known = nodes.Select(node => node.Name()).ToHashSet(StringComparer.Ordinal);
        deletes.AddRange(mine.Where(group => !known.Contains(group.Key)).SelectMany(group => group).Where(pod => !pod.IsDeleting() && pod.Text("spec", "nodeName").Length == 0));
        if (!set.IsDeleting())
        {
            foreach (var name in creates.Take(BurstMax))
                plan.Add(new CreateAction(ResourceKind.Pod, For(template, name)));
            plan.Actions.AddRange(deletes.Take(BurstMax).Select(pod => new DeleteAction(ResourceKind.Pod, pod)));
            if (creates.Count == 0 && deletes.Count == 0)
                Roll(set, hash, placed, now, plan);
            history.CleanUp(revision => mine.SelectMany(group => group).Any(pod => pod.Label(RevisionHistory.HashLabel) == RevisionHistory.Hash(revision)));
        }

        SetStatus(set, history, hash, placed, now, plan);
        return plan;
    }

    /// <summary>Whether the pod is to be made on the node, and whether one that is there may stay.</summary>
    public static (bool Should, bool May) Fits(JsonObject pod, JsonObject node)
    {
        if (node.IsDeleting() || !NodeAffinity.Matches(pod, node))
            return (false, false);
        if (pod.Text("spec", "nodeName") is { Length: > 0 } only && only != node.Name())
            return (false, false);
        var refused = node.Items("spec", "taints").Select(Taint.Read).Where(taint => taint.Effect is Taint.NoSchedule or Taint.NoExecute && !taint.IsToleratedByPod(pod)).ToList();
        return (refused.Count == 0, refused.TrueForAll(taint => taint.Effect == Taint.NoSchedule));
    }

    private static void Roll(JsonObject set, string hash, List<Placed> placed, DateTimeOffset now, WorkloadPlan plan)
    {
        if (set.Text("spec", "updateStrategy", "type") != "RollingUpdate")
            return;
        var wanted = placed.Where(place => place.Should).ToList();
        var allowed = Share.Of(set.At("spec", "updateStrategy", "rollingUpdate", "maxUnavailable"), wanted.Count, roundUp: true);
        var minReady = set.Number(0, "spec", "minReadySeconds");
        var down = 0;
        var old = new List<JsonObject>();
        foreach (var place in wanted)
        {
            var available = place.Pod is { } pod && PodFacts.IsAvailable(pod, minReady, now, plan);
            var isOld = place.Pod is not null && place.Pod.Label(RevisionHistory.HashLabel) != hash;
            if (!available)
                down++;
            if (isOld && !available)
                plan.Add(new DeleteAction(ResourceKind.Pod, place.Pod!)); // serves nobody: costs nothing
            else if (isOld)
                old.Add(place.Pod!);
        }

        plan.Actions.AddRange(old.Take((int)Math.Max(0, allowed - down)).Select(pod => new DeleteAction(ResourceKind.Pod, pod)));
    }

    private static void SetStatus(JsonObject set, RevisionHistory history, string hash, List<Placed> placed, DateTimeOffset now, WorkloadPlan plan)
    {
        var minReady = set.Number(0, "spec", "minReadySeconds");
        var running = placed.Where(place => place is { Should: true, Pod: not null }).Select(place => place.Pod!).ToList();
        var desired = placed.Count(place => place.Should);
        var available = running.Count(pod => PodFacts.IsAvailable(pod, minReady, now, plan));
        var status = new JsonObject
        {
            ["currentNumberScheduled"] = (long)running.Count,
            ["numberMisscheduled"] = (long)placed.Count(place => place is { Should: false, Pod: not null }),
            ["desiredNumberScheduled"] = (long)desired,
            ["numberReady"] = (long)running.Count(PodFacts.IsReady),
            ["observedGeneration"] = set.Number(0, "metadata", "generation"),
        };
        status.Count("updatedNumberScheduled", running.Count(pod => pod.Label(RevisionHistory.HashLabel) == hash));
        status.Count("numberAvailable", available);
        status.Count("numberUnavailable", desired - available);
        status.Count("collisionCount", history.Collisions);
        StatusWrites.Set(ResourceKind.DaemonSet, set, status, plan);
    }

    private static JsonObject Pod(JsonObject set, string hash)
    {
        var pod = PodFacts.FromTemplate(set.At("spec", "template"), set, ResourceKind.DaemonSet);
        pod.Child("metadata")["generateName"] = set.Name() + "-";
        var labels = pod.Child("metadata").Child("labels");
        labels[RevisionHistory.HashLabel] = hash;
        var spec = pod.Child("spec");
        if (spec["tolerations"] is not JsonArray tolerations)
            spec["tolerations"] = tolerations = [];
        foreach (var (key, effect) in spec.Flag(false, "hostNetwork") ? [.. s_tolerations, ("node.kubernetes.io/network-unavailable", Taint.NoSchedule)] : s_tolerations)
        {
            if (!tolerations.OfType<JsonObject>().Any(toleration => toleration.Text("key") == key && toleration.Text("effect") == effect))
                tolerations.Add((JsonNode)new JsonObject { ["key"] = key, ["operator"] = "Exists", ["effect"] = effect });
        }

        return pod;
    }

    /// <summary>The pod for one node: the scheduler binds it there and nowhere else. Required terms are alternatives, so each gets the node.</summary>
    private static JsonObject For(JsonObject template, string node)
    {
        var pod = template.DeepClone().AsObject();
        var required = pod.Child("spec").Child("affinity").Child("nodeAffinity").Child("requiredDuringSchedulingIgnoredDuringExecution");
        if (required["nodeSelectorTerms"] is not JsonArray { Count: > 0 } terms)
            required["nodeSelectorTerms"] = terms = new JsonArray(new JsonObject());
        foreach (var term in terms.OfType<JsonObject>())
            term["matchFields"] = new JsonArray(new JsonObject { ["key"] = "metadata.name", ["operator"] = "In", ["values"] = new JsonArray(node) });
        return pod;
    }

    /// <summary>The node that a pod is on, or waits for.</summary>
    private static string NodeOf(JsonObject pod)
        => pod.Text("spec", "nodeName") is { Length: > 0 } bound
            ? bound
            : pod.Items("spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
                .SelectMany(term => term.Items("matchFields")).Where(field => field.Text("key") == "metadata.name").SelectMany(field => field.Texts("values")).FirstOrDefault() ?? "";

    private static DateTimeOffset Ended(JsonObject pod)
        => pod.Items("status", "containerStatuses").Select(status => PodFacts.Time(status.Text("state", "terminated", "finishedAt"))).OfType<DateTimeOffset>().DefaultIfEmpty(PodFacts.Created(pod)).Max();

    private sealed record Placed(bool Should, JsonObject? Pod);
}
