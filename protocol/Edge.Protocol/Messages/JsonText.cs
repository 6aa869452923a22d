using System.Globalization;
using System.Text.Unicode;

namespace Edge.Protocol.Messages;

/// <summary>What JSON readers here take for granted and only find out later, by an exception at the first access to a string.</summary>
public static class JsonText
{
    /// <summary>True when <paramref name="utf8"/> is valid UTF-8 and each escaped surrogate (<c>\ud83d\ude00</c>) stands in a pair. Says nothing about its being JSON.</summary>
    public static bool IsUnicode(ReadOnlySpan<byte> utf8)
    {
        if (!Utf8.IsValid(utf8))
            return false;
        while (utf8.IndexOf((byte)'\\') is >= 0 and var at)
        {
            utf8 = utf8[at..];
            if (!TryEscape(utf8, out var unit))
            {
                utf8 = utf8[Math.Min(2, utf8.Length)..]; // another escape, \\ too
                continue;
            }

            utf8 = utf8[6..];
            if (char.IsLowSurrogate(unit))
                return false;
            if (!char.IsHighSurrogate(unit))
                continue;
            if (!TryEscape(utf8, out unit) || !char.IsLowSurrogate(unit))
                return false;
            utf8 = utf8[6..];
        }

        return true;
    }

    private static bool TryEscape(ReadOnlySpan<byte> utf8, out char unit)
    {
        unit = '\0';
        if (utf8.Length < 6 || utf8[0] != (byte)'\\' || utf8[1] != (byte)'u' || !ushort.TryParse(utf8[2..6], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
            return false;
        unit = (char)value;
        return true;
    }
}
