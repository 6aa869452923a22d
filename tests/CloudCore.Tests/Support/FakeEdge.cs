using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Protocol.Messages;
using Edge.Transport;

namespace Edge.Cloud.Tests.Support;

/// <summary>An edge that speaks the real protocol over real sockets: enrols, connects, acks what it is told to.</summary>
internal sealed class FakeEdge : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly ClientWebSocket _socket;
    private readonly WebSocketLink _link;

    private FakeEdge(string node, ClientWebSocket socket)
    {
        Node = node;
        _socket = socket;
        var isEdgeWire = EdgeWire.Includes(socket.HttpResponseHeaders?.GetValueOrDefault(EdgeWire.Header)?.Single());
        _link = new WebSocketLink(socket, TimeProvider.System, TimeSpan.FromSeconds(10), isEdgeWire);
    }

    /// <summary>Whether CloudCore agreed to the Edge wire.</summary>
    public bool IsEdgeWire => _link.IsEdgeWire;

    public string Node { get; }

    /// <summary>Whether messages with an object are acked as they are received.</summary>
    public bool Acks { get; set; } = true;

    /// <summary>Everything received so far.</summary>
    public List<Message> Received { get; } = [];

    public static HttpClient Http(X509Certificate2? certificate = null)
    {
        // The server's identity is checked by the token's hash in a real edge; here the CA itself is what is fetched.
        var handler = new SocketsHttpHandler { SslOptions = { RemoteCertificateValidationCallback = IsKubeEdge } };
        if (certificate is not null)
            handler.SslOptions.ClientCertificates = [certificate];
        return new HttpClient(handler) { Timeout = s_patience };
    }

    private static bool IsKubeEdge(object sender, X509Certificate? certificate, X509Chain? chain, System.Net.Security.SslPolicyErrors errors)
        => certificate?.Issuer.EndsWith("CN=KubeEdge", StringComparison.Ordinal) == true && !errors.HasFlag(System.Net.Security.SslPolicyErrors.RemoteCertificateNameMismatch);

    public static byte[] Request(string node, ECDsa key, string? subject = null)
        => new CertificateRequest(subject ?? $"C=CN, O=system:nodes, L=Hangzhou, ST=Zhejiang, CN=system:node:{node}", key, HashAlgorithmName.SHA256).CreateSigningRequest();

    public static async Task<HttpResponseMessage> AskCertificateAsync(
        int port, string node, byte[] request, string? token, X509Certificate2? certificate = null)
    {
        using var http = Http(certificate);
        using var message = new HttpRequestMessage(HttpMethod.Get, $"https://127.0.0.1:{port}/edge.crt") { Content = new ByteArrayContent(request) };
        message.Headers.Add("NodeName", node);
        // Refused by its length before the body is sent.
        message.Headers.ExpectContinue = request.Length > 65_536;
        if (token is not null)
            message.Headers.Add("Authorization", $"Bearer {token}");
        return await http.SendAsync(message);
    }

    public static async Task<X509Certificate2> EnrolAsync(int port, string node, string token)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var answer = await AskCertificateAsync(port, node, Request(node, key), token);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
        using var bare = X509CertificateLoader.LoadCertificate(await answer.Content.ReadAsByteArrayAsync());
        return bare.CopyWithPrivateKey(key);
    }

    /// <summary>Connects; a refusal throws <see cref="WebSocketException"/> and leaves the status and the reason in <paramref name="refused"/>.</summary>
    public static async Task<FakeEdge> ConnectAsync(
        int port, string node, X509Certificate2 certificate, Action<int>? status = null, Action<int, string>? refused = null, bool isEdgeWire = false)
    {
        var socket = new ClientWebSocket();
        socket.Options.CollectHttpResponseDetails = true;
        socket.Options.KeepAliveInterval = TimeSpan.Zero;
        socket.Options.ClientCertificates = [certificate];
        socket.Options.RemoteCertificateValidationCallback = IsKubeEdge;
        socket.Options.SetRequestHeader("node_id", node);
        socket.Options.SetRequestHeader("project_id", "e632aba927ea4ac2b575ec1603d56f10");
        socket.Options.SetRequestHeader("ConnectionUse", "msg");
        if (isEdgeWire)
            socket.Options.SetRequestHeader(EdgeWire.Header, EdgeWire.Version);
        try
        {
            await socket.ConnectAsync(new Uri($"wss://127.0.0.1:{port}/e632aba927ea4ac2b575ec1603d56f10/{node}/events"), CancellationToken.None);
        }
        catch (WebSocketException)
        {
            status?.Invoke((int)socket.HttpStatusCode);
            refused?.Invoke((int)socket.HttpStatusCode, socket.HttpResponseHeaders?.GetValueOrDefault("X-Refused-Because")?.Single() ?? "");
            socket.Dispose();
            throw;
        }

        return new FakeEdge(node, socket);
    }

    public async Task<Message> SendAsync(string source, string group, string operation, string resource, JsonNode? content = null)
    {
        var message = Message.Create(TimeProvider.System, source, group, operation, resource, content is null ? default : Encoding.UTF8.GetBytes(content.ToJsonString()));
        await SendAsync(message);
        return message;
    }

    /// <summary>Sends bytes as a binary frame, whatever they are.</summary>
    public Task SendFrameAsync(byte[] frame) => _socket.SendAsync(frame, WebSocketMessageType.Binary, endOfMessage: true, CancellationToken.None);

    public async Task SendAsync(Message message) => await _link.SendAsync(message, CancellationToken.None);

    /// <summary>A request as edged makes it; returns the answer's content.</summary>
    public async Task<JsonNode?> AskAsync(string operation, string resource, JsonNode? content = null)
    {
        var request = await SendAsync("edged", "meta", operation, resource, content);
        var answer = await UntilAsync(message => message.ParentId == request.Id);
        Assert.Equal((Operations.Response, "resource", Sources.EdgeController, resource), (answer.Operation, answer.Group, answer.Source, answer.Resource));
        return Content(answer);
    }

    public static JsonNode? Content(Message message) => message.Content.IsEmpty ? null : JsonNode.Parse(message.Content.Span);

    public async Task<Message?> ReceiveAsync()
    {
        using var limit = new CancellationTokenSource(s_patience);
        var message = await _link.ReceiveAsync(error => Assert.Fail(error), limit.Token);
        if (message is null)
            return null;
        Received.Add(message);
        if (Acks && message.ParentId.Length == 0 && message.Group == Groups.Resource)
            await AckAsync(message);
        return message;
    }

    public ValueTask AckAsync(Message message) => _link.SendAsync(message.Response(TimeProvider.System, MessageCodec.Ok), CancellationToken.None);

    /// <summary>Reads on until a message matches, among those already received too when <paramref name="orBefore"/>.</summary>
    public async Task<Message> UntilAsync(Func<Message, bool> matches, bool orBefore = true)
    {
        if (orBefore && Received.FirstOrDefault(matches) is { } before)
            return before;
        try
        {
            while (await ReceiveAsync() is { } message)
            {
                if (matches(message))
                    return message;
            }
        }
        catch (OperationCanceledException)
        {
            Assert.Fail($"not received in time; received: {string.Join("; ", Received.Select(one => $"{one.Operation} {one.Resource}"))}");
        }

        throw new InvalidOperationException($"the cloud closed the link: {_socket.CloseStatusDescription}");
    }

    /// <summary>Asks something harmless and reads up to its answer: what the cloud sent before has then been received.</summary>
    public async Task FlushAsync() => await AskAsync(Operations.Query, $"null/node/{Node}");

    public Task<Message> UntilAsync(string operation, string resource) => UntilAsync(message => message.Operation == operation && message.Resource == resource);

    /// <summary>Reads until the cloud closes; returns the reason in the close frame, or empty when the link just broke.</summary>
    public async Task<string> UntilClosedAsync()
    {
        try
        {
            while (await ReceiveAsync() is not null)
            {
            }

            return _socket.CloseStatusDescription ?? "";
        }
        catch (LinkException)
        {
            return "";
        }
    }

    public ValueTask DisposeAsync() => _link.DisposeAsync();
}
