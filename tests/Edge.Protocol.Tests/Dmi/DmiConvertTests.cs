using System.Text.Json.Nodes;
using Edge.Protocol.Dmi;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Xunit;

namespace Edge.Protocol.Tests.Dmi;

[Trait("Category", "Devices")]
public sealed class DmiConvertTests
{
    [Theory]
    [InlineData("\"text\"", "StringValue")]
    [InlineData("502", "Int64Value")]
    [InlineData("-9223372036854775808", "Int64Value")]
    [InlineData("true", "BoolValue")]
    [InlineData("0.1", "FloatValue")]
    [InlineData("0.123456789012", "DoubleValue")]
    [InlineData("{\"a\":[1,2.5,\"x\",null,true],\"b\":{}}", "Struct")]
    [InlineData("[1,[2]]", "ListValue")]
    public void A_free_value_survives_the_wire(string json, string wrapper)
    {
        var any = Any.Parser.ParseFrom(DmiAny.Wrap(JsonNode.Parse(json)).ToByteArray());
        Assert.Equal($"type.googleapis.com/google.protobuf.{wrapper}", any.TypeUrl);
        Assert.True(DmiAny.TryUnwrap(any, out var node, out var error), error);
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(json), node), node?.ToJsonString());
    }

    [Fact]
    public void The_wrappers_of_other_peers_are_read()
    {
        Assert.True(DmiAny.TryUnwrap(Any.Pack(new Int32Value { Value = -5 }), out var whole, out _));
        Assert.Equal(-5, (long)whole!);
        Assert.True(DmiAny.TryUnwrap(Any.Pack(new UInt64Value { Value = ulong.MaxValue }), out var large, out _));
        Assert.Equal("18446744073709551615", large!.ToJsonString());
    }

    [Fact]
    public void An_unknown_or_damaged_value_is_refused_with_a_reason()
    {
        Assert.False(DmiAny.TryUnwrap(new Any { TypeUrl = "type.googleapis.com/x.Y" }, out _, out var unknown));
        Assert.Contains("x.Y", unknown, StringComparison.Ordinal);
        var damaged = new Any { TypeUrl = "type.googleapis.com/google.protobuf.StringValue", Value = ByteString.CopyFrom(0x0A, 0x7F) };
        Assert.False(DmiAny.TryUnwrap(damaged, out _, out var malformed));
        Assert.Contains("StringValue", malformed, StringComparison.Ordinal);
    }

    [Fact]
    public void A_property_that_the_history_annotation_names_keeps_its_history()
    {
        var device = (JsonObject)JsonNode.Parse("""
            {"metadata":{"name":"d","annotations":{"devices.edge.io/history":" a = 50, c,"}},"spec":{"properties":[{"name":"a"},{"name":"b"},{"name":"c"}]}}
            """)!;
        Assert.Equal([true, false, true], DmiConvert.ToDevice(device, null).Spec.Properties.Select(property => property.KeepHistory));
    }

    [Fact]
    public void The_instance_overrides_the_model_key_by_key()
    {
        var model = (JsonObject)JsonNode.Parse("""
            {"metadata":{"name":"m","namespace":"default"},"spec":{"protocol":"modbus","protocolConfigData":{"port":502,"slaveID":1},"properties":[
              {"name":"t","type":"INT","accessMode":"ReadOnly","maximum":"100","visitors":{"protocolName":"modbus","configData":{"register":"InputRegister","offset":7}}},
              {"name":"only","type":"INT","visitors":{"protocolName":"modbus","configData":{"offset":9}}}]}}
            """)!;
        var device = (JsonObject)JsonNode.Parse("""
            {"metadata":{"name":"d","namespace":"default"},"spec":{"deviceModelRef":{"name":"m"},"protocol":{"protocolName":"modbus","configData":{"ip":"10.0.0.1","port":1502}},
              "properties":[{"name":"t","desired":{"value":"30","metadata":{"timestamp":"5"}},"reportCycle":1000,"collectCycle":500,"reportToCloud":true,"visitors":{"protocolName":"modbus","configData":{"offset":8}}}],
              "methods":[{"name":"reset","propertyNames":["t"]}]}}
            """)!;
        var message = DmiConvert.ToDevice(device, model);
        var problems = new List<string>();
        var protocol = DmiConvert.ToJson(message.Spec.Protocol.ConfigData, problems);
        Assert.Equal(("10.0.0.1", 1502, 1), ((string)protocol["ip"]!, (int)(long)protocol["port"]!, (int)(long)protocol["slaveID"]!));
        var property = message.Spec.Properties[0];
        var visitor = DmiConvert.ToJson(property.Visitors.ConfigData, problems);
        Assert.Equal(("InputRegister", 8L), ((string)visitor["register"]!, (long)visitor["offset"]!));
        Assert.Equal(("30", "5", 1000L, 500L, true), (property.Desired.Value, property.Desired.Metadata["timestamp"], property.ReportCycle, property.CollectCycle, property.ReportToCloud));
        Assert.Equal("only", message.Spec.Properties[1].Name);
        Assert.Equal("reset", message.Spec.Methods[0].Name);
        Assert.Equal("100", DmiConvert.ToModel(model).Spec.Properties[0].Maximum);
        Assert.Empty(problems);
    }

    [Fact]
    public void Fields_of_a_wrong_type_count_as_absent()
    {
        var device = (JsonObject)JsonNode.Parse("""{"metadata":[],"spec":{"properties":[5,{"name":3,"visitors":"x","desired":[]}],"protocol":"p","methods":{}}}""")!;
        var message = DmiConvert.ToDevice(device, null);
        Assert.Equal("3", Assert.Single(message.Spec.Properties).Name);
    }
}
