using System.Text.Json.Nodes;
using Edge.Common;
using Edge.Common.Configuration;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Core.NodeStatus;

namespace Edge.Fleet;

/// <summary>Many hollow nodes in one process, on one store.</summary>
/// <example><code>
/// await using var fleet = await Fleet.PrepareAsync(options, TimeProvider.System, cancellationToken);
/// fleet.Start(); … ; await fleet.StopAsync(); var problems = fleet.Check();
/// </code></example>
internal sealed class Fleet : IAsyncDisposable
{
    private const int Slots = 100;
    private const int EnrolmentsMax = 8;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private readonly List<double> _connectMs = [];
    private readonly Credentials[] _credentials;
    private readonly Identities _identities;
    private Task[] _running = [];
    private long _startedAt;
    private double _allConnectedSeconds;
    private int _connected;
    private bool _stopped;
    private int _connectedAtStop;
    private int _inSyncAtStop;

    private Fleet(FleetOptions options, TimeProvider time, Identities identities, FleetStore store)
    {
        Options = options;
        Time = time;
        Store = store;
        _identities = identities;
        Random = new Random(options.Seed);
        HubOptions = new EdgeHubOptions { Server = options.Server, HeartbeatSeconds = options.HeartbeatSeconds, CaFile = options.CaFile };
        Edged = new EdgedOptions { Enable = false };
        Facts = NodeFacts.Read(Edged);
        Dials = new SemaphoreSlim(options.DialsMax);
        _credentials = new Credentials[options.Nodes];
        Nodes = [.. Enumerable.Range(0, options.Nodes).Select(index => new HollowNode(index, this))];
    }

    public FleetOptions Options { get; }

    public TimeProvider Time { get; }

    public FleetStore Store { get; }

    public FleetCounts Counts { get; } = new();

    /// <summary>Shared by all nodes; who uses it locks it, as <see cref="Backoff"/> does.</summary>
    public Random Random { get; }

    public EdgeHubOptions HubOptions { get; }

    public EdgedOptions Edged { get; }

    public NodeFacts Facts { get; }

    public SemaphoreSlim Dials { get; }

    public IReadOnlyList<HollowNode> Nodes { get; }

    public int ConnectedCount => Volatile.Read(ref _connected);

    public int InSyncCount => Nodes.Count(node => node.IsInSync);

    /// <summary>Opens the store and gets every node its certificate.</summary>
    /// <exception cref="ConfigException">There is no usable CA or token.</exception>
    /// <exception cref="StoreException">The store cannot be opened.</exception>
    /// <exception cref="EnrolmentException">CloudCore refused a node.</exception>
    public static async Task<Fleet> PrepareAsync(FleetOptions options, TimeProvider time, CancellationToken cancellationToken)
    {
        var identities = new Identities(options, time);
        FleetStore store;
        try
        {
            Directory.CreateDirectory(options.DataDirectory);
            store = FleetStore.Open(Path.Combine(options.DataDirectory, "fleet.db"), time);
        }
        catch
        {
            identities.Dispose();
            throw;
        }

        var fleet = new Fleet(options, time, identities, store);
        try
        {
            await Parallel.ForEachAsync(
                fleet.Nodes,
                new ParallelOptions { MaxDegreeOfParallelism = EnrolmentsMax, CancellationToken = cancellationToken },
                async (node, token) => fleet._credentials[node.Index] = await identities.GetAsync(node.Name, token));
            return fleet;
        }
        catch
        {
            await fleet.DisposeAsync();
            throw;
        }
    }

    /// <summary>All nodes begin to dial.</summary>
    public void Start()
    {
        _startedAt = Time.GetTimestamp();
        _running = [.. Nodes.Select(node => node.RunAsync(_credentials[node.Index], _stop.Token)), BeatAsync(_stop.Token)];
    }

    /// <summary>Every node says goodbye and stops; the store stays open.</summary>
    public async Task StopAsync()
    {
        if (_stopped)
            return;
        _stopped = true;
        (_connectedAtStop, _inSyncAtStop) = (ConnectedCount, InSyncCount);
        await _stop.CancelAsync();
        await Task.WhenAll(_running);
    }

