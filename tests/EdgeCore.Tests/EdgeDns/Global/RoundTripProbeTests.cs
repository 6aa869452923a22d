using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Edge.Core.EdgeDns.Global;
using Edge.GlobalServices.Locations;
using Edge.Local.Processes;
using Edge.Protocol.Sync;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>Ways to endpoints: what is measured, when the cloud hears of it, and what it takes.</summary>
[Trait("Category", "Dns")]
public sealed class RoundTripProbeTests : IAsyncDisposable
{
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(60);
    private static readonly MeasuredPlace s_a = new("default/shop", "web.n1", Network.Mapped(0xC0000201), 80);
    private static readonly MeasuredPlace s_b = new("default/shop", "web.n2", Network.Mapped(0xC0000202), 80);

    private readonly FakeUplink _uplink = new();
    private readonly ManualTimeProvider _time = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
    private readonly ConcurrentDictionary<string, double?> _ways = new();
    private readonly ConcurrentQueue<IReadOnlyDictionary<string, double>> _here = new();
    private readonly CancellationTokenSource _stop = new();
    private volatile IReadOnlyList<MeasuredPlace> _places = [s_a, s_b];
    private RoundTripProbe? _probe;
    private Task _running = Task.CompletedTask;
    private int _measured;
    private int _looks;

    [Fact]
    public async Task The_cloud_hears_what_changed_noticeably_and_all_again_when_the_link_comes_up()
    {
        (_ways["192.0.2.1"], _ways["192.0.2.2"]) = (10, 30);
        Start();
        await ToldAsync(1, ("web.n1", 10), ("web.n2", 30));
        Assert.Equal(("roundtrips/default/shop", "default/roundtrips/shop"), (_uplink.Entries[0].Key, _uplink.Entries[0].Resource));

        // A busy moment is no longer way; a shorter one is news, from a tenth and half a millisecond on.
        _ways["192.0.2.1"] = 80;
        await RoundAsync();
        (_ways["192.0.2.1"], _ways["192.0.2.2"]) = (9.8, 29);
        await RoundAsync();
        Assert.Single(_uplink.Entries);
        _ways["192.0.2.2"] = 20;
        await RoundAsync();
        await ToldAsync(2, ("web.n1", 9.8), ("web.n2", 20));
        Assert.Equal(20, _here.Last()["web.n2"]);

        _uplink.Change(false);
        _uplink.Change(true);
        await LooksAsync(2);
        await ToldAsync(3, ("web.n1", 9.8), ("web.n2", 20));
        Assert.Equal(2, _here.Count); // nothing new for this node

        // Five in a row without an answer: not reachable, and the report says so by leaving it out.
        _ways["192.0.2.2"] = null;
        for (var i = 0; i < 5; i++)
            await RoundAsync();
        await ToldAsync(4, ("web.n1", 9.8));

        _places = [];
        await LooksAsync(2);
        var before = _measured;
        await LooksAsync(70);
        Assert.Equal((before, 4), (_measured, _uplink.Entries.Count));
    }

