using System.Buffers.Text;

namespace Edge.Core.Edged.LocalApi;

/// <summary>RFC 3339 times with up to nine digits of fraction, as container logs carry them. Pure.</summary>
internal static class LogTimestamp
{
    private const int SecondsLength = 19; // yyyy-MM-ddTHH:mm:ss
    private const int FractionMax = 9;

    /// <summary>Reads the whole of <paramref name="text"/>; a fraction finer than 100 ns is cut.</summary>
    public static bool TryParse(ReadOnlySpan<byte> text, out DateTimeOffset time)
    {
        time = default;
        if (!TrySplit(text, out var fraction, out var zone) || text[4] != '-' || text[7] != '-' || text[10] is not ((byte)'T' or (byte)'t') || text[13] != ':' || text[16] != ':')
            return false;
        if (!Digits(text[..4], out var year) || !Digits(text[5..7], out var month) || !Digits(text[8..10], out var day)
            || !Digits(text[11..13], out var hour) || !Digits(text[14..16], out var minute) || !Digits(text[17..19], out var second))
            return false;
        if (year < 1 || month is < 1 or > 12 || day < 1 || day > DateTime.DaysInMonth(year, month) || hour > 23 || minute > 59 || second > 59)
            return false;
        long ticks = 0;
        for (var i = 0; i < 7; i++)
        {
            var digit = i < fraction.Length ? fraction[i] - '0' : 0;
            if (digit is < 0 or > 9)
                return false;
            ticks = ticks * 10 + digit;
        }

        var offset = TimeSpan.Zero;
        if (zone is not [(byte)'Z'] and not [(byte)'z'])
        {
            if (zone.Length != 6 || zone[3] != ':' || zone[0] is not ((byte)'+' or (byte)'-') || !Digits(zone[1..3], out var hours) || !Digits(zone[4..6], out var minutes)
                || hours > 14 || minutes > 59)
                return false;
            offset = new TimeSpan(hours, minutes, 0) * (zone[0] == '-' ? -1 : 1);
        }

        var utc = new DateTime(year, month, day, hour, minute, second, DateTimeKind.Utc).Ticks + ticks - offset.Ticks;
        if (utc < DateTime.MinValue.Ticks || utc > DateTime.MaxValue.Ticks)
            return false;
        time = new DateTimeOffset(utc, TimeSpan.Zero);
        return true;
    }

    /// <summary>Writes a time that <see cref="TryParse"/> accepts with exactly nine digits of fraction, as a kubelet prints it; returns the length.</summary>
    /// <param name="target">At least 16 bytes longer than <paramref name="text"/>.</param>
    public static int Normalize(ReadOnlySpan<byte> text, Span<byte> target)
    {
        TrySplit(text, out var fraction, out var zone);
        text[..SecondsLength].CopyTo(target);
        target[SecondsLength] = (byte)'.';
        var digits = target.Slice(SecondsLength + 1, FractionMax);
        digits.Fill((byte)'0');
        fraction[..Math.Min(fraction.Length, FractionMax)].CopyTo(digits);
        zone.CopyTo(target[(SecondsLength + 1 + FractionMax)..]);
        return SecondsLength + 1 + FractionMax + zone.Length;
    }

    private static bool TrySplit(ReadOnlySpan<byte> text, out ReadOnlySpan<byte> fraction, out ReadOnlySpan<byte> zone)
    {
        fraction = default;
        zone = default;
        if (text.Length <= SecondsLength)
            return false;
        var rest = text[SecondsLength..];
        if (rest[0] == '.')
        {
            var length = rest[1..].IndexOfAnyExceptInRange((byte)'0', (byte)'9');
            if (length is < 1 or > 18)
                return false;
            fraction = rest.Slice(1, length);
            rest = rest[(1 + length)..];
        }

        zone = rest;
        return true;
    }

    private static bool Digits(ReadOnlySpan<byte> text, out int value)
        => Utf8Parser.TryParse(text, out value, out var consumed) && consumed == text.Length && text[0] is >= (byte)'0' and <= (byte)'9';
}
