using Edge.Ctl.Devices;
using Spectre.Console;
using static Edge.Ctl.Tests.Objects;

namespace Edge.Ctl.Tests;

[Trait("Category", "Devices")]
public sealed class DeviceTableTests
{
    private static readonly IReadOnlyList<PropertyRow> s_rows =
    [
        Row("temperature") with { Reported = "20.1", Unit = "celsius" },
        Row("setpoint") with { Desired = "23", Observed = "21.5", Reported = "21.5", Unit = "celsius", Problems = ["desired value 23 is not written: modbus exception 2 (illegal data address)", "second"] },
        Row("fan") with { Device = "press-[red]4", State = "offline" },
    ];

    [Fact]
    public void Plain_table_has_every_column_uncut()
    {
        var lines = DeviceTable.Plain(s_rows, Now).Split('\n');
        Assert.Equal(["DEVICE", "NODE", "STATE", "PROPERTY", "DESIRED", "OBSERVED", "REPORTED", "AGE", "PROBLEM"], lines[0].Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal(["default/press-3", "edge-1", "online", "temperature", "-", "-", "20.1", "celsius", "2s", "-"], lines[1].Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.EndsWith("2s    desired value 23 is not written: modbus exception 2 (illegal data address); second", lines[2], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(200)]
    [InlineData(120)]
    [InlineData(100)]
    [InlineData(80)]
    [InlineData(60)]
    [InlineData(40)]
    [InlineData(20)]
    public void Table_fits_the_terminal_and_its_markup_is_sound(int width)
    {
        foreach (var line in DeviceTable.Markup(s_rows, Now, width).Take(s_rows.Count + 1))
            Assert.InRange(Spectre.Console.Markup.Remove(line).Length, 1, width);
        Assert.DoesNotContain("\n\n", Draw(s_rows, width), StringComparison.Ordinal);
    }

    [Fact]
    public void A_wide_terminal_shows_all_and_a_narrow_one_says_the_problem_below()
    {
        var wide = Draw(s_rows, 220);
        Assert.Contains("(illegal data address); second", wide, StringComparison.Ordinal);
        Assert.DoesNotContain("! default", wide, StringComparison.Ordinal);
        var narrow = Draw(s_rows, 125);
        Assert.Contains("…", narrow, StringComparison.Ordinal);
        Assert.Contains("! default/press-3 setpoint: desired value 23 is not written: modbus exception 2 (illegal data address)\n! default/press-3 setpoint: second\n", narrow, StringComparison.Ordinal);
        Assert.Contains("press-[red]4", wide, StringComparison.Ordinal);
    }

    [Fact]
    public void Eighty_places_hold_whole_names_and_values()
    {
        var lines = Draw([s_rows[1] with { Device = "thermostat-1" }, s_rows[0] with { Device = "thermostat-1" }], 80).Split('\n');
        Assert.Equal(["DEVICE", "STATE", "PROPERTY", "DESIRED", "OBSERVED", "REPORTED", "AGE"], lines[0].Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal(["default/thermostat-1", "online", "temperature", "20.1", "celsius", "2s"], lines[2].Split(' ', StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public void A_problem_of_the_device_is_not_said_of_its_first_property()
        => Assert.Contains(
            "! default/press-3: there is no node\n! default/press-3 temperature: exception 2\n",
            Draw([s_rows[0] with { Problems = ["there is no node", "exception 2"], DeviceProblems = 1 }], 60), StringComparison.Ordinal);

    [Fact]
    public void Columns_with_nothing_in_them_are_left_out_on_a_terminal()
    {
        var head = Draw([s_rows[0]], 120).Split('\n')[0];
        Assert.DoesNotContain("OBSERVED", head, StringComparison.Ordinal);
        Assert.DoesNotContain("PROBLEM", head, StringComparison.Ordinal);
    }

    [Fact]
    public void More_rows_than_lines_are_counted()
    {
        var lines = DeviceTable.Markup([.. Enumerable.Range(0, 50).Select(i => Row($"p{i}"))], Now, 100, 12);
        Assert.Equal(12, lines.Count);
        Assert.Contains("… 40 more", lines[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void Colours_follow_state_age_and_what_has_not_arrived()
    {
        var lines = DeviceTable.Markup([.. s_rows, Row("old") with { ReportedAt = Now.AddMinutes(-3) }], Now, 200);
        Assert.Contains("[green]online", lines[1], StringComparison.Ordinal);
        Assert.Contains("[yellow]23", lines[2], StringComparison.Ordinal);
        Assert.Contains("[red]offline", lines[3], StringComparison.Ordinal);
        Assert.Contains("[yellow]3m", lines[4].Replace("180s", "3m", StringComparison.Ordinal), StringComparison.Ordinal);
    }

    [Fact]
    public void Text_of_a_device_cannot_steer_the_terminal()
    {
        var row = Row("x") with { Reported = "a\u001b[2Jb\nc" };
        Assert.Contains("a·[2Jb·c", DeviceTable.Plain([row], Now), StringComparison.Ordinal);
        Assert.DoesNotContain('\u001b', DeviceTable.Sentence(row, Now));
        Assert.DoesNotContain(DeviceTable.Markup([row], Now, 100), line => line.Contains('\u001b', StringComparison.Ordinal));
    }

    [Fact]
    public void Wide_characters_take_two_places()
    {
        Assert.Equal(6, FittedTable.Width("摄氏度"));
        Assert.Equal("摄… ", FittedTable.Cell("摄氏度", 4));
        Assert.Equal("ab ", FittedTable.Cell("ab", 3));
    }

    [Fact]
    public void A_change_is_a_sentence()
        => Assert.Equal(
            "default/press-3 setpoint reported 21.5 celsius (2s ago) desired 23 observed 21.5 state online problem: desired value 23 is not written: modbus exception 2 (illegal data address); second",
            DeviceTable.Sentence(s_rows[1], Now));

    private static PropertyRow Row(string property)
        => new("default", "press-3", "edge-1", "online", property, "FLOAT", "ReadWrite", "", "", "", "", Now.AddSeconds(-2), []);

    private static string Draw(IReadOnlyList<PropertyRow> rows, int width)
    {
        var text = new StringWriter { NewLine = "\n" };
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors, Out = new AnsiConsoleOutput(text) });
        console.Profile.Width = width;
        foreach (var line in DeviceTable.Markup(rows, Now, width))
            console.MarkupLine(line);
        return text.ToString();
    }
}
