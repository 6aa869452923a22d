using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.Configuration;
using Edge.Cloud.SyncController;
using Edge.Common.Streaming;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudStream;

/// <summary>The kubelet's endpoint of all edge nodes, for the API servers of a real cluster (port 10003, kubeedge-wire §5.7): a request is led over the node's own connection to its local API;
/// an upgraded connection (SPDY/3.1 or WebSocket) is passed through as bytes.</summary>
internal sealed class KubeletServer : IAsyncDisposable
{
    /// <summary>Says which cloudcore passed a request on; one that carries it is not passed on again.</summary>
    public const string ForwardedHeader = "Edge-Forwarded-By";

    private const int ConnectionsMax = 1024;

    // An exec carries its command in the query.
    private const int RequestLineMax = 64 * 1024;

    private static readonly HttpRequestOptionsKey<(string Node, bool IsForwarded)> s_node = new("node");

    private readonly KubeletAccess _access;
    private readonly KubeletNodes _nodes;
    private readonly NodeSync _sync;
    private readonly IKubeClient _kube;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly HttpMessageInvoker _client;

    // With its dot in front; empty for none.
    private readonly string _domain;
    private WebEntry? _entry;

    private KubeletServer(KubeletAccess access, KubeletNodes nodes, NodeSync sync, IKubeClient kube, string domain, TimeProvider time, ILogger logger)
    {
        _domain = domain.Length > 0 ? "." + domain : "";
        (_access, _nodes, _sync, _kube, _time, _logger) = (access, nodes, sync, kube, time, logger);
        _client = NodeRelay.Client((context, cancellationToken) =>
        {
            context.InitialRequestMessage.Options.TryGetValue(s_node, out var to);
            return _nodes.OpenAsync(to.Node, to.IsForwarded, cancellationToken);
        });
    }

    public int Port => _entry?.Port ?? 0;

    /// <exception cref="CloudCoreException">The port is in use, or a certificate cannot be used or found; the message names the key.</exception>
    /// <exception cref="KubeException">The cluster does not tell its client CA.</exception>
    public static async Task<KubeletServer> StartAsync(
        CloudStreamOptions options, NodeStreams streams, NodeSync sync, HubCertificates certificates, IKubeClient kube, TimeProvider time, ILoggerFactory loggers,
        CancellationToken cancellationToken)
    {
        var logger = loggers.CreateLogger("Edge.Cloud.CloudStream");
        var (pem, origin) = await AuthoritiesAsync(options, kube, cancellationToken);
        var access = new KubeletAccess(pem, origin, [.. options.ClientNames], certificates, time);
        var server = new KubeletServer(access, new KubeletNodes(streams, sync, certificates, time), sync, kube, options.NodeDomain, time, logger);
        try
        {
            await server.ListenAsync(options, certificates, loggers, cancellationToken);
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }

        CloudStreamLog.Serving(logger, server.Port, origin);
        return server;
    }

    public async ValueTask DisposeAsync()
    {
        if (_entry is not null)
            await _entry.DisposeAsync();

        _client.Dispose();
        _nodes.Dispose();
        _access.Dispose();
    }

    private static async Task<(string Pem, string Origin)> AuthoritiesAsync(CloudStreamOptions options, IKubeClient kube, CancellationToken cancellationToken)
    {
        if (options.ClientCaFile.Length > 0)
        {
            try
            {
                return (await File.ReadAllTextAsync(options.ClientCaFile, cancellationToken), options.ClientCaFile);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new CloudCoreException($"modules.cloudStream.tlsStreamCAFile {options.ClientCaFile} cannot be read: {e.Message}; it holds the CA of the API server's client certificate towards kubelets", e);
            }
        }

        const string name = "extension-apiserver-authentication";
        var map = await kube.TryGetAsync(ResourceKind.ConfigMap, "kube-system", name, cancellationToken);
        return map.Text("data", "client-ca-file") is { Length: > 0 } pem ? (pem, $"ConfigMap kube-system/{name}")
            : throw new CloudCoreException($"modules.cloudStream is on, and the cluster does not tell its client CA (ConfigMap kube-system/{name}, client-ca-file): name a file with it in modules.cloudStream.tlsStreamCAFile");
    }

