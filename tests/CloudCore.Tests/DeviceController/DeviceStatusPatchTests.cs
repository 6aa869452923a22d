using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.DeviceController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Xunit;

namespace Edge.Cloud.Tests;

/// <summary>What reports make of a DeviceStatus, without an API.</summary>
[Trait("Category", "Devices")]
public sealed class DeviceStatusPatchTests
{
    private readonly DeviceLane _lane = new(Device(""), Task.CompletedTask);
    private JsonObject _status = [];

    [Fact]
    public void Newer_sides_replace_older_ones_and_other_properties_stay()
    {
        _status = Json("""{"status":{"twins":[{"propertyName":"a","reported":{"value":"1"}},{"propertyName":"b","reported":{"value":"2"},"observedDesired":{"value":"3"}}]}}""");
        Report("""{"twin":{"b":{"actual":{"value":"9","metadata":{"timestamp":5,"error":"late"}}}}}""");
        Assert.Equal(
            """[{"propertyName":"a","reported":{"value":"1"}},{"propertyName":"b","reported":{"value":"9","metadata":{"timestamp":"5","error":"late"}},"observedDesired":{"value":"3"}}]""",
            Patch()["twins"]!.ToJsonString());
    }

    [Fact]
    public void A_replaced_desired_value_shows_which_one_replaced_which()
    {
        Report("""{"twin":{"b":{"expected":{"value":"30","metadata":{"timestamp":5,"conflict":"the cloud's '30' (version 9) replaced '25' (version 1)"}}}}}""");
        Assert.Contains("(version 9) replaced", Patch().Items("twins").Single().Text("observedDesired", "metadata", "conflict"), StringComparison.Ordinal);
    }

    [Fact]
    public void Samples_are_kept_up_to_the_number_that_the_device_asks_for_and_all_are_counted()
    {
        _lane.Device = Device("t=3");
        Report("""{"uid":"u","twin":{},"history":{"t":[{"value":"1","timestamp":1},{"value":"2","timestamp":2}]}}""");
        Apply();
        Report("""{"uid":"u","twin":{},"history":{"t":[{"value":"3","timestamp":3},{"value":"4","timestamp":4}]}}""");
        Report("""{"uid":"u","twin":{},"history":{"t":[{"value":"5","timestamp":5}]}}""");
        Apply();
        Assert.Equal(["3@3", "4@4", "5@5"], Samples());
        Assert.Equal("5", _status.At("status", "extensions", "history", "t", "count")!.ToJsonString());
    }

    [Fact]
    public void A_report_that_comes_again_counts_once()
    {
        const string Report1 = """{"uid":"u","twin":{},"history":{"t":[{"value":"1","timestamp":1},{"value":"2","timestamp":2}]}}""";
        Report(Report1);
        Apply();
        Report(Report1);
        Apply();
        Assert.Equal(["1@1", "2@2"], Samples());
        Assert.Equal("2", _status.At("status", "extensions", "history", "t", "count")!.ToJsonString());
    }

    [Fact]
    public void What_could_not_be_written_stands_before_what_came_meanwhile()
    {
        Report("""{"uid":"u","twin":{},"history":{"t":[{"value":"1","timestamp":1}]}}""");
        Report("""{"uid":"u","twin":{"t":{"actual":{"value":"1"}}},"problems":["old"]}""");
        var batch = _lane.Take();
        Report("""{"uid":"u","twin":{},"history":{"t":[{"value":"2","timestamp":2}]}}""");
        Report("""{"uid":"u","twin":{"t":{"actual":{"value":"2"}}},"problems":["new"]}""");
        _lane.PutBack(batch);
        Apply();
        Assert.Equal(["1@1", "2@2"], Samples());
        Assert.Equal("2", _status.Items("status", "twins").Single().Text("reported", "value"));
        Assert.Equal("""["edge: new"]""", Problems());
    }

    [Fact]
    public void Problems_of_cloud_and_edge_stand_side_by_side_and_each_side_clears_its_own()
    {
        Report("""{"uid":"u","twin":{},"problems":["mapper 'm' does not answer"]}""", "too hot");
        Apply();
        Assert.Equal("""["too hot","edge: mapper \u0027m\u0027 does not answer"]""", Problems());
        Report("""{"uid":"u","twin":{}}""", "too hot");
        Apply();
        Assert.Equal("""["too hot"]""", Problems());
        _lane.Add([]);
        Apply();
        Assert.Null(_status.At("status", "extensions", "problems"));
        _lane.Add([]);
        Assert.True(_lane.IsIdle);
    }

