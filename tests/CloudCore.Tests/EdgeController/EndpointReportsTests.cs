using Edge.Cloud.EdgeController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Cloud.Tests;

/// <summary>What edges say about endpoints on their nodes: taken, refused for good, or to be said again.</summary>
[Trait("Category", "Dns")]
public sealed class EndpointReportsTests
{
    private readonly List<string> _taken = [];

    [Fact]
    public async Task A_report_is_handed_on_with_the_node_of_the_session()
    {
        await TakeAsync(new EndpointHealth("ns/shop/web.n1", false, "refused"));
        await TakeAsync(new EndpointHealth("ns/shop/web.n1", true, ""));
        Assert.Equal(["n1 ns/shop/web.n1 refused", "n1 ns/shop/web.n1 well"], _taken);
    }

    [Fact]
    public async Task What_comes_too_early_is_to_be_said_again_and_the_rest_is_refused_for_good()
    {
        var report = new EndpointHealth("ns/shop/web.n1", true, "");
        Assert.Equal(503, (await Assert.ThrowsAsync<KubeException>(() => TakeAsync(report, hasTaker: false))).Code);
        Assert.Equal(405, (await Assert.ThrowsAsync<KubeException>(() => TakeAsync(report, isExpected: false))).Code);
        var wrong = await Assert.ThrowsAsync<KubeException>(() => TakeAsync(report, resource: "ns/endpointhealth/shop_web.n2"));
        Assert.Equal(400, wrong.Code);
        Assert.Contains("ns/endpointhealth/shop_web.n1", wrong.Message, StringComparison.Ordinal);
        Assert.Equal(400, (await Assert.ThrowsAsync<KubeException>(() => TakeAsync(report, content: "[]"u8.ToArray()))).Code);
        Assert.Empty(_taken);
    }

    [Fact]
    public async Task Round_trips_are_handed_on_and_refused_likewise()
    {
        var report = new RoundTrips("ns/shop", new Dictionary<string, double> { ["web.n1"] = 12.5 });
        async Task SayAsync(bool isExpected = true, bool hasTaker = true, string? resource = null, byte[]? content = null)
        {
            var reports = new EndpointReports(isExpected);
            if (hasTaker)
            {
                reports.RoundTripTaker = (node, service, milliseconds, _) =>
                {
                    _taken.Add($"{node} {service} {string.Join(' ', milliseconds)}");
                    return ValueTask.CompletedTask;
                };
            }

            var request = Message.Create(TimeProvider.System, Sources.EdgeDns, Groups.Resource, Operations.Update, resource ?? report.Resource, content ?? report.Write());
            Assert.True(ResourcePath.TryParse(request.Resource, out var path));
            await reports.TakeRoundTripsAsync("n1", request, path, CancellationToken.None);
        }

        await SayAsync();
        Assert.Equal(["n1 ns/shop [web.n1, 12.5]"], _taken);
        Assert.Equal(503, (await Assert.ThrowsAsync<KubeException>(() => SayAsync(hasTaker: false))).Code);
        Assert.Equal(405, (await Assert.ThrowsAsync<KubeException>(() => SayAsync(isExpected: false))).Code);
        Assert.Equal(400, (await Assert.ThrowsAsync<KubeException>(() => SayAsync(resource: "ns/roundtrips/other"))).Code);
        Assert.Equal(400, (await Assert.ThrowsAsync<KubeException>(() => SayAsync(content: "[]"u8.ToArray()))).Code);
        Assert.Single(_taken);
    }

    private async Task TakeAsync(EndpointHealth report, bool isExpected = true, bool hasTaker = true, string? resource = null, byte[]? content = null)
    {
        var reports = new EndpointReports(isExpected);
        if (hasTaker)
        {
            reports.Taker = (node, endpoint, error, _) =>
            {
                _taken.Add($"{node} {endpoint} {error ?? "well"}");
                return ValueTask.CompletedTask;
            };
        }

        var request = Message.Create(TimeProvider.System, Sources.EdgeDns, Groups.Resource, Operations.Update, resource ?? report.Resource, content ?? report.Write());
        Assert.True(ResourcePath.TryParse(request.Resource, out var path));
        await reports.TakeAsync("n1", request, path, CancellationToken.None);
    }
}
