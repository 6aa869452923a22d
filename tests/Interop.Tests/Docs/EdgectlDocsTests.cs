using System.Globalization;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Docs;

/// <summary><c>edgectl</c>'s verbs for devices on a whole Edge, down to the register; and docs/edgectl.md is true.</summary>
[Trait("Category", "Devices")]
[Collection(nameof(EdgeCollection))]
public sealed class EdgectlDocsTests(SharedEdge shared)
{
    [SkippableFact]
    public async Task A_value_set_and_waited_for_is_in_the_register()
    {
        var edge = await shared.GetAsync();
        foreach (var value in (string[])["18.5", "26"])
        {
            var set = await EdgectlAsync(edge, $"edgectl device set default/thermostat-1 setpoint={value} --wait=1m");
            Assert.True(set.ExitCode == 0, set.Output + set.Error);
            Assert.Contains("the device has it", set.Output, StringComparison.Ordinal);
            Assert.Equal(double.Parse(value, CultureInfo.InvariantCulture), await Mbpoll.ReadAsync(edge.Local.ModbusPort, "setpoint"), 0.01);
        }

        var refused = await EdgectlAsync(edge, "edgectl device set default/thermostat-1 setpoint=99");
        Assert.Equal((1, "edgectl device set: property 'setpoint' takes a number from 5 to 35 celsius; '99' is above that\n"), (refused.ExitCode, refused.Error));
    }

    [SkippableFact]
    public async Task Every_edgectl_command_of_the_page_works()
    {
        var edge = await shared.GetAsync();
        var commands = ShellLines(Path.Combine(Executables.SourceTree!, "docs/edgectl.md")).Where(line => line.StartsWith("edgectl ", StringComparison.Ordinal)).ToList();
        Assert.True(commands.Count >= 6, $"only {commands.Count} edgectl commands found in docs/edgectl.md");
        foreach (var command in commands)
        {
            // What goes on until Ctrl-C gets one.
            var goesOn = command.Contains(" -w", StringComparison.Ordinal) || command.Contains(" trace ", StringComparison.Ordinal);
            var result = await EdgectlAsync(edge, goesOn ? $"timeout --preserve-status -s INT 3 {command}" : command);
            Assert.True(result is { ExitCode: 0, Error: "" }, $"{command}\nended with {result.ExitCode}: {result.Error}{result.Output}");
            Assert.Contains("setpoint", result.Output, StringComparison.Ordinal);
        }
    }

    private static Task<ToolResult> EdgectlAsync(TestEdge edge, string command)
        => Tool.TryRunAsync(
            "sh",
            ["-c", $"PATH='{Path.GetDirectoryName(Executables.Find("edgectl"))}':$PATH; KUBECONFIG='{edge.Local.Kubeconfig}'; export PATH KUBECONFIG; {command}"],
            new ToolOptions(TimeProvider.System) { Deadline = TimeSpan.FromMinutes(2) },
            CancellationToken.None);

    private static IEnumerable<string> ShellLines(string path)
    {
        var inside = false;
        foreach (var line in File.ReadLines(path))
        {
            if (line.StartsWith("```", StringComparison.Ordinal))
                inside = !inside && line.StartsWith("```sh", StringComparison.Ordinal);
            else if (inside)
                yield return line.Trim();
        }
    }
}
