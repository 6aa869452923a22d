using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers;

/// <summary>Reads <c>status.conditions</c>, taints and tolerations.</summary>
internal static class Conditions
{
    public static JsonObject? Find(JsonObject obj, string type)
        => obj.Items("status", "conditions").FirstOrDefault(condition => condition.Text("type") == type);

    /// <summary>True, False or Unknown; empty when the condition is absent.</summary>
    public static string Status(JsonObject obj, string type) => Find(obj, type).Text("status");

    /// <summary>Succeeded or Failed: the pod runs no more and holds nothing.</summary>
    public static bool IsFinished(JsonObject pod) => pod.Text("status", "phase") is "Succeeded" or "Failed";
}

/// <summary>A node's taint.</summary>
internal sealed record Taint(string Key, string Value, string Effect)
{
    public const string NoSchedule = "NoSchedule";
    public const string PreferNoSchedule = "PreferNoSchedule";
    public const string NoExecute = "NoExecute";
    public const string NotReady = "node.kubernetes.io/not-ready";
    public const string Unreachable = "node.kubernetes.io/unreachable";
    public const string Unschedulable = "node.kubernetes.io/unschedulable";

    public static Taint Read(JsonObject taint) => new(taint.Text("key"), taint.Text("value"), taint.Text("effect"));

    /// <summary>Kubernetes' rule: an empty key with Exists matches every taint; an empty effect every effect; the operator is Equal unless given.</summary>
    public bool IsToleratedBy(JsonObject toleration)
    {
        var effect = toleration.Text("effect");
        if (effect.Length > 0 && effect != Effect)
            return false;
        var key = toleration.Text("key");
        if (key.Length > 0 && key != Key)
            return false;
        return toleration.Text("operator") switch
        {
            "Exists" => true,
            "" or "Equal" => key.Length > 0 && toleration.Text("value") == Value,
            _ => false,
        };
    }

    public bool IsToleratedByPod(JsonObject pod) => pod.Items("spec", "tolerations").Any(IsToleratedBy);
}
