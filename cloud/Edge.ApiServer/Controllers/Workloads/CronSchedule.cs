using System.Globalization;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>A cron schedule of five fields (minute, hour, day of month, month, day of week), or <c>@hourly</c> and the like, or <c>@every 1h30m</c>:
/// what robfig/cron's ParseStandard reads. Immutable.</summary>
internal sealed class CronSchedule
{
    // A schedule such as 30 February never comes; five years cover every leap day.
    private const int DaysMax = 366 * 5;
    private static readonly string[] s_months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    private static readonly string[] s_days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

    private readonly ulong _minutes;
    private readonly ulong _hours;
    private readonly ulong _days;
    private readonly ulong _months;
    private readonly ulong _weekdays;
    private readonly bool _anyDay;
    private readonly bool _anyWeekday;
    private readonly TimeSpan _every;

    private CronSchedule(TimeSpan every) => _every = every;

    private CronSchedule(string[] fields)
    {
        _minutes = Bits(fields[0], 0, 59, []);
        _hours = Bits(fields[1], 0, 23, []);
        _days = Bits(fields[2], 1, 31, []);
        _months = Bits(fields[3], 1, 12, s_months);
        _weekdays = Bits(fields[4], 0, 6, s_days);
        _anyDay = IsAny(fields[2]);
        _anyWeekday = IsAny(fields[4]);
    }

    /// <param name="text">The schedule.</param>
    /// <param name="schedule">The result.</param>
    /// <param name="fault">What is wrong with it, for the one who wrote it.</param>
    public static bool TryParse(string text, out CronSchedule schedule, out string fault)
    {
        fault = "";
        schedule = new CronSchedule(TimeSpan.FromMinutes(1));
        try
        {
            schedule = Parse(text.Trim());
            return true;
        }
        catch (FormatException e)
        {
            fault = e.Message;
            return false;
        }
    }

    /// <summary>The first time after <paramref name="after"/>, by the clock of <paramref name="zone"/>; null when there is none within five years.
    /// A time that the zone skips in spring does not come; one that it has twice in autumn comes once, at its first.</summary>
    public DateTimeOffset? Next(DateTimeOffset after, TimeZoneInfo zone)
    {
        if (_every > TimeSpan.Zero)
            return new DateTimeOffset(after.Ticks - (after.Ticks % TimeSpan.TicksPerSecond), after.Offset) + _every;
        var local = TimeZoneInfo.ConvertTime(after, zone).DateTime;
        var day = local.Date;
        for (var i = 0; i < DaysMax; i++, day = day.AddDays(1))
        {
            if (!MatchesDay(day))
                continue;
            for (var hour = 0; hour < 24; hour++)
            {
                if ((_hours & (1UL << hour)) == 0)
                    continue;
                for (var minute = 0; minute < 60; minute++)
                {
                    var candidate = day.AddMinutes((hour * 60) + minute);
                    if ((_minutes & (1UL << minute)) == 0 || candidate < local.AddDays(-1) || zone.IsInvalidTime(candidate))
                        continue;
                    var offset = zone.IsAmbiguousTime(candidate) ? zone.GetAmbiguousTimeOffsets(candidate).Max() : zone.GetUtcOffset(candidate);
                    var at = new DateTimeOffset(candidate, offset);
                    if (at > after)
                        return at.ToUniversalTime();
                }
            }
        }

        return null;
    }

    private bool MatchesDay(DateTime day)
    {
        if ((_months & (1UL << day.Month)) == 0)
            return false;
        var (byDay, byWeekday) = ((_days & (1UL << day.Day)) != 0, (_weekdays & (1UL << (int)day.DayOfWeek)) != 0);
        return _anyDay || _anyWeekday ? byDay && byWeekday : byDay || byWeekday;
    }

    private static CronSchedule Parse(string text)
    {
        switch (text)
        {
            case "@yearly" or "@annually":
                return new CronSchedule(["0", "0", "1", "1", "*"]);
            case "@monthly":
                return new CronSchedule(["0", "0", "1", "*", "*"]);
            case "@weekly":
                return new CronSchedule(["0", "0", "*", "*", "0"]);
            case "@daily" or "@midnight":
                return new CronSchedule(["0", "0", "*", "*", "*"]);
            case "@hourly":
                return new CronSchedule(["0", "*", "*", "*", "*"]);
        }

        if (text.StartsWith("@every ", StringComparison.Ordinal))
            return new CronSchedule(Duration(text[7..].Trim()));
        if (text.StartsWith('@'))
            throw new FormatException($"unrecognized descriptor: {text}");
        var fields = text.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
        return fields.Length == 5 ? new CronSchedule(fields) : throw new FormatException($"expected exactly 5 fields, found {fields.Length}: [{text}]");
    }

    // Go's duration: numbers with h, m and s.
    private static TimeSpan Duration(string text)
    {
        var total = TimeSpan.Zero;
        var start = 0;
        for (var i = 0; i < text.Length; i++)
        {
            if (char.IsAsciiDigit(text[i]))
                continue;
            if (i - start is 0 or > 7 || text[i] is not ('h' or 'm' or 's'))
                throw new FormatException($"failed to parse duration @every {text}");
            var number = int.Parse(text.AsSpan(start, i - start), CultureInfo.InvariantCulture);
            total += text[i] switch { 'h' => TimeSpan.FromHours(number), 'm' => TimeSpan.FromMinutes(number), _ => TimeSpan.FromSeconds(number) };
            start = i + 1;
        }

        return start == text.Length && total >= TimeSpan.FromSeconds(1) ? total : throw new FormatException($"failed to parse duration @every {text}");
    }

    // robfig's star bit: a step above 1 clears it, so that */2 beside a weekday means either.
    private static bool IsAny(string field) => field.Split(',').Any(part => part.Split('/') is ["*" or "?", .. var step] && (step.Length == 0 || Number(step[0], 0, []) == 1));

    private static ulong Bits(string field, int low, int high, string[] names)
    {
        var bits = 0UL;
        foreach (var part in field.Split(','))
        {
            var slash = part.Split('/');
            var range = slash[0].Split('-');
            if (slash.Length > 2 || range.Length > 2)
                throw new FormatException($"too many hyphens or slashes: {part}");
            var all = slash[0] is "*" or "?";
            var first = all ? low : Number(range[0], low, names);
            var last = all ? high : range.Length == 2 ? Number(range[1], low, names) : slash.Length == 2 ? high : first;
            var step = slash.Length == 2 ? Number(slash[1], 0, []) : 1;
            if (first < low)
                throw new FormatException($"beginning of range ({first}) below minimum ({low}): {part}");
            if (last > high)
                throw new FormatException($"end of range ({last}) above maximum ({high}): {part}");
            if (first > last)
                throw new FormatException($"beginning of range ({first}) beyond end of range ({last}): {part}");
            if (step == 0)
                throw new FormatException($"step of range should be a positive number: {part}");
            for (var i = first; i <= last; i += step)
                bits |= 1UL << i;
        }

        return bits;
    }

    private static int Number(string text, int low, string[] names)
    {
        var named = Array.IndexOf(names, text.ToLowerInvariant());
        if (named >= 0)
            return named + low;
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number < 10_000 ? number : throw new FormatException($"failed to parse int from {text}");
    }
}
