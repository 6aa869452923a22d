using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.EdgeController;

/// <summary>The answers to an edge's requests in KubeEdge's exact shapes (kubeedge-wire §3.2).</summary>
internal sealed class Answers(TimeProvider time)
{
    public Message Ok(Message request) => Answer(request, MessageCodec.Ok, "");

    /// <summary>The bare object, as configmap, secret, token and node queries are answered.</summary>
    public Message Plain(Message request, JsonObject obj) => Answer(request, JsonBytes.Of(obj), obj.ResourceVersion());

    /// <summary><c>{"Object": …, "Err": null}</c>.</summary>
    public Message Object(Message request, JsonObject obj)
        => Answer(request, JsonBytes.Of(new JsonObject { ["Object"] = obj.DeepClone(), ["Err"] = null }), obj.ResourceVersion());

    /// <summary><c>{"Object": null, "Err": {"ErrStatus": …}}</c>.</summary>
    public Message ObjectError(Message request, KubeException error)
        => Answer(request, JsonBytes.Of(new JsonObject { ["Object"] = null, ["Err"] = new JsonObject { ["ErrStatus"] = StatusOf(error) } }), "");

    /// <summary><c>{"ErrStatus": …}</c>, the failure of a request that is otherwise answered with the bare object or "OK".</summary>
    public Message PlainError(Message request, KubeException error)
        => Answer(request, JsonBytes.Of(new JsonObject { ["ErrStatus"] = StatusOf(error) }), "");

    /// <summary>A JSON string as content.</summary>
    public Message Text(Message request, string text) => Answer(request, MessageCodec.JsonString(text), "");

    private Message Answer(Message request, ReadOnlyMemory<byte> content, string version)
        => new()
        {
            Id = Guid.NewGuid().ToString(),
            ParentId = request.Id,
            TimestampMs = time.GetUtcNow().ToUnixTimeMilliseconds(),
            Source = Sources.EdgeController,
            Group = Groups.Resource,
            Operation = Operations.Response,
            Resource = request.Resource,
            Content = content,
            ResourceVersion = long.TryParse(version, NumberStyles.None, CultureInfo.InvariantCulture, out _) ? version : "",
        };

    private static JsonObject StatusOf(KubeException error)
    {
        var status = error.Status?.DeepClone().AsObject() ?? new JsonObject
        {
            ["status"] = "Failure",
            ["message"] = error.Message,
            ["reason"] = error.Reason.Length > 0 ? error.Reason : error.Code == 0 ? "ServiceUnavailable" : "InternalError",
            ["code"] = error.Code == 0 ? 503 : error.Code,
        };
        status.Remove("kind");
        status.Remove("apiVersion");
        status["metadata"] ??= new JsonObject();
        return status;
    }
}

/// <summary>Failures that CloudCore itself finds, in the form the API server would use.</summary>
internal static class Refusals
{
    public static KubeException Forbidden(string text) => new(403, "Forbidden", text);

    public static KubeException NotFound(ResourceKind kind, string name)
        => new(404, "NotFound", $"{kind.Plural}{(kind.Group.Length > 0 ? "." + kind.Group : "")} \"{name}\" not found");

    public static KubeException Conflict(string text) => new(409, "Conflict", text);

    public static KubeException BadRequest(string text) => new(400, "BadRequest", text);

    public static KubeException NotServed(string text) => new(405, "MethodNotAllowed", text);
}
