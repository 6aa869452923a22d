namespace Edge.Benchmarks.Scale;

/// <summary>A fleet, as one cluster sees it.</summary>
/// <param name="Nodes">All nodes of the cluster.</param>
/// <param name="PodsPerNode">Pods of each.</param>
/// <param name="ChangesPerSecond">Changes of objects that go to nodes, each to one node.</param>
/// <param name="ReportsPerSecond">Device reports that come from nodes, each one write of the API.</param>
/// <param name="LeaseSeconds">How often a node renews its lease: a quarter of its <c>nodeLeaseDurationSeconds</c>.</param>
/// <param name="CloudCores">CloudCores over the cluster, which share the nodes evenly.</param>
internal sealed record FleetShape(long Nodes, double PodsPerNode, double ChangesPerSecond, double ReportsPerSecond, double LeaseSeconds, int CloudCores);

/// <summary>What a fleet needs.</summary>
/// <param name="HubCores">Processor of each CloudCore, cores.</param>
/// <param name="HubMemoryMb">Resident memory of each CloudCore, MB.</param>
/// <param name="HubBytesPerSecond">Of each CloudCore, both ways, below TLS, while nothing changes.</param>
/// <param name="ReconnectCoreSeconds">Processor time of each CloudCore to take all its nodes back, CPU-seconds.</param>
/// <param name="ApiWritesPerSecond">Writes of the cluster's API server.</param>
internal sealed record FleetNeeds(double HubCores, double HubMemoryMb, double HubBytesPerSecond, double ReconnectCoreSeconds, double ApiWritesPerSecond);

/// <summary>The model of docs/scale.md: what a CloudCore and an API server need, linear in nodes, pods and changes. Its coefficients are figures of docs/benchmarks.md. Pure.</summary>
internal static class ScaleModel
{
    /// <summary>CloudCore without nodes, MB.</summary>
    public const double BaseMemoryMb = 78;

    /// <summary>A node that is connected here, its Node object in the cache included, KB.</summary>
    public const double ConnectedNodeKb = 46.6;

    /// <summary>A node of the cluster that is connected elsewhere: its Node object, which every CloudCore holds, KB. An upper bound from the objects' size in memory.</summary>
    public const double ForeignNodeKb = 12;

    /// <summary>A pod of the cluster, which every CloudCore holds, KB.</summary>
    public const double PodKb = 16;

    /// <summary>A node that does nothing, renewing its lease each 10 s, CPU-seconds a second.</summary>
    public const double IdleNodeCores = 20e-6;

    /// <summary>A change brought to a node and answered, CPU-seconds.</summary>
    public const double ChangeCoreSeconds = 140e-6;

    /// <summary>A report taken and answered, CPU-seconds.</summary>
    public const double ReportCoreSeconds = 95e-6;

    /// <summary>A node's dial until it is in sync, CPU-seconds of CloudCore.</summary>
    public const double ConnectCoreSeconds = 3.6e-3;

    /// <summary>An idle node's bytes a second, both ways, of which a good half is its lease.</summary>
    public const double IdleNodeBytes = 27.7;

    private const double MeasuredLeaseSeconds = 10;

    // A node reports its status each five minutes although nothing changed.
    private const double StatusSeconds = 300;

    public static FleetNeeds Predict(FleetShape shape)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(shape.CloudCores, 1);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(shape.LeaseSeconds);
        var own = (double)shape.Nodes / shape.CloudCores;
        // Half of an idle node's cost is its lease, the rest keepalives, which stay.
        var idle = (1 + (MeasuredLeaseSeconds / shape.LeaseSeconds)) / 2;
        return new FleetNeeds(
            (own * IdleNodeCores * idle) + (((shape.ChangesPerSecond * ChangeCoreSeconds) + (shape.ReportsPerSecond * ReportCoreSeconds)) / shape.CloudCores),
            BaseMemoryMb + (((own * ConnectedNodeKb) + ((shape.Nodes - own) * ForeignNodeKb) + (shape.Nodes * shape.PodsPerNode * PodKb)) / 1024),
            own * IdleNodeBytes * idle,
            own * ConnectCoreSeconds,
            (shape.Nodes / shape.LeaseSeconds) + (shape.Nodes / StatusSeconds) + shape.ChangesPerSecond + shape.ReportsPerSecond);
    }

    /// <summary>Changes acked by CPU-second of CloudCore, as <c>./bench.sh hub</c> counts them: the idle nodes' share is in it.</summary>
    /// <param name="apiWritesPerSecond">How fast the API takes the changes.</param>
    public static double ChangesPerCoreSecond(long nodes, double apiWritesPerSecond) => 1 / (ChangeCoreSeconds + (nodes * IdleNodeCores / apiWritesPerSecond));

    /// <summary>The most nodes that one API server bears which takes so many writes a second, when nothing changes.</summary>
    public static double NodesMax(double apiWritesPerSecond, double leaseSeconds) => apiWritesPerSecond / ((1 / leaseSeconds) + (1 / StatusSeconds));
}
