using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.Router;

/// <summary>The answer of an HTTP service.</summary>
internal sealed record HttpReply(int Status, IReadOnlyList<KeyValuePair<string, string>> Headers, byte[] Body)
{
    public static HttpReply Text(int status, string text) => new(status, [KeyValuePair.Create("Content-Type", "text/plain; charset=utf-8")], Encoding.UTF8.GetBytes(text));
}

/// <summary>An HTTP request for an edge.</summary>
/// <param name="Rest">What the path has beyond the rule's, escaped as it came.</param>
/// <param name="Query">With its question mark, or empty.</param>
internal sealed record HttpCall(string Method, string Rest, string Query, IReadOnlyList<KeyValuePair<string, string>> Headers, byte[] Body);

/// <summary>The router's messages (kubeedge-wire §5.6, §6). Pure.</summary>
internal static class RouterMessages
{
    // Of one connection, or for this cloudcore.
    private static readonly HashSet<string> s_dropped = new(StringComparer.OrdinalIgnoreCase)
    {
        "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Host", "Content-Length", "Expect",
    };

    public static bool IsForwarded(string header) => !s_dropped.Contains(header);

    /// <summary>What applications at the node get: the bare topic as resource, the body as JSON string.</summary>
    public static Message Publish(TimeProvider time, Route route, HttpCall call)
    {
        var topic = call.Rest.Length == 0 ? route.PublishTopic : $"{route.PublishTopic.TrimEnd('/')}/{Uri.UnescapeDataString(call.Rest)}";
        return Message.Create(time, Sources.RouterEventBus, Groups.User, Operations.Publish, topic, MessageCodec.JsonString(Encoding.UTF8.GetString(call.Body)));
    }

    /// <summary>A request to a service at the node: resource <c>&lt;port&gt;:&lt;path&gt;</c>, the method as operation.</summary>
    public static Message Call(TimeProvider time, Route route, HttpCall call)
    {
        var path = call.Rest.Length == 0 ? route.ServicePath : $"{route.ServicePath.TrimEnd('/')}/{call.Rest}";
        var headers = new JsonObject();
        foreach (var (name, value) in call.Headers.Where(header => IsForwarded(header.Key)))
        {
            if (headers[name] is JsonArray values)
                values.Add((JsonNode)value);
            else
                headers[name] = new JsonArray(value);
        }

        var content = new JsonObject { ["header"] = headers, ["body"] = Convert.ToBase64String(call.Body), ["method"] = call.Method, ["url"] = "" };
        return Message.Create(time, Sources.RouterServiceBus, Groups.User, call.Method, $"{route.ServicePort}:{path}{call.Query}", JsonBytes.Of(content));
    }

    /// <summary>Reads the edge's answer. Null with the reason: it is none.</summary>
    public static HttpReply? ReadReply(Message answer, out string error)
    {
        if (JsonBytes.TryObject(MessageCodec.Unwrap(answer.Content), out error) is not { } content)
            return null;
        JsonNode? Find(string key) => content.FirstOrDefault(pair => pair.Key.Equals(key, StringComparison.OrdinalIgnoreCase)).Value;
        if (!Find("status_code").TryWhole(out var status) || status is < 100 or > 999)
        {
            error = "its status_code is none of HTTP's";
            return null;
        }

        var text = Find("body") is JsonValue body && body.TryGetValue<string>(out var base64) ? base64 : "";
        var bytes = new byte[text.Length];
        if (!Convert.TryFromBase64String(text, bytes, out var length))
        {
            error = "its body is not base64";
            return null;
        }

        var headers = (Find("header") as JsonObject ?? []).SelectMany(pair => pair.Value is JsonArray values
            ? values.Select(value => KeyValuePair.Create(pair.Key, value is JsonValue one && one.TryGetValue<string>(out var line) ? line : "")) : []);
        return new HttpReply((int)status, [.. headers.Where(header => IsForwarded(header.Key))], bytes[..length]);
    }

    /// <summary>The topic of an upload: its resource as it is, or base64url of it, as what older Edge edges still have in their queues. Null: it is neither.</summary>
    public static string? TopicOf(string resource)
    {
        // Every topic that goes up has one, and base64url has none.
        if (resource.Contains('/', StringComparison.Ordinal))
            return resource;
        var text = resource.Replace('-', '+').Replace('_', '/');
        text = text.PadRight((text.Length + 3) / 4 * 4, '=');
        var bytes = new byte[text.Length];
        return Convert.TryFromBase64String(text, bytes, out var length) ? Encoding.UTF8.GetString(bytes, 0, length) : null;
    }

    /// <summary>What an Edge peer's EventBus (topics) or ServiceBus (URLs) is to listen to from now on: all of it, so that one that is lost with a link costs nothing.</summary>
    public static Message Set(TimeProvider time, string source, string resource, IEnumerable<string> all)
        => Message.Create(time, source, Groups.User, Operations.Update, resource, JsonBytes.Of(new JsonArray([.. all.Select(one => (JsonNode)one)])));

    /// <summary>One topic or URL for a stock edge: subscribe and unsubscribe with <c>&lt;namespace&gt;/&lt;topic&gt;</c>, start and stop with the URL.</summary>
    public static Message Single(TimeProvider time, string source, string operation, string resource) => Message.Create(time, source, Groups.User, operation, resource);
}