    [Fact]
    public void A_stock_edge_says_nothing_of_problems()
    {
        Report("""{"uid":"u","twin":{},"problems":["old"]}""");
        Apply();
        Report("""{"twin":{"t":{"actual":{"value":"2"}}}}""");
        Apply();
        Assert.Equal("""["edge: old"]""", Problems());
    }

    [Fact]
    public void Too_many_samples_are_refused()
    {
        var list = string.Join(',', Enumerable.Range(0, DeviceReport.SamplesMax + 1).Select(i => $$"""{"value":"{{i}}","timestamp":{{i}}}"""));
        Assert.Null(DeviceReport.TryRead(Message($$$"""{"twin":{},"history":{"t":[{{{list}}}]}}"""), out var error));
        Assert.Contains("limit is 10000", error, StringComparison.Ordinal);
    }

    [Fact]
    public void A_node_that_gets_the_device_from_another_is_heard_though_its_queue_is_younger()
    {
        Report("""{"uid":"u","twin":{"t":{"actual":{"value":"1"}}}}""", node: "edge-1", version: 900);
        State("online", "edge-1", 901);
        Apply();
        _lane.Device = Device("") with { Node = "edge-2" };
        Report("""{"uid":"u","twin":{"t":{"actual":{"value":"2"}}}}""", node: "edge-2", version: 5);
        Apply();
        Assert.Equal("2", Value());
        Assert.Equal("""{"node":"edge-2","twin":5}""", _status.At("status", "extensions", "reportVersions")!.ToJsonString());
        State("offline", "edge-2", 6);
        Apply();
        Assert.Equal("offline", _status.At("status").Text("state"));
        Report("""{"uid":"u","twin":{"t":{"actual":{"value":"1"}}}}""", node: "edge-2", version: 4);
        Apply();
        Assert.Equal("2", Value());
    }

    [Fact]
    public void What_a_node_said_and_could_not_be_written_before_the_device_left_it_is_not_written_any_more()
    {
        Report("""{"uid":"u","twin":{"t":{"actual":{"value":"1"}}},"problems":["hot"]}""", node: "edge-1", version: 900);
        Report("""{"uid":"u","twin":{},"history":{"t":[{"value":"1","timestamp":1}]}}""", node: "edge-1", version: 901);
        State("online", "edge-1", 902);
        _lane.Device = Device("") with { Node = "edge-2" };
        Apply();
        Assert.Null(_status.At("status", "twins"));
        Assert.Null(_status.At("status", "state"));
        Assert.Null(_status.At("status", "extensions", "problems"));
        Assert.Equal(["1@1"], Samples());
    }

    [Fact]
    public void Reports_of_the_former_node_that_are_put_back_keep_their_versions_to_themselves()
    {
        Report("""{"uid":"u","twin":{"t":{"actual":{"value":"1"}}}}""", node: "edge-1", version: 900);
        var batch = _lane.Take();
        _lane.Device = Device("") with { Node = "edge-2" };
        Report("""{"uid":"u","twin":{"t":{"actual":{"value":"2"}}}}""", node: "edge-2", version: 5);
        _lane.PutBack(batch);
        Apply();
        Assert.Equal("2", Value());
        Assert.Equal("""{"node":"edge-2","twin":5}""", _status.At("status", "extensions", "reportVersions")!.ToJsonString());
    }

    [Fact]
    public void A_report_that_comes_after_a_later_one_adds_its_samples_alone()
    {
        Report("""{"uid":"u","twin":{"t":{"actual":{"value":"2"}}},"problems":[]}""", node: "edge-1", version: 7);
        Report("""{"uid":"u","twin":{"t":{"actual":{"value":"1"}}},"problems":["old"]}""", node: "edge-1", version: 6);
        Report("""{"uid":"u","twin":{},"history":{"t":[{"value":"1","timestamp":1}]}}""", node: "edge-1", version: 5);
        State("online", "edge-1", 8);
        State("offline", "edge-1", 6);
        Apply();
        Assert.Equal(("2", "online"), (Value(), _status.At("status").Text("state")));
        Assert.Null(_status.At("status", "extensions", "problems"));
        Assert.Equal(["1@1"], Samples());
        Assert.Equal("""{"node":"edge-1","twin":7,"state":8}""", _status.At("status", "extensions", "reportVersions")!.ToJsonString());
    }

    [Fact]
    public void Twins_and_samples_of_properties_that_the_device_no_longer_has_go()
    {
        _status = Json("""{"status":{"twins":[{"propertyName":"old","reported":{"value":"1"}},{"propertyName":"b","reported":{"value":"2"}}],"extensions":{"history":{"old":{"count":1,"samples":[]}}}}}""");
        _lane.Device = Device("") with { Properties = new HashSet<string> { "b", "c" } };
        Report("""{"uid":"u","twin":{"c":{"actual":{"value":"3"}},"old":{"actual":{"value":"4"}}}}""");
        Report("""{"uid":"u","twin":{},"history":{"c":[{"value":"3","timestamp":1}],"old":[{"value":"4","timestamp":1}]}}""");
        Apply();
        Assert.Equal(["b", "c"], _status.Items("status", "twins").Select(twin => twin.Text("propertyName")));
        Assert.Equal(["c"], _status.At("status", "extensions", "history")!.AsObject().Select(one => one.Key));
    }

