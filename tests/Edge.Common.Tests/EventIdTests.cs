using System.Globalization;
using System.Text.RegularExpressions;
using Edge.Local.Processes;

namespace Edge.Common.Tests;

/// <summary>Compares the log events in the sources with docs/events.md.</summary>
[Trait("Category", "Unit")]
public sealed partial class EventIdTests
{
    private static readonly string[] s_rooms = ["cloud", "common", "devices", "edge", "protocol", "simulators"];

    [Fact]
    public void An_event_id_belongs_to_one_event()
    {
        var shared = InSources().GroupBy(one => one.Id).Where(group => group.Count() > 1)
            .Select(group => $"{group.Key}: {string.Join("; ", group.Select(one => $"{one.File} \"{one.Text}\""))}");
        AssertNone(shared);
    }

    [Fact]
    public void Every_event_is_in_the_table_as_it_is_in_the_source()
    {
        var documented = InTable().ToHashSet();
        var missing = InSources().Where(one => !documented.Contains(one.Row)).Select(one => $"{one.File}: the row '{one.Row}' is not in docs/events.md");
        AssertNone(missing);
    }

    [Fact]
    public void The_table_has_no_event_that_is_not_in_the_sources()
    {
        var rows = InSources().Select(one => one.Row).ToHashSet();
        AssertNone(InTable().Where(row => !rows.Contains(row)));
    }

    [Fact]
    public void Every_event_lies_in_the_range_of_its_section()
    {
        var (low, high) = (0, -1);
        foreach (var line in Table())
        {
            if (RangePattern().Match(line) is { Success: true } range)
                (low, high) = (Number(range.Groups[1].Value), Number(range.Groups[2].Value));
            else if (RowPattern().Match(line) is { Success: true } row)
                Assert.InRange(Number(row.Groups[1].Value), low, high);
        }
    }

    private static void AssertNone(IEnumerable<string> problems)
    {
        var text = string.Join('\n', problems);
        Assert.True(text.Length == 0, text);
    }

    private static List<LogEvent> InSources()
    {
        var events = new List<LogEvent>();
        foreach (var file in s_rooms.SelectMany(room => Directory.EnumerateFiles(Path.Combine(Root(), room), "*.cs", SearchOption.AllDirectories)))
        {
            var path = Path.GetRelativePath(Root(), file);
            if (path.Split('/').Any(part => part is "obj" or "bin"))
                continue;
            var text = File.ReadAllText(file);
            var found = EventPattern().Matches(text);
            Assert.True(found.Count == text.Split("[LoggerMessage(").Length - 1, $"{path} has a LoggerMessage of a form that this test cannot read");
            events.AddRange(found.Select(match => new LogEvent(
                Number(match.Groups["id"].Value), match.Groups["level"].Value, match.Groups["name"].Value, match.Groups["text"].Value.Replace("\\\"", "\"", StringComparison.Ordinal), path)));
        }

        Assert.True(events.Count > 50, "the sources of this checkout hold the events");
        return events;
    }

    private static IEnumerable<string> InTable() => Table().Where(line => RowPattern().IsMatch(line));

    private static string[] Table() => File.ReadAllLines(Path.Combine(Root(), "docs", "events.md"));

    private static string Root() => Executables.SourceTree ?? throw new InvalidOperationException("no Edge.sln above the test's folder; run the tests in a checkout");

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    // Both forms: (1000, LogLevel.Information, "text") and (EventId = 1000, Level = LogLevel.Information, Message = "text"), then the method's name.
    [GeneratedRegex("""\[LoggerMessage\((EventId\s*=\s*)?(?<id>\d+),\s*(Level\s*=\s*)?LogLevel\.(?<level>\w+),\s*(Message\s*=\s*)?"(?<text>([^"\\]|\\.)*)"\)\]\s+[\w ]+ (?<name>\w+)\(""")]
    private static partial Regex EventPattern();

    [GeneratedRegex(@"\A\| ([0-9]+) \|")]
    private static partial Regex RowPattern();

    [GeneratedRegex(@"\A## ([0-9]+)-([0-9]+):")]
    private static partial Regex RangePattern();

    private sealed record LogEvent(int Id, string Level, string Name, string Text, string File)
    {
        public string Row => $"| {Id} | {Level} | {Name} | {Text} |";
    }
}
