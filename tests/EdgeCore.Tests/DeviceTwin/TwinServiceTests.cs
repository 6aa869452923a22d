using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;
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

    // The one entry: its key is the device's, and the newest value stands.
    private static string Queued(SqliteDatabase database) => database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT content FROM uplink WHERE key = 'twin/default/tank-1'";
        return Encoding.UTF8.GetString((byte[])command.ExecuteScalar()!);
    });

    // Until the device has come through the feed its reports are refused.
    private static async Task ReportAsync(IDmiManager twins, int value)
    {
        var request = new ReportDeviceStatusRequest { DeviceName = "tank-1", DeviceNamespace = "default", ReportedDevice = new DeviceStatus() };
        var reported = new TwinProperty { Value = value.ToString(CultureInfo.InvariantCulture) };
        reported.Metadata["timestamp"] = (1_700_000_000_000 + value).ToString(CultureInfo.InvariantCulture);
        request.ReportedDevice.Twins.Add(new Twin { PropertyName = "level", Reported = reported });
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

        public event Action<bool>? LinkChanged
        {
            add { }
            remove { }
        }

        public ValueTask PostAsync(UplinkEntry entry, CancellationToken cancellationToken) => queue.PostAsync(entry, cancellationToken);

        public ValueTask PostAsync(IReadOnlyList<UplinkEntry> entries, CancellationToken cancellationToken) => queue.PostAsync(entries, cancellationToken);

        public ValueTask<bool> TryPostAsync(UplinkEntry entry, CancellationToken cancellationToken) => queue.TryPostAsync(entry, cancellationToken);

        public Task<Message> RequestAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken) => throw new UplinkException("not connected");
    }
}
