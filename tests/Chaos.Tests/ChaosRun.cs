using Xunit.Abstractions;

namespace Edge.Chaos.Tests;

/// <summary>A <see cref="ChaosEdge"/> with traffic both ways and the checks on it. What fails names the seed and what was done last, and keeps the logs.</summary>
internal sealed class ChaosRun : IAsyncDisposable
{
    private const int TraceLines = 25;
    private const int ProblemsMax = 12;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(90);

    private readonly ITestOutputHelper _output;
    private readonly ChaosSettings _settings;
    private readonly string _test;
    private readonly List<string> _trace = [];
    private readonly long _began = TimeProvider.System.GetTimestamp();

    private ChaosRun(ChaosEdge edge, ChaosSettings settings, string test, ITestOutputHelper output)
    {
        Edge = edge;
        _settings = settings;
        _test = test;
        _output = output;
        Down = new DownTraffic(edge.Client, settings.Seed * 1000);
        Mapper = new Mapper(edge.DmiSocket, edge.MapperSocket, (settings.Seed * 1000) + 500);
        Status = new StatusWatch(edge.Client);
        Reports = new NodeReports(edge.Client);
    }

    public ChaosEdge Edge { get; }

    public DownTraffic Down { get; }

    public Mapper Mapper { get; }

    public StatusWatch Status { get; }

    public NodeReports Reports { get; }

    public EdgeLedger Ledger { get; } = new();

    public static async Task<ChaosRun> StartAsync(ChaosEdgeOptions options, ChaosSettings settings, string test, ITestOutputHelper output)
    {
        var run = new ChaosRun(await ChaosEdge.StartAsync(options), settings, test, output);
        try
        {
            await run.GuardAsync(run.BeginAsync);
            return run;
        }
        catch
        {
            await run.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs a part of the test; a failure gets the seed, the last steps, the ends of the logs' path.</summary>
    public async Task GuardAsync(Func<Task> part)
    {
        try
        {
            await part();
        }
        catch (Exception e)
        {
            throw new ChaosException(
                $"{e.Message}\n"
                + $"seed {_settings.Seed}, replay its choices with: {_settings.Again(_test)}\n"
                + $"down {Down.Acknowledged} acknowledged, {Ledger.Stored} stored; up {Mapper.Acknowledged} acknowledged, {Mapper.Unanswered} unanswered, {Status.Seen} versions at the API\n"
                + $"logs in {Edge.KeepLogs()}\nthe last steps:\n{string.Join('\n', _trace.TakeLast(TraceLines))}",
                e);
        }
    }

    /// <summary>Notes what is done, with the time since the start.</summary>
    public void Trace(string step) => _trace.Add($"{TimeProvider.System.GetElapsedTime(_began).TotalSeconds,7:0.00} s  {step}");

    /// <summary>Tells a figure to whoever reads the test's output.</summary>
    public void Tell(string figure) => _output.WriteLine(figure);

    /// <summary>Takes what the edge committed since the last look, and fails when a promise that holds at every moment is broken.</summary>
    public void Look()
    {
        Edge.ThrowIfDead();
        Down.ThrowIfBroken();
        Mapper.ThrowIfBroken();
        Status.ThrowIfBroken();
        Reports.ThrowIfBroken();
        foreach (var change in Edge.Store.ChangesAfter(Ledger.At))
            Ledger.Take(change);
        Assert.Empty(Ledger.Broken);
        Assert.Empty(Mapper.Broken);
        Assert.Empty(Status.Broken);
        Assert.Empty(Reports.Broken);
    }

    /// <summary>Waits until so many changes more have arrived at either end: the link is up and carries traffic both ways.</summary>
    public async Task ArriveAsync(int down, int up)
    {
        var (stored, seen) = (Ledger.Stored, Status.Seen);
        await WaitAsync(
            () => $"{down} changes arrive at the edge (there are {Ledger.Stored - stored}) and {up} at the API (there are {Status.Seen - seen})",
            () =>
            {
                Look();
                return Ledger.Stored - stored >= down && Status.Seen - seen >= up;
            });
    }

    /// <summary>Holds the traffic; what was begun is finished or has failed.</summary>
    public Task HoldAsync() => Task.WhenAll(Down.PauseAsync(), Mapper.PauseAsync());

    public void Resume()
    {
        Down.Resume();
        Mapper.Resume();
    }

    /// <summary>Waits until each end has exactly what was acknowledged at the other. Only while the traffic is held.</summary>
    public async Task ConvergeAsync()
    {
        IReadOnlyList<string> missing = [];
        await WaitAsync(
            () => $"both ends have what was acknowledged; missing:\n{string.Join('\n', missing.Take(ProblemsMax))}\n{missing.Count} in all",
            () =>
            {
                Look();
                var objects = Edge.Store.Objects();
                missing = [.. Down.Missing(objects), .. Status.Missing(Mapper.Values), .. Reports.Missing(), .. MissingAtMapper(objects)];
                return missing.Count == 0;
            });
    }

    public async ValueTask DisposeAsync()
    {
        await Status.DisposeAsync();
        await Reports.DisposeAsync();
        await Mapper.DisposeAsync();
        await Edge.DisposeAsync();
    }

    private IEnumerable<string> MissingAtMapper(Dictionary<string, (string Uid, long Count)> objects)
        => objects.Where(pair => pair.Key.StartsWith("device/", StringComparison.Ordinal))
            .Where(pair => Mapper.DesiredValues.GetValueOrDefault(pair.Key["device/".Length..]) != pair.Value.Count)
            .Select(pair => $"{pair.Key}: {pair.Value.Count} is desired, the mapper was told {Mapper.DesiredValues.GetValueOrDefault(pair.Key["device/".Length..])}");

    private async Task BeginAsync()
    {
        Edge.Store.AddLedger();
        await Mapper.StartAsync();
        await Down.PrepareAsync();
        await Reports.StartAsync();
        await ConvergeAsync();
        Down.Start();
        Mapper.Report();
        Trace("traffic both ways");
    }

    // As Wait.UntilAsync, with a text that says how far it came.
    private async Task WaitAsync(Func<string> what, Func<bool> isSo)
    {
        try
        {
            await Edge.WaitAsync("", isSo, s_patience);
        }
        catch (TimeoutException e)
        {
            throw new TimeoutException($"not within {s_patience.TotalSeconds} s: {what()}", e);
        }
    }
}

/// <summary>A chaos test failed; the message has the seed and the last steps.</summary>
internal sealed class ChaosException(string message, Exception inner) : Exception(message, inner);
