using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Ctl.Devices;
using Edge.Kubernetes;
using Edge.Local;
using static Edge.Ctl.Tests.TestDevice;

namespace Edge.Ctl.Tests;

/// <summary><c>edgectl device set</c> against the embedded API.</summary>
[Trait("Category", "Devices")]
public sealed class DeviceSetTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromMinutes(1);

    [Fact]
    public async Task Values_are_set_together_and_nothing_else_changes()
    {
        var device = await api.DeviceAsync();
        var before = await device.GetAsync();
        var began = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        var result = await api.EdgectlAsync("device", "set", device.Id, "setpoint=23.5", "fan=true");
        var ended = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        Assert.Equal((0, "", $"{device.Id} setpoint: 21.5 → 23.5 celsius\n{device.Id} fan: false → true\n"), (result.ExitCode, result.Error, result.Output));
        var after = await device.GetAsync();
        Assert.Equal(("23.5", "true"), (await device.DesiredAsync("setpoint"), await device.DesiredAsync("fan")));
        foreach (var (index, value) in ((int, string)[])[(1, "23.5"), (5, "true")])
        {
            var timestamp = after["spec"]!["properties"]![index].Text("desired", "metadata", "timestamp");
            Assert.InRange(long.Parse(timestamp, CultureInfo.InvariantCulture), began, ended);
            var desired = before["spec"]!["properties"]![index]!["desired"]!.AsObject();
            desired["value"] = value;
            (desired["metadata"] as JsonObject ?? (JsonObject)(desired["metadata"] = new JsonObject())!)["timestamp"] = timestamp;
        }

        Assert.True(JsonNode.DeepEquals(before["spec"], after["spec"]), after["spec"]!.ToJsonString());
    }

    [Fact]
    public async Task What_is_so_already_is_said_and_not_written()
    {
        var device = await api.DeviceAsync();
        var before = (await device.GetAsync()).ResourceVersion();
        var result = await api.EdgectlAsync("device", "set", Name, "setpoint=21.5", "-n", device.Namespace);
        Assert.Equal((0, $"{device.Id} setpoint: is 21.5 celsius already\n"), (result.ExitCode, result.Output));
        Assert.Equal(before, (await device.GetAsync()).ResourceVersion());
    }

    [Fact]
    public async Task What_the_model_forbids_is_refused_whole()
    {
        var device = await api.DeviceAsync();
        var result = await api.EdgectlAsync("device", "set", device.Id, "fan=true", "setpoint=99", "temperature=1");
        Assert.Equal((1, ""), (result.ExitCode, result.Output));
        Assert.Equal(
            [
                "edgectl device set: property 'setpoint' takes a number from 5 to 35 celsius; '99' is above that",
                "edgectl device set: property 'temperature' is ReadOnly in DeviceModel 'thermostat': the device reports it, nobody sets it; what can be set: setpoint (a number from 5 to 35 celsius), fan (true or false)",
            ],
            result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal("false", await device.DesiredAsync("fan"));
    }

    [Fact]
    public async Task A_device_or_model_that_is_missing_is_told()
    {
        var device = await api.DeviceAsync();
        var missing = await api.EdgectlAsync("device", "set", $"{device.Namespace}/thermostat", "setpoint=20");
        Assert.Equal((1, $"edgectl device set: there is no device '{device.Namespace}/thermostat'; did you mean '{device.Id}'?\n"), (missing.ExitCode, missing.Error));
        await api.Client.DeleteAsync(ResourceKind.DeviceModel, device.Namespace, "thermostat", null, CancellationToken.None);
        var alone = await api.EdgectlAsync("device", "set", device.Id, "setpoint=20");
        Assert.Equal(
            (1, $"edgectl device set: device '{device.Id}' has no model to check against: there is no DeviceModel 'thermostat' in namespace {device.Namespace}; apply it first\n"),
            (alone.ExitCode, alone.Error));
    }

    [Fact]
    public async Task A_property_that_only_the_model_has_is_added()
    {
        var device = await api.DeviceAsync();
        await PatchAsync(device, ResourceKind.Device, Name, """[{"op":"remove","path":"/spec/properties/5"}]""");
        var result = await api.EdgectlAsync("device", "set", device.Id, "fan=true");
        Assert.Equal((0, $"{device.Id} fan: (not set) → true\n"), (result.ExitCode, result.Output));
        Assert.Equal("edgectl device set: neither the device nor its model has visitors for 'fan', so most mappers cannot write it\n", result.Error);
        Assert.Equal("true", await device.DesiredAsync("fan"));
    }

    [Fact]
    public async Task Changes_of_several_at_once_all_stay()
    {
        var device = await api.DeviceAsync();
        var names = Enumerable.Range(0, 8).Select(i => $"p{i}").ToList();

        // Half of them are in the Device, one in two with a desired value; the others only in the model.
        await PatchAsync(device, ResourceKind.DeviceModel, "thermostat", Operations(names, name => $$"""{"name":"{{name}}","type":"INT","accessMode":"ReadWrite"}"""));
        await PatchAsync(device, ResourceKind.Device, Name, Operations(names.Take(4), name => name is "p0" or "p2" ? $$"""{"name":"{{name}}"}""" : $$$"""{"name":"{{{name}}}","desired":{"value":"0"}}"""));
        var codes = await Task.WhenAll(names.Select((name, i) => Task.Run(
            () => new DeviceSet(api.Client, new DeviceName(device.Namespace, Name), [new Wanted(name, $"{i + 1}")], TimeProvider.System).RunAsync(null, CancellationToken.None))));
        Assert.All(codes, code => Assert.Equal(0, code));
        for (var i = 0; i < names.Count; i++)
            Assert.Equal($"{i + 1}", await device.DesiredAsync(names[i]));
        Assert.Equal("21.5", await device.DesiredAsync("setpoint"));
    }

    [Fact]
    public async Task Wait_shows_each_step_and_ends_when_the_device_has_it()
    {
        var device = await api.DeviceAsync();
        await device.ReportAsync("online", Twin("setpoint", "21.5", "21.5"));
        var set = api.EdgectlAsync("device", "set", device.Id, "setpoint=23", "--wait=5m");
        await Wait.UntilAsync("23 is desired", async _ => await device.DesiredAsync("setpoint") == "23", s_timeout, TimeProvider.System, CancellationToken.None);
        await device.ReportAsync("online", Twin("setpoint", "21.5", "23"));
        await device.ReportAsync("online", Twin("setpoint", "23.0", "23"));
        var result = await set;
        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        var lines = result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal($"{device.Id} setpoint: 21.5 → 23 celsius", lines[0]);
        Assert.Matches(@"^ +[0-9.]+m?s  setpoint  desired   23  stored at the API$", lines[1]);
        Assert.Matches(@"^ +[0-9.]+m?s  setpoint  observed  23  the mapper wrote it$", lines[2]);
        Assert.Matches(@"^ +[0-9.]+m?s  setpoint  reported  23(.0)?  the device has it$", lines[3]);
        Assert.Equal(4, lines.Length);
    }

    [Fact]
    public async Task Wait_that_is_over_says_what_is_known_and_fails()
    {
        var device = await api.DeviceAsync();
        await device.ReportAsync("offline", Twin("setpoint", "21.5", "21.5", "no answer from 127.0.0.1:1502"));
        var result = await api.EdgectlAsync("device", "set", device.Id, "setpoint=23", "--wait=1s");
        Assert.Equal(1, result.ExitCode);
        Assert.Equal(
            [
                "edgectl device set: setpoint=23 has not been written by the mapper within 1.00s",
                "  the device is offline: check its power, cable and address",
                "  setpoint: no answer from 127.0.0.1:1502",
                "edgectl device set: what was set stays: the device gets it as soon as it can",
            ],
            result.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal("23", await device.DesiredAsync("setpoint"));
    }

    [Theory]
    [InlineData("--wait=soon", "--wait 'soon' must be a time from 1ms to 40d, e.g. 30s, 5m, 1h30m")]
    [InlineData("fan", "'fan' must be PROPERTY=VALUE, e.g. setpoint=23.5")]
    public async Task What_cannot_be_read_is_told(string argument, string message)
    {
        var result = await api.EdgectlAsync("device", "set", "hall/press", "setpoint=1", argument);
        Assert.Equal((1, $"edgectl device set: {message}\n"), (result.ExitCode, result.Error));
    }

    private static string Operations(IEnumerable<string> names, Func<string, string> value)
        => $"[{string.Join(',', names.Select(name => $$$"""{"op":"add","path":"/spec/properties/-","value":{{{value(name)}}}}"""))}]";

    private Task PatchAsync(TestDevice device, ResourceKind kind, string name, string patch)
        => api.Client.PatchAsync(kind, device.Namespace, name, PatchKind.Json, Encoding.UTF8.GetBytes(patch), null, CancellationToken.None);
}