    /// <summary>Sentences for whatever must not be. After <see cref="StopAsync"/>; an empty list is a pass.</summary>
    public List<string> Check()
    {
        if (!_stopped)
            throw new InvalidOperationException("stop the fleet first: what is being written cannot be checked");
        var problems = Counts.Violations;
        if (_connectedAtStop < Options.Nodes)
        {
            var why = Counts.Reasons is [var (reason, count), ..] ? $"; most often: {reason} ({count} times)" : "";
            problems.Add($"{_connectedAtStop} of {Options.Nodes} nodes were connected at the end{why}");
        }

        if (Counts.MissingAnswers > 0)
            problems.Add($"{Counts.MissingAnswers} requests got no answer though the link stayed up");
        var disk = Store.ReadAll();
        foreach (var node in Nodes)
            node.Meta.Check(node.Name, disk, problems);
        return problems;
    }

    /// <summary>All figures as they stand.</summary>
    public JsonObject Snapshot()
    {
        double p50, p99, all;
        lock (_gate)
        {
            var sorted = _connectMs.Order().ToArray();
            (p50, p99, all) = (At(sorted, 0.50), At(sorted, 0.99), _allConnectedSeconds);
        }

        var bytesIn = Nodes.Sum(node => node.Bytes.In);
        var bytesOut = Nodes.Sum(node => node.Bytes.Out);
        return new JsonObject
        {
            ["nodes"] = Nodes.Count,
            ["connected"] = _stopped ? _connectedAtStop : ConnectedCount,
            ["inSync"] = _stopped ? _inSyncAtStop : InSyncCount,
            ["connectMsP50"] = Math.Round(p50, 1),
            ["connectMsP99"] = Math.Round(p99, 1),
            ["allConnectedSeconds"] = all > 0 ? Math.Round(all, 3) : null,
            ["objectsStored"] = Counts.Stored,
            ["objectBytesStored"] = Counts.StoredBytes,
            ["objectsRemoved"] = Counts.Removed,
            ["objectsIgnored"] = Counts.Ignored,
            ["upAcked"] = Counts.UpAcked,
            ["leasesRenewed"] = Counts.Leases,
            ["missingAnswers"] = Counts.MissingAnswers,
            ["bytesIn"] = bytesIn,
            ["bytesOut"] = bytesOut,
            ["bytesInPerNode"] = Math.Round((double)bytesIn / Nodes.Count, 1),
            ["bytesOutPerNode"] = Math.Round((double)bytesOut / Nodes.Count, 1),
            ["syncs"] = Counts.Syncs,
            ["handshakeBytes"] = Counts.HandshakeBytes,
            ["syncBytesIn"] = Counts.SyncBytes.In,
            ["syncBytesOut"] = Counts.SyncBytes.Out,
            ["reconnects"] = Counts.Reconnects,
            ["failedDials"] = Counts.FailedDials,
            ["reasons"] = new JsonArray([.. Counts.Reasons.Take(5).Select(pair => new JsonObject { ["reason"] = pair.Reason, ["count"] = pair.Count })]),
        };
    }

    public void Connected(HollowNode node, TimeSpan took, bool isReconnect)
    {
        if (isReconnect)
            Counts.Reconnected();
        var count = Interlocked.Increment(ref _connected);
        lock (_gate)
        {
            if (!isReconnect)
                _connectMs.Add(took.TotalMilliseconds);
            if (count == Nodes.Count && _allConnectedSeconds == 0)
                _allConnectedSeconds = Time.GetElapsedTime(_startedAt).TotalSeconds;
        }
    }

    public void Disconnected() => Interlocked.Decrement(ref _connected);

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        await Store.DisposeAsync();
        foreach (var credentials in _credentials)
            credentials?.Certificate.Dispose();
        _identities.Dispose();
        Dials.Dispose();
        _stop.Dispose();
    }

    private static double At(double[] sorted, double share) => sorted.Length == 0 ? 0 : sorted[Math.Min(sorted.Length - 1, (int)(sorted.Length * share))];

    // One timer for all nodes: in each step a hundredth of them renews.
    private async Task BeatAsync(CancellationToken cancellationToken)
    {
        var beating = new Task[Nodes.Count];
        Array.Fill(beating, Task.CompletedTask);
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds((double)Options.LeaseSeconds / Slots), Time);
        try
        {
            for (var slot = 0; await timer.WaitForNextTickAsync(cancellationToken); slot = (slot + 1) % Slots)
            {
                for (var i = slot; i < beating.Length; i += Slots)
                {
                    // A cloud that is slow to answer gets no second request meanwhile.
                    if (beating[i].IsCompleted)
                        beating[i] = Nodes[i].BeatAsync(cancellationToken);
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            await Task.WhenAll(beating.Select(async beat =>
            {
                try
                {
                    await beat;
                }
                catch (OperationCanceledException)
                {
                    // Stopped in the middle of a post.
                }
            }));
        }
    }
}
