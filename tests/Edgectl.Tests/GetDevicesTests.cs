using System.Diagnostics;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local.Processes;
using static Edge.Ctl.Tests.TestDevice;

namespace Edge.Ctl.Tests;

/// <summary><c>edgectl get devices</c> as its user meets it: the executable, against the embedded API.</summary>
[Trait("Category", "Devices")]
public sealed class GetDevicesTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromMinutes(1);

    [Fact]
    public async Task Table_has_a_line_per_property_with_unit_age_state_and_problem()
    {
        var device = await api.DeviceAsync();
        await device.ReportAsync("online", Twin("temperature", "20.1"), Twin("setpoint", "20", "20", "exception 2"));
        var result = await api.EdgectlAsync("get", "devices", "-n", device.Namespace);
        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        var lines = result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["temperature", "setpoint", "pressure", "cycles", "energy", "fan", "alarm"], lines[1..].Select(line => Words(line)[3]));
        Assert.Matches($"^{device.Id} +edge-1 +online +temperature +- +- +20.1 celsius +[0-9]+[sm] +-$", lines[1]);
        Assert.Matches($"^{device.Id} +edge-1 +online +setpoint +21.5 +20 +20 celsius +[0-9]+[sm] +exception 2$", lines[2]);
    }

    [Fact]
    public async Task Json_has_the_same_for_scripts()
    {
        var device = await api.DeviceAsync();
        await device.ReportAsync("online", Twin("setpoint", "21.5", "21.5"));
        var result = await api.EdgectlAsync("get", "devices", Name, "-n", device.Namespace, "-o", "json");
        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        var setpoint = JsonNode.Parse(result.Output).Items("items").Single(one => one.Text("property") == "setpoint");
        Assert.Equal(
            (device.Namespace, Name, "edge-1", "online", "FLOAT", "ReadWrite", "celsius"),
            (setpoint.Text("namespace"), setpoint.Text("name"), setpoint.Text("node"), setpoint.Text("state"), setpoint.Text("type"), setpoint.Text("accessMode"), setpoint.Text("unit")));
        Assert.Equal(("21.5", "21.5", "21.5"), (setpoint.Text("desired"), setpoint.Text("observed"), setpoint.Text("reported")));
        Assert.True(setpoint.At("ageSeconds")!.GetValue<double>() < 3600);
    }

    [Fact]
    public async Task A_device_that_is_not_there_is_told_with_the_one_that_is()
    {
        var device = await api.DeviceAsync();
        var result = await api.EdgectlAsync("get", "devices", $"{device.Namespace}/thermostat-2");
        Assert.Equal((1, "", $"edgectl get devices: there is no device '{device.Namespace}/thermostat-2'; did you mean '{device.Id}'?\n"), (result.ExitCode, result.Output, result.Error));
    }

    [Fact]
    public async Task An_empty_namespace_is_told()
    {
        var result = await api.EdgectlAsync("get", "devices", "-n", "kube-public");
        Assert.Equal((0, "", "there are no devices in namespace kube-public; -A shows those of all\n"), (result.ExitCode, result.Output, result.Error));
    }

    [Theory]
    [InlineData("a/b/c", "'a/b/c' must be NAMESPACE/NAME or NAME, e.g. default/thermostat-1")]
    [InlineData("device/press", "'device/press': the part before '/' is the namespace; write default/press")]
    public async Task A_name_that_is_none_is_refused(string name, string message)
    {
        var result = await api.EdgectlAsync("get", "devices", name);
        Assert.Equal((1, $"edgectl get devices: {message}\n"), (result.ExitCode, result.Error));
    }

    [Fact]
    public async Task An_api_that_is_away_is_told()
    {
        var result = await api.EdgectlAsync("get", "devices", "--kubeconfig", "/nonexistent/kubeconfig");
        Assert.Equal(1, result.ExitCode);
        Assert.StartsWith("edgectl get devices: ", result.Error, StringComparison.Ordinal);
        Assert.Contains("/nonexistent/kubeconfig", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Another_context_than_the_current_one_is_used_where_it_is_named()
    {
        // A copy whose current context is none of its own.
        var text = await File.ReadAllTextAsync(api.Kubeconfig);
        var path = Path.Combine(Directory.CreateTempSubdirectory("edge-context-").FullName, "config");
        try
        {
            await File.WriteAllTextAsync(path, text.Replace("current-context: edge", "current-context: gone", StringComparison.Ordinal));
            var without = await api.EdgectlAsync("get", "devices", "-n", "kube-public", "--kubeconfig", path);
            Assert.Equal(1, without.ExitCode);
            Assert.Contains("gone", without.Error, StringComparison.Ordinal);
            Assert.Equal(0, (await api.EdgectlAsync("get", "devices", "-n", "kube-public", "--kubeconfig", path, "--context", "edge")).ExitCode);
            Assert.Contains("nowhere", (await api.EdgectlAsync("get", "devices", "--kubeconfig", path, "--context", "nowhere")).Error, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);
        }
    }

    [Fact]
    public async Task Watch_without_a_terminal_prints_a_line_for_each_change()
    {
        var device = await api.DeviceAsync();
        await using var watch = api.StartEdgectl($"watch-{device.Namespace}", "get", "devices", "-w", "-n", device.Namespace);
        await watch.UntilAsync("alarm state -");
        await device.ReportAsync("online", Twin("setpoint", "20", "20"));
        await watch.UntilAsync($"{device.Id} setpoint reported 20 celsius (");
        await device.ReportAsync("offline", Twin("setpoint", "20", "20", "no answer"));
        await watch.UntilAsync("desired 21.5 observed 20 state offline problem: no answer");
        await api.Client.DeleteAsync(ResourceKind.Device, device.Namespace, Name, null, CancellationToken.None);
        await watch.UntilAsync($"{device.Id} setpoint is gone");
        await watch.StopAsync();

        // What did not change is said once.
        Assert.Equal(2, watch.Output.Split('\n').Count(line => line.Contains(" alarm state online", StringComparison.Ordinal) || line.Contains(" alarm state offline", StringComparison.Ordinal)));
    }

    [SkippableFact]
    public async Task Watch_on_a_terminal_is_a_table_that_is_redrawn_until_Ctrl_C()
    {
        Skip.If(Tool.OnPath("script") is null, "script (util-linux) is not there to make a terminal");
        var device = await api.DeviceAsync();
        await device.ReportAsync("online", Twin("setpoint", "20.25", "20.25"));

        // Where the tests run in the background of a shell, SIGINT is ignored, and what is ignored is inherited: a terminal's own shell has it at its default.
        var start = new ProcessStartInfo("script") { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (string[])["-qfec", $"stty cols 100 rows 20; exec env --default-signal=INT TERM=xterm-256color {Executables.Find("edgectl")} get devices -w -n {device.Namespace} --kubeconfig {api.Kubeconfig}", "/dev/null"])
            start.ArgumentList.Add(argument);
        using var terminal = Process.Start(start)!;
        try
        {
            using var deadline = new CancellationTokenSource(s_timeout, TimeProvider.System);
            await ReadUntilAsync(terminal, "20.25 celsius", deadline.Token);
            await device.ReportAsync("online", Twin("setpoint", "23.75", "20.25"));
            var drawn = await ReadUntilAsync(terminal, "23.75 celsius", deadline.Token);
            Assert.Contains("\u001b[", drawn, StringComparison.Ordinal);
            await ReadUntilAsync(terminal, "Ctrl-C ends", deadline.Token);
            await terminal.StandardInput.WriteAsync("\u0003");
            await terminal.StandardInput.FlushAsync(deadline.Token);
            await terminal.StandardOutput.ReadToEndAsync(deadline.Token);
            await terminal.WaitForExitAsync(deadline.Token);
            Assert.Equal(0, terminal.ExitCode);
        }
        finally
        {
            if (!terminal.HasExited)
                terminal.Kill(entireProcessTree: true);
        }
    }

    [Theory]
    [InlineData("get")]
    [InlineData("get", "devices")]
    [InlineData("device")]
    [InlineData("device", "set")]
    [InlineData("device", "trace")]
    public async Task Help_has_examples(params string[] verb)
    {
        var help = await api.EdgectlAsync([.. verb, "--help"]);
        Assert.Equal(0, help.ExitCode);
        Assert.Contains("Examples:", help.Output, StringComparison.Ordinal);
        Assert.Contains($"  edgectl {string.Join(' ', verb)}", help.Output, StringComparison.Ordinal);
    }

    private static async Task<string> ReadUntilAsync(Process process, string text, CancellationToken cancellationToken)
    {
        var read = "";
        var buffer = new char[4096];
        while (!read.Contains(text, StringComparison.Ordinal))
        {
            var count = await process.StandardOutput.ReadAsync(buffer, cancellationToken);
            Assert.True(count > 0, $"it ended before '{text}' was seen: {read}");
            read += new string(buffer, 0, count);
        }

        return read;
    }

    private static string[] Words(string line) => line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
}
