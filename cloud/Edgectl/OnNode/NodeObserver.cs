using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Edge.Common.Storage;
using Edge.Kubernetes;
using Edge.Protocol.Cri;

namespace Edge.Ctl.OnNode;

/// <summary>Looks at this node for <c>edgectl debug</c>. It changes nothing and never throws for what it finds.</summary>
internal sealed class NodeObserver(string configFile, string dataDirectory, TimeProvider time)
{
    private static readonly TimeSpan s_within = TimeSpan.FromSeconds(5);

    public async Task<NodeObservations> LookAsync(CancellationToken cancellationToken)
    {
        JsonNode? config;
        try
        {
            config = Manifests.ParseValue(await File.ReadAllTextAsync(configFile, cancellationToken));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ManifestException)
        {
            return new NodeObservations { ConfigProblem = $"{configFile}: {e.Message.Split('\n')[0]}" };
        }

        var hub = config.At("modules", "edgeHub");
        var server = hub.Text("websocket", "server") is { Length: > 0 } named ? named : "127.0.0.1:10000";
        var certificate = Or(hub.Text("tlsCertFile"), Path.Combine(dataDirectory == "/var/lib/kubeedge" ? "/etc/kubeedge" : dataDirectory, "certs/server.crt"));
        var runtime = Or(config.Text("modules", "edged", "tailoredKubeletConfig", "containerRuntimeEndpoint"), Or(config.Text("modules", "edged", "remoteRuntimeEndpoint"), "unix:///run/containerd/containerd.sock"));
        var seen = new NodeObservations
        {
            CloudAddress = server, RunsPods = config.Flag(true, "modules", "edged", "enable"), RuntimeSocket = runtime, CertificateFile = certificate, HasToken = hub.Text("token").Length > 0,
            DataDirectory = dataDirectory, Disk = Disk(), Memory = Memory(), Database = Database(Or(config.Text("database", "dataSource"), Path.Combine(dataDirectory, "edgecore.db"))),
        };
        seen = Certificate(seen);
        seen = await NetworkAsync(seen, Or(hub.Text("httpServer"), "https://127.0.0.1:10002"), cancellationToken);
        if (seen.RunsPods)
            seen = await RuntimeAsync(seen, cancellationToken);
        var ports = Ports();
        var isRunning = ports.Number(0, "metrics") is > 0 and var metrics && await AnswersAsync(IPAddress.Loopback.ToString(), (int)metrics, cancellationToken) is "";
        seen = seen with { IsRunning = isRunning };
        return isRunning ? seen : seen with { TakenPorts = await TakenAsync(config, cancellationToken) };
    }

    private static string Or(string text, string absent) => text.Length > 0 ? text : absent;

    private JsonNode? Ports()
    {
        try
        {
            var file = Path.Combine(dataDirectory, "edgecore.ports.json");
            return File.Exists(file) ? JsonNode.Parse(File.ReadAllText(file)) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or System.Text.Json.JsonException)
        {
            return null; // then it is as if no edgecore ran
        }
    }

    private async Task<NodeObservations> NetworkAsync(NodeObservations seen, string httpServer, CancellationToken cancellationToken)
    {
        var (host, port) = seen.CloudAddress.LastIndexOf(':') is > 0 and var colon && int.TryParse(seen.CloudAddress[(colon + 1)..], out var number) ? (seen.CloudAddress[..colon].Trim('[', ']'), number) : (seen.CloudAddress, 10000);
        try
        {
            using var within = new CancellationTokenSource(s_within, time);
            using var both = CancellationTokenSource.CreateLinkedTokenSource(within.Token, cancellationToken);
            if (!IPAddress.TryParse(host, out _))
                await System.Net.Dns.GetHostAddressesAsync(host, both.Token);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException && !cancellationToken.IsCancellationRequested)
        {
            return seen with { NameProblem = $"{host}: {(e is SocketException ? e.Message : "no answer from the resolver")}" };
        }

        var connect = await AnswersAsync(host, port, cancellationToken);
        return seen with { ConnectProblem = connect, ClockAhead = await ClockAsync(httpServer, cancellationToken) };
    }

