using System.Buffers.Binary;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Google.Protobuf;

namespace Edge.Protocol.Grpc;

/// <summary>A gRPC client of one server, on a unix socket or over TCP without TLS: unary and server-streaming calls over HTTP/2 with prior knowledge. Calls may run
/// at the same time from any thread. The server is dialled at the first call and again after the connection broke, so a channel outlives its server.</summary>
public sealed class GrpcChannel : IDisposable
{
    private readonly HttpClient _http;
    private readonly string _socketPath;
    private readonly string _authority;
    private readonly string _userAgent;

    /// <param name="socketPath">Path of the unix socket, or <c>unix://</c> and the path.</param>
    /// <param name="time">Clock of the deadlines.</param>
    // grpc-go servers refuse an authority that is a path; "localhost" is what every gRPC stack accepts on a unix socket.
    public GrpcChannel(string socketPath, TimeProvider time)
        : this(socketPath.StartsWith("unix://", StringComparison.Ordinal) ? socketPath["unix://".Length..] : socketPath, "localhost", "edge-grpc/1.0", isUnix: true, time)
    {
    }

    private GrpcChannel(string target, string authority, string userAgent, bool isUnix, TimeProvider time)
    {
        _socketPath = target;
        _authority = authority;
        _userAgent = userAgent;
        Time = time;
        _http = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = isUnix ? ConnectAsync : null,
            EnableMultipleHttp2Connections = true,
            AllowAutoRedirect = false,
            UseCookies = false,
            UseProxy = false,
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            InitialHttp2StreamWindowSize = 1024 * 1024,
        })
        {
            Timeout = Timeout.InfiniteTimeSpan,
            DefaultRequestVersion = HttpVersion.Version20,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };
    }

    /// <summary>A channel to a server on TCP, without TLS.</summary>
    /// <param name="host">A name or an address; an IPv6 address without brackets.</param>
    /// <param name="userAgent">What the server is told of the caller.</param>
    public static GrpcChannel ToTcp(string host, int port, string userAgent, TimeProvider time)
    {
        var authority = string.Create(CultureInfo.InvariantCulture, $"{(host.Contains(':', StringComparison.Ordinal) ? $"[{host}]" : host)}:{port}");
        return new GrpcChannel(authority, authority, userAgent, isUnix: false, time);
    }

    /// <summary>The path of the socket; of a channel over TCP, host and port.</summary>
    public string SocketPath => _socketPath;

    /// <summary>Sent with every call: names in lower case, values of ASCII.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; init; } = new Dictionary<string, string>();

    private TimeProvider Time { get; }

    private static readonly Meter s_meter = new("Edge.Protocol.Grpc");

    // Method paths come from the .proto files: a bounded set.
    private static readonly Histogram<double> s_calls = s_meter.CreateHistogram<double>("edge_grpc_call_seconds", "s", "Calls over gRPC, of the container runtime (CRI) and of mappers (DMI), by method");

    /// <summary>One request, one response.</summary>
    /// <param name="path">Method path, e.g. <c>/runtime.v1.RuntimeService/Version</c>.</param>
    /// <param name="deadline">How long the call may take; sent to the peer as <c>grpc-timeout</c>. Infinite when not positive.</param>
    /// <exception cref="GrpcException">The call failed: the peer's status, or Unavailable (no connection), DeadlineExceeded,
    /// ResourceExhausted (message over 16 MiB), Internal (the peer broke the protocol).</exception>
    public async Task<TResponse> UnaryAsync<TRequest, TResponse>(
        string path, TRequest request, MessageParser<TResponse> parser, TimeSpan deadline, CancellationToken cancellationToken)
        where TRequest : IMessage
        where TResponse : IMessage<TResponse>
    {
        using var limit = Limit(deadline, cancellationToken);
        var began = Stopwatch.GetTimestamp();
        try
        {
            using var response = await SendAsync(path, request, deadline, limit.Token).ConfigureAwait(false);
            await using var body = await response.Content.ReadAsStreamAsync(limit.Token).ConfigureAwait(false);
            var message = await ReadMessageAsync(path, body, limit.Token).ConfigureAwait(false);
            if (message is null)
            {
                ThrowUnlessOk(path, response);
                throw new GrpcException(GrpcStatusCode.Internal, $"{path}: status OK without a message");
            }

            if (await ReadMessageAsync(path, body, limit.Token).ConfigureAwait(false) is not null)
                throw new GrpcException(GrpcStatusCode.Internal, $"{path}: more than one message in a unary answer");
            ThrowUnlessOk(path, response);
            return Parse(path, parser, message);
        }
        catch (Exception e) when (Translate(path, e, deadline, limit.Token, cancellationToken) is { } translated)
        {
            throw translated;
        }
        finally
        {
            s_calls.Record(Stopwatch.GetElapsedTime(began).TotalSeconds, new KeyValuePair<string, object?>("method", path));
        }
    }

    /// <summary>One request, a stream of responses that ends when the peer ends it; a status other than OK is thrown at the end.</summary>
    public async IAsyncEnumerable<TResponse> ServerStreamAsync<TRequest, TResponse>(
        string path, TRequest request, MessageParser<TResponse> parser, [EnumeratorCancellation] CancellationToken cancellationToken)
        where TRequest : IMessage
        where TResponse : IMessage<TResponse>
    {
        HttpResponseMessage response;
        Stream body;
        try
        {
            response = await SendAsync(path, request, TimeSpan.Zero, cancellationToken).ConfigureAwait(false);
            body = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (Translate(path, e, TimeSpan.Zero, cancellationToken, cancellationToken) is { } translated)
        {
            throw translated;
        }

        using (response)
        await using (body)
        {
            while (true)
            {
                byte[]? message;
                try
                {
                    message = await ReadMessageAsync(path, body, cancellationToken).ConfigureAwait(false);
                    if (message is null)
                        ThrowUnlessOk(path, response);
                }
                catch (Exception e) when (Translate(path, e, TimeSpan.Zero, cancellationToken, cancellationToken) is { } translated)
                {
                    throw translated;
                }

                if (message is null)
                    yield break;
                yield return Parse(path, parser, message);
            }
        }
    }

    public void Dispose() => _http.Dispose();

    private static TResponse Parse<TResponse>(string path, MessageParser<TResponse> parser, byte[] message)
        where TResponse : IMessage<TResponse>
    {
        try
        {
            return parser.ParseFrom(message);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new GrpcException(GrpcStatusCode.Internal, $"{path}: malformed answer: {e.Message}", e);
        }
    }

    private static async Task<byte[]?> ReadMessageAsync(string path, Stream body, CancellationToken cancellationToken)
    {
        var prefix = new byte[GrpcText.PrefixSize];
        var read = await body.ReadAtLeastAsync(prefix, prefix.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        if (read == 0)
            return null;
        if (read < prefix.Length)
            throw new GrpcException(GrpcStatusCode.Internal, $"{path}: the answer ends inside a message prefix");
        if (prefix[0] != 0)
            throw new GrpcException(GrpcStatusCode.Unimplemented, $"{path}: compressed answers are not supported");
        var length = BinaryPrimitives.ReadUInt32BigEndian(prefix.AsSpan(1));
        if (length > GrpcText.MessageSizeMax)
            throw new GrpcException(GrpcStatusCode.ResourceExhausted, $"{path}: answer of {length} bytes is over the limit of {GrpcText.MessageSizeMax}");
        var message = new byte[length];
        if (await body.ReadAtLeastAsync(message, message.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false) < message.Length)
            throw new GrpcException(GrpcStatusCode.Internal, $"{path}: the answer ends inside a message");
        return message;
    }

    // A trailers-only answer carries its status in the headers.
    private static void ThrowUnlessOk(string path, HttpResponseMessage response)
    {
        var status = Header(response.TrailingHeaders, "grpc-status") ?? Header(response.Headers, "grpc-status");
        if (status is null)
        {
            throw new GrpcException(
                GrpcStatusCode.Unknown,
                response.StatusCode == HttpStatusCode.OK ? $"{path}: the answer has no grpc-status" : $"{path}: HTTP status {(int)response.StatusCode}");
        }

        if (status == "0")
            return;
        var detail = Header(response.TrailingHeaders, "grpc-message") ?? Header(response.Headers, "grpc-message") ?? "";
        throw new GrpcException(
            int.TryParse(status, NumberStyles.None, CultureInfo.InvariantCulture, out var code) && code <= 16 ? (GrpcStatusCode)code : GrpcStatusCode.Unknown,
            GrpcText.Unescape(detail));
    }

    private static string? Header(HttpResponseHeaders headers, string name)
        => headers.NonValidated.TryGetValues(name, out var values) ? values.ToString() : null;

    private async Task<HttpResponseMessage> SendAsync(string path, IMessage request, TimeSpan deadline, CancellationToken cancellationToken)
    {
        var size = request.CalculateSize();
        if (size > GrpcText.MessageSizeMax)
            throw new GrpcException(GrpcStatusCode.ResourceExhausted, $"{path}: request of {size} bytes is over the limit of {GrpcText.MessageSizeMax}");
        var bytes = new byte[GrpcText.PrefixSize + size];
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(1), (uint)size);
        request.WriteTo(bytes.AsSpan(GrpcText.PrefixSize));
        using var message = new HttpRequestMessage(HttpMethod.Post, $"http://{_authority}{path}")
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(bytes),
        };
        message.Content.Headers.TryAddWithoutValidation("content-type", "application/grpc");
        message.Headers.TryAddWithoutValidation("te", "trailers");
        message.Headers.TryAddWithoutValidation("user-agent", _userAgent);
        foreach (var (name, value) in Metadata)
            message.Headers.TryAddWithoutValidation(name, value);
        if (deadline > TimeSpan.Zero)
            message.Headers.TryAddWithoutValidation("grpc-timeout", GrpcText.Timeout(deadline));
        return await _http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(_socketPath), cancellationToken).ConfigureAwait(false);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private CallLimit Limit(TimeSpan deadline, CancellationToken cancellationToken) => new(deadline, Time, cancellationToken);

    // Null lets the original exception through.
    private Exception? Translate(string path, Exception e, TimeSpan deadline, CancellationToken limit, CancellationToken caller) => e switch
    {
        GrpcException or OperationCanceledException when caller.IsCancellationRequested || e is GrpcException => null,
        _ when caller.IsCancellationRequested => new OperationCanceledException(e.Message, e, caller),
        _ when limit.IsCancellationRequested => new GrpcException(
            GrpcStatusCode.DeadlineExceeded, string.Create(CultureInfo.InvariantCulture, $"{path}: no answer from {_socketPath} within {deadline.TotalSeconds:0.###} s"), e),
        HttpRequestException or IOException or SocketException or OperationCanceledException => new GrpcException(
            GrpcStatusCode.Unavailable, $"{path}: {_socketPath}: {(e.InnerException ?? e).Message}", e),
        _ => null,
    };

    private sealed class CallLimit : IDisposable
    {
        private readonly CancellationTokenSource? _timer;
        private readonly CancellationTokenSource _linked;

        public CallLimit(TimeSpan deadline, TimeProvider time, CancellationToken caller)
        {
            _timer = deadline > TimeSpan.Zero ? new CancellationTokenSource(deadline, time) : null;
            _linked = CancellationTokenSource.CreateLinkedTokenSource(caller, _timer?.Token ?? CancellationToken.None);
        }

        public CancellationToken Token => _linked.Token;

        public void Dispose()
        {
            _linked.Dispose();
            _timer?.Dispose();
        }
    }
}
