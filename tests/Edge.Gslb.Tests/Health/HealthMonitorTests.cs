using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Threading.Channels;
using Edge.GlobalServices.Health;
using Edge.GlobalServices.Locations;
using Edge.Local.Processes;

namespace Edge.Cloud.Gslb.Tests;

/// <summary>Checks over real sockets.</summary>
[Trait("Category", "Dns")]
public sealed class HealthMonitorTests : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private static readonly HealthCheckSpec s_fast = HealthCheckSpec.None with { IntervalMs = 100, TimeoutMs = 100, Rise = 2, Fall = 2 };

    private readonly ConcurrentDictionary<string, HealthState> _states = new();
    private readonly SemaphoreSlim _told = new(0);
    private readonly HealthMonitor _monitor;

    public HealthMonitorTests() => _monitor = new HealthMonitor(
        states =>
        {
            foreach (var (endpoint, state) in states)
                _states[endpoint] = state;
            _told.Release();
        },
        TimeProvider.System, new Random(1));

    [Fact]
    public async Task A_tcp_port_that_closes_and_opens_again_falls_and_rises()
    {
        using var lease = PortLease.Take();
        var server = new Server(_ => Task.CompletedTask, lease.Port);
        await SetAsync(Target("a", server.Port, s_fast with { Kind = CheckKind.Tcp }));
        await UntilAsync("a", state => state.Status == HealthStatus.Up);
        await server.DisposeAsync();
        await UntilAsync("a", state => state is { Status: HealthStatus.Down, Reason: "connection refused" });
        await using var again = new Server(_ => Task.CompletedTask, lease.Port);
        await UntilAsync("a", state => state.Status == HealthStatus.Up);
    }

    [Theory]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nis fine", "fine", null)]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nis bad!", "fine", "the body does not have the text that is looked for")]
    [InlineData("HTTP/1.0 503 Busy\r\n\r\n", "", "the status is 503, wanted is 200 to 399")]
    [InlineData("SSH-2.0-OpenSSH\r\n", "", "the answer is not HTTP")]
    [InlineData("", "", "the connection was closed without an answer")]
    [InlineData("HTTP/1.", "", "the answer was cut off")]
    public async Task An_http_answer_is_judged_by_status_and_body(string answer, string body, string? error)
    {
        var requests = new ConcurrentQueue<string>();
        await using var server = new Server(async stream =>
        {
            requests.Enqueue(await HeadAsync(stream));
            // A byte at a time: the answer comes in pieces.
            foreach (var one in Encoding.ASCII.GetBytes(answer))
                await stream.WriteAsync(new[] { one });
        });
        await SetAsync(Target("a", server.Port, s_fast with { Kind = CheckKind.Http, Path = "/healthz?deep=1", Host = "shop.example.com", Body = body, IntervalMs = 5_000, TimeoutMs = 5_000 }));
        await UntilAsync("a", state => state.Status is HealthStatus.Up or HealthStatus.Down);
        Assert.Equal((error is null, error ?? ""), (_states["a"].IsUp, _states["a"].Reason));
        Assert.StartsWith("GET /healthz?deep=1 HTTP/1.1\r\nHost: shop.example.com\r\n", requests.First(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(4, 2)]
    [InlineData(1, 8)]
    [InlineData(100, 1)]
    public async Task A_connection_that_stays_open_serves_as_many_checks_as_are_allowed(int checksPerConnection, int connections)
    {
        var accepted = 0;
        var asked = new ConcurrentQueue<int>();
        var enough = new TaskCompletionSource();
        await using var server = new Server(async stream =>
        {
            var number = Interlocked.Increment(ref accepted);
            while ((await HeadAsync(stream)).Length > 0)
            {
                asked.Enqueue(number);
                if (asked.Count >= 8)
                    enough.TrySetResult();
                await stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"u8.ToArray());
            }
        });
        await SetAsync(Target("a", server.Port, s_fast with { Kind = CheckKind.Http, ChecksPerConnection = checksPerConnection, TimeoutMs = 20_000, Fall = 1 }));
        await enough.Task.WaitAsync(s_patience);
        Assert.Equal(connections, asked.Take(8).Distinct().Count());
        Assert.Equal((HealthStatus.Up, 0L), (_states["a"].Status, _monitor.Counts.Failures));
    }

    // As servers do with idle connections, the second as some announce it.
    [Theory]
    [InlineData("")]
    [InlineData("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")]
    public async Task A_kept_connection_that_its_server_closes_is_no_failure(string last)
    {
        var asked = 0;
        var enough = new TaskCompletionSource();
        await using var server = new Server(async stream =>
        {
            await HeadAsync(stream);
            if (Interlocked.Increment(ref asked) == 6)
                enough.SetResult();
            await stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"u8.ToArray());
            await stream.WriteAsync(Encoding.ASCII.GetBytes(last));
        });
        await SetAsync(Target("a", server.Port, s_fast with { Kind = CheckKind.Http, ChecksPerConnection = 100, TimeoutMs = 20_000, Fall = 1 }));
        await enough.Task.WaitAsync(s_patience);
        Assert.Equal((HealthStatus.Up, 0L), (_states["a"].Status, _monitor.Counts.Failures));
    }

    // Its time was over just when the next request came.
    [Fact]
    public async Task A_kept_connection_that_is_closed_instead_of_an_answer_is_no_failure_either()
    {
        var refused = 0;
        var enough = new TaskCompletionSource();
        await using var server = new Server(async stream =>
        {
            await HeadAsync(stream);
            await stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"u8.ToArray());
            if ((await HeadAsync(stream)).Length > 0 && Interlocked.Increment(ref refused) == 3)
                enough.SetResult();
        });
        await SetAsync(Target("a", server.Port, s_fast with { Kind = CheckKind.Http, ChecksPerConnection = 100, TimeoutMs = 20_000, Fall = 1 }));
        await enough.Task.WaitAsync(s_patience);
        Assert.Equal((HealthStatus.Up, 0L), (_states["a"].Status, _monitor.Counts.Failures));
    }

    // So that 3,000 checks a second leave no 180,000 connections in TIME_WAIT; but a server that was asked nothing sees no reset, which it might take for an attack.
    [Theory]
    [InlineData(nameof(CheckKind.Http), true)]
    [InlineData(nameof(CheckKind.Tcp), false)]
    public async Task An_http_connection_that_has_served_is_reset_and_one_of_tcp_is_closed(string kind, bool isReset)
    {
        var ends = Channel.CreateUnbounded<bool>();
        await using var server = new Server(async stream =>
        {
            try
            {
                if ((await HeadAsync(stream)).Length > 0)
                {
                    await stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"u8.ToArray());
                    await HeadAsync(stream);
                }

                ends.Writer.TryWrite(false);
            }
            catch (IOException e) when (e.InnerException is SocketException { SocketErrorCode: SocketError.ConnectionReset })
            {
                ends.Writer.TryWrite(true);
            }
        });
        await SetAsync(Target("a", server.Port, s_fast with { Kind = Enum.Parse<CheckKind>(kind), ChecksPerConnection = 1, TimeoutMs = 20_000 }));
        using var patience = new CancellationTokenSource(s_patience);
        for (var i = 0; i < 3; i++)
            Assert.Equal(isReset, await ends.Reader.ReadAsync(patience.Token));
        Assert.Equal((HealthStatus.Up, 0L), (_states["a"].Status, _monitor.Counts.Failures));
    }

    [Fact]
    public async Task One_that_says_nothing_times_out_and_holds_up_no_other()
    {
        var forEver = new TaskCompletionSource();
        await using var silent = new Server(_ => forEver.Task);
        await using var well = new Server(async stream => await stream.WriteAsync("HTTP/1.1 204 None\r\n\r\n"u8.ToArray()));
        await SetAsync(Target("silent", silent.Port, s_fast with { Kind = CheckKind.Http }), Target("well", well.Port, s_fast with { Kind = CheckKind.Http, TimeoutMs = 20_000, IntervalMs = 20_000 }));
        await UntilAsync("silent", state => state is { Status: HealthStatus.Down, Reason: "timed out after 100 ms" });
        await UntilAsync("well", state => state.Status == HealthStatus.Up);
        forEver.SetResult();
    }

    [Fact]
    public async Task Https_tells_the_name_and_reads_the_answer()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var bare = new CertificateRequest("CN=shop.example.com", key, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        using var certificate = X509CertificateLoader.LoadPkcs12(bare.Export(X509ContentType.Pfx), null);
        var names = new ConcurrentQueue<string>();
        await using var server = new Server(async stream =>
        {
            await using var tls = new SslStream(stream);
            await tls.AuthenticateAsServerAsync((_, hello, _, _) =>
            {
                names.Enqueue(hello.ServerName);
                return ValueTask.FromResult(new SslServerAuthenticationOptions { ServerCertificate = certificate });
            }, null);
            await HeadAsync(tls);
            await tls.WriteAsync("HTTP/1.1 200 OK\r\n\r\nwell"u8.ToArray());
        });
        var check = s_fast with { Kind = CheckKind.Https, ServerName = "shop.example.com", Body = "well", TimeoutMs = 30_000, IntervalMs = 30_000 };
        await SetAsync(Target("any", server.Port, check), Target("verified", server.Port, check with { IsVerified = true }));
        await UntilAsync("any", state => state.Status == HealthStatus.Up);
        await UntilAsync("verified", state => state.Status == HealthStatus.Down && state.Reason.StartsWith("TLS: ", StringComparison.Ordinal));
        Assert.Contains("shop.example.com", names);
    }

    [Fact]
    public async Task A_session_that_ends_is_told_without_waiting_for_a_check()
    {
        await using var server = new Server(_ => Task.CompletedTask);
        await SetAsync(Target("a", server.Port, s_fast with { Kind = CheckKind.Tcp, IntervalMs = 600_000 }) with { Node = "edge-1" });
        await UntilAsync("a", state => state.Status == HealthStatus.Up);
        _monitor.Session("edge-1", false);
        await UntilAsync("a", state => state.Status == HealthStatus.NodeGone);
        // Back: the checks begin at once; two of them bring it back, ten minutes apart, but for the first.
        _monitor.Session("edge-1", true);
        await UntilAsync("a", state => state is { Status: HealthStatus.Down });
    }

    [Fact]
    public async Task Many_targets_are_all_checked_through_the_bounded_slots()
    {
        await using var server = new Server(async stream =>
        {
            await HeadAsync(stream);
            await stream.WriteAsync("HTTP/1.1 200 OK\r\n\r\n"u8.ToArray());
        });
        var targets = Enumerable.Range(0, 3 * HealthMonitor.AtOnceMax).Select(i => Target($"t{i}", server.Port, s_fast with { Kind = CheckKind.Http, IntervalMs = 15_000, TimeoutMs = 15_000 })).ToArray();
        await SetAsync(targets);
        foreach (var target in targets)
            await UntilAsync(target.Endpoint, state => state.Status == HealthStatus.Up);
        Assert.Equal((targets.Length, 0L), (_monitor.Targets, _monitor.Counts.Failures));
    }

    public async ValueTask DisposeAsync() => await _monitor.DisposeAsync();

    private static HealthTarget Target(string endpoint, int port, HealthCheckSpec check) => new(endpoint, Network.Mapped(0x7F00_0001), port, "", check);

    private static async Task<string> HeadAsync(Stream stream)
    {
        var (text, buffer) = (new StringBuilder(), new byte[1024]);
        while (!text.ToString().Contains("\r\n\r\n", StringComparison.Ordinal))
        {
            var read = await stream.ReadAsync(buffer);
            if (read == 0)
                break;
            text.Append(Encoding.ASCII.GetString(buffer, 0, read));
        }

        return text.ToString();
    }

    private ValueTask SetAsync(params HealthTarget[] targets) => _monitor.SetTargetsAsync(targets, CancellationToken.None);

    private async Task UntilAsync(string endpoint, Func<HealthState, bool> isWanted)
    {
        while (!_states.TryGetValue(endpoint, out var state) || !isWanted(state))
        {
            if (!await _told.WaitAsync(s_patience))
                throw new TimeoutException($"{endpoint} is {(_states.TryGetValue(endpoint, out var last) ? $"{last.Status} ({last.Reason})" : "not known")}");
        }
    }

    /// <summary>Serves each connection with a function, then closes it.</summary>
    private sealed class Server : IAsyncDisposable
    {
        private readonly TcpListener _listener;
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _loop;

        public Server(Func<Stream, Task> serve, int port = 0)
        {
            _listener = new TcpListener(IPAddress.Loopback, port);
            _listener.Start(2048);
            Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
            _loop = RunAsync(serve);
        }

        public int Port { get; }

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            _listener.Dispose();
            await _loop;
            _stop.Dispose();
        }

        private async Task RunAsync(Func<Stream, Task> serve)
        {
            try
            {
                while (true)
                {
                    var socket = await _listener.AcceptSocketAsync(_stop.Token);
                    _ = ServeAsync(serve, socket);
                }
            }
            catch (Exception e) when (_stop.IsCancellationRequested && e is (OperationCanceledException or SocketException or InvalidOperationException))
            {
                // Stopped; a listener that is closed just before it is asked again says InvalidOperation.
            }
        }

        private static async Task ServeAsync(Func<Stream, Task> serve, Socket socket)
        {
            try
            {
                await using var stream = new NetworkStream(socket, ownsSocket: true);
                await serve(stream);
            }
            catch (Exception e) when (e is IOException or System.Security.Authentication.AuthenticationException)
            {
                // The check has ended it.
            }
        }
    }
}
