using System.Net.Sockets;

namespace Edge.Protocol.Modbus;

/// <summary>A Modbus TCP master on one connection. Calls may come from any thread; they go out one after another. After a
/// <see cref="ModbusLinkException"/> the client is closed for good and the caller makes a new one.</summary>
public sealed class ModbusTcpClient : IDisposable
{
    private readonly Socket _socket;
    private readonly string _peer;
    private readonly TimeSpan _timeout;
    private readonly TimeProvider _time;
    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly byte[] _buffer = new byte[MbapFrame.SizeMax];
    private ushort _transaction;
    private volatile bool _closed;

    private ModbusTcpClient(Socket socket, string peer, TimeSpan timeout, TimeProvider time)
    {
        _socket = socket;
        _peer = peer;
        _timeout = timeout;
        _time = time;
    }

    /// <summary>False once the connection failed or was disposed.</summary>
    public bool IsOpen => !_closed;

    /// <summary>Connects.</summary>
    /// <param name="timeout">Of the connect, and then of each request until its whole answer.</param>
    /// <exception cref="ModbusLinkException">Refused, unreachable, unknown host or too slow.</exception>
    public static async Task<ModbusTcpClient> ConnectAsync(
        string host, int port, TimeSpan timeout, TimeProvider time, CancellationToken cancellationToken)
    {
        var peer = $"{host}:{port}";
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        using var timer = new CancellationTokenSource(timeout, time);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
        try
        {
            await socket.ConnectAsync(host, port, limit.Token);
            return new ModbusTcpClient(socket, peer, timeout, time);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            socket.Dispose();
            cancellationToken.ThrowIfCancellationRequested();
            throw new ModbusLinkException(
                e is SocketException ? $"cannot connect to {peer}: {e.Message}" : $"cannot connect to {peer}: no answer within {timeout.TotalMilliseconds:0} ms", e);
        }
    }

    /// <summary>Reads coils (function 1) or discrete inputs (function 2).</summary>
    public async Task<bool[]> ReadBitsAsync(byte unit, bool inputs, ushort address, ushort count, CancellationToken cancellationToken)
    {
        var request = new ModbusRequest(inputs ? ModbusFunction.ReadDiscreteInputs : ModbusFunction.ReadCoils, address, count, default);
        return ModbusPdu.ToBits((await SendAsync(unit, request, cancellationToken)).Span, count);
    }

    /// <summary>Reads holding (function 3) or input registers (function 4).</summary>
    public async Task<ushort[]> ReadRegistersAsync(byte unit, bool inputs, ushort address, ushort count, CancellationToken cancellationToken)
    {
        var request = new ModbusRequest(inputs ? ModbusFunction.ReadInputRegisters : ModbusFunction.ReadHoldingRegisters, address, count, default);
        return ModbusPdu.ToRegisters((await SendAsync(unit, request, cancellationToken)).Span);
    }

    /// <summary>Writes one coil (function 5) or several (function 15).</summary>
    public Task WriteCoilsAsync(byte unit, ushort address, bool[] values, CancellationToken cancellationToken)
        => SendAsync(
            unit,
            new ModbusRequest(
                values.Length == 1 ? ModbusFunction.WriteSingleCoil : ModbusFunction.WriteMultipleCoils, address, (ushort)values.Length, ModbusPdu.FromBits(values)),
            cancellationToken);

    /// <summary>Writes one holding register (function 6) or several (function 16), in one request, so a value is never half written.</summary>
    public Task WriteRegistersAsync(byte unit, ushort address, ushort[] values, CancellationToken cancellationToken)
        => SendAsync(
            unit,
            new ModbusRequest(
                values.Length == 1 ? ModbusFunction.WriteSingleRegister : ModbusFunction.WriteMultipleRegisters,
                address,
                (ushort)values.Length,
                ModbusPdu.FromRegisters(values)),
            cancellationToken);

    /// <summary>Sends a request and waits for its answer; returns the data of a read.</summary>
    /// <exception cref="ModbusPeerException">The slave refused.</exception>
    /// <exception cref="ModbusLinkException">No answer in time, or the connection failed; it is closed now.</exception>
    public async Task<ReadOnlyMemory<byte>> SendAsync(byte unit, ModbusRequest request, CancellationToken cancellationToken)
    {
        var pdu = ModbusPdu.WriteRequest(request);
        await _turn.WaitAsync(cancellationToken);
        try
        {
            if (_closed)
                throw new ModbusLinkException($"the connection to {_peer} is closed");
            using var timer = new CancellationTokenSource(_timeout, _time);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
            try
            {
                var transaction = ++_transaction;
                await _socket.SendAsync(MbapFrame.Write(transaction, unit, pdu), limit.Token);
                var answer = await ReceiveAsync(transaction, unit, limit.Token);
                if (!ModbusPdu.TryReadResponse(request, answer, out var data, out var exception, out var error))
                    throw new ModbusLinkException($"{_peer}: {error}");
                if (exception != ModbusExceptionCode.None)
                    throw new ModbusPeerException(exception, $"{request.Function} of {request.Count} at {request.Address}");
                return data;
            }
            catch (ModbusPeerException)
            {
                throw;
            }
            catch (Exception e)
            {
                // A late answer would be taken for the next one's: the connection ends with the first doubt.
                Close();
                cancellationToken.ThrowIfCancellationRequested();
                throw e switch
                {
                    ModbusLinkException => e,
                    OperationCanceledException => new ModbusLinkException($"{_peer} did not answer within {_timeout.TotalMilliseconds:0} ms", e),
                    SocketException or IOException or ObjectDisposedException => new ModbusLinkException($"the connection to {_peer} broke: {e.Message}", e),
                    _ => e,
                };
            }
        }
        finally
        {
            _turn.Release();
        }
    }

    public void Dispose() => Close();

    private void Close()
    {
        _closed = true;
        _socket.Dispose();
    }

    private async Task<ReadOnlyMemory<byte>> ReceiveAsync(ushort transaction, byte unit, CancellationToken cancellationToken)
    {
        var filled = 0;
        while (true)
        {
            switch (MbapFrame.Read(_buffer.AsMemory(0, filled), out var frame, out var consumed, out var error))
            {
                case FrameStatus.Malformed:
                    throw new ModbusLinkException($"{_peer} sent no Modbus TCP: {error}");
                case FrameStatus.Complete:
                    if (frame.TransactionId != transaction || frame.UnitId != unit || consumed != filled)
                        throw new ModbusLinkException($"{_peer} answered transaction {frame.TransactionId} of unit {frame.UnitId}, expected {transaction} of {unit}");
                    return frame.Pdu.ToArray();
            }

            var read = await _socket.ReceiveAsync(_buffer.AsMemory(filled), cancellationToken);
            if (read == 0)
                throw new ModbusLinkException($"{_peer} closed the connection");
            filled += read;
        }
    }
}
