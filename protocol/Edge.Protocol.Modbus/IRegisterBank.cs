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

    /// <summary>False for a unit that is not here: over TCP its requests get GatewayTargetFailedToRespond, on a serial line silence.</summary>
    bool Serves(byte unit) => true;

    /// <summary>Function 22: the register becomes <c>(register AND and) OR (or AND NOT and)</c>. This one is two steps; a bank with a lock does better.</summary>
    ModbusExceptionCode MaskWriteRegister(byte unit, ushort address, ushort and, ushort or)
    {
        Span<ushort> register = stackalloc ushort[1];
        var code = ReadRegisters(unit, inputs: false, address, register);
        if (code != ModbusExceptionCode.None)
            return code;
        register[0] = (ushort)((register[0] & and) | (or & ~and));
        return WriteRegisters(unit, address, register);
    }

    /// <summary>Function 23: writes, then reads.</summary>
    ModbusExceptionCode ReadWriteRegisters(byte unit, ushort readAddress, Span<ushort> read, ushort writeAddress, ReadOnlySpan<ushort> write)
    {
        var code = WriteRegisters(unit, writeAddress, write);
        return code == ModbusExceptionCode.None ? ReadRegisters(unit, inputs: false, readAddress, read) : code;
    }

    /// <summary>What function 43/14 tells; empty where the slave does not have it.</summary>
    IReadOnlyList<ModbusIdentity> Identification(byte unit) => [];
}

/// <summary>A slave's tables in memory, each of a fixed size; an address outside is an IllegalDataAddress.</summary>
public sealed class MemoryRegisterBank(int coils, int discreteInputs, int holdingRegisters, int inputRegisters) : IRegisterBank
{
    /// <summary>What function 43/14 tells.</summary>
    public IReadOnlyList<ModbusIdentity> Identity { get; init; } = [];

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

    public ModbusExceptionCode MaskWriteRegister(byte unit, ushort address, ushort and, ushort or)
    {
        lock (_gate)
        {
            if (address >= _holding.Length)
                return ModbusExceptionCode.IllegalDataAddress;
            _holding[address] = (ushort)((_holding[address] & and) | (or & ~and));
            return ModbusExceptionCode.None;
        }
    }

    public ModbusExceptionCode ReadWriteRegisters(byte unit, ushort readAddress, Span<ushort> read, ushort writeAddress, ReadOnlySpan<ushort> write)
    {
        lock (_gate)
        {
            // Both or nothing.
            if (readAddress + read.Length > _holding.Length)
                return ModbusExceptionCode.IllegalDataAddress;
            var code = Store(write, _holding, writeAddress);
            return code == ModbusExceptionCode.None ? Copy<ushort>(_holding, readAddress, read) : code;
        }
    }

    public IReadOnlyList<ModbusIdentity> Identification(byte unit) => Identity;

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
