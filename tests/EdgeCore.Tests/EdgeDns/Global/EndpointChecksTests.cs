using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Edge.Core.EdgeDns.Global;
using Edge.Core.EdgeHub;
using Edge.GlobalServices.Health;
using Edge.GlobalServices.Locations;
using Edge.GlobalServices.Services;
using Edge.Local.Processes;
using Edge.Testing;
using EndpointReport = Edge.Protocol.Sync.EndpointHealth;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>Checks of endpoints on this node over real sockets, and what the cloud hears of them.</summary>
[Trait("Category", "Dns")]
public sealed class EndpointChecksTests : IAsyncLifetime
{
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(60);
    private readonly FakeUplink _uplink = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly BlockingCollection<IReadOnlyDictionary<string, EndpointHealth>> _told = [];
    private EndpointChecks _checks = null!;
    private Task _running = Task.CompletedTask;

    public Task InitializeAsync()
    {
        _checks = new EndpointChecks(_uplink, _told.Add, TimeProvider.System, new Random(1), NullLogger.Instance);
        _running = _checks.RunAsync(_stop.Token);
        return Task.CompletedTask;
    }

    public async Task DisposeAsync()
    {
        await _stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _running.WaitAsync(s_soon));
        await _checks.DisposeAsync();
        _stop.Dispose();
        _told.Dispose();
    }

    [Fact]
    public async Task Each_change_goes_to_the_cloud_as_the_newest_of_its_endpoint_and_all_again_when_the_link_comes_up()
    {
        using var lease = PortLease.Take();
        var listener = new TcpListener(IPAddress.Loopback, lease.Port);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        var check = HealthCheckSpec.None with { Kind = CheckKind.Tcp, IntervalMs = 100, TimeoutMs = 100, Rise = 2, Fall = 2 };
        await _checks.SetTargetsAsync([new HealthTarget("default/shop/web.n1", Network.Mapped(0x7f000001), port, "n1", check)], _stop.Token);
        var up = await ReportAsync(report => report.IsHealthy);
        Assert.Equal("default/shop/web.n1", up.Endpoint);

        listener.Stop();
        var down = await ReportAsync(report => !report.IsHealthy);
        Assert.Contains("refused", down.Reason, StringComparison.Ordinal);
        var entry = _uplink.Entries[^1];
        Assert.Equal(("endpointhealth/default/shop/web.n1", UplinkRule.Newest, "default/endpointhealth/shop_web.n1"), (entry.Key, entry.Rule, entry.Resource));
        Assert.False(Last()["default/shop/web.n1"].IsUp);

        var before = _uplink.Entries.Count;
        _uplink.Change(false);
        _uplink.Change(true);
        await Eventually.HoldsAsync(() => _uplink.Entries.Count > before);
        Assert.False(EndpointReport.Read(_uplink.Entries[^1].Content, out _)!.IsHealthy);

        // No target any more: nothing is known, and nothing is said.
        await _checks.SetTargetsAsync([], _stop.Token);
        await Eventually.HoldsAsync(() => Last().Count == 0);
        before = _uplink.Entries.Count;
        _uplink.Change(true);
        Assert.Equal(before, _uplink.Entries.Count);
    }

    [Theory]
    [InlineData("""{"endpoint":"a/b/c","healthy":true}""", "")]
    [InlineData("""{"endpoint":"a/b/c","healthy":true,"more":[1]}""", "")]
    [InlineData("""{"endpoint":"a/b","healthy":true}""", "'endpoint' must be namespace/service/endpoint")]
    [InlineData("""{"endpoint":"a//c","healthy":true}""", "'endpoint' must be namespace/service/endpoint")]
    [InlineData("""{"endpoint":"a/b/c"}""", "'healthy' is missing")]
    [InlineData("""{"endpoint":"a/b/c","healthy":"yes"}""", "is malformed")]
    [InlineData("[]", "is not a JSON object")]
    [InlineData("""{"endpoint":""", "is malformed")]
    public void A_report_is_read_strictly(string content, string error)
    {
        var report = EndpointReport.Read(System.Text.Encoding.UTF8.GetBytes(content), out var found);
        Assert.Equal(error.Length == 0, report is not null);
        Assert.StartsWith(error, found, StringComparison.Ordinal);
        Assert.Null(EndpointReport.Read(new byte[20_000], out _));
        var whole = new EndpointReport("ns/shop/web/1.n1", false, new string('x', 300));
        Assert.Equal(whole with { Reason = new string('x', 256) }, EndpointReport.Read(whole.Write(), out _));
        Assert.Equal("ns/endpointhealth/shop_web%2F1.n1", whole.Resource);
    }

    private async Task<EndpointReport> ReportAsync(Func<EndpointReport, bool> isWanted)
    {
        EndpointReport? found = null;
        await Eventually.HoldsAsync(() => (found = _uplink.Entries.Select(entry => EndpointReport.Read(entry.Content, out _)).OfType<EndpointReport>().LastOrDefault()) is not null && isWanted(found));
        return found!;
    }

    private IReadOnlyDictionary<string, EndpointHealth> Last() => _told.ToArray()[^1];
}