    // The Date header has whole seconds; whoever answers is not trusted with anything else.
    private async Task<TimeSpan?> ClockAsync(string httpServer, CancellationToken cancellationToken)
    {
        using var handler = new SocketsHttpHandler { SslOptions = { RemoteCertificateValidationCallback = (_, server, _, _) => server is not null }, UseProxy = false };
        using var http = new HttpClient(handler) { Timeout = s_within };
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, $"{httpServer.TrimEnd('/')}/ca.crt");
            request.Headers.CacheControl = new CacheControlHeaderValue { NoCache = true };
            using var response = await http.SendAsync(request, cancellationToken);
            return response.Headers.Date is { } date ? time.GetUtcNow() - date : null;
        }
        catch (Exception e) when (e is HttpRequestException or UriFormatException or InvalidOperationException or OperationCanceledException && !cancellationToken.IsCancellationRequested)
        {
            return null; // the network's line says what is wrong
        }
    }

    private async Task<string> AnswersAsync(string host, int port, CancellationToken cancellationToken)
    {
        using var within = new CancellationTokenSource(s_within, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(within.Token, cancellationToken);
        try
        {
            using var socket = new TcpClient();
            await socket.ConnectAsync(host, port, both.Token);
            return "";
        }
        catch (SocketException e)
        {
            return e.Message;
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return $"no answer within {s_within.TotalSeconds:0} s";
        }
    }

    private async Task<NodeObservations> RuntimeAsync(NodeObservations seen, CancellationToken cancellationToken)
    {
        try
        {
            using var cri = new CriClient(seen.RuntimeSocket, time, s_within);
            var version = await cri.VersionAsync(cancellationToken);
            return seen with { RuntimeVersion = $"{version.RuntimeName} {version.RuntimeVersion}" };
        }
        catch (Exception e) when (e is Protocol.Grpc.GrpcException or IOException or SocketException or HttpRequestException)
        {
            return seen with { RuntimeProblem = e.Message };
        }
    }

    private static NodeObservations Certificate(NodeObservations seen)
    {
        try
        {
            if (!File.Exists(seen.CertificateFile))
                return seen;
            using var certificate = X509Certificate2.CreateFromPem(File.ReadAllText(seen.CertificateFile));
            return seen with { CertificateEnds = certificate.NotAfter.ToUniversalTime() };
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            return seen with { CertificateProblem = $"{seen.CertificateFile} cannot be read: {e.Message}" };
        }
    }

    private (long, long)? Disk()
    {
        try
        {
            var disk = new DriveInfo(dataDirectory);
            return (disk.AvailableFreeSpace, disk.TotalSize);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null;
        }
    }

    private static (long, long)? Memory()
    {
        long Kilobytes(string key) => File.ReadLines("/proc/meminfo").FirstOrDefault(line => line.StartsWith(key + ":", StringComparison.Ordinal)) is { } line
            && long.TryParse(line[(key.Length + 1)..].Replace("kB", "", StringComparison.Ordinal).Trim(), out var value) ? value : 0;
        return File.Exists("/proc/meminfo") ? (Kilobytes("MemAvailable") << 10, Kilobytes("MemTotal") << 10) : null;
    }

    private static string? Database(string path)
        => File.Exists(path) ? SqliteCheck.Run(path) is var said && said == "ok" ? said : $"{path}: {said}" : null;

    private async Task<IReadOnlyList<string>> TakenAsync(JsonNode? config, CancellationToken cancellationToken)
    {
        var wanted = new List<(string Key, int Port)>
        {
            ("modules.edged.tailoredKubeletConfig.readOnlyPort", (int)config.Number(10350, "modules", "edged", "tailoredKubeletConfig", "readOnlyPort")),
            ("commonConfig.monitorServer.bindAddress", int.TryParse(config.Text("commonConfig", "monitorServer", "bindAddress").Split(':')[^1], out var monitor) ? monitor : 9092),
        };
        var taken = new List<string>();
        foreach (var (key, port) in wanted.Where(one => one.Port > 0))
        {
            if (await AnswersAsync("127.0.0.1", port, cancellationToken) is "")
                taken.Add($"{port} ({key})");
        }

        return taken;
    }
}
