using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>What workloads ask of their pods.</summary>
internal static class PodFacts
{
    /// <summary>Neither finished nor being deleted.</summary>
    public static bool IsActive(JsonObject pod) => !pod.IsDeleting() && !Conditions.IsFinished(pod);

    public static bool IsReady(JsonObject pod) => Conditions.Status(pod, "Ready") == "True";

    /// <summary>When the pod became ready; null when it is not.</summary>
    public static DateTimeOffset? ReadySince(JsonObject pod) => IsReady(pod) ? Time(Conditions.Find(pod, "Ready").Text("lastTransitionTime")) ?? DateTimeOffset.MinValue : null;

    /// <summary>Ready for at least <paramref name="minReadySeconds"/>. Where only time is missing, the plan looks again when it has passed.</summary>
    public static bool IsAvailable(JsonObject pod, long minReadySeconds, DateTimeOffset now, WorkloadPlan plan)
    {
        if (ReadySince(pod) is not { } since)
            return false;
        if (minReadySeconds <= 0 || since == DateTimeOffset.MinValue)
            return true;
        var left = since.AddSeconds(minReadySeconds) - now;
        if (left <= TimeSpan.Zero)
            return true;
        plan.LookAgain(left);
        return false;
    }

    /// <summary>The most restarts of any of its containers.</summary>
    public static long Restarts(JsonObject pod) => pod.Items("status", "containerStatuses").Select(status => status.Number(0, "restartCount")).DefaultIfEmpty().Max();

    public static DateTimeOffset? Time(string text)
        => DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time : null;

    public static DateTimeOffset Created(JsonObject obj) => Time(obj.Text("metadata", "creationTimestamp")) ?? DateTimeOffset.MinValue;

    /// <summary>A new pod of the template, owned by <paramref name="owner"/>; without a name, so the caller sets one or generateName.</summary>
    public static JsonObject FromTemplate(JsonNode? template, JsonObject owner, ResourceKind ownerKind)
    {
        var metadata = new JsonObject { ["namespace"] = owner.Namespace() };
        foreach (var key in (string[])["labels", "annotations", "finalizers"])
        {
            if (template.At("metadata", key) is { } given)
                metadata[key] = given.DeepClone();
        }

        metadata["ownerReferences"] = new JsonArray(Ownership.Reference(owner, ownerKind));
        return new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Pod", ["metadata"] = metadata, ["spec"] = template.At("spec")?.DeepClone() ?? new JsonObject() };
    }
}
