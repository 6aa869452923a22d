using Edge.Protocol.Modbus;

namespace Edge.Simulators.Modbus;

/// <summary>What a bad slave does instead of answering.</summary>
public enum ModbusFault
{
    None,

    /// <summary>Says nothing.</summary>
    Silence,

    /// <summary>Answers another transaction (TCP alone; RTU has none).</summary>
    Transaction,

    /// <summary>Answers as another unit.</summary>
    Unit,

    /// <summary>Spoils the CRC (RTU alone).</summary>
    Crc,

    /// <summary>Sends one byte of data less than it says.</summary>
    Length,

    /// <summary>Sends random bytes.</summary>
    Garbage,

    /// <summary>Refuses with exception 4.</summary>
    Exception,
}

/// <summary>Faults on demand, by unit. Safe for many threads.</summary>
/// <param name="rtu">The frames are RTU's.</param>
public sealed class ModbusFaults(bool rtu, Random random)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<byte, (ModbusFault Fault, long Left)> _faults = [];

    /// <summary>The next answers of a unit are bad in this way; <see cref="ModbusFault.None"/> ends it.</summary>
    /// <param name="answers">How many; by default all from now on.</param>
    public void Set(byte unit, ModbusFault fault, long answers = long.MaxValue)
    {
        lock (_gate)
            _faults[unit] = (fault, answers);
    }

    /// <summary>A server's answer filter.</summary>
    public ValueTask<ReadOnlyMemory<byte>> FilterAsync(byte unit, ReadOnlyMemory<byte> frame, CancellationToken cancellationToken)
        => new(Spoil(Take(unit), frame));

    private ModbusFault Take(byte unit)
    {
        lock (_gate)
        {
            if (!_faults.TryGetValue(unit, out var one) || one.Left <= 0)
                return ModbusFault.None;
            _faults[unit] = one with { Left = one.Left - 1 };
            return one.Fault;
        }
    }

    private ReadOnlyMemory<byte> Spoil(ModbusFault fault, ReadOnlyMemory<byte> frame)
    {
        if (fault == ModbusFault.None || (fault == ModbusFault.Transaction && rtu) || (fault == ModbusFault.Crc && !rtu))
            return frame;
        var bytes = frame.ToArray();
        var unit = rtu ? bytes[0] : bytes[6];
        var pdu = rtu ? bytes[1..^2] : bytes[MbapFrame.HeaderSize..];
        var transaction = rtu ? (ushort)0 : (ushort)(bytes[0] << 8 | bytes[1]);
        switch (fault)
        {
            case ModbusFault.Silence:
                return default;
            case ModbusFault.Transaction:
                return MbapFrame.Write((ushort)(transaction + 1000), unit, pdu);
            case ModbusFault.Unit:
                return Frame((byte)(unit ^ 0x40), pdu);
            case ModbusFault.Crc:
                bytes[^1] ^= 0x5A;
                return bytes;
            case ModbusFault.Length:
                return Frame(unit, pdu[..^1]);
            case ModbusFault.Exception:
                return Frame(unit, ModbusPdu.WriteException(pdu[0], ModbusExceptionCode.SlaveDeviceFailure));
            default:
                lock (_gate)
                    random.NextBytes(bytes);

                // No frame of Modbus TCP: its protocol identifier is 0.
                bytes[2] |= 1;
                return bytes;
        }

        ReadOnlyMemory<byte> Frame(byte from, byte[] body) => rtu ? RtuFrame.Write(from, body) : MbapFrame.Write(transaction, from, body);
    }
}
