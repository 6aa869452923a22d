namespace Edge.Protocol.Modbus;

/// <summary>The four tables of a slave. Called from the server's connections, several at once; an implementation locks for itself.</summary>
public interface IRegisterBank
{
    /// <summary>Reads <c>bits.Length</c> coils, or discrete inputs.</summary>
    /// <returns>None, or the exception to answer with.</returns>
    ModbusExceptionCode ReadBits(byte unit, bool inputs, ushort address, Span<bool> bits);

    /// <summary>Reads <c>registers.Length</c> holding registers, or input registers.</summary>
    ModbusExceptionCode ReadRegisters(byte unit, bool inputs, ushort address, Span<ushort> registers);

    ModbusExceptionCode WriteCoils(byte unit, ushort address, ReadOnlySpan<bool> bits);

    ModbusExceptionCode WriteRegisters(byte unit, ushort address, ReadOnlySpan<ushort> registers);
}

/// <summary>A slave's tables in memory, each of a fixed size; an address outside is an IllegalDataAddress.</summary>
public sealed class MemoryRegisterBank(int coils, int discreteInputs, int holdingRegisters, int inputRegisters) : IRegisterBank
{
    private readonly Lock _gate = new();
    private readonly bool[] _coils = new bool[coils];
    private readonly bool[] _discreteInputs = new bool[discreteInputs];
    private readonly ushort[] _holding = new ushort[holdingRegisters];
    private readonly ushort[] _input = new ushort[inputRegisters];

    /// <summary>Runs <paramref name="change"/> with the tables (coils, discrete inputs, holding, input) while no request runs.</summary>
    public void Access(Action<bool[], bool[], ushort[], ushort[]> change)
    {
        lock (_gate)
            change(_coils, _discreteInputs, _holding, _input);
    }

    public ModbusExceptionCode ReadBits(byte unit, bool inputs, ushort address, Span<bool> bits)
        => Copy<bool>(inputs ? _discreteInputs : _coils, address, bits);

    public ModbusExceptionCode ReadRegisters(byte unit, bool inputs, ushort address, Span<ushort> registers)
        => Copy<ushort>(inputs ? _input : _holding, address, registers);

    public ModbusExceptionCode WriteCoils(byte unit, ushort address, ReadOnlySpan<bool> bits) => Store(bits, _coils, address);

    public ModbusExceptionCode WriteRegisters(byte unit, ushort address, ReadOnlySpan<ushort> registers) => Store(registers, _holding, address);

    private ModbusExceptionCode Copy<T>(T[] table, ushort address, Span<T> values)
    {
        lock (_gate)
        {
            if (address + values.Length > table.Length)
                return ModbusExceptionCode.IllegalDataAddress;
            table.AsSpan(address, values.Length).CopyTo(values);
            return ModbusExceptionCode.None;
        }
    }

    private ModbusExceptionCode Store<T>(ReadOnlySpan<T> values, T[] table, ushort address)
    {
        lock (_gate)
        {
            if (address + values.Length > table.Length)
                return ModbusExceptionCode.IllegalDataAddress;
            values.CopyTo(table.AsSpan(address));
            return ModbusExceptionCode.None;
        }
    }
}
