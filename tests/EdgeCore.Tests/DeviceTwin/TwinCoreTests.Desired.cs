using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.DeviceTwin;
using Edge.Protocol.Dmi.V1Beta1;
using Xunit;

namespace Edge.Core.Tests.DeviceTwin;

/// <content>Two sides desire.</content>
public sealed partial class TwinCoreTests
{
    [Fact]
    public void The_later_desired_value_counts_and_what_it_replaced_is_told_with_both_versions()
    {
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "20", "7")));
        Register("a", true);
        _core.PublishesToApps = true;

        var outputs = App("twin/update", """{"event_id":"e","twin":{"t":{"expected":{"value":"25"}}}}""");
        Assert.Equal("25", Told(outputs));
        Assert.Contains("\"t\":\"25\"", Published(outputs, "twin/update/delta"), StringComparison.Ordinal);
        Assert.Contains("\"expected_version\":{\"cloud\":7,\"edge\":1}", Published(outputs, "twin/update/result"), StringComparison.Ordinal);

        // The cloud says something else of the device, and its old desired value again: this edge's stays.
        Assert.Equal("25", Told(Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "20", "8")))));

        outputs = Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "30", "9")));
        Assert.Equal("30", Told(outputs));
        var conflict = Single<TwinOutput.Conflict>(outputs).Text;
        Assert.Contains("'30' (version 9) replaced '25' of this edge (version 1", conflict, StringComparison.Ordinal);
        Assert.Equal(conflict, Single<TwinOutput.SendTwin>(Report(5000, "t", "1")).Properties["t"].Conflict);

        // Who did not see version 9 may not write over it unknowingly.
        outputs = App("twin/update", """{"event_id":"e","twin":{"t":{"expected":{"value":"26"},"expected_version":{"cloud":7,"edge":1}}}}""");
        Assert.Contains("\"code\":409", Published(outputs, "twin/update/result"), StringComparison.Ordinal);
        Assert.DoesNotContain(outputs, one => one is TwinOutput.Deliver);
    }

    [Theory]
    [InlineData(5000L, 4000L, "25", "'30' (version 9, set at 4000) is older than '25' of this edge (version 1, set at 5000), which stays")]
    [InlineData(5000L, 5000L, "30", "'30' (version 9, set at 5000) replaced '25' of this edge (version 1, set at 5000)")]
    [InlineData(5000L, 6000L, "30", "'30' (version 9, set at 6000) replaced '25' of this edge (version 1, set at 5000)")]
    [InlineData(5000L, null, "30", "'30' (version 9) replaced '25' of this edge (version 1, set at 5000)")]
    [InlineData(99_000L, 9_999L, "25", "is older than '25' of this edge (version 1, set at 10000)")]
    public void Of_two_desired_values_with_timestamps_the_later_stays_and_the_loser_is_told_with_both_versions(long edgeTime, long? cloudTime, string stays, string told)
    {
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "20", "7"), 1000));
        Register("a", true);
        Desire("25", edgeTime);
        var outputs = Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "30", "9", cloudTime), 20_000));
        Assert.Equal(stays, Told(outputs));
        Assert.Contains(told, Single<TwinOutput.Conflict>(outputs).Text, StringComparison.Ordinal);
        Assert.Contains(told, Single<TwinOutput.SendTwin>(Report(50_000, "t", "1")).Properties["t"].Conflict, StringComparison.Ordinal);

        // The same Device again changes nothing of it.
        Assert.Equal(stays, Told(Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "30", "10", cloudTime), 21_000))));
    }

    [Fact]
    public void A_timestamp_that_stayed_while_the_value_changed_is_not_its_own()
    {
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "20", "7", 3000), 4000));
        Register("a", true);
        Desire("25", 5000);

        // kubectl patch of the value alone: it came last, and nothing says that it is older.
        var outputs = Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "30", "9", 3000), 20_000));
        Assert.Equal("30", Told(outputs));
        Assert.Contains("'30' (version 9) replaced '25'", Single<TwinOutput.Conflict>(outputs).Text, StringComparison.Ordinal);
    }

    [Fact]
    public void An_application_that_is_late_is_refused_with_both_versions()
    {
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "20", "7", 8000), 9000));
        var refusal = Desire("25", 7000);
        Assert.Contains("\"code\":409", refusal, StringComparison.Ordinal);
        Assert.Contains("the cloud desired '20' with version 7 at 8000, which is later than '25' (after version 0 of this edge, set at 7000)", refusal, StringComparison.Ordinal);
        Assert.Contains("\"expected_version\":{\"cloud\":7,\"edge\":1}", Desire("26", 8500), StringComparison.Ordinal);
        Assert.Contains("this edge desired '26' with version 1 at 8500", Desire("27", 8400), StringComparison.Ordinal);
    }

    [Fact]
    public void A_desired_value_of_this_edge_survives_a_restart()
    {
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "20", "7")));
        var rows = App("twin/update", """{"twin":{"t":{"expected":{"value":"25"}}}}""").OfType<TwinOutput.Persist>().ToDictionary(one => one.Key, one => (ReadOnlyMemory<byte>)one.Row);
        var core = new TwinCore();
        var outputs = new List<TwinOutput>();
        Assert.Empty(core.Restore(rows, outputs));
        core.Step(new TwinInput.RegisterMapper(new MapperInfo { Name = "a", Protocol = "modbus" }, false), outputs);
        core.Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()), outputs);
        core.Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "20", "7")), outputs);
        Assert.Equal("25", Told(outputs));
    }

    [Fact]
    public void A_conflict_goes_to_the_cloud_at_once_whoever_lost_and_goes_when_it_is_over()
    {
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "20", "7"), 1000));

        // This edge's replaces the cloud's.
        var outputs = App("twin/update", """{"twin":{"t":{"expected":{"value":"25"}}}}""", 10_000);
        const string First = "'25' of this edge (version 1, set at 10000) replaced the cloud's desired '20' (version 7)";
        Assert.Equal(First, Single<TwinOutput.Conflict>(outputs).Text);
        Assert.Equal(First, Single<TwinOutput.SendTwin>(outputs).Properties["t"].Conflict);

        // The cloud's replaces this edge's, with no report after it.
        outputs = Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "30", "9"), 20_000));
        Assert.Contains("'30' (version 9) replaced '25' of this edge", Single<TwinOutput.SendTwin>(outputs).Properties["t"].Conflict, StringComparison.Ordinal);

        // Within the window it goes at its end.
        outputs = App("twin/update", """{"twin":{"t":{"expected":{"value":"26"}}}}""", 20_500);
        Assert.DoesNotContain(outputs, one => one is TwinOutput.SendTwin);
        Assert.Contains("'26' of this edge", Single<TwinOutput.SendTwin>(Step(new TwinInput.Tick(21_000))).Properties["t"].Conflict, StringComparison.Ordinal);

        // Both want the same: the cloud hears of the property without a conflict.
        var twin = Single<TwinOutput.SendTwin>(Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "26", "11"), 30_000)));
        Assert.Equal("", twin.Properties["t"].Conflict);
        Assert.Contains("\"expected\":{\"value\":\"26\",\"metadata\":{\"timestamp\":0}}", Encoding.UTF8.GetString(TwinPayload.Twin("e", 1, twin)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_problem_that_the_new_model_solves_goes_at_once()
    {
        Put();
        Report(0, "pressure", "1");
        var model = Model();
        model["spec"]!["properties"]!.AsArray().Add(new JsonObject { ["name"] = "pressure", ["type"] = "INT" });
        Assert.Empty(Single<TwinOutput.SendTwin>(Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", model, 20_000))).Problems);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Values_of_properties_that_device_and_model_no_longer_have_go_from_the_twin(bool isOtherModel)
    {
        var model = Model();
        model["spec"]!["properties"]!.AsArray().Add(new JsonObject { ["name"] = "pressure", ["type"] = "INT" });
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", model));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device()));
        Report(0, "t", "1");
        Report(2000, "pressure", "2");
        List<TwinOutput> outputs;
        if (isOtherModel)
        {
            var other = Model();
            other["metadata"]!["name"] = "other";
            Step(new TwinInput.ObjectChanged("devicemodel", "default", "other", other));
            var device = Device();
            device["spec"]!["deviceModelRef"]!["name"] = "other";
            outputs = Step(new TwinInput.ObjectChanged("device", "default", "thermo", device, 4000));
        }
        else
            outputs = Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model(), 4000));
        Assert.Equal(["t"], Single<TwinOutput.SendTwin>(outputs).Properties.Keys);
        Assert.True(TwinRows.TryReadDevice(Single<TwinOutput.Persist>(outputs).Row, out var row));
        Assert.Equal(["t"], row.Properties.Keys);
    }

    [Theory]
    [InlineData("101", "above the model's maximum 100")]
    [InlineData("-1", "below the model's minimum 0")]
    [InlineData("20.5", "is not a whole number")]
    [InlineData(null, "the model says ReadOnly")]
    [InlineData("long", "over the limit of 65536")]
    public void A_desired_value_of_the_cloud_that_the_model_does_not_allow_stays_away_from_the_mapper(string? value, string reason)
    {
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "20", "7")));
        Register("a", true);
        Report(1000, "t", "20");
        var model = Model();
        if (value is null)
        {
            // What was allowed is not any longer.
            model["spec"]!["properties"]![0]!["accessMode"] = "ReadOnly";
        }
        else if (value == "long")
        {
            value = new string('x', 65537);
            model["spec"]!["properties"]![0]!["type"] = "STRING";
            Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", model, 5000));
        }

        var outputs = value is null ? Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", model, 20_000))
            : Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", value, "8"), 20_000));
        Assert.Equal(value is null ? null : "20", Told(outputs));
        var twin = Single<TwinOutput.SendTwin>(outputs);
        Assert.Contains(reason, Assert.Single(twin.Problems), StringComparison.Ordinal);
        Assert.Contains($"{reason}", (string?)JsonNode.Parse(TwinPayload.Twin("e", 1, twin))!["twin"]!["t"]!["actual"]!["metadata"]!["error"], StringComparison.Ordinal);

        // It stays so while the device reports, until another is desired.
        Assert.NotEmpty(Single<TwinOutput.SendTwin>(Report(30_000, "t", "21")).Properties["t"].Refused);
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model(), 40_000));
        outputs = Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "30", "9"), 50_000));
        Assert.Equal("30", Told(outputs));
        twin = Single<TwinOutput.SendTwin>(Report(60_000, "t", "22"));
        Assert.Equal((0, ""), (twin.Problems.Count, twin.Properties["t"].Refused));
    }

    [Fact]
    public void A_value_of_this_edge_that_a_new_model_does_not_allow_stays_away_from_the_mapper_too()
    {
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model()));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "20", "7")));
        Register("a", true);
        App("twin/update", """{"twin":{"t":{"expected":{"value":"90"}}}}""");
        var model = Model();
        model["spec"]!["properties"]![0]!["maximum"] = "50";
        var outputs = Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", model, 20_000));
        Assert.Null(Told(outputs));
        Assert.Contains("'90' is not written", Assert.Single(Single<TwinOutput.SendTwin>(outputs).Problems), StringComparison.Ordinal);
        Assert.Equal("90", Told(Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", Model(), 30_000))));
    }

    [Fact]
    public void An_empty_desired_value_of_a_property_that_is_read_only_is_no_problem()
    {
        var model = Model();
        model["spec"]!["properties"]![0]!["accessMode"] = "ReadOnly";
        Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", model));
        Step(new TwinInput.ObjectChanged("device", "default", "thermo", Device("u", "", "7")));
        Assert.Empty(Single<TwinOutput.SendTwin>(Report(1000, "t", "20")).Problems);
    }
}
