using System.Text.Json.Nodes;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>A request that is refused; answered as a metav1.Status.</summary>
internal sealed class MetaServerException(int code, string reason, string message) : Exception(message)
{
    public int Code { get; } = code;

    public string Reason { get; } = reason;

    public JsonObject ToStatus() => new()
    {
        ["kind"] = "Status",
        ["apiVersion"] = "v1",
        ["metadata"] = new JsonObject(),
        ["status"] = "Failure",
        ["message"] = Message,
        ["reason"] = Reason,
        ["code"] = Code,
    };

    public static MetaServerException NotFound(KubeRequest request) => new(404, "NotFound", $"{request.Qualified} \"{request.Name}\" not found");

    public static MetaServerException BadRequest(string text) => new(400, "BadRequest", text);

    public static MetaServerException Expired(string text) => new(410, "Expired", text);

    /// <summary>The cloud is away, and what is asked for takes it.</summary>
    public static MetaServerException Offline(KubeRequest request, string reason)
        => request.IsRead
            ? new(503, "ServiceUnavailable", $"{(request.IsResource ? request.Qualified : request.Path)} is not held at this node and was not read here before, and the cloud does not answer: {reason}")
            : new(503, "ServiceUnavailable", $"cannot {request.Verb} {request.Qualified}: writes take the cloud, which does not answer: {reason}. Nothing was changed; try again later");
}
