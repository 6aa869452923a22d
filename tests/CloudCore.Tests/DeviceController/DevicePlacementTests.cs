using System.Text.Json.Nodes;
using Edge.Cloud.DeviceController;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.Tests;

[Trait("Category", "Devices")]
public sealed class DevicePlacementTests
{
    private readonly DevicePlacement _placement = new();
    private readonly List<PlacementOutput> _outputs = [];

    [Fact]
    public void Model_goes_before_the_device()
    {
        Model(1, Property("temperature", "INT"));
        Assert.Equal(["insert n1 default/devicemodel/m 1", "insert n1 default/device/thermo 2"], Device(2, "n1"));
    }

    [Fact]
    public void Device_without_its_model_waits_with_an_event()
    {
        Assert.Equal(["warn DeviceModelNotFound"], Device(2, "n1"));
        Assert.Empty(_placement.All("n1"));
        Assert.Equal(
            ["insert n1 default/devicemodel/m 3", "insert n1 default/device/thermo 3"], Model(3, Property("temperature", "INT")));
    }

    [Fact]
    public void Device_that_moves_leaves_the_old_node_with_its_model()
    {
        Model(1, Property("temperature", "INT"));
        Device(2, "n1");
        Assert.Equal(
            [
                "delete n1 default/device/thermo 2", "delete n1 default/devicemodel/m 1",
                "insert n2 default/devicemodel/m 1", "insert n2 default/device/thermo 5",
            ], Device(5, "n2"));
    }

    [Fact]
    public void Model_stays_while_another_device_of_the_node_uses_it()
    {
        Model(1, Property("temperature", "INT"));
        Device(2, "n1");
        Device(3, "n1", name: "other");
        Assert.Equal(["delete n1 default/device/thermo 3"], Delete("thermo"));
    }

    [Theory]
    [InlineData("11", "DesiredValueOutOfRange")]
    [InlineData("-1", "DesiredValueOutOfRange")]
    [InlineData("warm", "DesiredValueWrongType")]
    [InlineData("1.5", "DesiredValueWrongType")]
    public void Bad_desired_value_stays_here_and_the_last_good_one_goes_down(string bad, string reason)
    {
        Model(1, Property("temperature", "INT", "0", "10"));
        Device(2, "n1", "7");
        Assert.Equal([$"warn {reason}", "update n1 default/device/thermo 3"], Device(3, "n1", bad));
        Assert.Equal("7", SentDesired());
        Device(4, "n1", "9");
        Assert.Equal("9", SentDesired());
    }

