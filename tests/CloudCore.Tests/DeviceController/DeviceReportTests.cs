using System.Text.Json.Nodes;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.Tests;

[Trait("Category", "Devices")]
public sealed class DeviceReportTests : IAsyncLifetime
{
    private Support.Cloud _cloud = null!;
    private FakeEdge _edge = null!;

    public async Task InitializeAsync()
    {
        // CloudCore knows the model before it sees the device: the two watches are not in step, and what it says of a missing model is not meant here.
        var kube = new FakeKube();
        await kube.CreateAsync(ResourceKind.DeviceModel, "default", new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "m" },
            ["spec"] = new JsonObject
            {
                ["properties"] = new JsonArray(
                    new JsonObject { ["name"] = "temperature", ["type"] = "INT", ["accessMode"] = "ReadWrite", ["maximum"] = "100" }, new JsonObject { ["name"] = "pressure", ["type"] = "INT" }),
            },
        }, CancellationToken.None);
        _cloud = await Support.Cloud.StartAsync(kube);
        _edge = await _cloud.JoinAsync("edge-1");
        await _cloud.CreateAsync(ResourceKind.Device, new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "thermo" },
            ["spec"] = new JsonObject
            {
                ["nodeName"] = "edge-1",
                ["deviceModelRef"] = new JsonObject { ["name"] = "m" },
                ["properties"] = new JsonArray(new JsonObject { ["name"] = "temperature" }, new JsonObject { ["name"] = "pressure" }),
            },
        });
        await _edge.UntilAsync("insert", "default/device/thermo");
    }

    public async Task DisposeAsync()
    {
        await _edge.DisposeAsync();
        await _cloud.DisposeAsync();
    }

    [Fact]
    public void Membership_and_model_arrive_before_the_device()
    {
        var membership = _edge.Received.FindIndex(message => message is { Resource: "membership", Group: "twin", Source: "devicecontroller", Operation: "update" });
        var model = _edge.Received.FindIndex(message => message.Resource == "default/devicemodel/m");
        var device = _edge.Received.FindIndex(message => message.Resource == "default/device/thermo");
        Assert.True(membership >= 0 && membership < device && model >= 0 && model < device, $"{membership} {model} {device}");
        var content = FakeEdge.Content(_edge.Received[membership]);
        Assert.Equal("default/thermo", content.Items("added_devices").Single().Text("id"));
        Assert.Null(content!["removed_devices"]);
    }

    [Fact]
    public async Task Every_sample_and_every_problem_reaches_the_status()
    {
        await SendAndWaitAsync("device/default/thermo/twin/edge_updated", JsonNode.Parse("""{"uid":"","twin":{},"history":{"temperature":[{"value":"1","timestamp":1},{"value":"2","timestamp":2}]}}""")!.AsObject());
        var device = await _cloud.Kube.GetAsync(ResourceKind.Device, "default", "thermo", CancellationToken.None);
        await SendAndWaitAsync("device/default/thermo/twin/edge_updated", new JsonObject { ["uid"] = device.Uid(), ["twin"] = new JsonObject(), ["problems"] = new JsonArray("mapper gone") });
        await SendAndWaitAsync("device/default/thermo/twin/edge_updated", JsonNode.Parse("""{"uid":"of another","twin":{"temperature":{"actual":{"value":"99"}}}}""")!.AsObject());
        await _cloud.Kube.PatchAsync(ResourceKind.Device, "default", "thermo", PatchKind.Merge, JsonBytes.Of((JsonObject)JsonNode.Parse(
            """{"spec":{"properties":[{"name":"temperature","desired":{"value":"101"}}]}}""")!), "", CancellationToken.None);
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        var status = await StatusAsync();
        while (status.At("status", "extensions", "problems") is not JsonArray { Count: 2 })
        {
            deadline.Token.ThrowIfCancellationRequested();
            await Task.Yield();
            status = await StatusAsync();
        }

        Assert.Equal(2, status.Items("status", "extensions", "history", "temperature", "samples").Count());
        Assert.Equal("edge: mapper gone", status.At("status", "extensions", "problems")![1]!.GetValue<string>());
        Assert.Contains("above the maximum 100", status.At("status", "extensions", "problems")![0]!.GetValue<string>(), StringComparison.Ordinal);
        Assert.Empty(status.Items("status", "twins"));
    }

    [Fact]
    public async Task First_report_is_written_to_a_status_that_the_device_owns()
    {
        await ReportAsync("temperature", "21", 1_795_237_470_989);
        var status = await StatusAsync();
        Assert.Equal("thermo", status.Items("metadata", "ownerReferences").Single().Text("name"));
        var twin = status.Items("status", "twins").Single();
        Assert.Equal("temperature", twin.Text("propertyName"));
        Assert.Equal("21", twin.Text("reported", "value"));
        Assert.Equal(("1795237470989", "int"), (twin.Text("reported", "metadata", "timestamp"), twin.Text("reported", "metadata", "type")));
    }

    [Fact]
    public async Task Desired_value_the_edge_knows_is_written_beside_the_reported_one()
    {
        await SendAndWaitAsync("device/default/thermo/twin/edge_updated", JsonNode.Parse(
            """{"twin":{"temperature":{"expected":{"value":"30","metadata":{"timestamp":5}},"actual":{"value":"29"},"metadata":{"type":"int"}}}}""")!);
        var twin = (await StatusAsync()).Items("status", "twins").Single();
        Assert.Equal(("30", "29"), (twin.Text("observedDesired", "value"), twin.Text("reported", "value")));
    }

    [Fact]
    public async Task Reason_of_an_unreadable_property_is_written_and_cleared_by_the_next_value()
    {
        await SendAndWaitAsync("device/default/thermo/twin/edge_updated", JsonNode.Parse(
            """{"twin":{"temperature":{"actual":{"value":"","metadata":{"timestamp":7,"error":"modbus: no answer from 10.0.0.9:502"}},"metadata":{"type":"int"}}}}""")!);
        var unreadable = (await StatusAsync()).Items("status", "twins").Single();
        Assert.Equal("modbus: no answer from 10.0.0.9:502", unreadable.Text("reported", "metadata", "error"));
        Assert.Equal(("7", "int"), (unreadable.Text("reported", "metadata", "timestamp"), unreadable.Text("reported", "metadata", "type")));
        await ReportAsync("temperature", "21", 8);
        var readable = (await StatusAsync()).Items("status", "twins").Single();
        Assert.Equal("21", readable.Text("reported", "value"));
        Assert.Null(readable.At("reported", "metadata", "error"));
    }

    [Fact]
    public async Task State_is_written_from_a_json_string_in_any_casing()
    {
        await SendAndWaitAsync("device/default/thermo/state/update", JsonValue.Create("""{"event_id":"1","Device":{"name":"thermo","State":"online","lastOnlineTime":"2026-11-21T05:04:33Z"}}"""));
        var status = await StatusAsync();
        Assert.Equal(("online", "2026-11-21T05:04:33Z"), (status.Text("status", "state"), status.Text("status", "lastOnlineTime")));
    }

    [Fact]
    public async Task State_and_twins_do_not_erase_each_other()
    {
        await ReportAsync("temperature", "21", 1);
        await SendAndWaitAsync("device/default/thermo/state/update", JsonNode.Parse("""{"device":{"state":"online"}}""")!);
        await ReportAsync("pressure", "3", 2);
        await ReportAsync("unknown", "4", 3);
        var status = await StatusAsync();
        Assert.Equal("online", status.Text("status", "state"));
        Assert.Equal(["temperature=21", "pressure=3"], status.Items("status", "twins").Select(twin => $"{twin.Text("propertyName")}={twin.Text("reported", "value")}"));
    }

    [Fact]
    public async Task Many_reports_become_few_writes_and_all_are_answered_with_the_newest_value_stored()
    {
        var ids = new List<string>();
        for (var i = 0; i < 200; i++)
            ids.Add((await _edge.SendAsync(Sources.Twin, Groups.Resource, Operations.Update, "device/default/thermo/twin/edge_updated", Twin("temperature", $"{i}", i))).Id);
        foreach (var id in ids)
            await _edge.UntilAsync(message => message.ParentId == id);
        Assert.Equal("199", (await StatusAsync()).Items("status", "twins").Single().Text("reported", "value"));
        Assert.InRange(_cloud.Kube.StatusPatches, 1, 40);
    }

    [Fact]
    public async Task Report_of_a_device_that_the_watch_has_not_shown_is_taken_on_the_APIs_word_and_kept_by_the_node_while_there_is_none()
    {
        _cloud.Kube.IsWatched = obj => obj.Name() != "late";
        await _cloud.CreateAsync(ResourceKind.Device, new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = "late" },
            ["spec"] = new JsonObject { ["nodeName"] = "edge-1", ["deviceModelRef"] = new JsonObject { ["name"] = "m" }, ["properties"] = new JsonArray(new JsonObject { ["name"] = "temperature" }) },
        });
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _cloud.Kube.OnTryGet = (plural, _) =>
        {
            if (plural != "devices")
                return;
            asked.TrySetResult();
            throw new KubeException(503, "ServiceUnavailable", "starting");
        };
        var unanswered = await _edge.SendAsync(Sources.Twin, Groups.Resource, Operations.Update, "device/default/late/twin/edge_updated", Twin("temperature", "1", 1));
        await asked.Task.WaitAsync(TimeSpan.FromSeconds(30));
        _cloud.Kube.OnTryGet = (_, _) => { };
        await SendAndWaitAsync("device/default/late/twin/edge_updated", Twin("temperature", "2", 2));
        Assert.Equal("2", (await _cloud.Kube.GetAsync(ResourceKind.DeviceStatus, "default", "late", CancellationToken.None)).Items("status", "twins").Single().Text("reported", "value"));
        Assert.DoesNotContain(_edge.Received, message => message.ParentId == unanswered.Id);
    }

    [Fact]
    public async Task Report_of_an_unknown_device_is_answered_and_writes_nothing()
    {
        await SendAndWaitAsync("device/default/ghost/twin/edge_updated", Twin("temperature", "1", 1));
        Assert.Null(await _cloud.Kube.TryGetAsync(ResourceKind.DeviceStatus, "default", "ghost", CancellationToken.None));
    }

    [Fact]
    public async Task Report_about_another_nodes_device_writes_nothing()
    {
        await using var other = await _cloud.JoinAsync("edge-2");
        var sent = await other.SendAsync(Sources.Twin, Groups.Resource, Operations.Update, "device/default/thermo/twin/edge_updated", Twin("temperature", "666", 1));
        await other.UntilAsync(message => message.ParentId == sent.Id);
        Assert.Null(await _cloud.Kube.TryGetAsync(ResourceKind.DeviceStatus, "default", "thermo", CancellationToken.None));
    }

    [Fact]
    public async Task Report_is_answered_only_after_it_was_written()
    {
        var failures = 3;
        _cloud.Kube.OnWrite = (verb, plural, _) =>
        {
            if (plural == "devicestatuses" && verb == "create" && Interlocked.Decrement(ref failures) >= 0)
                throw new KubeException(503, "ServiceUnavailable", "the API is away");
        };
        await ReportAsync("temperature", "21", 1);
        Assert.Equal("21", (await StatusAsync()).Items("status", "twins").Single().Text("reported", "value"));
        Assert.True(failures < 0);
    }

    [Fact]
    public async Task Status_deleted_by_somebody_is_made_again()
    {
        await ReportAsync("temperature", "21", 1);
        await _cloud.Kube.DeleteAsync(ResourceKind.DeviceStatus, "default", "thermo", null, CancellationToken.None);
        await ReportAsync("temperature", "22", 2);
        Assert.Equal("22", (await StatusAsync()).Items("status", "twins").Single().Text("reported", "value"));
    }

    [Fact]
    public async Task Desired_value_out_of_range_becomes_an_event_on_the_device()
    {
        var patch = """{"spec":{"properties":[{"name":"temperature","desired":{"value":"101"}}]}}""";
        var written = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _cloud.Kube.OnWrite = (verb, plural, _) =>
        {
            if (plural == "events")
                written.TrySetResult();
        };
        await _cloud.Kube.PatchAsync(ResourceKind.Device, "default", "thermo", PatchKind.Merge, System.Text.Encoding.UTF8.GetBytes(patch), null, CancellationToken.None);
        var down = await _edge.UntilAsync("update", "default/device/thermo");
        Assert.Equal("", FakeEdge.Content(down).Items("spec", "properties").Single().Text("desired", "value"));
        await written.Task.WaitAsync(TimeSpan.FromSeconds(20));
        JsonObject? found = null;
        while (found is null)
        {
            found = (await _cloud.Kube.ListAsync(ResourceKind.Event, null, new ListOptions(), CancellationToken.None)).Items.SingleOrDefault();
            await Task.Yield();
        }

        Assert.Equal(("DesiredValueOutOfRange", "Device", "thermo", "cloudcore"),
            (found.Text("reason"), found.Text("involvedObject", "kind"), found.Text("involvedObject", "name"), found.Text("source", "component")));
    }

    private static JsonNode Twin(string property, string value, long timestamp) => new JsonObject
    {
        ["event_id"] = "e",
        ["timestamp"] = timestamp,
        ["twin"] = new JsonObject
        {
            [property] = new JsonObject
            {
                ["actual"] = new JsonObject { ["value"] = value, ["metadata"] = new JsonObject { ["timestamp"] = timestamp } },
                ["optional"] = true,
                ["metadata"] = new JsonObject { ["type"] = "int" },
            },
        },
    };

    private Task ReportAsync(string property, string value, long timestamp)
        => SendAndWaitAsync("device/default/thermo/twin/edge_updated", Twin(property, value, timestamp));

    private async Task SendAndWaitAsync(string resource, JsonNode content)
    {
        var sent = await _edge.SendAsync(Sources.Twin, Groups.Resource, Operations.Update, resource, content);
        var answer = await _edge.UntilAsync(message => message.ParentId == sent.Id);
        Assert.Equal((Groups.Twin, Sources.DeviceController, "twin", Operations.Response), (answer.Group, answer.Source, answer.Resource, answer.Operation));
        Assert.Equal("OK", FakeEdge.Content(answer)!.GetValue<string>());
    }

    private Task<JsonObject> StatusAsync() => _cloud.Kube.GetAsync(ResourceKind.DeviceStatus, "default", "thermo", CancellationToken.None);
}
