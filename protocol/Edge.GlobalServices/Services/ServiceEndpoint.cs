using Edge.GlobalServices.Locations;

namespace Edge.GlobalServices.Services;

/// <summary>One endpoint of a global service, resolved to addresses.</summary>
/// <param name="Name">Unique in the service, and the same over time: consistent hashing goes by it.</param>
/// <param name="Addresses">As the contract has them; both versions.</param>
/// <param name="Port">What the health check connects to; 0 when nothing says.</param>
/// <param name="Weight">0 to 65,535; 0 gets nothing, unless all have 0.</param>
/// <param name="Priority">Failover goes from low to high.</param>
/// <param name="IsDrained">Gets no new clients; does not count as ill.</param>
/// <param name="Node">The edge node it is on; empty when it is not on one.</param>
/// <param name="NotReady">Why Kubernetes does not call it ready; empty when it does, or does not say.</param>
internal sealed record ServiceEndpoint(
    string Name, IReadOnlyList<UInt128> Addresses, int Port, int Weight, int Priority, bool IsDrained, Location Location, string Node, string NotReady)
{
    /// <summary>The NodeGroup of <see cref="Node"/>; empty for none.</summary>
    public string Group { get; init; } = "";
}

/// <summary>A global service with its endpoints: what is compiled.</summary>
/// <param name="MinimumHealthyPercent">Below this share of healthy endpoints all are answered (fail open); 0: never.</param>
internal sealed record ServiceDefinition(
    string Name, uint TtlSeconds, Policy Policy, Sticky? Sticky, int MinimumHealthyPercent, IReadOnlyList<ServiceEndpoint> Endpoints, IReadOnlyList<Latency> Latencies);

/// <summary>What the health of an endpoint is, for the choice.</summary>
/// <param name="IsUp">Also where it is not checked, or not yet.</param>
/// <param name="Reason">Why it is down.</param>
internal readonly record struct EndpointHealth(bool IsUp, string Reason)
{
    public static readonly EndpointHealth Up = new(true, "");
}

/// <summary>Why an endpoint is among those a policy chooses from, or is not.</summary>
internal enum Verdict
{
    Eligible,

    /// <summary>Ill, and answered because too few are healthy.</summary>
    FailOpen,
    NoAddress,
    Drained,
    NotReady,
    Unhealthy,
}
