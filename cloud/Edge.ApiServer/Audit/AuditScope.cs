using System.Text.Json.Nodes;
using Edge.ApiServer.Auth;
using Edge.ApiServer.Rest;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Audit;

/// <summary>What one request leaves in the audit log. A watch or stream leaves two lines: when it begins (ResponseStarted) and when it ends.</summary>
internal sealed class AuditScope(AuditLog log, HttpContext context, TimeProvider time)
{
    private const int UriLengthMax = 4096;
    private readonly string _id = Guid.NewGuid().ToString();
    private readonly DateTimeOffset _received = time.GetUtcNow();

    /// <summary>Who presented the credentials.</summary>
    public UserIdentity? Caller { get; set; }

    /// <summary>Who acts: the caller, or the one that he impersonates.</summary>
    public UserIdentity? User { get; set; }

    public RequestPath? Path { get; set; }

    /// <summary>Null until it is decided.</summary>
    public bool? IsAllowed { get; set; }

    public string Reason { get; set; } = "";

    public void Started() => log.Write(Entry("ResponseStarted", context.Response.StatusCode, null));

    /// <param name="error">What the request failed with; null for a good end.</param>
    public void Complete(ApiException? error) => log.Write(Entry("ResponseComplete", error?.Code ?? context.Response.StatusCode, error));

    private JsonObject Entry(string stage, int code, ApiException? error)
    {
        var request = context.Request;
        var uri = request.Path.Value + request.QueryString.Value;
        var entry = new JsonObject
        {
            ["kind"] = "Event", ["apiVersion"] = "audit.k8s.io/v1", ["level"] = "Metadata", ["auditID"] = _id, ["stage"] = stage,
            ["requestURI"] = uri.Length <= UriLengthMax ? uri : uri[..UriLengthMax], ["verb"] = Path is null ? request.Method.ToLowerInvariant() : RequestAccess.Verb(request, Path),
            ["user"] = Caller is null ? new JsonObject() : Reviews.Describe(Caller),
        };
        if (User is not null && User != Caller)
            entry["impersonatedUser"] = Reviews.Describe(User);
        if (context.Connection.RemoteIpAddress is { } address)
            entry["sourceIPs"] = new JsonArray(address.ToString());
        entry["userAgent"] = request.Headers.UserAgent.ToString() is var agent && agent.Length <= 256 ? agent : agent[..256];
        if (Path is not null)
            entry["objectRef"] = Reference(Path);
        var status = new JsonObject { ["metadata"] = new JsonObject() };
        if (error is not null)
            (status["status"], status["reason"], status["message"]) = ("Failure", error.Reason, error.Message);
        status["code"] = code;
        entry["responseStatus"] = status;
        entry["requestReceivedTimestamp"] = KubeObject.MicroTime(_received);
        entry["stageTimestamp"] = KubeObject.MicroTime(time.GetUtcNow());
        if (IsAllowed is { } isAllowed)
            entry["annotations"] = new JsonObject { ["authorization.k8s.io/decision"] = isAllowed ? "allow" : "forbid", ["authorization.k8s.io/reason"] = Reason };
        return entry;
    }

    private static JsonObject Reference(RequestPath path)
    {
        var reference = new JsonObject { ["resource"] = path.Plural };
        foreach (var (key, value) in (ReadOnlySpan<(string, string)>)[("namespace", path.Namespace), ("name", path.Name), ("apiGroup", path.Group), ("apiVersion", path.Version), ("subresource", path.Subresource)])
        {
            if (value.Length > 0)
                reference[key] = value;
        }

        return reference;
    }
}