    private async Task ListenAsync(CloudStreamOptions options, HubCertificates certificates, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var own = OwnCertificate(options);
        _entry = await WebEntry.StartAsync(
            options.Listen,
            limits =>
            {
                limits.MaxConcurrentConnections = ConnectionsMax;
                limits.MaxConcurrentUpgradedConnections = ConnectionsMax;
                limits.MaxRequestLineSize = RequestLineMax;
                limits.MaxRequestBufferSize = RequestLineMax * 2;
                // Who follows a log may pause as long as he likes.
                limits.MinResponseDataRate = null;
            },
            new TlsHandshakeCallbackOptions
            {
                // A peer knows the hub's CA alone; it asks under a name of its own.
                OnConnection = context => ValueTask.FromResult(own is null || context.ClientHelloInfo.ServerName == KubeletAccess.PeerName ? certificates.TlsOptions() : With(own)),
            },
            ServeAsync,
            _time,
            loggers,
            cancellationToken);
    }

    private static SslStreamCertificateContext? OwnCertificate(CloudStreamOptions options)
    {
        if (options.CertificateFile.Length == 0)
            return null;
        try
        {
            return SslStreamCertificateContext.Create(X509Certificate2.CreateFromPemFile(options.CertificateFile, options.KeyFile), additionalCertificates: null, offline: true);
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new CloudCoreException($"modules.cloudStream.tlsStreamCertFile {options.CertificateFile} and tlsStreamPrivateKeyFile cannot be used: {e.Message}", e);
        }
    }

