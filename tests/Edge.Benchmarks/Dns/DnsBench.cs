using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Edge.Local.Processes;
using Edge.Protocol.Dns;
using Edge.Testing.Dns;

namespace Edge.Benchmarks.Dns;

/// <summary>Our server, gdnsd and Knot in turns, each in its own process with one UDP and one TCP thread and the same zone of 10,000 names, under dnsperf.
/// Then <see cref="NearestBench"/> and <see cref="HealthBench"/>.</summary>
internal static partial class DnsBench
{
    public const string Apex = "example.com";

    private const int Runs = 3;
    private const int Names = 10_000;
    private const string TrackedPath = "/proc/sys/net/netfilter/nf_conntrack_count";

    // What dnsperf and the server need until the load is even.
    private static readonly TimeSpan s_settle = TimeSpan.FromSeconds(1);

    public static async Task<int> RunAsync(int seconds, CancellationToken cancellationToken)
    {
        if (Tool.OnPath("dnsperf") is null)
            throw new BenchException("dnsperf is not installed (Debian: dnsperf)");
        // Rules of the packet filter that look at connections, such as those that CNI's portmap leaves behind, cost each packet on loopback as well.
        if (File.Exists(TrackedPath) && (await File.ReadAllTextAsync(TrackedPath, cancellationToken)).Trim() != "0")
            Console.Error.WriteLine("  the kernel tracks connections here (iptables-save -t nat): all figures are lower, new connections' most; without those rules they say more");
        var report = new Report("dns");
        var zone = $"@ 3600 SOA ns1 admin 1 7200 900 1209600 300\n@ 3600 NS ns1\nns1 3600 A 192.0.2.53\n{string.Concat(Enumerable.Range(0, Names).Select(i => $"h{i} 60 A 10.0.{i >> 8}.{i & 255}\n"))}";
        var random = new Random(1);
        var hits = QueryFile(Enumerable.Range(0, 50_000).Select(_ => $"h{random.Next(Names)}.{Apex} A"));
        var misses = QueryFile(Enumerable.Range(0, 50_000).Select(_ => $"m{random.Next()}.{Apex} A"));
        try
        {
            await using var own = await OwnDnsProcess.StartAsync(zone, networks: 0, cancellationToken);
            await using var gdnsd = await DnsPeer.StartAsync("gdnsd", Apex, zone);
            await using var knot = await DnsPeer.StartAsync("knotd", Apex, zone);
            Side[] sides = [new("ours", own.Port, own.ProcessId), new("gdnsd", gdnsd.Port, gdnsd.ProcessId), new("Knot", knot.Port, knot.ProcessId)];

            var a = await FloodAsync(sides, hits, "udp", seconds, cancellationToken);
            Add(report, "static A over UDP", a, target: a[1].PerCpu);
            Add(report, "NXDOMAIN over UDP", await FloodAsync(sides, misses, "udp", seconds, cancellationToken), target: null);
            var tcp = await FloodAsync([sides[0], sides[2]], hits, "tcp", seconds, cancellationToken);
            report.AtLeast("static A over TCP, pipelined: answers per CPU-second of the server", "/CPU-s", tcp[0].PerCpu, tcp[1].PerCpu, tcp[1].PerCpu, "Knot");
            report.AtLeast("static A over TCP, pipelined: answers a second", "/s", tcp[0].PerSecond, null, tcp[1].PerSecond, "Knot");
            report.AtMost("static A over UDP at the peak: queries lost", "queries", a[0].Lost, null, a[1].Lost, "gdnsd");

            var latencies = await LatenciesAsync(sides, hits, [.. a.Select(one => (int)(one.PerSecond / 2))], seconds, cancellationToken);
            report.AtMost("static A over UDP at half of the own peak: p99", "ms", latencies[0], 1, latencies[1], "gdnsd");
            report.AtMost("static A over UDP at half of the own peak: p99", "ms", latencies[0], 1, latencies[2], "Knot");
            foreach (var side in sides[1..])
                report.AtMost($"memory with {Names} names, after the load", "KB", new ProcessFigures(own.ProcessId).ResidentKb(), null, new ProcessFigures(side.ProcessId).ResidentKb(), side.Name);
            await NearestBench.AddAsync(report, zone, Names, seconds, cancellationToken);
            await HealthBench.AddAsync(report, cancellationToken);
            report.Write();
            return 0;
        }
        finally
        {
            File.Delete(hits);
            File.Delete(misses);
        }
    }

    private static void Add(Report report, string what, Figures[] figures, double? target)
    {
        report.AtLeast($"{what}: answers per CPU-second of the server", "/CPU-s", figures[0].PerCpu, target, figures[1].PerCpu, "gdnsd");
        report.AtLeast($"{what}: answers per CPU-second of the server", "/CPU-s", figures[0].PerCpu, null, figures[2].PerCpu, "Knot");
        report.AtLeast($"{what}: answers a second", "/s", figures[0].PerSecond, null, figures[1].PerSecond, "gdnsd");
    }

