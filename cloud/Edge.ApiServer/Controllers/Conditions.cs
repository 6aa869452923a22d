using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers;

/// <summary>Reads <c>status.conditions</c>.</summary>
internal static class Conditions
{
    public static JsonObject? Find(JsonObject obj, string type)
        => obj.Items("status", "conditions").FirstOrDefault(condition => condition.Text("type") == type);

    /// <summary>True, False or Unknown; empty when the condition is absent.</summary>
    public static string Status(JsonObject obj, string type) => Find(obj, type).Text("status");

    /// <summary>Succeeded or Failed: the pod runs no more and holds nothing.</summary>
    public static bool IsFinished(JsonObject pod) => pod.Text("status", "phase") is "Succeeded" or "Failed";
}