    [Theory]
    [InlineData("9007199254740993", "9007199254740992", "DesiredValueOutOfRange")]
    [InlineData("9007199254740992", "9007199254740992", null)]
    [InlineData("10", "1e1", null)]
    [InlineData("11", "1e1", "DesiredValueOutOfRange")]
    public void Limits_of_whole_numbers_are_exact(string desired, string maximum, string? reason)
    {
        Model(1, Property("temperature", "INT", "0", maximum));
        var told = Device(2, "n1", desired);
        Assert.Equal(reason is null ? [] : [$"warn {reason}"], told.Where(one => one.StartsWith("warn", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_value_of_more_than_64_KiB_is_refused_by_its_bytes_and_not_repeated()
    {
        Model(1, Property("temperature", "STRING"));
        Assert.DoesNotContain(Device(2, "n1", new string('ä', 32 * 1024)), one => one.StartsWith("warn", StringComparison.Ordinal));
        Assert.Contains("warn DesiredValueTooLong", Device(3, "n1", new string('ä', 32 * 1024) + "x"));
        Assert.Equal(32 * 1024, SentDesired().Length);
        Assert.Equal(["property 'temperature': the desired value has 65537 bytes, the limit is 65536; it is not sent"], _placement.Problems("default", "thermo"));
    }

    [Fact]
    public void A_property_that_the_model_has_not_is_told_and_its_desired_value_stays_here()
    {
        Model(1, Property("pressure", "INT"));
        Assert.Contains("warn PropertyNotInModel", Device(2, "n1", "7"));
        Assert.Equal("", SentDesired());
        Assert.Equal(["property 'temperature' is not in DeviceModel 'm'; its desired value is not sent"], _placement.Problems("default", "thermo"));
        Assert.Equal(_placement.Problems("default", "thermo"), _placement.Complaints("n1").Single().Problems);
        Model(3, Property("temperature", "INT"));
        Assert.Equal("7", SentDesired());
        Assert.Empty(_placement.Complaints("n1"));
    }

    [Fact]
    public void Bad_first_desired_value_is_left_out()
    {
        Model(1, Property("temperature", "INT", "0", "10"));
        Device(2, "n1", "99");
        Assert.Equal("", SentDesired());
    }

    [Fact]
    public void What_is_wrong_with_a_device_is_told_once_and_again_when_it_changes()
    {
        IReadOnlyList<string>? Problems() => _outputs.OfType<PlacementOutput.DeviceProblems>().SingleOrDefault()?.Problems;
        Device(1, "n1", "5");
        Assert.Contains("DeviceModel 'm' does not exist", Assert.Single(Problems()!), StringComparison.Ordinal);
        Model(2, Property("temperature", "INT", "0", "10"));
        Assert.Empty(Problems()!);
        Device(3, "n1", "99");
        Assert.Contains("above the maximum 10", Assert.Single(Problems()!), StringComparison.Ordinal);
        Assert.Equal(Problems(), _placement.Problems("default", "thermo"));
        Device(4, "n1", "99");
        Assert.Null(Problems());
        Device(5, "n1", "7");
        Assert.Empty(Problems()!);
    }

    [Fact]
    public void Desired_value_of_a_read_only_property_is_left_out()
    {
        Model(1, Property("temperature", "FLOAT", accessMode: "ReadOnly"));
        Assert.Contains("warn DesiredValueReadOnly", Device(2, "n1", "1.5"));
        Assert.Equal("", SentDesired());
    }

    [Fact]
    public void Model_that_now_allows_a_value_sends_the_device_under_a_higher_version()
    {
        Model(1, Property("temperature", "INT", "0", "10"));
        Device(2, "n1", "99");
        Assert.Equal(
            ["update n1 default/devicemodel/m 8", "update n1 default/device/thermo 8"],
            Model(8, Property("temperature", "INT", "0", "100")));
        Assert.Equal("99", SentDesired());
    }

    [Fact]
    public void Impossible_modbus_register_is_told_and_other_properties_go_on()
    {
        Model(1, Property("temperature", "INT"));
        var visitors = new JsonObject { ["protocolName"] = "modbus", ["configData"] = new JsonObject { ["register"] = "HoldingRegister", ["offset"] = 70_000, ["limit"] = 1 } };
        Assert.Equal("warn VisitorInvalid", Device(2, "n1", "3", visitors: visitors)[0]);
        Assert.Equal("3", SentDesired());
    }

    [Fact]
    public void Status_alone_changes_nothing_at_the_edge()
    {
        Model(1, Property("temperature", "INT"));
        Device(2, "n1", "7");
        Assert.Empty(Device(3, "n1", "7"));
    }

    [Fact]
    public void Model_goes_to_a_node_once_however_many_devices_use_it()
    {
        Model(1, Property("temperature", "INT"));
        Device(2, "n1");
        Assert.Equal(["insert n1 default/device/other 3"], Device(3, "n1", name: "other"));
        Assert.Equal(["insert n2 default/devicemodel/m 1", "insert n2 default/device/far 4"], Device(4, "n2", name: "far"));
        Assert.Equal(
            [
                "update n1 default/devicemodel/m 8", "update n2 default/devicemodel/m 8",
                "update n1 default/device/thermo 8", "update n1 default/device/other 8", "update n2 default/device/far 8",
            ], Model(8, Property("temperature", "INT")));
    }

    [Fact]
    public void Single_objects_are_found_as_they_are_sent()
    {
        Model(1, Property("temperature", "INT"));
        Device(2, "n1");
        Assert.Equal("thermo-uid", _placement.Find("n1", new ResourcePath("default", "device", "thermo"))?.Uid);
        Assert.Equal("model-uid", _placement.Find("n1", new ResourcePath("default", "devicemodel", "m"))?.Uid);
        Assert.Null(_placement.Find("n2", new ResourcePath("default", "device", "thermo")));
        Assert.Null(_placement.Find("n2", new ResourcePath("default", "devicemodel", "m")));
        Assert.Null(_placement.Find("n1", new ResourcePath("default", "devicemodel", "other")));
        Delete("thermo");
        Assert.Null(_placement.Find("n1", new ResourcePath("default", "devicemodel", "m")));
    }

    [Fact]
    public void Device_that_is_gone_is_no_longer_found_by_its_model()
    {
        Model(1, Property("temperature", "INT"));
        Device(2, "n1");
        Delete("thermo");
        Assert.Empty(Model(3, Property("temperature", "INT")));
    }

    [Fact]
    public void Deleted_model_leaves_running_devices_alone_but_tells()
    {
        Model(1, Property("temperature", "INT"));
        Device(2, "n1");
        _outputs.Clear();
        _placement.ModelChanged(new ObjectChange(ChangeType.Deleted, ModelOf(2, Property("temperature", "INT")), null), _outputs);
        Assert.Equal(["warn DeviceModelNotFound"], Told());
        Assert.Equal(2, _placement.All("n1").Count());
    }

    [Fact]
    public void Change_of_a_device_that_shows_after_a_newer_change_of_its_model_gets_a_version_of_its_own()
    {
        Model(1, Property("temperature", "INT"));
        Device(2, "n1", "10");
        Assert.Contains("update n1 default/device/thermo 9", Model(9, Property("temperature", "INT")));
        Assert.Contains("update n1 default/device/thermo 10", Device(5, "n1", "11"));
        Assert.Contains("update n1 default/device/thermo 11", Device(6, "n1", "12"));
        Assert.Contains("update n1 default/device/thermo 12", Device(12, "n1", "13"));
    }

    [Fact]
    public void Model_that_was_deleted_and_made_again_takes_the_old_one_away_first()
    {
        Model(1, Property("temperature", "INT"));
        Device(2, "n1");
        _placement.ModelChanged(new ObjectChange(ChangeType.Deleted, ModelOf(3, Property("temperature", "INT")), null), _outputs);
        var again = ModelOf(4, Property("temperature", "INT"));
        again["metadata"]!["uid"] = "another-uid";
        _outputs.Clear();
        _placement.ModelChanged(new ObjectChange(ChangeType.Added, again, null), _outputs);
        Assert.Equal(["delete n1 default/devicemodel/m 2", "update n1 default/devicemodel/m 4"], Told().Take(2));
    }

    private static JsonObject Property(string name, string type, string minimum = "", string maximum = "", string accessMode = "ReadWrite")
        => new() { ["name"] = name, ["type"] = type, ["minimum"] = minimum, ["maximum"] = maximum, ["accessMode"] = accessMode };

    private static JsonObject ModelOf(long version, JsonObject property) => new()
    {
        ["metadata"] = new JsonObject { ["name"] = "m", ["namespace"] = "default", ["uid"] = "model-uid", ["resourceVersion"] = $"{version}" },
        ["spec"] = new JsonObject { ["properties"] = new JsonArray(property) },
    };

    private List<string> Model(long version, JsonObject property)
    {
        _outputs.Clear();
        _placement.ModelChanged(new ObjectChange(ChangeType.Added, ModelOf(version, property), null), _outputs);
        return Told();
    }

    private List<string> Device(long version, string node, string? desired = null, string name = "thermo", JsonObject? visitors = null)
    {
        var property = new JsonObject { ["name"] = "temperature" };
        if (desired is not null)
            property["desired"] = new JsonObject { ["value"] = desired };
        if (visitors is not null)
            property["visitors"] = visitors;
        var device = new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default", ["uid"] = $"{name}-uid", ["resourceVersion"] = $"{version}" },
            ["spec"] = new JsonObject { ["nodeName"] = node, ["deviceModelRef"] = new JsonObject { ["name"] = "m" }, ["properties"] = new JsonArray(property) },
        };
        _outputs.Clear();
        _placement.DeviceChanged(new ObjectChange(ChangeType.Updated, device, null), _outputs);
        return Told();
    }

    private List<string> Delete(string name)
    {
        _outputs.Clear();
        var last = new JsonObject { ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default", ["uid"] = $"{name}-uid" } };
        _placement.DeviceChanged(new ObjectChange(ChangeType.Deleted, last, null), _outputs);
        return Told();
    }

    private string SentDesired()
        => _placement.All("n1").Single(obj => obj.Resource == "default/device/thermo").Body.Json.Items("spec", "properties").Single().Text("desired", "value");

    private List<string> Told() => [.. _outputs.Where(output => output is not PlacementOutput.DeviceProblems).Select(output => output switch
    {
        PlacementOutput.Deliver deliver => $"{deliver.Object.Operation} {deliver.Node} {deliver.Object.Resource} {deliver.Object.Version}",
        PlacementOutput.Warn warn => $"warn {warn.Reason}",
        _ => output.ToString(),
    })];
}
