using Edge.Cloud.Observability;
using Edge.Cloud.SyncController;

namespace Edge.Cloud.Dashboard;

/// <summary>Where clients of a global service were sent, counted.</summary>
internal sealed record ClientCount(string Service, string Endpoint, string Location, long Answers);

/// <summary>What of this process the page shows beside the fleet: sessions, queues, counters.</summary>
internal sealed class DashboardState(NodeSync sync, HubMetrics metrics, LinkHistory links, TimeProvider time)
{
    public NodeSync Sync { get; } = sync;

    public HubMetrics Metrics { get; } = metrics;

    public LinkHistory Links { get; } = links;

    public TimeProvider Time { get; } = time;

    public DateTimeOffset StartedAt { get; } = time.GetUtcNow();

    /// <summary>Where clients of global services were sent; empty where modules.gslb is off.</summary>
    public Func<IReadOnlyList<ClientCount>> Clients { get; set; } = () => [];

    /// <summary>Whether this process answers DNS.</summary>
    public bool HasGslb { get; set; }

    /// <summary>The session of a node that is connected here.</summary>
    public ISyncSession? SessionOf(string node) => Sync.SessionOf(node);
}

/// <summary>An object on its way to a node.</summary>
/// <param name="Attempts">How often it was sent; 0 while it waits for the first time.</param>
internal readonly record struct QueuedObject(string Resource, string Operation, long Version, int Attempts);
