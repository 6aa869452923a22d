using System.Diagnostics;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests;

[Trait("Category", "Interop")]
public sealed class JanitorTests : IDisposable
{
    private static readonly TimeSpan s_net = TimeSpan.FromSeconds(30);
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Child_writes_to_its_log_and_stops_on_request()
    {
        using var child = ChildProcess.Start("talker", _directory.Path, "/bin/sh", ["-c", "echo ready; trap 'echo bye; exit 3' TERM; while :; do sleep 0.1; done"], TimeProvider.System);
        await Until("the child talks", () => child.LogTail(5).Contains("ready", StringComparison.Ordinal));

        Assert.True(await child.StopAsync(s_net));

        Assert.Equal("ready\nbye", child.LogTail(5));
        Assert.Equal(3, child.ExitCode);
        Assert.False(child.Died);
    }

    [Fact]
    public async Task Child_that_ignores_the_request_is_killed_after_the_grace()
    {
        using var child = ChildProcess.Start("deaf", _directory.Path, "/bin/sh", ["-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"], TimeProvider.System);
        await Until("the child talks", () => child.LogTail(1) == "ready");

        Assert.False(await child.StopAsync(TimeSpan.FromMilliseconds(200)));

        await Leftovers.CleanAsync(_directory.Path, TimeProvider.System);
        Assert.Empty(Leftovers.Find(_directory.Path));
    }

    [Fact]
    public async Task Child_that_ends_by_itself_has_died()
    {
        using var child = ChildProcess.Start("short", _directory.Path, "/bin/sh", ["-c", "echo 'no such port' >&2; exit 7"], TimeProvider.System);

        await child.Exited.WaitAsync(s_net);

        Assert.True(child.Died);
        Assert.Equal(7, child.ExitCode);
        Assert.Equal("no such port", child.LogTail(5));
    }

    [Fact]
    public async Task Cleaning_kills_processes_of_the_directory_and_their_detached_children_and_no_others()
    {
        using var other = new TempDirectory();
        using var stranger = ChildProcess.Start("stranger", other.Path, "/bin/sleep", ["600"], TimeProvider.System);
        using var child = ChildProcess.Start("parent", _directory.Path, "/bin/sh", ["-c", "setsid sleep 600 & setsid sleep 600 & echo started; exec sleep 600"], TimeProvider.System);
        await Until("the children run", () => ProcessTable.OfDirectory(_directory.Path).Count(process => process.CommandLine == "sleep 600") == 3);

        await Leftovers.CleanAsync(_directory.Path, TimeProvider.System);

        Assert.Empty(Leftovers.Find(_directory.Path));
        Assert.NotEqual('Z', ProcessTable.Find(stranger.Id)?.State);
        await stranger.KillAsync();
    }

    [SkippableFact]
    public async Task Cleaning_takes_away_mounts_below_the_directory_also_stacked_ones_with_odd_names()
    {
        Requires.Root();
        var outer = Directory.CreateDirectory(_directory.File("a mount")).FullName;
        await MountAsync(outer);
        await MountAsync(outer);
        await MountAsync(Directory.CreateDirectory(Path.Combine(outer, "inner")).FullName);
        Assert.Equal(3, Leftovers.Find(_directory.Path).Count);

        await Leftovers.CleanAsync(_directory.Path, TimeProvider.System);

        Assert.Empty(Leftovers.Find(_directory.Path));
    }

    [Fact]
    public async Task Janitor_cleans_up_and_removes_the_directory_when_its_owner_is_killed()
    {
        var directory = Directory.CreateDirectory(_directory.File("edge")).FullName;
        Directory.CreateDirectory(Path.Combine(directory, "logs"));

        // The owner is a shell that holds the pipe as LocalEdge does: the janitor is its child, and so is a process of the directory.
        var start = new ProcessStartInfo("/bin/bash") { UseShellExecute = false };
        foreach (var argument in (string[])["-c",
            "coproc owner_pipe { exec \"$0\" up-janitor \"$1\" --remove; }; EDGE_LOCAL_DIR=\"$1\" setsid sleep 600 & wait", Executables.Find("edgectl"), directory])
            start.ArgumentList.Add(argument);
        using var owner = Process.Start(start)!;
        await Until("the process runs", () => ProcessTable.OfDirectory(directory).Count == 1);

        // Only the shell: SIGKILL leaves it no chance to clean.
        owner.Kill();

        await Until("the directory is gone", () => !Directory.Exists(directory));
        Assert.Empty(Leftovers.Find(directory));
    }

    private static Task MountAsync(string path)
        => Tool.RunAsync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", path], new ToolOptions(TimeProvider.System), CancellationToken.None);

    private static Task Until(string description, Func<bool> condition)
        => Wait.UntilAsync(description, _ => Task.FromResult(condition()), s_net, TimeProvider.System, CancellationToken.None);
}
