using System.Threading.Channels;

namespace Edge.Core.MetaManager;

/// <summary>A Kubernetes object as it stands on the edge's disk.</summary>
/// <param name="Key"><c>&lt;namespace&gt;/&lt;type&gt;/&lt;name&gt;</c>, cluster-scoped with the namespace <c>null</c> (kubeedge-wire §1.5).</param>
/// <param name="Type">The resource type word: <c>pod</c>, <c>configmap</c>, <c>secret</c>, <c>node</c>, <c>device</c>, <c>devicemodel</c> …</param>
/// <param name="ResourceVersion">The object's resourceVersion as a number; 0 when unknown.</param>
/// <param name="Json">The whole object, UTF-8 JSON.</param>
public sealed record MetaObject(
    string Key, string Type, string Namespace, string Name, string Uid, long ResourceVersion, ReadOnlyMemory<byte> Json)
{
    /// <summary>See <see cref="Protocol.Sync.ObjectFingerprint"/>; 0 when it is not known.</summary>
    public ulong Fingerprint { get; init; }
}

/// <summary>A committed change; for <see cref="Deleted"/>, <see cref="Object"/> is the last state known.</summary>
public sealed record MetaChange(MetaObject Object, bool Deleted)
{
    /// <summary>The place in a trace of what brought the change, or null.</summary>
    public string? Trace { get; init; }
}

/// <summary>What MetaManager offers the other rooms. Objects are written only by MetaManager, from the cloud's messages.</summary>
public interface IMetaStore
{
    /// <summary>The stored object, or null.</summary>
    MetaObject? Get(string type, string @namespace, string name);

    /// <summary>Uids of objects that were stored here and that the disk does not give back as they were: they count as missing until the cloud has sent them again, or deleted them.</summary>
    IReadOnlyCollection<string> UnreadableUids(string type);

    /// <summary>All stored objects of a type, by key.</summary>
    IReadOnlyList<MetaObject> List(string type);

    /// <summary>Everything stored of these types now, then every committed change in order. The channel is bounded (4096) and coalesces by key:
    /// a slow reader sees the newest state of each object, never loses one, and never blocks the commit.</summary>
    ChannelReader<MetaChange> Subscribe(params string[] types);

    /// <summary>The stored object, or else the cloud's answer to a query (stored first); null when neither has it, or the link is down.</summary>
    /// <remarks>For ConfigMaps and Secrets that a pod needs before the cloud pushed them.</remarks>
    Task<MetaObject?> GetOrQueryAsync(string type, string @namespace, string name, CancellationToken cancellationToken);

    /// <summary>Local rows of a room (not the cloud's objects): twins, mappers, restart counts. <paramref name="room"/> keeps rooms apart.</summary>
    ValueTask PutLocalAsync(string room, string key, ReadOnlyMemory<byte> json, CancellationToken cancellationToken);

    ValueTask DeleteLocalAsync(string room, string key, CancellationToken cancellationToken);

    /// <summary>Several of these at once: each key with its new row, or null where the row goes. All of them or none.</summary>
    ValueTask ChangeLocalAsync(string room, IReadOnlyList<KeyValuePair<string, byte[]?>> rows, CancellationToken cancellationToken);

    IReadOnlyDictionary<string, ReadOnlyMemory<byte>> ListLocal(string room);
}
