using System.Text;
using System.Text.Json.Nodes;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Core.EdgeHub;
using Edge.Kubernetes;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>The pod manager with its workers against a runtime of lists on a real socket.</summary>
[Trait("Category", "Pods")]
public sealed class PodManagerTests : IAsyncLifetime
{
    private readonly TempDirectory _directory = new();
    private readonly FakeMetaStore _meta = new();
    private readonly FakeUplink _uplink = new();
    private CancellationTokenSource _stop = new();
    private FakeRuntime _runtime = null!;
    private PodManager _manager = null!;
    private Task _run = Task.CompletedTask;

    public async Task InitializeAsync()
    {
        _runtime = await FakeRuntime.StartAsync(_directory.File("cri"));
        Start();
    }

    public async Task DisposeAsync()
    {
        await StopAsync();
        await _runtime.DisposeAsync();
        _directory.Dispose();
    }

    private void Start()
    {
        var options = new EdgeCoreOptions
        {
            NodeName = "node-1",
            DataDirectory = _directory.Path,
            Edged = new EdgedOptions
            {
                RuntimeEndpoint = "unix://" + _directory.File("cri"),
                RootDirectory = _directory.File("root"),
                PodLogsDirectory = _directory.File("logs"),
                NodeIp = "192.0.2.7",
            },
        };
        _stop = new CancellationTokenSource();
        _manager = new PodManager(new EdgeServices(options, _meta, _uplink, TimeProvider.System, new Random(1), NullLoggerFactory.Instance));
        _run = _manager.RunAsync(_stop.Token);
    }

