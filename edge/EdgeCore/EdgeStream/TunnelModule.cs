using System.IO.Pipelines;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Text;
using Edge.Common;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeStream;

/// <summary>KubeEdge's tunnel (port 10004 of a stock cloudcore, kubeedge-wire §5.7): dials it and keeps it, so that logs, exec, attach and stats reach this node's pods from there too. Only with
/// <see cref="EdgeStreamOptions.Server"/>, and not while the hub is an Edge CloudCore's, which asks for each stream over its own port.</summary>
internal sealed class TunnelModule : IEdgeModule
{
    private const string Path = "/v1/kubeedge/connect";
    private const int AnswerSizeMax = 16 * 1024;

    // RFC 6455 §1.3.
    private const string AcceptGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    private static readonly TimeSpan s_look = TimeSpan.FromSeconds(2);

    // So long the hub has to tell whether the cloud is an Edge CloudCore's, before the tunnel is dialed for nothing.
    private static readonly TimeSpan s_hubWithin = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_first = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan s_most = TimeSpan.FromSeconds(60);

    private readonly EdgeServices _services;
    private readonly EdgeStreamOptions _options;
    private readonly HubService _hub;
    private readonly Func<LocalApiAt?> _api;
    private readonly ILogger _log;

    /// <param name="api">Where the local API is; null while it is not served.</param>
    public TunnelModule(EdgeServices services, HubService hub, Func<LocalApiAt?> api)
    {
        (_services, _options, _hub, _api) = (services, services.Options.EdgeStream, hub, api);
        _log = services.Loggers.CreateLogger("edgestream");
    }

    public string Name => "tunnel";

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var backoff = new Backoff(new Random(_services.Random.Next()), s_first, s_most);
        var told = "";
        try
        {
            await Task.Delay(s_hubWithin, _services.Time, cancellationToken);
            while (true)
            {
                if (_hub.IsEdgeWire || _hub.Credentials is not { } credentials)
                {
                    await Task.Delay(s_look, _services.Time, cancellationToken);
                    continue;
                }

                try
                {
                    var reason = await KeepAsync(credentials, backoff, cancellationToken);
                    EdgeStreamLog.TunnelEnded(_log, _options.Server, reason);
                    told = "";
                }
                catch (Exception e) when (e is IOException or SocketException or AuthenticationException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
                {
                    var reason = e is OperationCanceledException ? $"no answer within {_options.HandshakeTimeoutSeconds} s" : NodeIdentity.Innermost(e);
                    // The same again says nothing new.
                    if (reason != told)
                        EdgeStreamLog.TunnelFailed(_log, _options.Server, reason);
                    told = reason;
                }

                await Task.Delay(backoff.Next(), _services.Time, cancellationToken);
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The program stops.
        }
    }

    private async Task<string> KeepAsync(Credentials credentials, Backoff backoff, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(_options.HandshakeTimeoutSeconds), _services.Time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        var at = _options.Server.LastIndexOf(':');
        var host = _options.Server[..at].Trim('[', ']');
        await socket.ConnectAsync(host, int.Parse(_options.Server.AsSpan(at + 1), System.Globalization.CultureInfo.InvariantCulture), both.Token);
        await using var tls = new SslStream(new NetworkStream(socket, ownsSocket: false), leaveInnerStreamOpen: false);
        var options = credentials.TlsOptions(_ => { });
        options.TargetHost = host;
        // Its own judgement: the tunnel's certificate may be another than the hub's, and what it lacks is no sign that the hub has a new CA.
        options.RemoteCertificateValidationCallback = static (_, _, _, errors) => errors == SslPolicyErrors.None;
        await tls.AuthenticateAsClientAsync(options, both.Token);
        var key = Convert.ToBase64String(RandomNumberGenerator.GetBytes(16));
        await tls.WriteAsync(
            Encoding.ASCII.GetBytes(
                $"GET {Path} HTTP/1.1\r\nHost: {_options.Server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                + $"SessionHostNameOverride: {_services.Options.NodeName}\r\nSessionInternalIP: {OwnAddress(socket)}\r\n\r\n"),
            both.Token);
        // Its buffers are the collector's: frames may follow the answer at once, so one reader has both.
        var reader = PipeReader.Create(tls, new StreamPipeReaderOptions(bufferSize: 16 * 1024, leaveOpen: true, useZeroByteReads: true));
        await ReadAnswerAsync(reader, key, both.Token);
        EdgeStreamLog.TunnelOpened(_log, _options.Server);
        backoff.Reset();
        await using var session = new TunnelSession(tls, reader, _api, _options, _services.Time);
        return await session.RunAsync(cancellationToken);
    }

    // The node's address as the cloud may see it; a stock cloud finds the node of a request for metrics by it.
    private static IPAddress OwnAddress(Socket socket)
        => ((IPEndPoint)socket.LocalEndPoint!).Address is { IsIPv4MappedToIPv6: true } mapped ? mapped.MapToIPv4() : ((IPEndPoint)socket.LocalEndPoint!).Address;

    private static async Task ReadAnswerAsync(PipeReader reader, string key, CancellationToken cancellationToken)
    {
        while (true)
        {
            var result = await reader.ReadAsync(cancellationToken);
            if (Head(result.Buffer) is { } head)
            {
                reader.AdvanceTo(result.Buffer.GetPosition(head.Length));
                var lines = head.Split("\r\n");
                if (lines[0].Split(' ') is not ["HTTP/1.1", "101", ..])
                    throw new IOException($"the cloud refused the tunnel: {lines[0]}");
                if (!lines.Any(line => line.StartsWith("Sec-WebSocket-Accept:", StringComparison.OrdinalIgnoreCase) && line.EndsWith(' ' + Accept(key), StringComparison.Ordinal)))
                    throw new IOException("the cloud's answer has no right Sec-WebSocket-Accept: it speaks no WebSocket");
                return;
            }

            if (result.IsCompleted || result.Buffer.Length > AnswerSizeMax)
                throw new IOException(result.IsCompleted ? "the cloud hung up before it answered" : $"the head of the cloud's answer is over {AnswerSizeMax} bytes");
            reader.AdvanceTo(result.Buffer.Start, result.Buffer.End);
        }
    }

    private static string? Head(System.Buffers.ReadOnlySequence<byte> buffer)
    {
        var text = Encoding.Latin1.GetString(buffer);
        var end = text.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        return end < 0 ? null : text[..(end + 4)];
    }

    private static string Accept(string key)
    {
#pragma warning disable CA5350 // what RFC 6455 §4.2.2 says; it proves that the peer speaks WebSocket, and protects nothing
        return Convert.ToBase64String(SHA1.HashData(Encoding.ASCII.GetBytes(key + AcceptGuid)));
#pragma warning restore CA5350
    }
}
