using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>Makes <see cref="FieldError"/>s in Kubernetes' words.</summary>
internal static class Errors
{
    public static FieldError Required(string field, string detail = "")
        => new("FieldValueRequired", field, detail.Length == 0 ? "Required value" : $"Required value: {detail}");

    public static FieldError Invalid(string field, JsonNode? value, string detail) => new("FieldValueInvalid", field, $"Invalid value: {Show(value)}: {detail}");

    public static FieldError Invalid(string field, string value, string detail) => new("FieldValueInvalid", field, $"Invalid value: {Quote(value)}: {detail}");

    public static FieldError Duplicate(string field, string value) => new("FieldValueDuplicate", field, $"Duplicate value: {Quote(value)}");

    public static FieldError NotSupported(string field, string value, params IEnumerable<string> supported)
        => new("FieldValueNotSupported", field, $"Unsupported value: {Quote(value)}: supported values: {string.Join(", ", supported.Select(Quote))}");

    public static FieldError Forbidden(string field, string detail) => new("FieldValueForbidden", field, $"Forbidden: {detail}");

    public static FieldError NotFound(string field, string value) => new("FieldValueNotFound", field, $"Not found: {Quote(value)}");

    public static FieldError TooLong(string field, long max) => new("FieldValueTooLong", field, $"Too long: may not be more than {max} bytes");

    public static FieldError WrongType(string field, string expected, JsonNode? actual)
        => new("FieldValueTypeInvalid", field, $"Invalid value: \"{TypeName(actual)}\": {field} in body must be of type {expected}: \"{TypeName(actual)}\"");

    public static string TypeName(JsonNode? node) => node?.GetValueKind() switch
    {
        JsonValueKind.Object => "object",
        JsonValueKind.Array => "array",
        JsonValueKind.String => "string",
        JsonValueKind.Number => node.TryWhole(out _) ? "integer" : "number",
        JsonValueKind.True or JsonValueKind.False => "boolean",
        _ => "null",
    };

    public static string Quote(string text) => $"\"{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)}\"";

    /// <summary>The value as it appears in a message, cut where it is long.</summary>
    public static string Show(JsonNode? value)
    {
        if (value is JsonValue scalar && scalar.TryGetValue<string>(out var text))
            return Quote(text);
        var json = value?.ToJsonString() ?? "null";
        return json.Length <= 256 ? json : json[..256] + "...";
    }
}
