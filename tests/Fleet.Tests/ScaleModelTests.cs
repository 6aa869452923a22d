using Edge.Benchmarks.Scale;

namespace Edge.Fleet.Tests;

/// <summary>The model of docs/scale.md against the figures of docs/benchmarks.md.</summary>
[Trait("Category", "Unit")]
public sealed class ScaleModelTests
{
    // How far a prediction may be from what was measured.
    private const double Margin = 0.25;

    // What the API took of changes a second on the machine of the figures.
    private const double ApiWrites = 990;

    [Theory]
    [InlineData(1_000, 6_250, 6_250)]
    [InlineData(10_000, 2_400, 3_300)]
    public void Changes_by_processor_time_come_out_as_measured_at_two_sizes(long nodes, double least, double most)
        => Assert.InRange(ScaleModel.ChangesPerCoreSecond(nodes, ApiWrites), least * (1 - Margin), most * (1 + Margin));

    [Fact]
    public void Memory_traffic_and_processor_of_10_000_idle_nodes_come_out_as_measured()
    {
        var needs = ScaleModel.Predict(new FleetShape(10_000, 0, 0, 0, 10, 1));
        Assert.InRange(needs.HubMemoryMb - ScaleModel.BaseMemoryMb, 455 * (1 - Margin), 455 * (1 + Margin));
        Assert.InRange(needs.HubBytesPerSecond / 10_000, 27.7 * (1 - Margin), 27.7 * (1 + Margin));
        Assert.InRange(needs.HubCores, 0.2 * (1 - Margin), 0.2 * (1 + Margin));
        // Of 72 s on two cores a quarter was CloudCore's, the rest the fleet's and the API's.
        Assert.InRange(needs.ReconnectCoreSeconds, 36 * (1 - Margin), 36 * (1 + Margin));
    }

    [Fact]
    public void Renewals_of_leases_are_what_an_API_server_meets_first()
    {
        Assert.InRange(ScaleModel.NodesMax(ApiWrites, leaseSeconds: 10), 9_000, 10_000);
        var needs = ScaleModel.Predict(new FleetShape(10_000, 10, 10, 100, 10, 1));
        Assert.True(needs.ApiWritesPerSecond > ApiWrites);
        Assert.True(needs.HubCores < 1);
    }

    [Fact]
    public void More_CloudCores_share_the_nodes_and_not_the_clusters_objects()
    {
        var one = ScaleModel.Predict(new FleetShape(100_000, 2, 100, 0, 100, 1));
        var ten = ScaleModel.Predict(new FleetShape(100_000, 2, 100, 0, 100, 10));
        Assert.Equal(one.HubCores / 10, ten.HubCores, 6);
        Assert.Equal(one.ReconnectCoreSeconds / 10, ten.ReconnectCoreSeconds, 6);
        Assert.Equal(one.ApiWritesPerSecond, ten.ApiWritesPerSecond, 6);
        Assert.True(ten.HubMemoryMb > one.HubMemoryMb / 2);
    }

    [Fact]
    public void A_fleet_without_a_CloudCore_or_a_lease_is_no_shape()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => ScaleModel.Predict(new FleetShape(1, 0, 0, 0, 10, 0)));
        Assert.Throws<ArgumentOutOfRangeException>(() => ScaleModel.Predict(new FleetShape(1, 0, 0, 0, 0, 1)));
    }
}
