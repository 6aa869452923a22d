using Edge.GlobalServices.Resources;
using Edge.GlobalServices.Services;

namespace Edge.Cloud.Gslb.Module;

/// <summary>What is said on an object's status.</summary>
/// <param name="IsAccepted">Whether the spec as it stands is used; where not, the last good one serves, if there was one.</param>
/// <param name="Reason">CamelCase, for machines.</param>
/// <param name="IsReady">Whether it answers queries.</param>
/// <param name="Endpoints">Of a GlobalService.</param>
internal sealed record ObjectStatus(
    long Generation, bool IsAccepted, string Reason, string Message, bool IsReady, string ReadyReason, string ReadyMessage, IReadOnlyList<EndpointStatus> Endpoints)
{
    /// <summary>Of a GlobalService: those of its hosts that it answers for. Of a Zone: the names that GlobalServices have in it.</summary>
    public IReadOnlyList<string> Hosts { get; init; } = [];

    /// <summary>Of a GlobalService: the round trips that nodes measured and it goes by.</summary>
    public IReadOnlyList<Latency> Latencies { get; init; } = [];

    public static ObjectStatus Of(long generation, string reason, string message, bool isAccepted, bool isReady, string readyReason, string readyMessage)
        => new(generation, isAccepted, reason, message, isReady, readyReason, readyMessage, []);

    public bool IsSame(ObjectStatus other) => this with { Endpoints = [], Hosts = [], Latencies = [] } == other with { Endpoints = [], Hosts = [], Latencies = [] }
        && Latencies.SequenceEqual(other.Latencies) && Hosts.SequenceEqual(other.Hosts) && Endpoints.Count == other.Endpoints.Count
        && Endpoints.Zip(other.Endpoints).All(pair => pair.First.IsSame(pair.Second));
}
