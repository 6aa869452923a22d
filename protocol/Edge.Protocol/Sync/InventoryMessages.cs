using System.Buffers;
using System.Globalization;
using System.Text.Json;
using Edge.Protocol.Messages;

namespace Edge.Protocol.Sync;

/// <summary>One object that an edge has.</summary>
/// <param name="Key"><c>&lt;namespace&gt;/&lt;type&gt;/&lt;name&gt;</c>.</param>
/// <param name="Version">The resourceVersion as a number; 0 when unknown.</param>
/// <param name="Fingerprint">See <see cref="ObjectFingerprint"/>; 0 when the edge could not compute one.</param>
public sealed record InventoryItem(string Key, string Uid, long Version, ulong Fingerprint);

/// <summary>The versions of some buckets of an inventory.</summary>
/// <param name="Of">How many buckets the inventory has.</param>
/// <param name="Buckets">Which of them are told here.</param>
public sealed record InventoryPart(int Of, IReadOnlyList<int> Buckets, IReadOnlyList<InventoryItem> Items)
{
    /// <summary>True when this part speaks for <paramref name="key"/>.</summary>
    public bool Covers(string key) => Buckets.Count == Of || Buckets.Contains(InventoryDigest.BucketOf(key, Of));
}

/// <summary>How two Edge peers find out what a connecting node lacks: three small messages, of which the last two pass only where something differs.</summary>
/// <remarks>
/// <para>1. The edge: operation <c>get</c>, source <c>metamanager</c>, group <c>resource</c>, resource <see cref="DigestResource"/>, content
/// <c>{"count":7,"digest":"base64"}</c>, with <c>"services":true</c> where it wants Services, EndpointSlices, GlobalServices and Zones (EdgeDns is on), and <c>"beat":15000</c>, the milliseconds between its keepalives. 2. CloudCore answers (parent id) <c>"OK"</c>, or <c>{"buckets":[3,9]}</c>. 3. The edge: operation <c>get</c>, resource <see cref="PartResource"/>,
/// content <c>{"of":16,"buckets":[3,9],"objects":[{"key","uid","rv":"12","fp":"hex"}]}</c>; answered with <c>"OK"</c>, and the objects follow.</para>
/// <para>An extension of Edge; stock KubeEdge peers never see it (<see cref="EdgeWire"/>).</para>
/// </remarks>
public static class InventoryMessages
{
    public const string DigestResource = "node/inventory";
    public const string PartResource = "node/inventory/objects";

    /// <summary>In <see cref="Message.Destination"/> of an object sent because its fingerprint differs although the edge's version is not lower: the edge takes it whatever
    /// its version is. It happens after the cluster was restored from an older backup.</summary>
    public const string RepairDestination = "repair";

    /// <summary>Largest content of a part, bytes: about 100,000 objects.</summary>
    public const int PartSizeMax = 12 * 1024 * 1024;

    private static readonly JsonReaderOptions s_reader = new() { MaxDepth = 8 };

    /// <param name="wantsServices">Whether the edge is to have Services, EndpointSlices, GlobalServices and Zones, too.</param>
    /// <param name="beatMs">Milliseconds between the edge's keepalives; 0 leaves it out.</param>
    public static ReadOnlyMemory<byte> WriteDigest(int count, InventoryDigest digest, bool wantsServices = false, int beatMs = 0)
    {
        var buffer = new ArrayBufferWriter<byte>(64 + (digest.Buckets * 11));
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteNumber("count"u8, count);
            json.WriteBase64String("digest"u8, digest.ToBytes());
            if (wantsServices)
                json.WriteBoolean("services"u8, true);
            if (beatMs > 0)
                json.WriteNumber("beat"u8, beatMs);
            json.WriteEndObject();
        }

