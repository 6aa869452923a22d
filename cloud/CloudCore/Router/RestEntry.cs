using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.Configuration;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.Router;

/// <summary>Takes HTTP requests <c>/&lt;node&gt;/&lt;namespace&gt;/&lt;path&gt;</c> for edges (kubeedge-wire §6).</summary>
internal sealed class RestEntry : IAsyncDisposable
{
    public const string TokenSecret = "routertoken";

    /// <summary>Largest body, bytes; KubeEdge's limit.</summary>
    public const int BodyMax = 12 << 20;

    // Requests at once; their bodies are in memory.
    private const int RequestsMax = 64;

    private const int ConnectionsMax = 1024;

    private readonly RouterService _router;
    private readonly RouterOptions _options;
    private readonly HubCertificates _certificates;
    private readonly SemaphoreSlim _turns = new(RequestsMax);
    private volatile byte[] _token = [];
    private WebEntry? _entry;

    private RestEntry(RouterService router, RouterOptions options, HubCertificates certificates)
    {
        _router = router;
        _options = options;
        _certificates = certificates;
    }

    public int Port => _entry?.Port ?? 0;

    /// <exception cref="CloudCoreException">The port is in use, or the address is not this machine's.</exception>
    public static async Task<RestEntry> StartAsync(
        RouterService router, RouterOptions options, HubCertificates certificates, IKubeClient kube, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var entry = new RestEntry(router, options, certificates);
        if (!options.IsInsecure)
            entry.SecretChanged(await TokenAsync(kube, cancellationToken));
        entry._entry = await WebEntry.StartAsync(
            options.Listen,
            limits =>
            {
                limits.MaxRequestBodySize = BodyMax;
                limits.MaxConcurrentConnections = ConnectionsMax;
            },
            options.IsInsecure ? null : new TlsHandshakeCallbackOptions { OnConnection = _ => ValueTask.FromResult(certificates.TlsOptions()) },
            entry.ServeAsync,
            TimeProvider.System,
            loggers,
            cancellationToken);
        var logger = loggers.CreateLogger("Edge.Cloud.Router");
        RouterLog.Serving(logger, entry.Port, options.IsInsecure ? "HTTP" : "HTTPS");
        if (options.IsInsecure)
            RouterLog.Insecure(logger, entry.Port);
        return entry;
    }

    /// <summary>The Secret kubeedge/routertoken as it is now: its token is asked for from now on.</summary>
    public void SecretChanged(JsonObject secret)
    {
        var text = secret.Text("data", "token");
        var bytes = new byte[text.Length];
        // An empty one would let in whoever sends an empty one; with none nobody comes in by a token.
        _token = Convert.TryFromBase64String(text, bytes, out var length) ? Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(bytes, 0, length).Trim()) : [];
    }

    public async ValueTask DisposeAsync()
    {
        if (_entry is not null)
            await _entry.DisposeAsync();

        _turns.Dispose();
    }

    private static async Task<JsonObject> TokenAsync(IKubeClient kube, CancellationToken cancellationToken)
    {
        while (true)
        {
            if (await kube.TryGetAsync(ResourceKind.Secret, CertificateStore.Namespace, TokenSecret, cancellationToken) is { } there)
                return there;
            var token = Encoding.UTF8.GetBytes(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(32)));
            try
            {
                return await kube.CreateAsync(ResourceKind.Secret, CertificateStore.Namespace, new JsonObject
                {
                    ["apiVersion"] = "v1",
                    ["kind"] = "Secret",
                    ["metadata"] = new JsonObject { ["name"] = TokenSecret, ["namespace"] = CertificateStore.Namespace },
                    ["type"] = "Opaque",
                    ["data"] = new JsonObject { ["token"] = Convert.ToBase64String(token) },
                }, cancellationToken);
            }
            catch (KubeException e) when (e.Code == 409)
            {
                // Another cloudcore made it at the same moment.
            }
        }
    }

    private async Task ServeAsync(HttpContext context)
    {
        if (!_options.IsInsecure && !IsAllowed(context))
        {
            context.Response.Headers.WWWAuthenticate = "Bearer";
            await ReplyAsync(context, HttpReply.Text(401, $"send 'Authorization: Bearer <token>' with the token of the Secret {CertificateStore.Namespace}/{TokenSecret}, or a client certificate of this cloud's CA"));
            return;
        }

        if (RestPath.Read(context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget, out var refusal) is not { } path)
        {
            await ReplyAsync(context, refusal!);
            return;
        }

        if (!_router.IsRead)
        {
            context.Response.Headers.RetryAfter = "1";
            await ReplyAsync(context, HttpReply.Text(503, RouterService.NotRead));
            return;
        }

        if (_router.FindRest(path.Namespace, path.Rest) is not var (route, rest))
        {
            await ReplyAsync(context, RestPath.NoRule);
            return;
        }

        if (!await _turns.WaitAsync(TimeSpan.Zero, context.RequestAborted))
        {
            context.Response.Headers.RetryAfter = "1";
            await ReplyAsync(context, HttpReply.Text(503, $"{RequestsMax} requests for edges are under way"));
            return;
        }

        try
        {
            await ForwardAsync(context, path.Node, route, rest);
        }
        finally
        {
            _turns.Release();
        }
    }

    private async Task ForwardAsync(HttpContext context, string node, Route route, string rest)
    {
        try
        {
            using var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body, context.RequestAborted);
            // Ours is for us alone.
            var headers = context.Request.Headers.Where(header => _options.IsInsecure || !header.Key.Equals("Authorization", StringComparison.OrdinalIgnoreCase))
                .SelectMany(header => header.Value.Select(value => KeyValuePair.Create(header.Key, value ?? "")));
            var call = new HttpCall(context.Request.Method, rest, context.Request.QueryString.Value ?? "", [.. headers], body.ToArray());
            await ReplyAsync(context, await _router.ForwardAsync(node, route, call, _options.RestTimeout, context.RequestAborted));
        }
        catch (Microsoft.AspNetCore.Http.BadHttpRequestException e)
        {
            await ReplyAsync(context, HttpReply.Text(e.StatusCode, e.StatusCode == 413 ? $"the body is larger than {BodyMax} bytes" : e.Message));
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // Nobody waits any more.
        }
    }

    private bool IsAllowed(HttpContext context)
    {
        var token = _token;
        var sent = context.Request.Headers.Authorization.ToString();
        if (token.Length > 0 && sent.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase) && CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(sent[7..].Trim()), token))
            return true;
        // A node may not send to other nodes in the cloud's name.
        return context.Connection.ClientCertificate is { } certificate && _certificates.Refuse(certificate) is null && NodeName.Of(certificate) is null;
    }

    private static async Task ReplyAsync(HttpContext context, HttpReply reply)
    {
        context.Response.StatusCode = reply.Status;
        foreach (var group in reply.Headers.GroupBy(header => header.Key, StringComparer.OrdinalIgnoreCase))
            context.Response.Headers[group.Key] = group.Select(header => header.Value).ToArray();
        if (reply.Status is 204 or 304 or < 200)
            return;
        context.Response.ContentLength = reply.Body.Length;
        if (!HttpMethods.IsHead(context.Request.Method))
            await context.Response.Body.WriteAsync(reply.Body, context.RequestAborted);
    }
}
