using System.Buffers;
using System.Text.Json;

namespace Edge.Protocol.Sync;

/// <summary>What of a Kubernetes object matters to an edge, in 64 bits: two states with the same fingerprint need not be sent one after the other.</summary>
/// <remarks>
/// <para>Left out are <c>status</c>, <c>kind</c>, <c>apiVersion</c> and, in <c>metadata</c>, <c>resourceVersion</c>, <c>generation</c>, <c>managedFields</c> and
/// <c>selfLink</c>: an edge writes the status itself, and the bookkeeping changes with it. A resourceVersion alone would make a node that reconnects get
/// every pod again whose status it has reported. Of a pod with <c>spec.readinessGates</c> the type and status of the conditions that these name do count: somebody else writes them,
/// and the edge needs them to say whether the pod is ready.</para>
/// <para>The order of keys and the escaping of strings do not count; the order of list items does.</para>
/// </remarks>
public static class ObjectFingerprint
{
    private const int DepthMax = 64;
    private static readonly JsonReaderOptions s_reader = new() { MaxDepth = DepthMax };

    private enum Level
    {
        Top,
        Metadata,
        Inner,
    }

    /// <summary>The fingerprint of one JSON object in UTF-8. False when <paramref name="utf8"/> is not one whole JSON object; never throws for bad input.</summary>
    public static bool TryOf(ReadOnlySpan<byte> utf8, out ulong fingerprint)
    {
        fingerprint = 0;
        try
        {
            var reader = new Utf8JsonReader(utf8, s_reader);
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
                return false;
            fingerprint = ObjectAt(ref reader, Level.Top);
            if (reader.Read())
                return false;
            if (utf8.IndexOf("\"readinessGates\""u8) >= 0)
                fingerprint = StableHash.Mix(fingerprint + (5 * Gates(utf8)));
            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return false;
        }
    }

    private static ulong ObjectAt(ref Utf8JsonReader reader, Level level)
    {
        // A sum, since the order of keys must not count; each member is mixed with its name first.
        ulong sum = 0;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (IsLeftOut(ref reader, level))
            {
                reader.Skip();
                continue;
            }

            var inner = level == Level.Top && reader.ValueTextEquals("metadata"u8) ? Level.Metadata : Level.Inner;
            var name = Text(ref reader, 'k');
            reader.Read();
            sum += StableHash.Mix(name + (3 * Value(ref reader, inner)));
        }

        return StableHash.Mix(sum + 'o');
    }

    // Rare enough for a second reading.
    private static ulong Gates(ReadOnlySpan<byte> utf8)
    {
        var reader = new Utf8JsonReader(utf8, s_reader);
        using var document = JsonDocument.ParseValue(ref reader);
        if (!TryList(document.RootElement, "spec", "readinessGates", out var gates) || !TryList(document.RootElement, "status", "conditions", out var conditions))
            return 0;
        ulong sum = 0;
        foreach (var condition in conditions.EnumerateArray())
        {
            foreach (var gate in gates.EnumerateArray())
            {
                if (Member(gate, "conditionType") is { Length: > 0 } type && Member(condition, "type") == type)
                    sum += StableHash.Mix(StableHash.Of(type, 'g') + (3 * StableHash.Of(Member(condition, "status"), 'g')));
            }
        }

        return sum;
    }

    private static bool TryList(JsonElement root, string outer, string inner, out JsonElement list)
    {
        list = default;
        return root.TryGetProperty(outer, out var holder) && holder.ValueKind == JsonValueKind.Object
            && holder.TryGetProperty(inner, out list) && list.ValueKind == JsonValueKind.Array;
    }

    private static string Member(JsonElement element, string name)
        => element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : "";

    private static bool IsLeftOut(ref Utf8JsonReader reader, Level level) => level switch
    {
        Level.Top => reader.ValueTextEquals("status"u8) || reader.ValueTextEquals("kind"u8) || reader.ValueTextEquals("apiVersion"u8),
        Level.Metadata => reader.ValueTextEquals("resourceVersion"u8) || reader.ValueTextEquals("generation"u8)
            || reader.ValueTextEquals("managedFields"u8) || reader.ValueTextEquals("selfLink"u8),
        _ => false,
    };

    private static ulong Value(ref Utf8JsonReader reader, Level level)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.StartObject:
                return ObjectAt(ref reader, level);
            case JsonTokenType.StartArray:
                ulong hash = 'a';
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                    hash = StableHash.Mix((hash * 31) + Value(ref reader, Level.Inner));
                return hash;
            case JsonTokenType.String:
                return Text(ref reader, 's');
            default:
                return StableHash.Of(reader.ValueSpan, 'n');
        }
    }

    private static ulong Text(ref Utf8JsonReader reader, char seed)
    {
        if (!reader.ValueIsEscaped)
            return StableHash.Of(reader.ValueSpan, seed);
        var rented = ArrayPool<byte>.Shared.Rent(reader.ValueSpan.Length);
        try
        {
            return StableHash.Of(rented.AsSpan(0, reader.CopyString(rented)), seed);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(rented, clearArray: true); // it may have been part of a Secret
        }
    }
}
