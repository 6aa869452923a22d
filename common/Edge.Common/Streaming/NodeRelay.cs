using System.Buffers;
using System.Net;
using System.Text;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Edge.Common.Streaming;

/// <summary>Leads a request on to a kubelet API and its answer back, for everything between kubectl and a node: a body as it comes, or an upgraded connection (SPDY/3.1 or WebSocket) as bytes
/// both ways. No flow control of its own: each request has a connection for itself, whose reader sets the pace.</summary>
public static class NodeRelay
{
    private const int BlockSize = 64 * 1024;

    // Once one side is done the other may still have something to say.
    private static readonly TimeSpan s_linger = TimeSpan.FromSeconds(5);
    private static readonly string[] s_passed = ["Upgrade", "X-Stream-Protocol-Version", "Sec-WebSocket-"];

    /// <summary>A client whose every request has a stream of its own.</summary>
    /// <param name="open">Opens the stream; called once for each request.</param>
    public static HttpMessageInvoker Client(Func<SocketsHttpConnectionContext, CancellationToken, ValueTask<Stream>> open)
        => new(new SocketsHttpHandler
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            PooledConnectionLifetime = TimeSpan.Zero, // a stream is opened for one request
            ConnectCallback = open,
        });

    /// <summary>A request to a node's kubelet API.</summary>
    public static HttpRequestMessage Request(string method, string node, string target)
        => new(new HttpMethod(method), new Uri($"http://{node}{target}")) { Version = HttpVersion.Version11 };

    /// <summary>The parameters of a query that are named, as the query of another request: with its question mark, empty without any.</summary>
    public static string Query(IQueryCollection query, IEnumerable<string> names)
    {
        var text = new StringBuilder();
        foreach (var name in names)
        {
            foreach (var value in query[name])
                text.Append(text.Length == 0 ? '?' : '&').Append(name).Append('=').Append(Uri.EscapeDataString(value ?? ""));
        }

        return text.ToString();
    }

    /// <summary>Makes a request ask for the upgrade that its own caller asks for.</summary>
    /// <returns>The way to upgrade the caller's connection; null when it does not ask for it, and then nothing was changed.</returns>
    public static IHttpUpgradeFeature? AskUpgrade(HttpContext context, HttpRequestMessage request)
    {
        if (context.Features.Get<IHttpUpgradeFeature>() is not { IsUpgradableRequest: true } upgrade || context.Request.Headers.Upgrade.Count == 0)
            return null;
        request.Headers.TryAddWithoutValidation("Connection", "Upgrade");
        foreach (var (name, values) in context.Request.Headers.Where(header => IsPassed(header.Key)))
            request.Headers.TryAddWithoutValidation(name, (IEnumerable<string?>)values);
        return upgrade;
    }

    /// <summary>Passes on what an answer carries, each piece as it comes; status and headers are the caller's to set before.</summary>
    /// <exception cref="IOException">One side broke off; as <see cref="HttpRequestException"/> too.</exception>
    public static async Task CopyBodyAsync(HttpContext context, HttpResponseMessage answer)
    {
        context.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
        await context.Response.StartAsync(context.RequestAborted);
        await using var body = await answer.Content.ReadAsStreamAsync(context.RequestAborted);
        await CopyAsync(body, context.Response.Body, context.RequestAborted);
    }

    /// <summary>Upgrades the caller's connection as the node's was (its answer is 101), and passes bytes both ways until either side ends.</summary>
    public static async Task JoinAsync(HttpContext context, IHttpUpgradeFeature upgrade, HttpResponseMessage answer, TimeProvider time)
    {
        foreach (var (name, values) in answer.Headers.NonValidated.Where(header => IsPassed(header.Key)))
            context.Response.Headers[name] = values.ToArray();
        await using var far = await answer.Content.ReadAsStreamAsync(context.RequestAborted);
        await using var near = await upgrade.UpgradeAsync();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        var down = QuietAsync(CopyAsync(near, far, stop.Token));
        var up = QuietAsync(CopyAsync(far, near, stop.Token));
        if (await Task.WhenAny(down, up) == down)
            await Task.WhenAny(up, Task.Delay(s_linger, time, stop.Token));
        await stop.CancelAsync();
        await Task.WhenAll(down, up);
    }

    private static bool IsPassed(string name) => s_passed.Any(prefix => name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase));

    private static async Task QuietAsync(Task copying)
    {
        try
        {
            await copying;
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException or HttpRequestException or ConnectionResetException)
        {
            // One side hung up, which ends the stream: there is nobody to tell.
        }
    }

    private static async Task CopyAsync(Stream from, Stream to, CancellationToken cancellationToken)
    {
        var block = ArrayPool<byte>.Shared.Rent(BlockSize);
        try
        {
            while (await from.ReadAsync(block.AsMemory(0, BlockSize), cancellationToken) is > 0 and var read)
            {
                await to.WriteAsync(block.AsMemory(0, read), cancellationToken);
                await to.FlushAsync(cancellationToken);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(block);
        }
    }
}
