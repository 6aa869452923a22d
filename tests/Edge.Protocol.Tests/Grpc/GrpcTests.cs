using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using Edge.Protocol.Grpc;
using Edge.Testing;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Protocol.Tests.Grpc;

/// <summary>Client and server against each other on a real unix socket.</summary>
[Trait("Category", "Unit")]
public sealed class GrpcTests : IDisposable
{
    private const string Echo = "/test.Service/Echo";
    private const string Fail = "/test.Service/Fail";
    private const string Hang = "/test.Service/Hang";
    private const int MessageSizeMax = 16 * 1024 * 1024;
    private static readonly TimeSpan s_net = TimeSpan.FromSeconds(30);

    private readonly TempDirectory _directory = new();
    private readonly ManualTimeProvider _time = new(DateTimeOffset.UnixEpoch);
    private readonly Logs _logs = new();
    private readonly TaskCompletionSource _hanging = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Func<Exception> _failure = () => new GrpcException(GrpcStatusCode.NotFound, "");

    private string SocketPath => _directory.File("s");

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task A_unary_call_brings_the_answer_of_its_own_request()
    {
        await using var server = await StartAsync();
        using var channel = new GrpcChannel("unix://" + SocketPath, TimeProvider.System);
        var answers = await Task.WhenAll(Enumerable.Range(0, 50).Select(i => CallAsync(channel, Echo, $"wärme {i}")));
        Assert.Equal(Enumerable.Range(0, 50).Select(i => $"wärme {i}"), answers);
        Assert.Equal("", await CallAsync(channel, Echo, ""));
    }

    [Theory]
    [InlineData("no such device")]
    [InlineData("Gerät „Heizung“ 100% weg\nzweite Zeile")]
    [InlineData("")]
    public async Task A_handlers_status_and_its_message_reach_the_caller(string detail)
    {
        _failure = () => new GrpcException(GrpcStatusCode.FailedPrecondition, detail);
        await using var server = await StartAsync();
        using var channel = new GrpcChannel(SocketPath, TimeProvider.System);
        var e = await Assert.ThrowsAsync<GrpcException>(() => CallAsync(channel, Fail, ""));
        Assert.Equal(GrpcStatusCode.FailedPrecondition, e.Code);
        Assert.Equal(detail, e.Detail);
        Assert.Empty(_logs.Lines);
    }

