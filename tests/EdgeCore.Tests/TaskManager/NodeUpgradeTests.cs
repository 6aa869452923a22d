using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Core.TaskManager;
using Edge.Protocol.Messages;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests.TaskManager;

/// <summary>NodeUpgradeJobs at a node: packages are fetched, edgectl is started (here a script in its place that notes what it was told), and its journal is told to the cloud.</summary>
[Trait("Category", "Kubernetes")]
public sealed class NodeUpgradeTests : IAsyncDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly FakeMetaStore _meta = new();
    private readonly FakeUplink _uplink = new();
    private readonly List<(Task Run, CancellationTokenSource Stop)> _running = [];

    private string ConfigPath => _directory.File("edgecore.yaml");

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _directory.Dispose();
    }

    [Fact]
    public async Task Upgrade_is_handed_to_edgectl_and_its_success_is_told()
    {
        Prepare(verify: "exit 0", upgrade: Journal("Succeeded", ""));
        Start().TryTake(Job("0.2.0"));
        await Eventually.HoldsAsync("the upgrade is told", () => Reports().Length == 3);
        Assert.Equal(["Check True ", "BackUp True ", "Upgrade True "], Reports());
        Assert.Equal("0.1.0,0.2.0", Extend(2));
        var told = await File.ReadAllLinesAsync(_directory.File("told"));
        Assert.Equal(2, told.Length);
        Assert.Equal(
            $"upgrade edge --package {_directory.Path}/upgrade/package.tar.gz --to 0.2.0 --public-key {_directory.Path}/edge.pub --config {ConfigPath} --data-dir {_directory.Path} "
            + $"--program /opt/edgecore/edgecore --backup-dir {_directory.Path}/backups --ready-within 120 --stop-with /bin/true --start-with /bin/true --job 1", told[1]);
        Assert.Equal("package", await File.ReadAllTextAsync(_directory.File("upgrade/package.tar.gz")));
    }

    [Fact]
    public async Task Roll_back_is_told_with_its_reason()
    {
        Prepare(verify: "exit 0", upgrade: Journal("RolledBack", "it was not ready"));
        Start().TryTake(Job("0.2.0"));
        await Eventually.HoldsAsync("the roll-back is told", () => Reports().Length == 4);
        Assert.Equal(["Check True ", "BackUp True ", "Upgrade False it was not ready", "RollBack True "], Reports());
        Assert.Equal("0.1.0,0.1.0", Extend(2));
    }

    [Fact]
    public async Task Edgecore_that_was_stopped_by_the_upgrade_tells_its_end_after_its_start_and_begins_no_second_one()
    {
        Prepare(verify: "exit 0", upgrade: "sleep 600 & echo $! > " + _directory.File("pid"));
        Start().TryTake(Job("0.2.0"));
        await Eventually.HoldsAsync("edgectl runs", () => File.Exists(_directory.File("told")) && File.ReadAllLines(_directory.File("told")).Length == 2);
        await StopAsync();
        Directory.CreateDirectory(_directory.File("backups"));
        Start();
        File.WriteAllText(_directory.File("backups/upgrade.json"), """{"job":"another","step":"RolledBack"}""");
        File.WriteAllText(_directory.File("backups/upgrade.json"), """{"job":"1","step":"Succeeded","from":"0.1.0","version":"0.2.0"}""");
        await Eventually.HoldsAsync("the upgrade is told", () => Reports().Length == 3);
        Assert.Equal(["Check True ", "BackUp True ", "Upgrade True "], Reports());
        Assert.Equal(2, File.ReadAllLines(_directory.File("told")).Length);
        using var sleeper = System.Diagnostics.Process.GetProcessById(int.Parse(File.ReadAllText(_directory.File("pid")), System.Globalization.CultureInfo.InvariantCulture));
        sleeper.Kill();
    }

    [Fact]
    public async Task Confirmation_is_waited_for()
    {
        Prepare(verify: "exit 0", upgrade: Journal("Succeeded", ""));
        Start().TryTake(Job("0.2.0", ("requireConfirmation", true)));
        await Eventually.HoldsAsync("it waits", () => Reports().Length == 2);
        Assert.Equal(["Check True ", "WaitingConfirmation True "], Reports());
        Assert.Single(File.ReadAllLines(_directory.File("told")));
        Confirm();
        await Eventually.HoldsAsync("the upgrade is told", () => Reports().Length == 5);
        Assert.Equal(["WaitingConfirmation True confirmed", "BackUp True ", "Upgrade True "], Reports()[2..]);
    }

    [Fact]
    public async Task An_upgrade_that_waits_for_confirmation_holds_up_no_other_job_and_a_further_upgrade_takes_its_place()
    {
        Prepare(verify: "exit 0", upgrade: Journal("Succeeded", "").Replace("\"1\"", "\"3\"", StringComparison.Ordinal));
        var tasks = Start();
        tasks.TryTake(Job("0.2.0", ("requireConfirmation", true), "1"));
        tasks.TryTake(Update("2"));
        await Eventually.HoldsAsync("the other job is told", () => Reports().Length == 3);
        Assert.Equal(["Check True ", "WaitingConfirmation True "], Reports()[..2]);
        Assert.StartsWith("Check False updateFields 'modules..x': must be a key path", Reports()[2], StringComparison.Ordinal);

        tasks.TryTake(Job("0.2.0", ("requireConfirmation", true), "3"));
        await Eventually.HoldsAsync("the second upgrade waits", () => Reports().Length == 6);
        Assert.Equal(["BackUp False NodeUpgradeJob 'job-3' came before it was confirmed and takes its place", "Check True ", "WaitingConfirmation True "], Reports()[3..]);
        Confirm();
        await Eventually.HoldsAsync("the upgrade is told", () => Reports().Length == 9);
        Assert.Equal(["WaitingConfirmation True confirmed", "BackUp True ", "Upgrade True "], Reports()[6..]);
        Assert.Single(File.ReadAllLines(_directory.File("told")), line => line.EndsWith("--job 3", StringComparison.Ordinal));
        Assert.DoesNotContain(File.ReadAllLines(_directory.File("told")), line => line.EndsWith("--job 1", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_confirmation_that_comes_while_edgecore_is_stopped_counts_and_nothing_is_fetched_or_told_twice()
    {
        Prepare(verify: "exit 0", upgrade: Journal("Succeeded", ""));
        Start().TryTake(Job("0.2.0", ("requireConfirmation", true)));
        await Eventually.HoldsAsync("it waits, and notes it", () => Reports().Length == 2 && Encoding.UTF8.GetString(_meta.ListLocal("tasks")["1"].Span).Contains("confirming", StringComparison.Ordinal));
        await StopAsync();
        Directory.Delete(_directory.File("source"), recursive: true);
        Start().TryTake(Update("2"));
        await Eventually.HoldsAsync("the other job is told", () => Reports().Length == 3);
        await StopAsync();
        Confirm();
        Start();
        await Eventually.HoldsAsync("the upgrade is told", () => Reports().Length == 6);
        Assert.Equal(["WaitingConfirmation True confirmed", "BackUp True ", "Upgrade True "], Reports()[3..]);
    }

    [Fact]
    public async Task What_edgectl_refuses_or_the_job_does_not_mean_fails_the_check_and_starts_nothing()
    {
        Prepare(verify: "echo 'edgectl upgrade edge: somebody else signed it' >&2; exit 1", upgrade: "exit 0");
        var tasks = Start();
        var sum = Convert.ToHexStringLower(SHA256.HashData("other"u8));
        tasks.TryTake(Job("0.2.0", uid: "1"));
        tasks.TryTake(Job("../etc", uid: "2"));
        tasks.TryTake(Job("0.3.0", uid: "3"));
        tasks.TryTake(Job("0.2.0", ("imageDigestGatter", new JsonObject { ["amd64"] = "sha256:" + sum, ["arm64"] = "sha256:" + sum }), "4"));
        await Eventually.HoldsAsync("all are refused", () => Reports().Length == 4);
        Assert.Equal("Check False edgectl upgrade edge: somebody else signed it", Reports()[0]);
        Assert.StartsWith("Check False spec.version is '../etc', must be", Reports()[1], StringComparison.Ordinal);
        Assert.Contains("/0.3.0/edgecore-", Reports()[2], StringComparison.Ordinal);
        Assert.Contains($"not sha256:{sum} (imageDigestGatter.", Reports()[3], StringComparison.Ordinal);
        Assert.Single(File.ReadAllLines(_directory.File("told")));
    }

    [Theory]
    [InlineData("")]
    [InlineData("-0.2.0")]
    [InlineData("--help")]
    [InlineData(".hidden")]
    [InlineData("0.2.0/../../etc")]
    [InlineData("@arguments")]
    [InlineData("0.2.0 --verify")]
    [InlineData("0.2.0\n")]
    public async Task What_is_no_version_is_refused_before_anything_is_fetched_or_started(string version)
    {
        Prepare(verify: "exit 0", upgrade: Journal("Succeeded", ""));
        Start().TryTake(Job(version));
        await Eventually.HoldsAsync("it is refused", () => Reports().Length == 1);
        Assert.StartsWith($"Check False spec.version is '{version}', must be 1 to 64 letters", Reports()[0], StringComparison.Ordinal);
        Assert.False(File.Exists(_directory.File("told")));
        Assert.False(Directory.Exists(_directory.File("upgrade")));
    }

    [Theory]
    [InlineData("0.2.0")]
    [InlineData("v1.0.0-rc.1+build_7")]
    public void Versions_as_they_are_written_are_taken(string version) => Assert.Null(NodeUpgrader.VersionProblem(version));

    [Fact]
    public void A_version_that_is_too_long_is_refused_and_not_repeated_whole()
        => Assert.True(NodeUpgrader.VersionProblem(new string('1', 10_000)) is { Length: < 300 });

    [Fact]
    public async Task Packages_come_over_https_from_a_server_of_the_given_authority()
    {
        using var authority = new Authority("packages");
        using var certificate = authority.Issue();
        await using var server = await HttpPeer.StartAsync(certificate);
        server.Answer = request => request.Path.Contains("/0.2.0/edgecore-", StringComparison.Ordinal) ? (200, request.Path.EndsWith(".sig", StringComparison.Ordinal) ? "a signature" : "from afar") : (404, "");
        PrepareHttps(server, authority.Pem);
        var tasks = Start();
        tasks.TryTake(Job("0.2.0"));
        await Eventually.HoldsAsync("the upgrade is told", () => Reports().Length == 3);
        Assert.Equal(["Check True ", "BackUp True ", "Upgrade True "], Reports());
        Assert.Equal(("from afar", "a signature"), (File.ReadAllText(_directory.File("upgrade/package.tar.gz")), File.ReadAllText(_directory.File("upgrade/package.tar.gz.sig"))));
        tasks.TryTake(Job("0.9.0", uid: "2"));
        await Eventually.HoldsAsync("what is not there is told", () => Reports().Length == 4);
        Assert.Contains("/packages/0.9.0/edgecore-", Reports()[3], StringComparison.Ordinal);
        Assert.Contains("404", Reports()[3], StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_server_of_another_authority_gets_no_request_and_the_reason_names_the_key()
    {
        using var authority = new Authority("packages");
        using var other = new Authority("packages");
        using var certificate = authority.Issue();
        await using var server = await HttpPeer.StartAsync(certificate);
        PrepareHttps(server, other.Pem);
        await RefusedAsync("1", "its server's certificate is not accepted", "modules.taskManager.upgrade.caFile");
        // Without a file the system's authorities count, and a file without any is named.
        PrepareHttps(server, null);
        await RefusedAsync("2", "its server's certificate is not accepted", "the system's CAs");
        PrepareHttps(server, "no certificate");
        await RefusedAsync("3", "has no CA certificates in PEM", _directory.File("ca.pem"));
        Assert.Empty(server.Requests);

        async Task RefusedAsync(string uid, params string[] words)
        {
            var before = Reports().Length;
            Start().TryTake(Job("0.2.0", uid: uid));
            await Eventually.HoldsAsync("it is refused", () => Reports().Length > before);
            Assert.StartsWith("Check False ", Reports()[^1], StringComparison.Ordinal);
            Assert.All(words, word => Assert.Contains(word, Reports()[^1], StringComparison.Ordinal));
            await StopAsync();
        }
    }

    [Fact]
    public async Task Edgectl_that_ends_without_a_word_fails_the_task()
    {
        Prepare(verify: "exit 0", upgrade: "exit 1");
        Start().TryTake(Job("0.2.0"));
        await Eventually.HoldsAsync("the failure is told", () => Reports().Length == 2);
        Assert.StartsWith("BackUp False edgectl did not say how the upgrade ended", Reports()[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_confirmation_is_told_before_edgectl_begins_so_that_the_clouds_timeout_counts_from_there()
    {
        Prepare(verify: "exit 0", upgrade: "sleep 600 & echo $! > " + _directory.File("pid") + "; wait");
        Start().TryTake(Job("0.2.0", ("requireConfirmation", true)));
        await Eventually.HoldsAsync("it waits", () => Reports().Length == 2);
        Confirm();
        await Eventually.HoldsAsync("edgectl runs", () => File.Exists(_directory.File("pid")) && File.ReadAllText(_directory.File("pid")).EndsWith('\n'));
        Assert.Equal(["Check True ", "WaitingConfirmation True ", "WaitingConfirmation True confirmed"], Reports());
        using var sleeper = System.Diagnostics.Process.GetProcessById(int.Parse(File.ReadAllText(_directory.File("pid")), System.Globalization.CultureInfo.InvariantCulture));
        sleeper.Kill();
    }

    [Theory]
    [InlineData(true, "BackUp True |Upgrade True ")]
    [InlineData(false, "BackUp False the upgrade was cut short at its step AwaitReady; run 'edgectl rollback edge --if-unfinished' at the node")]
    public async Task After_a_start_edgectl_is_waited_for_while_it_is_at_work_and_one_that_was_killed_is_told_at_once(bool isAtWork, string told)
    {
        Prepare(verify: "exit 0", upgrade: "exit 1");
        Directory.CreateDirectory(_directory.File("backups"));
        File.WriteAllText(_directory.File("backups/upgrade.json"), """{"job":"1","step":"AwaitReady","from":"0.1.0","version":"0.2.0"}""");
        var row = new JsonObject
        {
            ["resource"] = new NodeTaskPath(NodeTaskWire.NodeUpgrade, "job-1", "edge-1").ToString(), ["content"] = new JsonObject { ["version"] = "0.2.0" }, ["state"] = "running", ["at"] = "", ["upgrading"] = true,
        };
        await _meta.PutLocalAsync("tasks", "1", Encoding.UTF8.GetBytes(row.ToJsonString()), default);
        // The kernel lets go of it when edgectl ends, however it does.
        using (var held = new FileStream(_directory.File("backups/lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None))
        {
            if (!isAtWork)
                held.Dispose();
            Start();
            if (isAtWork)
                File.WriteAllText(_directory.File("backups/upgrade.json"), """{"job":"1","step":"Succeeded","from":"0.1.0","version":"0.2.0"}""");
            await Eventually.HoldsAsync("the end is told", () => Reports().Length == told.Split('|').Length);
        }

        Assert.Equal(told.Split('|'), Reports());
        Assert.False(File.Exists(_directory.File("told")), "no second one is begun");
    }

    [Fact]
    public async Task A_job_that_edgectl_refused_since_another_upgrade_was_cut_short_is_told_why()
    {
        Prepare(verify: "exit 0", upgrade: $$"""
            mkdir -p {{_directory.Path}}/backups
            echo '{"job":"another","step":"Stuck"}' > {{_directory.Path}}/backups/upgrade.json
            echo '{"job":"1","problem":"an upgrade was cut short at its step Stuck"}' > {{_directory.Path}}/backups/refused.json
            exit 1
            """);
        Start().TryTake(Job("0.2.0"));
        await Eventually.HoldsAsync("the refusal is told", () => Reports().Length == 2);
        Assert.Equal("BackUp False an upgrade was cut short at its step Stuck", Reports()[1]);
    }

    [Fact]
    public void Source_must_be_https_or_a_file()
    {
        Prepare("", "");
        File.WriteAllText(ConfigPath, File.ReadAllText(ConfigPath).Replace("file://", "http://", StringComparison.Ordinal));
        Assert.Contains("must begin with https:// or file:///", Assert.Throws<Common.Configuration.ConfigException>(Options).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_confirmation_that_was_meant_for_the_upgrade_before_is_none_for_the_one_that_took_its_place()
    {
        Prepare(verify: "exit 0", upgrade: Journal("Succeeded", "").Replace("\"1\"", "\"2\"", StringComparison.Ordinal));
        var tasks = Start();
        tasks.TryTake(Job("0.2.0", ("requireConfirmation", true)));
        await Eventually.HoldsAsync("the first waits", () => Reports().Length == 2);
        Assert.Equal((UnixFileMode)Convert.ToInt32("600", 8), File.GetUnixFileMode(_directory.File("upgrade/waiting.json")));
        var first = await File.ReadAllTextAsync(_directory.File("upgrade/waiting.json"));
        Assert.Equal("""{"version":"0.2.0","job":"1"}""", first);
        tasks.TryTake(Job("0.2.0", ("requireConfirmation", true), "2"));
        await Eventually.HoldsAsync("the second waits", () => Reports().Length == 5);

        // edgectl had read the first one's note.
        await File.WriteAllTextAsync(_directory.File("upgrade/confirmed"), first);
        tasks.TryTake(Update("3"));
        await Eventually.HoldsAsync("the other job is told", () => Reports().Length == 6);
        Assert.StartsWith("Check False updateFields", Reports()[5], StringComparison.Ordinal);
        Assert.DoesNotContain(File.ReadAllLines(_directory.File("told")), line => line.Contains("--job", StringComparison.Ordinal));
        Confirm();
        await Eventually.HoldsAsync("the upgrade is told", () => Reports().Length == 9);
        Assert.Equal(["WaitingConfirmation True confirmed", "BackUp True ", "Upgrade True "], Reports()[6..]);
        Assert.False(File.Exists(_directory.File("upgrade/waiting.json")) || File.Exists(_directory.File("upgrade/confirmed")), "nothing waits any more");
    }

    // As 'edgectl upgrade confirm' does it.
    private void Confirm() => File.Copy(_directory.File("upgrade/waiting.json"), _directory.File("upgrade/confirmed"), overwrite: true);

    private string Journal(string step, string problem)
        => $$"""
            mkdir -p {{_directory.Path}}/backups
            echo '{"job":"1","step":"{{step}}","from":"0.1.0","version":"0.2.0","problem":"{{problem}}","rollBackProblem":""}' > {{_directory.Path}}/backups/upgrade.json
            """;

    private void Prepare(string verify, string upgrade)
    {
        var edgectl = _directory.File("edgectl");
        File.WriteAllText(edgectl, $"#!/bin/sh\necho \"$@\" >> {_directory.File("told")}\ncase \"$*\" in *--verify) {verify};; esac\n{upgrade}\n");
        File.SetUnixFileMode(edgectl, (UnixFileMode)Convert.ToInt32("755", 8));
        Directory.CreateDirectory(_directory.File("source/0.2.0"));
        foreach (var architecture in (string[])["amd64", "arm64"])
        {
            File.WriteAllText(_directory.File($"source/0.2.0/edgecore-{architecture}.tar.gz"), "package");
            File.WriteAllText(_directory.File($"source/0.2.0/edgecore-{architecture}.tar.gz.sig"), "signature");
        }

        File.WriteAllText(ConfigPath, $$"""
            apiVersion: edgecore.config.kubeedge.io/v1alpha2
            kind: EdgeCore
            modules:
              edged: {enable: false}
              taskManager:
                enable: true
                upgrade:
                  source: file://{{_directory.Path}}/source/
                  publicKey: {{_directory.Path}}/edge.pub
                  edgectl: {{edgectl}}
                  program: /opt/edgecore/edgecore
                  backupDirectory: {{_directory.Path}}/backups
                  stopWith: /bin/true
                  startWith: /bin/true
            """);
    }

    private void PrepareHttps(HttpPeer server, string? authorities)
    {
        Prepare(verify: "exit 0", upgrade: Journal("Succeeded", ""));
        if (authorities is not null)
            File.WriteAllText(_directory.File("ca.pem"), authorities);
        File.WriteAllText(ConfigPath, File.ReadAllText(ConfigPath).Replace(
            $"source: file://{_directory.Path}/source/", $"source: https://127.0.0.1:{server.Port}/packages" + (authorities is null ? "" : $"\n      caFile: {_directory.File("ca.pem")}"), StringComparison.Ordinal));
    }

    private TaskService Start()
    {
        var tasks = new TaskService(new EdgeServices(Options(), _meta, _uplink, TimeProvider.System, new Random(1), NullLoggerFactory.Instance), () => throw new InvalidOperationException("no upgrade restarts edgecore by itself"));
        var stop = new CancellationTokenSource();
        _running.Add((tasks.RunAsync(stop.Token), stop));
        return tasks;
    }

    private async Task StopAsync()
    {
        foreach (var (run, stop) in _running)
        {
            await stop.CancelAsync();
            await run.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            stop.Dispose();
        }

        _running.Clear();
    }

    private EdgeCoreOptions Options() => EdgeCoreConfig.Load(ConfigPath, [], _directory.Path, "edge-1");

    private static Message Job(string version, (string Key, JsonNode? Value)? more = null, string uid = "1")
    {
        var spec = new JsonObject { ["version"] = version, [NodeTaskWire.JobUid] = uid };
        if (more is { } one)
            spec[one.Key] = one.Value;
        return Message.Create(
            TimeProvider.System, NodeTaskWire.TaskManager, NodeTaskWire.TaskManager, "Check", new NodeTaskPath(NodeTaskWire.NodeUpgrade, "job-" + uid, "edge-1").ToString(), Encoding.UTF8.GetBytes(spec.ToJsonString()));
    }

    // One that fails at once.
    private static Message Update(string uid) => Message.Create(
        TimeProvider.System, NodeTaskWire.TaskManager, NodeTaskWire.TaskManager, "Check", new NodeTaskPath(NodeTaskWire.ConfigUpdate, "job-" + uid, "edge-1").ToString(),
        Encoding.UTF8.GetBytes(new JsonObject { ["updateFields"] = new JsonObject { ["modules..x"] = "1" }, [NodeTaskWire.JobUid] = uid }.ToJsonString()));

    private string[] Reports() => [.. _uplink.Entries.Select(Read).Select(one => $"{one.Action} {one.Succeeded} {one.Reason}")];

    private string Extend(int index) => _uplink.Entries.Select(Read).ElementAt(index).Extend;

    private static NodeTaskReport Read(UplinkEntry entry) => NodeTaskReport.TryRead(entry.Content, out var error) ?? throw new InvalidOperationException(error);

    /// <summary>A CA, and a certificate of it for 127.0.0.1.</summary>
    private sealed class Authority : IDisposable
    {
        private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        private readonly X509Certificate2 _certificate;

        public Authority(string name)
        {
            var request = new CertificateRequest("CN=" + name, _key, HashAlgorithmName.SHA256);
            request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
            request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
            _certificate = request.CreateSelfSigned(TimeProvider.System.GetUtcNow().AddDays(-1), TimeProvider.System.GetUtcNow().AddDays(1));
        }

        public string Pem => _certificate.ExportCertificatePem();

        public X509Certificate2 Issue()
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest("CN=127.0.0.1", key, HashAlgorithmName.SHA256);
            var names = new SubjectAlternativeNameBuilder();
            names.AddIpAddress(System.Net.IPAddress.Loopback);
            request.CertificateExtensions.Add(names.Build());
            using var made = request.Create(_certificate, TimeProvider.System.GetUtcNow().AddHours(-1), TimeProvider.System.GetUtcNow().AddHours(1), [1, 2, 3]);
            return made.CopyWithPrivateKey(key);
        }

        public void Dispose()
        {
            _certificate.Dispose();
            _key.Dispose();
        }
    }
}
