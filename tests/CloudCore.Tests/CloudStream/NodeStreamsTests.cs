using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.CloudStream;
using Edge.Cloud.SyncController;
using Edge.Protocol.Messages;
using Edge.Testing;
using Xunit;

namespace Edge.Cloud.Tests;

/// <summary>Streams to nodes: who gets one, who may dial one, and what becomes of those that nobody dials.</summary>
[Trait("Category", "Kubernetes")]
public sealed class NodeStreamsTests
{
    private readonly ManualTimeProvider _time = new(DateTimeOffset.UnixEpoch);

    [Fact]
    public async Task Without_a_session_there_is_no_stream()
    {
        var streams = new NodeStreams(_ => null, _time);
        var e = await Assert.ThrowsAsync<NodeStreamException>(async () => await streams.OpenAsync("n", CancellationToken.None));
        Assert.Equal("node \"n\" is not connected to this cloudcore", e.Message);
        Assert.Equal(0, streams.Count);
    }

    [Fact]
    public async Task A_stock_edge_is_not_asked()
    {
        var session = new Session(isEdgeWire: false);
        var streams = new NodeStreams(_ => session, _time);
        await Assert.ThrowsAsync<NodeStreamException>(async () => await streams.OpenAsync("n", CancellationToken.None));
        Assert.Empty(session.Sent);
    }

    [Fact]
    public async Task Only_the_node_that_was_asked_may_dial_and_only_in_time()
    {
        var session = new Session(isEdgeWire: true);
        var streams = new NodeStreams(_ => session, _time);
        var opening = streams.OpenAsync("n", CancellationToken.None).AsTask();
        var id = Assert.Single(session.Sent).Resource[NodeStreamWire.ResourcePrefix.Length..];
        Assert.True(NodeStreamWire.IsId(id));
        Assert.True(streams.IsExpected("n", id));
        Assert.False(streams.IsExpected("other", id));
        Assert.False(streams.IsExpected("n", new string('0', NodeStreamWire.IdLength)));
        Assert.Equal(1, streams.Count);

        _time.Advance(TimeSpan.FromSeconds(15));
        var e = await Assert.ThrowsAsync<NodeStreamException>(() => opening);
        Assert.Contains("did not open a stream within 15 s", e.Message, StringComparison.Ordinal);
        Assert.False(streams.IsExpected("n", id));
        Assert.Equal(0, streams.Count);
    }

    [Fact]
    public async Task A_handshake_that_breaks_is_told_to_who_waits()
    {
        var session = new Session(isEdgeWire: true);
        var streams = new NodeStreams(_ => session, _time);
        var opening = streams.OpenAsync("n", CancellationToken.None).AsTask();
        var id = session.Sent[0].Resource[NodeStreamWire.ResourcePrefix.Length..];
        await streams.ServeAsync(id, () => throw new IOException("cut"), CancellationToken.None);
        var e = await Assert.ThrowsAsync<NodeStreamException>(() => opening);
        Assert.Contains("cut", e.Message, StringComparison.Ordinal);
        Assert.Equal(0, streams.Count);
    }

    private sealed class Session(bool isEdgeWire) : ISyncSession
    {
        public List<Message> Sent { get; } = [];

        public string Node => "n";

        public bool IsEdgeWire => isEdgeWire;

        public (int Objects, int Messages) Depth => default;

        public int InFlight => 0;

        public IReadOnlyList<Edge.Cloud.Dashboard.QueuedObject> Queued(int max) => [];

        public void Deliver(DownObject obj) => throw new NotSupportedException();

        public void Known(string uid, long version) => throw new NotSupportedException();

        public bool WillSend(string uid) => throw new NotSupportedException();

        public void Send(Message message, bool isUrgent = false) => Sent.Add(message);

        public void Members(IReadOnlyList<string> present) => throw new NotSupportedException();

        public bool Open() => throw new NotSupportedException();

        public void End(SessionEndReason reason) => throw new NotSupportedException();
    }
}
