using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Local.Processes;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Edge.Transport;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Edge.Core.Tests;

/// <summary>A small cloud on a real TLS socket with its own CA: enrolment and hub on one port, speaking what kubeedge-wire §1, §2.7 and §3.2 say.</summary>
internal sealed class FakeCloud : IAsyncDisposable
{
    private readonly X509Certificate2Collection _chain = [];
    private readonly List<X509Certificate2> _trusted = [];
    private ECDsa _caKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private X509Certificate2 _server;
    private readonly Channel<Message> _received = Channel.CreateUnbounded<Message>();
    private readonly Channel<HubConnect> _connects = Channel.CreateUnbounded<HubConnect>();
    private readonly List<Message> _seen = [];
    private readonly PortLease _port = PortLease.Take();
    private WebApplication? _app;
    private ILink? _link;
    private volatile HttpContext? _context;

    public FakeCloud()
    {
        Ca = SelfSigned("CN=KubeEdge", _caKey);
        _trusted.Add(Ca);
        _server = IssueServer();
    }

    public X509Certificate2 Ca { get; private set; }

    /// <summary>Takes a new CA, which the one before has signed; for the next <see cref="StartAsync"/>. Both stay trusted for nodes.</summary>
    public void RollOver()
    {
        var (former, formerKey) = (Ca, _caKey);
        _caKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        Ca = SelfSigned("OU=2, CN=KubeEdge", _caKey);
        var request = new CertificateRequest(Ca.SubjectName, _caKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        _chain.Add(request.Create(former.SubjectName, X509SignatureGenerator.CreateForECDsa(formerKey), former.NotBefore, former.NotAfter, [3]));
        _trusted.Insert(0, Ca);
        _server = IssueServer();
        Bundle = string.Join('\n', _trusted.Select(one => one.ExportCertificatePem()));
    }

    private static X509Certificate2 SelfSigned(string subject, ECDsa key)
    {
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddYears(10));
    }

    private X509Certificate2 IssueServer()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var server = new CertificateRequest("O=KubeEdge, CN=KubeEdge", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        server.CertificateExtensions.Add(names.Build());
        using var signed = server.Create(Ca.SubjectName, X509SignatureGenerator.CreateForECDsa(_caKey), DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddYears(5), [1]);
        using var both = signed.CopyWithPrivateKey(key);
        return X509CertificateLoader.LoadPkcs12(both.Export(X509ContentType.Pkcs12), null);
    }

    public int Port => _port.Port;

    public string Bearer { get; set; } = "eyJ.eyJ.sig";

    public string Token => $"{Convert.ToHexStringLower(SHA256.HashData(Ca.RawData))}.{Bearer}";

    /// <summary>Validity of the certificates it issues, as times from now.</summary>
    public (TimeSpan From, TimeSpan To) Validity { get; set; } = (TimeSpan.FromDays(-1), TimeSpan.FromDays(365));

    /// <summary>True for an Edge CloudCore; false for a stock one, which knows nothing of the header.</summary>
    public bool EdgeWire { get; init; }

    /// <summary>The content of the answer to an inventory's digest.</summary>
    public Func<InventoryDigest, string> AnswerDigest { get; set; } = _ => "\"OK\"";

    /// <summary>HTTP status for hub connections; 0 accepts.</summary>
    public int Refuse { get; set; }

    /// <summary>What a refusal says in its header; empty for a cloud that does not say.</summary>
    public string RefusedBecause { get; set; } = "";

    /// <summary>Answers a message from the edge; the default is a well-behaved Kubernetes behind the cloud.</summary>
    public Func<Message, Message?>? Answer { get; set; }

    public ConcurrentDictionary<string, JsonObject> Objects { get; } = new();

    /// <summary>What /ca-bundle.crt gives; empty for a cloud without that page.</summary>
    public string Bundle { get; set; } = "";

    /// <summary>Renewals wait for this.</summary>
    public Task RenewalsOpen { get; set; } = Task.CompletedTask;

    /// <summary>HTTP status for requests that come with a certificate to renew; 0 renews.</summary>
    public int RefuseRenewal { get; set; }

    /// <summary>Which certificates are taken: others get 401 at enrolment and 403 at the hub.</summary>
    public Func<X509Certificate2, bool> Accepts { get; set; } = _ => true;

    public int Enrolments { get; private set; }

    public int Renewals { get; private set; }

    /// <summary>Headers of each hub connection.</summary>
    public ChannelReader<HubConnect> Connects => _connects.Reader;