    private static SslServerAuthenticationOptions With(SslStreamCertificateContext own) => new()
    {
        ServerCertificateContext = own,
        ClientCertificateRequired = true,
        EnabledSslProtocols = System.Security.Authentication.SslProtocols.Tls12 | System.Security.Authentication.SslProtocols.Tls13,
        CertificateChainPolicy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true },
#pragma warning disable CA5359 // judged when the request is read, so that who is refused is told why
        RemoteCertificateValidationCallback = static (_, _, _, _) => true,
#pragma warning restore CA5359
    };

    private async Task ServeAsync(HttpContext context)
    {
        var node = "";
        try
        {
            var caller = _access.Check(context.Connection.ClientCertificate, out var code, out var reason);
            if (caller == KubeletCaller.Refused)
            {
                CloudStreamLog.Refused(_logger, context.Connection.RemoteIpAddress?.ToString() ?? "", context.Request.Path.Value ?? "", reason);
                await Respond.TextAsync(context, code, reason);
                return;
            }

            if (KubeletRequest.Read(context.Request.Method, context.Request.Path.Value ?? "", out code, out reason) is not { } request)
            {
                await Respond.TextAsync(context, code, reason);
                return;
            }

            if (request.Verb == "healthz")
            {
                await Respond.TextAsync(context, 200, "ok");
                return;
            }

            node = await NodeOfAsync(request, context.Request.Host.Host, context.RequestAborted);
            if (request.Verb == "pods")
                await PodsAsync(context, node);
            else
                await PassAsync(context, request, node, caller == KubeletCaller.Peer);
        }
        catch (KubeletRefusal e) when (!context.Response.HasStarted)
        {
            await Respond.TextAsync(context, e.Code, e.Message);
        }
        catch (HttpRequestException e) when (!context.Response.HasStarted)
        {
            CloudStreamLog.NotReached(_logger, node, (e.InnerException ?? e).Message);
            await Respond.TextAsync(context, StatusCodes.Status503ServiceUnavailable, (e.InnerException ?? e).Message);
        }
        catch (KubeException e) when (!context.Response.HasStarted)
        {
            await Respond.TextAsync(context, StatusCodes.Status502BadGateway, $"the Kubernetes API: {e.Message}");
        }
        catch (Exception e) when (e is IOException or HttpRequestException or OperationCanceledException or Microsoft.AspNetCore.Connections.ConnectionResetException)
        {
            // In the middle of an answer: the caller sees its connection end, not an answer that looks whole.
            context.Abort();
        }
    }

    // A pod says its node; a request without one is about the node whose name or address was dialed.
    private async Task<string> NodeOfAsync(KubeletRequest request, string host, CancellationToken cancellationToken)
    {
        if (request.Pod.Length == 0)
        {
            if (_sync.Node(host) is not null)
                return host;
            // Host names come in any case; nodes have none but lower.
            if (_domain.Length > 0 && host.ToLowerInvariant() is var name && name.EndsWith(_domain, StringComparison.Ordinal) && _sync.Node(name[..^_domain.Length]) is not null)
                return name[..^_domain.Length];
            return _sync.NodeAt(host) ?? throw new KubeletRefusal(404, $"no edge node has the name or address '{host}', which this request is for; where all nodes carry one address, only requests about pods can be led on, and these by names of modules.cloudStream.nodeDomain");
        }

        var pod = _sync.Pod(request.Namespace, request.Pod) ?? await _kube.TryGetAsync(ResourceKind.Pod, request.Namespace, request.Pod, cancellationToken);
        if (pod is null || (request.Uid.Length > 0 && pod.Uid() != request.Uid))
            throw new KubeletRefusal(404, $"pod {request.Namespace}/{request.Pod} does not exist");
        var node = pod.Text("spec", "nodeName");
        return node.Length > 0 && _sync.Node(node) is not null ? node : throw new KubeletRefusal(404, $"pod {request.Namespace}/{request.Pod} is not on an edge node");
    }

    private async Task PodsAsync(HttpContext context, string node)
    {
        var pods = await _kube.ListAsync(ResourceKind.Pod, null, new ListOptions(FieldSelector: $"spec.nodeName={node}"), context.RequestAborted);
        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(
            new JsonObject { ["kind"] = "PodList", ["apiVersion"] = "v1", ["metadata"] = new JsonObject(), ["items"] = new JsonArray([.. pods.Items.Select(pod => pod.DeepClone())]) }.ToJsonString(),
            context.RequestAborted);
    }

    private async Task PassAsync(HttpContext context, KubeletRequest asked, string node, bool isForwarded)
    {
        // The node takes the summary with its query alone.
        var query = context.Request.QueryString.Value is { Length: > 0 } given ? given : asked.Verb == "stats" ? "?" : "";
        using var request = NodeRelay.Request(context.Request.Method, node, asked.Target + query);
        request.Options.Set(s_node, (node, isForwarded));
        if (!isForwarded)
            request.Headers.TryAddWithoutValidation(ForwardedHeader, _sync.Identity?.Id ?? "cloudcore");
        IHttpUpgradeFeature? upgrade = null;
        if (asked.IsStream)
        {
            upgrade = NodeRelay.AskUpgrade(context, request) ?? throw new KubeletRefusal(400, "this path wants an upgraded connection: SPDY/3.1 or a WebSocket");
            CloudStreamLog.Stream(_logger, asked.Verb, $"{asked.Namespace}/{asked.Pod}", node, context.Connection.ClientCertificate!.Subject);
        }

        using var answer = await _client.SendAsync(request, context.RequestAborted);
        context.Response.StatusCode = (int)answer.StatusCode;
        if (answer.StatusCode == HttpStatusCode.SwitchingProtocols)
        {
            await NodeRelay.JoinAsync(context, upgrade ?? throw new KubeletRefusal(502, $"node \"{node}\" changed the protocol unasked"), answer, _time);
            return;
        }

        context.Response.ContentType = answer.Content.Headers.ContentType?.ToString();
        context.Response.ContentLength = answer.Content.Headers.ContentLength;
        await NodeRelay.CopyBodyAsync(context, answer);
    }

    private sealed class KubeletRefusal(int code, string message) : Exception(message)
    {
        public int Code => code;
    }
}