    [Fact]
    public async Task An_unknown_method_is_unimplemented()
    {
        await using var server = await StartAsync();
        using var channel = new GrpcChannel(SocketPath, TimeProvider.System);
        var e = await Assert.ThrowsAsync<GrpcException>(() => CallAsync(channel, "/test.Service/Missing", ""));
        Assert.Equal(GrpcStatusCode.Unimplemented, e.Code);
        Assert.Contains("/test.Service/Missing", e.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_handlers_other_exception_is_unknown_and_logged_and_the_server_goes_on()
    {
        _failure = () => new InvalidOperationException("the register is gone");
        await using var server = await StartAsync();
        using var channel = new GrpcChannel(SocketPath, TimeProvider.System);
        var e = await Assert.ThrowsAsync<GrpcException>(() => CallAsync(channel, Fail, ""));
        Assert.Equal(GrpcStatusCode.Unknown, e.Code);
        Assert.Equal("the register is gone", e.Detail);
        Assert.Contains(_logs.Lines, line => line.StartsWith("Error " + Fail, StringComparison.Ordinal) && line.Contains("the register is gone", StringComparison.Ordinal));
        Assert.Equal("still here", await CallAsync(channel, Echo, "still here"));
    }

    [Fact]
    public async Task The_callers_deadline_ends_its_wait()
    {
        await using var server = await StartAsync();
        using var channel = new GrpcChannel(SocketPath, _time);
        var call = channel.UnaryAsync(Hang, new StringValue(), StringValue.Parser, TimeSpan.FromSeconds(5), default);
        await _hanging.Task.WaitAsync(s_net);
        Assert.False(call.IsCompleted);
        _time.Advance(TimeSpan.FromSeconds(5));
        var e = await Assert.ThrowsAsync<GrpcException>(() => call.WaitAsync(s_net));
        Assert.Equal(GrpcStatusCode.DeadlineExceeded, e.Code);
        Assert.Contains("within 5 s", e.Detail, StringComparison.Ordinal);
        await _released.Task.WaitAsync(s_net);
    }

    [Fact]
    public async Task The_server_keeps_the_deadline_that_the_caller_sent()
    {
        await using var server = await StartAsync();
        using var http = Http();
        var call = PostAsync(http, Hang, Framed([]), "2S");
        await _hanging.Task.WaitAsync(s_net);
        _time.Advance(TimeSpan.FromSeconds(2));
        var (status, _) = await call.WaitAsync(s_net);
        Assert.Equal(GrpcStatusCode.DeadlineExceeded, status);
        await _released.Task.WaitAsync(s_net);
        Assert.Empty(_logs.Lines);
    }

    [Theory]
    [InlineData("5")]
    [InlineData("S")]
    [InlineData("5s")]
    [InlineData("-5S")]
    [InlineData("123456789S")]
    public async Task A_malformed_deadline_is_refused_by_name(string timeout)
    {
        await using var server = await StartAsync();
        using var http = Http();
        var (status, message) = await PostAsync(http, Echo, Framed([]), timeout);
        Assert.Equal(GrpcStatusCode.Internal, status);
        Assert.Contains($"'{timeout}'", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("99999999H")]
    [InlineData("99999999m")]
    public async Task A_deadline_of_years_is_no_error(string timeout)
    {
        await using var server = await StartAsync();
        using var http = Http();
        Assert.Equal(GrpcStatusCode.Ok, (await PostAsync(http, Echo, Framed([]), timeout)).Status);
    }

    [Fact]
    public async Task A_caller_that_gives_up_cancels_the_handler()
    {
        await using var server = await StartAsync();
        using var channel = new GrpcChannel(SocketPath, TimeProvider.System);
        using var cancel = new CancellationTokenSource();
        var call = channel.UnaryAsync(Hang, new StringValue(), StringValue.Parser, TimeSpan.Zero, cancel.Token);
        await _hanging.Task.WaitAsync(s_net);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call.WaitAsync(s_net));
        await _released.Task.WaitAsync(s_net);
        Assert.Equal("next", await CallAsync(channel, Echo, "next"));
    }

    [Fact]
    public async Task A_message_over_the_limit_is_refused_before_it_is_sent_and_one_at_the_limit_passes()
    {
        await using var server = await StartAsync();
        using var channel = new GrpcChannel(SocketPath, TimeProvider.System);
        var e = await Assert.ThrowsAsync<GrpcException>(() => CallAsync(channel, Echo, new string('x', MessageSizeMax)));
        Assert.Equal(GrpcStatusCode.ResourceExhausted, e.Code);

        // One byte of tag and four of length go before the text.
        var largest = new string('x', MessageSizeMax - 5);
        Assert.Equal(largest.Length, (await CallAsync(channel, Echo, largest)).Length);
    }

    [Fact]
    public async Task A_request_may_come_in_any_pieces()
    {
        await using var server = await StartAsync();
        using var http = Http();
        var body = Framed(new StringValue { Value = "in pieces" }.ToByteArray());
        using var request = Request(Echo, new Pieces(body));
        using var response = await http.SendAsync(request);
        Assert.Equal(body, await response.Content.ReadAsByteArrayAsync());
        Assert.Equal("0", response.TrailingHeaders.GetValues("grpc-status").Single());
    }

    [Fact]
    public async Task The_server_refuses_a_length_over_the_limit_without_reading_on()
    {
        await using var server = await StartAsync();
        using var http = Http();
        var (status, message) = await PostAsync(http, Echo, [0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3], null);
        Assert.Equal(GrpcStatusCode.ResourceExhausted, status);
        Assert.Contains("2147483647", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(new byte[] { }, GrpcStatusCode.Internal, "ends inside")]
    [InlineData(new byte[] { 0, 0, 0 }, GrpcStatusCode.Internal, "ends inside")]
    [InlineData(new byte[] { 0, 0, 0, 0, 9, 1 }, GrpcStatusCode.Internal, "ends inside")]
    [InlineData(new byte[] { 1, 0, 0, 0, 0 }, GrpcStatusCode.Unimplemented, "compressed")]
    [InlineData(new byte[] { 0, 0, 0, 0, 2, 0x0a, 0x7f }, GrpcStatusCode.Internal, "malformed request")]
    public async Task A_broken_request_is_named_and_the_server_goes_on(byte[] body, GrpcStatusCode expected, string words)
    {
        await using var server = await StartAsync();
        using var http = Http();
        var (status, message) = await PostAsync(http, Echo, body, null);
        Assert.Equal(expected, status);
        Assert.Contains(words, message, StringComparison.Ordinal);
        Assert.Equal(GrpcStatusCode.Ok, (await PostAsync(http, Echo, Framed([]), null)).Status);
    }

    [Fact]
    public async Task Without_a_server_a_call_is_unavailable_and_the_channel_outlives_its_server()
    {
        using var channel = new GrpcChannel(SocketPath, TimeProvider.System);
        Assert.Equal(GrpcStatusCode.Unavailable, (await Assert.ThrowsAsync<GrpcException>(() => CallAsync(channel, Echo, "a"))).Code);
        await using (await StartAsync())
            Assert.Equal("b", await CallAsync(channel, Echo, "b"));
        var gone = await Assert.ThrowsAsync<GrpcException>(() => CallAsync(channel, Echo, "c"));
        Assert.Equal(GrpcStatusCode.Unavailable, gone.Code);
        Assert.Contains(SocketPath, gone.Detail, StringComparison.Ordinal);
        await using (await StartAsync())
            Assert.Equal("d", await CallAsync(channel, Echo, "d"));
    }

    [Fact]
    public async Task A_server_that_goes_during_a_call_makes_it_unavailable()
    {
        // The peer accepts, reads the first bytes and closes.
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(SocketPath));
        listener.Listen();
        using var channel = new GrpcChannel(SocketPath, TimeProvider.System);
        var call = CallAsync(channel, Echo, "a");
        using (var peer = await listener.AcceptAsync().WaitAsync(s_net))
            await peer.ReceiveAsync(new byte[24]);
        var e = await Assert.ThrowsAsync<GrpcException>(() => call.WaitAsync(s_net));
        Assert.Equal(GrpcStatusCode.Unavailable, e.Code);
    }

    [Fact]
    public async Task The_socket_is_for_owner_and_group_and_replaces_a_stale_file()
    {
        await File.WriteAllTextAsync(SocketPath, "left by a server that was killed");
        File.SetUnixFileMode(SocketPath, (UnixFileMode)0b111_111_111);
        await using var server = await StartAsync();
        Assert.Equal((UnixFileMode)0b110_110_000, File.GetUnixFileMode(SocketPath));
        using var channel = new GrpcChannel(SocketPath, TimeProvider.System);
        Assert.Equal("a", await CallAsync(channel, Echo, "a"));
    }

    [Fact]
    public void The_socket_file_is_made_for_its_owner_only()
    {
        using var socket = GrpcServer.BindPrivate(new UnixDomainSocketEndPoint(SocketPath));
        Assert.Equal((UnixFileMode)0b110_000_000, File.GetUnixFileMode(SocketPath));
    }

    private static async Task<string> CallAsync(GrpcChannel channel, string path, string text)
        => (await channel.UnaryAsync(path, new StringValue { Value = text }, StringValue.Parser, s_net, default)).Value;

    private static byte[] Framed(byte[] message) => [0, 0, 0, 0, (byte)message.Length, .. message];

    private static async Task<(GrpcStatusCode Status, string Message)> PostAsync(HttpClient http, string path, byte[] body, string? timeout)
    {
        using var request = Request(path, new ByteArrayContent(body));
        if (timeout is not null)
            request.Headers.TryAddWithoutValidation("grpc-timeout", timeout);
        using var response = await http.SendAsync(request);
        await response.Content.ReadAsByteArrayAsync();
        string Trailer(string name) => response.TrailingHeaders.TryGetValues(name, out var found) ? found.Single()
            : response.Headers.TryGetValues(name, out found) ? found.Single() : "";
        return ((GrpcStatusCode)int.Parse(Trailer("grpc-status"), System.Globalization.CultureInfo.InvariantCulture), Uri.UnescapeDataString(Trailer("grpc-message")));
    }

    private static HttpRequestMessage Request(string path, HttpContent content)
    {
        content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
        return new HttpRequestMessage(HttpMethod.Post, "http://localhost" + path)
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = content,
        };
    }

    private HttpClient Http() => new(new SocketsHttpHandler
    {
        ConnectCallback = async (_, cancellationToken) =>
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(SocketPath), cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        },
    });

