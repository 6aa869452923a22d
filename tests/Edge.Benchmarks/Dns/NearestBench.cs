using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Edge.Local.Processes;
using Edge.Testing.Dns;

namespace Edge.Benchmarks.Dns;

/// <summary>The nearest place by client subnet over a map of 100,000 networks, beside PowerDNS with its geoip backend. dnsperf sends one subnet for all queries, so the load is our own:
/// one socket, a window of queries under way, each with the subnet of another client.</summary>
internal static class NearestBench
{
    public const int Networks = 100_000;

    private const int Runs = 3;
    private const int Window = 128;

    public static async Task AddAsync(Report report, string zone, int names, int seconds, CancellationToken cancellationToken)
    {
        var (nearest, statics) = (NearestWorld.Queries(Networks, 50_000), NearestWorld.StaticQueries(names, 50_000));
        await using var own = await OwnDnsProcess.StartAsync(zone, Networks, cancellationToken);
        await using var peer = await GeoPeer.TryStartAsync(cancellationToken);
        var (near, plain, theirs) = (new List<double>(), new List<double>(), new List<double>());
        var lost = 0L;
        for (var run = 0; run <= Runs; run++)
        {
            // In turns, so that all meet the same machine; the first turn only warms up.
            var a = Flood(own.Port, own.ProcessId, nearest, seconds);
            var b = Flood(own.Port, own.ProcessId, statics, seconds);
            var c = peer is null ? default : Flood(peer.Port, peer.ProcessId, nearest, seconds);
            if (run == 0)
                continue;
            near.Add(a.PerCpu);
            plain.Add(b.PerCpu);
            theirs.Add(c.PerCpu);
            lost += a.Lost;
        }

        var name = $"nearest with client subnet, {Networks} networks: answers per CPU-second of the server";
        report.AtLeast("static A, the same load: answers per CPU-second of the server", "/CPU-s", Machine.Median(plain), null);
        report.AtLeast(name, "/CPU-s", Machine.Median(near), 0.8 * Machine.Median(plain), peer is null ? null : Machine.Median(theirs), "PowerDNS geoip");
        report.AtMost("nearest with client subnet: queries lost", "queries", lost, null);
        if (peer is not null)
            report.AtMost("memory with the map, after the load", "KB", new ProcessFigures(own.ProcessId).ResidentKb(), null, new ProcessFigures(peer.ProcessId).ResidentKb(), "PowerDNS geoip");
    }

    private static (double PerCpu, long Lost) Flood(int port, int processId, List<byte[]> queries, int seconds)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { ReceiveTimeout = 1000, ReceiveBufferSize = 4 << 20 };
        socket.Connect(IPAddress.Loopback, port);
        var buffer = new byte[4096];
        var process = new ProcessFigures(processId);
        var (before, began) = (process.CpuSeconds(), Stopwatch.GetTimestamp());
        long answers = 0, lost = 0;
        for (var at = 0; Stopwatch.GetElapsedTime(began).TotalSeconds < seconds;)
        {
            for (var i = 0; i < Window; i++)
                socket.Send(queries[at++ % queries.Count]);
            for (var i = 0; i < Window; i++)
            {
                try
                {
                    socket.Receive(buffer);
                }
                catch (SocketException)
                {
                    lost += Window - i;
                    break;
                }

                if ((buffer[3] & 15) != 0 || buffer[7] == 0)
                    throw new BenchException($"an answer without an address (code {buffer[3] & 15}) from port {port}");
                answers++;
            }
        }

        return (answers / Math.Max(0.01, process.CpuSeconds() - before), lost);
    }

    private sealed class GeoPeer(Process process, string directory, PortLease port) : IAsyncDisposable
    {
        public int Port => port.Port;

        public int ProcessId => process.Id;

        /// <summary>Null, said on stderr, where PowerDNS or its geoip backend is not installed.</summary>
        public static async Task<GeoPeer?> TryStartAsync(CancellationToken cancellationToken)
        {
            // Debian: /usr/lib/ARCHITECTURE/pdns.
            if (Tool.OnPath("pdns_server") is not { } program || !Directory.GetDirectories("/usr/lib").Any(one => File.Exists(Path.Combine(one, "pdns/libgeoipbackend.so"))))
            {
                Console.Error.WriteLine("  PowerDNS with its geoip backend is not installed (Debian: pdns-server, pdns-backend-geoip); its figures are left out");
                return null;
            }

            var directory = Directory.CreateTempSubdirectory("edge-dns-geo-").FullName;
            var port = PortLease.Take();
            NearestWorld.WritePowerDns(directory, port.Port, Networks);
            var process = Process.Start(new ProcessStartInfo(program, [$"--config-dir={directory}", "--daemon=no", "--guardian=no", "--disable-syslog"]))!;
            var peer = new GeoPeer(process, directory, port);
            var query = NearestWorld.Queries(Networks, 1)[0];
            for (var attempt = 0; attempt < 100 && !process.HasExited; attempt++)
            {
                using var socket = new UdpClient();
                socket.Connect(IPAddress.Loopback, port.Port);
                using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
                deadline.CancelAfter(200);
                try
                {
                    await socket.SendAsync(query, deadline.Token);
                    if ((await socket.ReceiveAsync(deadline.Token)).Buffer is [_, _, _, var code, _, _, _, > 0, ..] && (code & 15) == 0)
                        return peer;
                }
                catch (Exception e) when (e is SocketException or OperationCanceledException && !cancellationToken.IsCancellationRequested)
                {
                    // Not yet.
                }

                await Task.Delay(50, cancellationToken);
            }

            await peer.DisposeAsync();
            throw new BenchException("PowerDNS with its geoip backend did not answer within 25 s");
        }

        public async ValueTask DisposeAsync()
        {
            if (!process.HasExited)
                process.Kill();
            await process.WaitForExitAsync();
            process.Dispose();
            port.Dispose();
            Directory.Delete(directory, recursive: true);
        }
    }
}