    private static string QueryFile(IEnumerable<string> lines)
    {
        var file = Path.GetTempFileName();
        File.WriteAllLines(file, lines);
        return file;
    }

    // In turns, so that all meet the same machine; the first turn only warms up.
    private static async Task<Figures[]> FloodAsync(Side[] sides, string queries, string mode, int seconds, CancellationToken cancellationToken)
    {
        var all = sides.Select(_ => new List<Figures>()).ToArray();
        for (var run = 0; run <= Runs; run++)
        {
            for (var i = 0; i < sides.Length; i++)
            {
                var figures = await PerfAsync(sides[i], queries, mode, seconds, rate: 0, cancellationToken);
                if (run > 0)
                    all[i].Add(figures);
            }
        }

        return [.. all.Select(runs => new Figures(Machine.Median(runs.Select(one => one.PerCpu)), Machine.Median(runs.Select(one => one.PerSecond)), Machine.Median(runs.Select(one => one.Lost))))];
    }

    private static async Task<Figures> PerfAsync(Side side, string queries, string mode, int seconds, int rate, CancellationToken cancellationToken)
    {
        var process = new ProcessFigures(side.ProcessId);
        var before = process.CpuSeconds();
        var start = new ProcessStartInfo(
            "dnsperf", ["-s", "127.0.0.1", "-p", $"{side.Port}", "-d", queries, "-l", $"{seconds}", "-c", "8", "-q", "400", "-m", mode, .. rate > 0 ? new[] { "-Q", $"{rate}" } : []])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var perf = Process.Start(start)!;
        var error = perf.StandardError.ReadToEndAsync(cancellationToken);
        var text = await perf.StandardOutput.ReadToEndAsync(cancellationToken);
        await perf.WaitForExitAsync(cancellationToken);
        var completed = Number(CompletedLine(), text);
        if (completed is not > 0)
            throw new BenchException($"dnsperf brought nothing from {side.Name} over {mode}: {text}{await error}");
        return new Figures(completed.Value / Math.Max(0.01, process.CpuSeconds() - before), Number(RateLine(), text) ?? 0, Number(LostLine(), text) ?? 0);
    }

    // In turns as above: the first turn also compiles the client.
    private static async Task<double[]> LatenciesAsync(Side[] sides, string queries, int[] rates, int seconds, CancellationToken cancellationToken)
    {
        var all = sides.Select(_ => new List<double>()).ToArray();
        for (var run = 0; run <= Runs; run++)
        {
            for (var i = 0; i < sides.Length; i++)
            {
                var p99 = await LatencyAsync(sides[i], queries, rates[i], seconds, cancellationToken);
                if (run > 0)
                    all[i].Add(p99);
            }
        }

        return [.. all.Select(Machine.Median)];
    }

    // dnsperf keeps the load; one more client asks one query after another and takes the time of each, as long as the load is even.
    private static async Task<double> LatencyAsync(Side side, string queries, int rate, int seconds, CancellationToken cancellationToken)
    {
        var load = PerfAsync(side, queries, "udp", seconds + 2, rate, cancellationToken);
        await Task.Delay(s_settle, cancellationToken);
        var times = await Task.Factory.StartNew(() => Probe(side, TimeSpan.FromSeconds(seconds)), cancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await load;
        return Machine.Share(times, 0.99);
    }

    private static List<double> Probe(Side side, TimeSpan duration)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { ReceiveTimeout = 1000 };
        socket.Connect(IPAddress.Loopback, side.Port);
        var query = DnsPackets.Query($"h77.{Apex}", RecordType.A);
        var buffer = new byte[4096];
        var times = new List<double>();
        for (var begun = Stopwatch.GetTimestamp(); Stopwatch.GetElapsedTime(begun) < duration;)
        {
            var started = Stopwatch.GetTimestamp();
            socket.Send(query);
            try
            {
                socket.Receive(buffer);
                times.Add(Stopwatch.GetElapsedTime(started).TotalMilliseconds);
            }
            catch (SocketException)
            {
                times.Add(1000); // lost counts as the time-out
            }
        }

        return times;
    }

    private static double? Number(Regex line, string text)
        => line.Match(text) is { Success: true } match ? double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture) : null;

    [GeneratedRegex(@"Queries completed:\s+(\d+)")]
    private static partial Regex CompletedLine();

    [GeneratedRegex(@"Queries lost:\s+(\d+)")]
    private static partial Regex LostLine();

    [GeneratedRegex(@"Queries per second:\s+([\d.]+)")]
    private static partial Regex RateLine();

    private sealed record Side(string Name, int Port, int ProcessId);

    private readonly record struct Figures(double PerCpu, double PerSecond, double Lost);
}