    [Fact]
    public void Values_that_have_no_room_are_left_out_by_name_and_the_others_stand()
    {
        var value = new string('x', 64 * 1024);
        _status = Json($$$"""{"status":{"twins":[{"propertyName":"kept","reported":{"value":"{{{value}}}"}}]}}""");
        var fresh = Enumerable.Range(0, 20).Select(i => $$$"""
            "p{{{i}}}":{"actual":{"value":"{{{value}}}","metadata":{"timestamp":7} } }
            """);
        Report($$$"""{"uid":"u","twin":{ {{{string.Join(',', fresh)}}} } }""");
        Apply();
        var twins = _status.Items("status", "twins").ToList();
        Assert.Equal(21, twins.Count);
        Assert.Equal(value, twins[0].Text("reported", "value"));
        var full = twins.Count(twin => twin.Text("reported", "value").Length == value.Length);
        Assert.Equal(12, full);
        Assert.All(twins.Skip(full), twin =>
        {
            Assert.Equal("", twin.Text("reported", "value"));
            Assert.Equal("7", twin.Text("reported", "metadata", "timestamp"));
            Assert.StartsWith("the value of 65536 characters is left out", twin.Text("reported", "metadata", "error"), StringComparison.Ordinal);
        });
        Assert.InRange(_status.ToJsonString().Length, DeviceStatusPatch.TwinBytesMax - value.Length, DeviceStatusPatch.TwinBytesMax + 10_000);
    }

    [Fact]
    public void Long_samples_are_kept_as_far_as_there_is_room_the_newest_first()
    {
        var value = new string('x', 64 * 1024);
        var samples = Enumerable.Range(1, 20).Select(i => $$"""{"value":"{{value}}","timestamp":{{i}}}""");
        Report($$"""{"uid":"u","twin":{},"history":{"t":[{{string.Join(',', samples)}}] } }""");
        Apply();
        Assert.Equal([15, 16, 17, 18, 19, 20], Samples().Select(one => int.Parse(one.Split('@')[1])));
        Assert.Equal("20", _status.At("status", "extensions", "history", "t", "count")!.ToJsonString());
    }

    private static DeviceFacts Device(string history) => new("default", "d", "u", "edge-1", history);

    private static JsonObject Json(string json) => (JsonObject)JsonNode.Parse(json)!;

    private static Message Message(string content)
        => Protocol.Messages.Message.Create(TimeProvider.System, Sources.Twin, Groups.Resource, Operations.Update, "device/default/d/twin/edge_updated", Encoding.UTF8.GetBytes(content));

    private void Report(string content, params string[] cloudProblems) => _lane.Add(DeviceReport.TryRead(Message(content), out _)!, cloudProblems, () => { });

    private void Report(string content, string node, long version) => _lane.Add(DeviceReport.TryRead(Message(content), out _)! with { Node = node, Version = version }, [], () => { });

    private void State(string state, string node, long version) => _lane.Add(new DeviceReport("default", "d", [], state, "") { Node = node, Version = version }, [], () => { });

    private string Value() => _status.Items("status", "twins").Single().Text("reported", "value");

    private JsonObject Patch()
        => JsonNode.Parse(DeviceStatusPatch.Of(Encoding.UTF8.GetBytes(_status.ToJsonString()), _lane.Device, _lane.Take(), out _))!["status"]!.DeepClone().AsObject();

    // A merge patch (RFC 7386) as the API applies it.
    private void Apply() => _status = (JsonObject)Merge(_status, new JsonObject { ["status"] = Patch() })!;

    private static JsonNode? Merge(JsonNode? target, JsonNode? patch)
    {
        if (patch is not JsonObject changes)
            return patch?.DeepClone();
        var merged = target is JsonObject old ? (JsonObject)old.DeepClone() : [];
        foreach (var (key, value) in changes)
        {
            if (value is null)
                merged.Remove(key);
            else
                merged[key] = Merge(merged[key], value);
        }

        return merged;
    }

    private IEnumerable<string> Samples() => _status.Items("status", "extensions", "history", "t", "samples").Select(one => $"{one.Text("value")}@{one.Text("timestamp")}");

    private string Problems() => _status.At("status", "extensions", "problems")!.ToJsonString();
}
