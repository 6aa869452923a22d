using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Cloud;

/// <summary>Reading elements of a parsed document, which costs no tree. What is not there is <see cref="JsonValueKind.Undefined"/>, whose members are not there either.</summary>
internal static class JsonElements
{
    public static JsonElement Member(this JsonElement element, ReadOnlySpan<byte> name)
        => element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out var value) ? value : default;

    /// <summary>As Go peers read: names in any casing, an exact one first (kubeedge-wire §1.3).</summary>
    /// <param name="name">ASCII.</param>
    public static JsonElement AnyCase(this JsonElement element, ReadOnlySpan<byte> name)
    {
        if (element.ValueKind != JsonValueKind.Object)
            return default;
        if (element.TryGetProperty(name, out var exact))
            return exact;
        foreach (var member in element.EnumerateObject())
        {
            var raw = JsonMarshal.GetRawUtf8PropertyName(member);
            if (raw.Contains((byte)'\\') ? Ascii.EqualsIgnoreCase(name, member.Name) : Ascii.EqualsIgnoreCase(name, raw))
                return member.Value;
        }

        return default;
    }

    /// <summary>The text of a string, the JSON of anything else; empty for null and what is not there.</summary>
    public static string Scalar(this JsonElement element)
        => element.ValueKind switch
        {
            JsonValueKind.Undefined or JsonValueKind.Null => "",
            JsonValueKind.String => element.GetString()!,
            JsonValueKind.Object => JsonObject.Create(element)!.ToJsonString(),
            JsonValueKind.Array => JsonArray.Create(element)!.ToJsonString(),
            _ => element.GetRawText(),
        };

    /// <summary>The text of a string; empty for anything else.</summary>
    public static string Text(this JsonElement element) => element.ValueKind == JsonValueKind.String ? element.GetString()! : "";

    /// <summary>The items of an array; none of anything else.</summary>
    public static JsonElement.ArrayEnumerator Items(this JsonElement element) => element.ValueKind == JsonValueKind.Array ? element.EnumerateArray() : default;

    /// <summary>Copies the element's own bytes.</summary>
    public static void CopyTo(this JsonElement element, Utf8JsonWriter json) => json.WriteRawValue(JsonMarshal.GetRawUtf8Value(element), skipInputValidation: true);
}