    public async Task StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.Configure<Microsoft.Extensions.Hosting.HostOptions>(options => options.ShutdownTimeout = TimeSpan.FromMilliseconds(100));
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, Port, listen => listen.UseHttps(new HttpsConnectionAdapterOptions
        {
            ServerCertificate = _server,
            ServerCertificateChain = _chain,
            ClientCertificateMode = ClientCertificateMode.AllowCertificate,
            ClientCertificateValidation = (certificate, _, _) => _trusted.Any(ca => NodeIdentityAccess.IsIssuedBy(ca, certificate)),
        })));
        _app = builder.Build();
        _app.UseWebSockets();
        _app.Run(ServeAsync);
        await _app.StartAsync();
    }

    /// <summary>Stops listening and cuts the connection; <see cref="StartAsync"/> brings it back.</summary>
    public async Task StopAsync()
    {
        Cut();
        if (_app is not null)
        {
            await _app.StopAsync();
            await _app.DisposeAsync();
            _app = null;
        }
    }

    public void Cut()
    {
        lock (_seen)
            _context?.Abort();
    }

    public Task SendAsync(Message message) => _link!.SendAsync(message, CancellationToken.None).AsTask();

    public Task SendAsync(IReadOnlyList<Message> messages) => _link!.SendAsync(messages, CancellationToken.None).AsTask();

    /// <summary>Sends where there is a connection; one that just broke takes the message with it.</summary>
    public async Task TrySendAsync(Message message)
    {
        try
        {
            if (_link is { } link)
                await link.SendAsync(message, CancellationToken.None);
        }
        catch (Exception e) when (e is LinkException or ObjectDisposedException)
        {
            // gone meanwhile
        }
    }

    public static Message Down(string operation, string resource, string content, string version = "", string source = Sources.EdgeController) => Message.Create(
        TimeProvider.System, source, Groups.Resource, operation, resource, Encoding.UTF8.GetBytes(content), version);

    /// <summary>The next message that fits; others before it are kept in <see cref="Seen"/>. Fails after 20 s with what was seen.</summary>
    public async Task<Message> NextAsync(Func<Message, bool> fits, string what)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        try
        {
            while (true)
            {
                var message = await _received.Reader.ReadAsync(deadline.Token);
                if (fits(message))
                    return message;
            }
        }
        catch (OperationCanceledException)
        {
            lock (_seen)
                throw new TimeoutException($"no {what}; seen: {string.Join(" | ", _seen.Select(one => $"{one.Operation} {one.Resource} <{one.ParentId}>"))}");
        }
    }

    public IReadOnlyList<Message> Seen()
    {
        lock (_seen)
            return [.. _seen];
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _port.Dispose();
        _caKey.Dispose();
        _server.Dispose();
        foreach (var one in _trusted.Concat(_chain))
            one.Dispose();
    }

    private async Task ServeAsync(HttpContext context)
    {
        switch (context.Request.Path.Value)
        {
            case "/ca.crt":
                await context.Response.Body.WriteAsync(Ca.RawData);
                return;
            case "/ca-bundle.crt":
                // A stock cloud has no such page.
                context.Response.StatusCode = Bundle.Length > 0 ? 200 : 404;
                await context.Response.WriteAsync(Bundle);
                return;
            case "/edge.crt":
                await IssueAsync(context);
                return;
        }

        await _connects.Writer.WriteAsync(new HubConnect(
            context.Request.Path.Value ?? "", context.Request.Headers.ToDictionary(header => header.Key, header => header.Value.ToString(), StringComparer.OrdinalIgnoreCase),
            context.Connection.ClientCertificate?.Subject ?? ""));
        if (Refuse != 0 || context.Connection.ClientCertificate is null || !Accepts(context.Connection.ClientCertificate))
        {
            context.Response.StatusCode = Refuse == 0 ? 403 : Refuse;
            if (RefusedBecause.Length > 0)
                context.Response.Headers["X-Refused-Because"] = RefusedBecause;
            return;
        }

        _context = context;
        var edgeWire = EdgeWire && Edge.Protocol.Messages.EdgeWire.Includes(context.Request.Headers[Edge.Protocol.Messages.EdgeWire.Header]);
        if (edgeWire)
            context.Response.Headers[Edge.Protocol.Messages.EdgeWire.Header] = Edge.Protocol.Messages.EdgeWire.Version;
        await using var link = new WebSocketLink(await context.WebSockets.AcceptWebSocketAsync(), TimeProvider.System, TimeSpan.FromSeconds(15), edgeWire);
        _link = link;
        try
        {
            while (await link.ReceiveAsync(error => throw new InvalidDataException(error), CancellationToken.None) is { } message)
            {
                lock (_seen)
                    _seen.Add(message);
                await _received.Writer.WriteAsync(message);
                if ((Answer ?? DefaultAnswer)(message) is { } answer)
                    await link.SendAsync(answer, CancellationToken.None);
            }
        }
        catch (Exception e) when (e is LinkException or OperationCanceledException)
        {
            // cut by the test or closed by the edge
        }
        finally
        {
            // The context is pooled: it must not be touched once this method has returned.
            lock (_seen)
            {
                if (_context == context)
                    _context = null;
            }
        }
    }

    private async Task IssueAsync(HttpContext context)
    {
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body);
        var renewal = context.Connection.ClientCertificate is not null && context.Request.Headers.Authorization.Count == 0;
        if (renewal)
            await RenewalsOpen.WaitAsync(context.RequestAborted);
        if (renewal && (RefuseRenewal != 0 || !Accepts(context.Connection.ClientCertificate!)))
        {
            context.Response.StatusCode = RefuseRenewal == 0 ? 401 : RefuseRenewal;
            await context.Response.WriteAsync("the client certificate is not accepted");
            return;
        }

        if (!renewal && context.Request.Headers.Authorization != $"Bearer {Bearer}")
        {
            context.Response.StatusCode = 401;
            await context.Response.WriteAsync("Invalid authorization token");
            return;
        }

        if (renewal)
            Renewals++;
        else
            Enrolments++;
        var csr = CertificateRequest.LoadSigningRequest(body.ToArray(), HashAlgorithmName.SHA256);
        var serial = RandomNumberGenerator.GetBytes(8);
        using var certificate = csr.Create(Ca.SubjectName, X509SignatureGenerator.CreateForECDsa(_caKey), DateTimeOffset.UtcNow + Validity.From, DateTimeOffset.UtcNow + Validity.To, serial);
        await context.Response.Body.WriteAsync(certificate.RawData);
    }

    public Message? DefaultAnswer(Message message)
    {
        if (EdgeWire)
        {
            switch (message)
            {
                case { Operation: Operations.Keepalive }:
                    return message;
                case { Operation: Operations.Get, Resource: InventoryMessages.DigestResource }:
                    return Reply(message, AnswerDigest(InventoryMessages.ReadDigest(message.Content, out _)!));
                case { Operation: Operations.Get, Resource: InventoryMessages.PartResource }:
                case { Operation: Operations.Insert } when message.Group == Groups.User || message.Resource.Contains("/event/", StringComparison.Ordinal):
                    return Reply(message, "\"OK\"");
                case { Operation: Operations.Patch, Group: Groups.Meta } when message.Resource.Contains("/lease/", StringComparison.Ordinal):
                    return Reply(message, Objects.ContainsKey(message.Resource) ? "\"OK\"" : Failure("NotFound", 404));
            }
        }

        if (message.Operation is Operations.Response or Operations.Error or Operations.Keepalive || message.Source == Sources.MetaManager)
            return null;
        if (message.Group != Groups.Meta)
            return message.Source == Sources.Twin ? Reply(message, "\"OK\"") with { Group = Groups.Twin, Resource = "twin", Source = Sources.DeviceController } : null;
        var path = ResourcePath.TryParse(message.Resource, out var parsed) ? parsed : default;
        var present = Objects.TryGetValue(message.Resource, out var obj);
        switch (message.Operation)
        {
            case Operations.Insert when path.Type == ResourceTypes.Event:
                return null;
            case Operations.Insert when present:
                return Reply(message, Failure("AlreadyExists", 409));
            case Operations.Insert:
                obj = (JsonObject)JsonNode.Parse(message.Content.Span)!;
                obj["metadata"]!["uid"] = Guid.NewGuid().ToString();
                obj["metadata"]!["resourceVersion"] = "1";
                Objects[message.Resource] = obj;
                return Reply(message, Wrap(obj));
            case Operations.Query when path.Type == ResourceTypes.Lease:
                return Reply(message, present ? Wrap(obj!) : Failure("NotFound", 404));
            case Operations.Query:
                return Reply(message, present ? obj!.ToJsonString() : Failure("NotFound", 404)) with { ResourceVersion = obj?["metadata"]?["resourceVersion"]?.ToString() ?? "" };
            case Operations.Update when path.Type == ResourceTypes.Lease:
                obj = (JsonObject)JsonNode.Parse(message.Content.Span)!;
                obj["metadata"]!["resourceVersion"] = $"{int.Parse(obj["metadata"]!["resourceVersion"]!.ToString(), null) + 1}";
                Objects[message.Resource] = obj;
                return Reply(message, Wrap(obj));
            case Operations.Patch when path.Type == ResourceTypes.NodePatch && !Objects.ContainsKey($"null/node/{path.Name}"):
                return Reply(message, Failure("NotFound", 404));
            default:
                return Reply(message, path.Type is ResourceTypes.NodePatch or ResourceTypes.PodPatch ? "{\"Object\":{\"metadata\":{\"name\":\"x\"}},\"Err\":null}" : "\"OK\"");
        }
    }

    public static Message Reply(Message message, string content)
        => message.Response(TimeProvider.System, Encoding.UTF8.GetBytes(content)) with { Source = Sources.EdgeController, Group = Groups.Resource };

    public static string Failure(string reason, int code)
        => $$$"""{"Object":null,"Err":{"ErrStatus":{"metadata":{},"status":"Failure","message":"it is {{{reason}}}","reason":"{{{reason}}}","code":{{{code}}} } } }""";

    private static string Wrap(JsonObject obj) => new JsonObject { ["Object"] = obj.DeepClone(), ["Err"] = null }.ToJsonString();
}

/// <summary>What a hub connection came with.</summary>
internal sealed record HubConnect(string Path, IReadOnlyDictionary<string, string> Headers, string Subject);

/// <summary>Chain check for the fake's side.</summary>
internal static class NodeIdentityAccess
{
    public static bool IsIssuedBy(X509Certificate2 ca, X509Certificate2 certificate) => Edge.Core.EdgeHub.NodeIdentity.IsTrusted(ca, certificate, SslPolicyErrors.None);
}
