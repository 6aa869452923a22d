using System.Collections.Concurrent;
using System.Net.WebSockets;
using System.Security.Cryptography;
using Edge.Cloud.CloudStream.Tunnel;
using Edge.Cloud.SyncController;
using Edge.Protocol.Messages;

namespace Edge.Cloud.CloudStream;

/// <summary>Streams of bytes to the local APIs of connected nodes, for kubectl's logs, exec, attach and port-forward. Each is a connection of its own that the node dials when it is asked
/// to: a node that nobody looks at costs nothing, and one slow reader holds up nobody else. A stock edge is reached over the tunnel that it keeps.</summary>
internal sealed class NodeStreams(Func<string, ISyncSession?> sessionOf, TimeProvider time)
{
    /// <summary>Streams at once, waiting and open; further ones are refused.</summary>
    public const int Max = 1024;

    private static readonly TimeSpan s_dialWithin = TimeSpan.FromSeconds(15);

    // The other side's close is waited for so long.
    private static readonly TimeSpan s_closeWithin = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<string, Waiting> _waiting = new(StringComparer.Ordinal);
    private int _count;

    /// <summary>The tunnel of a stock edge; null while it has none here.</summary>
    public Func<string, TunnelSession?> TunnelOf { get; set; } = _ => null;

    /// <summary>Streams waiting and open.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>Opens a stream on which the node's local API speaks HTTP/1.1. The caller disposes it.</summary>
    /// <exception cref="NodeStreamException">The node is not connected here, is a stock KubeEdge edge without a tunnel, or did not dial in time; or too many streams are open.</exception>
    public async ValueTask<Stream> OpenAsync(string node, CancellationToken cancellationToken)
    {
        var session = sessionOf(node);
        if (session is not { IsEdgeWire: true })
        {
            if (TunnelOf(node) is { } tunnel)
                return tunnel.Open();
            throw new NodeStreamException(session is null
                ? $"node \"{node}\" is not connected to this cloudcore"
                : $"node \"{node}\" runs a stock KubeEdge edgecore that has no tunnel to this cloudcore: logs and exec need modules.edgeStream on there (edgeStream.server: this cloudcore's address and tunnelPort), and modules.cloudStream.tunnel here");
        }

        if (Interlocked.Increment(ref _count) > Max)
        {
            Interlocked.Decrement(ref _count);
            throw new NodeStreamException($"{Max} streams to nodes are open, which is the limit; end some");
        }

        var id = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(NodeStreamWire.IdLength / 2));
        var waiting = new Waiting(node);
        _waiting[id] = waiting;
        try
        {
            session.Send(Message.Create(time, Sources.CloudHub, Groups.Stream, Operations.Get, NodeStreamWire.ResourcePrefix + id), isUrgent: true);
            return await waiting.Arrived.Task.WaitAsync(s_dialWithin, time, cancellationToken);
        }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException)
        {
            // Whoever takes it out owns it: a node that dials in this moment is served, and finds nobody there.
            if (_waiting.TryRemove(id, out _))
                Interlocked.Decrement(ref _count);
            else
                (await waiting.Arrived.Task).Dispose();
            if (e is OperationCanceledException)
                throw;
            throw new NodeStreamException($"node \"{node}\" did not open a stream within {s_dialWithin.TotalSeconds:0} s");
        }
    }

    /// <summary>Whether somebody waits for this node to dial this stream.</summary>
    public bool IsExpected(string node, string id) => _waiting.TryGetValue(id, out var waiting) && waiting.Node == node;

    /// <summary>Serves a connection that a node dialed, until the stream is disposed or <paramref name="stopping"/> is cancelled.</summary>
    /// <param name="accept">Answers the handshake.</param>
    public async Task ServeAsync(string id, Func<Task<WebSocket>> accept, CancellationToken stopping)
    {
        if (!_waiting.TryRemove(id, out var waiting))
            return; // given up in this moment
        try
        {
            var inner = WebSocketStream.Create(await accept(), WebSocketMessageType.Binary, s_closeWithin);
            var stream = new NodeStream(inner);
            waiting.Arrived.SetResult(stream);
            await stream.Disposed.WaitAsync(stopping).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await CloseAsync(inner);
        }
        catch (Exception e) when (!waiting.Arrived.Task.IsCompleted)
        {
            waiting.Arrived.SetException(new NodeStreamException($"the connection of node \"{waiting.Node}\" for the stream broke: {e.Message}"));
        }
        finally
        {
            Interlocked.Decrement(ref _count);
        }
    }

    private static async Task CloseAsync(WebSocketStream stream)
    {
        try
        {
            await stream.DisposeAsync();
        }
        catch (Exception e) when (e is WebSocketException or IOException or OperationCanceledException)
        {
            // The node has gone: there is nobody to say goodbye to.
        }
    }

    private sealed record Waiting(string Node)
    {
        public TaskCompletionSource<Stream> Arrived { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
