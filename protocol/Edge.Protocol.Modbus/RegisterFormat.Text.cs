namespace Edge.Protocol.Modbus;

/// <summary>Binary coded decimals and ASCII.</summary>
public sealed partial record RegisterFormat
{
    /// <summary>Why <see cref="ByteOrder"/> cannot be used with this type; null when it can.</summary>
    public string? ByteOrderProblem
    {
        get
        {
            if (ByteOrder.Length == 0)
                return null;
            if (Type is RegisterType.Text or RegisterType.Bool)
                return $"a {Type} has no byte order; use isSwap";
            var letters = "ABCDEFGH"[..(2 * RegisterCount)];
            return string.Concat(ByteOrder.Order()) == letters ? null : $"must have each of {letters} once, for {2 * RegisterCount} bytes";
        }
    }

    private string? DecodeBcd(ReadOnlySpan<byte> bytes)
    {
        ulong value = 0;
        foreach (var two in bytes[..(2 * Registers)])
        {
            var (high, low) = (two >> 4, two & 15);
            if (high > 9 || low > 9)
                return null;
            value = (value * 100) + (ulong)((high * 10) + low);
        }

        return Whole(value);
    }

    private void EncodeBcd(ulong value, Span<byte> bytes)
    {
        for (var i = (2 * Registers) - 1; i >= 0; i--)
        {
            bytes[i] = (byte)((value / 10 % 10 << 4) | (value % 10));
            value /= 100;
        }

        if (value > 0)
            throw new OverflowException();
    }

    private string DecodeText(ReadOnlySpan<ushort> registers)
    {
        Span<char> characters = stackalloc char[2 * registers.Length];
        for (var i = 0; i < registers.Length; i++)
        {
            var word = registers[SwapWords ? registers.Length - 1 - i : i];
            (characters[2 * i], characters[(2 * i) + 1]) = SwapBytes ? (Printable(word & 0xFF), Printable(word >> 8)) : (Printable(word >> 8), Printable(word & 0xFF));
        }

        var end = characters.IndexOf('\0');
        return new string((end < 0 ? characters : characters[..end]).TrimEnd(' '));

        // Control characters and what is not ASCII would break logs and twins.
        static char Printable(int one) => one is 0 or (>= 32 and < 127) ? (char)one : '?';
    }

    private bool TryEncodeText(string text, ushort[] registers, out string error)
    {
        error = "";
        if (text.Length > 2 * registers.Length)
            error = $"'{text}' has {text.Length} characters, {registers.Length} registers hold {2 * registers.Length}";
        else if (text.Any(one => one is < ' ' or > '~'))
            error = $"'{text}' has characters that are not printable ASCII";
        if (error.Length > 0)
            return false;
        for (var i = 0; i < registers.Length; i++)
        {
            var (first, second) = (At(2 * i), At((2 * i) + 1));
            registers[SwapWords ? registers.Length - 1 - i : i] = (ushort)(SwapBytes ? second << 8 | first : first << 8 | second);
        }

        return true;

        int At(int index) => index < text.Length ? text[index] : 0;
    }
}
