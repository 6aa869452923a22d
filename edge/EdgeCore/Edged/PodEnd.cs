using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Core.Edged;

/// <summary>The node's own decision that a pod ends as Failed: it was refused or evicted.</summary>
/// <param name="Reason">For the status and the Event.</param>
/// <param name="Message">For the status.</param>
/// <param name="EventMessage">For the Event.</param>
/// <param name="Grace">The most time that its containers get.</param>
internal sealed record PodEnd(string Reason, string Message, string EventMessage, TimeSpan Grace)
{
    /// <summary>Whether the pod was evicted, which the condition DisruptionTarget tells.</summary>
    public bool Disrupted { get; init; }

    /// <summary>Whether the pod never had containers, and its status names none.</summary>
    public bool Refused { get; init; }

    /// <summary>Whether the pod held something that the node needed, or more than it may.</summary>
    public bool IsEviction => Reason == "Evicted";

    /// <summary>The end that a stored status tells of, or null.</summary>
    public static PodEnd? Of(JsonObject? status)
        => status.Text("phase") == "Failed" && status.Text("reason") is { Length: > 0 } reason
            ? new PodEnd(reason, status.Text("message"), "", TimeSpan.FromSeconds(30))
            {
                Disrupted = status.Items("conditions").Any(condition => condition.Text("type") == "DisruptionTarget"),
                Refused = !status.Items("containerStatuses").Any(),
            }
            : null;

    /// <summary>Writes the end into a status that says Failed.</summary>
    /// <param name="since">When the pod was evicted.</param>
    public void Apply(JsonObject status, string since)
    {
        status["reason"] = Reason;
        status["message"] = Message;
        if (Disrupted)
        {
            (status["conditions"] as JsonArray)?.Add((JsonNode)new JsonObject
            {
                ["type"] = "DisruptionTarget",
                ["status"] = "True",
                ["lastProbeTime"] = null,
                ["lastTransitionTime"] = since,
                ["reason"] = "TerminationByKubelet",
                ["message"] = Message,
            });
        }

        if (Refused)
        {
            status.Remove("containerStatuses");
            status.Remove("initContainerStatuses");
        }
    }
}
