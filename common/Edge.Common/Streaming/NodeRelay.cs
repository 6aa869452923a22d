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
    private static readonly string[] s_logQuery = ["follow", "previous", "timestamps", "tailLines", "sinceSeconds", "sinceTime", "limitBytes"];
    private static readonly (string Name, string Kubelet)[] s_streams = [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];
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

    /// <summary>The query for a node's kubelet API that says what the query of a pod's subresource says: with its question mark, empty without any parameter that counts.</summary>
    /// <remarks>The two differ: kubectl asks the API for <c>stdin</c>, <c>stdout</c>, <c>stderr</c> and <c>ports</c>, and an API server asks a kubelet for <c>input</c>, <c>output</c>,
    /// <c>error</c> (all 1) and <c>port</c>. A stock edge leads the request to a kubelet that knows no other names.</remarks>
    /// <param name="subresource"><c>log</c>, <c>exec</c>, <c>attach</c> or <c>portforward</c>.</param>
    public static string KubeletQuery(string subresource, IQueryCollection query)
    {
        var text = new StringBuilder();
        void Add(string name, string value) => text.Append(text.Length == 0 ? '?' : '&').Append(name).Append('=').Append(Uri.EscapeDataString(value));
        if (subresource == "portforward")
        {
            var ports = query["ports"].Concat(query["port"]).Where(port => !string.IsNullOrEmpty(port));
            if (string.Join(',', ports) is { Length: > 0 } all)
                Add("port", all);
            return text.ToString();
        }

        foreach (var name in subresource == "log" ? s_logQuery : ["command"])
        {
            foreach (var value in query[name])
                Add(name, value ?? "");
        }

        foreach (var (name, kubelet) in subresource == "log" ? [] : s_streams)
        {
            // As Kubernetes reads a flag: there, and neither "0" nor "false".
            if (query[name] is [var flag, ..] && flag is not "0" && !"false".Equals(flag, StringComparison.OrdinalIgnoreCase))
                Add(kubelet, "1");
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
