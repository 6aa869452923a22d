using System.Formats.Tar;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Edge.Ctl.Upgrading;
using Edge.Kubernetes;
using Edge.Local.Processes;
using Edge.Testing;

namespace Edge.Ctl.Tests.Upgrading;

/// <summary>edgectl upgrade, rollback and backup on real files, and on a process that answers as edgecore does.</summary>
[Trait("Category", "Kubernetes")]
public sealed class UpgradeTests : IAsyncLifetime
{
    // What edgecore shows to edgectl: --version, --check, edgecore.ports.json, /readyz, /metrics. The word in 'behaviour' beside it says how it fails.
    private const string StandIn = """
        #!/usr/bin/env python3
        import http.server, json, os, signal, sqlite3, sys
        here = os.path.dirname(os.path.realpath(__file__))
        version, behaviour = open(os.path.join(here, "behaviour")).read().split()
        if "--version" in sys.argv:
            print(version + "+0123abc"); sys.exit(0)
        if "--check" in sys.argv:
            if behaviour == "refuses-config":
                print("edgecore: modules.x: is not a known key", file=sys.stderr); sys.exit(1)
            sys.exit(0)
        if behaviour == "exits":
            sys.exit(7)
        data = sys.argv[sys.argv.index("--data-dir") + 1]
        if behaviour == "migrates":
            db = sqlite3.connect(os.path.join(data, "edgecore.db")); db.execute("DELETE FROM t"); db.commit(); db.execute("PRAGMA user_version=2"); db.close()
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                bad = behaviour in ("unready", "migrates")
                text = "[-]store: full" if bad else "ok"
                self.send_response(503 if bad and self.path == "/readyz" else 200); self.end_headers()
                self.wfile.write(("# x\nedgecore_link_up %d\n" % (behaviour != "unlinked") if self.path == "/metrics" else text).encode())
            def log_message(self, *a): pass
        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        ports = os.path.join(data, "edgecore.ports.json")
        json.dump({"metrics": server.server_port}, open(ports + ".tmp", "w")); os.rename(ports + ".tmp", ports)
        signal.signal(signal.SIGTERM, lambda *a: os._exit(0))
        server.serve_forever()

        """;

    private readonly TempDirectory _directory = new();
    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    private string Program => _directory.File("lib/edgecore");

    private string Config => _directory.File("edgecore.yaml");

    private string Data => _directory.File("data");

    private string Backups => _directory.File("backups");

    public async Task InitializeAsync()
    {
        Directory.CreateDirectory(Data);
        await File.WriteAllTextAsync(Config, "kind: EdgeCore\n");
        WriteProgram(Program, "0.1.0", "good");
        await SqliteAsync("CREATE TABLE t(a); INSERT INTO t VALUES (1); PRAGMA user_version=1;");
        WriteScript("start", $"""
            [ ! -f "{Data}/start-fails" ] || exit 9
            while [ -f "{Data}/start-hangs" ]; do sleep 0.05; done
            setsid {Program}/edgecore --config {Config} --data-dir {Data} </dev/null >/dev/null 2>&1 &
            echo $! > {Data}/pid
            """);
        WriteScript("stop", $"""
            [ ! -f "{Data}/stop-fails" ] || exit 8
            [ -f {Data}/pid ] || exit 0
            kill $(cat {Data}/pid) 2>/dev/null
            while kill -0 $(cat {Data}/pid) 2>/dev/null; do sleep 0.05; done
            rm {Data}/pid
            while [ -f "{Data}/stop-hangs" ]; do sleep 0.05; done
            """);
        await File.WriteAllTextAsync(_directory.File("edge.pub"), _key.ExportSubjectPublicKeyInfoPem());
        await Tool.RunAsync(_directory.File("start"), [], new ToolOptions(TimeProvider.System), default);
    }

