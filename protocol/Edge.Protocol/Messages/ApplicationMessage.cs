using System.Buffers;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Protocol.Messages;

/// <summary>One request of a node's MetaServer to the Kubernetes API, and its answer: KubeEdge's Application (kubeedge-wire §3.3).</summary>
/// <remarks>Contents are base64 in JSON, as Go writes <c>[]byte</c>. Keys are read whatever their case is.</remarks>
public sealed record ApplicationMessage
{
    /// <summary>Resource of a request.</summary>
    public const string RequestResource = "null";

    /// <summary>Resource of an answer, as the edge sees it; in the cloud <c>node/NODE/</c> stands before it.</summary>
    public const string AnswerResource = "ignore/Application/ignore";

    public const string InApplying = "InApplying";
    public const string InProcessing = "InProcessing";
    public const string Approved = "Approved";
    public const string Rejected = "Rejected";
    public const string Completed = "Completed";

    /// <summary>What names the application; an Edge peer makes a new one for each request, since two equal watches are two.</summary>
    public string Id { get; init; } = "";

    /// <summary><c>/GROUP|core/VERSION/RESOURCE/NAMESPACE|null/NAME|null</c>, or the URL's path where it names no resource.</summary>
    public string Key { get; init; } = "";

    /// <summary>get, list, watch, create, delete, update, updatestatus or patch.</summary>
    public string Verb { get; init; } = "";

    public string NodeName { get; init; } = "";

    /// <summary>The options of the verb as JSON (ListOptions, PatchInfo …).</summary>
    public ReadOnlyMemory<byte> Option { get; init; }

    public ReadOnlyMemory<byte> RequestBody { get; init; }

    public string Subresource { get; init; } = "";

    public ReadOnlyMemory<byte> ResponseBody { get; init; }

    public string Status { get; init; } = "";

    public string Reason { get; init; } = "";

    /// <summary>The metav1.Status of a failure, or null.</summary>
    public JsonObject? ErrorStatus { get; init; }

    /// <summary>Between Edge peers: the request as HTTP has it, so that nothing of it is lost. Null from and to stock peers.</summary>
    public ApplicationHttp? Http { get; init; }

    /// <summary>The content of a message.</summary>
    public byte[] Write()
    {
        var buffer = new ArrayBufferWriter<byte>(512 + RequestBody.Length + ResponseBody.Length);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("ID"u8, Id);
            json.WriteString("Key"u8, Key);
            json.WriteString("Verb"u8, Verb);
            json.WriteString("Nodename"u8, NodeName);
            json.WriteBase64String("Option"u8, Option.Span);
            json.WriteBase64String("ReqBody"u8, RequestBody.Span);
            json.WriteString("Subresource"u8, Subresource);
            json.WriteBase64String("RespBody"u8, ResponseBody.Span);
            json.WriteString("Status"u8, Status);
            json.WriteString("Reason"u8, Reason);
            if (ErrorStatus is not null)
            {
                json.WriteStartObject("Error"u8);
                json.WritePropertyName("ErrStatus");
                ErrorStatus.WriteTo(json);
                json.WriteEndObject();
            }

            if (Http is { } http)
            {
                json.WriteStartObject("Http"u8);
                json.WriteString("Method", http.Method);
                json.WriteString("Target", http.Target);
                json.WriteString("Accept", http.Accept);
                json.WriteString("ContentType", http.ContentType);
                json.WriteString("Token", http.Token);
                json.WriteNumber("Code", http.Code);
                json.WriteNumber("Sequence", http.Sequence);
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Reads a message's content; null with the reason where it is none. Never throws for bad input.</summary>
    public static ApplicationMessage? TryRead(ReadOnlyMemory<byte> content, out string error)
    {
        error = "";
        try
        {
            if (JsonText.IsUnicode(content.Span) && JsonNode.Parse(content.Span, documentOptions: new JsonDocumentOptions { MaxDepth = 64, AllowDuplicateProperties = false }) is JsonObject json)
            {
                var http = Find(json, "Http") as JsonObject;
                return new ApplicationMessage
                {
                    Id = Text(json, "ID"),
                    Key = Text(json, "Key"),
                    Verb = Text(json, "Verb"),
                    NodeName = Text(json, "Nodename"),
                    Option = Bytes(json, "Option"),
                    RequestBody = Bytes(json, "ReqBody"),
                    Subresource = Text(json, "Subresource"),
                    ResponseBody = Bytes(json, "RespBody"),
                    Status = Text(json, "Status"),
                    Reason = Text(json, "Reason"),
                    ErrorStatus = Find(json, "Error") is JsonObject failure && Find(failure, "ErrStatus") is JsonObject status ? (JsonObject)status.DeepClone() : null,
                    Http = http is null ? null : new ApplicationHttp
                    {
                        Method = Text(http, "Method"),
                        Target = Text(http, "Target"),
                        Accept = Text(http, "Accept"),
                        ContentType = Text(http, "ContentType"),
                        Token = Text(http, "Token"),
                        Code = (int)Number(http, "Code"),
                        Sequence = Number(http, "Sequence"),
                    },
                };
            }

            error = "the content is not a JSON object in valid Unicode";
        }
        catch (Exception e) when (e is JsonException or FormatException)
        {
            error = $"the content is malformed: {e.Message}";
        }

        return null;
    }

    private static JsonNode? Find(JsonObject json, string key)
    {
        foreach (var (name, value) in json)
        {
            if (name.Equals(key, StringComparison.OrdinalIgnoreCase))
                return value;
        }

        return null;
    }

    private static string Text(JsonObject json, string key) => Find(json, key) is JsonValue value && value.TryGetValue<string>(out var text) ? text : "";

    private static long Number(JsonObject json, string key)
        => Find(json, key) is JsonValue value && value.GetValueKind() == JsonValueKind.Number && long.TryParse(value.ToJsonString(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) ? number : 0;

    private static byte[] Bytes(JsonObject json, string key) => Text(json, key) is { Length: > 0 } text ? Convert.FromBase64String(text) : [];
}

/// <summary>The part of an <see cref="ApplicationMessage"/> that Edge peers add. The token is a secret: <see cref="ToString"/> leaves it out.</summary>
public sealed record ApplicationHttp
{
    public string Method { get; init; } = "";

    /// <summary>Path and query as the client sent them.</summary>
    public string Target { get; init; } = "";

    public string Accept { get; init; } = "";

    /// <summary>Of the body; in an answer, of the answer.</summary>
    public string ContentType { get; init; } = "";

    /// <summary>The bearer token of who asks: the API decides what its owner may. Empty: the node itself asks.</summary>
    public string Token { get; init; } = "";

    /// <summary>The answer's HTTP status.</summary>
    public int Code { get; init; }

    /// <summary>Of the parts of a watch's answer: 0, 1, 2 …; where one is missing, the watch has lost something.</summary>
    public long Sequence { get; init; }

    public override string ToString() => $"{Method} {Target}";
}
