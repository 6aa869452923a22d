using Edge.Ctl.Joining;
using Edge.Ctl.Upgrading;
using Edge.Local.Processes;
using Edge.Testing;

namespace Edge.Ctl.Tests.Joining;

/// <summary>What join leaves on a node, and that reset takes back just that.</summary>
[Trait("Category", "Kubernetes")]
public sealed class NodeFilesTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void The_unit_restarts_for_ever_and_takes_odd_paths()
    {
        var unit = SystemdUnit.Render("/opt/edge dir/edgecore", "/opt/edge dir/edgectl", "/etc/100%/edgecore.yaml", "/srv/$x");
        Assert.Contains("\nExecStart=\"/opt/edge dir/edgecore\" --config \"/etc/100%%/edgecore.yaml\" --data-dir \"/srv/$$x\"\n", unit, StringComparison.Ordinal);
        Assert.Contains("\nExecStartPre=-\"/opt/edge dir/edgectl\" rollback edge --if-unfinished --files-only --config \"/etc/100%%/edgecore.yaml\" --data-dir \"/srv/$$x\"\n", unit, StringComparison.Ordinal);
        Assert.Contains("\nRestart=always\n", unit, StringComparison.Ordinal);
        Assert.Contains("\nKillMode=process\n", unit, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Reset_asks_shows_and_removes_what_join_made_and_nothing_else()
    {
        var config = _directory.File("edgecore.yaml");
        var data = Directory.CreateDirectory(_directory.File("data")).FullName;
        var unit = _directory.File("edgecore.service");
        var other = _directory.File("other.txt");
        foreach (var file in (string[])[config, unit, other, Path.Combine(data, "edgecore.db")])
            File.WriteAllText(file, "x");

        var stranger = await ResetAsync("--config", config, "--force");
        Assert.Equal(1, stranger.ExitCode);
        Assert.Contains("nothing is removed", stranger.Error, StringComparison.Ordinal);

        new NodeRecord(config, data, unit, "unix:///nonexistent.sock").Write();
        var asked = await ResetAsync("--config", config);
        Assert.Equal(1, asked.ExitCode);
        Assert.Contains($"remove {data} with everything in it", asked.Output, StringComparison.Ordinal);
        Assert.Contains("nothing was removed", asked.Output, StringComparison.Ordinal);
        Assert.True(File.Exists(config) && File.Exists(unit) && Directory.Exists(data));

        // Pods may run, and the runtime does not answer: nothing of theirs is touched.
        Directory.CreateDirectory(Path.Combine(data, "kubelet/pods/8b6c"));
        var running = await ResetAsync("--config", config, "--force");
        Assert.Equal(1, running.ExitCode);
        Assert.Contains("1 pods may still run", running.Error, StringComparison.Ordinal);
        Assert.True(Directory.Exists(data) && File.Exists(config));

        Directory.Delete(Path.Combine(data, "kubelet/pods/8b6c"));
        var done = await ResetAsync("--config", config, "--force");
        Assert.True(done.ExitCode == 0, done.Error);
        Assert.Equal([other], Directory.GetFileSystemEntries(_directory.Path));
    }

    [Fact]
    public async Task Reset_leaves_nothing_that_holds_a_secret_of_this_node_and_what_is_anothers()
    {
        var config = _directory.File("edgecore.yaml");
        var (data, program, backups) = (Directory.CreateDirectory(_directory.File("data")).FullName, Directory.CreateDirectory(_directory.File("edgecore")).FullName, _directory.File("backups"));
        File.WriteAllText(config, $"kind: EdgeCore\nmodules: {{taskManager: {{upgrade: {{backupDirectory: \"{backups}\"}}}}}}\ndatabase: {{dataSource: \"{_directory.File("elsewhere.db")}\"}}\n");
        new NodeRecord(config, data, null, "unix:///nonexistent.sock").Write();
        foreach (var end in (string[])[".last-good", ".backup", ".before-rollback", ".trial"])
            File.WriteAllText(config + end, "token");
        NodeBackup.Make(new NodePlaces(program, config, data, backups, null, null), "0.1.0", TimeProvider.System);
        var other = NodeBackup.Make(new NodePlaces(program, config, data, backups, null, null), "0.1.0", TimeProvider.System).Directory;
        File.WriteAllText(Path.Combine(other, "backup.json"), File.ReadAllText(Path.Combine(other, "backup.json")).Replace(config, "/srv/other/edgecore.yaml", StringComparison.Ordinal));
        foreach (var end in (string[])["", "-wal", "-shm", ".before-rollback"])
            File.WriteAllText(_directory.File("elsewhere.db" + end), "secret");
        Directory.CreateDirectory(Path.Combine(backups, "000007-20261122T040000000/program"));
        File.WriteAllText(Path.Combine(backups, "upgrade.json"), "{}");
        Directory.CreateDirectory(Path.Combine(backups, "photos"));

        var done = await ResetAsync("--config", config, "--force");
        Assert.True(done.ExitCode == 0, done.Error);
        Assert.Equal([backups, program], Directory.GetFileSystemEntries(_directory.Path).Order(StringComparer.Ordinal));
        Assert.Equal([other, Path.Combine(backups, "photos"), Path.Combine(backups, "upgrade.json")], Directory.GetFileSystemEntries(backups).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Reset_deletes_nothing_while_an_edgecore_that_it_cannot_stop_answers()
    {
        var config = _directory.File("edgecore.yaml");
        var data = Directory.CreateDirectory(_directory.File("data")).FullName;
        File.WriteAllText(config, $"modules: {{taskManager: {{upgrade: {{backupDirectory: \"{_directory.File("backups")}\"}}}}}}\n");
        new NodeRecord(config, data, null, "unix:///nonexistent.sock").Write();
        using (var edgecore = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0))
        {
            edgecore.Start();
            var port = ((System.Net.IPEndPoint)edgecore.LocalEndpoint).Port;
            File.WriteAllText(Path.Combine(data, "edgecore.ports.json"), $$"""{"metrics":{{port}},"dmi":"/run/dmi.sock","dns":["127.0.0.1:1"]}""");
            var running = await ResetAsync("--config", config, "--force");
            Assert.Equal(1, running.ExitCode);
            Assert.Contains($"edgecore runs: it answers at 127.0.0.1:{port}; stop it", running.Error, StringComparison.Ordinal);
            Assert.True(File.Exists(config) && Directory.Exists(data));
        }

        // What a killed one leaves is no hindrance.
        var done = await ResetAsync("--config", config, "--force");
        Assert.True(done.ExitCode == 0, done.Error);
        Assert.Empty(Directory.GetFileSystemEntries(_directory.Path));
    }

    [Fact]
    public async Task Configs_are_printed_and_checked_by_the_programs_themselves()
    {
        foreach (var program in (string[])["cloudcore", "edgecore"])
        {
            var printed = await EdgectlAsync("config", "print", program, "--minimal");
            Assert.True(printed.ExitCode == 0, printed.Error);
            var file = _directory.File(program + ".yaml");
            File.WriteAllText(file, printed.Output);
            var good = await EdgectlAsync("config", "check", file);
            Assert.Equal((0, $"{file} is valid\n", ""), (good.ExitCode, good.Output, good.Error));
            File.AppendAllText(file, "nonsense: 1\n");
            var bad = await EdgectlAsync("config", "check", file);
            Assert.Equal(1, bad.ExitCode);
            Assert.Contains("nonsense: is not a known key", bad.Error, StringComparison.Ordinal);
        }
    }

    private static Task<ToolResult> ResetAsync(params string[] arguments) => EdgectlAsync(["reset", .. arguments]);

    private static Task<ToolResult> EdgectlAsync(params string[] arguments)
        => Tool.TryRunAsync(Executables.Find("edgectl"), arguments, new ToolOptions(TimeProvider.System), CancellationToken.None);
}
