using System.Buffers;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Threading.Channels;
using Edge.Core.EdgeHub;
using Edge.Protocol.Messages;
using Edge.Transport;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeStream;

/// <summary>Streams that CloudCore asks for: dials the hub once more for each, and joins it with the node's local API. So kubectl's logs, exec, attach and port-forward reach pods behind
/// NAT, and a node that nobody looks at has no connection more.</summary>
internal sealed class EdgeStreamModule : IEdgeModule
{
    // As many as the local API serves at once.
    private const int StreamsMax = 64;
    private const int BlockSize = 32 * 1024;
    private static readonly TimeSpan s_headWithin = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan s_closeWithin = TimeSpan.FromSeconds(2);

    private readonly EdgeServices _services;
    private readonly HubService _hub;
    private readonly Func<LocalApiAt?> _api;
    private readonly HubDialer _dialer;
    private readonly ILogger _log;
    private readonly Channel<string> _asked = Channel.CreateBounded<string>(new BoundedChannelOptions(StreamsMax) { SingleReader = true, FullMode = BoundedChannelFullMode.DropWrite });

    /// <param name="api">Where the local API is; null while it is not served.</param>
    public EdgeStreamModule(EdgeServices services, HubService hub, Func<LocalApiAt?> api)
    {
        (_services, _hub, _api) = (services, hub, api);
        _log = services.Loggers.CreateLogger("edgestream");
        _dialer = new HubDialer(services.Options.EdgeHub, services.Options.NodeName, services.Time, _log);
        hub.StreamAsked = Ask;
    }

    public string Name => "edgestream";

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var running = new HashSet<Task>();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        try
        {
            await foreach (var id in _asked.Reader.ReadAllAsync(cancellationToken))
            {
                running.RemoveWhere(task => task.IsCompleted);
                if (running.Count >= StreamsMax)
                    EdgeStreamLog.TooMany(_log, StreamsMax);
                else
                    running.Add(ServeAsync(id, stop.Token));
            }
        }
        finally
        {
            await stop.CancelAsync();
            await Task.WhenAll(running);
        }
    }

    private void Ask(string id)
    {
        // What has no room is not served: CloudCore's wait for it ends by itself.
        if (NodeStreamWire.IsId(id))
            _asked.Writer.TryWrite(id);
        else
            EdgeStreamLog.BadId(_log, id.Length > 64 ? id[..64] : id);
    }

    // Does not throw.
    private async Task ServeAsync(string id, CancellationToken cancellationToken)
    {
        try
        {
            if (_hub.Credentials is not { } credentials)
                return; // no session without one, and so nobody who asks
            await using var cloud = WebSocketStream.Create(await _dialer.DialStreamAsync(id, credentials, cancellationToken), WebSocketMessageType.Binary, s_closeWithin);
            await JoinAsync(cloud, cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // The program stops.
        }
        catch (Exception e) when (e is LinkException or IOException or SocketException or WebSocketException or OperationCanceledException or System.Security.Authentication.AuthenticationException)
        {
            EdgeStreamLog.Failed(_log, e.Message);
        }
    }

    private async Task JoinAsync(Stream cloud, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(RequestHead.SizeMax);
        try
        {
            var (held, length, problem) = await ReadHeadAsync(cloud, buffer, cancellationToken);
            if (length == 0)
                return;
            if (length < 0)
            {
                await cloud.WriteAsync(RequestHead.Answer(403, problem), cancellationToken);
                return;
            }

            if (_api() is not { Port: > 0 } api)
            {
                await cloud.WriteAsync(RequestHead.Answer(503, LocalApiAt.NotServed), cancellationToken);
                return;
            }

            await using var local = await api.ConnectAsync(cancellationToken);
            await local.WriteAsync(RequestHead.WithToken(buffer.AsSpan(0, length), api.Token), cancellationToken);
            await local.WriteAsync(buffer.AsMemory(length, held - length), cancellationToken);
            await CopyBothAsync(cloud, local, cancellationToken);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private async Task<(int Held, int Length, string Problem)> ReadHeadAsync(Stream cloud, byte[] buffer, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(s_headWithin, _services.Time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        var held = 0;
        while (await cloud.ReadAsync(buffer.AsMemory(held, RequestHead.SizeMax - held), both.Token) is > 0 and var read)
        {
            held += read;
            var length = RequestHead.Read(buffer.AsSpan(0, held), out var problem);
            if (length != 0)
                return (held, length, problem);
        }

        return (held, 0, "");
    }

    // The local API's end ends the stream once everything it said has gone up; the cloud's end ends it at once.
    private static async Task CopyBothAsync(Stream cloud, Stream local, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var (down, up) = (CopyAsync(cloud, local, stop.Token), CopyAsync(local, cloud, stop.Token));
        // A close in order, answered by the other side: a cut could take the last bytes with it.
        if (await Task.WhenAny(down, up) == up)
            await cloud.DisposeAsync();
        await stop.CancelAsync();
        await Task.WhenAll(down, up);
    }

    private static async Task CopyAsync(Stream from, Stream to, CancellationToken cancellationToken)
    {
        var block = ArrayPool<byte>.Shared.Rent(BlockSize);
        try
        {
            while (await from.ReadAsync(block.AsMemory(0, BlockSize), cancellationToken) is > 0 and var read)
                await to.WriteAsync(block.AsMemory(0, read), cancellationToken);
        }
        catch (Exception e) when (e is IOException or SocketException or WebSocketException or OperationCanceledException or ObjectDisposedException)
        {
            // One side hung up, which ends the stream: there is nobody to tell.
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(block);
        }
    }
}
