using System.Text.Json.Nodes;
using Edge.Ctl.Devices;
using static Edge.Ctl.Tests.Objects;

namespace Edge.Ctl.Tests;

[Trait("Category", "Devices")]
public sealed class DeviceRowsTests
{
    [Fact]
    public void Each_property_is_a_row_in_the_devices_order()
    {
        var rows = Rows(Device(), Status(Twin("temperature", "20.1", -2000), Twin("setpoint", "21.4", -300_000, observed: "21.5")));
        Assert.Equal(["temperature", "setpoint", "fan"], rows.Select(row => row.Property));
        var setpoint = rows[1];
        Assert.Equal(("default/press-3", "edge-1", "online"), (setpoint.Id, setpoint.Node, setpoint.State));
        Assert.Equal(("21.5", "21.5", "21.4 celsius", "FLOAT"), (setpoint.Desired, setpoint.Observed, setpoint.ReportedWithUnit, setpoint.Type));
        Assert.Equal(Now.AddMinutes(-5), setpoint.ReportedAt);
        Assert.False(setpoint.IsBehind);
        Assert.All(rows, row => Assert.Empty(row.Problems));
    }

    [Fact]
    public void Observed_that_is_another_value_is_behind_and_another_text_of_the_same_is_not()
    {
        Assert.True(Rows(Device(), Status(Twin("setpoint", observed: "20")))[1].IsBehind);
        Assert.False(Rows(Device(), Status(Twin("setpoint", observed: "21.50")))[1].IsBehind);
    }

    [Fact]
    public void Errors_stand_at_their_property_and_problems_of_the_device_in_its_first_row()
    {
        var status = Status(Twin("setpoint", "", 0, error: "no answer from 10.0.0.9:502"));
        status["status"]!["extensions"] = new JsonObject { ["problems"] = new JsonArray("mapper gone", "slave restarted") };
        var rows = Rows(Device(), status);
        Assert.Equal(["mapper gone", "slave restarted"], rows[0].Problems);
        Assert.Equal(["no answer from 10.0.0.9:502"], rows[1].Problems);
        Assert.Empty(rows[2].Problems);
    }

    [Fact]
    public void What_keeps_a_device_from_being_served_is_told()
    {
        Assert.Equal(["node 'edge-1' is not ready: values are the last it sent"], Rows(Device(), Status(), node: Node(ready: false))[0].Problems);
        Assert.Equal(["nothing has been reported yet"], Rows(Device(), null)[0].Problems);
        var lost = Device();
        lost["spec"]!["nodeName"] = "";
        lost["spec"]!["deviceModelRef"]!["name"] = "gone";
        Assert.Equal(["spec.nodeName is not set, so no node serves it", "there is no DeviceModel 'gone' in its namespace"], Rows(lost, null)[0].Problems);
        lost["spec"]!["nodeName"] = "edge-9";
        Assert.Equal("there is no node 'edge-9'", Rows(lost, null)[0].Problems[0]);
    }

    [Fact]
    public void Nothing_is_said_of_nodes_that_may_not_be_read()
        => Assert.Empty(DeviceRows.From(new DeviceObjects([Device()], [Model()], [Status()], null), Now)[0].Problems);

    [Fact]
    public void A_device_without_properties_has_a_row()
    {
        var bare = Device();
        bare["spec"]!.AsObject().Remove("properties");
        Assert.Equal(["it has no properties"], Assert.Single(Rows(bare, Status())).Problems);
    }

    [Fact]
    public void What_is_reported_beyond_the_device_is_shown()
    {
        var rows = Rows(Device(), Status(Twin("ghost", "1")));
        Assert.Equal("ghost", rows[3].Property);
        Assert.Equal(["DeviceModel 'thermostat' has no property 'ghost'"], rows[3].Problems);
    }

    [Fact]
    public void A_clock_ahead_is_told() => Assert.Equal(["its time is 30s ahead of this machine's clock"], Rows(Device(), Status(Twin("setpoint", "1", 30_000)))[1].Problems);

    [Fact]
    public void Malformed_objects_make_rows_too()
    {
        var odd = Json("""{"metadata": {"name": "odd", "namespace": "default"}, "spec": {"properties": [7, {"name": 3}, {"name": "x", "desired": "y"}], "nodeName": []}}""");
        var status = Json("""{"metadata": {"name": "odd", "namespace": "default"}, "status": {"twins": [{"propertyName": "x", "reported": {"value": 3, "metadata": {"timestamp": "999999999999999999"}}}], "extensions": []}}""");
        var row = Assert.Single(Rows(odd, status));
        Assert.Equal(("x", "", null), (row.Property, row.Desired, row.ReportedAt));
    }

    [Fact]
    public void The_same_value_reported_again_looks_the_same()
    {
        var before = Rows(Device(), Status(Twin("setpoint", "21.5", 0)))[1];
        Assert.True(Rows(Device(), Status(Twin("setpoint", "21.5", 1000)))[1].LooksLike(before));
        Assert.False(Rows(Device(), Status(Twin("setpoint", "21.6", 1000)))[1].LooksLike(before));
        Assert.False(Rows(Device(), Status(Twin("setpoint", "21.5", 1000, error: "x")))[1].LooksLike(before));
    }

    private static IReadOnlyList<PropertyRow> Rows(JsonObject device, JsonObject? status, JsonObject? node = null)
        => DeviceRows.From(new DeviceObjects([device], [Model()], status is null ? [] : [status], [node ?? Node()]), Now);
}
