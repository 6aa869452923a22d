using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.Edged;
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
    private readonly CancellationTokenSource _stop = new();
    private FakeRuntime _runtime = null!;
    private PodManager _manager = null!;
    private Task _run = Task.CompletedTask;

    public async Task InitializeAsync()
    {
        _runtime = await FakeRuntime.StartAsync(_directory.File("cri"));
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
        _manager = new PodManager(new EdgeServices(options, _meta, _uplink, TimeProvider.System, new Random(1), NullLoggerFactory.Instance));
        _run = _manager.RunAsync(_stop.Token);
    }

    public async Task DisposeAsync()
    {
        await _stop.CancelAsync();
        await _run.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _manager.Dispose();
        await _runtime.DisposeAsync();
        _stop.Dispose();
        _directory.Dispose();
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
