using System.Buffers;
using System.IO.Pipelines;
using System.Text;
using Edge.Protocol.Tunnel;

namespace Edge.Cloud.CloudStream.Tunnel;

/// <summary>One connection over a stock edge's tunnel, as a stream on which HTTP/1.1 is spoken with the node's kubelet API: the head that is written becomes the connect message; for logs and
/// metrics, of which the edge sends the body alone, an answer's head is put in front. For one request, one reader and one writer.</summary>
internal sealed class TunnelStream : Stream
{
    // An exec carries its command in the query.
    private const int HeadSizeMax = 64 * 1024;

    /// <summary>What waits for the reader before the tunnel's reader waits for it, bytes.</summary>
    public const int BufferSize = 1 << 20;

    private const int PieceSize = 32 * 1024;
    private static readonly byte[] s_head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"u8.ToArray();

    // A stock edge that cannot reach its kubelet says nothing at all.
    private static readonly TimeSpan s_firstWithin = TimeSpan.FromSeconds(30);

    private readonly TunnelSession _session;
    private readonly Pipe _down = new(new PipeOptions(pauseWriterThreshold: BufferSize, resumeWriterThreshold: BufferSize / 2, useSynchronizationContext: false));
    private readonly ArrayBufferWriter<byte> _head = new();
    private readonly TimeProvider _time;
    private TunnelConnect? _connect;
    private ITimer? _first;
    private int _ended;

    public TunnelStream(TunnelSession session, ulong id, TimeProvider time) => (_session, Id, _time) = (session, id, time);

    public ulong Id { get; }

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>What the edge sent; only the tunnel's reader calls.</summary>
    /// <returns>Completes once the reader has room for more; false when nobody reads any more.</returns>
    public async ValueTask<bool> TakeAsync(ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
    {
        if (Volatile.Read(ref _ended) != 0)
            return false;
        _first?.Dispose();
        try
        {
            return !(await _down.Writer.WriteAsync(data, cancellationToken)).IsCompleted;
        }
        catch (InvalidOperationException)
        {
            return false; // ended in this moment, by its user or by the clock
        }
    }

    /// <summary>The connection ended at the other side: null in order, else the stream breaks with the reason.</summary>
    public void End(string? reason)
    {
        if (Interlocked.Exchange(ref _ended, 1) != 0)
            return;
        _first?.Dispose();
        _down.Writer.Complete(reason is null ? null : new IOException(reason));
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            var result = await _down.Reader.ReadAsync(cancellationToken);
            // Behind AdvanceTo the sequence is no more.
            var length = (int)Math.Min(buffer.Length, result.Buffer.Length);
            var taken = result.Buffer.Slice(0, length);
            taken.CopyTo(buffer.Span);
            _down.Reader.AdvanceTo(taken.End);
            return length;
        }
        catch (InvalidOperationException e)
        {
            throw new IOException("the stream was closed while it was read", e);
        }
    }

    /// <exception cref="NodeStreamException">The tunnel has no way for the request, or has ended.</exception>
    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_connect is null)
        {
            _head.Write(buffer.Span);
            var end = _head.WrittenSpan.IndexOf("\r\n\r\n"u8);
            if (end < 0)
            {
                if (_head.WrittenCount > HeadSizeMax)
                    throw new NodeStreamException($"the request's head is over {HeadSizeMax} bytes");
                return;
            }

            if (TunnelConnect.Read(Id, _head.WrittenSpan[..(end + 4)], out var problem) is not { } connect)
            {
                await RefuseAsync(problem);
                return;
            }

            _connect = connect;
            buffer = _head.WrittenMemory[(end + 4)..];
            await ConnectAsync(connect, cancellationToken);
        }

        // The body of a request for a log has nowhere to go, and there is none.
        for (; buffer.Length > 0 && _connect.IsRaw; buffer = buffer[Math.Min(PieceSize, buffer.Length)..])
            await _session.SendAsync(new TunnelMessage(Id, TunnelMessageType.Data, buffer[..Math.Min(PieceSize, buffer.Length)]), cancellationToken);
    }

    public override void Flush()
    {
        // Each write goes out as a message.
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("a tunnel is read asynchronously");

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException("a tunnel is written asynchronously");

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            // The edge is told unless it said so itself.
            _session.Forget(Id, isTold: _connect is null || Volatile.Read(ref _ended) != 0);
            End("the stream was closed");
            _down.Reader.Complete();
        }

        base.Dispose(disposing);
    }

    private async ValueTask ConnectAsync(TunnelConnect connect, CancellationToken cancellationToken)
    {
        if (!connect.IsRaw)
            await _down.Writer.WriteAsync(s_head, cancellationToken);
        if (connect is not { Type: TunnelMessageType.LogsConnect, IsFollowed: true })
        {
            _first = _time.CreateTimer(
                _ => End($"node \"{_session.Node}\" said nothing over its tunnel within {s_firstWithin.TotalSeconds:0} s; its edgecore may not reach its own kubelet API on port 10350 (modules.edged, modules.edgeStream)"),
                null, s_firstWithin, Timeout.InfiniteTimeSpan);
        }

        await _session.SendAsync(connect.ToMessage(), cancellationToken);
    }

    // Whoever asked gets an answer of HTTP, as from a kubelet that does not know the path.
    private async ValueTask RefuseAsync(string problem)
    {
        var body = Encoding.UTF8.GetBytes(problem + "\n");
        await _down.Writer.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {body.Length}\r\nConnection: close\r\n\r\n"));
        await _down.Writer.WriteAsync(body);
        End(null);
    }
}
