using System.Globalization;
using System.Text.RegularExpressions;

namespace Edge.Ctl.Devices;

/// <summary>Stretches of time as people read and write them.</summary>
internal static partial class Ages
{
    /// <summary>An age in its largest unit, as kubectl has it: <c>2s</c>, <c>5m</c>, <c>3h</c>, <c>12d</c>. What is ahead of now is <c>0s</c>.</summary>
    public static string Short(TimeSpan age)
        => age.TotalSeconds < 120 ? Whole(Math.Max(0, age.TotalSeconds), "s")
            : age.TotalMinutes < 120 ? Whole(age.TotalMinutes, "m")
            : age.TotalHours < 48 ? Whole(age.TotalHours, "h")
            : Whole(age.TotalDays, "d");

    /// <summary>A delay with what matters of it: <c>85ms</c>, <c>1.24s</c>, <c>31.5s</c>, <c>4m</c>. Below zero (two clocks that differ) it has a minus.</summary>
    public static string Precise(TimeSpan span)
    {
        if (span < TimeSpan.Zero)
            return "-" + Precise(span.Negate());
        return span.TotalSeconds switch
        {
            < 1 => span.TotalMilliseconds.ToString("0", CultureInfo.InvariantCulture) + "ms",
            < 10 => span.TotalSeconds.ToString("0.00", CultureInfo.InvariantCulture) + "s",
            < 120 => span.TotalSeconds.ToString("0.0", CultureInfo.InvariantCulture) + "s",
            _ => Short(span),
        };
    }

    /// <summary>Reads <c>500ms</c>, <c>30s</c>, <c>5m</c>, <c>1h30m</c>, <c>2d</c>; null when it is none of these, or not from 1 ms to 365 days.</summary>
    public static TimeSpan? TryRead(string text)
    {
        if (!SpanPattern().IsMatch(text))
            return null;
        var seconds = 0.0;
        foreach (Match part in PartPattern().Matches(text))
        {
            seconds += double.Parse(part.Groups[1].Value, CultureInfo.InvariantCulture) * part.Groups[2].Value switch
            {
                "ms" => 0.001,
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => 86_400,
            };
        }

        return seconds is >= 0.001 and <= 365 * 86_400.0 ? TimeSpan.FromSeconds(seconds) : null;
    }

    private static string Whole(double number, string unit) => ((long)number).ToString(CultureInfo.InvariantCulture) + unit;

    [GeneratedRegex(@"\A([0-9]{1,6}(ms|[smhd]))+\z")]
    private static partial Regex SpanPattern();

    [GeneratedRegex("([0-9]+)(ms|[smhd])")]
    private static partial Regex PartPattern();
}
