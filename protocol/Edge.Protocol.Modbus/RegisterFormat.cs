using System.Buffers.Binary;
using System.Globalization;

namespace Edge.Protocol.Modbus;

/// <summary>How a number lies in registers.</summary>
public enum RegisterType
{
    Bool,
    Int16,
    UInt16,
    Int32,
    UInt32,
    Int64,
    UInt64,
    Float,
    Double,

    /// <summary>Binary coded decimal, four digits a register, unsigned.</summary>
    Bcd,

    /// <summary>ASCII, two characters a register, padded with NUL or spaces.</summary>
    Text,
}

/// <summary>Turns registers into the text of a value and back. <c>value = raw * Scale + Offset</c>.</summary>
/// <param name="Type">Form of the raw number; Bool takes one bit of one register.</param>
/// <param name="SwapBytes">True when each register has its low byte first.</param>
/// <param name="SwapWords">True when the lowest register comes first.</param>
/// <param name="Scale">Factor; not 0.</param>
/// <param name="Offset">Added after scaling.</param>
/// <param name="Bit">For Bool, the bit of the register, 0 (lowest) to 15.</param>
/// <param name="Registers">Registers of a Bcd (1, 2 or 4) or a Text (1 to 123); others have a length of their own.</param>
/// <param name="ByteOrder">Any order of a number's bytes as they come over the wire, A the most significant: <c>CDAB</c>, <c>GHEFCDAB</c>.
/// Takes the place of <paramref name="SwapBytes"/> and <paramref name="SwapWords"/>; empty for those.</param>
/// <remarks>Numbers are scaled in decimal arithmetic, so 215 * 0.1 is exactly 21.5 and every whole number that a register can hold comes
/// back to the same register. Floating-point values are taken in the shortest form that reads back to the same bits.</remarks>
public sealed partial record RegisterFormat(
    RegisterType Type, bool SwapBytes = false, bool SwapWords = false, decimal Scale = 1, decimal Offset = 0, int Bit = 0, int Registers = 1, string ByteOrder = "")
{
    /// <summary>Registers that one value takes.</summary>
    public int RegisterCount => Type switch
    {
        RegisterType.Bool or RegisterType.Int16 or RegisterType.UInt16 => 1,
        RegisterType.Int32 or RegisterType.UInt32 or RegisterType.Float => 2,
        RegisterType.Bcd or RegisterType.Text => Registers,
        _ => 4,
    };

    private bool IsScaled => Scale != 1 || Offset != 0;

    /// <summary>The value's text, or null when the registers hold none (<see cref="TryDecode"/>).</summary>
    /// <param name="registers">Exactly <see cref="RegisterCount"/> registers as read.</param>
    public string? Decode(ReadOnlySpan<ushort> registers) => TryDecode(registers, out var text, out _) ? text : null;

    /// <summary>The value's text: invariant culture, <c>true</c>/<c>false</c> for Bool.</summary>
    /// <param name="registers">Exactly <see cref="RegisterCount"/> registers as read.</param>
    /// <returns>False when the registers hold no value, with the reason: a Bcd with a digit above 9; NaN or an infinity, with which meters say that they have none.</returns>
    public bool TryDecode(ReadOnlySpan<ushort> registers, out string text, out string reason)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(registers.Length, RegisterCount);
        (text, reason) = ("", "");
        if (Type == RegisterType.Text)
        {
            text = DecodeText(registers);
            return true;
        }

        Span<byte> bytes = stackalloc byte[8];
        Order(registers, bytes);
        if (Type is RegisterType.Float or RegisterType.Double && RealOf(bytes) is var real && !double.IsFinite(real))
        {
            reason = $"holds {(double.IsNaN(real) ? "NaN" : "an infinity")}, which is no value";
            return false;
        }

        if (Type == RegisterType.Bcd && DecodeBcd(bytes) is null)
        {
            reason = "holds no bcd: a digit is above 9";
            return false;
        }

        text = Type switch
        {
            RegisterType.Bool => (BinaryPrimitives.ReadUInt16BigEndian(bytes) >> Bit & 1) == 1 ? "true" : "false",
            RegisterType.Int16 => Whole(BinaryPrimitives.ReadInt16BigEndian(bytes)),
            RegisterType.UInt16 => Whole(BinaryPrimitives.ReadUInt16BigEndian(bytes)),
            RegisterType.Int32 => Whole(BinaryPrimitives.ReadInt32BigEndian(bytes)),
            RegisterType.UInt32 => Whole(BinaryPrimitives.ReadUInt32BigEndian(bytes)),
            RegisterType.Int64 => Whole(BinaryPrimitives.ReadInt64BigEndian(bytes)),
            RegisterType.UInt64 => Whole(BinaryPrimitives.ReadUInt64BigEndian(bytes)),
            RegisterType.Bcd => DecodeBcd(bytes)!,
            RegisterType.Float => Real(BinaryPrimitives.ReadSingleBigEndian(bytes).ToString("R", CultureInfo.InvariantCulture)),
            _ => Real(BinaryPrimitives.ReadDoubleBigEndian(bytes).ToString("R", CultureInfo.InvariantCulture)),
        };
        return true;
    }

    private double RealOf(ReadOnlySpan<byte> bytes) => Type == RegisterType.Float ? BinaryPrimitives.ReadSingleBigEndian(bytes) : BinaryPrimitives.ReadDoubleBigEndian(bytes);

    /// <summary>The registers for a value's text. Bool ignores <see cref="Bit"/> here: see <see cref="EncodeBit"/>.</summary>
    /// <returns>False with the reason when the text is no number or does not fit the type.</returns>
    public bool TryEncode(string text, out ushort[] registers, out string error)
    {
        var given = text;
        registers = new ushort[RegisterCount];
        error = "";
        if (Type == RegisterType.Text)
            return TryEncodeText(text, registers, out error);
        Span<byte> bytes = stackalloc byte[8];
        switch (Type)
        {
            case RegisterType.Bool:
                if (!TryParseBool(text, out var flag, out error))
                    return false;
                BinaryPrimitives.WriteUInt16BigEndian(bytes, flag ? (ushort)1 : (ushort)0);
                break;
            case RegisterType.Float or RegisterType.Double:
                if (!double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var real))
                {
                    error = $"'{text}' is not a number";
                    return false;
                }

                if (double.IsFinite(real) && IsScaled)
                    text = Unscaled(text, real);

                // A float is parsed as such: going through double would round twice.
                var single = Type == RegisterType.Float ? float.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture) : 0;
                var wide = double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture);
                if (!double.IsFinite(wide) || !float.IsFinite(single))
                {
                    error = $"{given} does not fit {(Type == RegisterType.Float ? "a float" : "a double")} register{(IsScaled ? $" with scale {Scale.ToString(CultureInfo.InvariantCulture)}" : "")}";
                    return false;
                }

                if (Type == RegisterType.Double)
                    BinaryPrimitives.WriteDoubleBigEndian(bytes, wide);
                else
                    BinaryPrimitives.WriteSingleBigEndian(bytes, single);
                break;
            default:
                if (!TryWhole(text, bytes, out error))
                    return false;
                break;
        }

        Disorder(bytes, registers);
        return true;
    }

    /// <summary>The register with <see cref="Bit"/> set or cleared and the others as they were.</summary>
    public ushort EncodeBit(ushort current, bool value)
    {
        var word = SwapBytes ? BinaryPrimitives.ReverseEndianness(current) : current;
        word = (ushort)(value ? word | 1 << Bit : word & ~(1 << Bit));
        return SwapBytes ? BinaryPrimitives.ReverseEndianness(word) : word;
    }

    /// <summary>Reads <c>true</c>, <c>false</c>, <c>1</c>, <c>0</c>, <c>on</c> or <c>off</c> in any case.</summary>
    public static bool TryParseBool(string text, out bool value, out string error)
    {
        bool? parsed = text.Trim().ToLowerInvariant() switch
        {
            "true" or "1" or "on" => true,
            "false" or "0" or "off" => false,
            _ => null,
        };
        value = parsed ?? false;
        error = parsed is null ? $"'{text}' is neither true nor false" : "";
        return parsed is not null;
    }

    // From the order of the wire to big-endian, most significant byte first.
    private void Order(ReadOnlySpan<ushort> registers, Span<byte> bytes)
    {
        if (ByteOrder.Length == 0)
        {
            for (var i = 0; i < registers.Length; i++)
            {
                var word = registers[SwapWords ? registers.Length - 1 - i : i];
                BinaryPrimitives.WriteUInt16BigEndian(bytes[(2 * i)..], SwapBytes ? BinaryPrimitives.ReverseEndianness(word) : word);
            }

            return;
        }

        for (var i = 0; i < ByteOrder.Length; i++)
            bytes[ByteOrder[i] - 'A'] = (byte)(i % 2 == 0 ? registers[i / 2] >> 8 : registers[i / 2]);
    }

    private void Disorder(ReadOnlySpan<byte> bytes, Span<ushort> registers)
    {
        if (ByteOrder.Length == 0)
        {
            for (var i = 0; i < registers.Length; i++)
            {
                var word = BinaryPrimitives.ReadUInt16BigEndian(bytes[(2 * i)..]);
                registers[SwapWords ? registers.Length - 1 - i : i] = SwapBytes ? BinaryPrimitives.ReverseEndianness(word) : word;
            }

            return;
        }

        for (var i = 0; i < registers.Length; i++)
            registers[i] = (ushort)(bytes[ByteOrder[2 * i] - 'A'] << 8 | bytes[ByteOrder[(2 * i) + 1] - 'A']);
    }

    private string Whole(decimal raw)
    {
        if (!IsScaled)
            return raw.ToString(CultureInfo.InvariantCulture);
        try
        {
            return Plain((raw * Scale) + Offset);
        }
        catch (OverflowException)
        {
            // A scale beyond what decimal holds: the nearest double is the best there is.
            return (((double)raw * (double)Scale) + (double)Offset).ToString("R", CultureInfo.InvariantCulture);
        }
    }

    // Scales the shortest text of a floating-point number.
    private string Real(string raw)
    {
        if (!IsScaled)
            return raw;
        var real = double.Parse(raw, CultureInfo.InvariantCulture);
        if (IsForDecimal(real))
            return Plain((decimal.Parse(raw, NumberStyles.Float, CultureInfo.InvariantCulture) * Scale) + Offset);
        var scaled = (real * (double)Scale) + (double)Offset;
        return Type == RegisterType.Float && float.IsFinite((float)scaled)
            ? ((float)scaled).ToString("R", CultureInfo.InvariantCulture)
            : scaled.ToString("R", CultureInfo.InvariantCulture);
    }

    private string Unscaled(string text, double real)
        => IsForDecimal(real) && decimal.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var exact) && Math.Abs(Scale) > 1e-9m
            ? Plain((exact - Offset) / Scale)
            : ((real - (double)Offset) / (double)Scale).ToString("R", CultureInfo.InvariantCulture);

    // Numbers whose digits decimal holds, and those of their product with a common scale; other ones are scaled as doubles.
    private bool IsForDecimal(double real) => real == 0 || (Math.Abs(real) is > 1e-9 and < 1e15 && Math.Abs(Scale) < 1e9m && Math.Abs(Offset) < 1e15m);

    private static string Plain(decimal value)
    {
        var text = value.ToString(CultureInfo.InvariantCulture);
        return text.Contains('.', StringComparison.Ordinal) ? text.TrimEnd('0').TrimEnd('.') : text;
    }

    private bool TryWhole(string text, Span<byte> bytes, out string error)
    {
        if (!decimal.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var value))
        {
            error = $"'{text}' is not a number, or too large";
            return false;
        }

        try
        {
            var raw = decimal.Round((value - Offset) / Scale, MidpointRounding.AwayFromZero);
            switch (Type)
            {
                case RegisterType.Int16: BinaryPrimitives.WriteInt16BigEndian(bytes, checked((short)raw)); break;
                case RegisterType.UInt16: BinaryPrimitives.WriteUInt16BigEndian(bytes, checked((ushort)raw)); break;
                case RegisterType.Int32: BinaryPrimitives.WriteInt32BigEndian(bytes, checked((int)raw)); break;
                case RegisterType.UInt32: BinaryPrimitives.WriteUInt32BigEndian(bytes, checked((uint)raw)); break;
                case RegisterType.Int64: BinaryPrimitives.WriteInt64BigEndian(bytes, checked((long)raw)); break;
                case RegisterType.Bcd: EncodeBcd(checked((ulong)raw), bytes); break;
                default: BinaryPrimitives.WriteUInt64BigEndian(bytes, checked((ulong)raw)); break;
            }
        }
        catch (OverflowException)
        {
            error = $"{text} does not fit an {Type} register with scale {Scale.ToString(CultureInfo.InvariantCulture)}";
            return false;
        }

        error = "";
        return true;
    }
}
