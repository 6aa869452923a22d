using System.Buffers;
using System.Buffers.Binary;
using System.Net.Sockets;

namespace Edge.Protocol.Dns.Server;

/// <summary>One client's connection: each message has its length before it in two bytes (RFC 1035 §4.2.2).</summary>
internal sealed class TcpConnection(
    Socket socket, UInt128 address, ushort port, IDnsResponder responder, DnsServerOptions options, TimeProvider clock, SemaphoreSlim transfers, Action<Exception>? failed)
{
    private const int InputSize = 4096; // grows for a longer query
    private const int FlushAt = 32 * 1024;

    // An answer is written here, and copied to an output of its size: a connection keeps no 64 KB.
    [ThreadStatic]
    private static byte[]? s_scratch;

    private long _deadlineMs = DnsTcpServer.NowMs(clock) + options.TcpIdleMs;
    private int _closed;
    private byte[] _output = [];
    private int _outputLength;

    /// <summary>Written by this connection's task only.</summary>
    public DnsServerCounters Counters { get; } = new();

    /// <summary>When the sweep closes it, by <see cref="DnsTcpServer.NowMs"/>.</summary>
    public long DeadlineMs => Volatile.Read(ref _deadlineMs);

    /// <summary>False when it was closed already.</summary>
    public bool Close()
    {
        if (Interlocked.Exchange(ref _closed, 1) != 0)
            return false;
        socket.Dispose();
        return true;
    }

    public async Task ServeAsync(CancellationToken cancellationToken)
    {
        socket.NoDelay = true;
        var input = ArrayPool<byte>.Shared.Rent(InputSize);
        try
        {
            var filled = 0;
            while (true)
            {
                var read = await socket.ReceiveAsync(input.AsMemory(filled), cancellationToken);
                if (read == 0)
                    return;
                filled += read;
                var consumed = 0;
                while (TryTake(input.AsSpan(consumed, filled - consumed), out var length))
                {
                    var query = input.AsMemory(consumed + 2, length);
                    consumed += 2 + length;
                    if (Answer(query.Span) == IDnsResponder.Transfer)
                        await TransferAsync(query, cancellationToken);
                    else if (_outputLength >= FlushAt)
                        await FlushAsync(cancellationToken);
                }

                if (consumed > 0)
                {
                    await FlushAsync(cancellationToken);
                    input.AsSpan(consumed, filled - consumed).CopyTo(input);
                    filled -= consumed;
                    SetDeadline(options.TcpIdleMs);
                }

                input = Fit(input, filled);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(input);
            if (_output.Length > 0)
                ArrayPool<byte>.Shared.Return(_output);
        }
    }

    private static bool TryTake(ReadOnlySpan<byte> input, out int length)
    {
        length = input.Length >= 2 ? BinaryPrimitives.ReadUInt16BigEndian(input) : 0;
        return input.Length >= 2 && input.Length - 2 >= length;
    }

    // Room for the whole query that has begun, and no more.
    private static byte[] Fit(byte[] input, int filled)
    {
        var needed = filled >= 2 ? 2 + BinaryPrimitives.ReadUInt16BigEndian(input) : InputSize;
        if (needed <= input.Length && (input.Length <= 2 * InputSize || filled > InputSize))
            return input;
        var fitting = ArrayPool<byte>.Shared.Rent(Math.Max(needed, InputSize));
        input.AsSpan(0, filled).CopyTo(fitting);
        ArrayPool<byte>.Shared.Return(input);
        return fitting;
    }

    private int Answer(ReadOnlySpan<byte> query)
    {
        var scratch = s_scratch ??= new byte[DnsLimits.Message];
        var length = ResponderCall.Respond(responder, query, Request(), scratch, Counters, failed);
        if (length == IDnsResponder.Transfer)
            return length;
        Counters.Count(scratch.AsSpan(0, length));
        if (length == 0)
            return length;
        Reserve(2 + length);
        BinaryPrimitives.WriteUInt16BigEndian(_output.AsSpan(_outputLength), (ushort)length);
        scratch.AsSpan(0, length).CopyTo(_output.AsSpan(_outputLength + 2));
        _outputLength += 2 + length;
        return length;
    }

    private void Reserve(int more)
    {
        if (_outputLength + more <= _output.Length)
            return;
        var larger = ArrayPool<byte>.Shared.Rent(Math.Max(_outputLength + more, InputSize));
        _output.AsSpan(0, _outputLength).CopyTo(larger);
        if (_output.Length > 0)
            ArrayPool<byte>.Shared.Return(_output);
        _output = larger;
    }

    private async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        SetDeadline(options.TcpWriteMs);
        for (var sent = 0; sent < _outputLength;)
            sent += await socket.SendAsync(_output.AsMemory(sent, _outputLength - sent), SocketFlags.None, cancellationToken);
        _outputLength = 0;
        if (_output.Length > 0)
            ArrayPool<byte>.Shared.Return(_output);
        _output = [];
    }

    private async Task TransferAsync(ReadOnlyMemory<byte> query, CancellationToken cancellationToken)
    {
        await FlushAsync(cancellationToken);
        SetDeadline(options.TcpIdleMs);
        await transfers.WaitAsync(cancellationToken);
        try
        {
            if (Volatile.Read(ref _closed) != 0)
                return;
            var transfer = responder.BeginTransfer(query.Span, Request());
            var first = true;
            while (true)
            {
                Reserve(2 + DnsLimits.Message);
                var length = transfer.Next(_output.AsSpan(2, DnsLimits.Message));
                if (length == 0)
                    return;
                BinaryPrimitives.WriteUInt16BigEndian(_output, (ushort)length);
                if (first)
                    Counters.Count(_output.AsSpan(2, length));
                first = false;
                _outputLength = 2 + length;
                await FlushAsync(cancellationToken);
            }
        }
        finally
        {
            transfers.Release();
        }
    }

    private DnsRequest Request() => new(address, port, IsTcp: true, clock.GetUtcNow().ToUnixTimeMilliseconds());

    private void SetDeadline(int ms) => Volatile.Write(ref _deadlineMs, DnsTcpServer.NowMs(clock) + ms);
}
