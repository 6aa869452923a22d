using Edge.Protocol.Modbus.Lines;

namespace Edge.Protocol.Modbus;

/// <summary>A slave, or several, on a line of RTU frames. On a shared line it also hears other slaves and noise, and is silent about them.</summary>
public static class RtuSlave
{
    // Requests come whole: what is incomplete after such a pause is none.
    private static readonly TimeSpan s_gap = TimeSpan.FromMilliseconds(50);

    /// <summary>Serves until cancelled, or until the other end closes.</summary>
    /// <exception cref="IOException">The line broke.</exception>
    public static async Task ServeAsync(
        IModbusLine line, IRegisterBank bank, ModbusAnswerFilter? filter, TimeProvider time, CancellationToken cancellationToken)
    {
        var buffer = new byte[2 * RtuFrame.SizeMax];
        var filled = 0;
        while (true)
        {
            using var gap = new CancellationTokenSource(filled > 0 ? s_gap : Timeout.InfiniteTimeSpan, time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(gap.Token, cancellationToken);
            try
            {
                var read = await line.ReadAsync(buffer.AsMemory(filled), either.Token);
                if (read == 0)
                    return;
                filled += read;
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                // The silence ends a frame whose length its function does not tell, to be answered with an exception; anything else is rubbish.
                if (RtuFrame.TryRead(buffer.AsMemory(0, filled), out var unknown, out _) && ModbusPdu.CountMax((ModbusFunction)unknown.Pdu.Span[0]) == 0
                    && unknown.Pdu.Span[0] < 0x80)
                {
                    await AnswerAsync(line, bank, filter, unknown, cancellationToken);
                }

                filled = 0;
                continue;
            }

            while (RtuScanner.TryFindRequest(buffer.AsSpan(0, filled), out var offset, out var length))
            {
                if (RtuFrame.TryRead(buffer.AsMemory(offset, length), out var frame, out _))
                    await AnswerAsync(line, bank, filter, frame, cancellationToken);
                filled -= offset + length;
                buffer.AsSpan(offset + length, filled).CopyTo(buffer);
            }

            if (filled == buffer.Length)
            {
                // No request is so long: the older half is rubbish for certain.
                filled /= 2;
                buffer.AsSpan(filled).CopyTo(buffer);
            }
        }
    }

    private static async ValueTask AnswerAsync(
        IModbusLine line, IRegisterBank bank, ModbusAnswerFilter? filter, RtuFrame request, CancellationToken cancellationToken)
    {
        if (!bank.Serves(request.SlaveId))
            return;
        var answer = ModbusSlave.Answer(bank, request.SlaveId, request.Pdu);
        if (request.SlaveId == 0)
            return; // a broadcast is obeyed and not answered
        ReadOnlyMemory<byte> frame = RtuFrame.Write(request.SlaveId, answer);
        if (filter is not null)
            frame = await filter(request.SlaveId, frame, cancellationToken);
        await line.WriteAsync(frame, cancellationToken);
    }
}

/// <summary>A slave on a serial line. It serves until disposed; <see cref="Ended"/> tells when the line broke before that.</summary>
public sealed class ModbusSerialServer : IAsyncDisposable
{
    private readonly SerialLine _line;
    private readonly CancellationTokenSource _stop = new();

    private ModbusSerialServer(SerialLine line, IRegisterBank bank, ModbusAnswerFilter? filter, TimeProvider time)
    {
        _line = line;
        Ended = RtuSlave.ServeAsync(line, bank, filter, time, _stop.Token);
    }

    /// <summary>Completes when it serves no longer; with an IOException when the line broke.</summary>
    public Task Ended { get; }

    /// <exception cref="IOException">The line cannot be opened.</exception>
    public static ModbusSerialServer Start(SerialSettings settings, IRegisterBank bank, TimeProvider time, ModbusAnswerFilter? filter = null)
        => new(SerialLine.Open(settings), bank, filter, time);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        try
        {
            await Ended;
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            // Stopped now, or broken before: Ended tells.
        }

        _line.Dispose();
        _stop.Dispose();
    }
}
