using System.Globalization;

namespace Edge.Kubernetes;

/// <summary>A Kubernetes resource quantity (<c>100m</c>, <c>128Mi</c>, <c>1e3</c>), exact to a thousandth; finer fractions are rounded up, as
/// Kubernetes rounds what it cannot keep, and at most 2^63-1 on either side of zero, which larger ones count as there too.</summary>
/// <remarks>Grammar: sign? digits with an optional point, then one of <c>n u m k M G T P E Ki Mi Gi Ti Pi Ei</c> or an exponent <c>e3 E-3</c>.</remarks>
public readonly struct Quantity : IEquatable<Quantity>, IComparable<Quantity>
{
    // apimachinery's maxAllowed, in thousandths. Sums of quantities do not overflow.
    private static readonly Int128 s_max = (Int128)long.MaxValue * 1000;

    private readonly Int128 _milli;

    private Quantity(Int128 milli) => _milli = milli;

    public static Quantity Zero => default;

    /// <summary>In thousandths (millicores for cpu), held within the range of long.</summary>
    public long MilliValue => (long)Int128.Clamp(_milli, long.MinValue, long.MaxValue);

    /// <summary>Whole units, rounded up (bytes for memory), held within the range of long.</summary>
    public long Value => (long)Int128.Clamp(_milli >= 0 ? (_milli + 999) / 1000 : _milli / 1000, long.MinValue, long.MaxValue);

    public bool IsZero => _milli == 0;

    public static Quantity FromMilli(long milli) => new(milli);

    public static Quantity FromValue(long value) => new((Int128)value * 1000);

    /// <summary>Throws <see cref="FormatException"/> with the text and the grammar.</summary>
    public static Quantity Parse(string text)
        => TryParse(text, out var quantity) ? quantity : throw new FormatException($"'{text}' is not a quantity: a number with an optional suffix n u m k M G T P E Ki Mi Gi Ti Pi Ei or exponent, e.g. 100m, 128Mi, 1e3");

    public static bool TryParse(string? text, out Quantity quantity)
    {
        quantity = default;
        if (string.IsNullOrEmpty(text) || text.Length > 64)
            return false;
        var at = 0;
        var negative = text[0] == '-';
        if (text[0] is '+' or '-')
            at++;

        // Digits and where the point stood among them.
        Int128 digits = 0;
        var count = 0;
        var fraction = -1;
        var isHuge = false;
        for (; at < text.Length; at++)
        {
            if (text[at] == '.' && fraction < 0)
            {
                fraction = 0;
                continue;
            }

            if (!char.IsAsciiDigit(text[at]))
                break;
            count++;
            if (digits > Int128.MaxValue / 1_000_000)
            {
                // Beside so many digits the next ones of a fraction are nothing.
                isHuge |= fraction < 0;
                continue;
            }

            digits = (digits * 10) + (text[at] - '0');
            if (fraction >= 0)
                fraction++;
        }

        if (count == 0 || !TrySuffix(text.AsSpan(at), out var multiplier, out var exponent))
            return false;
        if (isHuge && exponent < -9)
            return false; // more than 32 digits with an exponent that makes little of them: nobody writes that
        exponent -= Math.Max(fraction, 0);

        // In thousandths: digits * multiplier * 10^(exponent + 3).
        exponent = Math.Clamp(exponent, -99, 99) + 3;
        if (isHuge)
            (digits, exponent) = (s_max, 0);
        var rounded = false;
        for (; exponent < 0 && digits > Int128.MaxValue / multiplier; exponent++)
        {
            rounded |= digits % 10 != 0;
            digits /= 10;
        }

        digits = digits > s_max / multiplier && exponent >= 0 ? s_max : digits * multiplier;
        for (; exponent > 0 && digits != 0; exponent--)
            digits = digits > s_max / 10 ? s_max : digits * 10;
        for (; exponent < 0 && digits != 0; exponent++)
        {
            rounded |= digits % 10 != 0;
            digits /= 10;
        }

        // Away from zero, so that something asked for never becomes nothing.
        if (rounded)
            digits++;

        digits = Int128.Min(digits, s_max);
        quantity = new Quantity(negative ? -digits : digits);
        return true;
    }

    public int CompareTo(Quantity other) => _milli.CompareTo(other._milli);

    public bool Equals(Quantity other) => _milli == other._milli;

    public override bool Equals(object? obj) => obj is Quantity other && Equals(other);

    public override int GetHashCode() => _milli.GetHashCode();

    /// <summary>Whole units plain, others in thousandths: <c>2</c>, <c>1500m</c>.</summary>
    public override string ToString()
        => _milli % 1000 == 0 ? (_milli / 1000).ToString(CultureInfo.InvariantCulture) : _milli.ToString(CultureInfo.InvariantCulture) + "m";

    public static Quantity Add(Quantity left, Quantity right) => left + right;

    public static Quantity Subtract(Quantity left, Quantity right) => left - right;

    public static Quantity operator +(Quantity left, Quantity right) => new(left._milli + right._milli);

    public static Quantity operator -(Quantity left, Quantity right) => new(left._milli - right._milli);

    public static bool operator ==(Quantity left, Quantity right) => left.Equals(right);

    public static bool operator !=(Quantity left, Quantity right) => !left.Equals(right);

    public static bool operator <(Quantity left, Quantity right) => left._milli < right._milli;

    public static bool operator >(Quantity left, Quantity right) => left._milli > right._milli;

    public static bool operator <=(Quantity left, Quantity right) => left._milli <= right._milli;

    public static bool operator >=(Quantity left, Quantity right) => left._milli >= right._milli;

    // A binary suffix is a multiplier, a decimal one an exponent.
    private static bool TrySuffix(ReadOnlySpan<char> suffix, out Int128 multiplier, out int exponent)
    {
        (multiplier, exponent) = (1, 0);
        switch (suffix)
        {
            case "": return true;
            case "n": exponent = -9; return true;
            case "u": exponent = -6; return true;
            case "m": exponent = -3; return true;
            case "k": exponent = 3; return true;
            case "M": exponent = 6; return true;
            case "G": exponent = 9; return true;
            case "T": exponent = 12; return true;
            case "P": exponent = 15; return true;
            case "E": exponent = 18; return true;
            case "Ki": multiplier = (Int128)1 << 10; return true;
            case "Mi": multiplier = (Int128)1 << 20; return true;
            case "Gi": multiplier = (Int128)1 << 30; return true;
            case "Ti": multiplier = (Int128)1 << 40; return true;
            case "Pi": multiplier = (Int128)1 << 50; return true;
            case "Ei": multiplier = (Int128)1 << 60; return true;
        }

        return suffix[0] is 'e' or 'E'
            && int.TryParse(suffix[1..], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out exponent);
    }
}
