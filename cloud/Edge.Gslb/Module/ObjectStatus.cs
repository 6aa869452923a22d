namespace Edge.Cloud.Gslb.Module;

/// <summary>What is said on an object's status.</summary>
/// <param name="IsAccepted">Whether the spec as it stands is used; where not, the last good one serves, if there was one.</param>
/// <param name="Reason">CamelCase, for machines.</param>
/// <param name="IsReady">Whether it answers queries.</param>
/// <param name="Endpoints">Of a GlobalService.</param>
internal sealed record ObjectStatus(
    long Generation, bool IsAccepted, string Reason, string Message, bool IsReady, string ReadyReason, string ReadyMessage, IReadOnlyList<EndpointStatus> Endpoints)
{
    public static ObjectStatus Of(long generation, string reason, string message, bool isAccepted, bool isReady, string readyReason, string readyMessage)
        => new(generation, isAccepted, reason, message, isReady, readyReason, readyMessage, []);

    public bool IsSame(ObjectStatus other) => this with { Endpoints = [] } == other with { Endpoints = [] } && Endpoints.SequenceEqual(other.Endpoints);
}

/// <param name="State">Up, Unknown (not checked yet), Down, NodeGone, Drained or NotReady.</param>
internal sealed record EndpointStatus(string Name, string Addresses, string Node, string State, string Reason);
