using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.NodeTasks;

/// <summary>A kind of job and the actions that a node does for it, in order (kubeedge-wire §5.8).</summary>
/// <param name="Type">How messages call it, e.g. <c>imageprepulljob</c>.</param>
/// <param name="Steps">The actions while all goes well; the first is the operation of the message that starts a node.</param>
/// <param name="RollsBackAfter">The action after whose failure a node does RollBack; empty where there is none.</param>
internal sealed record TaskKind(string Type, ResourceKind Resource, IReadOnlyList<string> Steps, string RollsBackAfter = "")
{
    public const string RollBack = "RollBack";
    public const string WaitingConfirmation = "WaitingConfirmation";
    private const string Group = "operations.kubeedge.io";
    private const string Version = "v1alpha2";

    public static readonly TaskKind ImagePrePull = new(NodeTaskWire.ImagePrePull, new ResourceKind(Group, Version, "imageprepulljobs", "ImagePrePullJob", false), ["Check", "Pull"]);
    public static readonly TaskKind ConfigUpdate = new(NodeTaskWire.ConfigUpdate, new ResourceKind(Group, Version, "configupdatejobs", "ConfigUpdateJob", false), ["Check", "BackUp", "Update"], "Update");
    public static readonly TaskKind NodeUpgrade = new(
        NodeTaskWire.NodeUpgrade, new ResourceKind(Group, Version, "nodeupgradejobs", "NodeUpgradeJob", false), ["Check", WaitingConfirmation, "BackUp", "Upgrade"], "Upgrade");

    public static readonly IReadOnlyList<TaskKind> All = [ImagePrePull, ConfigUpdate, NodeUpgrade];

    public static TaskKind? OfType(string type) => All.FirstOrDefault(kind => kind.Type == type);

    /// <summary>Where nodes, concurrency and the like stand in a job's spec.</summary>
    public JsonNode? Common(JsonObject job) => this == ImagePrePull ? job.At("spec", "imagePrePullTemplate") : job["spec"];

    /// <summary>The place of an action in the flow; RollBack is last. Negative for one that this kind does not have.</summary>
    public int IndexOf(string action)
    {
        for (var i = 0; i < Steps.Count; i++)
        {
            if (Steps[i] == action)
                return i;
        }

        return action == RollBack && RollsBackAfter.Length > 0 ? Steps.Count : -1;
    }
}
