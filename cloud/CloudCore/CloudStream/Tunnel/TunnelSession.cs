using System.Collections.Concurrent;
using System.IO.Pipelines;
using System.Threading.Channels;
using Edge.Protocol.Tunnel;
using Edge.Transport;

namespace Edge.Cloud.CloudStream.Tunnel;

/// <summary>One tunnel that a stock edge dialed: its WebSocket, and the connections over it. The tunnel has no flow control of each connection (kubeedge-wire §5.7): what a reader does not
/// take waits in its own buffer, and when that is full, the tunnel waits for it <see cref="StallMax"/> at most and then ends that connection, so that a kubectl that stands still does not
/// hold up the node's others for good.</summary>
internal sealed class TunnelSession : IDisposable
{
    /// <summary>How long a full connection may hold up the others of its node.</summary>
    public static readonly TimeSpan StallMax = TimeSpan.FromSeconds(2);

    /// <summary>Connections over one tunnel; further ones are refused.</summary>
    public const int ConnectionsMax = 128;

    // The edge pings every 5 s.
    private static readonly TimeSpan s_silenceMax = TimeSpan.FromSeconds(30);
    private const int FramesWaitingMax = 64;

    private readonly Stream _socket;
    private readonly TimeProvider _time;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<ulong, TunnelStream> _streams = [];

    // Wait: what kubectl sends must not be lost; the writer's pace is the edge's.
    private readonly Channel<byte[]> _out = Channel.CreateBounded<byte[]>(new BoundedChannelOptions(FramesWaitingMax) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });
    private ulong _lastId;
    private string? _ended;

    public TunnelSession(string node, Stream socket, TimeProvider time) => (Node, _socket, _time) = (node, socket, time);

    public string Node { get; }

    /// <summary>Connections now.</summary>
    public int Count => _streams.Count;

    /// <summary>Connections that were ended because nobody took what came.</summary>
    public Action<string> Stalled { get; init; } = _ => { };

    /// <summary>Opens a connection; the caller writes one HTTP/1.1 request to it and disposes it.</summary>
    /// <exception cref="NodeStreamException">The tunnel has ended, or has too many connections.</exception>
    public TunnelStream Open()
    {
        if (_streams.Count >= ConnectionsMax)
            throw new NodeStreamException($"{ConnectionsMax} connections to node \"{Node}\" are open over its tunnel, which is the limit; end some");
        var stream = new TunnelStream(this, Interlocked.Increment(ref _lastId), _time);
        _streams[stream.Id] = stream;
        if (Volatile.Read(ref _ended) is { } reason)
        {
            _streams.TryRemove(stream.Id, out _);
            throw new NodeStreamException(reason);
        }

        return stream;
    }

    /// <summary>Reads and writes until the tunnel ends; returns why. Does not throw.</summary>
    public async Task<string> RunAsync(CancellationToken stopping)
    {
        using var stopped = stopping.UnsafeRegister(static state => ((TunnelSession)state!).Close("cloudcore stops"), this);
        var writing = WriteAsync();
        string reason;
        try
        {
            reason = await ReadAsync();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException or InvalidOperationException or Microsoft.AspNetCore.Connections.ConnectionResetException)
        {
            reason = _stop.IsCancellationRequested ? "it was closed" : e.Message;
        }

        Close(reason);
        await writing;
        foreach (var stream in _streams.Values)
            stream.End($"the tunnel of node \"{Node}\" ended: {_ended}");
        return _ended!;
    }

    /// <summary>Ends the tunnel. First reason wins.</summary>
    public void Close(string reason)
    {
        if (Interlocked.CompareExchange(ref _ended, reason, null) is not null)
            return;
        try
        {
            _stop.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // It ended by itself in this moment.
        }
    }

    /// <summary>Sends a message in its turn; waits while the edge does not read.</summary>
    /// <exception cref="NodeStreamException">The tunnel has ended.</exception>
    public async ValueTask SendAsync(TunnelMessage message, CancellationToken cancellationToken)
    {
        try
        {
            await _out.Writer.WriteAsync(WebSocketFrame.Write(WebSocketOpcode.Text, message.ToBytes()), cancellationToken);
        }
        catch (ChannelClosedException)
        {
            throw new NodeStreamException($"the tunnel of node \"{Node}\" ended: {Volatile.Read(ref _ended)}");
        }
    }

    /// <summary>A connection's user is done with it.</summary>
    /// <param name="isTold">The edge knows.</param>
    public void Forget(ulong id, bool isTold)
    {
        if (_streams.TryRemove(id, out _) && !isTold)
            Remove(id);
    }

    public void Dispose() => _stop.Dispose();

    // With no room the edge is told at its next data, which then belongs to nobody.
    private void Remove(ulong id) => _out.Writer.TryWrite(WebSocketFrame.Write(WebSocketOpcode.Text, new TunnelMessage(id, TunnelMessageType.RemoveConnect, default).ToBytes()));

    private async Task<string> ReadAsync()
    {
        // Its buffers are the collector's: completing it would need a way round every return.
        var reader = PipeReader.Create(_socket, new StreamPipeReaderOptions(bufferSize: 16 * 1024, leaveOpen: true, useZeroByteReads: true));
        await using var timer = _time.CreateTimer(static state => ((TunnelSession)state!).Close($"the edge said nothing for {s_silenceMax.TotalSeconds:0} s"), this, s_silenceMax, Timeout.InfiniteTimeSpan);
        return await new TunnelReader(reader, "the edge", isMasked: true)
        {
            Heard = () => timer.Change(s_silenceMax, Timeout.InfiniteTimeSpan),
            Ping = payload =>
            {
                // One that finds no room is not answered: the edge does not insist.
                _out.Writer.TryWrite(WebSocketFrame.Write(WebSocketOpcode.Pong, payload));
                return ValueTask.CompletedTask;
            },
            Message = DeliverAsync,
        }.RunAsync(_stop.Token);
    }

    private async ValueTask DeliverAsync(TunnelMessage message)
    {
        if (!_streams.TryGetValue(message.Id, out var stream))
        {
            if (message.Type == TunnelMessageType.Data)
                Remove(message.Id);
            return;
        }

        if (message.Type == TunnelMessageType.RemoveConnect)
        {
            stream.End(null);
            return;
        }

        if (message.Type != TunnelMessageType.Data)
            return; // an edge does not connect; a stock cloud ignores it too
        var taking = stream.TakeAsync(message.Data, _stop.Token);
        if (taking.IsCompletedSuccessfully)
            return;
        try
        {
            await taking.AsTask().WaitAsync(StallMax, _time, _stop.Token);
        }
        catch (TimeoutException)
        {
            Stalled(Node);
            // What is buffered stays readable; then the reader is told.
            stream.End($"what came from node \"{Node}\" was not read for {StallMax.TotalSeconds:0} s, and others wait behind it: KubeEdge's tunnel has no flow control");
            if (_streams.TryRemove(message.Id, out _))
                Remove(message.Id);
        }
    }

    private async Task WriteAsync()
    {
        try
        {
            await foreach (var frame in _out.Reader.ReadAllAsync(_stop.Token))
                await _socket.WriteAsync(frame, _stop.Token);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or OperationCanceledException or Microsoft.AspNetCore.Connections.ConnectionResetException)
        {
            Close(e.Message);
        }
        finally
        {
            _out.Writer.TryComplete();
        }
    }
}
