using System.Diagnostics;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests;

[Trait("Category", "Interop")]
[Collection(nameof(EdgeCollection))]
public sealed class CheckTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    // What runs in it is under a path as long as a user's might be.
    private string Home => _directory.File("check");

    public void Dispose() => _directory.Dispose();

    [SkippableFact]
    public async Task Check_proves_the_main_job_and_leaves_nothing_behind()
    {
        Requires.Containerd();
        Requires.Kubectl();

        var result = await Tool.TryRunAsync(
            Executables.Find("edgectl"), ["up", "--check", "--data-dir", Home], new ToolOptions(TimeProvider.System) { Deadline = TimeSpan.FromMinutes(3) }, CancellationToken.None);

        Assert.True(result.ExitCode == 0, result.Output + result.Error);
        Assert.Contains("CHECK OK in", result.Output, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Home));
        Assert.Empty(Leftovers.Find(Home));
    }

    [SkippableFact]
    public async Task Check_that_is_killed_midway_leaves_no_process_mount_bridge_container_or_directory()
    {
        Requires.Containerd();
        using var process = Start("up", "--check", "--data-dir", Home);

        // A pod runs: there is a shim, an overlay mount, a network namespace and a bridge to leave behind.
        await Until("a pod's container runs", () => MountsAndShims(Home) >= 2 && Bridges(Home).Count == 1);
        var bridge = Assert.Single(Bridges(Home));
        process.Kill();
        await process.WaitForExitAsync();

        await Until("everything is gone", () => !Directory.Exists(Home));
        Assert.Empty(Leftovers.Find(Home));
        Assert.DoesNotContain(bridge, InterfaceNames());
        Assert.Empty(CommandLinesWith(Home));
    }

    [Fact]
    public async Task Stop_request_ends_up_cleanly_and_keeps_the_data()
    {
        using var process = Start("up", "--no-pods", "--data-dir", Home);
        var ready = ReadUntilAsync(process, "export KUBECONFIG=");
        Assert.True(await ready.WaitAsync(TimeSpan.FromMinutes(2)));

        await Tool.RunAsync("kill", ["-TERM", $"{process.Id}"], new ToolOptions(TimeProvider.System), CancellationToken.None);
        var rest = process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync(new CancellationTokenSource(TimeSpan.FromMinutes(1)).Token);

        Assert.Contains("stop cloudcore", await rest, StringComparison.Ordinal);
        Assert.Empty(Leftovers.Find(Home));
        Assert.Empty(CommandLinesWith(Home));
        Assert.True(Directory.Exists(Path.Combine(Home, "cloud")));
    }

    [Fact]
    public async Task Directory_in_use_is_refused_with_the_reason()
    {
        using var first = Start("up", "--no-pods", "--data-dir", Home);
        Assert.True(await ReadUntilAsync(first, "Edge is up").WaitAsync(TimeSpan.FromMinutes(2)));

        var second = await Tool.TryRunAsync(Executables.Find("edgectl"), ["up", "--no-pods", "--data-dir", Home], new ToolOptions(TimeProvider.System), CancellationToken.None);

        Assert.Equal(1, second.ExitCode);
        Assert.Contains("is in use by another 'edgectl up'", second.Error, StringComparison.Ordinal);
        first.Kill();
        await first.WaitForExitAsync();
        await Until("the janitor has cleaned", () => Leftovers.Find(Home).Count == 0 && CommandLinesWith(Home).Count == 0);
    }

    private static Process Start(params string[] arguments)
    {
        var start = new ProcessStartInfo(Executables.Find("edgectl")) { RedirectStandardOutput = true };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        return Process.Start(start)!;
    }

    private static async Task<bool> ReadUntilAsync(Process process, string text)
    {
        while (await process.StandardOutput.ReadLineAsync() is { } line)
        {
            if (line.Contains(text, StringComparison.Ordinal))
                return true;
        }

        return false;
    }

    private static int MountsAndShims(string directory)
        => File.ReadLines("/proc/self/mountinfo").Count(line => line.Contains($" {directory}/", StringComparison.Ordinal));

    private static List<string> CommandLinesWith(string directory)
        => [.. Directory.EnumerateDirectories("/proc").Select(path => int.TryParse(Path.GetFileName(path), out var id) && id != Environment.ProcessId ? ProcessTable.Find(id) : null)
            .Where(process => process is { State: not 'Z' } && process.CommandLine.Contains(directory, StringComparison.Ordinal))
            .Select(process => process!.CommandLine)];

    // The conflist names the bridge.
    private static List<string> Bridges(string directory)
    {
        var names = InterfaceNames();
        return [.. Leftovers.ContainerdDirectories(directory)
            .Select(containerd => Path.Combine(containerd, "cni", "10-edge.conflist"))
            .Where(File.Exists)
            .Select(path => System.Text.Json.Nodes.JsonNode.Parse(File.ReadAllText(path))!["plugins"]![0]!["bridge"]!.GetValue<string>())
            .Where(names.Contains)];
    }

    private static List<string> InterfaceNames() => [.. Directory.EnumerateFileSystemEntries("/sys/class/net").Select(path => Path.GetFileName(path)!)];

    private static Task Until(string description, Func<bool> condition)
        => Wait.UntilAsync(description, _ => Task.FromResult(condition()), TimeSpan.FromMinutes(1), TimeProvider.System, CancellationToken.None);
}
