using System.Net;
using System.Net.Sockets;
using Edge.Common.Storage;
using Edge.Core.EdgeHub;
using Edge.GlobalServices.Locations;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeDns.Global;

/// <summary>A place that is measured.</summary>
/// <param name="Service"><c>namespace/name</c>.</param>
/// <param name="Endpoint">Its name in the service.</param>
internal sealed record MeasuredPlace(string Service, string Endpoint, UInt128 Address, int Port);

/// <summary>Measures, once a minute, how long the way from this node to the endpoints of GlobalServices with the policy <c>latency</c> takes: a TCP handshake, which is one round trip.
/// The shortest of the last five counts, since a machine that is busy makes a way longer and nothing makes it shorter. The cloud hears what changed by a tenth and half a
/// millisecond, and all again when the link comes up.</summary>
internal sealed class RoundTripProbe : IDisposable
{
    private const int Kept = 5;
    private const int AtOnce = 16;
    private static readonly TimeSpan s_every = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_look = TimeSpan.FromSeconds(1);

    private readonly IUplink _uplink;
    private readonly Action<string, IReadOnlyDictionary<string, double>> _changed;
    private readonly Func<IPEndPoint, CancellationToken, Task<double?>> _measure;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly ILogger _log;
    private readonly Dictionary<MeasuredPlace, Way> _ways = []; // the loop's
    private readonly Dictionary<string, IReadOnlyDictionary<string, double>> _told = new(StringComparer.Ordinal); // the loop's
    private int _tellAll;
    private long _measured;

    /// <param name="changed">What the cloud is told of a service, for this node's own choice too; quick.</param>
    /// <param name="measure">Milliseconds; null when the place could not be reached.</param>
    public RoundTripProbe(
        IUplink uplink, Action<string, IReadOnlyDictionary<string, double>> changed, Func<IPEndPoint, CancellationToken, Task<double?>> measure, TimeProvider time, Random random, ILogger log)
    {
        (_uplink, _changed, _measure, _time, _random, _log) = (uplink, changed, measure, time, random, log);
        _uplink.LinkChanged += LinkChanged;
    }

    /// <summary>Handshakes that came through.</summary>
    public long Measured => Interlocked.Read(ref _measured);

    /// <summary>Measures and tells until cancelled.</summary>
    /// <param name="places">What is to be measured now.</param>
    public async Task RunAsync(Func<IReadOnlyList<MeasuredPlace>> places, CancellationToken cancellationToken)
    {
        while (true)
        {
            var now = places();
            foreach (var gone in _ways.Keys.Except(now).ToList())
                _ways.Remove(gone);
            var due = new List<(MeasuredPlace Place, Way Way)>();
            foreach (var place in now)
            {
                if (!_ways.TryGetValue(place, out var way))
                    _ways[place] = way = new Way();
                if (_time.GetUtcNow() >= way.Due)
                    due.Add((place, way));
            }

            await Parallel.ForEachAsync(due, new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancellationToken }, async (one, token) =>
            {
                var took = await _measure(new IPEndPoint(Network.ToIPAddress(one.Place.Address), one.Place.Port), token);
                if (took is not null)
                    Interlocked.Increment(ref _measured);
                one.Way.Add(took);
            });
            foreach (var (_, way) in due)
                way.Due = _time.GetUtcNow() + (s_every * (0.9 + (0.2 * _random.NextDouble())));
            await TellAsync(now, cancellationToken);
            await Task.Delay(s_look, _time, cancellationToken);
        }
    }

    public void Dispose() => _uplink.LinkChanged -= LinkChanged;

    /// <summary>The time of a TCP handshake, ms; null when there is none within two seconds.</summary>
    public static async Task<double?> HandshakeAsync(IPEndPoint place, TimeProvider time, CancellationToken cancellationToken)
    {
        using var socket = new Socket(place.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(2));
        var began = time.GetTimestamp();
        try
        {
            await socket.ConnectAsync(place, patience.Token);
            return time.GetElapsedTime(began).TotalMilliseconds;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            return time.GetElapsedTime(began).TotalMilliseconds; // the way there and back is the same
        }
        catch (SocketException)
        {
            return null;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return null;
        }
    }

    private async Task TellAsync(IReadOnlyList<MeasuredPlace> now, CancellationToken cancellationToken)
    {
        var all = Interlocked.Exchange(ref _tellAll, 0) != 0;
        foreach (var gone in _told.Keys.Except(now.Select(place => place.Service)).ToList())
            _told.Remove(gone);
        foreach (var service in now.GroupBy(place => place.Service, StringComparer.Ordinal))
        {
            var found = service.Where(place => _ways[place].Best is not null).ToDictionary(place => place.Endpoint, place => _ways[place].Best!.Value, StringComparer.Ordinal);
            var before = _told.GetValueOrDefault(service.Key);
            var isNew = before is null ? found.Count > 0 : before.Count != found.Count || found.Any(one => !before.TryGetValue(one.Key, out var told) || IsOther(told, one.Value));
            if (!isNew && !(all && before is not null))
                continue;
            var report = new RoundTrips(service.Key, found);
            try
            {
                await _uplink.PostAsync(
                    new UplinkEntry($"{ResourceTypes.RoundTrips}/{report.Service}", UplinkPriority.NodeStatus, UplinkRule.Newest, Sources.EdgeDns, Groups.Resource, Operations.Update, report.Resource, report.Write()),
                    cancellationToken);
            }
            catch (StoreException e)
            {
                EdgeDnsLog.RoundTripsNotKept(_log, service.Key, e.Message);
                Interlocked.Exchange(ref _tellAll, 1);
                continue; // said again in a second
            }

            _told[service.Key] = found;
            if (isNew)
                _changed(service.Key, found);
        }
    }

    private static bool IsOther(double told, double now) => Math.Abs(told - now) > Math.Max(0.5, told / 10);

    private void LinkChanged(bool isUp)
    {
        if (isUp)
            Interlocked.Exchange(ref _tellAll, 1);
    }

    /// <summary>The last measurements of one way.</summary>
    private sealed class Way
    {
        private readonly Queue<double?> _last = new();

        public DateTimeOffset Due { get; set; }

        public double? Best => _last.Min();

        public void Add(double? took)
        {
            _last.Enqueue(took);
            if (_last.Count > Kept)
                _last.Dequeue();
        }
    }
}
