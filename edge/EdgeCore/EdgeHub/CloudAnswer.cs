using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Common.Text;
using Edge.Protocol.Messages;

namespace Edge.Core.EdgeHub;

/// <summary>What an answer from the cloud says: <c>"OK"</c>, an object, <c>{"Object","Err"}</c>, <c>{"ErrStatus"}</c>, or an error text
/// (kubeedge-wire §3.2). Failures travel as ordinary responses, so the content has to be looked at.</summary>
/// <param name="Reason">The metav1.Status reason of a failure, e.g. <c>NotFound</c>; empty when there is none.</param>
/// <param name="Text">What failed, for the log; empty on success.</param>
/// <param name="Object">The object of the answer, where there is one.</param>
internal sealed record CloudAnswer(UplinkOutcome Outcome, string Reason, string Text, JsonObject? Object)
{
    private static readonly string[] s_final =
        ["NotFound", "AlreadyExists", "Conflict", "Invalid", "Forbidden", "BadRequest", "Gone", "MethodNotAllowed", "NotAcceptable", "UnsupportedMediaType", "RequestEntityTooLarge"];

    /// <summary>Reads an answer; malformed content is a failure with the reason in <see cref="Text"/>.</summary>
    public static CloudAnswer Read(Message message)
    {
        if (!JsonText.IsUnicode(message.Content.Span))
            return new CloudAnswer(UplinkOutcome.Failed, "", "malformed answer: it is not valid Unicode", null);
        try
        {
            // A key that stands twice would surface only later, as an exception at the first access.
            return Read(message.Operation, message.Content.IsEmpty ? null : StrictJson.Parse(message.Content.Span));
        }
        catch (JsonException e)
        {
            return new CloudAnswer(UplinkOutcome.Failed, "", $"malformed answer: {e.Message}", null);
        }
    }

    private static CloudAnswer Read(string operation, JsonNode? content)
    {
        var obj = content as JsonObject;
        if (operation == Operations.Error)
            return Failure(obj, content is JsonValue value ? value.ToString() : content?.ToJsonString() ?? "the cloud gave no reason");
        if (obj is null)
        {
            return content is JsonValue text && text.GetValueKind() == JsonValueKind.String && text.GetValue<string>() != "OK"
                ? Failure(null, text.GetValue<string>())
                : new CloudAnswer(UplinkOutcome.Accepted, "", "", null);
        }

        if (Find(obj, "Err") is { } error)
            return Failure(error as JsonObject, error.ToJsonString());
        if (Find(obj, "ErrStatus") is not null)
            return Failure(obj, obj.ToJsonString());
        var whole = obj.ContainsKey("metadata") ? obj : Find(obj, "object") as JsonObject;
        return new CloudAnswer(UplinkOutcome.Accepted, "", "", whole);
    }

    private static CloudAnswer Failure(JsonObject? error, string text)
    {
        var status = (error is null ? null : Find(error, "ErrStatus")) as JsonObject ?? error;
        var reason = AsText(status?["reason"]);
        var said = AsText(status?["message"]);
        if (text.Length == 0)
            text = "the cloud gave no reason";
        return new CloudAnswer(
            s_final.Contains(reason, StringComparer.Ordinal) ? UplinkOutcome.Rejected : UplinkOutcome.Failed, reason, said.Length > 0 ? said : text.Length > 300 ? text[..300] : text, null);
    }

    private static string AsText(JsonNode? node) => node is JsonValue value && value.TryGetValue<string>(out var text) ? text : "";

    // Go peers match keys without regard to case; only the few keys of the envelope are looked up so, since labels may differ by case alone.
    private static JsonNode? Find(JsonObject obj, string key)
    {
        foreach (var (name, value) in obj)
        {
            if (name.Equals(key, StringComparison.OrdinalIgnoreCase))
                return value;
        }

        return null;
    }
}
