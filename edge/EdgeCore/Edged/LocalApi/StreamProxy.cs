using System.Buffers;
using System.Net.Sockets;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Edge.Core.Edged.LocalApi;

/// <summary>Joins a client that wants to upgrade (SPDY/3.1 or WebSocket) with the runtime's streaming server: the handshake is passed on, then bytes
/// both ways as they are, as a kubelet does it.</summary>
internal static class StreamProxy
{
    private const int BlockSize = 32 * 1024;
    private static readonly TimeSpan s_connect = TimeSpan.FromSeconds(10);

    // After the client said that it is done the runtime may still have something to say.
    private static readonly TimeSpan s_linger = TimeSpan.FromSeconds(10);
    private static readonly string[] s_down = ["Upgrade", "User-Agent"];
    private static readonly string[] s_downPrefixes = ["X-Stream-Protocol-Version", "Sec-WebSocket-"];
    private static readonly string[] s_upPrefixes = ["Upgrade", "X-Stream-Protocol-Version", "Sec-WebSocket-"];

    /// <summary>Refuses what does not ask for an upgrade, before the runtime prepares anything.</summary>
    /// <exception cref="LocalApiRefusal">400.</exception>
    public static IHttpUpgradeFeature RequireUpgrade(HttpContext context)
        => context.Features.Get<IHttpUpgradeFeature>() is { IsUpgradableRequest: true } feature && context.Request.Headers.Upgrade.Count > 0
            ? feature
            : throw new LocalApiRefusal(400, "this path wants an upgraded connection: send 'Connection: Upgrade' and 'Upgrade: SPDY/3.1' or 'Upgrade: websocket'");

    /// <summary>Runs until either side ends.</summary>
    /// <param name="url">What the runtime answered to Exec, Attach or PortForward; good for one connection.</param>
    /// <exception cref="LocalApiRefusal">502: the streaming server cannot be reached or refuses.</exception>
    public static async Task RunAsync(HttpContext context, IHttpUpgradeFeature upgrade, string url, TimeProvider time, CancellationToken cancellationToken)
    {
        if (!Uri.TryCreate(url, UriKind.Absolute, out var target) || target.Scheme != Uri.UriSchemeHttp)
            throw new LocalApiRefusal(502, "the container runtime's streaming address is not http://; set enable_tls_streaming = false in its CRI plugin");
        using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        var buffer = ArrayPool<byte>.Shared.Rent(UpgradeAnswer.SizeMax);
        try
        {
            UpgradeAnswer answer;
            int held, length;
            using (var limit = new CancellationTokenSource(s_connect, time))
            using (var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken))
            {
                try
                {
                    await socket.ConnectAsync(target.IdnHost, target.Port, both.Token);
                    await SendAllAsync(socket, Request(context.Request, target), both.Token);
                    (answer, held, length) = await ReadAnswerAsync(socket, buffer, both.Token);
                }
                catch (Exception e) when (e is SocketException || e is OperationCanceledException && !cancellationToken.IsCancellationRequested)
                {
                    throw new LocalApiRefusal(502, $"the container runtime's streaming server at {target.Authority} does not answer: {(e is SocketException ? e.Message : $"nothing within {s_connect.TotalSeconds} s")}");
                }
            }

            if (answer.Status != StatusCodes.Status101SwitchingProtocols)
            {
                throw new LocalApiRefusal(
                    answer.Status is >= 400 and < 600 ? answer.Status : 502,
                    $"the container runtime's streaming server refused: {answer.Status} {answer.Reason}: {Encoding.UTF8.GetString(buffer.AsSpan(length, held - length)).Trim()}");
            }

            foreach (var (name, value) in answer.Headers.Where(header => Starts(header.Key, s_upPrefixes)))
                context.Response.Headers.Append(name, value);
            await using var client = await upgrade.UpgradeAsync();
            await JoinAsync(client, socket, buffer.AsMemory(length, held - length), time, cancellationToken);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    // The credentials of this API stay here: only what the two streaming protocols say goes on.
    private static byte[] Request(HttpRequest request, Uri target)
    {
        var text = new StringBuilder().Append(request.Method).Append(' ').Append(target.PathAndQuery).Append(" HTTP/1.1\r\nHost: ").Append(target.Authority)
            .Append("\r\nConnection: Upgrade\r\n");
        foreach (var (name, values) in request.Headers)
        {
            if (!s_down.Contains(name, StringComparer.OrdinalIgnoreCase) && !Starts(name, s_downPrefixes))
                continue;
            foreach (var value in values)
                text.Append(name).Append(": ").Append(value).Append("\r\n");
        }

        if (request.Method != HttpMethods.Get)
            text.Append("Content-Length: 0\r\n");
        return Encoding.UTF8.GetBytes(text.Append("\r\n").ToString());
    }

    private static bool Starts(string name, string[] prefixes) => prefixes.Any(prefix => name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase));

    private static async Task<(UpgradeAnswer Answer, int Held, int Length)> ReadAnswerAsync(Socket socket, byte[] buffer, CancellationToken cancellationToken)
    {
        var held = 0;
        while (true)
        {
            var read = await socket.ReceiveAsync(buffer.AsMemory(held), cancellationToken);
            if (read == 0)
                throw new LocalApiRefusal(502, "the container runtime's streaming server hung up without an answer");
            held += read;
            if (UpgradeAnswer.Read(buffer.AsSpan(0, held), out var length) is { } answer)
                return (answer, held, length);
        }
    }

    private static async Task JoinAsync(Stream client, Socket runtime, ReadOnlyMemory<byte> first, TimeProvider time, CancellationToken cancellationToken)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var down = DownAsync(client, runtime, stop.Token);
        var up = UpAsync(client, runtime, first, stop.Token);
        if (await Task.WhenAny(down, up) == down)
            await Task.WhenAny(up, Task.Delay(s_linger, time, stop.Token));

        await stop.CancelAsync();
        await Task.WhenAll(down, up);
    }

    private static async Task DownAsync(Stream client, Socket runtime, CancellationToken cancellationToken)
    {
        var block = ArrayPool<byte>.Shared.Rent(BlockSize);
        try
        {
            while (await client.ReadAsync(block.AsMemory(0, BlockSize), cancellationToken) is > 0 and var read)
                await SendAllAsync(runtime, block.AsMemory(0, read), cancellationToken);
            runtime.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (IsEnd(e))
        {
            // One side hung up, which ends the stream: there is nobody to tell.
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(block);
        }
    }

    private static async Task UpAsync(Stream client, Socket runtime, ReadOnlyMemory<byte> first, CancellationToken cancellationToken)
    {
        var block = ArrayPool<byte>.Shared.Rent(BlockSize);
        try
        {
            if (first.Length > 0)
                await client.WriteAsync(first, cancellationToken);
            while (await runtime.ReceiveAsync(block.AsMemory(0, BlockSize), cancellationToken) is > 0 and var read)
            {
                await client.WriteAsync(block.AsMemory(0, read), cancellationToken);
                await client.FlushAsync(cancellationToken);
            }
        }
        catch (Exception e) when (IsEnd(e))
        {
            // As above.
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(block);
        }
    }

    private static bool IsEnd(Exception e)
        => e is IOException or SocketException or OperationCanceledException or ObjectDisposedException or Microsoft.AspNetCore.Connections.ConnectionResetException;

    private static async Task SendAllAsync(Socket socket, ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        while (bytes.Length > 0)
            bytes = bytes[await socket.SendAsync(bytes, cancellationToken)..];
    }
}
