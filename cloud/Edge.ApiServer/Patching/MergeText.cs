using System.Runtime.InteropServices;
using System.Text.Json;

namespace Edge.ApiServer.Patching;

/// <summary>JSON merge patch, RFC 7386, from text to text: what the patch does not name is copied as it is.</summary>
internal static class MergeText
{
    /// <summary>Writes <paramref name="target"/> with <paramref name="patch"/> merged in.</summary>
    /// <param name="json">Where to.</param>
    /// <param name="target">As this server wrote it; undefined where there is nothing.</param>
    /// <param name="patch">Of a client: written anew, since its white space and escapes are its own. Not null.</param>
    public static void Write(Utf8JsonWriter json, JsonElement target, JsonElement patch)
    {
        if (patch.ValueKind != JsonValueKind.Object)
        {
            patch.WriteTo(json);
            return;
        }

        json.WriteStartObject();
        if (target.ValueKind == JsonValueKind.Object)
        {
            foreach (var member in target.EnumerateObject())
            {
                if (!TryFind(patch, member, out var said))
                {
                    WriteName(json, member);
                    json.WriteRawValue(JsonMarshal.GetRawUtf8Value(member.Value), skipInputValidation: true);
                }
                else if (said.ValueKind != JsonValueKind.Null)
                {
                    WriteName(json, member);
                    Write(json, member.Value, said);
                }
            }
        }

        foreach (var member in patch.EnumerateObject())
        {
            if (member.Value.ValueKind == JsonValueKind.Null || TryFind(target, member, out _))
                continue;
            WriteName(json, member);
            Write(json, default, member.Value);
        }

        json.WriteEndObject();
    }

    private static bool TryFind(JsonElement obj, JsonProperty like, out JsonElement value)
    {
        value = default;
        if (obj.ValueKind != JsonValueKind.Object)
            return false;
        var name = JsonMarshal.GetRawUtf8PropertyName(like);
        return name.Contains((byte)'\\') ? obj.TryGetProperty(like.Name, out value) : obj.TryGetProperty(name, out value);
    }

    private static void WriteName(Utf8JsonWriter json, JsonProperty member)
    {
        var name = JsonMarshal.GetRawUtf8PropertyName(member);
        if (name.Contains((byte)'\\'))
            json.WritePropertyName(member.Name);
        else
            json.WritePropertyName(name);
    }
}