    public async Task DisposeAsync()
    {
        foreach (var file in (string[])["stop-fails", "stop-hangs", "start-hangs"])
            File.Delete(Path.Combine(Data, file));
        await Tool.TryRunAsync(_directory.File("stop"), [], new ToolOptions(TimeProvider.System), default);
        _key.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public async Task A_good_version_takes_over_and_the_former_one_can_be_put_back()
    {
        await RunningAsync("0.1.0");
        var done = await UpgradeAsync(Pack("0.2.0", "good"));
        Assert.True(done.ExitCode == 0, done.Error + done.Output);
        Assert.EndsWith("edgecore 0.2.0 runs\n", done.Output, StringComparison.Ordinal);
        await RunningAsync("0.2.0");
        Assert.Equal("Succeeded", Journal().Text("step"));
        Assert.Equal(("0.1.0", "0.2.0", "job-1"), (Journal().Text("from"), Journal().Text("version"), Journal().Text("job")));
        Assert.Equal((UnixFileMode)Convert.ToInt32("700", 8), File.GetUnixFileMode(Backups));
        Assert.Equal((UnixFileMode)Convert.ToInt32("700", 8), File.GetUnixFileMode(Journal().Text("backup")));
        Assert.Equal((UnixFileMode)Convert.ToInt32("600", 8), File.GetUnixFileMode(Path.Combine(Journal().Text("backup"), "edgecore.yaml")));
        Assert.False(Directory.Exists(Program + ".new") || File.Exists(Path.Combine(Backups, "package.tar.gz")));

        var listed = await EdgectlAsync("rollback", "edge", "--list", "--backup-dir", Backups);
        Assert.Contains(Journal().Text("backup"), listed.Output, StringComparison.Ordinal);
        var back = await EdgectlAsync(["rollback", "edge", .. Places()]);
        Assert.True(back.ExitCode == 0, back.Error + back.Output);
        await RunningAsync("0.1.0");
        Assert.Equal("1", await SqliteAsync("SELECT count(*) FROM t"));
    }

    [Theory]
    [InlineData("exits", "was not ready within 3 s: ")]
    [InlineData("unready", "was not ready within 3 s: [-]store: full")]
    [InlineData("unlinked", "it is not connected to the cloud")]
    public async Task A_version_that_does_not_serve_is_rolled_back(string behaviour, string reason)
    {
        await RunningAsync("0.1.0");
        var done = await UpgradeAsync(Pack("0.2.0", behaviour), "--ready-within", "3");
        Assert.Equal(2, done.ExitCode);
        Assert.Contains("the former version runs again: ", done.Error, StringComparison.Ordinal);
        Assert.Contains(reason, done.Error, StringComparison.Ordinal);
        Assert.Equal("RolledBack", Journal().Text("step"));
        await RunningAsync("0.1.0");
    }

    [Fact]
    public async Task A_database_that_the_new_version_changed_comes_back_with_the_former_version()
    {
        await RunningAsync("0.1.0");
        Assert.Equal(2, (await UpgradeAsync(Pack("0.2.0", "migrates"), "--ready-within", "3")).ExitCode);
        await RunningAsync("0.1.0");
        Assert.Equal("1", await SqliteAsync("SELECT count(*) FROM t"));
        Assert.Equal("1", await SqliteAsync("PRAGMA user_version"));
        Assert.True(File.Exists(Path.Combine(Data, "edgecore.db.before-rollback")));
    }

    [Fact]
    public async Task What_is_refused_touches_nothing()
    {
        await RunningAsync("0.1.0");
        var pid = await File.ReadAllTextAsync(Path.Combine(Data, "pid"));
        var good = Pack("0.2.0", "good");
        var unsigned = _directory.File("unsigned.tar.gz");
        File.Copy(good, unsigned);
        var changed = _directory.File("changed.tar.gz");
        var bytes = await File.ReadAllBytesAsync(good);
        bytes[bytes.Length / 2] ^= 1;
        await File.WriteAllBytesAsync(changed, bytes);
        File.Copy(good + ".sig", changed + ".sig");
        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        foreach (var (package, reason, more) in new (string, string, string[])[]
            {
                (unsigned, "is not signed", []),
                (changed, "is not the signature of", []),
                (Pack("0.2.0", "good", key: other), "somebody else signed it", []),
                (Pack("0.2.0", "refuses-config"), "modules.x: is not a known key", []),
                (Pack("0.2.0", "good", says: "0.3.0"), "says that it is version '0.3.0', not '0.2.0'", []),
                (Pack("0.2.0", "good", architecture: "riscv64"), "is for 'riscv64', this machine is", []),
                (Pack("0.1.9", "good"), "the package is of version '0.1.9', not '0.2.0'", []),
                (Evil("files/../../evil"), "has an entry 'files/../../evil'", []),
                (Evil("files/not-named"), "which its manifest does not name", []),
                (_directory.File("none.tar.gz"), "there is no file", []),
                (good, "belong together", ["--stop-with", ""]),
            })
        {
            string[] arguments = more.Length > 0 ? [.. Places().Where((_, i) => i < Places().Length - 4), "--stop-with", _directory.File("stop")] : Places();
            var done = await EdgectlAsync(["upgrade", "edge", "--package", package, "--to", "0.2.0", "--public-key", _directory.File("edge.pub"), .. arguments]);
            Assert.True(done.ExitCode == 1, done.Error);
            Assert.Contains("nothing was changed: ", done.Error, StringComparison.Ordinal);
            Assert.Contains(reason, done.Error, StringComparison.Ordinal);
        }

        Assert.Equal(pid, await File.ReadAllTextAsync(Path.Combine(Data, "pid")));
        await RunningAsync("0.1.0");
        Assert.False(Directory.Exists(Program + ".new") || File.Exists(_directory.File("evil")));
        var verified = await EdgectlAsync(["upgrade", "edge", "--verify", "--package", good, "--to", "0.2.0", "--public-key", _directory.File("edge.pub"), .. Places()]);
        Assert.True(verified.ExitCode == 0, verified.Error);
        Assert.Equal(pid, await File.ReadAllTextAsync(Path.Combine(Data, "pid")));
    }

    [Fact]
    public async Task What_cannot_be_stopped_goes_on_as_it_is()
    {
        await RunningAsync("0.1.0");
        await File.WriteAllTextAsync(Path.Combine(Data, "stop-fails"), "");
        await File.WriteAllTextAsync(Path.Combine(Data, "start-fails"), "");
        var done = await UpgradeAsync(Pack("0.2.0", "good"));
        Assert.Equal(3, done.ExitCode);
        Assert.Contains("ended with 8; and then not all could be put back: ", done.Error, StringComparison.Ordinal);
        await RunningAsync("0.1.0");

        // Nobody knows now how it stands, so an operator has to say.
        var again = await UpgradeAsync(Pack("0.2.1", "good"));
        Assert.Contains("cut short at its step Stuck; run 'edgectl rollback edge' first", again.Error, StringComparison.Ordinal);
        File.Delete(Path.Combine(Data, "stop-fails"));
        File.Delete(Path.Combine(Data, "start-fails"));
        Assert.Equal(0, (await EdgectlAsync(["rollback", "edge", .. Places()])).ExitCode);
        Assert.Equal(0, (await UpgradeAsync(Pack("0.2.2", "good"))).ExitCode);
        await RunningAsync("0.2.2");
    }

    [Fact]
    public async Task An_upgrade_that_a_power_cut_ended_is_taken_back_by_rollback()
    {
        await RunningAsync("0.1.0");
        var made = await EdgectlAsync(["backup", "edge", .. Places()[..8]]);
        Assert.True(made.ExitCode == 0, made.Error);
        var backup = made.Output.Split(": edgecore 0.1.0")[0];
        // As it stands when the power goes between the two renames of a file system that cannot exchange.
        Directory.Move(Program, Program + ".former");
        await File.WriteAllTextAsync(Path.Combine(Backups, "upgrade.json"), new JsonObject { ["step"] = "Swap", ["backup"] = backup }.ToJsonString());
        await File.WriteAllTextAsync(Path.Combine(Program + ".former", "behaviour"), "0.9.9 exits");
        var back = await EdgectlAsync(["rollback", "edge", .. Places()]);
        Assert.True(back.ExitCode == 0, back.Error + back.Output);
        await RunningAsync("0.1.0");
    }

    [Theory]
    [InlineData("Stop", "stop-hangs", false)]
    [InlineData("Start", "start-hangs", false)]
    [InlineData("AwaitReady", "", false)]
    [InlineData("Stop", "stop-hangs", true)]
    [InlineData("Start", "start-hangs", true)]
    [InlineData("AwaitReady", "", true)]
    public async Task An_upgrade_whose_edgectl_is_killed_is_taken_back_by_whoever_asks_next(string step, string hangs, bool filesOnly)
    {
        await RunningAsync("0.1.0");
        if (hangs.Length > 0)
            await File.WriteAllTextAsync(Path.Combine(Data, hangs), "");
        var package = Pack("0.2.0", "unready");
        using (var edgectl = System.Diagnostics.Process.Start(Executables.Find("edgectl"), UpgradeArguments(package, "--ready-within", "300")))
        {
            await Eventually.HoldsAsync($"edgectl is at {step}", () => File.Exists(Path.Combine(Backups, "upgrade.json")) && Journal().Text("step") == step);
            string[] recover = ["rollback", "edge", "--if-unfinished", .. Places()];
            var busy = await EdgectlAsync(recover);
            Assert.Equal((0, "", ""), (busy.ExitCode, busy.Output, busy.Error));
            Assert.Equal(step, Journal().Text("step"));
            edgectl.Kill();
            await edgectl.WaitForExitAsync();
            File.Delete(Path.Combine(Data, hangs.Length > 0 ? hangs : "none"));

            // No other one begins before, and its job is told why.
            var next = await EdgectlAsync([.. UpgradeArguments(package).Select(word => word == "job-1" ? "job-2" : word)]);
            Assert.Equal(1, next.ExitCode);
            Assert.Contains($"cut short at its step {step}; run 'edgectl rollback edge' first", next.Error, StringComparison.Ordinal);
            Assert.Equal("job-2", JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(Backups, "refused.json"))).Text("job"));
            var verified = await EdgectlAsync([.. UpgradeArguments(package), "--verify"]);
            Assert.Contains($"cut short at its step {step}", verified.Error, StringComparison.Ordinal);

            if (filesOnly)
            {
                // As a power cut leaves it: nothing runs, and edgecore's unit starts it after this.
                await Tool.RunAsync(_directory.File("stop"), [], new ToolOptions(TimeProvider.System), default);
                recover = ["rollback", "edge", "--if-unfinished", "--files-only", "--config", Config, "--data-dir", Data, "--backup-dir", Backups];
            }

            var done = await EdgectlAsync(recover);
            Assert.True(done.ExitCode == 0, done.Error + done.Output);
            Assert.Contains($"the upgrade to 0.2.0 was cut short at its step {step}", done.Output, StringComparison.Ordinal);
            if (filesOnly)
            {
                Assert.False(File.Exists(Path.Combine(Data, "pid")));
                await Tool.RunAsync(_directory.File("start"), [], new ToolOptions(TimeProvider.System), default);
            }
        }

