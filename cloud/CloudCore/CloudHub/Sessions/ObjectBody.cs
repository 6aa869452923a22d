using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Cloud.CloudHub.Sessions;

/// <summary>One state of one object as edges get it. Serialised when the first node needs it and then shared: every node and every resend sends the same bytes.
/// Safe for concurrent calls.</summary>
/// <param name="json">The whole object with kind and apiVersion; shared, not to be changed.</param>
internal sealed class ObjectBody(JsonObject json)
{
    // Weak: what waits for an answer holds the bytes; when nobody does, the object alone stays.
    private WeakReference<SharedContent>? _content;
    private ulong _fingerprint;

    public JsonObject Json { get; } = json;

    public string Uid { get; } = json.Uid();

    /// <summary>The resourceVersion as a number.</summary>
    public long Version { get; } = json.Version();

    /// <summary>The bytes that travel.</summary>
    public SharedContent Content
    {
        get
        {
            if (_content is not null && _content.TryGetTarget(out var content))
                return content;
            content = new SharedContent(JsonBytes.Of(Json));
            _content = new WeakReference<SharedContent>(content);
            return content;
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
