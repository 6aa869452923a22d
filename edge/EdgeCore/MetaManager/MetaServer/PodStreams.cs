using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Common.Streaming;
using Edge.Core.EdgeStream;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>Logs, exec, attach and port-forward of this node's pods, led to the node's local API: they work while the cloud is away. Any number at once; the local API has the limit.</summary>
/// <param name="api">Where the local API is; null while it is not served.</param>
internal sealed class PodStreams(Func<LocalApiAt?> api, TimeProvider time) : IDisposable
{
    private const int ReasonMax = 4096;

    private readonly HttpMessageInvoker _client = NodeRelay.Client(
        (_, cancellationToken) => (api() ?? throw new IOException(LocalApiAt.NotServed)).ConnectAsync(cancellationToken));

    /// <summary>Whether the request is one of these.</summary>
    public static bool Serves(KubeRequest request)
        => request is { Group.Length: 0, Resource: "pods", Name.Length: > 0, Namespace.Length: > 0, Subresource: "exec" or "attach" or "portforward" } or { Group.Length: 0, Resource: "pods", Name.Length: > 0, Namespace.Length: > 0, Subresource: "log", Verb: "get" };

    /// <summary>What is to be authorized: to run something in a container is to create, whatever the method of the handshake is.</summary>
    public static KubeRequest Right(KubeRequest request) => request.Subresource == "log" ? request : request with { Verb = "create" };

    /// <summary>Answers.</summary>
    /// <param name="pod">As the node holds it.</param>
    /// <exception cref="MetaServerException">The request is wrong, or the local API refused it.</exception>
    public async Task AnswerAsync(HttpContext context, KubeRequest request, JsonObject pod, CancellationToken stopping)
    {
        if (context.Request.Method != "GET" && (context.Request.Method != "POST" || request.Subresource == "log"))
            throw new MetaServerException(405, "MethodNotAllowed", $"{context.Request.Method} is not possible here");
        if (api() is not { Port: > 0 } at)
            throw new MetaServerException(503, "ServiceUnavailable", LocalApiAt.NotServed);
        var container = request.Subresource == "portforward" ? "" : ContainerOf(pod, context.Request.Query["container"].ToString());
        var pathOfPod = $"{Uri.EscapeDataString(request.Namespace)}/{Uri.EscapeDataString(request.Name)}";
        var target = request.Subresource switch
        {
            "log" => $"/containerLogs/{pathOfPod}/{Uri.EscapeDataString(container)}",
            "portforward" => $"/portForward/{pathOfPod}",
            var verb => $"/{verb}/{pathOfPod}/{Uri.EscapeDataString(container)}",
        };
        using var message = NodeRelay.Request(context.Request.Method, "localhost", target + NodeRelay.KubeletQuery(request.Subresource, context.Request.Query));
        message.Headers.Authorization = new AuthenticationHeaderValue("Bearer", at.Token);
        var upgrade = request.Subresource == "log" ? null : NodeRelay.AskUpgrade(context, message)
            ?? throw MetaServerException.BadRequest("Upgrade request required: exec, attach and portforward need a connection that is upgraded to SPDY/3.1 or to a WebSocket");
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, stopping);
        using var answer = await SendAsync(message, stop.Token);
        await RefuseAsync(answer, upgrade is null ? StatusCodes.Status200OK : StatusCodes.Status101SwitchingProtocols, stop.Token);
        context.Response.Headers[KubeResponse.SourceHeader] = "node";
        // EdgeCore's end ends what would go on for ever.
        await using var ending = stop.Token.UnsafeRegister(static state => ((HttpContext)state!).Abort(), context);
        if (upgrade is not null)
        {
            await NodeRelay.JoinAsync(context, upgrade, answer, time);
            return;
        }

        context.Response.ContentType = "text/plain";
        try
        {
            await NodeRelay.CopyBodyAsync(context, answer);
        }
        catch (Exception e) when (e is IOException or HttpRequestException)
        {
            context.Abort(); // cut in the middle: what was not sent is not to look complete
        }
    }

    public void Dispose() => _client.Dispose();

    private static string ContainerOf(JsonObject pod, string asked)
    {
        var container = PodContainers.Find(pod, asked, out var problem);
        return problem.Length == 0 ? container : throw MetaServerException.BadRequest(problem);
    }

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage message, CancellationToken cancellationToken)
    {
        try
        {
            return await _client.SendAsync(message, cancellationToken);
        }
        catch (HttpRequestException e)
        {
            throw new MetaServerException(503, "ServiceUnavailable", $"the node's local API does not answer: {(e.InnerException ?? e).Message}");
        }
    }

    // The local API's own words, in a Status that kubectl can print.
    private static async Task RefuseAsync(HttpResponseMessage answer, int wanted, CancellationToken cancellationToken)
    {
        var code = (int)answer.StatusCode;
        if (code == wanted)
            return;
        var buffer = new byte[ReasonMax];
        await using var body = await answer.Content.ReadAsStreamAsync(cancellationToken);
        var text = Encoding.UTF8.GetString(buffer, 0, await body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken)).Trim();
        var reason = code switch { 400 => "BadRequest", 403 => "Forbidden", 404 => "NotFound", 429 => "TooManyRequests", 503 => "ServiceUnavailable", _ => "InternalError" };
        throw new MetaServerException(code is >= 400 and < 600 ? code : 502, reason, text.Length > 0 ? text : $"the node's local API answered {code}");
    }
}
