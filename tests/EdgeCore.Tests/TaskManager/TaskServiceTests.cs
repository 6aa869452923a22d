using System.Text;
using System.Text.Json.Nodes;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Core.TaskManager;
using Edge.Kubernetes;
using Edge.Local.Images;
using Edge.Protocol.Messages;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests.TaskManager;

/// <summary>Jobs of the cloud at a node: the config on real files.</summary>
[Trait("Category", "Kubernetes")]
public sealed class TaskServiceTests : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly TempDirectory _directory = new();
    private readonly FakeMetaStore _meta = new();
    private readonly FakeUplink _uplink = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _running = [];

    private string ConfigPath => _directory.File("edgecore.yaml");

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        foreach (var task in _running)
            await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public async Task Config_is_changed_with_a_restart_and_reported_once_it_has_connected()
    {
        WriteConfig();
        var restarted = new TaskCompletionSource();
        Assert.True(Start(restarted).TryTake(Update("1", "modules.edgeHub.heartbeat", "7")));
        await restarted.Task.WaitAsync(s_patience);
        Assert.Equal(["Check True", "BackUp True"], Reports());
        Assert.Equal(7, Options().EdgeHub.HeartbeatSeconds);
        Assert.Contains("heartbeat: 15", await File.ReadAllTextAsync(ConfigTrial.BackupPath(ConfigPath)), StringComparison.Ordinal);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(ConfigPath));

        Assert.Null(ConfigTrial.Start(ConfigPath));
        _uplink.IsConnected = false;
        Start();
        await Eventually.HoldsAsync("the new run waits for the link", () => _uplink.IsWatched);
        _uplink.Change(true);
        await Eventually.HoldsAsync("the update is reported", () => Reports().Length == 3);

        Assert.Equal("Update True", Reports()[2]);
        await Eventually.HoldsAsync("the trial ends", () => ConfigTrial.Load(ConfigPath) is null);
        Assert.Null(ConfigTrial.TakeBack(ConfigPath, "too late"));
        Assert.Equal(7, Options().EdgeHub.HeartbeatSeconds);
    }

    [Fact]
    public async Task Config_with_which_the_node_does_not_connect_is_taken_back()
    {
        WriteConfig();
        var restarted = new TaskCompletionSource();
        Start(restarted).TryTake(Update("1", "modules.edgeHub.websocket.server", "192.0.2.1:1"));
        await restarted.Task.WaitAsync(s_patience);
        Assert.Equal("192.0.2.1:1", Options().EdgeHub.Server);

        _uplink.IsConnected = false;
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        var again = new TaskCompletionSource();
        Start(again, time);
        await Eventually.HoldsAsync("the new run waits for the link", () => _uplink.IsWatched);
        Assert.Equal(2, Reports().Length);
        time.Advance(TimeSpan.FromSeconds(120));
        await again.Task.WaitAsync(s_patience);
        Assert.Equal("127.0.0.1:10000", Options().EdgeHub.Server);

        Start();
        await Eventually.HoldsAsync("both are reported", () => Reports().Length == 4);
        Assert.Equal(["Update False", "RollBack True"], Reports()[2..]);
        Assert.Contains("did not connect to the cloud within 120 s", Reasons()[2], StringComparison.Ordinal);
        await Eventually.HoldsAsync("the trial ends", () => ConfigTrial.Load(ConfigPath) is null);
    }

    [Theory]
    [InlineData("modules.edgeHub.heartbeat", "soon", "modules.edgeHub.heartbeat: is 'soon', must be a whole number")]
    [InlineData("modules.edgeHub.hartbeat", "7", "did you mean 'heartbeat'?")]
    [InlineData("modules.edged.hostnameOverride", "other", "the node's name would become 'other'")]
    [InlineData("modules.taskManager.enable", "false", "nobody could report this job's end")]
    [InlineData("modules.taskManager.upgrade.publicKey", "/tmp/mine.pub", "modules.taskManager.upgrade cannot be changed from the cloud")]
    [InlineData("database.dataSource", "/tmp/x.db", "database.dataSource cannot be changed from the cloud")]
    [InlineData("modules.edgeHub.token.x", "1", "modules.edgeHub.token")]
    [InlineData("commonConfig.monitorServer.enable", "false", "is set on edgecore's command line")]
    [InlineData("modules..x", "1", "must be a key path")]
    public async Task Change_that_edgecore_could_not_start_with_is_refused_and_nothing_is_touched(string key, string value, string reason)
    {
        WriteConfig();
        var before = await File.ReadAllTextAsync(ConfigPath);
        Start().TryTake(Update("1", key, value));
        await Eventually.HoldsAsync("the check is reported", () => Reports().Length == 1);
        Assert.Equal("Check False", Reports()[0]);
        Assert.Contains(reason, Reasons()[0], StringComparison.Ordinal);
        Assert.Equal(before, await File.ReadAllTextAsync(ConfigPath));
        Assert.False(File.Exists(ConfigTrial.BackupPath(ConfigPath)));
    }

    [Fact]
    public async Task Comments_of_the_config_stay_where_the_change_can_be_put_in_its_place()
    {
        WriteConfig();
        await File.WriteAllTextAsync(ConfigPath, "# of this node\n" + (await File.ReadAllTextAsync(ConfigPath)).Replace("heartbeat: 15", "heartbeat: 15   # seconds", StringComparison.Ordinal));
        var before = await File.ReadAllTextAsync(ConfigPath);
        var restarted = new TaskCompletionSource();
        Start(restarted).TryTake(Update("1", "modules.edgeHub.heartbeat", "7"));
        await restarted.Task.WaitAsync(s_patience);
        Assert.Equal(before.Replace("15", "7", StringComparison.Ordinal), await File.ReadAllTextAsync(ConfigPath));
        Assert.Equal("", Reasons()[0]);
    }

    [Fact]
    public async Task A_change_that_takes_a_rewriting_says_that_comments_are_lost_and_where_they_are()
    {
        WriteConfig();
        await File.WriteAllTextAsync(ConfigPath, "# of this node\n" + (await File.ReadAllTextAsync(ConfigPath)).Replace("edged: {enable: false}", "edged:\n    enable: false\n    nodeLabels:\n      a: b", StringComparison.Ordinal));
        var restarted = new TaskCompletionSource();
        Start(restarted).TryTake(Update("1", "modules.edged.nodeLabels", "{c: d}"));
        if (await Task.WhenAny(restarted.Task, Task.Delay(s_patience)) != restarted.Task)
            Assert.Fail(string.Join("; ", Reasons()));
        Assert.Equal(["Check True", "BackUp True"], Reports());
        Assert.Contains("loses its comments", Reasons()[0], StringComparison.Ordinal);
        Assert.Contains(ConfigTrial.BackupPath(ConfigPath), Reasons()[0], StringComparison.Ordinal);
        Assert.Contains("# of this node", await File.ReadAllTextAsync(ConfigTrial.BackupPath(ConfigPath)), StringComparison.Ordinal);
        Assert.Equal(["c"], Options().Edged.NodeLabels.Select(label => label.Key));
    }

    [Fact]
    public async Task Job_that_comes_again_is_done_once_and_another_is_another()
    {
        WriteConfig();
        var tasks = Start();
        tasks.TryTake(Update("1", "nothing", "1"));
        tasks.TryTake(Update("1", "nothing", "1"));
        tasks.TryTake(Update("2", "nothing", "1"));
        await Eventually.HoldsAsync("two jobs", () => Reports().Length == 2);
        tasks.TryTake(Update("1", "nothing", "1"));
        tasks.TryTake(Update("3", "nothing", "1"));
        await Eventually.HoldsAsync("a third job", () => Reports().Length == 3);
        Assert.Equal(3, _meta.ListLocal("tasks").Count);
    }

    [Fact]
    public async Task What_this_node_does_not_do_is_reported_as_failed()
    {
        WriteConfig();
        var on = Start();
        on.TryTake(Message("nodeupgradejob", "1", new JsonObject { ["version"] = "v2" }));
        on.TryTake(Message("imageprepulljob", "2", new JsonObject { ["imagePrePullTemplate"] = new JsonObject { ["images"] = new JsonArray("x") } }));
        await Eventually.HoldsAsync("both fail", () => Reports().Length == 2);
        Assert.Equal("modules.taskManager.upgrade.source is not set at this node: where packages come from", Reasons()[0]);
        Assert.Equal("modules.edged.enable is false: this node runs no containers", Reasons()[1]);

        WriteConfig("false");
        Start().TryTake(Update("3", "modules.edgeHub.heartbeat", "7"));
        await Eventually.HoldsAsync("the third fails", () => Reports().Length == 3);
        Assert.Contains("modules.taskManager.enable is false", Reasons()[2], StringComparison.Ordinal);
    }

    [Fact]
    public void A_start_with_a_changed_config_that_cannot_be_counted_says_which_file_and_what_to_do()
    {
        WriteConfig();
        ConfigTrial.BackUp(ConfigPath);
        ConfigTrial.Begin(ConfigPath, "kind: EdgeCore", "job", "resource");
        Directory.CreateDirectory(ConfigPath + ".trial.tmp"); // in the way of every write of the record, also for root
        var refused = Assert.Throws<StoreException>(() => ConfigTrial.Start(ConfigPath));
        Assert.Contains(ConfigPath + ".trial cannot be written", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Config_that_kills_edgecore_is_taken_back_by_the_starts_that_follow()
    {
        WriteConfig();
        ConfigTrial.BackUp(ConfigPath);
        ConfigTrial.Begin(ConfigPath, "kind: Nonsense", "job", "resource");
        for (var start = 1; start <= 3; start++)
            Assert.Null(ConfigTrial.Start(ConfigPath));
        Assert.Contains("started 3 times", ConfigTrial.Start(ConfigPath), StringComparison.Ordinal);
        Assert.Contains("heartbeat: 15", File.ReadAllText(ConfigPath), StringComparison.Ordinal);
        Assert.Null(ConfigTrial.Start(ConfigPath));
        Assert.Contains("started 3 times", ConfigTrial.Load(ConfigPath)!.Failure, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1\n", "cpu  150 0 150 890 10 0 0 0 0 0\n", 50.0)]
    [InlineData("cpu  1 1 1 1 1 0 0 0 0 0\n", "cpu  1 1 1 1 1 0 0 0 0 0\n", 0.0)]
    [InlineData("cpu  1\n", "", null)]
    public void Cpu_in_use_is_what_was_neither_idle_nor_iowait(string before, string after, double? percent) => Assert.Equal(percent, NodeLoad.CpuPercent(before, after));

    [Fact]
    public async Task Load_of_this_machine_can_be_read()
    {
        Assert.Equal(75, NodeLoad.MemoryPercent("MemTotal:        1000 kB\nMemFree: 1 kB\nMemAvailable:     250 kB\n"));
        Assert.Null(NodeLoad.MemoryPercent("MemTotal: 1000 kB\n"));
        var load = new NodeLoad(_directory.Path, TimeProvider.System);
        foreach (var item in (string[])["cpu", "mem", "disk"])
            Assert.InRange((await load.PercentAsync(item, CancellationToken.None))!.Value, 0, 100);
        Assert.Null(await load.PercentAsync("gpu", CancellationToken.None));
    }

    private TaskService Start(TaskCompletionSource? restarted = null, TimeProvider? time = null)
    {
        var services = new EdgeServices(Options(), _meta, _uplink, time ?? TimeProvider.System, new Random(1), NullLoggerFactory.Instance);
        var tasks = new TaskService(services, () => restarted!.TrySetResult());
        _running.Add(tasks.RunAsync(_stop.Token));
        return tasks;
    }

    private EdgeCoreOptions Options() => EdgeCoreConfig.Load(ConfigPath, ["commonConfig.monitorServer.enable=false"], _directory.Path, "edge-1");

    private void WriteConfig(string enable = "true")
        => File.WriteAllText(ConfigPath, $$"""
            apiVersion: edgecore.config.kubeedge.io/v1alpha2
            kind: EdgeCore
            modules:
              edged: {enable: false}
              edgeHub:
                heartbeat: 15
              taskManager: {enable: {{enable}} }
            """);

    private static Message Update(string uid, string key, string value)
        => Message("configupdatejob", uid, new JsonObject { ["nodeNames"] = new JsonArray("edge-1"), ["updateFields"] = new JsonObject { [key] = value } });

    private static Message Message(string type, string uid, JsonObject spec)
    {
        spec[NodeTaskWire.JobUid] = uid;
        return Protocol.Messages.Message.Create(
            TimeProvider.System, NodeTaskWire.TaskManager, NodeTaskWire.TaskManager, "Check", new NodeTaskPath(type, "job-" + uid, "edge-1").ToString(), Encoding.UTF8.GetBytes(spec.ToJsonString()));
    }

    private string[] Reports() => [.. _uplink.Entries.Select(Read).Select(one => $"{one.Action} {one.Succeeded}")];

    private string[] Reasons() => [.. _uplink.Entries.Select(Read).Select(one => one.Reason)];

    private static NodeTaskReport Read(UplinkEntry entry)
    {
        Assert.Equal(("websocket", "hub", "UpdateNodeActionStatus"), (entry.Source, entry.Group, entry.Operation));
        return NodeTaskReport.TryRead(entry.Content, out var error) ?? throw new InvalidOperationException(error);
    }
}

/// <summary>Images that jobs pull onto real containerd.</summary>
[Collection("containerd-2")]
[Trait("Category", "Pods")]
public sealed class PrePullOnContainerdTests(ContainerdFixture containerd)
{
    [SkippableFact]
    public async Task Images_are_pulled_with_the_Secret_of_the_job_and_each_tells_how_it_went()
    {
        using var client = containerd.Client();
        await using var registry = await PrivateRegistry.StartAsync(Busybox.PauseImage("edge.test/prepull:1"));
        registry.Users["team/app"] = "team:s3cret";
        var meta = new FakeMetaStore();
        var auth = new JsonObject { ["auths"] = new JsonObject { [registry.Host] = new JsonObject { ["username"] = "team", ["password"] = "s3cret" } } }.ToJsonString();
        var uplink = new FakeUplink
        {
            Answer = request => request.Resource != "default/secret/cred" ? null : new JsonObject
            {
                ["metadata"] = new JsonObject { ["name"] = "cred" }, ["type"] = "kubernetes.io/dockerconfigjson",
                ["data"] = new JsonObject { [".dockerconfigjson"] = Convert.ToBase64String(Encoding.UTF8.GetBytes(auth)) },
            },
        };
        var options = new EdgeCoreOptions
        {
            NodeName = "edge-1", TaskManager = new TaskManagerOptions { Enable = true, CheckPercentMax = 100 }, Edged = new EdgedOptions { RuntimeEndpoint = "unix://" + containerd.Socket },
        };
        using var stop = new CancellationTokenSource();
        var tasks = new TaskService(new EdgeServices(options, meta, uplink, TimeProvider.System, new Random(1), NullLoggerFactory.Instance), () => { });
        var running = tasks.RunAsync(stop.Token);
        var spec = new JsonObject
        {
            [NodeTaskWire.JobUid] = "1",
            ["imagePrePullTemplate"] = new JsonObject
            {
                ["images"] = new JsonArray($"{registry.Host}/team/app:1", $"{registry.Host}/team/app:missing/x"), ["imageSecrets"] = "default/cred", ["retryTimes"] = 1, ["checkItems"] = new JsonArray("disk", "mem"),
            },
        };
        tasks.TryTake(Message.Create(
            TimeProvider.System, NodeTaskWire.TaskManager, NodeTaskWire.TaskManager, "Check", new NodeTaskPath(NodeTaskWire.ImagePrePull, "warm", "edge-1").ToString(), Encoding.UTF8.GetBytes(spec.ToJsonString())));

        var pulled = NodeTaskReport.TryRead((await uplink.WaitAsync("the pull", entry => entry.Key.EndsWith("/Pull", StringComparison.Ordinal))).Content, out _)!;

        Assert.False(pulled.Succeeded);
        Assert.StartsWith("1 of 2 images could not be pulled", pulled.Reason, StringComparison.Ordinal);
        var images = JsonNode.Parse(pulled.Extend)!.AsArray();
        Assert.Equal(("True", "False"), (images[0].Text("status"), images[1].Text("status")));
        Assert.Contains("it is no image's name", images[1].Text("reason"), StringComparison.Ordinal);
        Assert.NotNull(await client.ImageStatusAsync($"{registry.Host}/team/app:1", CancellationToken.None));
        Assert.Contains("team/app team", registry.Seen);
        Assert.Empty(meta.List("secret"));
        Assert.DoesNotContain(uplink.Entries, entry => Encoding.UTF8.GetString(entry.Content.Span).Contains("s3cret", StringComparison.Ordinal));
        await stop.CancelAsync();
        await running;
    }
}
