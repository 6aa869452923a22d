using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.DeviceTwin;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Edge.Protocol.Messages;
using Google.Protobuf;
using Xunit;

namespace Edge.Core.Tests.DeviceTwin;

[Trait("Category", "Devices")]
public sealed partial class TwinCoreTests
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
        Assert.Equal(2, Single<TwinOutput.SendTwin>(Report(12_000, "t", "22")).Properties["t"].EdgeVersion);
    }

    [Theory]
    [InlineData("101", "above the model's maximum 100")]
    [InlineData("-1", "below the model's minimum 0")]
    [InlineData("NaN", "is not a whole number")]
    [InlineData("Infinity", "is not a whole number")]
    [InlineData("1e300", "is not a whole number")]
    [InlineData("warm", "is not a whole number")]
    [InlineData("20.5", "is not a whole number")]
    public void A_value_outside_the_model_is_not_taken_and_the_reason_goes_up_beside_the_last_good_one(string value, string reason)
    {
        Put();
        Report(0, "t", "7");
        var outputs = Report(2000, "t", value);
        Assert.Contains(reason, Single<TwinOutput.Dropped>(outputs).Reason, StringComparison.Ordinal);
        var twin = Single<TwinOutput.SendTwin>(outputs).Properties["t"];
        Assert.Equal("7", twin.Value);
        Assert.Contains(reason, twin.Error, StringComparison.Ordinal);
        Single<TwinOutput.Answer>(outputs);
        Assert.Equal("", Single<TwinOutput.SendTwin>(Report(4000, "t", "8")).Properties["t"].Error);
    }

    [Fact]
    public void The_last_value_keeps_its_own_time_while_the_property_cannot_be_read()
    {
        Put();
        Report(1000, "t", "7");
        var twin = Single<TwinOutput.SendTwin>(Report(5000, "t", "", ("error", "no answer"))).Properties["t"];
        Assert.Equal(("7", "no answer", 1000L), (twin.Value, twin.Error, twin.TimestampMs));
        Assert.Equal(("8", "", 9000L), Single<TwinOutput.SendTwin>(Report(9000, "t", "8")).Properties["t"] is var next ? (next.Value, next.Error, next.TimestampMs) : default);
    }

    [Fact]
    public void A_property_that_the_model_has_not_is_a_problem_of_the_device()
    {
        Put();
        var outputs = Report(0, "pressure", "1");
        Assert.Equal("pressure", Single<TwinOutput.Dropped>(outputs).Property);
        Assert.Contains("pressure", Assert.Single(Single<TwinOutput.SendTwin>(outputs).Problems), StringComparison.Ordinal);
    }

    [Fact]
    public void Reports_within_the_window_become_one_message_with_the_newest_value()
    {
        Put();
        Single<TwinOutput.SendTwin>(Report(1000, "t", "1"));
        Assert.Null(_core.NextTickMs);
        for (var i = 2; i <= 9; i++)
            Assert.DoesNotContain(Report(1000 + i, "t", $"{i}"), output => output is TwinOutput.SendTwin);
        Assert.Equal(2000, _core.NextTickMs);
        Assert.Empty(Step(new TwinInput.Tick(1999)));
        Assert.Equal("9", Single<TwinOutput.SendTwin>(Step(new TwinInput.Tick(2000))).Properties["t"].Value);
        Assert.Null(_core.NextTickMs);
        Assert.Single(Report(3000, "t", "10").OfType<TwinOutput.SendTwin>());
    }

    [Fact]
    public void A_clock_that_was_set_back_holds_no_report_until_it_is_as_late_again()
    {
        Put();
        const long Hour = 3_600_000;
        Report(2 * Hour, "t", "1");
        Step(new TwinInput.Tick((2 * Hour) + 1));
        Assert.Empty(Report((2 * Hour) + 2, "t", "2").OfType<TwinOutput.SendTwin>());
        Assert.Equal("2", Single<TwinOutput.SendTwin>(Step(new TwinInput.Tick(Hour))).Properties["t"].Value);
        Assert.Null(_core.NextTickMs);
    }

    [Fact]
    public void A_device_that_is_gone_and_one_that_was_sent_meanwhile_end_no_window()
    {
        Put();
        Report(1000, "t", "1");
        Report(1001, "t", "2");
        Assert.Equal(2000, _core.NextTickMs);
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", null));
        Assert.Null(_core.NextTickMs);
        Assert.Empty(Step(new TwinInput.Tick(2000)));
    }

    [Fact]
    public void What_waited_for_its_window_when_EdgeCore_was_killed_goes_up_after_the_start()
    {
        Put();
        var rows = Register("a", true).Concat(Report(1000, "t", "1")).Concat(Report(1001, "t", "2")).OfType<TwinOutput.Persist>().GroupBy(one => one.Key)
            .ToDictionary(one => one.Key, one => (ReadOnlyMemory<byte>)one.Last().Row);
        var core = new TwinCore();
        var outputs = new List<TwinOutput>();
        core.Restore(rows, outputs);
        core.Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()), outputs);
        core.Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device()), outputs);
        Assert.DoesNotContain(outputs, one => one is TwinOutput.SendTwin);
        Assert.True(core.NextTickMs <= 1002);
        core.Step(new TwinInput.Tick(1002), outputs);
        Assert.Equal("2", Single<TwinOutput.SendTwin>(outputs).Properties["t"].Value);
        Assert.Null(core.NextTickMs);
    }

    [Fact]
    public void Without_a_window_every_change_goes_at_once()
    {
        var core = new TwinCore(0);
        var outputs = new List<TwinOutput>();
        core.Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()), outputs);
        core.Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device()), outputs);
        for (var i = 0; i < 5; i++)
            core.Step(new TwinInput.ReportStatus(Status("t", $"{i}"), 1000), outputs);
        Assert.Equal(["0", "1", "2", "3", "4"], outputs.OfType<TwinOutput.SendTwin>().Select(one => one.Properties["t"].Value!));
    }

    [Fact]
    public void Every_sample_of_a_property_that_keeps_its_history_goes_up_with_its_own_time()
    {
        var device = Device();
        device["metadata"]!["annotations"] = new JsonObject { [DmiConvert.HistoryAnnotation] = "t=50, other" };
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", device));
        var samples = Enumerable.Range(0, 5).SelectMany(i => Report(1000 + i, "t", "21", ("timestamp", $"{500 + i}"))).OfType<TwinOutput.SendSample>();
        Assert.Equal([500L, 501, 502, 503, 504], samples.Select(one => one.TimestampMs));
        Assert.DoesNotContain(Report(2000, "t", "bad"), one => one is TwinOutput.SendSample);
    }

    [Fact]
    public void The_states_of_a_dead_mappers_devices_are_unknown_until_it_answers_again()
    {
        Put();
        Register("a", true);
        Report(0, "t", "1");
        State(0, "unhealthy");
        var outputs = Step(new TwinInput.MapperSeen("a", false, 60_000));
        Assert.Equal(("unknown", 0L), Single<TwinOutput.SendState>(outputs) is var sent ? (sent.State, sent.LastOnlineMs) : default);
        Assert.Contains("mapper 'a'", Assert.Single(Single<TwinOutput.SendTwin>(outputs).Problems), StringComparison.Ordinal);
        Assert.Empty(Step(new TwinInput.MapperSeen("a", false, 61_000)));
        outputs = Step(new TwinInput.MapperSeen("a", true, 120_000));
        Assert.Equal("unhealthy", Single<TwinOutput.SendState>(outputs).State);
        Assert.Empty(Single<TwinOutput.SendTwin>(outputs).Problems);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void When_a_device_was_there_last_is_known_to_the_minute_after_a_restart_though_nothing_changed(bool saysStates)
    {
        const long Day = 86_400_000;
        Put();
        var rows = new Dictionary<string, ReadOnlyMemory<byte>>();
        var writes = 0;
        Keep(Register("a", true));
        for (long now = 0; now <= Day; now += 7000)
        {
            Keep(saysStates ? State(now, "online") : Report(now, "t", "21"));
            if (saysStates && now == 0)
                Keep(Report(0, "t", "21"));
        }

        Assert.InRange(writes, Day / 60_000 / 2, (Day / 60_000) + 3);
        var last = Day / 7000 * 7000;
        var core = new TwinCore();
        var outputs = new List<TwinOutput>();
        core.Restore(rows, outputs);
        core.Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()), outputs);
        core.Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device(), Day), outputs);
        core.Step(new TwinInput.MapperSeen("a", false, Day + 5000), outputs);
        Assert.InRange(Single<TwinOutput.SendState>(outputs).LastOnlineMs, last - 60_000, last);

        // Without a restart it is exact.
        Assert.Equal(last, Single<TwinOutput.SendState>(Step(new TwinInput.MapperSeen("a", false, Day + 5000))).LastOnlineMs);

        void Keep(List<TwinOutput> outputs)
        {
            foreach (var persist in outputs.OfType<TwinOutput.Persist>())
            {
                rows[persist.Key] = persist.Row;
                writes++;
            }
        }
    }

    [Fact]
    public void A_dead_mapper_beside_a_living_one_of_the_same_protocol_changes_nothing()
    {
        Put();
        Register("a", true);
        Register("b", true);
        State(0, "online");
        Assert.Empty(Step(new TwinInput.MapperSeen("a", false, 60_000)));
        Assert.Equal("unknown", Single<TwinOutput.SendState>(Step(new TwinInput.MapperSeen("b", false, 60_001))).State);
        Assert.Equal("online", Single<TwinOutput.SendState>(Report(61_000, "t", "5")).State);
    }

    [Fact]
    public void A_device_made_again_under_its_name_does_not_inherit_values()
    {
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("one")));
        Report(0, "t", "21");
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("two")));
        var twin = Single<TwinOutput.SendTwin>(Report(20_000, "t", "5"));
        Assert.Equal(("two", 1L), (twin.Uid, twin.Properties["t"].EdgeVersion));
    }

    [Fact]
    public void A_report_that_was_overtaken_is_a_sample_and_not_the_value()
    {
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()));
        var device = Device("u");
        device["metadata"]!["annotations"] = new JsonObject { ["devices.edge.io/history"] = "t" };
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", device));
        Report(100_000, "t", "21", ("timestamp", "99000"));
        var late = Report(120_000, "t", "20", ("timestamp", "98000"));
        Assert.Equal(("20", 98_000L), Single<TwinOutput.SendSample>(late) is var sample ? (sample.Value, sample.TimestampMs) : default);
        Assert.Equal("21", Single<TwinOutput.SendTwin>(late).Properties["t"].Value);

        // A clock that was set back: what it says is new.
        Assert.Equal("22", Single<TwinOutput.SendTwin>(Report(140_000, "t", "22", ("timestamp", "1000"))).Properties["t"].Value);
        Report(150_000, "t", "23", ("timestamp", "900000"));
        Assert.Equal("24", Single<TwinOutput.SendTwin>(Report(160_000, "t", "24", ("timestamp", "899000"))).Properties["t"].Value);
    }

    [Fact]
    public void Applications_hear_of_changed_labels_as_the_devices_attributes()
    {
        _core.PublishesToApps = true;
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device()));
        var device = Device();
        device["metadata"]!["labels"] = new JsonObject { ["room"] = "12" };
        var outputs = Step(new TwinInput.ObjectChanged("device", "default", "thermo", device, 77));
        Assert.Equal("""{"event_id":"","timestamp":77,"attributes":{"room":{"value":"12","optional":true,"metadata":{"type":"string"}}}}""", Published(outputs, "updated"));
        Assert.DoesNotContain(Step(new TwinInput.ObjectChanged("device", "default", "thermo", device, 78)), one => one is TwinOutput.Publish { Topic: "$hw/events/device/default/thermo/updated" });
    }

    [Theory]
    [InlineData("twin/update", "nonsense", 400, "not JSON")]
    [InlineData("twin/update", "[]", 400, "not a JSON object")]
    [InlineData("twin/update", "{}", 400, "no twin")]
    [InlineData("twin/update", """{"twin":{"t":{"expected":{"value":"101"}}}}""", 400, "above the model's maximum")]
    [InlineData("twin/update", """{"twin":{"no":{"expected":{"value":"1"}}}}""", 400, "the model has no such property")]
    [InlineData("twin/update", """{"twin":{"t":{"actual":{"value":"warm"}}}}""", 400, "not a whole number")]
    [InlineData("state/update", """{"state":"sleepy"}""", 400, "must be online")]
    [InlineData("twin/update", """{"event_id":"a","event_id":"b","twin":{}}""", 400, "not JSON")]
    [InlineData("twin/update", """{"twin":{"t":{"actual":{"value":"1","value":"2"}}}}""", 400, "not JSON")]
    [InlineData("twin/update", """{"event_id":"\ud800","twin":{"t":{"actual":{"value":"1"}}}}""", 400, "surrogate")]
    [InlineData("twin/get", """{"event_id":"\udc00"}""", 400, "surrogate")]
    [InlineData("state/update", """{"state":"\ud800"}""", 400, "surrogate")]
    public void A_bad_message_of_an_application_is_answered_with_the_reason(string rest, string payload, int code, string reason)
    {
        Put();
        var answer = Published(App(rest, payload), rest + "/result");
        Assert.Contains($"\"code\":{code}", answer, StringComparison.Ordinal);
        Assert.Contains(reason, answer, StringComparison.Ordinal);
    }

    [Fact]
    public void A_message_of_an_application_in_another_encoding_than_UTF8_is_answered_with_the_reason()
    {
        Put();
        var latin = Encoding.Latin1.GetBytes("""{"event_id":"é","twin":{"t":{"actual":{"value":"ä"}}}}""");
        var outputs = Step(new TwinInput.AppMessage("$hw/events/device/default/thermo/twin/update", latin, 4000));
        Assert.Contains("not valid UTF-8", Published(outputs, "twin/update/result"), StringComparison.Ordinal);
    }

    [Fact]
    public void Applications_read_twins_states_and_members()
    {
        var core = new TwinCore { NodeName = "edge-1", PublishesToApps = true };
        var outputs = new List<TwinOutput>();
        core.Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()), outputs);
        core.Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device(), 9), outputs);
        Assert.Equal("$hw/events/node/edge-1/membership/updated", Single<TwinOutput.Publish>(outputs).Topic);
        outputs.Clear();
        core.Step(new TwinInput.AppMessage("$hw/events/device/default/thermo/twin/update", """{"event_id":"1","twin":{"t":{"actual":{"value":"21","metadata":{"timestamp":4711}},"metadata":{"type":"int"}}}}"""u8.ToArray(), 10_000), outputs);
        Assert.Equal(4711, Single<TwinOutput.SendTwin>(outputs).Properties["t"].TimestampMs);
        Assert.Contains("\"last\":null,\"current\":{\"actual\":{\"value\":\"21\"", Published(outputs, "twin/update/document"), StringComparison.Ordinal);
        outputs.Clear();
        core.Step(new TwinInput.AppMessage("$hw/events/device/default/thermo/twin/get", """{"event_id":"2"}"""u8.ToArray(), 11_000), outputs);
        Assert.StartsWith("""{"event_id":"2","timestamp":11000,"twin":{"t":{"actual":{"value":"21","metadata":{"timestamp":4711}},"optional":true,"metadata":{"type":"int"}""", Published(outputs, "twin/get/result"), StringComparison.Ordinal);
        outputs.Clear();
        core.Step(new TwinInput.AppMessage("$hw/events/device/default/thermo/state/update", """{"event_id":"3","state":"offline"}"""u8.ToArray(), 12_000), outputs);
        Assert.Equal("offline", Single<TwinOutput.SendState>(outputs).State);
        Assert.Contains("\"device\":{\"name\":\"thermo\",\"state\":\"offline\"", Published(outputs, "state/update/result"), StringComparison.Ordinal);
        outputs.Clear();
        core.Step(new TwinInput.AppMessage("$hw/events/node/edge-1/membership/get", "{}"u8.ToArray(), 13_000), outputs);
        Assert.Contains("\"devices\":[{\"id\":\"default/thermo\",\"name\":\"thermo\"", Encoding.UTF8.GetString(Single<TwinOutput.Publish>(outputs).Payload), StringComparison.Ordinal);
        outputs.Clear();
        core.Step(new TwinInput.AppMessage("$hw/events/node/other/membership/get", "{}"u8.ToArray(), 13_000), outputs);
        Assert.Empty(outputs);
    }

    [Fact]
    public void Values_of_any_text_up_to_64_KiB_are_taken()
    {
        var model = Model();
        model["spec"]!["properties"]![0]!["type"] = "STRING";
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", model));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device()));
        var longest = new string('ä', 32 * 1024);
        Assert.Equal(longest, Single<TwinOutput.SendTwin>(Report(0, "t", longest)).Properties["t"].Value);
        Assert.Contains("over the limit of 65536", Single<TwinOutput.Dropped>(Report(2000, "t", longest + "x")).Reason, StringComparison.Ordinal);
        Assert.Equal("{\"a\": [1, \"ß\"]}\n", Single<TwinOutput.SendTwin>(Report(4000, "t", "{\"a\": [1, \"ß\"]}\n")).Properties["t"].Value);
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
    public void A_row_says_only_what_is_there_and_brings_all_of_it_back()
    {
        var row = new DeviceRow { State = "online", LastOnlineMs = 5, Uid = "u", MapperState = "ok" };
        row.Properties["plain"] = new PropertyTwin { Value = "ä", TimestampMs = 7, Type = "string", EdgeVersion = 3 };
        row.Properties["full"] = new PropertyTwin
        {
            Value = "1", TimestampMs = 7, Type = "int", Error = "e", Expected = "2", ExpectedTimestampMs = 8, EdgeVersion = 4, Desired = "2", CloudDesired = "3", IsDesiredHere = true,
            DesiredCloudVersion = 9, DesiredEdgeVersion = 10, DesiredTimestampMs = 11, CloudTimestampMs = 12, Conflict = "c",
        };
        var json = TwinRows.WriteDevice(row);
        Assert.EndsWith(
            ""","plain":{"value":"ä","timestamp":7,"type":"string","error":"","expectedTimestamp":0,"edgeVersion":3}}}""", Encoding.UTF8.GetString(json), StringComparison.Ordinal);
        Assert.True(TwinRows.TryReadDevice(json, out var read));
        Assert.Equal((row.State, row.LastOnlineMs, row.Uid, row.MapperState), (read.State, read.LastOnlineMs, read.Uid, read.MapperState));
        Assert.Equal(row.Properties, read.Properties);
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
        var twin = new SortedList<string, PropertyTwin>
        {
            ["temperature"] = new() { Value = "21", TimestampMs = 1795237470989, Type = "int", EdgeVersion = 1 },
        };
        Assert.Equal(
            """{"event_id":"e","timestamp":1795237470992,"twin":{"temperature":{"actual":{"value":"21","metadata":{"timestamp":1795237470989}},"optional":true,"metadata":{"type":"int"},"actual_version":{"cloud":0,"edge":1}}}}""",
            Encoding.UTF8.GetString(TwinPayload.Twin("e", 1795237470992, new TwinOutput.SendTwin("default", "thermo", "", twin, []))));
        var state = TwinPayload.State("e", 1795237473011, new TwinOutput.SendState("default", "thermo", "", "online", 1795237473011));
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

    private static JsonObject Device(string uid, string? desired = null, string version = "1", long? at = null)
    {
        var device = Device();
        device["metadata"]!["uid"] = uid;
        device["metadata"]!["resourceVersion"] = version;
        if (desired is not null)
            device["spec"]!["properties"]![0]!["desired"] = new JsonObject { ["value"] = desired };
        if (at is { } timestamp)
            device["spec"]!["properties"]![0]!["desired"]!["metadata"] = new JsonObject { ["timestamp"] = $"{timestamp}" };
        return device;
    }

    private static string? Told(IEnumerable<TwinOutput> outputs)
        => outputs.OfType<TwinOutput.Deliver>().Select(one => one.Call.Message).OfType<Device>().Last().Spec.Properties.Single().Desired?.Value;

    private static string Published(IEnumerable<TwinOutput> outputs, string rest)
        => Encoding.UTF8.GetString(Assert.Single(outputs.OfType<TwinOutput.Publish>(), one => one.Topic == "$hw/events/device/default/thermo/" + rest).Payload);

    private List<TwinOutput> App(string rest, string payload, long now = 4000)
        => Step(new TwinInput.AppMessage("$hw/events/device/default/thermo/" + rest, Encoding.UTF8.GetBytes(payload), now));

    // An application desires a value of property t; its answer.
    private string Desire(string value, long at)
        => Published(App("twin/update", $"{{\"twin\":{{\"t\":{{\"expected\":{{\"value\":\"{value}\",\"metadata\":{{\"timestamp\":{at}}}}}}}}}}}", 10_000), "twin/update/result");

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

    private List<TwinOutput> Register(string name, bool withData, string protocol = "modbus", long now = 0)
        => Step(new TwinInput.RegisterMapper(new MapperInfo { Name = name, Protocol = protocol, Address = ByteString.CopyFromUtf8($"/tmp/{name}.sock") }, withData, now));

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
