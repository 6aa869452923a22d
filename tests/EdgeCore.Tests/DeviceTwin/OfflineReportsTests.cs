using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Core.DeviceTwin;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;
using Edge.Protocol.Messages;
using Edge.Testing;
using Xunit;

namespace Edge.Core.Tests.DeviceTwin;

/// <summary>A whole EdgeCore, a mapper's calls on its socket, and a cloud that goes and comes back.</summary>
[Trait("Category", "Devices")]
public sealed class OfflineReportsTests
{
    private const int Samples = 20;
    private const long First = 1_700_000_000_000;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Reports_made_while_the_cloud_is_away_arrive_with_their_own_times_over_a_restart_too(bool edgeWire)
    {
        using var directory = new TempDirectory();
        await using var cloud = new FakeCloud { EdgeWire = edgeWire };
        await cloud.StartAsync();
        var options = RunningEdge.Options(cloud, directory, $"modules.deviceTwin.dmiSockPath={directory.File("dmi.sock")}");
        using var channel = new GrpcChannel(directory.File("dmi.sock"), TimeProvider.System);
        var edgeCore = new DmiManagerClient(channel, TimeSpan.FromSeconds(60));
        await using (var edge = new RunningEdge(options, host => host.AddModule(services => new TwinService(services))))
        {
            await edge.Log.WaitForAsync("connected to");
            await cloud.SendAsync(FakeCloud.Down(Operations.Insert, "default/devicemodel/tank", """
                {"kind":"DeviceModel","metadata":{"name":"tank","namespace":"default","uid":"m","resourceVersion":"1"},"spec":{"properties":[
                 {"name":"level","type":"INT","accessMode":"ReadOnly"},{"name":"text","type":"STRING","accessMode":"ReadOnly"}]}}
                """, "1"));
            await cloud.SendAsync(FakeCloud.Down(Operations.Insert, "default/device/tank-1", """
                {"kind":"Device","metadata":{"name":"tank-1","namespace":"default","uid":"d","resourceVersion":"2","annotations":{"devices.edge.io/history":"level"}},
                 "spec":{"deviceModelRef":{"name":"tank"},"protocol":{"protocolName":"memory"},"properties":[{"name":"level"},{"name":"text"}]}}
                """, "2"));
            await Eventually.HoldsAsync("the device is known", async () => await TryReportAsync(edgeCore, 0));
            await cloud.NextAsync(message => Twin(message)?["twin"]?["level"] is not null, "first report");
            await cloud.StopAsync();
            for (var i = 1; i < Samples / 2; i++)
                Assert.True(await TryReportAsync(edgeCore, i));
        }

        await using (var edge = new RunningEdge(options, host => host.AddModule(services => new TwinService(services))))
        {
            await Eventually.HoldsAsync("EdgeCore serves again", async () => await TryReportAsync(edgeCore, Samples / 2));
            for (var i = (Samples / 2) + 1; i < Samples; i++)
                Assert.True(await TryReportAsync(edgeCore, i));
            await cloud.StartAsync();
            await cloud.NextAsync(message => (string?)Twin(message)?["twin"]?["text"]?["actual"]?["value"] == $"text {Samples - 1}", "the newest value");
            await Eventually.HoldsAsync("every sample at the cloud", () => History(cloud).Count == Samples);
        }

        Assert.Equal(Enumerable.Range(0, Samples).Select(i => ($"{i}", First + i)), History(cloud).OrderBy(sample => sample.Timestamp));
        var newest = cloud.Seen().Select(Twin).Last(twin => twin?["twin"]?["level"] is not null)!["twin"]!;
        foreach (var property in (string[])["level", "text"])
            Assert.Equal(First + Samples - 1, (long)newest[property]!["actual"]!["metadata"]!["timestamp"]!);
    }

    private static JsonNode? Twin(Message message) => message.Resource == "device/default/tank-1/twin/edge_updated" ? JsonNode.Parse(message.Content.Span) : null;

    // What may come twice counts once.
    private static HashSet<(string Value, long Timestamp)> History(FakeCloud cloud)
        => [.. cloud.Seen().SelectMany(message => Twin(message)?["history"]?["level"]?.AsArray() ?? []).Select(sample => ((string)sample!["value"]!, (long)sample["timestamp"]!))];

    private static async Task<bool> TryReportAsync(DmiManagerClient edgeCore, int i)
    {
        var request = new ReportDeviceStatusRequest { DeviceName = "tank-1", DeviceNamespace = "default", ReportedDevice = new DeviceStatus() };
        foreach (var (property, value) in new[] { ("level", $"{i}"), ("text", $"text {i}") })
        {
            var reported = new TwinProperty { Value = value };
            reported.Metadata["timestamp"] = (First + i).ToString(CultureInfo.InvariantCulture);
            request.ReportedDevice.Twins.Add(new Twin { PropertyName = property, Reported = reported });
        }

        try
        {
            await edgeCore.ReportDeviceStatusAsync(request, CancellationToken.None);
            return true;
        }
        catch (GrpcException e) when (e.Code is GrpcStatusCode.Unavailable or GrpcStatusCode.NotFound)
        {
            return false;
        }
    }
}
