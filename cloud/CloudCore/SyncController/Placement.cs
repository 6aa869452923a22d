using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.DeviceController;
using Edge.Cloud.EdgeController;

namespace Edge.Cloud.SyncController;

/// <summary>What a change of the cluster means for nodes.</summary>
internal abstract record PlacementOutput
{
    /// <summary>The node should now have (or no longer have) this object.</summary>
    public sealed record Deliver(string Node, DownObject Object) : PlacementOutput;

    /// <summary>Every node with EdgeDns should now have (or no longer have) this object.</summary>
    public sealed record DeliverToAll(DownObject Object) : PlacementOutput;

    /// <summary>What is wrong with a Device has changed; nothing when it is well again.</summary>
    public sealed record DeviceProblems(string Node, DeviceFacts Device, IReadOnlyList<string> Problems) : PlacementOutput;

    /// <summary>The user asked for something impossible; it goes into an Event on <paramref name="About"/>.</summary>
    public sealed record Warn(JsonObject About, string Reason, string Text) : PlacementOutput;

    /// <summary>A pod of an edge node names the Secret, the first one.</summary>
    public sealed record Used(ConfigKey Key) : PlacementOutput;

    /// <summary>No pod of any edge node names it any more.</summary>
    public sealed record Unused(ConfigKey Key) : PlacementOutput;

    /// <summary>The node is gone from the cluster.</summary>
    public sealed record NodeGone(string Node) : PlacementOutput;
}
