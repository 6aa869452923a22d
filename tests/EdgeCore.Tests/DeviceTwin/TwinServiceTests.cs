using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Core.DeviceTwin;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>The twin over a real database.</summary>
[Trait("Category", "Devices")]
public sealed class TwinServiceTests
{
    private const int Reports = 40;

    [Fact]
    public async Task A_report_and_its_entry_for_the_cloud_share_a_commit_and_are_on_disk_when_it_is_answered()
    {
        using var directory = new TempDirectory();
        var name = $"twin-{Guid.NewGuid():N}";
        var commits = 0;
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, self) =>
        {
            if (instrument.Name == "edge_store_commit_seconds")
                self.EnableMeasurementEvents(instrument);
        };
        listener.SetMeasurementEventCallback<double>((_, _, tags, _) =>
        {
            if (tags.Length > 0 && (string?)tags[0].Value == name)
                Interlocked.Increment(ref commits);
        });
        listener.Start();
        await using var database = EdgeDatabase.Open(directory.File($"{name}.db"), TimeProvider.System);
        var meta = new MetaService(new MetaManagerOptions(), database, new MetaServiceTests.OfflineHub(), TimeProvider.System, NullLoggerFactory.Instance);
        await meta.HandleAsync(FakeCloud.Down(Operations.Insert, "default/devicemodel/tank", """
            {"kind":"DeviceModel","metadata":{"name":"tank","namespace":"default","uid":"m","resourceVersion":"1"},"spec":{"properties":[{"name":"level","type":"INT","accessMode":"ReadOnly"}]}}
            """, "1"));
        await meta.HandleAsync(FakeCloud.Down(Operations.Insert, "default/device/tank-1", """
            {"kind":"Device","metadata":{"name":"tank-1","namespace":"default","uid":"d","resourceVersion":"2"},
             "spec":{"deviceModelRef":{"name":"tank"},"protocol":{"protocolName":"memory"},"properties":[{"name":"level","reportToCloud":true,"visitors":{"protocolName":"memory"}}]}}
            """, "2"));
        var uplink = new QueueUplink(new UplinkQueue(new SqliteUplinkStore(database, TimeProvider.System, NullLogger.Instance), new EdgeHubOptions(), TimeProvider.System, NullLogger.Instance));
        var twins = new TwinService(directory.File("dmi.sock"), "edge-1", meta, uplink, TimeProvider.System, new Random(1), NullLoggerFactory.Instance, windowMs: 0);
        using var stop = new CancellationTokenSource();
        var running = twins.RunAsync(stop.Token);
        await ReportAsync(twins, 0);
        var before = Volatile.Read(ref commits);
        for (var i = 1; i <= Reports; i++)
        {
            await ReportAsync(twins, i);
            var row = Assert.Single(meta.ListLocal("twin").Values);
            Assert.Contains($"\"{i}\"", Encoding.UTF8.GetString(row.Span), StringComparison.Ordinal);
            Assert.Contains($"\"{i}\"", Queued(database), StringComparison.Ordinal);
        }

        // The writer may wake up between the two, and then takes two.
        Assert.InRange(Volatile.Read(ref commits) - before, Reports, Reports * 3 / 2);
        await stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task However_long_a_devices_samples_are_together_each_goes_up_in_an_entry_of_a_bounded_size()
    {
        using var directory = new TempDirectory();
        await using var database = EdgeDatabase.Open(directory.File("edge.db"), TimeProvider.System);
        var meta = await TextDevice(database, 1);
        var uplink = Uplink(database);
        var twins = new TwinService(directory.File("dmi.sock"), "edge-1", meta, uplink, TimeProvider.System, new Random(1), NullLoggerFactory.Instance, windowMs: 0);
        using var stop = new CancellationTokenSource();
        var running = twins.RunAsync(stop.Token);
        await ReportAsync(twins, 0, "text");

        // While the disk is slow as many reports come as one batch takes.
        var gate = new TaskCompletionSource();
        uplink.Gate = gate.Task;
        var first = ReportAsync(twins, 1, "text");
        var long64 = new string('x', 64 * 1024 - 10);
        var rest = Enumerable.Range(2, 300).Select(i => ((IDmiManager)twins).ReportDeviceStatusAsync(Text(("text", $"{i}{long64}")), stop.Token)).ToArray();
        gate.SetResult();
        await Task.WhenAll([first, .. rest]);
        Assert.Equal(302, Samples(database));
        Assert.All(Contents(database, "history/%"), content => Assert.InRange(content.Length, 1, TwinPayload.HistoryBytesMax + 1024));
        await stop.CancelAsync();
        await running;
    }

    [Fact]
    public async Task A_twin_that_no_status_can_hold_goes_up_as_far_as_it_fits_and_the_rest_is_named()
    {
        const int Properties = 300;
        using var directory = new TempDirectory();
        await using var database = EdgeDatabase.Open(directory.File("edge.db"), TimeProvider.System);
        var meta = await TextDevice(database, Properties);
        var twins = new TwinService(directory.File("dmi.sock"), "edge-1", meta, Uplink(database), TimeProvider.System, new Random(1), NullLoggerFactory.Instance, windowMs: 0);
        using var stop = new CancellationTokenSource();
        var running = twins.RunAsync(stop.Token);
        await ReportAsync(twins, 0, "text");
        var longest = new string('ä', 32 * 1024);
        foreach (var part in Enumerable.Range(0, Properties).Chunk(100))
            await ((IDmiManager)twins).ReportDeviceStatusAsync(Text([.. part.Select(i => (i == 0 ? "text" : $"text{i:D3}", longest))]), stop.Token);
        var content = Assert.Single(Contents(database, "twin/%"));
        Assert.InRange(content.Length, TwinPayload.TwinBytesMax - (100 * 1024), TwinPayload.TwinBytesMax + 4096);
        var twin = (JsonObject)JsonNode.Parse(content)!;
        Assert.Equal(longest, (string?)twin["twin"]!["text001"]!["actual"]!["value"]);
        Assert.Contains($"{Properties - twin["twin"]!.AsObject().Count} of {Properties} properties are not reported", (string?)Assert.Single((JsonArray)twin["problems"]!), StringComparison.Ordinal);

        // They are on this node all the same, and each sample of a history went.
        Assert.True(Samples(database) >= 2);
        await stop.CancelAsync();
        await running;
    }

