using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Kubernetes;
using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>What the runtime tells of itself, on a real socket; the clock stands still, so that nothing is seen by asking each second.</summary>
[Trait("Category", "Pods")]
public sealed class RuntimeEventsTests : IAsyncDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly FakeMetaStore _meta = new();
    private readonly FakeUplink _uplink = new();
    private readonly ManualTimeProvider _time = new(new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero));
    private readonly CancellationTokenSource _stop = new();
    private FakeRuntime? _runtime;
    private PodManager? _manager;
    private Task _run = Task.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _run.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _manager?.Dispose();
        if (_runtime is not null)
            await _runtime.DisposeAsync();
        _stop.Dispose();
        _directory.Dispose();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task An_end_that_the_runtime_tells_of_is_seen_without_asking(bool namesSandbox)
    {
        var runtime = await StartAsync(hasEvents: true);
        await PutAsync("p", "u1");
        await Eventually.HoldsAsync("the events are followed", () => runtime.Followers == 1);
        runtime.TellOfAnother();
        runtime.End("p-main", 3);
        runtime.Tell("p-main", namesSandbox);
        await PhaseAsync("p", "Failed");
    }

    [Fact]
    public void The_list_is_due_each_second_and_beside_events_every_tenth()
    {
        var pace = new RelistPace();
        Assert.All(Enumerable.Range(0, 3), _ => Assert.True(pace.IsDue(false)));
        Assert.Equal([10, 20, 30], Enumerable.Range(1, 30).Where(_ => pace.IsDue(true)));
        Assert.False(pace.IsDue(true));
        Assert.True(pace.IsDue(false)); // they broke off
        Assert.Equal([10], Enumerable.Range(1, 15).Where(_ => pace.IsDue(true)));
    }

    [Fact]
    public async Task Without_events_or_when_they_break_off_the_list_is_asked_for_each_second()
    {
        var runtime = await StartAsync(hasEvents: false);
        await PutAsync("p", "u1");
        runtime.End("p-main", 3);
        await Eventually.HoldsAsync("it is found by the list", () =>
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            return Phase("p") == "Failed";
        });
        Assert.Equal(0, runtime.Followers);
    }

    [Fact]
    public async Task Events_that_broke_off_are_followed_again_and_the_list_serves_meanwhile()
    {
        var runtime = await StartAsync(hasEvents: true);
        await PutAsync("p", "u1");
        await PutAsync("q", "u2");
        await Eventually.HoldsAsync("the events are followed", () => runtime.Followers == 1);
        runtime.Tell("p-main");
        runtime.BreakEvents();
        await Eventually.HoldsAsync("the stream breaks", () => runtime.Followers == 0);
        runtime.End("p-main", 3);
        await Eventually.HoldsAsync("it is found by the list", () =>
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            return Phase("p") == "Failed";
        });
        await Eventually.HoldsAsync("the events are followed again", () =>
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            return runtime.Followers == 1;
        });
        runtime.End("q-main", 3);
        runtime.Tell("q-main");
        await PhaseAsync("q", "Failed");
    }

    [Fact]
    public void An_event_names_its_pod_by_the_sandbox_or_by_a_containers_label()
    {
        var container = new ContainerStatus();
        container.Labels[CriConfigs.UidLabel] = "u2";
        Assert.Equal("u1", RuntimeEvents.UidOf(new ContainerEventResponse { PodSandboxStatus = new PodSandboxStatus { Metadata = new PodSandboxMetadata { Uid = "u1" } }, ContainersStatuses = { container } }));
        Assert.Equal("u2", RuntimeEvents.UidOf(new ContainerEventResponse { PodSandboxStatus = new PodSandboxStatus(), ContainersStatuses = { new ContainerStatus(), container } }));
        Assert.Null(RuntimeEvents.UidOf(new ContainerEventResponse { ContainerId = "c" }));
    }

    private async Task<FakeRuntime> StartAsync(bool hasEvents)
    {
        _runtime = await FakeRuntime.StartAsync(_directory.File("cri"), hasEvents);
        var options = new EdgeCoreOptions
        {
            NodeName = "node-1",
            DataDirectory = _directory.Path,
            Edged = new EdgedOptions { RuntimeEndpoint = "unix://" + _directory.File("cri"), RootDirectory = _directory.File("root"), PodLogsDirectory = _directory.File("logs"), NodeIp = "192.0.2.7" },
        };
        _manager = new PodManager(new EdgeServices(options, _meta, _uplink, _time, new Random(1), NullLoggerFactory.Instance));
        _run = _manager.RunAsync(_stop.Token);
        return _runtime;
    }

    private async Task PutAsync(string name, string uid)
    {
        _meta.Put("pod", (JsonObject)JsonNode.Parse($$"""
            {"metadata":{"namespace":"default","name":"{{name}}","uid":"{{uid}}","resourceVersion":"1"},
             "spec":{"restartPolicy":"Never","hostNetwork":true,"terminationGracePeriodSeconds":1,"containers":[{"name":"{{name}}-main","image":"present:1","imagePullPolicy":"Never"}] } }
            """)!);
        await PhaseAsync(name, "Running");
    }

    private string Phase(string name)
        => _uplink.Entries.Where(entry => entry.Resource == $"default/podpatch/{name}").Select(entry => FakeUplink.Content(entry)["status"].Text("phase")).LastOrDefault("");

    private Task PhaseAsync(string name, string phase) => _uplink.WaitAsync($"{name} {phase}", entry => entry.Resource == $"default/podpatch/{name}" && FakeUplink.Content(entry)["status"].Text("phase") == phase);
}
