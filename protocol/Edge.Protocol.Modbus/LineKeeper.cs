using Edge.Protocol.Modbus.Lines;

namespace Edge.Protocol.Modbus;

/// <summary>Keeps a master's line open, with growing delays while it cannot be, and makes one exchange at a time on it. Its caller has the turn.</summary>
internal sealed class LineKeeper : IDisposable
{
    private const double OpenDelayMsFirst = 100;
    private const double OpenDelayMsMax = 15_000;

    // Requests in a row without a sign of life after which a TCP connection is taken for dead: one that a cable was pulled from says nothing either.
    private const int SilencesMax = 3;

    // The silence after which a whole frame that is not the answer is taken for all that comes. What is no whole frame may be noise before the answer, or the
    // answer's beginning (terminal servers send it in pieces): that is awaited until the time-out.
    private static readonly TimeSpan s_garbageGap = TimeSpan.FromMilliseconds(100);
    // A slave that answered within half a millisecond is awaited by blocking, a millisecond at most: that spares two switches of threads, a third of such a
    // round trip. One thread of the process does so at a time, so that the pool does not run dry.
    private static readonly TimeSpan s_quick = TimeSpan.FromMilliseconds(0.5);
    private static readonly TimeSpan s_brief = TimeSpan.FromMilliseconds(1);
    // Slaves close connections that are idle: after such a pause it is looked whether this one did, rather than to lose a request to it.
    private static readonly TimeSpan s_idle = TimeSpan.FromSeconds(1);
    private static int s_blocking;
    private readonly ModbusLineSettings _settings;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ModbusLineCounters _counters;
    private readonly byte[] _buffer = new byte[2 * MbapFrame.SizeMax];
    private readonly Lock _gate = new();
    private CancellationTokenSource _limit;
    private IModbusLine? _line;
    private bool _disposed;
    private int _filled;
    private ushort _transaction;
    private int _silences;
    private long _lastUsed;
    private bool _isQuick;
    private int _openFailures;
    private long _openNotBefore;
    private string _openError = "";

    public LineKeeper(ModbusLineSettings settings, TimeProvider time, Random random, ModbusLineCounters counters)
    {
        _settings = settings;
        _time = time;
        _random = random;
        _counters = counters;
        _limit = new CancellationTokenSource(Timeout.InfiniteTimeSpan, time);
    }

    public ModbusTrace? Trace { get; set; }

    /// <summary>Opens the line unless it is open. While it waits out a delay it fails at once.</summary>
    public async ValueTask OpenAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        if (_line is { } open)
        {
            if (_time.GetElapsedTime(_lastUsed) < s_idle || !open.HasEnded)
                return;
            Close();
        }

