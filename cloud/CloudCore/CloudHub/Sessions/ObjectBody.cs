using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Cloud.CloudHub.Sessions;

/// <summary>One state of one object as edges get it: its bytes, written once; every node and every resend sends the same ones. Safe for concurrent calls.</summary>
/// <remarks>The bytes are a third of what the parsed object takes, so only they are kept; <see cref="Json"/> reads them again for the few who look inside.</remarks>
internal sealed class ObjectBody
{
    private WeakReference<JsonObject>? _json; // made when first looked into
    private ulong _fingerprint;

    /// <param name="json">The whole object with kind and apiVersion.</param>
    public ObjectBody(JsonObject json)
        : this(new ObjectText(json))
    {
        _json = new WeakReference<JsonObject>(json);
    }

    /// <param name="text">The whole object with kind and apiVersion; its bytes travel as they came.</param>
    /// <param name="before">The state before it, whose texts it then shares: what a change leaves in memory costs the collector more than what it throws away.</param>
    public ObjectBody(ObjectText text, ObjectBody? before = null)
    {
        Content = new SharedContent(text.Utf8.IsEmpty ? JsonBytes.Of(text.Json) : text.Utf8);
        (Namespace, Name, Uid) = before is not null && before.Uid == text.Uid && before.Name == text.Name && before.Namespace == text.Namespace
            ? (before.Namespace, before.Name, before.Uid) : (text.Namespace, text.Name, text.Uid);
        Version = long.TryParse(text.ResourceVersion, NumberStyles.None, CultureInfo.InvariantCulture, out var version) ? version : 0;
    }

    /// <summary>Empty for cluster-scoped objects.</summary>
    public string Namespace { get; }

    public string Name { get; }

    public string Uid { get; }

    /// <summary>The resourceVersion as a number.</summary>
    public long Version { get; }

    /// <summary>The bytes that travel.</summary>
    public SharedContent Content { get; }

    /// <summary>The whole object; shared, not to be changed.</summary>
    public JsonObject Json
    {
        get
        {
            if (_json is not null && _json.TryGetTarget(out var json))
                return json;
            json = JsonNode.Parse(Content.Utf8.Span)!.AsObject();
            _json = new WeakReference<JsonObject>(json);
            return json;
        }
    }

    /// <summary>See <see cref="ObjectFingerprint"/>; never 0.</summary>
    public ulong Fingerprint
    {
        get
        {
            if (_fingerprint == 0)
                _fingerprint = ObjectFingerprint.TryOf(Content.Utf8.Span, out var found) ? Math.Max(found, 1) : 1;
            return _fingerprint;
        }
    }
}
