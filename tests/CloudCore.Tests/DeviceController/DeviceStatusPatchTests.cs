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

    private static DeviceFacts Device(string history) => new("default", "d", "u", "edge-1", history);

    private static JsonObject Json(string json) => (JsonObject)JsonNode.Parse(json)!;

    private static Message Message(string content)
        => Protocol.Messages.Message.Create(TimeProvider.System, Sources.Twin, Groups.Resource, Operations.Update, "device/default/d/twin/edge_updated", Encoding.UTF8.GetBytes(content));

    private void Report(string content, params string[] cloudProblems) => _lane.Add(DeviceReport.TryRead(Message(content), out _)!, cloudProblems, () => { });

    private JsonObject Patch()
        => JsonNode.Parse(DeviceStatusPatch.Of(Encoding.UTF8.GetBytes(_status.ToJsonString()), _lane.Device.History, _lane.Take(), out _))!["status"]!.DeepClone().AsObject();

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
