using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using Edge.Local;
using Edge.Local.Processes;

namespace Edge.Benchmarks.Api;

/// <summary>A single etcd on free ports with a directory of its own.</summary>
internal sealed class EtcdProcess : IAsyncDisposable
{
    private const string Executable = "/usr/bin/etcd";
    private static readonly TimeSpan s_startWithin = TimeSpan.FromSeconds(60);
    private readonly Process _process;
    private readonly PortLease[] _ports;

    private EtcdProcess(Process process, params PortLease[] ports) => (_process, _ports) = (process, ports);

    public int Port => _ports[0].Port;

    /// <summary>Null where the machine has no etcd.</summary>
    public static async Task<EtcdProcess?> StartAsync(string directory, CancellationToken cancellationToken)
    {
        if (!File.Exists(Executable))
            return null;
        Directory.CreateDirectory(directory);
        var (client, peer) = (PortLease.Take(), PortLease.Take());
        var log = Path.Combine(directory, "log");
        var process = Hub.Children.Start(
            Executable,
            [
                "--name=bench", $"--data-dir={Path.Combine(directory, "data")}", $"--listen-client-urls=http://127.0.0.1:{client.Port}", $"--advertise-client-urls=http://127.0.0.1:{client.Port}",
                $"--listen-peer-urls=http://127.0.0.1:{peer.Port}", $"--initial-advertise-peer-urls=http://127.0.0.1:{peer.Port}", $"--initial-cluster=bench=http://127.0.0.1:{peer.Port}",
            ],
            log);
        var etcd = new EtcdProcess(process, client, peer);
        string Failure() => $"etcd did not start: {string.Join(" | ", File.ReadLines(log).TakeLast(3))}";
        try
        {
            await Wait.UntilAsync("etcd", _ => Task.FromResult(process.HasExited ? throw new BenchException(Failure()) : Answers(client.Port)), s_startWithin, TimeProvider.System, cancellationToken);
            return etcd;
        }
        catch (TimeoutException)
        {
            throw new BenchException(Failure());
        }
    }

    private static bool Answers(int port)
    {
        try
        {
            using var probe = WireClient.Connect(port);
            probe.Post("/v3/kv/put", """{"key":"cHJvYmU=","value":"cHJvYmU="}"""u8.ToArray());
            return true;
        }
        catch (Exception e) when (e is SocketException or BenchException or IOException)
        {
            return false;
        }
    }

    public double CpuSeconds() => new ProcessFigures(_process.Id).CpuSeconds();

    public double ResidentKb() => new ProcessFigures(_process.Id).ResidentKb();

    public async ValueTask DisposeAsync()
    {
        using (var term = Process.Start("kill", ["-TERM", _process.Id.ToString(CultureInfo.InvariantCulture)]))
            await term.WaitForExitAsync();
        await _process.WaitForExitAsync();
        _process.Dispose();
        foreach (var port in _ports)
            port.Dispose();
    }
}
