using System.Security.Cryptography;
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
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
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
        await UntilAsync("the upgrade is told", () => Reports().Length == 3);
        Assert.Equal(["Check True ", "BackUp True ", "Upgrade True "], Reports());
        Assert.Equal("0.1.0,0.2.0", Extend(2));
        var told = await File.ReadAllLinesAsync(_directory.File("told"));
        Assert.Equal(2, told.Length);
        Assert.Equal(
            $"upgrade edge --package {_directory.Path}/upgrade/package.tar.gz --to 0.2.0 --public-key {_directory.Path}/edge.pub --config {ConfigPath} --data-dir {_directory.Path} "
            + $"--program /opt/edgecore/edgecore --backup-dir {_directory.Path}/backups --stop-with /bin/true --start-with /bin/true --job 1", told[1]);
        Assert.Equal("package", await File.ReadAllTextAsync(_directory.File("upgrade/package.tar.gz")));
    }

    [Fact]
    public async Task Roll_back_is_told_with_its_reason()
    {
        Prepare(verify: "exit 0", upgrade: Journal("RolledBack", "it was not ready"));
        Start().TryTake(Job("0.2.0"));
        await UntilAsync("the roll-back is told", () => Reports().Length == 4);
        Assert.Equal(["Check True ", "BackUp True ", "Upgrade False it was not ready", "RollBack True "], Reports());
        Assert.Equal("0.1.0,0.1.0", Extend(2));
    }

    [Fact]
    public async Task Edgecore_that_was_stopped_by_the_upgrade_tells_its_end_after_its_start_and_begins_no_second_one()
    {
        Prepare(verify: "exit 0", upgrade: "sleep 600 & echo $! > " + _directory.File("pid"));
        Start().TryTake(Job("0.2.0"));
        await UntilAsync("edgectl runs", () => File.Exists(_directory.File("told")) && File.ReadAllLines(_directory.File("told")).Length == 2);
        await StopAsync();
        Directory.CreateDirectory(_directory.File("backups"));
        Start();
        File.WriteAllText(_directory.File("backups/upgrade.json"), """{"job":"another","step":"RolledBack"}""");
        File.WriteAllText(_directory.File("backups/upgrade.json"), """{"job":"1","step":"Succeeded","from":"0.1.0","version":"0.2.0"}""");
        await UntilAsync("the upgrade is told", () => Reports().Length == 3);
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
        await UntilAsync("it waits", () => Reports().Length == 2);
        Assert.Equal(["Check True ", "WaitingConfirmation True "], Reports());
        Assert.Single(File.ReadAllLines(_directory.File("told")));
        File.WriteAllText(_directory.File("upgrade/confirmed"), "");
        await UntilAsync("the upgrade is told", () => Reports().Length == 4);
        Assert.Equal("Upgrade True ", Reports()[3]);
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
        await UntilAsync("all are refused", () => Reports().Length == 4);
        Assert.Equal("Check False edgectl upgrade edge: somebody else signed it", Reports()[0]);
        Assert.StartsWith("Check False spec.version is '../etc', must be", Reports()[1], StringComparison.Ordinal);
        Assert.Contains("/0.3.0/edgecore-", Reports()[2], StringComparison.Ordinal);
        Assert.Contains($"not sha256:{sum} (imageDigestGatter.", Reports()[3], StringComparison.Ordinal);
        Assert.Single(File.ReadAllLines(_directory.File("told")));
    }

    [Fact]
    public async Task Edgectl_that_ends_without_a_word_fails_the_task()
    {
        Prepare(verify: "exit 0", upgrade: "exit 1");
        Start().TryTake(Job("0.2.0"));
        await UntilAsync("the failure is told", () => Reports().Length == 2);
        Assert.StartsWith("BackUp False edgectl did not say how the upgrade ended", Reports()[1], StringComparison.Ordinal);
    }

    [Fact]
    public void Source_must_be_https_or_a_file()
    {
        Prepare("", "");
        File.WriteAllText(ConfigPath, File.ReadAllText(ConfigPath).Replace("file://", "http://", StringComparison.Ordinal));
        Assert.Contains("must begin with https:// or file:///", Assert.Throws<Common.Configuration.ConfigException>(Options).Message, StringComparison.Ordinal);
    }

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

    private string[] Reports() => [.. _uplink.Entries.Select(Read).Select(one => $"{one.Action} {one.Succeeded} {one.Reason}")];

    private string Extend(int index) => _uplink.Entries.Select(Read).ElementAt(index).Extend;

    private static NodeTaskReport Read(UplinkEntry entry) => NodeTaskReport.TryRead(entry.Content, out var error) ?? throw new InvalidOperationException(error);

    private static async Task UntilAsync(string what, Func<bool> condition)
    {
        var since = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(since) < s_patience, $"not within {s_patience}: {what}");
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System);
        }
    }
}
