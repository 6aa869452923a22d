using System.Text;
using System.Text.Json;

namespace Edge.ApiServer.Storage;

/// <summary>Reads single fields out of an object's JSON without making a tree of it.</summary>
internal static class FieldReader
{
    // As deep as what may be stored.
    private static readonly JsonReaderOptions s_options = new() { MaxDepth = 512 };

    /// <summary>The scalar under a dotted path as text, as <see cref="Kubernetes.Selectors.FieldSelector"/> reads it; empty when absent, null or no scalar.</summary>
    public static string Text(ReadOnlySpan<byte> json, string path)
    {
        var reader = new Utf8JsonReader(json, s_options);
        return TryFind(ref reader, path) ? Scalar(ref reader) ?? "" : "";
    }

    /// <summary>Whether the text under a dotted path is this one.</summary>
    public static bool Is(ReadOnlySpan<byte> json, string path, string text)
    {
        var reader = new Utf8JsonReader(json, s_options);
        return TryFind(ref reader, path) && reader.TokenType == JsonTokenType.String && reader.ValueTextEquals(text);
    }

    /// <summary>The scalars of the object under a dotted path; empty when there is none.</summary>
    public static Dictionary<string, string> Map(ReadOnlySpan<byte> json, string path)
    {
        var map = new Dictionary<string, string>(StringComparer.Ordinal);
        var reader = new Utf8JsonReader(json, s_options);
        if (!TryFind(ref reader, path) || reader.TokenType != JsonTokenType.StartObject)
            return map;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var key = reader.GetString()!;
            reader.Read();
            if (Scalar(ref reader) is { } value)
                map[key] = value;
            else
                reader.Skip();
        }

        return map;
    }

    /// <summary>Stands on the value under the path when there is one.</summary>
    private static bool TryFind(ref Utf8JsonReader reader, ReadOnlySpan<char> path)
    {
        reader.Read();
        foreach (var part in path.Split('.'))
        {
            if (reader.TokenType != JsonTokenType.StartObject || !TryEnter(ref reader, path[part]))
                return false;
        }

        return true;
    }

    private static bool TryEnter(ref Utf8JsonReader reader, ReadOnlySpan<char> name)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isIt = reader.ValueTextEquals(name);
            reader.Read();
            if (isIt)
                return true;
            reader.Skip();
        }

        return false;
    }

    /// <summary>Null for null, objects and arrays.</summary>
    private static string? Scalar(ref Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.String => reader.GetString(),
        JsonTokenType.Number or JsonTokenType.True or JsonTokenType.False => Encoding.UTF8.GetString(reader.ValueSpan),
        _ => null,
    };
}