    [Fact]
    public async Task A_handshake_is_timed_and_a_refusal_is_a_round_trip_too()
    {
        using var lease = PortLease.Take();
        var listener = new TcpListener(IPAddress.Loopback, lease.Port);
        listener.Start();
        var place = (IPEndPoint)listener.LocalEndpoint;
        Assert.NotNull(await RoundTripProbe.HandshakeAsync(place, TimeProvider.System, CancellationToken.None));
        listener.Stop();
        Assert.InRange((await RoundTripProbe.HandshakeAsync(place, TimeProvider.System, CancellationToken.None))!.Value, 0.001, 2_000);
        using var stopped = new CancellationTokenSource();
        await stopped.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => RoundTripProbe.HandshakeAsync(place, TimeProvider.System, stopped.Token));
    }

    [Theory]
    [InlineData("""{"service":"a/b","milliseconds":{"x":1.5}}""", "")]
    [InlineData("""{"service":"a/b","milliseconds":{},"more":[1]}""", "")]
    [InlineData("""{"service":"a","milliseconds":{}}""", "'service' must be namespace/name")]
    [InlineData("""{"service":"a/b/c","milliseconds":{}}""", "'service' must be namespace/name")]
    [InlineData("""{"service":"a/b","milliseconds":{"x":-1}}""", "'milliseconds' of 'x' is -1")]
    [InlineData("""{"service":"a/b","milliseconds":{"x":60001}}""", "'milliseconds' of 'x' is 60001")]
    [InlineData("""{"service":"a/b","milliseconds":{"x":"fast"}}""", "is malformed")]
    [InlineData("""{"service":"a/b","milliseconds":[1]}""", "is malformed")]
    [InlineData("[]", "is not a JSON object")]
    public void A_report_is_read_strictly(string content, string error)
    {
        var report = RoundTrips.Read(Encoding.UTF8.GetBytes(content), out var found);
        Assert.Equal(error.Length == 0, report is not null);
        Assert.StartsWith(error, found, StringComparison.Ordinal);
    }

    [Fact]
    public void A_report_that_is_too_long_is_refused_and_a_whole_one_comes_through()
    {
        Assert.Null(RoundTrips.Read(new byte[2 * 1024 * 1024], out var error));
        Assert.Contains("the limit is", error, StringComparison.Ordinal);
        var many = Enumerable.Range(0, RoundTrips.EndpointsMax + 1).ToDictionary(i => $"e{i}", i => (double)i);
        Assert.Null(RoundTrips.Read(new RoundTrips("a/b", many).Write(), out error));
        Assert.Contains("4097 endpoints", error, StringComparison.Ordinal);
        var read = RoundTrips.Read(new RoundTrips("a/b", new Dictionary<string, double> { ["x"] = 1.234 }).Write(), out _)!;
        Assert.Equal(1.23, read.Milliseconds["x"]);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        if (_probe is not null)
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _running.WaitAsync(s_soon));
        _probe?.Dispose();
        _stop.Dispose();
    }

    private void Start()
    {
        _probe = new RoundTripProbe(
            _uplink, (_, ways) => _here.Enqueue(ways),
            (place, _) =>
            {
                Interlocked.Increment(ref _measured);
                return Task.FromResult(_ways[place.Address.ToString()]);
            },
            _time, new Random(1), NullLogger.Instance);
        _running = _probe.RunAsync(
            () =>
            {
                Interlocked.Increment(ref _looks);
                return _places;
            },
            _stop.Token);
    }

    // Until all places were measured once more, and the cloud has heard what it is to hear of that.
    private async Task RoundAsync()
    {
        var wanted = Volatile.Read(ref _measured) + 2;
        while (Volatile.Read(ref _measured) < wanted)
            await LooksAsync(1);
        await LooksAsync(2);
    }

    // When the loop looks for the second time, the first look is through.
    private async Task LooksAsync(int count)
    {
        for (var wanted = Volatile.Read(ref _looks) + count; Volatile.Read(ref _looks) < wanted;)
        {
            var before = Volatile.Read(ref _looks);
            _time.Advance(TimeSpan.FromSeconds(1));
            // It may not wait for the clock yet: then a second goes by for nothing.
            for (var i = 0; i < 1_000 && Volatile.Read(ref _looks) == before; i++)
                await Task.Yield();
            Assert.False(_running.IsCompleted);
        }
    }

    private async Task ToldAsync(int entries, params (string Endpoint, double Milliseconds)[] wanted)
    {
        await UntilAsync(() => _uplink.Entries.Count >= entries);
        Assert.Equal(entries, _uplink.Entries.Count);
        var report = RoundTrips.Read(_uplink.Entries[^1].Content, out _)!;
        Assert.Equal(wanted.OrderBy(one => one.Endpoint), report.Milliseconds.Select(one => (one.Key, one.Value)).OrderBy(one => one.Key));
    }

    private static async Task UntilAsync(Func<bool> isSo)
    {
        for (var began = TimeProvider.System.GetTimestamp(); !isSo(); await Task.Yield())
            Assert.True(TimeProvider.System.GetElapsedTime(began) < s_soon, "not seen within a minute");
    }
}