    // Device tank-1 with so many properties text, text001 …; the first keeps its history.
    private static async Task<MetaService> TextDevice(SqliteDatabase database, int properties)
    {
        var meta = new MetaService(new MetaManagerOptions(), database, new MetaServiceTests.OfflineHub(), TimeProvider.System, NullLoggerFactory.Instance);
        var names = Enumerable.Range(0, properties).Select(i => i == 0 ? "text" : $"text{i:D3}").ToList();
        var model = string.Join(',', names.Select(name => $$"""{"name":"{{name}}","type":"STRING","accessMode":"ReadWrite"}"""));
        await meta.HandleAsync(FakeCloud.Down(Operations.Insert, "default/devicemodel/tank", $$$"""
            {"kind":"DeviceModel","metadata":{"name":"tank","namespace":"default","uid":"m","resourceVersion":"1"},"spec":{"properties":[{{{model}}}]}}
            """, "1"));
        await meta.HandleAsync(FakeCloud.Down(Operations.Insert, "default/device/tank-1", """
            {"kind":"Device","metadata":{"name":"tank-1","namespace":"default","uid":"d","resourceVersion":"2","annotations":{"devices.edge.io/history":"text"}},
             "spec":{"deviceModelRef":{"name":"tank"},"protocol":{"protocolName":"memory"},"properties":[{"name":"text"}]}}
            """, "2"));
        return meta;
    }

    private static QueueUplink Uplink(SqliteDatabase database)
        => new(new UplinkQueue(new SqliteUplinkStore(database, TimeProvider.System, NullLogger.Instance), new EdgeHubOptions(), TimeProvider.System, NullLogger.Instance));

    private static ReportDeviceStatusRequest Text(params (string Property, string Value)[] values)
    {
        var request = new ReportDeviceStatusRequest { DeviceName = "tank-1", DeviceNamespace = "default", ReportedDevice = new DeviceStatus() };
        foreach (var (property, value) in values)
            request.ReportedDevice.Twins.Add(new Twin { PropertyName = property, Reported = new TwinProperty { Value = value } });
        return request;
    }

    private static List<byte[]> Contents(SqliteDatabase database, string keys) => database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT content FROM uplink WHERE key LIKE $keys";
        command.Parameters.AddWithValue("$keys", keys);
        using var row = command.ExecuteReader();
        var contents = new List<byte[]>();
        while (row.Read())
            contents.Add(row.GetFieldValue<byte[]>(0));
        return contents;
    });

    private static int Samples(SqliteDatabase database)
        => Contents(database, "history/%").Sum(content => JsonNode.Parse(content)!["history"]!["text"]!.AsArray().Count);

    // The one entry: its key is the device's, and the newest value stands.
    private static string Queued(SqliteDatabase database) => database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT content FROM uplink WHERE key = 'twin/default/tank-1'";
        return Encoding.UTF8.GetString((byte[])command.ExecuteScalar()!);
    });

    // Until the device has come through the feed its reports are refused.
    private static async Task ReportAsync(IDmiManager twins, int value, string property = "level")
    {
        var request = new ReportDeviceStatusRequest { DeviceName = "tank-1", DeviceNamespace = "default", ReportedDevice = new DeviceStatus() };
        var reported = new TwinProperty { Value = value.ToString(CultureInfo.InvariantCulture) };
        reported.Metadata["timestamp"] = (1_700_000_000_000 + value).ToString(CultureInfo.InvariantCulture);
        request.ReportedDevice.Twins.Add(new Twin { PropertyName = property, Reported = reported });
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (true)
        {
            try
            {
                await twins.ReportDeviceStatusAsync(request, limit.Token);
                return;
            }
            catch (GrpcException) when (value == 0)
            {
                await Task.Delay(10, limit.Token);
            }
        }
    }

    private sealed class QueueUplink(UplinkQueue queue) : IUplink
    {
        public bool IsConnected => false;

        /// <summary>What a post of several waits for.</summary>
        public Task Gate { get; set; } = Task.CompletedTask;

        public event Action<bool>? LinkChanged
        {
            add { }
            remove { }
        }

        public ValueTask PostAsync(UplinkEntry entry, CancellationToken cancellationToken) => queue.PostAsync(entry, cancellationToken);

        public async ValueTask PostAsync(IReadOnlyList<UplinkEntry> entries, CancellationToken cancellationToken)
        {
            await Gate;
            await queue.PostAsync(entries, cancellationToken);
        }

        public ValueTask<bool> TryPostAsync(UplinkEntry entry, CancellationToken cancellationToken) => queue.TryPostAsync(entry, cancellationToken);

        public Task<Message> RequestAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken) => throw new UplinkException("not connected");
    }
}
