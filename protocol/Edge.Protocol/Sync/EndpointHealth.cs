using System.Buffers;
using System.Text.Json;
using Edge.Protocol.Messages;

namespace Edge.Protocol.Sync;

/// <summary>The health of one endpoint of a GlobalService as the node that it is on found it: decided there (rise and fall are counted at the edge), so each report counts at once.</summary>
/// <remarks>An extension of Edge: source <c>edgedns</c>, group <c>resource</c>, operation <c>update</c>, resource <see cref="Resource"/>, content
/// <c>{"endpoint":"namespace/service/endpoint","healthy":false,"reason":"…"}</c>. It goes through the durable queue, the newest value of an endpoint alone, and all again whenever the
/// link comes up.</remarks>
/// <param name="Endpoint"><c>namespace/service/endpoint</c>.</param>
/// <param name="Reason">Why it is ill; empty when it is well.</param>
public sealed record EndpointHealth(string Endpoint, bool IsHealthy, string Reason)
{
    /// <summary>Longest <see cref="Endpoint"/>, characters: two names of Kubernetes, and an endpoint's with its node's.</summary>
    public const int EndpointMax = 1_100;

    /// <summary>Longest <see cref="Reason"/>, characters; a longer one is cut.</summary>
    public const int ReasonMax = 256;

    private static readonly JsonReaderOptions s_reader = new() { MaxDepth = 4 };

    /// <summary><c>namespace/endpointhealth/service_endpoint</c>: one path for each endpoint, as the queue's versions count by path. An underscore is in no Service's name.</summary>
    public string Resource
    {
        get
        {
            var parts = Endpoint.Split('/', 3);
            return new ResourcePath(parts[0], ResourceTypes.EndpointHealth, $"{parts[1]}_{Uri.EscapeDataString(parts[2])}").ToString();
        }
    }

    public ReadOnlyMemory<byte> Write()
    {
        var buffer = new ArrayBufferWriter<byte>(128);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("endpoint"u8, Endpoint);
            json.WriteBoolean("healthy"u8, IsHealthy);
            json.WriteString("reason"u8, Reason.Length > ReasonMax ? Reason[..ReasonMax] : Reason);
            json.WriteEndObject();
        }

        return buffer.WrittenMemory;
    }

    /// <summary>Null, with the reason, when the content is no report.</summary>
    public static EndpointHealth? Read(ReadOnlyMemory<byte> content, out string error)
    {
        if (content.Length > 16_384)
        {
            error = $"{content.Length} bytes, the limit is 16384";
            return null;
        }

        string endpoint = "", reason = "";
        bool? healthy = null;
        try
        {
            var reader = new Utf8JsonReader(content.Span, s_reader);
            error = "is not a JSON object";
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
                return null;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var name = reader.GetString();
                reader.Read();
                switch (name)
                {
                    case "endpoint":
                        endpoint = reader.GetString() ?? "";
                        break;
                    case "healthy":
                        healthy = reader.GetBoolean();
                        break;
                    case "reason":
                        reason = reader.GetString() ?? "";
                        break;
                    default:
                        reader.Skip();
                        break;
                }
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            error = $"is malformed: {e.Message}";
            return null;
        }

        error = endpoint.Length is 0 or > EndpointMax || endpoint.Split('/', 3) is not [{ Length: > 0 }, { Length: > 0 }, { Length: > 0 }] ? "'endpoint' must be namespace/service/endpoint"
            : healthy is null ? "'healthy' is missing" : "";
        return error.Length > 0 ? null : new EndpointHealth(endpoint, healthy!.Value, reason.Length > ReasonMax ? reason[..ReasonMax] : reason);
    }
}
