namespace Edge.Protocol.Modbus;

/// <summary>One slave on a line, with typed requests. All throw as <see cref="ModbusMaster.SendAsync"/> does.</summary>
/// <param name="Unit">1 to 247; 0 to all on a serial line (writes only); 0 or 255 for a TCP device itself.</param>
/// <param name="WriteMultiple">Single values, too, are written by functions 15 and 16: for slaves that lack 5 and 6.</param>
public sealed record ModbusUnit(ModbusMaster Master, byte Unit, ModbusTiming Timing, bool WriteMultiple = false)
{
    /// <summary>Reads coils (function 1) or discrete inputs (function 2); at most 2000.</summary>
    public async Task<bool[]> ReadBitsAsync(bool inputs, ushort address, ushort count, CancellationToken cancellationToken)
    {
        var request = new ModbusRequest(inputs ? ModbusFunction.ReadDiscreteInputs : ModbusFunction.ReadCoils, address, count, default);
        return ModbusPdu.ToBits((await SendAsync(request, cancellationToken)).Span, count);
    }

    /// <summary>Reads holding (function 3) or input registers (function 4); at most 125.</summary>
    public async Task<ushort[]> ReadRegistersAsync(bool inputs, ushort address, ushort count, CancellationToken cancellationToken)
    {
        var request = new ModbusRequest(inputs ? ModbusFunction.ReadInputRegisters : ModbusFunction.ReadHoldingRegisters, address, count, default);
        return ModbusPdu.ToRegisters((await SendAsync(request, cancellationToken)).Span);
    }

    /// <summary>Writes one coil (function 5) or several (function 15); at most 1968.</summary>
    public Task WriteCoilsAsync(ushort address, bool[] values, CancellationToken cancellationToken)
        => SendAsync(
            new ModbusRequest(
                values.Length == 1 && !WriteMultiple ? ModbusFunction.WriteSingleCoil : ModbusFunction.WriteMultipleCoils, address, (ushort)values.Length, ModbusPdu.FromBits(values)),
            cancellationToken);

    /// <summary>Writes one holding register (function 6) or several (function 16; at most 123), in one request, so a value is never half written.</summary>
    public Task WriteRegistersAsync(ushort address, ushort[] values, CancellationToken cancellationToken)
        => SendAsync(
            new ModbusRequest(
                values.Length == 1 && !WriteMultiple ? ModbusFunction.WriteSingleRegister : ModbusFunction.WriteMultipleRegisters,
                address,
                (ushort)values.Length,
                ModbusPdu.FromRegisters(values)),
            cancellationToken);

    /// <summary>Changes the bits of a holding register that <paramref name="and"/> leaves out (function 22), in one step at the slave.</summary>
    public Task MaskWriteAsync(ushort address, ushort and, ushort or, CancellationToken cancellationToken)
        => SendAsync(ModbusRequest.MaskWrite(address, and, or), cancellationToken);

    /// <summary>Writes holding registers, then reads some, in one request (function 23).</summary>
    public async Task<ushort[]> ReadWriteRegistersAsync(
        ushort readAddress, ushort readCount, ushort writeAddress, ushort[] values, CancellationToken cancellationToken)
        => ModbusPdu.ToRegisters((await SendAsync(ModbusRequest.ReadWrite(readAddress, readCount, writeAddress, values), cancellationToken)).Span);

    /// <summary>Reads the device's identification (function 43/14), over several answers where one does not hold it.</summary>
    /// <param name="code">1 basic, 2 regular, 3 extended.</param>
    public async Task<IReadOnlyList<ModbusIdentity>> ReadIdentificationAsync(byte code, CancellationToken cancellationToken)
    {
        var objects = new List<ModbusIdentity>();
        byte? next = 0;

        // An object's id is a byte: a slave that says "more follows" 256 times goes in a circle.
        for (var i = 0; next is { } first && i < 256; i++)
        {
            var data = await SendAsync(ModbusRequest.Identification(code, first), cancellationToken);
            if (!ModbusPdu.TryReadIdentification(data.Span, objects, out next, out var error))
                throw new ModbusLinkException(ModbusLinkFault.Garbage, $"{Master.Settings.Key} unit {Unit}: {error}");
        }

        return objects;
    }

    private Task<ReadOnlyMemory<byte>> SendAsync(ModbusRequest request, CancellationToken cancellationToken)
        => Master.SendAsync(Unit, request, Timing, cancellationToken);
}
