using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Edge.Common;
using Edge.GlobalServices.Health;
using Edge.GlobalServices.Locations;

namespace Edge.Benchmarks.Dns;

/// <summary>30,000 HTTP checks in 10 s, of 30,000 endpoints and of 9,000: the monitor in a process of its own, against a server of the bench on as many addresses of 127.0.0.0/8.</summary>
internal static class HealthBench
{
    // 30,000 checks in 10 s both: of so many endpoints that each has its connection kept for its next checks, whatever the file limit of the machine is; and of more than that.
    private static readonly Load[] s_loads = [new(30_000, 10_000), new(9_000, 3_000)];

    // As many checks as one connection serves: each endpoint connects once in them.
    private static readonly int s_intervals = HealthCheckSpec.None.ChecksPerConnection;

    // A server as most are: it keeps the connection unless it is asked not to.
    private static readonly byte[] s_more = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"u8.ToArray();
    private static readonly byte[] s_last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"u8.ToArray();

    public static async Task AddAsync(Report report, CancellationToken cancellationToken)
    {
        foreach (var load in s_loads)
            await AddAsync(report, load, cancellationToken);
    }

    private static async Task AddAsync(Report report, Load load, CancellationToken cancellationToken)
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Any, 0));
        listener.Listen(4096);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var answered = new Counter();
        var serving = ServeAsync(listener, answered, stop.Token);
        string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
        using var process = Process.Start(new ProcessStartInfo(
            Environment.ProcessPath!, [typeof(HealthBench).Assembly.Location, "dns-health", Text(((IPEndPoint)listener.LocalEndPoint!).Port), Text(load.Targets), Text(load.IntervalMs)]))!;
        try
        {
            // A whole round first: all has been compiled, and the checks are spread.
            await Task.Delay(TimeSpan.FromMilliseconds(1.5 * load.IntervalMs), cancellationToken);
            var figures = new ProcessFigures(process.Id);
            var (cpu, checks, began) = (figures.CpuSeconds(), answered.Value, Stopwatch.GetTimestamp());
            await Task.Delay(TimeSpan.FromMilliseconds((double)s_intervals * load.IntervalMs), cancellationToken);
            var took = Stopwatch.GetElapsedTime(began).TotalSeconds;
            if (process.HasExited)
                throw new BenchException("the health monitor ended");
            report.AtLeast($"health, {load.Targets} endpoints: HTTP checks in 10 s", "checks", (answered.Value - checks) / took * 10, 0.95 * 30_000);
            report.AtMost($"health, {load.Targets} endpoints: share of a core", "%", 100 * (figures.CpuSeconds() - cpu) / took, 15);
            report.AtMost($"health, {load.Targets} endpoints: memory", "MB", figures.ResidentKb() / 1024, 80);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill();
            await process.WaitForExitAsync(CancellationToken.None);
            await stop.CancelAsync();
            await serving;
        }
    }

    /// <summary>The hidden mode of this program: checks until it is killed, as <c>cloudcore --modules gslb</c> does.</summary>
    public static async Task<int> CheckAsync(int port, int targets, int intervalMs, CancellationToken cancellationToken)
    {
        await using var monitor = new HealthMonitor(_ => { }, TimeProvider.System, new Random(1), HealthMonitor.KeptShareAlone);
        var check = HealthCheckSpec.None with { Kind = CheckKind.Http, IntervalMs = intervalMs };
        // An address for each: a place that is asked again must wait for no port that is in TIME_WAIT.
        await monitor.SetTargetsAsync([.. Enumerable.Range(0, targets).Select(i => new HealthTarget($"default/s{i / 100}/e{i % 100}", Network.Mapped(0x7F01_0001u + (uint)i), port, "", check))], cancellationToken);
        // As cloudcore does.
        await HeapTrimmer.RunAsync(() => 256 * 1024, TimeProvider.System, cancellationToken);
        return 0;
    }

    private static async Task ServeAsync(Socket listener, Counter answered, CancellationToken cancellationToken)
    {
        try
        {
            while (true)
                _ = AnswerAsync(await listener.AcceptAsync(cancellationToken), answered); // ends with its connection
        }
        catch (OperationCanceledException)
        {
            // The bench is through.
        }
    }

    private static async Task AnswerAsync(Socket client, Counter answered)
    {
        var buffer = new byte[1024];
        try
        {
            for (int read; (read = await client.ReceiveAsync(buffer)) > 0;)
            {
                answered.Add();
                var isLast = buffer.AsSpan(0, read).IndexOf("Connection: close"u8) >= 0;
                await client.SendAsync(isLast ? s_last : s_more);
                if (isLast)
                    return;
            }
        }
        catch (SocketException)
        {
            // The monitor gave up or was killed: not counted.
        }
        finally
        {
            client.Dispose();
        }
    }

    private sealed record Load(int Targets, int IntervalMs);

    private sealed class Counter
    {
        private long _value;

        public long Value => Interlocked.Read(ref _value);

        public void Add() => Interlocked.Increment(ref _value);
    }
}