        return buffer.WrittenMemory;
    }

    /// <summary>Null, with the reason, when the content is no digest.</summary>
    public static InventoryDigest? ReadDigest(ReadOnlyMemory<byte> content, out string error)
    {
        byte[]? bytes = null;
        error = Read(content, InventoryDigest.BucketsMax * 16, (ref Utf8JsonReader reader, string name) =>
        {
            if (name != "digest")
                return false;
            bytes = reader.GetBytesFromBase64();
            return true;
        });
        if (error.Length > 0)
            return null;
        var digest = bytes is null ? null : InventoryDigest.TryFrom(bytes);
        if (digest is null)
            error = "'digest' must be base64 of 8 bytes a bucket, a power of two of buckets up to 256";
        return digest;
    }

    /// <summary>The milliseconds between the edge's keepalives; 0 where a digest's content does not say, or is malformed.</summary>
    public static int ReadBeatMs(ReadOnlyMemory<byte> content)
    {
        var beat = 0;
        var error = Read(content, InventoryDigest.BucketsMax * 16, (ref Utf8JsonReader reader, string name) =>
        {
            if (name != "beat")
                return false;
            beat = reader.GetInt32();
            return true;
        });
        return error.Length == 0 && beat is > 0 and <= 3_600_000 ? beat : 0;
    }

    /// <summary>Whether a digest's content says that the edge wants Services; false where it says nothing, or is malformed.</summary>
    public static bool ReadWantsServices(ReadOnlyMemory<byte> content)
    {
        var wants = false;
        var error = Read(content, InventoryDigest.BucketsMax * 16, (ref Utf8JsonReader reader, string name) =>
        {
            if (name != "services")
                return false;
            wants = reader.GetBoolean();
            return true;
        });
        return wants && error.Length == 0;
    }

    public static ReadOnlyMemory<byte> WriteAsk(IReadOnlyList<int> buckets)
    {
        var buffer = new ArrayBufferWriter<byte>(32 + (buckets.Count * 4));
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            WriteNumbers(json, buckets);
            json.WriteEndObject();
        }

        return buffer.WrittenMemory;
    }

    /// <summary>The buckets that the answer to a digest asks for; empty for <c>"OK"</c>. Null, with the reason, when it is neither.</summary>
    /// <param name="of">How many buckets the digest had.</param>
    public static List<int>? ReadAsk(ReadOnlyMemory<byte> content, int of, out string error)
    {
        error = "";
        if (content.Span.SequenceEqual(MessageCodec.Ok.Span))
            return [];
        List<int>? buckets = null;
        error = Read(content, 4096, (ref Utf8JsonReader reader, string name) =>
        {
            if (name != "buckets")
                return false;
            buckets = ReadNumbers(ref reader);
            return true;
        });
        if (error.Length == 0)
            error = CheckBuckets(buckets, of);
        return error.Length > 0 ? null : buckets;
    }

    public static ReadOnlyMemory<byte> WritePart(InventoryPart part)
    {
        var buffer = new ArrayBufferWriter<byte>(256 + (part.Items.Count * 128));
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteNumber("of"u8, part.Of);
            WriteNumbers(json, part.Buckets);
            json.WriteStartArray("objects"u8);
            foreach (var item in part.Items)
            {
                json.WriteStartObject();
                json.WriteString("key"u8, item.Key);
                json.WriteString("uid"u8, item.Uid);
                json.WriteString("rv"u8, item.Version.ToString(CultureInfo.InvariantCulture));
                json.WriteString("fp"u8, item.Fingerprint.ToString("x16", CultureInfo.InvariantCulture));
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        return buffer.WrittenMemory;
    }

    /// <summary>Null, with the reason, when the content is no part as a whole.</summary>
    public static InventoryPart? ReadPart(ReadOnlyMemory<byte> content, out string error)
    {
        var of = 0;
        List<int>? buckets = null;
        List<InventoryItem>? items = null;
        error = Read(content, PartSizeMax, (ref Utf8JsonReader reader, string name) =>
        {
            switch (name)
            {
                case "of":
                    of = reader.GetInt32();
                    return true;
                case "buckets":
                    buckets = ReadNumbers(ref reader);
                    return true;
                case "objects":
                    items = ReadItems(ref reader);
                    return true;
                default:
                    return false;
            }
        });
        if (error.Length == 0)
        {
            error = !InventoryDigest.IsBucketCount(of) ? "'of' must be a power of two up to 256"
                : CheckBuckets(buckets, of) is { Length: > 0 } bad ? bad
                : items is null ? "'objects' is missing" : "";
        }

        return error.Length > 0 ? null : new InventoryPart(of, buckets!, items!);
    }

    private delegate bool MemberReader(ref Utf8JsonReader reader, string name);

    // Gives each member of the object to the reader; what it does not take is skipped. Returns the reason when the content is malformed.
    private static string Read(ReadOnlyMemory<byte> content, int sizeMax, MemberReader take)
    {
        if (content.Length > sizeMax)
            return $"{content.Length} bytes, the limit is {sizeMax}";
        try
        {
            var reader = new Utf8JsonReader(content.Span, s_reader);
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
                return "is not a JSON object";
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var name = reader.GetString()!;
                reader.Read();
                if (!take(ref reader, name))
                    reader.Skip();
            }

            return reader.TokenType == JsonTokenType.EndObject && !reader.Read() ? "" : "is not one JSON object";
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            return $"is malformed: {e.Message}";
        }
    }

    private static List<InventoryItem> ReadItems(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
            throw new FormatException("'objects' must be a list");
        var items = new List<InventoryItem>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.StartObject)
                throw new FormatException("each of 'objects' must be an object");
            string key = "", uid = "";
            long version = 0;
            ulong fingerprint = 0;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var name = reader.GetString()!;
                reader.Read();
                switch (name)
                {
                    case "key":
                        key = reader.GetString() ?? "";
                        break;
                    case "uid":
                        uid = reader.GetString() ?? "";
                        break;
                    case "rv":
                        // A version that is no number is one that is not known: the object is compared by its fingerprint alone.
                        _ = long.TryParse(reader.GetString(), NumberStyles.None, CultureInfo.InvariantCulture, out version);
                        break;
                    case "fp":
                        _ = ulong.TryParse(reader.GetString(), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out fingerprint);
                        break;
                    default:
                        reader.Skip();
                        break;
                }
            }

            items.Add(new InventoryItem(key, uid, version, fingerprint));
        }

        return items;
    }

    private static List<int> ReadNumbers(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
            throw new FormatException("'buckets' must be a list of numbers");
        var numbers = new List<int>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            numbers.Add(reader.GetInt32());
        return numbers;
    }

    private static void WriteNumbers(Utf8JsonWriter json, IReadOnlyList<int> buckets)
    {
        json.WriteStartArray("buckets"u8);
        foreach (var bucket in buckets)
            json.WriteNumberValue(bucket);
        json.WriteEndArray();
    }

    private static string CheckBuckets(List<int>? buckets, int of)
    {
        if (buckets is null)
            return "'buckets' is missing";
        for (var i = 0; i < buckets.Count; i++)
        {
            if (buckets[i] < 0 || buckets[i] >= of || (i > 0 && buckets[i] <= buckets[i - 1]))
                return $"'buckets' must be ascending numbers below {of}";
        }

        return "";
    }
}
