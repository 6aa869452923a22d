using System.Text.Json.Nodes;

namespace Edge.Kubernetes.Scheduling;

/// <summary>A node's taint.</summary>
public sealed record Taint(string Key, string Value, string Effect)
{
    public const string NoSchedule = "NoSchedule";
    public const string PreferNoSchedule = "PreferNoSchedule";
    public const string NoExecute = "NoExecute";
    public const string NotReady = "node.kubernetes.io/not-ready";
    public const string Unreachable = "node.kubernetes.io/unreachable";
    public const string Unschedulable = "node.kubernetes.io/unschedulable";

    /// <summary>Reads an entry of <c>spec.taints</c>.</summary>
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

    /// <summary>Whether one of the pod's tolerations matches.</summary>
    public bool IsToleratedByPod(JsonObject pod) => pod.Items("spec", "tolerations").Any(IsToleratedBy);
}