        await RunningAsync("0.1.0");
        Assert.Equal(("RolledBack", "job-1", "0.1.0", "0.2.0"), (Journal().Text("step"), Journal().Text("job"), Journal().Text("from"), Journal().Text("version")));
        Assert.Equal($"the upgrade to 0.2.0 was cut short at its step {step}", Journal().Text("problem"));
        var again = await EdgectlAsync("rollback", "edge", "--if-unfinished", "--config", Config, "--backup-dir", Backups);
        Assert.Equal((0, "", ""), (again.ExitCode, again.Output, again.Error));
    }

    [Fact]
    public async Task A_program_that_a_power_cut_left_without_its_name_is_put_back_by_the_place_that_the_journal_has()
    {
        await RunningAsync("0.1.0");
        Assert.Equal(2, (await UpgradeAsync(Pack("0.2.0", "exits"), "--ready-within", "3")).ExitCode);
        await Tool.RunAsync(_directory.File("stop"), [], new ToolOptions(TimeProvider.System), default);
        var journal = Journal()!.AsObject();
        journal["step"] = "Swap";
        await File.WriteAllTextAsync(Path.Combine(Backups, "upgrade.json"), journal.ToJsonString());
        Directory.Move(Program, Program + ".former");
        // Where the backups are stands in the config.
        await File.WriteAllTextAsync(Config, $"kind: EdgeCore\nmodules: {{taskManager: {{upgrade: {{backupDirectory: \"{Backups}\"}}}}}}\n");
        var done = await EdgectlAsync("rollback", "edge", "--if-unfinished", "--files-only", "--config", Config, "--data-dir", Data);
        Assert.True(done.ExitCode == 0, done.Error + done.Output);
        await Tool.RunAsync(_directory.File("start"), [], new ToolOptions(TimeProvider.System), default);
        await RunningAsync("0.1.0");
    }

    [Fact]
    public async Task What_got_stuck_is_left_to_an_operator()
    {
        Directory.CreateDirectory(Backups);
        await File.WriteAllTextAsync(Path.Combine(Backups, "upgrade.json"), """{"step":"Stuck"}""");
        var done = await EdgectlAsync(["rollback", "edge", "--if-unfinished", .. Places()]);
        Assert.Equal((0, "", ""), (done.ExitCode, done.Output, done.Error));
        Assert.Equal(1, (await EdgectlAsync(["rollback", "edge", "--files-only", .. Places()])).ExitCode);
    }

    [Fact]
    public async Task A_damaged_backup_is_not_put_back_and_only_the_newest_three_are_kept()
    {
        for (var i = 0; i < 5; i++)
            await new NodeUpgrade(new NodePlaces(Program, Config, Data, Backups, null, null), TimeProvider.System, _ => { }).BackUpAsync(default);
        Assert.Equal(NodeBackup.Kept, NodeBackup.List(Backups).Count);
        await File.AppendAllTextAsync(Path.Combine(NodeBackup.List(Backups)[0].Directory, "program/edgecore"), "x");
        var back = await EdgectlAsync(["rollback", "edge", .. Places()]);
        Assert.Equal(3, back.ExitCode);
        Assert.Contains("program/edgecore is damaged or gone", back.Error, StringComparison.Ordinal);
        await RunningAsync("0.1.0");
    }

    [Fact]
    public async Task Packages_are_made_by_edgectl_with_openssls_keys_and_signatures()
    {
        var none = new ToolOptions(TimeProvider.System);
        var (key, pub, package) = (_directory.File("k.pem"), _directory.File("k.pub"), _directory.File("p.tar.gz"));
        await Tool.RunAsync("openssl", ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], none, default);
        await Tool.RunAsync("openssl", ["ec", "-in", key, "-pubout", "-out", pub], none, default);
        var made = await EdgectlAsync("upgrade", "pack", "--from", Program, "--version", "0.1.0", "--key", key, "-o", package);
        Assert.True(made.ExitCode == 0, made.Error);
        Assert.Contains("Verified OK", await Tool.RunAsync("openssl", ["dgst", "-sha256", "-verify", pub, "-signature", package + ".sig", package], none, default), StringComparison.Ordinal);
        await Tool.RunAsync("openssl", ["dgst", "-sha256", "-sign", key, "-out", package + ".sig", package], none, default);
        var verified = await EdgectlAsync(["upgrade", "edge", "--verify", "--package", package, "--to", "v0.1.0", "--public-key", pub, .. Places()]);
        Assert.Contains("is of version '0.1.0', not 'v0.1.0'", verified.Error, StringComparison.Ordinal);
        Assert.Equal(0, (await EdgectlAsync(["upgrade", "edge", "--verify", "--package", package, "--to", "0.1.0", "--public-key", pub, .. Places()])).ExitCode);
    }

    [Fact]
    public async Task Confirm_names_the_version_that_waits_and_refuses_another_one()
    {
        var (waiting, confirmed) = (Path.Combine(Data, "upgrade/waiting.json"), Path.Combine(Data, "upgrade/confirmed"));
        var none = await EdgectlAsync("upgrade", "confirm", "--data-dir", Data);
        Assert.Equal(1, none.ExitCode);
        Assert.Contains($"no upgrade waits: there is no {waiting}; name edgecore's data directory", none.Error, StringComparison.Ordinal);

        Directory.CreateDirectory(Path.GetDirectoryName(waiting)!);
        const string Note = """{"version":"0.2.0","job":"1"}""";
        await File.WriteAllTextAsync(waiting, Note);
        var other = await EdgectlAsync("upgrade", "confirm", "--to", "0.3.0", "--data-dir", Data);
        Assert.Equal(1, other.ExitCode);
        Assert.Contains("the upgrade that waits is to version '0.2.0', not '0.3.0'; nothing was confirmed", other.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(confirmed));

        foreach (var to in (string[][])[["--to", "0.2.0"], []])
        {
            File.Delete(confirmed);
            var done = await EdgectlAsync(["upgrade", "confirm", .. to, "--data-dir", Data]);
            Assert.True(done.ExitCode == 0, done.Error);
            Assert.Equal("edgecore 0.2.0 is confirmed; the upgrade goes on\n", done.Output);
            Assert.Equal(Note, await File.ReadAllTextAsync(confirmed));
            Assert.Equal((UnixFileMode)Convert.ToInt32("600", 8), File.GetUnixFileMode(confirmed));
        }

        await File.WriteAllTextAsync(waiting, "{");
        Assert.Contains("does not say which version waits", (await EdgectlAsync("upgrade", "confirm", "--data-dir", Data)).Error, StringComparison.Ordinal);
    }

    private static Task<ToolResult> EdgectlAsync(params string[] arguments)
        => Tool.TryRunAsync(Executables.Find("edgectl"), arguments, new ToolOptions(TimeProvider.System), CancellationToken.None);

    private string[] Places()
        => ["--config", Config, "--data-dir", Data, "--program", Program + "/edgecore", "--backup-dir", Backups, "--settle", "0", "--stop-with", _directory.File("stop"), "--start-with", _directory.File("start")];

    private Task<ToolResult> UpgradeAsync(string package, params string[] more)
        => EdgectlAsync(UpgradeArguments(package, more));

    private string[] UpgradeArguments(string package, params string[] more)
        => ["upgrade", "edge", "--package", package, "--to", Path.GetFileName(package).Split('-')[0], "--public-key", _directory.File("edge.pub"), "--job", "job-1", .. Places(), .. more];

    private JsonNode? Journal() => JsonNode.Parse(File.ReadAllText(Path.Combine(Backups, "upgrade.json")));

    private async Task RunningAsync(string version)
    {
        using var control = new NodeControl(new NodePlaces(Program, Config, Data, Backups, null, null) { Settle = TimeSpan.Zero, ReadyWithin = TimeSpan.FromSeconds(30) }, TimeProvider.System);
        await control.AwaitReadyAsync(connected: true, default);
        Assert.Equal(version, await NodeControl.VersionAsync(Program, default));
    }

    private string Pack(string version, string behaviour, ECDsa? key = null, string? says = null, string? architecture = null)
    {
        var package = _directory.File($"{version}-{Directory.GetFiles(_directory.Path).Length}.tar.gz");
        var from = package + ".d";
        WriteProgram(from, says ?? version, behaviour);
        NodePackage.Write(from, version, architecture ?? NodePackage.ThisArchitecture, (key ?? _key).ExportPkcs8PrivateKeyPem(), package);
        return package;
    }

    // Rightly signed, and yet with a file that is not its own.
    private string Evil(string name)
    {
        var package = _directory.File($"0.2.0-evil-{Path.GetFileName(name)}.tar.gz");
        using (var output = File.Create(package))
        using (var gzip = new GZipStream(output, CompressionLevel.Fastest))
        using (var tar = new TarWriter(gzip))
        {
            var manifest = new JsonObject
            {
                ["format"] = "edge-node-package/v1", ["version"] = "0.2.0", ["architecture"] = NodePackage.ThisArchitecture,
                ["sha256"] = new JsonObject { ["edgecore"] = "00", ["../../evil"] = Convert.ToHexStringLower(SHA256.HashData("x"u8)) },
            };
            foreach (var (entry, text) in new[] { ("manifest.json", manifest.ToJsonString()), (name, "x") })
                tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, entry) { DataStream = new MemoryStream(System.Text.Encoding.UTF8.GetBytes(text)) });
        }

        File.WriteAllBytes(package + ".sig", _key.SignData(File.ReadAllBytes(package), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
        return package;
    }

    private static void WriteProgram(string directory, string version, string behaviour)
    {
        Directory.CreateDirectory(directory);
        File.WriteAllText(Path.Combine(directory, "edgecore"), StandIn);
        File.SetUnixFileMode(Path.Combine(directory, "edgecore"), (UnixFileMode)Convert.ToInt32("755", 8));
        File.WriteAllText(Path.Combine(directory, "behaviour"), $"{version} {behaviour}");
    }

    private void WriteScript(string name, string text)
    {
        File.WriteAllText(_directory.File(name), $"#!/bin/sh\n{text}\n");
        File.SetUnixFileMode(_directory.File(name), (UnixFileMode)Convert.ToInt32("755", 8));
    }

    private async Task<string> SqliteAsync(string sql)
        => (await Tool.RunAsync("python3", ["-c", "import sqlite3,sys\nd=sqlite3.connect(sys.argv[1])\nfor s in sys.argv[2].split(';'):\n  for r in d.execute(s): print(r[0])\nd.commit()", Path.Combine(Data, "edgecore.db"), sql], new ToolOptions(TimeProvider.System), default)).Trim();
}
