using System.Buffers.Binary;
using Edge.Protocol.Messages;
using Edge.Testing;
using Edge.Transport;

namespace Edge.Protocol.Tests.Transport;

/// <summary>What a link allocates for lengths that are only announced. Alone, since the runtime counts the allocations of all threads together.</summary>
[Trait("Category", "Sync")]
[Collection(nameof(AloneCollection))]
public sealed class QuicLinkMemoryTests : IAsyncLifetime
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private SocketLanes _edgeLanes = null!;
    private SocketLanes _cloudLanes = null!;
    private QuicLink _cloud = null!;

    public async Task InitializeAsync()
    {
        (_edgeLanes, _cloudLanes) = await SocketLanes.PairAsync(window: 16 * 1024);
        _cloud = new QuicLink(_cloudLanes, TimeProvider.System, Timeout.InfiniteTimeSpan);
    }

    public async Task DisposeAsync()
    {
        await _edgeLanes.DisposeAsync();
        await _cloud.DisposeAsync();
    }

    [Fact]
    public async Task A_length_over_the_limit_ends_the_link_before_memory_is_taken()
    {
        var before = GC.GetTotalAllocatedBytes(precise: true);
        await _edgeLanes[LinkLane.User].WriteAsync(new byte[] { 0x7f, 0xff, 0xff, 0xff });
        var error = await Assert.ThrowsAsync<LinkException>(async () => await _cloud.ReceiveAsync(_ => { }, default).AsTask().WaitAsync(s_patience));
        Assert.Contains("over the limit", error.Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetTotalAllocatedBytes(precise: true) - before, 0, 10_000_000);
        await Assert.ThrowsAsync<LinkException>(async () => await _cloud.SendAsync(new Message { Id = "lease", Source = Sources.Edged, Group = Groups.Meta, Operation = Operations.Patch, Resource = "kube-node-lease/lease/edge-1" }, default)); // all of it is dead
    }

    [Fact]
    public async Task Memory_follows_what_came_not_what_was_announced()
    {
        var header = new byte[QuicFrame.HeaderSize];
        BinaryPrimitives.WriteUInt32BigEndian(header, QuicFrame.SizeMax);
        var before = GC.GetTotalAllocatedBytes(precise: true);
        var receiving = _cloud.ReceiveAsync(LinkLane.User, _ => { }, default).AsTask();
        await _edgeLanes[LinkLane.User].WriteAsync(header);
        await _edgeLanes[LinkLane.User].WriteAsync(new byte[1000]);
        await _edgeLanes[LinkLane.User].DisposeAsync();
        var error = await Assert.ThrowsAsync<LinkException>(() => receiving.WaitAsync(s_patience));
        Assert.Contains("inside a frame", error.Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetTotalAllocatedBytes(precise: true) - before, 0, 10_000_000);
    }
}
