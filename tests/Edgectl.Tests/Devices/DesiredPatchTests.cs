using System.Text.Json.Nodes;
using Edge.Ctl.Devices;
using Edge.Kubernetes;

namespace Edge.Ctl.Tests;

[Trait("Category", "Devices")]
public sealed class DesiredPatchTests
{
    [Fact]
    public void A_desired_value_is_set_where_it_stands_with_its_time_and_other_metadata_stays()
        => Equal(
            """
            [{"op":"test","path":"/metadata/uid","value":"u-1"},
             {"op":"test","path":"/spec/properties/1/name","value":"setpoint"},
             {"op":"add","path":"/spec/properties/1/desired/value","value":"23"},
             {"op":"add","path":"/spec/properties/1/desired/metadata/timestamp","value":"1772625600000"}]
            """,
            DesiredPatch.Build(Objects.Device(), [new Wanted("setpoint", "23")], Objects.Now));

    [Fact]
    public void A_property_without_one_gets_one_only_if_it_is_still_as_it_was()
        => Equal(
            """
            [{"op":"test","path":"/metadata/uid","value":"u-1"},
             {"op":"test","path":"/spec/properties/2","value":{"name":"fan"}},
             {"op":"add","path":"/spec/properties/2/desired","value":{"value":"true","metadata":{"timestamp":"1772625600000"}}}]
            """,
            DesiredPatch.Build(Objects.Device(), [new Wanted("fan", "true")], Objects.Now));

    [Fact]
    public void A_desired_value_without_metadata_gets_its_time_only_if_it_is_still_as_it_was()
    {
        var device = Objects.Device();
        device["spec"]!["properties"]![2]!["desired"] = new JsonObject { ["value"] = "false" };
        Equal(
            """
            [{"op":"test","path":"/metadata/uid","value":"u-1"},
             {"op":"test","path":"/spec/properties/2","value":{"name":"fan","desired":{"value":"false"}}},
             {"op":"add","path":"/spec/properties/2/desired","value":{"value":"true","metadata":{"timestamp":"1772625600000"}}}]
            """,
            DesiredPatch.Build(device, [new Wanted("fan", "true")], Objects.Now));
    }

    [Fact]
    public void A_property_that_only_the_model_has_is_added_to_the_version_that_was_read()
        => Equal(
            """
            [{"op":"test","path":"/metadata/uid","value":"u-1"},
             {"op":"test","path":"/metadata/resourceVersion","value":"7"},
             {"op":"add","path":"/spec/properties/-","value":{"name":"label","desired":{"value":"x","metadata":{"timestamp":"1772625600000"}}}}]
            """,
            DesiredPatch.Build(Objects.Device(), [new Wanted("label", "x")], Objects.Now));

    [Fact]
    public void A_device_without_a_list_gets_one()
    {
        var device = Objects.Device();
        device["spec"]!.AsObject().Remove("properties");
        var patch = DesiredPatch.Build(device, [new Wanted("label", "x")], Objects.Now)!;
        Assert.Equal(["/metadata/uid", "/metadata/resourceVersion", "/spec/properties", "/spec/properties/-"], patch.Select(one => one.Text("path")));
    }

    [Fact]
    public void What_is_so_already_needs_no_patch() => Assert.Null(DesiredPatch.Build(Objects.Device(), [new Wanted("setpoint", "21.5")], Objects.Now));

    private static void Equal(string expected, JsonArray? actual) => Assert.True(JsonNode.DeepEquals(JsonNode.Parse(expected), actual), actual?.ToJsonString());
}
