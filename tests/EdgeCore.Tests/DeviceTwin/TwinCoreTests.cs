using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.DeviceTwin;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Edge.Protocol.Messages;
using Google.Protobuf;
using Xunit;

namespace Edge.Core.Tests.DeviceTwin;

[Trait("Category", "Devices")]
public sealed class TwinCoreTests
{
    private readonly TwinCore _core = new();

    [Fact]
    public void A_mapper_that_registers_with_data_gets_the_devices_of_its_protocol()
    {
        Put();
        var answer = Single<TwinOutput.Answer>(Register("a", withData: true));
        var response = Assert.IsType<MapperRegisterResponse>(answer.Message);
        Assert.Equal("thermo", Assert.Single(response.DeviceList).Name);
        Assert.Equal("model", Assert.Single(response.ModelList).Name);
        Assert.Empty(Assert.IsType<MapperRegisterResponse>(Single<TwinOutput.Answer>(Register("b", true, "opcua")).Message).DeviceList);
    }

    [Fact]
    public void A_mapper_that_registers_without_data_is_told_the_model_before_the_device()
    {
        Put();
        var calls = Register("a", withData: false).OfType<TwinOutput.Deliver>().Select(one => one.Call.Key);
        Assert.Equal(["devicemodel/default/model", "device/default/thermo"], calls);
    }

    [Fact]
    public void Every_mapper_of_a_protocol_gets_a_changed_device()
    {
        Register("a", true);
        Register("b", true);
        var outputs = Put();
        Assert.Equal(["a", "b"], outputs.OfType<TwinOutput.Deliver>().Where(one => !one.Call.IsModel).Select(one => one.Mapper));
    }