    private async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _run.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _manager.Dispose();
        _stop.Dispose();
    }

    [Fact]
    public async Task A_pod_of_the_same_name_and_another_uid_starts_when_the_old_one_is_gone()
    {
        _meta.Put("pod", Pod("p", "u1", "present:1"));
        await PhaseAsync("p", "u1", "Running");
        _meta.Put("pod", Pod("p", "u2", "present:1"));
        await PhaseAsync("p", "u2", "Running");
        Assert.Equal(["run u1", "start p-main", "stop p-main 7s", "remove u1", "run u2", "start p-main"], _runtime.Trace);
        Assert.False(Directory.Exists(_directory.File("root/pods/u1")));
    }

    [Fact]
    public async Task A_pod_without_its_image_or_its_configuration_delays_no_other_pod()
    {
        _meta.Put("pod", Pod("a", "u1", "absent:1"));
        var broken = Pod("b", "u2", "present:1");
        broken["spec"]!["containers"]![0]!["env"] = JsonNode.Parse("""[{"name":"X","valueFrom":{"configMapKeyRef":{"name":"late","key":"k"}}}]""");
        _meta.Put("pod", broken);
        _meta.Put("pod", Pod("c", "u3", "present:1"));
        await PhaseAsync("c", "u3", "Running");
        await WaitingAsync("a", "ErrImageNeverPull");
        await WaitingAsync("b", "CreateContainerConfigError");
        Assert.DoesNotContain("start a-main", _runtime.Trace);
        Assert.DoesNotContain("start b-main", _runtime.Trace);

        _meta.Put("configmap", (JsonObject)JsonNode.Parse("""{"metadata":{"namespace":"default","name":"late","uid":"m","resourceVersion":"9"},"data":{"k":"v"}}""")!);
        await PhaseAsync("b", "u2", "Running");
        Assert.Contains("start b-main", _runtime.Trace);
    }

    [Fact]
    public async Task A_pod_whose_row_cannot_be_read_runs_on_until_the_cloud_has_said_what_it_is()
    {
        var pod = Pod("p", "u1", "present:1");
        _meta.Put("pod", pod);
        _meta.Put("pod", Pod("q", "u2", "present:1"));
        await PhaseAsync("p", "u1", "Running");
        await PhaseAsync("q", "u2", "Running");
        await StopAsync();
        _meta.Delete("pod", pod);
        _meta.Delete("pod", Pod("q", "u2", "present:1"));
        _meta.Unreadable = ["u1"];

        Start();
        await Eventually.HoldsAsync("the one that nobody wants is gone", () => _runtime.Trace.Contains("remove u2"));
        Assert.DoesNotContain("stop p-main 7s", _runtime.Trace);
        Assert.True(Directory.Exists(_directory.File("root/pods/u1")));

        // Sent again it is taken over as it runs; deleted in the cloud it goes.
        var from = _uplink.Entries.Count;
        _meta.Put("pod", pod);
        _meta.Unreadable = [];
        await _uplink.WaitAsync("p is taken over", entry => entry.Resource == "default/podpatch/p" && FakeUplink.Content(entry)["status"].Text("phase") == "Running", from);
        Assert.Single(_runtime.Trace, line => line == "start p-main");
        Assert.DoesNotContain("remove u1", _runtime.Trace);
        _meta.Delete("pod", pod);
        await Eventually.HoldsAsync("it is gone", () => _runtime.Trace.Contains("remove u1"));
    }

    [Fact]
    public async Task What_killed_a_container_is_told_also_when_the_runtime_knows_it_a_moment_later()
    {
        var pod = Pod("p", "u1", "present:1");
        pod["spec"]!["restartPolicy"] = "Never";
        pod["spec"]!["containers"]![0]!["resources"] = JsonNode.Parse("""{"limits":{"memory":"16Mi"}}""");
        _meta.Put("pod", pod);
        await PhaseAsync("p", "u1", "Running");
        _runtime.EndOutOfMemory("p-main");
        await PhaseAsync("p", "u1", "Failed");
        var reasons = _uplink.Entries.Where(entry => entry.Resource == "default/podpatch/p").Select(entry => (string?)FakeUplink.Content(entry)["status"]!["containerStatuses"]?[0]?["state"]?["terminated"]?["reason"]);
        Assert.Equal(["OOMKilled"], reasons.OfType<string>().Distinct());
    }

    [Fact]
    public async Task A_pod_that_ended_is_not_run_again_although_its_object_says_nothing_and_its_containers_are_gone()
    {
        var pod = Pod("p", "u1", "present:1");
        pod["spec"]!["restartPolicy"] = "Never";
        _meta.Put("pod", pod);
        await PhaseAsync("p", "u1", "Running");
        _runtime.End("p-main", 0);
        await PhaseAsync("p", "u1", "Succeeded");
        await StopAsync();
        _runtime.Wipe();

        Start();
        _meta.Put("pod", Pod("other", "u2", "present:1")); // when this one runs, the first has had its turn
        await PhaseAsync("other", "u2", "Running");
        _meta.Put("pod", (JsonObject)pod.DeepClone()); // the cloud sends it again, without a status
        _meta.Put("pod", Pod("third", "u3", "present:1"));
        await PhaseAsync("third", "u3", "Running");
        Assert.Single(_runtime.Trace, line => line == "start p-main");
        Assert.Single(_runtime.Trace, line => line == "run u1");
    }

    [Fact]
    public async Task A_pod_that_was_removed_while_edgecore_was_away_gets_a_kubelets_grace_for_strangers_and_leaves_nothing()
    {
        var pod = Pod("p", "u1", "present:1");
        _meta.Put("pod", pod);
        await PhaseAsync("p", "u1", "Running");
        await StopAsync();
        _meta.Delete("pod", pod);

        Start();
        await HubServiceTests.WaitUntilAsync(() => _runtime.Trace.Contains("remove u1") && !Directory.Exists(_directory.File("root/pods/u1")));
        Assert.Equal(["run u1", "start p-main", "stop p-main 2s", "remove u1"], _runtime.Trace);
    }

    [Fact]
    public async Task Without_a_restart_too_an_ended_pod_stays_ended_when_its_containers_go_and_no_echo_of_its_status_comes()
    {
        var pod = Pod("p", "u1", "present:1");
        pod["spec"]!["restartPolicy"] = "OnFailure";
        _meta.Put("pod", pod);
        await PhaseAsync("p", "u1", "Running");
        _runtime.End("p-main", 0);
        await PhaseAsync("p", "u1", "Succeeded");
        _runtime.Wipe();
        var from = _uplink.Entries.Count;
        var newer = (JsonObject)pod.DeepClone();
        newer["metadata"]!["labels"] = new JsonObject { ["a"] = "b" };
        _meta.Put("pod", newer);
        _meta.Put("pod", Pod("other", "u2", "present:1"));
        await PhaseAsync("other", "u2", "Running");
        Assert.Single(_runtime.Trace, line => line == "start p-main");
        Assert.DoesNotContain(_uplink.Entries.Skip(from), entry => entry.Resource == "default/podpatch/p");
    }

    [Fact]
    public async Task Times_of_conditions_and_of_the_start_go_on_from_what_was_said_last()
    {
        await _meta.PutLocalAsync(
            "podstatus", "u1", Encoding.UTF8.GetBytes("""{"phase":"Running","startTime":"2020-01-02T03:04:05Z","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2020-02-03T04:05:06Z"}]}"""),
            CancellationToken.None);
        await StopAsync();
        _meta.Put("pod", Pod("p", "u1", "present:1"));
        Start();
        await PhaseAsync("p", "u1", "Running");
        var ready = await _uplink.WaitAsync("p is ready", entry => entry.Resource == "default/podpatch/p" && Condition(entry)?.Text("status") == "True");
        // It was not ready in between, since its container was new: that condition moved, the start did not.
        Assert.Equal("2020-01-02T03:04:05Z", FakeUplink.Content(ready).Text("status", "startTime"));
        var row = JsonNode.Parse(_meta.ListLocal("podstatus")["u1"].Span)!;
        Assert.Equal(Condition(ready)!.Text("lastTransitionTime"), row.Items("conditions").Single(condition => condition.Text("type") == "Ready").Text("lastTransitionTime"));

        var from = _uplink.Entries.Count;
        await StopAsync();
        Start();
        var again = await _uplink.WaitAsync("p is ready after the restart", entry => entry.Resource == "default/podpatch/p" && Condition(entry)?.Text("status") == "True", from);
        Assert.Equal(FakeUplink.Content(ready)["status"]!.ToJsonString(), FakeUplink.Content(again)["status"]!.ToJsonString());

        static JsonObject? Condition(UplinkEntry entry) => FakeUplink.Content(entry).Items("status", "conditions").SingleOrDefault(condition => condition.Text("type") == "Ready");
    }

    [Fact]
    public async Task The_row_of_a_pod_goes_with_it_and_rows_of_strangers_go_at_the_start()
    {
        await StopAsync();
        await _meta.PutLocalAsync("podstatus", "stranger", "{}"u8.ToArray(), CancellationToken.None);
        var pod = Pod("p", "u1", "present:1");
        _meta.Put("pod", pod);
        Start();
        await PhaseAsync("p", "u1", "Running");
        Assert.Equal(["u1"], _meta.ListLocal("podstatus").Keys);
        _meta.Delete("pod", pod);
        await HubServiceTests.WaitUntilAsync(() => _meta.ListLocal("podstatus").Count == 0);
    }

    [Fact]
    public async Task A_full_disk_stops_no_container_and_the_status_follows_when_there_is_room()
    {
        _uplink.Failure = _meta.LocalFailure = new StoreException("writing to edgecore.db failed: database or disk is full");
        _meta.Put("pod", Pod("p", "u1", "present:1"));
        await HubServiceTests.WaitUntilAsync(() => _runtime.Trace.Contains("start p-main"));
        _runtime.End("p-main", 1);
        await HubServiceTests.WaitUntilAsync(() => _runtime.Trace.Count(line => line == "start p-main") == 2);
        Assert.Empty(_uplink.Entries);
        _uplink.Failure = _meta.LocalFailure = null;
        await PhaseAsync("p", "u1", "Running");
    }

    private static JsonObject Pod(string name, string uid, string image) => (JsonObject)JsonNode.Parse($$"""
        {
          "metadata":{"namespace":"default","name":"{{name}}","uid":"{{uid}}","resourceVersion":"1"},
          "spec":{"hostNetwork":true,"terminationGracePeriodSeconds":7,
            "containers":[{"name":"{{name}}-main","image":"{{image}}","imagePullPolicy":"Never"}]}
        }
        """)!;

    private Task PhaseAsync(string name, string uid, string phase)
        => StatusAsync(name, $"{name} {uid} {phase}", patch => (string?)patch["metadata"]!["uid"] == uid && (string?)patch["status"]!["phase"] == phase);

    private Task WaitingAsync(string name, string reason)
        => StatusAsync(name, $"{name} waits with {reason}", patch => (string?)patch["status"]!["containerStatuses"]![0]!["state"]!["waiting"]?["reason"] == reason);

    private Task StatusAsync(string name, string what, Func<JsonObject, bool> match)
        => _uplink.WaitAsync(what, entry => entry.Resource == $"default/podpatch/{name}" && match(FakeUplink.Content(entry)));
}
