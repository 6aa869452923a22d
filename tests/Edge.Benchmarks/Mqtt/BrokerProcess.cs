using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Edge.Common;
using Edge.Local.Processes;
using Edge.Protocol.Mqtt.Broker;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Benchmarks.Mqtt;

/// <summary>A broker in a process of its own, so that its processor time and memory are its own.</summary>
internal sealed class BrokerProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly string _directory;
    private readonly PortLease _port;

    private BrokerProcess(Process process, string directory, PortLease port)
    {
        _process = process;
        _directory = directory;
        _port = port;
        Figures = new ProcessFigures(process.Id);
    }

    public int Port => _port.Port;

    public ProcessFigures Figures { get; }

    public static Task<BrokerProcess> StartOursAsync(CancellationToken cancellationToken) => StartOursAsync("tcp", cancellationToken);

    /// <param name="kind">What it listens for: tcp, tls or ws.</param>
    public static Task<BrokerProcess> StartOursAsync(string kind, CancellationToken cancellationToken)
        => StartAsync((port, _) => new ProcessStartInfo(Environment.ProcessPath!, [typeof(BrokerProcess).Assembly.Location, "mqtt-broker", $"{port}", kind]), cancellationToken);

    public static Task<BrokerProcess> StartMosquittoAsync(CancellationToken cancellationToken)
        => StartAsync(
            (port, directory) =>
            {
                var config = Path.Combine(directory, "mosquitto.conf");
                // The window as ours, no waiting for a full segment, as ours; the queue so long that it drops nothing of what this load has under way.
                File.WriteAllText(config, $"listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 100\nmax_queued_messages 100000\nset_tcp_nodelay true\nlog_type error\n");
                return new ProcessStartInfo(Tool.OnPath("mosquitto") ?? throw new BenchException("mosquitto is not installed (Debian: mosquitto)"), ["-c", config]);
            },
            cancellationToken);

    /// <summary>The hidden mode of this program: our broker, until it is killed.</summary>
    /// <param name="port">0: a free one, which is printed.</param>
    /// <param name="kind">tcp, tls or ws; or conformance: TCP, with the settings of tests/conformance/paho.sh.</param>
    public static async Task<int> ServeAsync(int port, string kind, CancellationToken cancellationToken)
    {
        var listener = new MqttListenerOptions { EndPoint = new IPEndPoint(IPAddress.Loopback, port) };
        if (kind == "ws")
            listener = listener with { Kind = MqttListenerKind.WebSocket };
        if (kind == "tls")
        {
            var tls = new SslServerAuthenticationOptions { ServerCertificateContext = SslStreamCertificateContext.Create(Certificate(), additionalCertificates: null, offline: true) };
            listener = listener with { Tls = () => tls };
        }

        var options = new MqttBrokerOptions { Listeners = [listener], AllowAnonymous = true, ConnectionsMax = 100_000, SessionsMax = 100_000 };
        // What the Paho suite expects of a broker that it tests (tests/conformance/paho.sh).
        if (kind == "conformance")
        {
            options = options with
            {
                KeepAliveMaxSeconds = 60,
                HideDenials = true,
                Acl = [new("*", "test/nosubscribe", MqttAccess.Read, Allow: false), new("*", "#", MqttAccess.ReadWrite), new("*", "$TopicA/#", MqttAccess.ReadWrite), new("*", "$client_test5/#", MqttAccess.ReadWrite)],
            };
        }

        await using var broker = MqttBroker.Start(options, null, TimeProvider.System, new Random(), NullLoggerFactory.Instance);
        if (port == 0)
            Console.WriteLine(broker.EndPoints[0].Port);
        // As cloudcore and edgecore do.
        await HeapTrimmer.RunAsync(() => 256 * 1024, TimeProvider.System, cancellationToken);
        return 0;
    }

    private static X509Certificate2 Certificate()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256);
        using var made = request.CreateSelfSigned(TimeProvider.System.GetUtcNow().AddDays(-1), TimeProvider.System.GetUtcNow().AddDays(1));
        return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
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

    private static async Task<BrokerProcess> StartAsync(Func<int, string, ProcessStartInfo> start, CancellationToken cancellationToken)
    {
        var directory = Directory.CreateTempSubdirectory("edge-bench-mqtt-").FullName;
        var port = PortLease.Take();
        var broker = new BrokerProcess(Process.Start(start(port.Port, directory))!, directory, port);
        for (var attempt = 0; ; attempt++)
        {
            using var probe = new Socket(SocketType.Stream, ProtocolType.Tcp);
            try
            {
                await probe.ConnectAsync(IPAddress.Loopback, port.Port, cancellationToken);
                return broker;
            }
            catch (SocketException) when (attempt < 200 && !broker._process.HasExited)
            {
                await Task.Delay(50, cancellationToken);
            }
        }
    }
}
