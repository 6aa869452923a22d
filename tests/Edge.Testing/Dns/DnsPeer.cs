using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Edge.Local.Processes;

namespace Edge.Testing.Dns;

/// <summary>Another DNS server with one zone, in a process and a directory of its own, on a free port of 127.0.0.1: knotd, pdns_server or gdnsd.</summary>
public sealed class DnsPeer : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly Process _process;
    private readonly string _directory;
    private readonly PortLease _port;
    private readonly StringBuilder _said = new();

    private DnsPeer(Process process, string directory, PortLease port)
    {
        _process = process;
        _directory = directory;
        _port = port;
        process.OutputDataReceived += Hear;
        process.ErrorDataReceived += Hear;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
    }

    public int Port => _port.Port;

    public int ProcessId => _process.Id;

    /// <summary>What it wrote.</summary>
    public string Said
    {
        get
        {
            lock (_said)
                return _said.ToString();
        }
    }

    /// <param name="program">knotd, pdns_server or gdnsd.</param>
    /// <param name="zone">A master file without $ORIGIN: names are below the apex.</param>
    /// <param name="threads">UDP and TCP threads.</param>
    /// <exception cref="InvalidOperationException">It did not start; the message has what it wrote.</exception>
    public static Task<DnsPeer> StartAsync(string program, string apex, string zone, int threads = 1)
        => StartAsync(program, apex, (directory, port) => Configure(program, directory, port, apex, zone, threads));

    /// <summary>Knot as a secondary: it has the zone by transfer when this returns, and transfers it again when it is notified.</summary>
    /// <param name="primaryPort">Of the zone's server on 127.0.0.1, which must let it be transferred.</param>
    /// <exception cref="InvalidOperationException">It did not start, or got no zone; the message has what it wrote.</exception>
    public static Task<DnsPeer> StartSecondaryAsync(string apex, int primaryPort) => StartAsync("knotd", apex, (directory, port) =>
    {
        var knot = Path.Combine(directory, "knot.conf");
        File.WriteAllText(knot, $"""
            server:
                listen: 127.0.0.1@{port}
                rundir: "{directory}"
                udp-workers: 1
                tcp-workers: 1
                background-workers: 1
            database:
                storage: "{directory}"
            log:
              - target: stderr
                any: info
            remote:
              - id: primary
                address: 127.0.0.1@{primaryPort}
            acl:
              - id: from-primary
                address: 127.0.0.1
                action: notify
            zone:
              - domain: {apex}
                storage: "{directory}"
                master: primary
                acl: from-primary
            """);
        return ["-c", knot];
    });

    private static async Task<DnsPeer> StartAsync(string program, string apex, Func<string, int, string[]> configure)
    {
        var last = "";
        for (var attempt = 0; attempt < 5; attempt++)
        {
            var port = PortLease.Take();
            var directory = Directory.CreateTempSubdirectory("edge-dns-peer-").FullName;
            var arguments = configure(directory, port.Port);
            var start = new ProcessStartInfo(Tool.OnPath(program) ?? throw new InvalidOperationException($"{program} is not installed"), arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
            var peer = new DnsPeer(Process.Start(start)!, directory, port);
            if (await peer.AnswersAsync(apex))
                return peer;
            last = peer.Said;
            await peer.DisposeAsync();
        }

        throw new InvalidOperationException($"{program} did not start: {last}");
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        _port.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private static string[] Configure(string program, string directory, int port, string apex, string zone, int threads)
    {
        var zones = Directory.CreateDirectory(Path.Combine(directory, "zones")).FullName;
        var file = Path.Combine(zones, apex);
        File.WriteAllText(file, zone + "\n");
        switch (program)
        {
            case "knotd":
                var knot = Path.Combine(directory, "knot.conf");
                File.WriteAllText(knot, $"""
                    server:
                        listen: 127.0.0.1@{port}
                        rundir: "{directory}"
                        udp-workers: {threads}
                        tcp-workers: {threads}
                        background-workers: 1
                    database:
                        storage: "{directory}"
                    log:
                      - target: stderr
                        any: warning
                    zone:
                      - domain: {apex}
                        file: "{file}"
                        semantic-checks: off
                        zonefile-sync: -1
                    """);
                return ["-c", knot];
            case "pdns_server":
                var named = Path.Combine(directory, "named.conf");
                File.WriteAllText(named, $"options {{ directory \"{directory}\"; }};\nzone \"{apex}\" {{ type master; file \"{file}\"; }};\n");
                File.WriteAllText(Path.Combine(directory, "pdns.conf"), $"""
                    launch=bind
                    bind-config={named}
                    local-address=127.0.0.1
                    local-port={port}
                    socket-dir={directory}
                    receiver-threads={threads}
                    distributor-threads=1
                    cache-ttl=0
                    query-cache-ttl=0
                    negquery-cache-ttl=0
                    zone-cache-refresh-interval=0
                    loglevel=3
                    """);
                return ["--config-dir=" + directory, "--daemon=no", "--guardian=no", "--disable-syslog"];
            case "gdnsd":
                Directory.CreateDirectory(Path.Combine(directory, "run"));
                Directory.CreateDirectory(Path.Combine(directory, "state"));
                File.WriteAllText(Path.Combine(directory, "config"), $$"""
                    options => {
                      listen => { 127.0.0.1:{{port}} => { udp_threads => {{threads}}, tcp_threads => {{threads}} } },
                      run_dir => {{directory}}/run,
                      state_dir => {{directory}}/state
                    }
                    """);
                return ["-c", directory, "start"];
            default:
                throw new ArgumentException($"'{program}' is no server known here", nameof(program));
        }
    }

    private void Hear(object sender, DataReceivedEventArgs line)
    {
        lock (_said)
            _said.AppendLine(line.Data);
    }

    // Ready when it answers for its zone.
    private async Task<bool> AnswersAsync(string apex)
    {
        var clock = Stopwatch.StartNew();
        var query = DnsPackets.Query(apex, Protocol.Dns.RecordType.SOA);
        var buffer = new byte[4096];
        while (clock.Elapsed < s_patience && !_process.HasExited)
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            await socket.ConnectAsync(IPAddress.Loopback, Port);
            using var deadline = new CancellationTokenSource(200);
            try
            {
                await socket.SendAsync(query);
                if (await socket.ReceiveAsync(buffer, deadline.Token) > 12 && (buffer[3] & 15) == 0)
                    return true;
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                // Not yet.
            }

            await Task.Delay(50);
        }

        return false;
    }
}
