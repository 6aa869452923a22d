using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Kubernetes;

/// <summary>One state of one object as a watch brought it: its bytes where they are known, the fields that everybody asks for, and the parsed object for who looks inside.</summary>
/// <remarks>Most changes are looked at in a few fields and passed on as they are: parsing them costs several times that. Safe for concurrent calls; shared, not to be changed.</remarks>
public sealed class ObjectText
{
    private readonly ResourceKind? _kind;
    private readonly Range _managedFields;
    private JsonObject? _json;

    /// <param name="json">The whole object with kind and apiVersion.</param>
    public ObjectText(JsonObject json)
    {
        _json = json;
        (Namespace, Name, Uid, ResourceVersion) = (json.Namespace(), json.Name(), json.Uid(), json.ResourceVersion());
    }

    private ObjectText(ReadOnlyMemory<byte> utf8, ResourceKind kind, in Scan scan)
    {
        Utf8 = utf8;
        _kind = kind;
        _managedFields = scan.ManagedFields;
        (Namespace, Name, Uid, ResourceVersion) = (scan.Namespace, scan.Name, scan.Uid, scan.ResourceVersion);
    }

    private ObjectText(ObjectText whole, ReadOnlyMemory<byte> utf8)
    {
        Utf8 = utf8;
        _kind = whole._kind;
        (Namespace, Name, Uid, ResourceVersion) = (whole.Namespace, whole.Name, whole.Uid, whole.ResourceVersion);
    }

    /// <summary>Empty for cluster-scoped objects.</summary>
    public string Namespace { get; }

    public string Name { get; }

    public string Uid { get; }

    public string ResourceVersion { get; }

    /// <summary>The object in UTF-8; empty where only the parsed object is known.</summary>
    public ReadOnlyMemory<byte> Utf8 { get; }

    /// <summary>The parsed object.</summary>
    public JsonObject Json
    {
        get
        {
            if (Volatile.Read(ref _json) is { } json)
                return json;
            json = KubeJson.WithKind(KubeJson.Parse(Utf8.Span)!.AsObject(), _kind!);
            return Interlocked.CompareExchange(ref _json, json, null) ?? json;
        }
    }

    /// <summary>The object without <c>metadata.managedFields</c>: itself where it has none.</summary>
    public ObjectText WithoutManagedFields()
    {
        if (Utf8.IsEmpty)
            return KubeObject.WithoutManagedFields(Json) is var lean && lean == Json ? this : new ObjectText(lean);
        var (start, length) = _managedFields.GetOffsetAndLength(Utf8.Length);
        if (length == 0)
            return this;
        var rest = new byte[Utf8.Length - length];
        Utf8.Span[..start].CopyTo(rest);
        Utf8.Span[(start + length)..].CopyTo(rest.AsSpan(start));
        return new ObjectText(this, rest);
    }

    /// <summary>The string under a path of object keys, or empty.</summary>
    public string Text(params ReadOnlySpan<string> path)
    {
        if (Volatile.Read(ref _json) is { } json)
            return json.Text(path);
        var reader = new Utf8JsonReader(Utf8.Span, new JsonReaderOptions { MaxDepth = KubeJson.DepthMax });
        reader.Read();
        foreach (var key in path)
        {
            if (reader.TokenType != JsonTokenType.StartObject || !TryEnter(ref reader, key))
                return "";
        }

        return reader.TokenType == JsonTokenType.String ? reader.GetString()! : "";
    }

    /// <summary>Whether the word stands anywhere in the object, be it as a name or in a text. True may be a chance; false is certain.</summary>
    public bool MayContain(ReadOnlySpan<byte> word) => Utf8.IsEmpty || Utf8.Span.IndexOf(word) >= 0;

    /// <summary>Reads <paramref name="utf8"/>, which is JSON with distinct names, without parsing what is in it. False where it takes a closer look: without kind, uid or resourceVersion, or with
    /// text that is not Unicode.</summary>
    internal static bool TryRead(ReadOnlySpan<byte> utf8, ResourceKind kind, out ObjectText read)
    {
        read = null!;
        // Halves of surrogate pairs are escaped; half of one alone is no text.
        if (!System.Text.Unicode.Utf8.IsValid(utf8) || utf8.IndexOf("\\ud"u8) >= 0 || utf8.IndexOf("\\uD"u8) >= 0)
            return false;
        var scan = new Scan();
        var reader = new Utf8JsonReader(utf8, new JsonReaderOptions { MaxDepth = KubeJson.DepthMax });
        var (hasKind, hasApiVersion) = (false, false);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            return false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            hasKind |= reader.ValueTextEquals("kind"u8);
            hasApiVersion |= reader.ValueTextEquals("apiVersion"u8);
            var isMetadata = reader.ValueTextEquals("metadata"u8);
            reader.Read();
            if (isMetadata && reader.TokenType == JsonTokenType.StartObject)
                scan.ReadMetadata(ref reader);
            else
                reader.Skip();
        }

        if (!hasKind || !hasApiVersion || scan.Name.Length == 0 || scan.Uid.Length == 0 || scan.ResourceVersion.Length == 0)
            return false;
        read = new ObjectText(utf8.ToArray(), kind, scan);
        return true;
    }

    // From an object's start to the value of one of its members; false where it has no such member.
    private static bool TryEnter(ref Utf8JsonReader reader, string key)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isIt = reader.ValueTextEquals(key);
            reader.Read();
            if (isIt)
                return true;
            reader.Skip();
        }

        return false;
    }

    private struct Scan
    {
        public Scan()
        {
        }

        public string Namespace { get; private set; } = "";

        public string Name { get; private set; } = "";

        public string Uid { get; private set; } = "";

        public string ResourceVersion { get; private set; } = "";

        /// <summary>What to cut out: the member and one comma.</summary>
        public Range ManagedFields { get; private set; }

        public void ReadMetadata(ref Utf8JsonReader reader)
        {
            var before = (int)reader.BytesConsumed; // the end of what stands before the member
            var isFirst = true;
            var cutFrom = -1; // managedFields came first: the comma after it goes
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                if (cutFrom >= 0)
                    (ManagedFields, cutFrom) = (cutFrom..(int)reader.TokenStartIndex, -1);
                if (reader.ValueTextEquals("managedFields"u8))
                {
                    var start = (int)reader.TokenStartIndex;
                    reader.Read();
                    reader.Skip();
                    ManagedFields = (isFirst ? start : before)..(int)reader.BytesConsumed;
                    if (isFirst)
                        cutFrom = start;
                }
                else if (reader.ValueTextEquals("name"u8))
                {
                    Name = Value(ref reader);
                }
                else if (reader.ValueTextEquals("namespace"u8))
                {
                    Namespace = Value(ref reader);
                }
                else if (reader.ValueTextEquals("uid"u8))
                {
                    Uid = Value(ref reader);
                }
                else if (reader.ValueTextEquals("resourceVersion"u8))
                {
                    ResourceVersion = Value(ref reader);
                }
                else
                {
                    reader.Read();
                    reader.Skip();
                }

                isFirst = false;
                before = (int)reader.BytesConsumed;
            }
        }

        private static string Value(ref Utf8JsonReader reader)
        {
            reader.Read();
            if (reader.TokenType == JsonTokenType.String)
                return reader.GetString()!;
            reader.Skip();
            return "";
        }
    }
}