        var now = _time.GetUtcNow().ToUnixTimeMilliseconds();
        if (now < _openNotBefore)
            throw new ModbusLinkException(ModbusLinkFault.Line, $"{_openError}; it is tried again in {_openNotBefore - now} ms", reason: _openError);
        using var limit = new CancellationTokenSource(timeout, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            var line = await _settings.OpenAsync(either.Token);
            lock (_gate)
            {
                if (_disposed)
                {
                    line.Dispose();
                    throw new ModbusLinkException(ModbusLinkFault.Line, $"{_settings.Key} is closed");
                }

                _line = line;
            }

            (_filled, _silences, _openFailures) = (0, 0, 0);
            _counters.Open();
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            _openError = e is IOException
                ? _settings.SerialLine is null ? $"cannot connect to {_settings.Key}: {e.Message}" : $"cannot open {e.Message}"
                : $"cannot connect to {_settings.Key}: no answer within {timeout.TotalMilliseconds:0} ms";
            double share;
            lock (_random)
                share = 0.5 + (_random.NextDouble() / 2);
            var delay = share * Math.Min(OpenDelayMsMax, OpenDelayMsFirst * Math.Pow(2, Math.Min(_openFailures++, 20)));
            _openNotBefore = _time.GetUtcNow().ToUnixTimeMilliseconds() + (long)delay;
            throw new ModbusLinkException(ModbusLinkFault.Line, _openError, e);
        }
    }

    /// <summary>One request and its answer.</summary>
    public ValueTask<ReadOnlyMemory<byte>> ExchangeAsync(byte unit, ModbusRequest request, byte[] pdu, TimeSpan timeout, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        _counters.Request();
        _lastUsed = _time.GetTimestamp();
        var transaction = ++_transaction;
        var sent = false;
        if (_isQuick && Interlocked.CompareExchange(ref s_blocking, 1, 0) == 0)
        {
            try
            {
                if (_line is { } open && TryQuickly(open, transaction, unit, pdu, ref sent) is { } answer)
                    return new ValueTask<ReadOnlyMemory<byte>>(Read(unit, request, answer));
            }
            catch (IOException e)
            {
                Close();
                throw Broken(e);
            }
            finally
            {
                Volatile.Write(ref s_blocking, 0);
            }
        }

        return new ValueTask<ReadOnlyMemory<byte>>(ExchangeSlowlyAsync(transaction, sent, unit, request, pdu, timeout, cancellationToken));
    }

    private async Task<ReadOnlyMemory<byte>> ExchangeSlowlyAsync(
        ushort transaction, bool sent, byte unit, ModbusRequest request, byte[] pdu, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var line = _line ?? throw Broken(new IOException("it was closed"));
        if (!_limit.TryReset())
        {
            _limit.Dispose();
            _limit = new CancellationTokenSource(Timeout.InfiniteTimeSpan, _time);
        }

        // An answer that never comes and a caller that gives up end the same wait.
        var limit = _limit;
        var doubt = new Doubt();
        using var registration = cancellationToken.UnsafeRegister(static state => ((CancellationTokenSource)state!).Cancel(), limit);
        limit.CancelAfter(timeout + (_settings.SerialLine?.TimeOf(pdu.Length + RtuFrame.Overhead) ?? TimeSpan.Zero)); // it begins with the last byte sent
        try
        {
            var answer = _settings.Transport == ModbusTransport.Tcp
                ? await ExchangeTcpAsync(line, transaction, sent, unit, pdu, doubt, limit.Token)
                : await ExchangeRtuAsync(line, unit, pdu, doubt, limit.Token);
            return Read(unit, request, answer);
        }
        catch (OperationCanceledException e)
        {
            // What is half sent or half received is of no use to the next request: TCP closes, a serial line is read empty before it.
            if (cancellationToken.IsCancellationRequested)
            {
                Close();
                cancellationToken.ThrowIfCancellationRequested();
            }

            if (_settings.Transport != ModbusTransport.Tcp && _filled > 0)
                doubt.Reason = Explain(unit);
            if (_settings.Transport == ModbusTransport.RtuOverTcp || (_settings.Transport == ModbusTransport.Tcp && ++_silences >= SilencesMax && doubt.Reason.Length == 0))
                Close();
            else if (_settings.SerialLine is not null)
                TraceRest();
            if (doubt.Reason.Length > 0)
                throw Garbage($"{_settings.Key} unit {unit} sent no usable answer within {timeout.TotalMilliseconds:0} ms: {doubt.Reason}", e);
            _counters.Silence();
            throw new ModbusLinkException(ModbusLinkFault.Silence, $"{_settings.Key} unit {unit} did not answer within {timeout.TotalMilliseconds:0} ms", e);
        }
        catch (IOException e)
        {
            Close();
            cancellationToken.ThrowIfCancellationRequested();
            throw Broken(e);
        }
    }

    public void Dispose()
    {
        lock (_gate)
            _disposed = true;
        Close();
    }

    private ReadOnlyMemory<byte> Read(byte unit, in ModbusRequest request, ReadOnlyMemory<byte> answer)
    {
        _silences = 0;
        if (!ModbusPdu.TryReadResponse(request, answer, out var data, out var exception, out var error))
            throw Garbage($"{_settings.Key} unit {unit}: {error}");
        _counters.Answer();
        if (exception == ModbusExceptionCode.None)
            return data;
        _counters.Exception();
        throw new ModbusPeerException(exception, request.ToString());
    }

    // Null when the whole answer is not there yet; what is goes on in the slow way.
    private ReadOnlyMemory<byte>? TryQuickly(IModbusLine line, ushort transaction, byte unit, byte[] pdu, ref bool sent)
    {
        var frame = MbapFrame.Write(transaction, unit, pdu);
        var start = _time.GetTimestamp();
        var read = line.ExchangeBriefly(frame, _buffer.AsSpan(_filled), s_brief);
        if (read < 0)
            return null;
        sent = true;
        Trace?.Add(sent: true, frame);
        _filled += read;
        if (read == 0 || MbapFrame.Read(_buffer.AsMemory(0, _filled), out var first, out var consumed, out _) != FrameStatus.Complete
            || first.TransactionId != transaction || first.UnitId != unit)
        {
            _isQuick = false;
            return null;
        }

        _isQuick = _time.GetElapsedTime(start) < s_quick;
        return Take(first, consumed);
    }

    private byte[] Take(in MbapFrame frame, int consumed)
    {
        Trace?.Add(sent: false, _buffer.AsSpan(0, consumed));
        var answer = frame.Pdu.ToArray();
        _filled -= consumed;
        _buffer.AsSpan(consumed, _filled).CopyTo(_buffer);
        return answer;
    }

    private async ValueTask<ReadOnlyMemory<byte>> ExchangeTcpAsync(
        IModbusLine line, ushort transaction, bool isSent, byte unit, byte[] pdu, Doubt doubt, CancellationToken cancellationToken)
    {
        var start = _time.GetTimestamp();
        if (!isSent)
        {
            var sent = MbapFrame.Write(transaction, unit, pdu);
            Trace?.Add(sent: true, sent);
            await line.WriteAsync(sent, cancellationToken);
        }

        while (true)
        {
            switch (MbapFrame.Read(_buffer.AsMemory(0, _filled), out var frame, out var consumed, out var error))
            {
                case FrameStatus.Malformed:
                    // No next frame can be found in such a stream.
                    Close();
                    throw Garbage($"{_settings.Key} sent no Modbus TCP: {error}");
                case FrameStatus.Complete:
                    var answer = Take(frame, consumed);
                    if (frame.TransactionId == transaction && frame.UnitId == unit)
                    {
                        _isQuick = !isSent && _time.GetElapsedTime(start) < s_quick;
                        return answer;
                    }

                    // A late answer to an earlier request, or a confused slave: never taken for this one's.
                    _counters.Rubbish();
                    doubt.Reason = $"it answered transaction {frame.TransactionId} of unit {frame.UnitId}, expected {transaction} of {unit}";
                    continue;
            }

            await FillAsync(line, cancellationToken);
        }
    }

    private async ValueTask<ReadOnlyMemory<byte>> ExchangeRtuAsync(IModbusLine line, byte unit, byte[] pdu, Doubt doubt, CancellationToken cancellationToken)
    {
        // Noise, and what came too late, is not this request's.
        if (line.DiscardInput(Trace) > 0)
            _counters.Rubbish();
        _filled = 0;
        var sent = RtuFrame.Write(unit, pdu);
        Trace?.Add(sent: true, sent);
        await line.WriteAsync(sent, cancellationToken);
        if (unit == 0 && ModbusPdu.ReadRequest(pdu, out var request) == ModbusExceptionCode.None && request is { IsWrite: true, Function: not ModbusFunction.ReadWriteMultipleRegisters })
        {
            // A broadcast has no answer (V1.02 §2.1): its echo stands for one.
            return ModbusPdu.WriteResponse(request, default);
        }

        using var pause = new CancellationTokenSource(Timeout.InfiniteTimeSpan, _time);
        using var quiet = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, pause.Token);
        while (true)
        {
            if (RtuScanner.TryFindAnswer(_buffer.AsSpan(0, _filled), unit, pdu[0], out var offset, out var length))
            {
                Trace?.Add(sent: false, _buffer.AsSpan(0, _filled));
                if (offset > 0)
                    _counters.Rubbish();
                return _buffer.AsMemory(offset + 1, length - 3).ToArray();
            }

            try
            {
                pause.CancelAfter(IsOtherFrame(unit, pdu[0]) ? s_garbageGap : Timeout.InfiniteTimeSpan);
                await FillAsync(line, quiet.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                var reason = Explain(unit);
                if (_settings.Transport == ModbusTransport.RtuOverTcp)
                    Close();
                else
                    TraceRest();
                throw Garbage($"{_settings.Key} unit {unit}: {reason}");
            }

            if (_filled == _buffer.Length)
            {
                // A line that babbles: the newest half may still hold the answer.
                _counters.Rubbish();
                doubt.Reason = "the line does not fall silent";
                _filled /= 2;
                Trace?.Add(sent: false, _buffer.AsSpan(0, _filled));
                _buffer.AsSpan(_filled).CopyTo(_buffer);
            }
        }
    }

    // A whole frame, but not the one that is awaited: of another unit or function, or damaged on the way.
    private bool IsOtherFrame(byte unit, byte function)
        => RtuFrame.TryRead(_buffer.AsMemory(0, _filled), out _, out _)
            || (_filled >= RtuFrame.Overhead && _buffer[0] == unit && (_buffer[1] & 0x7F) == function && RtuScanner.AnswerLength(_buffer.AsSpan(0, _filled)) is > 0 and var length && length <= _filled);

    private string Explain(byte unit)
    {
        if (!RtuFrame.TryRead(_buffer.AsMemory(0, _filled), out var frame, out var error))
            return $"{_filled} bytes that are no frame: {error}";
        return frame.SlaveId != unit ? $"unit {frame.SlaveId} answered" : $"answer of {_filled} bytes to another function or of a wrong length";
    }

    private async ValueTask FillAsync(IModbusLine line, CancellationToken cancellationToken)
    {
        var read = await line.ReadAsync(_buffer.AsMemory(_filled), cancellationToken);
        if (read == 0)
            throw new IOException("the other end closed it");
        _filled += read;
    }

    private ModbusLinkException Broken(IOException e)
        => new(ModbusLinkFault.Line, $"the line to {_settings.Key} broke: {e.Message}", e);

    private ModbusLinkException Garbage(string message, Exception? inner = null)
    {
        _counters.Rubbish();
        return new ModbusLinkException(ModbusLinkFault.Garbage, message, inner);
    }

    private void Close()
    {
        lock (_gate)
        {
            _line?.Dispose();
            _line = null;
        }

        TraceRest();
        _isQuick = false;
    }

    // What came and is no answer is seen by whoever looks, too.
    private void TraceRest()
    {
        if (_filled > 0)
            Trace?.Add(sent: false, _buffer.AsSpan(0, _filled));
        _filled = 0;
    }

    // Why an answer that is still awaited may never come.
    private sealed class Doubt
    {
        public string Reason { get; set; } = "";
    }
}
