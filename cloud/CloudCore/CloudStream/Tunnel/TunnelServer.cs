using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Edge.Cloud.CloudHub;
using Edge.Cloud.CloudHub.Certificates;
using Edge.Cloud.Configuration;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.CloudStream.Tunnel;

/// <summary>KubeEdge's tunnel (port 10004, kubeedge-wire §5.7): a stock edge with edgeStream on dials it with its certificate and keeps it, and logs, exec, attach and metrics of its pods go
/// over it. Edge's own edgecore does without.</summary>
internal sealed class TunnelServer : IAsyncDisposable
{
    /// <summary>Where an edge dials.</summary>
    public const string Path = "/v1/kubeedge/connect";

    /// <summary>The header with the node's name.</summary>
    public const string NodeHeader = "SessionHostNameOverride";

    // As many as a hub has nodes: each node keeps one.
    private const int TunnelsMax = 20_000;

    // RFC 6455 §1.3.
    private const string AcceptGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    private readonly ConcurrentDictionary<string, TunnelSession> _sessions = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _stop = new();
    private readonly HubCertificates _certificates;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private WebEntry? _entry;
    private long _stalls;

    private TunnelServer(HubCertificates certificates, TimeProvider time, ILogger logger) => (_certificates, _time, _logger) = (certificates, time, logger);

    public int Port => _entry?.Port ?? 0;

    /// <summary>Tunnels now.</summary>
    public int Count => _sessions.Count;

    /// <summary>Connections that were ended because their reader held up the others of a node.</summary>
    public long Stalls => Interlocked.Read(ref _stalls);

    /// <exception cref="CloudCoreException">The port is in use.</exception>
    public static async Task<TunnelServer> StartAsync(ListenOn on, HubCertificates certificates, TimeProvider time, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        var server = new TunnelServer(certificates, time, loggers.CreateLogger("Edge.Cloud.CloudStream"));
        try
        {
            await server.ListenAsync(on, loggers, cancellationToken);
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }

        CloudStreamLog.TunnelServing(server._logger, server.Port);
        return server;
    }

    /// <summary>The tunnel of a node, or null.</summary>
    public TunnelSession? Of(string node) => _sessions.GetValueOrDefault(node);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        if (_entry is not null)
            await _entry.DisposeAsync();

        _stop.Dispose();
    }

    private async Task ListenAsync(ListenOn on, ILoggerFactory loggers, CancellationToken cancellationToken)
        => _entry = await WebEntry.StartAsync(
            on,
            limits =>
            {
                limits.MaxConcurrentConnections = TunnelsMax;
                limits.MaxConcurrentUpgradedConnections = TunnelsMax;
                limits.MaxRequestBodySize = 0;
            },
            new TlsHandshakeCallbackOptions { OnConnection = _ => ValueTask.FromResult(_certificates.TlsOptions()) },
            ServeAsync,
            _time,
            loggers,
            cancellationToken);

    private async Task ServeAsync(HttpContext context)
    {
        var node = context.Request.Headers[NodeHeader].ToString();
        if (await RefuseAsync(context, node) is var (code, reason))
        {
            CloudStreamLog.TunnelRefused(_logger, context.Connection.RemoteIpAddress?.ToString() ?? "", node.Length > 64 ? node[..64] : node, reason);
            await Respond.RefuseAsync(context, code, reason);
            return;
        }

        // .NET's own WebSocket refuses text that is not UTF-8, which is what an edge sends: so the frames are read here.
        var upgrade = context.Features.GetRequiredFeature<IHttpUpgradeFeature>();
        context.Response.Headers.Upgrade = "websocket";
        context.Response.Headers.Connection = "Upgrade";
        context.Response.Headers.SecWebSocketAccept = Accept(context.Request.Headers.SecWebSocketKey.ToString());
        await using var socket = await upgrade.UpgradeAsync();
        using var session = new TunnelSession(node, socket, _time)
        {
            Stalled = name =>
            {
                Interlocked.Increment(ref _stalls);
                CloudStreamLog.TunnelStalled(_logger, name);
            },
        };
        // A node that dials again has lost the tunnel before, whether or not that is seen here.
        _sessions.AddOrUpdate(node, session, (_, former) =>
        {
            former.Close("the node dialed another");
            return session;
        });
        CloudStreamLog.TunnelOpened(_logger, node);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token, context.RequestAborted);
        var ended = await session.RunAsync(stop.Token);
        _sessions.TryRemove(new KeyValuePair<string, TunnelSession>(node, session));
        CloudStreamLog.TunnelEnded(_logger, node, ended);
    }

    private async ValueTask<(int Code, string Reason)?> RefuseAsync(HttpContext context, string node)
    {
        if (context.Connection.ClientCertificate is not { } client)
            return (401, "no client certificate: an edge shows the one it joined with");
        if (await _certificates.JudgeAsync(client, context.RequestAborted) is ({ } reason, var isFinal))
            return isFinal ? (401, reason) : (503, HubCertificates.NotKnown);
        if (NodeName.Of(client) is not { } name)
            return (403, $"the certificate of '{client.Subject}' is not a node's");
        if (name != node)
            return (403, $"the certificate is node \"{name}\"'s, and {NodeHeader} says \"{node}\"");
        if (context.Request.Path.Value?.TrimEnd('/') != Path)
            return (404, $"there is {Path}");
        var headers = context.Request.Headers;
        return context.Features.Get<IHttpUpgradeFeature>() is { IsUpgradableRequest: true } && headers.Upgrade.ToString().Equals("websocket", StringComparison.OrdinalIgnoreCase)
            && headers.SecWebSocketVersion == "13" && headers.SecWebSocketKey.Count == 1 ? null : (400, "this path wants a WebSocket (RFC 6455, version 13)");
    }

    private static string Accept(string key)
    {
#pragma warning disable CA5350 // what RFC 6455 §4.2.2 says; it proves that the peer speaks WebSocket, and protects nothing
        return Convert.ToBase64String(SHA1.HashData(Encoding.ASCII.GetBytes(key + AcceptGuid)));
#pragma warning restore CA5350
    }
}
