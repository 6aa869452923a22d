using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.DeviceController;
using Edge.Cloud.Observability;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Cloud.Tests;

/// <summary>When what is written of a device, and what happens when the API does not take it; the clock stands unless a test moves it.</summary>
[Trait("Category", "Devices")]
public sealed class DeviceStatusWriterTests : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(1);

    private readonly ManualTimeProvider _time = new(DateTimeOffset.UnixEpoch);
    private readonly FakeKube _kube = new();
    private readonly DeviceStatusWriter _writer;

    public DeviceStatusWriterTests()
        => _writer = new DeviceStatusWriter(_kube, _time, new Random(1), new HubMetrics(), NullLogger.Instance);

    public async ValueTask DisposeAsync() => await _writer.DisposeAsync();

    [Fact]
    public async Task The_first_report_is_written_at_once_and_those_after_it_in_one_write()
    {
        await Report("1");
        var second = Report("2");
        var third = Report("3");
        Assert.Equal(1, _kube.StatusPatches);
        Assert.False(second.IsCompleted);
        await AdvanceUntilAsync(third, DeviceStatusWriter.Interval);
        await second;
        Assert.Equal(2, _kube.StatusPatches);
        Assert.Equal("3", await ValueAsync());
    }

    [Fact]
    public async Task A_defect_on_the_way_does_not_end_the_writing()
    {
        var left = 3;
        _kube.OnWrite = (verb, _, _) =>
        {
            if (verb == "patch" && Interlocked.Decrement(ref left) >= 0)
                throw new InvalidOperationException("a defect");
        };
        var first = Report("1");
        await AdvanceUntilAsync(first, TimeSpan.FromSeconds(30));
        Assert.Equal("1", await ValueAsync());
        await AdvanceUntilAsync(Report("2"), DeviceStatusWriter.Interval);
        Assert.Equal("2", await ValueAsync());
    }

    [Fact]
    public async Task What_the_API_will_never_take_is_confirmed_and_the_next_report_is_written()
    {
        _kube.OnWrite = (verb, _, _) =>
        {
            if (verb == "patch")
                throw new KubeException(422, "Invalid", "status.twins: too many");
        };
        await Report("1");
        _kube.OnWrite = (_, _, _) => { };
        await AdvanceUntilAsync(Report("2"), DeviceStatusWriter.Interval);
        Assert.Equal("2", await ValueAsync());
    }

    [Fact]
    public async Task A_report_that_the_API_refuses_leaves_its_reason_on_the_status_until_one_is_taken()
    {
        var left = 1;
        _kube.OnWrite = (verb, _, _) =>
        {
            if (verb == "patch" && Interlocked.Decrement(ref left) >= 0)
                throw new KubeException(413, "RequestEntityTooLarge", "the object is too large");
        };
        await Report("1");
        Assert.Equal(["the last report is left out, the API refused it: the object is too large"], await ProblemsAsync());
        await AdvanceUntilAsync(Report("2"), DeviceStatusWriter.Interval);
        Assert.Empty(await ProblemsAsync());
        Assert.Equal("2", await ValueAsync());
    }

    [Fact]
    public async Task A_report_that_waits_for_the_API_is_not_written_when_its_device_has_moved()
    {
        var failed = new TaskCompletionSource();
        _kube.OnWrite = (verb, _, _) =>
        {
            if (verb != "patch")
                return;
            failed.TrySetResult();
            throw new KubeException(503, "ServiceUnavailable", "starting");
        };
        var report = Report("1", node: "edge-1");
        await failed.Task.WaitAsync(s_patience);
        _kube.OnWrite = (_, _, _) => { };
        _writer.Changed(new DeviceFacts("default", "d", "u", "edge-2", ""));
        await AdvanceUntilAsync(report, TimeSpan.FromSeconds(30));
        Assert.Empty((await _kube.GetAsync(ResourceKind.DeviceStatus, "default", "d", CancellationToken.None)).Items("status", "twins"));
    }

    [Fact]
    public async Task A_status_that_a_deleted_device_of_the_same_name_left_is_not_the_new_ones()
    {
        await _kube.CreateAsync(ResourceKind.DeviceStatus, "default", new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "d", ["ownerReferences"] = new JsonArray(new JsonObject { ["kind"] = "Device", ["name"] = "d", ["uid"] = "former" }) },
            ["status"] = new JsonObject { ["state"] = "offline", ["twins"] = new JsonArray(new JsonObject { ["propertyName"] = "gone" }) },
        }, CancellationToken.None);
        await Report("1");
        var status = await _kube.GetAsync(ResourceKind.DeviceStatus, "default", "d", CancellationToken.None);
        Assert.Equal("u", status.Items("metadata", "ownerReferences").Single().Text("uid"));
        Assert.Equal(["t"], status.Items("status", "twins").Select(twin => twin.Text("propertyName")));
        Assert.Equal("", status.Text("status", "state"));
    }

    [Fact]
    public async Task An_API_that_fails_gets_the_newest_value_later_and_nothing_is_confirmed_before()
    {
        _kube.OnWrite = (verb, _, _) =>
        {
            if (verb == "patch")
                throw new KubeException(503, "ServiceUnavailable", "starting");
        };
        var failed = new TaskCompletionSource();
        var refuse = _kube.OnWrite;
        _kube.OnWrite = (verb, plural, name) =>
        {
            if (verb == "patch")
                failed.TrySetResult();
            refuse(verb, plural, name);
        };
        var first = Report("1");
        var second = Report("2");
        await failed.Task.WaitAsync(s_patience);
        Assert.False(first.IsCompleted);
        _kube.OnWrite = (_, _, _) => { };
        await AdvanceUntilAsync(first, TimeSpan.FromSeconds(30));
        await AdvanceUntilAsync(second, DeviceStatusWriter.Interval);
        Assert.Equal("2", await ValueAsync());
    }

    [Fact]
    public async Task What_somebody_else_wrote_between_stays()
    {
        await Report("1");
        var status = await _kube.GetAsync(ResourceKind.DeviceStatus, "default", "d", CancellationToken.None);
        status.Child("metadata")["labels"] = new JsonObject { ["theirs"] = "yes" };
        await _kube.UpdateAsync(ResourceKind.DeviceStatus, "default", status, null, CancellationToken.None);
        await AdvanceUntilAsync(Report("2"), DeviceStatusWriter.Interval);
        Assert.Equal("2", await ValueAsync());
        Assert.Equal("yes", (await _kube.GetAsync(ResourceKind.DeviceStatus, "default", "d", CancellationToken.None)).Label("theirs"));
    }

    [Fact]
    public async Task A_report_that_another_CloudCore_had_in_hand_when_the_node_moved_does_not_replace_a_newer_one()
    {
        await using var other = new DeviceStatusWriter(_kube, _time, new Random(2), new HubMetrics(), NullLogger.Instance);
        await Report("5", version: 5, writer: other);
        await Report("7", version: 7);
        // The other one knows the DeviceStatus as of its own write, and finds out by the conflict.
        await AdvanceUntilAsync(Report("6", version: 6, writer: other), DeviceStatusWriter.Interval);
        Assert.Equal("7", await ValueAsync());
        await AdvanceUntilAsync(Report("8", version: 8, writer: other), DeviceStatusWriter.Interval);
        Assert.Equal("8", await ValueAsync());
    }

    // Done when the report is confirmed.
    private Task Report(string value, long version = 0, DeviceStatusWriter? writer = null, string node = "")
    {
        var confirmed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var content = Encoding.UTF8.GetBytes($$"""{"twin":{"t":{"actual":{"value":"{{value}}"} } } }""");
        var message = Message.Create(_time, Sources.Twin, Groups.Resource, Operations.Update, "device/default/d/twin/edge_updated", content);
        (writer ?? _writer).Report(new DeviceFacts("default", "d", "u", "edge-1", ""), DeviceReport.TryRead(message, out _)! with { Node = node, Version = version }, [], confirmed.SetResult);
        return confirmed.Task.WaitAsync(s_patience);
    }

    // The writer sets its timer after the write, at a moment that nothing tells: time goes on in steps until it fires.
    private async Task AdvanceUntilAsync(Task task, TimeSpan step)
    {
        while (!task.IsCompleted)
        {
            _time.Advance(step);
            await Task.WhenAny(task, Task.Delay(5));
        }

        await task;
    }

    private async Task<IEnumerable<string>> ProblemsAsync()
        => (await _kube.GetAsync(ResourceKind.DeviceStatus, "default", "d", CancellationToken.None)).At("status", "extensions", "problems") is JsonArray problems ? problems.Select(one => (string)one!) : [];

    private async Task<string> ValueAsync()
        => (await _kube.GetAsync(ResourceKind.DeviceStatus, "default", "d", CancellationToken.None)).Items("status", "twins").Single().Text("reported", "value");
}
