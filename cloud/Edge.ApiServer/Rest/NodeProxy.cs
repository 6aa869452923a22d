using System.Text;
using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.Common.Streaming;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Rest;

/// <summary>What kubectl asks of a running pod: log, exec, attach, portforward. The request goes on to the kubelet API of the pod's node; an upgraded connection (SPDY/3.1 or WebSocket) is passed
/// through as bytes, so which versions of the channel protocol there are is the node's runtime's matter.</summary>
internal sealed class NodeProxy : IDisposable
{
    private const int ReasonMax = 4096;

    // Some 300 bytes a container, and a node has a few hundred of them.
    private const int JsonMax = 1 << 20;


    private readonly ObjectApi _api;
    private readonly TimeProvider _time;
    private readonly HttpMessageInvoker? _client;

    public NodeProxy(ObjectApi api, Func<string, CancellationToken, ValueTask<Stream>>? dial, TimeProvider time)
    {
        (_api, _time) = (api, time);
        if (dial is not null)
            _client = NodeRelay.Client((context, cancellationToken) => dial(context.DnsEndPoint.Host, cancellationToken));
    }

    /// <summary>Whether this server reaches nodes.</summary>
    public bool IsServed => _client is not null;

    public void Dispose() => _client?.Dispose();

    /// <summary>Asks a node's kubelet API for a JSON object.</summary>
    /// <exception cref="ApiException">The node is away, refuses, or answers something else.</exception>
    public async Task<JsonObject> GetJsonAsync(string node, string target, CancellationToken cancellationToken)
    {
        using var request = NodeRelay.Request("GET", node, target);
        using var answer = await SendAsync(request, node, cancellationToken);
        await RefuseAsync(answer, 200, cancellationToken);
        try
        {
            await answer.Content.LoadIntoBufferAsync(JsonMax, cancellationToken);
            return JsonNode.Parse(await answer.Content.ReadAsByteArrayAsync(cancellationToken)) as JsonObject ?? throw new System.Text.Json.JsonException("it is no object");
        }
        catch (Exception e) when (e is System.Text.Json.JsonException or IOException or HttpRequestException)
        {
            throw new ApiException(502, "InternalError", $"node \"{node}\" answered no JSON of at most {JsonMax} bytes: {e.Message}");
        }
    }

    /// <summary>Answers the subresource of a pod; false when it is none of these.</summary>
    public async Task<bool> TryHandleAsync(HttpContext context, ServedResource pods, RequestPath path)
    {
        if (path.Subresource is not ("log" or "exec" or "attach" or "portforward"))
            return false;
        var (method, isLog) = (context.Request.Method, path.Subresource == "log");
        if (isLog ? method != "GET" : method is not ("GET" or "POST"))
            throw ApiException.MethodNotAllowed();
        var pod = _api.Get(pods, path.Namespace, path.Name).Parse();
        var container = path.Subresource == "portforward" ? "" : ContainerOf(pod, context.Request.Query["container"].ToString());
        var node = pod.Text("spec", "nodeName");
        if (node.Length == 0)
        {
            if (!isLog)
                throw ApiException.BadRequest($"pod {path.Name} does not have a host assigned");
            await ApiResponse.WriteAsync(context, 200, ReadOnlyMemory<byte>.Empty, "text/plain"); // as Kubernetes: nothing was written so far
            return true;
        }

        var target = path.Subresource switch
        {
            "log" => $"/containerLogs/{path.Namespace}/{path.Name}/{container}",
            "portforward" => $"/portForward/{path.Namespace}/{path.Name}",
            var verb => $"/{verb}/{path.Namespace}/{path.Name}/{container}",
        };
        using var request = NodeRelay.Request(method, node, target + NodeRelay.KubeletQuery(path.Subresource, context.Request.Query));
        if (isLog)
            await LogAsync(context, request, node);
        else
            await StreamAsync(context, request, node);
        return true;
    }

    private static string ContainerOf(JsonObject pod, string asked)
    {
        var container = PodContainers.Find(pod, asked, out var problem);
        return problem.Length == 0 ? container : throw ApiException.BadRequest(problem);
    }

    private async Task LogAsync(HttpContext context, HttpRequestMessage request, string node)
    {
        using var answer = await SendAsync(request, node, context.RequestAborted);
        await RefuseAsync(answer, 200, context.RequestAborted);
        context.Response.StatusCode = 200;
        context.Response.ContentType = "text/plain";
        try
        {
            await NodeRelay.CopyBodyAsync(context, answer);
        }
        catch (Exception e) when (e is IOException or HttpRequestException)
        {
            // The node went away in the middle: the client sees its connection end, not a log that looks whole.
            context.Abort();
        }
    }

    private async Task StreamAsync(HttpContext context, HttpRequestMessage request, string node)
    {
        var upgrade = NodeRelay.AskUpgrade(context, request)
            ?? throw ApiException.BadRequest("Upgrade request required: exec, attach and portforward need a connection that is upgraded to SPDY/3.1 or to a WebSocket");
        using var answer = await SendAsync(request, node, context.RequestAborted);
        await RefuseAsync(answer, StatusCodes.Status101SwitchingProtocols, context.RequestAborted);
        await NodeRelay.JoinAsync(context, upgrade, answer, _time);
    }

    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, string node, CancellationToken cancellationToken)
    {
        if (_client is null)
            throw new ApiException(501, "NotImplemented", "this API server reaches no nodes: logs, exec, attach and port-forward are served where cloudcore runs beside it");
        try
        {
            return await _client.SendAsync(request, cancellationToken);
        }
        catch (HttpRequestException e)
        {
            throw new ApiException(503, "ServiceUnavailable", $"error dialing node \"{node}\": {(e.InnerException ?? e).Message}");
        }
    }

    // The kubelet's own words, in a Status that kubectl can print.
    private static async Task RefuseAsync(HttpResponseMessage answer, int wanted, CancellationToken cancellationToken)
    {
        var code = (int)answer.StatusCode;
        if (code == wanted)
            return;
        var text = "";
        try
        {
            await using var body = await answer.Content.ReadAsStreamAsync(cancellationToken);
            var buffer = new byte[ReasonMax];
            text = Encoding.UTF8.GetString(buffer, 0, await body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancellationToken)).Trim();
        }
        catch (IOException)
        {
            // Cut in the middle of its reason; the code says enough.
        }

        var reason = code switch { 400 => "BadRequest", 403 => "Forbidden", 404 => "NotFound", 429 => "TooManyRequests", _ => "InternalError" };
        throw new ApiException(code is >= 400 and < 600 ? code : 502, reason, text.Length > 0 ? text : $"the node answered {code}");
    }
}
