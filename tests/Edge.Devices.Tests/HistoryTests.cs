using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Protocol.Dmi.V1Beta1;

namespace Edge.Devices.Tests;

/// <summary>Properties with a history: every sample is reported, whatever the cycles.</summary>
[Trait("Category", "Devices")]
public sealed class HistoryTests
{
    [Fact]
    public async Task Every_sample_of_a_property_with_a_history_is_reported_and_of_others_the_newest()
    {
        var reports = new Reports { IsRefusing = true };
        var device = (JsonObject)JsonNode.Parse("""
            {"metadata":{"name":"counter","namespace":"default","annotations":{"devices.edge.io/history":"temperature=50"}},"spec":{"protocol":{"protocolName":"count"},"properties":[
             {"name":"temperature","collectCycle":10,"reportCycle":300,"reportToCloud":true,"visitors":{"configData":{}}},
             {"name":"pressure","collectCycle":10,"reportCycle":300,"reportToCloud":true,"visitors":{"configData":{}}}]}}
            """)!;
        await using var worker = Workers.Start(device, DeviceHouse.Model(), new SimpleDriver("count", _ => new Counter()), reports);
        await reports.RefusedAsync(2);
        reports.IsRefusing = false;

        var samples = new List<(long Value, long Ms)>();
        while (samples.Count < 100)
        {
            var twin = await reports.TwinAsync("a sample", "counter", "temperature", _ => true);
            samples.Add((Number(twin.Reported.Value), Number(twin.Reported.Metadata["timestamp"])));
        }

        Assert.Equal(Enumerable.Range(1, 100).Select(i => (long)i), samples.Select(sample => sample.Value));
        Assert.Equal(samples.OrderBy(sample => sample.Ms).DistinctBy(sample => sample.Ms), samples);
        Assert.Equal(0, worker.Figures.LostSamples);
        Assert.InRange(reports.Count("counter", "pressure"), 1, 50);
    }

    [Fact]
    public async Task What_has_no_room_in_one_report_goes_with_the_next()
    {
        var reports = new Reports { IsRefusing = true };
        var device = (JsonObject)JsonNode.Parse("""
            {"metadata":{"name":"large","namespace":"default","annotations":{"devices.edge.io/history":"a,b,c"}},"spec":{"protocol":{"protocolName":"count"},"properties":[
             {"name":"a","collectCycle":10,"reportCycle":600000,"reportToCloud":true,"visitors":{"configData":{}}},
             {"name":"b","collectCycle":10,"reportCycle":600000,"reportToCloud":true,"visitors":{"configData":{}}},
             {"name":"c","collectCycle":10,"reportCycle":600000,"reportToCloud":true,"visitors":{"configData":{}}}]}}
            """)!;
        var model = (JsonObject)JsonNode.Parse("""{"metadata":{"name":"m","namespace":"default"},"spec":{"properties":[{"name":"a","type":"STRING"},{"name":"b","type":"STRING"},{"name":"c","type":"STRING"}]}}""")!;
        await using var worker = Workers.Start(device, model, new SimpleDriver("count", _ => new Counter { Length = 300_000 }), reports);
        await reports.RefusedAsync(2); // enough for two large samples of each at least
        reports.IsRefusing = false;
        foreach (var property in (string[])["a", "b", "c"])
            await reports.TwinAsync($"a sample of {property}", "large", property, twin => twin.Reported.Value.Length >= 300_000);
        Assert.InRange(reports.SizeMax, 300_000, 2_000_000); // all three have up to 1 MiB each
    }

    [Fact]
    public void Samples_without_room_are_the_oldest_and_counted_and_half_the_room_makes_a_report_due()
    {
        var state = State();
        state.NextReportMs = 60_000;
        var lost = 0;
        for (var i = 0; i < SampleQueue<int>.CountMax + 200; i++)
        {
            lost += state.Collected(i.ToString(CultureInfo.InvariantCulture), 1_000_000);
            Assert.Equal(i + 1 < SampleQueue<int>.CountMax / 2, state.NextReportMs > 0);
        }

        Assert.Equal(200, lost);
        var twins = state.ToTwins(2_000_000).ToList();
        Assert.Equal(SampleQueue<int>.CountMax, twins.Count);
        Assert.Equal(("200", "1000200"), (twins[0].Reported.Value, twins[0].Reported.Metadata["timestamp"]));
        Assert.Equal("1199", twins[^1].Reported.Value);
        state.Reported(2_000_000);
        Assert.Single(state.ToTwins(2_000_000));
    }

    [Fact]
    public void Large_samples_share_one_MiB()
    {
        var state = State();
        var large = new string('x', 300_000);
        Assert.Equal([0, 0, 0, 1, 1], Enumerable.Range(0, 5).Select(i => state.Collected(large, 1_000 * i)));
        Assert.Equal(900_000, state.Waiting.Size);
        Assert.Equal(3, state.Collected(new string('y', 2 * SampleQueue<int>.SizeMax), 9_000));
        Assert.Equal(1, state.Waiting.Count);
    }

    [Fact]
    public void Samples_before_a_failed_read_go_up_the_last_with_its_reason()
    {
        var state = State();
        state.Collected("1", 1_000);
        state.Collected("2", 2_000);
        (state.Error, state.Dirty) = ("it is dark", true);
        var twins = state.ToTwins(3_000).ToList();
        Assert.Equal(["1", "2"], twins.Select(twin => twin.Reported.Value));
        Assert.Equal("it is dark", twins[1].Reported.Metadata["error"]);
        Assert.False(twins[0].Reported.Metadata.ContainsKey("error"));
        state.Reported(3_000);
        (state.Error, state.Dirty) = ("it is still dark", true);
        Assert.Equal("", state.ToTwins(4_000).Single().Reported.Value);
    }

    [Fact]
    public void A_newer_manifest_keeps_what_waits_and_a_deadband_counts_from_the_newest_sample()
    {
        var old = State();
        old.Collected("10", 1_000);
        var state = State("""{"deadband":"2"}""");
        state.Inherit(old);
        state.Collected("11", 2_000);
        state.Collected("13", 3_000);
        state.Collected("12", 4_000);
        Assert.Equal(2, state.Waiting.Count);
        Assert.True(state.Dirty);
    }

    private static PropertyState State(string visitor = "{}")
    {
        var device = (JsonObject)JsonNode.Parse("""
            {"metadata":{"name":"d","namespace":"default","annotations":{"devices.edge.io/history":"x, temperature = 7"}},"spec":{"protocol":{"protocolName":"count"},"properties":[
             {"name":"temperature","reportToCloud":true,"visitors":{"configData":VISITOR}}]}}
            """.Replace("VISITOR", visitor, StringComparison.Ordinal))!;
        return new PropertyState(Edge.Protocol.Dmi.DmiConvert.ToDevice(device, null).Spec.Properties[0], new ModelProperty { Name = "temperature", Type = "FLOAT" }, 0);
    }

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);

    private sealed class Counter : SimpleDevice
    {
        private readonly Dictionary<string, int> _reads = [];

        /// <summary>Characters of a value at least.</summary>
        public int Length { get; init; }

        public override Task ConnectAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public override Task<string> ReadAsync(PropertyInfo property, CancellationToken cancellationToken)
        {
            _reads[property.Name] = _reads.GetValueOrDefault(property.Name) + 1;
            return Task.FromResult(_reads[property.Name].ToString(CultureInfo.InvariantCulture).PadLeft(Length));
        }
    }
}
