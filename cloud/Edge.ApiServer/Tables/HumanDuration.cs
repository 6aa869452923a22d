using System.Globalization;

namespace Edge.ApiServer.Tables;

/// <summary>Ages as <c>kubectl get</c> shows them: two units at most, coarser the older.</summary>
internal static class HumanDuration
{
    /// <summary>The age of an RFC 3339 time; <c>&lt;unknown&gt;</c> when it is absent or unreadable.</summary>
    public static string Since(string time, DateTimeOffset now)
        => DateTimeOffset.TryParse(time, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var then) ? Format(now - then) : "<unknown>";

    /// <summary><c>45s</c>, <c>3m5s</c>, <c>25m</c>, <c>4h10m</c>, <c>30h</c>, <c>3d4h</c>, <c>90d</c>, <c>2y34d</c>, <c>9y</c>.</summary>
    public static string Format(TimeSpan age)
    {
        // A clock that is a second behind is tolerated.
        var seconds = (long)Math.Truncate(age.TotalSeconds);
        if (seconds < -1)
            return "<invalid>";
        if (seconds < 0)
            return "0s";
        var (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        return seconds switch
        {
            < 60 * 2 => $"{seconds}s",
            < 60 * 10 => Two(minutes, "m", seconds % 60, "s"),
            < 3600 * 3 => $"{minutes}m",
            < 3600 * 8 => Two(hours, "h", minutes % 60, "m"),
            < 3600 * 48 => $"{hours}h",
            < 86_400 * 8 => Two(days, "d", hours % 24, "h"),
            < 86_400L * 365 * 2 => $"{days}d",
            < 86_400L * 365 * 8 => Two(days / 365, "y", days % 365, "d"),
            _ => $"{days / 365}y",
        };
    }

    private static string Two(long first, string unit, long second, string smaller) => second == 0 ? $"{first}{unit}" : $"{first}{unit}{second}{smaller}";
}
