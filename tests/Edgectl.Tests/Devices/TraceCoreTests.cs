using System.Text.Json.Nodes;
using Edge.Ctl.Devices;
using static Edge.Ctl.Tests.Objects;

namespace Edge.Ctl.Tests;

[Trait("Category", "Devices")]
public sealed class TraceCoreTests
{
    private readonly List<TraceLine> _lines = [];

    [Fact]
    public void The_start_is_told_as_such_and_counts_nothing()
    {
        var core = new TraceCore(Model(), []);
        core.Device(Device(), Now, _lines);
        core.Status(Status(Twin("setpoint", "21.5", -500, "21.5", -600)), Now, _lines);
        Assert.Equal([TraceKind.Desired, TraceKind.State, TraceKind.Observed, TraceKind.Reported], _lines.Select(line => line.Kind));
        Assert.All(_lines, line => Assert.True(line.IsFirst));
        Assert.Equal(0, core.Figures.Single(one => one.Property == "setpoint").Reports);
    }

    [Fact]
    public void A_desired_value_is_followed_with_the_time_it_took()
    {
        var core = Started();
        core.Device(Desired("23"), At(1000), _lines);
        core.Status(Status(Twin("setpoint", "21.5", 1200, "23", 1250)), At(1300), _lines);
        core.Status(Status(Twin("setpoint", "23.0", 1400, "23", 1250)), At(1450), _lines);
        Assert.Equal(
            [
                new TraceLine(At(1000), "setpoint", TraceKind.Desired, "21.5", "23", null, null, false),
                new TraceLine(At(1300), "setpoint", TraceKind.Observed, "21.5", "23", At(1250), TimeSpan.FromMilliseconds(300), false),
                new TraceLine(At(1450), "setpoint", TraceKind.Reported, "21.5", "23.0", At(1400), TimeSpan.FromMilliseconds(450), false),
            ],
            _lines);
        Assert.Equal(TimeSpan.FromMilliseconds(50), _lines[2].Age);
        Assert.Equal(TimeSpan.FromMilliseconds(450), core.Figures.Single(one => one.Property == "setpoint").Follow!.Half);
    }

    [Fact]
    public void The_same_value_again_is_a_report_but_no_line()
    {
        var core = Started();
        for (var i = 1; i <= 10; i++)
            core.Status(Status(Twin("setpoint", "21.5", i * 1000, "21.5", -600)), At((i * 1000) + (i * 10)), _lines);
        Assert.Empty(_lines);
        var figures = core.Figures.Single(one => one.Property == "setpoint");
        Assert.Equal((10, 0, 0), (figures.Reports, figures.Changes, figures.Errors));
        Assert.Equal(new Quantiles(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1.5), TimeSpan.FromSeconds(1.5)), figures.Interval);
        Assert.Equal(new Quantiles(TimeSpan.FromMilliseconds(50), TimeSpan.FromMilliseconds(100), TimeSpan.FromMilliseconds(100)), figures.Age);
    }

    [Fact]
    public void State_errors_and_problems_are_lines()
    {
        var core = Started();
        var status = Status(Twin("setpoint", "21.5", 1000, "21.5", -600, error: "no answer"));
        status["status"]!["state"] = "offline";
        status["status"]!["extensions"] = new JsonObject { ["problems"] = new JsonArray("a", "b") };
        core.Status(status, At(1100), _lines);
        core.Status(Status(Twin("setpoint", "21.5", 2000, "21.5", -600)), At(2100), _lines);
        Assert.Equal(
            [
                (TraceKind.State, "online", "offline"), (TraceKind.Problem, "", "a; b"), (TraceKind.Error, "", "no answer"),
                (TraceKind.State, "offline", "online"), (TraceKind.Problem, "a; b", ""), (TraceKind.Error, "no answer", ""),
            ],
            _lines.Select(line => (line.Kind, line.From, line.To)));
        Assert.Equal(1, core.Figures.Single(one => one.Property == "setpoint").Errors);
    }

    [Fact]
    public void Only_the_properties_asked_for_are_followed()
    {
        var core = new TraceCore(Model(), ["fan"]);
        core.Device(Device(), Now, _lines);
        core.Status(Status(Twin("setpoint", "1"), Twin("fan", "true")), Now, _lines);
        Assert.Equal(["", "fan"], _lines.Select(line => line.Property));
        Assert.Equal(["fan"], core.Figures.Select(one => one.Property));
    }

    [Fact]
    public void The_first_status_of_a_device_that_had_none_is_news()
    {
        var core = new TraceCore(Model(), []);
        core.Device(Device(), Now, _lines);
        core.Status(null, Now, _lines);
        core.Status(Status(Twin("setpoint", "21.5", 900)), At(1000), _lines);
        Assert.False(_lines[^1].IsFirst);
        Assert.Equal(TimeSpan.FromMilliseconds(100), _lines[^1].Age);
    }

    [Fact]
    public void A_deleted_device_is_told()
    {
        var core = Started();
        core.Device(null, At(1), _lines);
        Assert.Equal(TraceKind.Deleted, _lines.Single().Kind);
    }

    [Fact]
    public void Figures_are_of_the_newest_reports_and_take_no_more_memory()
    {
        var core = Started();
        for (var i = 1; i <= PropertyTrace.SamplesMax + 500; i++)
        {
            // The first 500 are slow.
            core.Status(Status(Twin("setpoint", "21.5", i * 1000L, "21.5", -600)), At((i * 1000L) + (i <= 500 ? 900 : 10)), _lines);
        }

        var figures = core.Figures.Single(one => one.Property == "setpoint");
        Assert.Equal(PropertyTrace.SamplesMax + 500, figures.Reports);
        Assert.Equal(TimeSpan.FromMilliseconds(10), figures.Age!.Most);
    }

    [Fact]
    public void Quantiles_are_times_that_were_measured()
    {
        Assert.Null(Quantiles.Of([]));
        Assert.Equal(new Quantiles(TimeSpan.FromSeconds(50), TimeSpan.FromSeconds(99), TimeSpan.FromSeconds(100)), Quantiles.Of(Enumerable.Range(1, 100).Reverse().Select(i => TimeSpan.FromSeconds(i))));
    }

    [Fact]
    public void A_line_says_the_mappers_time_and_the_delay()
    {
        var line = new TraceLine(At(1450), "setpoint", TraceKind.Reported, "21.5", "23", At(1400), TimeSpan.FromMilliseconds(450), false);
        Assert.Equal(
            "12:00:01.450  setpoint  reported  21.5 → 23 celsius  (mapper's time 12:00:01.400, 50ms before; 450ms after desired)", TraceText.Line(line, "celsius", TimeZoneInfo.Utc, 8));
        Assert.Equal("12:00:00.001  (device)  state     online → (none)", TraceText.Line(new TraceLine(At(1), "", TraceKind.State, "online", "", null, null, false), "", TimeZoneInfo.Utc, 8));
    }

    private TraceCore Started()
    {
        var core = new TraceCore(Model(), []);
        core.Device(Device(), Now, []);
        core.Status(Status(Twin("setpoint", "21.5", -500, "21.5", -600)), Now, []);
        return core;
    }

    private static JsonObject Desired(string value)
    {
        var device = Device();
        device["spec"]!["properties"]![1]!["desired"]!["value"] = value;
        return device;
    }

    private static DateTimeOffset At(long milliseconds) => Now.AddMilliseconds(milliseconds);
}