    private Task<GrpcServer> StartAsync()
    {
        var methods = new GrpcMethods()
            .MapUnary(Echo, StringValue.Parser, (request, _) => Task.FromResult(request))
            .MapUnary(Fail, StringValue.Parser, Task<StringValue> (_, _) => throw _failure())
            .MapUnary(Hang, StringValue.Parser, HangAsync);
        return GrpcServer.StartAsync(SocketPath, methods, _logs, default, _time);
    }

    private async Task<StringValue> HangAsync(StringValue request, CancellationToken cancellationToken)
    {
        try
        {
            _hanging.TrySetResult();
            await Task.Delay(Timeout.InfiniteTimeSpan, cancellationToken);
            return request;
        }
        finally
        {
            _released.TrySetResult();
        }
    }

    // Each byte in a frame of its own.
    private sealed class Pieces(byte[] bytes) : HttpContent
    {
        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            for (var i = 0; i < bytes.Length; i++)
            {
                await stream.WriteAsync(bytes.AsMemory(i, 1));
                await stream.FlushAsync();
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }

    private sealed class Logs : ILoggerFactory, ILogger
    {
        private readonly List<string> _lines = [];

        public IReadOnlyList<string> Lines
        {
            get
            {
                lock (_lines)
                    return [.. _lines];
            }
        }

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull
            => NullLogger.Instance.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            lock (_lines)
                _lines.Add($"{logLevel} {formatter(state, exception)} {exception?.Message}");
        }

        public void Dispose()
        {
        }
    }
}
