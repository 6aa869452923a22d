using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>Keeps a StatefulSet's pods, each with its name and claims, in order (k8s.io/kubernetes/pkg/controller/statefulset). Pure.</summary>
internal static class StatefulSetCore
{
    public static WorkloadPlan Reconcile(JsonObject set, WorkloadWorld world, DateTimeOffset now)
    {
        var plan = new WorkloadPlan();
        var history = new RevisionHistory(set, ResourceKind.StatefulSet, world, plan);
        var mine = Ownership.Claim(ResourceKind.Pod, set, ResourceKind.StatefulSet, world, plan, pod => Ordinal(set, pod) >= 0);
        var update = history.Update.Name();
        var current = set.Text("status", "currentRevision") is { Length: > 0 } name && history.Find(name) is not null ? name : update;
        if (!set.IsDeleting())
        {
            Step(set, world, history, current, mine, now, plan);
            history.CleanUp(revision => revision.Name() == current || mine.Any(pod => pod.Label(RevisionHistory.HashLabel) == revision.Name()));
        }

        SetStatus(set, history, current, update, mine, now, plan);
        return plan;
    }

    /// <summary>The number in the pod's name; -1 when the name is not one that this set gives (<c>web-01</c> is none: two pods would have one number).</summary>
    public static long Ordinal(JsonObject set, JsonObject pod)
    {
        var (prefix, name) = (set.Name() + "-", pod.Name());
        if (name.Length > prefix.Length + 1 && name[prefix.Length] == '0')
            return -1;
        return name.StartsWith(prefix, StringComparison.Ordinal) && int.TryParse(name.AsSpan(prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var ordinal) ? ordinal : -1;
    }

    private static void Step(
        JsonObject set, WorkloadWorld world, RevisionHistory history, string current, List<JsonObject> mine, DateTimeOffset now, WorkloadPlan plan)
    {
        var start = set.Number(0, "spec", "ordinals", "start");
        var end = start + set.Number(1, "spec", "replicas");
        var ordered = set.Text("spec", "podManagementPolicy") != "Parallel";
        var byOrdinal = mine.ToDictionary(pod => Ordinal(set, pod));
        for (var ordinal = start; ordinal < end; ordinal++)
        {
            if (!byOrdinal.TryGetValue(ordinal, out var pod))
            {
                Create(set, world, history, Wants(set, ordinal, start, current, history), ordinal, plan);
                if (ordered)
                    return;
                continue;
            }

            if (Conditions.IsFinished(pod) && !pod.IsDeleting())
            {
                plan.Tell("RecreatingFailedPod", $"StatefulSet {set.Namespace()}/{set.Name()} is recreating failed Pod {pod.Name()}", "Warning");
                plan.Add(new DeleteAction(ResourceKind.Pod, pod));
                if (ordered)
                    return;
                continue;
            }

            if (ordered && (pod.IsDeleting() || !IsAvailable(set, pod, now, plan)))
                return;
        }

        var condemned = byOrdinal.Where(pair => pair.Key < start || pair.Key >= end).OrderByDescending(pair => pair.Key).Select(pair => pair.Value).ToList();
        foreach (var pod in condemned)
        {
            if (!pod.IsDeleting())
                plan.Add(new DeleteAction(ResourceKind.Pod, pod));
            if (ordered)
                return;
        }

        if (set.Text("spec", "updateStrategy", "type") == "OnDelete")
            return;
        // One at a time, the highest first; the next when the last is available again.
        var partition = Math.Max(start, start + set.Number(0, "spec", "updateStrategy", "rollingUpdate", "partition"));
        for (var ordinal = end - 1; ordinal >= partition; ordinal--)
        {
            if (!byOrdinal.TryGetValue(ordinal, out var pod))
                return;
            if (!pod.IsDeleting() && pod.Label(RevisionHistory.HashLabel) != history.Update.Name())
            {
                plan.Add(new DeleteAction(ResourceKind.Pod, pod));
                return;
            }

            if (pod.IsDeleting() || !IsAvailable(set, pod, now, plan))
                return;
        }
    }

    /// <summary>The revision that a missing pod is made of: below the partition, and while a rollout has not come to it, the current one.</summary>
    private static JsonObject Wants(JsonObject set, long ordinal, long start, string current, RevisionHistory history)
    {
        var partition = set.Text("spec", "updateStrategy", "type") == "RollingUpdate" ? set.Number(0, "spec", "updateStrategy", "rollingUpdate", "partition") : 0;
        return ordinal < start + partition ? history.Find(current) ?? history.Update : history.Update;
    }

    private static void Create(JsonObject set, WorkloadWorld world, RevisionHistory history, JsonObject revision, long ordinal, WorkloadPlan plan)
    {
        var name = $"{set.Name()}-{ordinal}";
        if (world.Pods(set.Namespace()).Any(pod => pod.Name() == name))
        {
            // Somebody else's pod, or one that was not selected: it must go before ours can come.
            plan.LookAgain(TimeSpan.FromSeconds(5));
            return;
        }

        var pod = PodFacts.FromTemplate(revision == history.Update ? set.At("spec", "template") : RevisionHistory.Template(revision), set, ResourceKind.StatefulSet);
        pod.Child("metadata")["name"] = name;
        var labels = pod.Child("metadata").Child("labels");
        labels["statefulset.kubernetes.io/pod-name"] = name;
        labels["apps.kubernetes.io/pod-index"] = ordinal.ToString(CultureInfo.InvariantCulture);
        labels[RevisionHistory.HashLabel] = revision.Name();
        var spec = pod.Child("spec");
        spec["hostname"] = name;
        if (set.Text("spec", "serviceName") is { Length: > 0 } service)
            spec["subdomain"] = service;
        foreach (var template in set.Items("spec", "volumeClaimTemplates"))
        {
            var claim = $"{template.Name()}-{name}";
            if (!world.Claims(set.Namespace()).Any(existing => existing.Name() == claim))
                plan.Add(new CreateAction(ResourceKind.PersistentVolumeClaim, Claim(set, template, claim), MayExist: true));
            if (spec["volumes"] is not JsonArray volumes)
                spec["volumes"] = volumes = [];
            foreach (var same in volumes.OfType<JsonObject>().Where(volume => volume.Text("name") == template.Name()).ToList())
                volumes.Remove(same);
            volumes.Add((JsonNode)new JsonObject { ["name"] = template.Name(), ["persistentVolumeClaim"] = new JsonObject { ["claimName"] = claim } });
        }

        plan.Add(new CreateAction(ResourceKind.Pod, pod));
    }

    private static JsonObject Claim(JsonObject set, JsonObject template, string name)
    {
        // Claims outlive the set, so it does not own them; its labels say whose they are.
        var metadata = new JsonObject { ["name"] = name, ["namespace"] = set.Namespace() };
        if (template.At("metadata", "annotations") is { } annotations)
            metadata["annotations"] = annotations.DeepClone();
        var labels = template.At("metadata", "labels")?.DeepClone() as JsonObject ?? [];
        foreach (var (key, value) in set.Map("spec", "selector", "matchLabels"))
            labels[key] = value;
        metadata["labels"] = labels;
        return new JsonObject { ["apiVersion"] = "v1", ["kind"] = "PersistentVolumeClaim", ["metadata"] = metadata, ["spec"] = template["spec"]?.DeepClone() };
    }

    private static bool IsAvailable(JsonObject set, JsonObject pod, DateTimeOffset now, WorkloadPlan plan) => PodFacts.IsAvailable(pod, set.Number(0, "spec", "minReadySeconds"), now, plan);

    private static void SetStatus(JsonObject set, RevisionHistory history, string current, string update, List<JsonObject> mine, DateTimeOffset now, WorkloadPlan plan)
    {
        var minReady = set.Number(0, "spec", "minReadySeconds");
        var alive = mine.Where(PodFacts.IsActive).ToList();
        var updated = alive.Count(pod => pod.Label(RevisionHistory.HashLabel) == update);
        var wanted = set.Number(1, "spec", "replicas");
        var ready = alive.Count(PodFacts.IsReady);
        if (current != update && updated == wanted && alive.Count == wanted && ready == wanted)
            current = update; // the rollout is done
        var status = new JsonObject { ["observedGeneration"] = set.Number(0, "metadata", "generation"), ["replicas"] = (long)mine.Count(pod => !Conditions.IsFinished(pod)) };
        status.Count("readyReplicas", ready);
        status.Count("currentReplicas", alive.Count(pod => pod.Label(RevisionHistory.HashLabel) == current));
        status.Count("updatedReplicas", updated);
        status["currentRevision"] = current;
        status["updateRevision"] = update;
        status["collisionCount"] = history.Collisions;
        status["availableReplicas"] = (long)alive.Count(pod => PodFacts.IsAvailable(pod, minReady, now, plan));
        StatusWrites.Set(ResourceKind.StatefulSet, set, status, plan);
    }
}
