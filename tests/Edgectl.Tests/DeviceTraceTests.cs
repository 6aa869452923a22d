using System.Text.Json.Nodes;
using Edge.Kubernetes;
using static Edge.Ctl.Tests.TestDevice;

namespace Edge.Ctl.Tests;

/// <summary><c>edgectl device trace</c> against the embedded API.</summary>
[Trait("Category", "Devices")]
public sealed class DeviceTraceTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    [Fact]
    public async Task Changes_are_documents_and_the_last_is_the_summary()
    {
        var device = await api.DeviceAsync();
        await device.ReportAsync("online", Twin("setpoint", "21.5", "21.5"), Twin("fan", "false"));
        await using var trace = api.StartEdgectl($"trace-{device.Namespace}", "device", "trace", device.Id, "setpoint", "-o", "json");
        await trace.UntilAsync("\"what\":\"reported\"");
        Assert.Equal(0, (await api.EdgectlAsync("device", "set", device.Id, "setpoint=23", "fan=true")).ExitCode);
        await trace.UntilAsync("\"what\":\"desired\",\"from\":\"21.5\",\"to\":\"23\"");
        await device.ReportAsync("online", Twin("setpoint", "21.5", "23"), Twin("fan", "true"));
        await trace.UntilAsync("\"what\":\"observed\",\"from\":\"21.5\",\"to\":\"23\"");
        await device.ReportAsync("online", Twin("setpoint", "23", "23"), Twin("fan", "true"));
        await trace.UntilAsync("\"what\":\"reported\",\"from\":\"21.5\",\"to\":\"23\"");
        await device.ReportAsync("offline", Twin("setpoint", "23", "23", "no answer"), Twin("fan", "true"));
        await trace.UntilAsync("\"what\":\"error\",\"from\":\"\",\"to\":\"no answer\"");
        await trace.StopAsync();

        var documents = trace.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonNode.Parse(line)!.AsObject()).ToList();
        var news = documents[..^1].Where(one => !one.Flag(true, "first")).ToList();
        Assert.Equal(["desired", "observed", "reported", "state", "error"], news.Select(one => one.Text("what")));
        Assert.DoesNotContain(documents, one => one.Text("property") == "fan");
        Assert.NotNull(news[2].At("sinceDesiredSeconds"));
        Assert.NotNull(news[2].At("ageSeconds"));
        var summary = Assert.Single(documents[^1].At("summary").Items("properties"));
        Assert.Equal(("setpoint", 3, 1, 1), (summary.Text("property"), summary.Number(0, "reports"), summary.Number(0, "changes"), summary.Number(0, "errors")));
        Assert.NotNull(summary.At("desiredToReportedSeconds", "p50"));
    }

    [Fact]
    public async Task For_ends_it_with_a_table()
    {
        var device = await api.DeviceAsync();
        await device.ReportAsync("online", Twin("setpoint", "21.5", "21.5"));
        var result = await api.EdgectlAsync("device", "trace", device.Id, "--for", "2s");
        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        Assert.Matches("  setpoint     reported  21.5 celsius  \\(mapper's time [0-9:.]+; so at the start\\)\n", result.Output);
        Assert.Contains("\n\nPROPERTY", result.Output, StringComparison.Ordinal);
        Assert.Matches("\nsetpoint +0 +0 +0 +- +- +- +- +- +-\n", result.Output);
    }

    [Fact]
    public async Task A_property_that_is_not_there_is_told()
    {
        var device = await api.DeviceAsync();
        var result = await api.EdgectlAsync("device", "trace", device.Id, "setpont");
        Assert.Equal((1, $"edgectl device trace: device '{device.Id}' has no property 'setpont'; did you mean 'setpoint'?\n"), (result.ExitCode, result.Error));
    }
}
