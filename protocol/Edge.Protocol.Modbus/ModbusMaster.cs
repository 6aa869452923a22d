using Edge.Protocol.Modbus.Lines;

namespace Edge.Protocol.Modbus;

/// <summary>How one device is asked.</summary>
/// <param name="Timeout">From the last byte sent until the whole answer, for each try.</param>
/// <param name="Retries">Further tries after silence or garbage; an exception is an answer and is not retried.</param>
/// <param name="Delay">Least time between the end of the exchange before, of any unit, and this device's request. Slow devices need it.</param>
public sealed record ModbusTiming(TimeSpan Timeout, int Retries = 0, TimeSpan Delay = default);

/// <summary>The master of one line, for all units on it. Requests go out one after another, in the order they came; a retry goes behind those
/// that wait. So a silent unit delays another request by its time-out at most (<see cref="UnitRest"/> makes that rare). The line is opened when first
/// needed and again after it broke. Calls may come from any thread.</summary>
public sealed class ModbusMaster : IDisposable
{
    /// <summary>Requests that may wait for the line; a further one fails as <see cref="ModbusLinkFault.Held"/>.</summary>
    public const int WaitingMax = 4096;

    // What slaves get to obey a broadcast before the next request (Modbus over Serial Line V1.02 §2.4.1: 100 to 200 ms).
    private static readonly TimeSpan s_turnRound = TimeSpan.FromMilliseconds(100);

    private readonly ModbusLineSettings _settings;
    private readonly TimeProvider _time;
    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly UnitRest _rest = new();
    private readonly LineKeeper _keeper;
    private readonly CancellationTokenSource _disposed = new();
    private readonly TimeSpan _lineSilence;
    private TimeSpan _turnRound;
    private long _lastEnd;
    private bool _talked;

    public ModbusMaster(ModbusLineSettings settings, TimeProvider time, Random random)
    {
        _settings = settings;
        _time = time;
        _lineSilence = settings.SerialLine?.FrameSilence ?? TimeSpan.Zero;
        _keeper = new LineKeeper(settings, time, random, Counters);
    }

    public ModbusLineSettings Settings => _settings;

    public ModbusLineCounters Counters { get; } = new();

    /// <summary>Gets every frame while set.</summary>
    public ModbusTrace? Trace
    {
        get => _keeper.Trace;
        set => _keeper.Trace = value;
    }

    /// <summary>Opens the line if it is not open, to see whether it can be.</summary>
    /// <exception cref="ModbusLinkException">It cannot.</exception>
    public async Task OpenAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        await EnterAsync(cancellationToken);
        try
        {
            await _keeper.OpenAsync(timeout, cancellationToken);
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>Sends a request and waits for its answer; returns the data of a read.</summary>
    /// <exception cref="ModbusPeerException">The slave refused.</exception>
    /// <exception cref="ModbusLinkException">No answer came, after all tries.</exception>
    public async Task<ReadOnlyMemory<byte>> SendAsync(byte unit, ModbusRequest request, ModbusTiming timing, CancellationToken cancellationToken)
    {
        var pdu = ModbusPdu.WriteRequest(request);
        for (var tries = 0; ; tries++)
        {
            await EnterAsync(cancellationToken);
            try
            {
                return await TryAsync(unit, request, pdu, timing, cancellationToken);
            }
            catch (ModbusLinkException e) when (e.Fault != ModbusLinkFault.Held && tries < timing.Retries && !_rest.IsProbe(unit))
            {
                // Behind those that wait, for its next try.
            }
            catch (ModbusLinkException e) when (e.Fault is ModbusLinkFault.Silence or ModbusLinkFault.Garbage)
            {
                _rest.Failed(unit, (long)timing.Timeout.TotalMilliseconds, NowMs(), e.Reason);
                throw;
            }
            finally
            {
                Leave();
            }
        }
    }

    /// <summary>Closes the line; requests that wait fail.</summary>
    public void Dispose()
    {
        _disposed.Cancel();
        _keeper.Dispose();
    }

    private async Task<ReadOnlyMemory<byte>> TryAsync(byte unit, ModbusRequest request, byte[] pdu, ModbusTiming timing, CancellationToken cancellationToken)
    {
        _rest.Ask(unit);
        if (_rest.Remaining(unit, NowMs()) is > 0 and var left)
        {
            Counters.Hold();
            throw new ModbusLinkException(
                ModbusLinkFault.Held, $"{_rest.Reason(unit)}; it is asked again in {left} ms, so that others on the line need not wait", reason: _rest.Reason(unit));
        }

        await _keeper.OpenAsync(timing.Timeout, cancellationToken);
        var least = _lineSilence + _turnRound;
        await PauseAsync(timing.Delay > least ? timing.Delay : least, cancellationToken);
        _turnRound = TimeSpan.Zero;
        try
        {
            var data = await _keeper.ExchangeAsync(unit, request, pdu, timing.Timeout, cancellationToken);
            _rest.Answered(unit);

            // Nobody answers a broadcast: here it is on its way, not through.
            if (unit == 0 && request.IsWrite && _settings.Transport != ModbusTransport.Tcp)
                _turnRound = s_turnRound + (_settings.SerialLine?.TimeOf(pdu.Length + RtuFrame.Overhead) ?? TimeSpan.Zero);
            return data;
        }
        catch (ModbusPeerException)
        {
            _rest.Answered(unit);
            throw;
        }
        finally
        {
            (_lastEnd, _talked) = (_time.GetTimestamp(), true);
        }
    }

    private async ValueTask PauseAsync(TimeSpan least, CancellationToken cancellationToken)
    {
        if (!_talked || least == TimeSpan.Zero)
            return;
        // Timers have whole milliseconds of a coarser clock and may be early by it: what is left after one is waited for too.
        while (least - _time.GetElapsedTime(_lastEnd) is var left && left > TimeSpan.Zero)
            await Task.Delay(TimeSpan.FromMilliseconds(Math.Ceiling(left.TotalMilliseconds)), _time, cancellationToken);
    }

    private async ValueTask EnterAsync(CancellationToken cancellationToken)
    {
        if (Counters.Enter() > WaitingMax)
        {
            Counters.Leave();
            Counters.Hold();
            throw new ModbusLinkException(ModbusLinkFault.Held, $"{WaitingMax} requests wait for {_settings.Key} already; poll less often or use more lines");
        }

        try
        {
            ObjectDisposedException.ThrowIf(_disposed.IsCancellationRequested, this);
            await _turn.WaitAsync(cancellationToken);
        }
        finally
        {
            Counters.Leave();
        }
    }

    private void Leave() => _turn.Release();

    private long NowMs() => _time.GetUtcNow().ToUnixTimeMilliseconds();
}
