using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>Writes of a workload's status.</summary>
internal static class StatusWrites
{
    /// <summary>Adds the write that makes the status <paramref name="next"/>, if it is not so already.</summary>
    public static void Set(ResourceKind kind, JsonObject obj, JsonObject next, WorkloadPlan plan, bool checkVersion = false)
    {
        if (Of(kind, obj, next, checkVersion) is { } write)
            plan.Add(write);
    }

    /// <summary>The write that makes the status <paramref name="next"/>; null where it is so already.</summary>
    public static PatchAction? Of(ResourceKind kind, JsonObject obj, JsonObject next, bool checkVersion = false)
    {
        var old = obj["status"] as JsonObject ?? [];
        if (Patch(old, next) is not { } patch)
            return null;
        var body = new JsonObject { ["status"] = patch };
        if (checkVersion)
            body["metadata"] = new JsonObject { ["resourceVersion"] = obj.ResourceVersion() };
        return new PatchAction(kind, obj, body, "status");
    }

    /// <summary>Sets a count, or nothing where it is zero.</summary>
    public static void Count(this JsonObject status, string field, long count)
    {
        if (count != 0)
            status[field] = count;
    }

    /// <summary>A condition as of now: the times of <paramref name="old"/> stay where nothing changed.</summary>
    /// <param name="old">Conditions so far.</param>
    /// <param name="type">Condition's type.</param>
    /// <param name="status">True, False or Unknown.</param>
    /// <param name="reason">CamelCase.</param>
    /// <param name="message">For people.</param>
    /// <param name="now">The clock.</param>
    /// <param name="updates">The kind has a lastUpdateTime, which moves with reason and message.</param>
    /// <param name="touch">Move lastUpdateTime in any case.</param>
    public static JsonObject Condition(IEnumerable<JsonObject> old, string type, string status, string reason, string message, DateTimeOffset now, bool updates = false, bool touch = false)
    {
        var before = old.FirstOrDefault(condition => condition.Text("type") == type);
        var condition = new JsonObject { ["type"] = type, ["status"] = status };
        if (updates)
        {
            var same = before is not null && !touch && before.Text("status") == status && before.Text("reason") == reason && before.Text("message") == message;
            condition["lastUpdateTime"] = same ? before.Text("lastUpdateTime") : KubeObject.Time(now);
        }

        condition["lastTransitionTime"] = before.Text("status") == status && before.Text("lastTransitionTime") is { Length: > 0 } since ? since : KubeObject.Time(now);
        condition["reason"] = reason;
        condition["message"] = message;
        return condition;
    }

    /// <summary>The merge patch from one tree to another; null when there is no difference. Lists are replaced.</summary>
    public static JsonObject? Patch(JsonObject old, JsonObject next)
    {
        var patch = new JsonObject();
        foreach (var (key, value) in next)
        {
            if (old[key] is JsonObject before && value is JsonObject after)
            {
                if (Patch(before, after) is { } inner)
                    patch[key] = inner;
            }
            else if (!old.ContainsKey(key) || !JsonNode.DeepEquals(old[key], value))
            {
                patch[key] = value?.DeepClone();
            }
        }

        foreach (var (key, _) in old)
        {
            if (!next.ContainsKey(key))
                patch[key] = null;
        }

        return patch.Count == 0 ? null : patch;
    }
}
