using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Edge.Cloud.Gslb.Zones;
using Edge.GlobalServices.Zones;
using Edge.Common;
using Edge.Local.Processes;
using Edge.Protocol.Dns;
using Edge.Protocol.Dns.Server;
using Edge.Testing.Dns;

namespace Edge.Benchmarks.Dns;

/// <summary>Our server with one zone in a process of its own.</summary>
internal sealed class OwnDnsProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly string _zoneFile;
    private readonly PortLease _port;

    private OwnDnsProcess(Process process, string zoneFile, PortLease port)
    {
        _process = process;
        _zoneFile = zoneFile;
        _port = port;
    }

    public int Port => _port.Port;

    public int ProcessId => _process.Id;

    /// <param name="networks">Of the location map; 0 for none.</param>
    public static async Task<OwnDnsProcess> StartAsync(string zone, int networks, CancellationToken cancellationToken)
    {
        var zoneFile = Path.GetTempFileName();
        await File.WriteAllTextAsync(zoneFile, zone, cancellationToken);
        var port = PortLease.Take();
        var process = Process.Start(new ProcessStartInfo(Environment.ProcessPath!, [typeof(OwnDnsProcess).Assembly.Location, "dns-server", $"{port.Port}", zoneFile, $"{networks}"]))!;
        var own = new OwnDnsProcess(process, zoneFile, port);
        for (var attempt = 0; attempt < 400; attempt++)
        {
            using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                await probe.ConnectAsync(IPAddress.Loopback, port.Port, cancellationToken);
                return own;
            }
            catch (SocketException) when (!process.HasExited)
            {
                await Task.Delay(50, cancellationToken);
            }
        }

        await own.DisposeAsync();
        throw new BenchException("our DNS server did not start within 20 s");
    }

    /// <summary>The hidden mode of this program: one UDP thread, as the peers have, until it is killed.</summary>
    public static async Task<int> ServeAsync(int port, string zoneFile, int networks, CancellationToken cancellationToken)
    {
        var source = new ZoneSource
        {
            Apex = DnsName.Parse(DnsBench.Apex),
            Services = [new ZoneService(DnsName.Parse($"{NearestWorld.Host}.{DnsBench.Apex}"), 0)],
            Records = [.. ZoneText.Read(DnsBench.Apex, await File.ReadAllTextAsync(zoneFile, cancellationToken)).Select(record => new ZoneRecord(record.Name, record.Type, record.Ttl, record.Data))],
        };
        var zones = ZoneSet.Compile([source], out var errors);
        if (errors.Count > 0)
            throw new BenchException(errors[0].Message);
        var responder = new AuthoritativeResponder(new AuthoritativeOptions { EcsResolvers = NetworkList.TryParse(["127.0.0.0/8"], out var loopback, out _) ? loopback : throw new UnreachableException() });
        responder.Serve(zones, networks > 0 ? NearestWorld.Selector(networks) : null);
        await using var server = DnsServer.Start(
            new IPEndPoint(IPAddress.Loopback, port), responder, new DnsServerOptions { UdpSockets = 1 }, TimeProvider.System, e => Console.Error.WriteLine(e));
        // As cloudcore does.
        await HeapTrimmer.RunAsync(() => 256 * 1024, TimeProvider.System, cancellationToken);
        return 0;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        _port.Dispose();
        File.Delete(_zoneFile);
    }
}
