namespace Edge.Protocol.Modbus;

/// <summary>Sees each answer of a slave as a whole frame before it is sent, and gives what is sent instead; empty for silence. For
/// simulators that misbehave on demand.</summary>
public delegate ValueTask<ReadOnlyMemory<byte>> ModbusAnswerFilter(byte unit, ReadOnlyMemory<byte> frame, CancellationToken cancellationToken);

/// <summary>What a slave answers. Pure but for the bank.</summary>
public static class ModbusSlave
{
    /// <summary>The answer to one PDU. A unit that the bank does not serve is what a gateway says of it: exception 11.</summary>
    public static byte[] Answer(IRegisterBank bank, byte unit, ReadOnlyMemory<byte> pdu)
    {
        var function = pdu.Span.IsEmpty ? (byte)0 : pdu.Span[0];
        if (!bank.Serves(unit))
            return ModbusPdu.WriteException(function, ModbusExceptionCode.GatewayTargetFailedToRespond);
        var exception = ModbusPdu.ReadRequest(pdu, out var request);
        byte[] data = [];
        if (exception == ModbusExceptionCode.None)
        {
            switch (request.Function)
            {
                case ModbusFunction.ReadCoils or ModbusFunction.ReadDiscreteInputs:
                    var bits = new bool[request.Count];
                    exception = bank.ReadBits(unit, request.Function == ModbusFunction.ReadDiscreteInputs, request.Address, bits);
                    data = ModbusPdu.FromBits(bits);
                    break;
                case ModbusFunction.ReadHoldingRegisters or ModbusFunction.ReadInputRegisters:
                    var registers = new ushort[request.Count];
                    exception = bank.ReadRegisters(unit, request.Function == ModbusFunction.ReadInputRegisters, request.Address, registers);
                    data = ModbusPdu.FromRegisters(registers);
                    break;
                case ModbusFunction.WriteSingleCoil or ModbusFunction.WriteMultipleCoils:
                    exception = bank.WriteCoils(unit, request.Address, ModbusPdu.ToBits(request.Data.Span, request.Count));
                    break;
                case ModbusFunction.MaskWriteRegister:
                    var masks = ModbusPdu.ToRegisters(request.Data.Span);
                    exception = bank.MaskWriteRegister(unit, request.Address, masks[0], masks[1]);
                    break;
                case ModbusFunction.ReadWriteMultipleRegisters:
                    var read = new ushort[request.Count];
                    exception = bank.ReadWriteRegisters(unit, request.Address, read, request.WriteAddress, ModbusPdu.ToRegisters(request.Data.Span));
                    data = ModbusPdu.FromRegisters(read);
                    break;
                case ModbusFunction.EncapsulatedInterface:
                    exception = ModbusPdu.WriteIdentification(request, bank.Identification(unit), out var identification);
                    if (exception == ModbusExceptionCode.None)
                        return identification;
                    break;
                default:
                    exception = bank.WriteRegisters(unit, request.Address, ModbusPdu.ToRegisters(request.Data.Span));
                    break;
            }
        }

        return exception == ModbusExceptionCode.None ? ModbusPdu.WriteResponse(request, data) : ModbusPdu.WriteException(function, exception);
    }
}

/// <summary>Several slaves behind one address: each unit has tables of its own. Unit 0 on a serial line is all of them.</summary>
public sealed class ModbusUnits(IReadOnlyDictionary<byte, IRegisterBank> units) : IRegisterBank
{
    public bool Serves(byte unit) => unit == 0 || units.ContainsKey(unit);

    public ModbusExceptionCode ReadBits(byte unit, bool inputs, ushort address, Span<bool> bits)
        => units.TryGetValue(unit, out var bank) ? bank.ReadBits(unit, inputs, address, bits) : ModbusExceptionCode.GatewayTargetFailedToRespond;

    public ModbusExceptionCode ReadRegisters(byte unit, bool inputs, ushort address, Span<ushort> registers)
        => units.TryGetValue(unit, out var bank) ? bank.ReadRegisters(unit, inputs, address, registers) : ModbusExceptionCode.GatewayTargetFailedToRespond;

    public ModbusExceptionCode WriteCoils(byte unit, ushort address, ReadOnlySpan<bool> bits)
    {
        var code = ModbusExceptionCode.None;
        foreach (var bank in Addressed(unit))
            code = bank.WriteCoils(unit, address, bits);
        return code;
    }

    public ModbusExceptionCode WriteRegisters(byte unit, ushort address, ReadOnlySpan<ushort> registers)
    {
        var code = ModbusExceptionCode.None;
        foreach (var bank in Addressed(unit))
            code = bank.WriteRegisters(unit, address, registers);
        return code;
    }

    public ModbusExceptionCode MaskWriteRegister(byte unit, ushort address, ushort and, ushort or)
    {
        var code = ModbusExceptionCode.None;
        foreach (var bank in Addressed(unit))
            code = bank.MaskWriteRegister(unit, address, and, or);
        return code;
    }

    public ModbusExceptionCode ReadWriteRegisters(byte unit, ushort readAddress, Span<ushort> read, ushort writeAddress, ReadOnlySpan<ushort> write)
        => units.TryGetValue(unit, out var bank)
            ? bank.ReadWriteRegisters(unit, readAddress, read, writeAddress, write)
            : ModbusExceptionCode.GatewayTargetFailedToRespond;

    public IReadOnlyList<ModbusIdentity> Identification(byte unit) => units.TryGetValue(unit, out var bank) ? bank.Identification(unit) : [];

    private IEnumerable<IRegisterBank> Addressed(byte unit) => unit == 0 ? units.Values : units.TryGetValue(unit, out var bank) ? [bank] : [];
}