    [Fact]
    public void A_device_waits_for_its_model()
    {
        Register("a", true);
        Single<TwinOutput.WaitsForModel>(Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device())));
        Assert.Contains(
            Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model())).OfType<TwinOutput.Deliver>(), one => one.Call.Key == "device/default/thermo");
    }

    [Fact]
    public void A_report_of_an_unknown_device_is_refused()
        => Assert.Equal(GrpcStatusCode.NotFound, Single<TwinOutput.Refuse>(Report(0, "t", "1")).Code);

    [Fact]
    public void A_changed_value_is_stored_before_it_is_sent_and_keeps_the_mappers_time_and_type()
    {
        Put();
        var outputs = Report(5000, "t", "21", ("timestamp", "4711"), ("type", "int"));
        Assert.True(outputs.FindIndex(one => one is TwinOutput.Persist) < outputs.FindIndex(one => one is TwinOutput.SendTwin));
        var twin = Single<TwinOutput.SendTwin>(outputs).Properties["t"];
        Assert.Equal(("21", 4711L, "int", 1L), (twin.Value, twin.TimestampMs, twin.Type, twin.EdgeVersion));
    }

    [Fact]
    public void An_unchanged_value_goes_up_at_most_every_ten_seconds()
    {
        Put();
        Assert.Contains(Report(1000, "t", "21"), one => one is TwinOutput.SendTwin);
        Assert.DoesNotContain(Report(2000, "t", "21"), one => one is TwinOutput.SendTwin);
        Assert.DoesNotContain(Report(10_999, "t", "21"), one => one is TwinOutput.SendTwin or TwinOutput.Persist);
        Assert.Contains(Report(11_000, "t", "21"), one => one is TwinOutput.SendTwin);
        Assert.Equal(2, Single<TwinOutput.SendTwin>(Report(11_001, "t", "22")).Properties["t"].EdgeVersion);
    }

    [Theory]
    [InlineData("101", "above the model's maximum 100")]
    [InlineData("-1", "below the model's minimum 0")]
    [InlineData("NaN", "below")]
    [InlineData("warm", "is not a number")]
    public void A_value_outside_the_model_is_dropped_with_the_reason(string value, string reason)
    {
        Put();
        var outputs = Report(0, "t", value);
        Assert.Contains(reason, Single<TwinOutput.Dropped>(outputs).Reason, StringComparison.Ordinal);
        Assert.DoesNotContain(outputs, one => one is TwinOutput.SendTwin);
        Single<TwinOutput.Answer>(outputs);
    }

    [Fact]
    public void Absent_fields_of_a_report_are_no_error()
    {
        Put();
        Single<TwinOutput.Answer>(Step(new TwinInput.ReportStatus(new ReportDeviceStatusRequest { DeviceName = "thermo" }, 0)));
        var empty = new ReportDeviceStatusRequest { DeviceName = "thermo", ReportedDevice = new DeviceStatus { Twins = { new Twin { PropertyName = "t" }, new Twin() } } };
        Single<TwinOutput.Answer>(Step(new TwinInput.ReportStatus(empty, 0)));
        Assert.Equal(GrpcStatusCode.InvalidArgument, Single<TwinOutput.Refuse>(Step(new TwinInput.RegisterMapper(new MapperInfo(), true))).Code);
    }

    [Fact]
    public void A_state_refreshes_the_last_online_time_and_an_unknown_word_is_refused()
    {
        Put();
        Assert.Equal(("online", 1000L), Single<TwinOutput.SendState>(State(1000, "Online")) is var first ? (first.State, first.LastOnlineMs) : default);
        Assert.DoesNotContain(State(2000, "online"), one => one is TwinOutput.SendState);
        Assert.Equal(2000, Single<TwinOutput.SendState>(State(3000, "offline")).LastOnlineMs);
        Assert.Equal(GrpcStatusCode.InvalidArgument, Single<TwinOutput.Refuse>(State(4000, "sleepy")).Code);
    }

    [Fact]
    public void Versions_and_mappers_survive_a_restart_and_rows_of_gone_devices_do_not()
    {
        Put();
        var rows = new Dictionary<string, ReadOnlyMemory<byte>>();
        foreach (var persist in Register("a", true).Concat(Report(0, "t", "1")).Concat(Report(0, "t", "2")).OfType<TwinOutput.Persist>())
            rows[persist.Key] = persist.Row;
        rows["device/default/gone"] = rows["device/default/thermo"];
        rows["device/default/bad"] = "{}"u8.ToArray();

        var core = new TwinCore();
        var outputs = new List<TwinOutput>();
        Assert.Equal(["device/default/bad"], core.Restore(rows, outputs));
        Assert.Equal("a", Single<TwinOutput.MapperChanged>(outputs).Mapper.Name);
        core.Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()), outputs);
        core.Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device()), outputs);
        Assert.Contains(outputs.OfType<TwinOutput.Deliver>(), one => one.Mapper == "a");
        core.ForgetOrphans(outputs);
        Assert.Equal("device/default/gone", Single<TwinOutput.Forget>(outputs).Key);
        outputs.Clear();
        core.Step(new TwinInput.ReportStatus(Status("t", "3"), 0), outputs);
        Assert.Equal(3, Single<TwinOutput.SendTwin>(outputs).Properties["t"].EdgeVersion);
    }

    [Fact]
    public void Contents_for_the_cloud_have_the_recorded_form()
    {
        var twin = new Dictionary<string, PropertyTwin>
        {
            ["temperature"] = new() { Value = "21", TimestampMs = 1795237470989, Type = "int", EdgeVersion = 1 },
        };
        Assert.Equal(
            """{"event_id":"e","timestamp":1795237470992,"twin":{"temperature":{"actual":{"value":"21","metadata":{"timestamp":1795237470989}},"optional":true,"metadata":{"type":"int"},"actual_version":{"cloud":0,"edge":1}}}}""",
            Encoding.UTF8.GetString(TwinPayload.Twin("e", 1795237470992, twin)));
        var state = TwinPayload.State("e", 1795237473011, "thermo", "online", 1795237473011);
        Assert.Equal((byte)'"', state.Span[0]);
        Assert.Equal(
            """{"event_id":"e","timestamp":1795237473011,"device":{"name":"thermo","state":"online","lastOnlineTime":"2026-11-21T05:04:33Z"}}""",
            Encoding.UTF8.GetString(MessageCodec.Unwrap(state).Span));
    }

    private static JsonObject Model() => (JsonObject)JsonNode.Parse("""
        {"metadata":{"name":"model","namespace":"default"},"spec":{"protocol":"modbus","properties":[{"name":"t","type":"INT","accessMode":"ReadWrite","minimum":"0","maximum":"100"}]}}
        """)!;

    private static JsonObject Device() => (JsonObject)JsonNode.Parse("""
        {"metadata":{"name":"thermo","namespace":"default"},"spec":{"deviceModelRef":{"name":"model"},"protocol":{"protocolName":"modbus"},"properties":[{"name":"t"}]}}
        """)!;

    private static ReportDeviceStatusRequest Status(string property, string value, params (string Key, string Value)[] metadata)
    {
        var reported = new TwinProperty { Value = value };
        foreach (var (key, one) in metadata)
            reported.Metadata[key] = one;
        return new ReportDeviceStatusRequest
        {
            DeviceName = "thermo",
            DeviceNamespace = "default",
            ReportedDevice = new DeviceStatus { Twins = { new Twin { PropertyName = property, Reported = reported } } },
        };
    }

    private static T Single<T>(IEnumerable<TwinOutput> outputs)
        => Assert.Single(outputs.OfType<T>());

    private List<TwinOutput> Put()
        => [.. Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model())), .. Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device()))];

    private List<TwinOutput> Register(string name, bool withData, string protocol = "modbus")
        => Step(new TwinInput.RegisterMapper(new MapperInfo { Name = name, Protocol = protocol, Address = ByteString.CopyFromUtf8($"/tmp/{name}.sock") }, withData));

    private List<TwinOutput> Report(long now, string property, string value, params (string Key, string Value)[] metadata)
        => Step(new TwinInput.ReportStatus(Status(property, value, metadata), now));

    private List<TwinOutput> State(long now, string state)
        => Step(new TwinInput.ReportState(new ReportDeviceStatesRequest { DeviceName = "thermo", DeviceNamespace = "default", State = state }, now));

    private List<TwinOutput> Step(TwinInput input)
    {
        var outputs = new List<TwinOutput>();
        _core.Step(input, outputs);
        return outputs;
    }
}
