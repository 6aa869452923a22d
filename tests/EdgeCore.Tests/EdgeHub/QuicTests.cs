using System.Net;
using System.Net.Sockets;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Edge.Testing;
using Edge.Transport;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>The edge's session on a link with lanes, and what it does where QUIC cannot be had.</summary>
[Trait("Category", "Sync")]
public sealed class QuicTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task Bulk_that_the_cloud_does_not_take_delays_neither_the_nodes_status_nor_a_pods()
    {
        using var directory = new TempDirectory();
        await using var database = EdgeDatabase.Open(directory.File("edgecore.db"), TimeProvider.System);
        var (edgeLanes, cloudLanes) = await SocketLanes.PairAsync(window: 16 * 1024);
        await using var edge = new QuicLink(edgeLanes, TimeProvider.System, Timeout.InfiniteTimeSpan);
        await using var cloud = new QuicLink(cloudLanes, TimeProvider.System, Timeout.InfiniteTimeSpan);
        var queue = new UplinkQueue(new SqliteUplinkStore(database, TimeProvider.System, NullLogger.Instance), new EdgeHubOptions(), TimeProvider.System, NullLogger.Instance);
        for (var i = 0; i < 60; i++)
            await queue.PostAsync(Entry($"twin/{i}", UplinkPriority.Twin, Sources.Twin, Groups.Resource, $"device/default/d{i}/twin/edge_updated", 100_000, i), default);
        using var stop = new CancellationTokenSource();
        var session = new HubSession(edge, queue, new PendingRequests(), new NoMeta(), null, TimeSpan.FromMinutes(10), TimeProvider.System, NullLogger.Instance);
        var running = session.RunAsync(() => { }, stop.Token);
        Assert.Equal(Operations.Keepalive, (await ReceiveAsync(cloud, LinkLane.Control)).Operation);
        Assert.Equal(InventoryMessages.DigestResource, (await ReceiveAsync(cloud, LinkLane.Objects)).Resource);
        await ReceiveAsync(cloud, LinkLane.User); // the bulk is on its way, and from here on nobody reads it
        for (var i = 0; i < 5; i++)
        {
            await queue.PostAsync(Entry($"nodepatch/{i}", UplinkPriority.NodeStatus, Sources.Edged, Groups.Meta, $"null/nodepatch/edge-{i}", 10, i), default);
            await queue.PostAsync(Entry($"podstatus/{i}", UplinkPriority.PodStatus, Sources.Edged, Groups.Meta, $"default/podpatch/web-{i}", 10, i), default);
            Assert.Equal($"null/nodepatch/edge-{i}", (await ReceiveAsync(cloud, LinkLane.Control)).Resource);
            Assert.Equal($"default/podpatch/web-{i}", (await ReceiveAsync(cloud, LinkLane.Objects)).Resource);
        }

        for (var i = 1; i < 60; i++)
            Assert.Equal($"device/default/d{i}/twin/edge_updated", (await ReceiveAsync(cloud, LinkLane.User)).Resource);
        await stop.CancelAsync();
        await running.WaitAsync(s_patience);
        while (await cloud.ReceiveAsync(LinkLane.Control, error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience) is not null)
        {
        }

        Assert.Equal("the node is stopping or has a new certificate", cloud.ClosedBecause);
    }

    [Fact]
    public async Task Where_quic_cannot_be_had_the_WebSocket_serves_with_a_warning_and_the_next_link_tries_quic_again()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        // Bound and never read: nobody answers there.
        using var silent = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        silent.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        var port = ((IPEndPoint)silent.LocalEndPoint!).Port;
        await using var edge = new RunningEdge(RunningEdge.Options(
            cloud, directory, "modules.edgeHub.quic.enable=true", $"modules.edgeHub.quic.server=127.0.0.1:{port}", "modules.edgeHub.quic.handshakeTimeout=1"));
        var warning = await edge.Log.WaitForAsync("no QUIC connection to");
        Assert.StartsWith("Warning", warning, StringComparison.Ordinal);
        Assert.Contains($"127.0.0.1:{port}", warning, StringComparison.Ordinal);
        Assert.Contains(QuicSupport.IsAvailable ? "UDP" : "install the package libmsquic", warning, StringComparison.Ordinal);
        await edge.Log.WaitForAsync($"connected to 127.0.0.1:{cloud.Port} as node");
        cloud.Cut();
        await HubServiceTests.WaitUntilAsync(() => edge.Log.All().Split("no QUIC connection to").Length > 2);
        await HubServiceTests.WaitUntilAsync(() => edge.Hub.IsConnected);
    }

    [Fact]
    public async Task Without_the_WebSocket_a_failed_quic_connection_is_a_failed_connection()
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud();
        await cloud.StartAsync();
        using var silent = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        silent.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        var port = ((IPEndPoint)silent.LocalEndPoint!).Port;
        await using var edge = new RunningEdge(RunningEdge.Options(
            cloud, directory, "modules.edgeHub.websocket.enable=false", "modules.edgeHub.quic.enable=true", $"modules.edgeHub.quic.server=127.0.0.1:{port}", "modules.edgeHub.quic.handshakeTimeout=1"));
        await edge.Log.WaitForAsync($"cannot connect to 127.0.0.1:{port} (QUIC)");
        Assert.DoesNotContain("over WebSocket", edge.Log.All(), StringComparison.Ordinal);
    }

    private static async Task<Message> ReceiveAsync(QuicLink link, LinkLane lane)
        => (await link.ReceiveAsync(lane, error => Assert.Fail(error), default).AsTask().WaitAsync(s_patience))!;

    private static UplinkEntry Entry(string key, UplinkPriority priority, string source, string group, string resource, int size, int seed)
    {
        var bytes = new byte[size];
        new Random(seed).NextBytes(bytes);
        return new UplinkEntry(key, priority, UplinkRule.Newest, source, group, Operations.Update, resource, MessageCodec.JsonString(Convert.ToBase64String(bytes)));
    }

    private sealed class NoMeta : IMetaMessages
    {
        public long Doubts => 0;

        public Task<Message?> HandleAsync(Message message) => Task.FromResult<Message?>(null);

        public (int Count, InventoryDigest Digest) InventoryDigest() => (0, new InventoryDigest(1));

        public InventoryPart InventoryPart(int of, IReadOnlyList<int> buckets) => new(of, buckets, []);
    }
}
