using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Cloud.SyncController;

/// <summary>Which object of a record on which node.</summary>
internal readonly record struct RecordKey(string Node, string Uid)
{
    /// <summary>The name of the ObjectSync or ClusterObjectSync (kubeedge-wire §2.3).</summary>
    public string Name => $"{Node}.{Uid}";

    /// <summary>Reads a record's name; false when it is none. Names of nodes may contain dots, uids do not.</summary>
    public static bool TryParse(string name, out RecordKey key)
    {
        var dot = name.LastIndexOf('.');
        key = dot > 0 && dot < name.Length - 1 ? new RecordKey(name[..dot], name[(dot + 1)..]) : default;
        return dot > 0 && dot < name.Length - 1;
    }
}

/// <summary>What a stock edge acknowledged of one object: an ObjectSync or ClusterObjectSync of reliablesyncs.kubeedge.io/v1alpha1.</summary>
/// <param name="Key">Node and uid.</param>
/// <param name="Namespace">The object's, where the record is too; empty for cluster-scoped ones.</param>
/// <param name="Name">The object's name.</param>
/// <param name="Version">The acknowledged resourceVersion; 0 when the object was sent and no answer has come.</param>
/// <param name="Fingerprint">See <see cref="ObjectFingerprint"/>; 0 when unknown (a stock CloudCore wrote the record, or nothing was acknowledged).</param>
internal sealed record SyncRecord(RecordKey Key, string Namespace, string ApiVersion, string Kind, string Name, long Version, ulong Fingerprint)
{
    /// <summary>Our annotation on a record: the fingerprint in hexadecimal. Without it, a new version of which only the status differs would be sent again.</summary>
    public const string FingerprintAnnotation = "edge.kubeedge.io/fingerprint";

    /// <summary>Where the record is kept.</summary>
    public ResourceKind RecordKind => Namespace.Length > 0 ? ResourceKind.ObjectSync : ResourceKind.ClusterObjectSync;

    /// <summary>The record of an object as it goes to a node.</summary>
    public static SyncRecord Of(string node, DownObject obj)
    {
        var json = obj.Body.Json;
        _ = ResourcePath.TryParse(obj.Resource, out var path);
        var kind = ManagedTypes.KindOf(path.Type);
        return new SyncRecord(
            new RecordKey(node, obj.Uid), path.Namespace == ResourcePath.ClusterScope ? "" : path.Namespace,
            kind?.ApiVersion ?? json.ApiVersion(), kind?.Kind ?? json.Kind(), path.Name, obj.Version, obj.Body.Fingerprint);
    }

    /// <summary>Reads an ObjectSync or ClusterObjectSync; null when its name is none.</summary>
    public static SyncRecord? TryRead(JsonObject record)
    {
        if (!RecordKey.TryParse(record.Name(), out var key))
            return null;
        _ = long.TryParse(record.Text("status", "objectResourceVersion"), NumberStyles.None, CultureInfo.InvariantCulture, out var version);
        _ = ulong.TryParse(record.Annotation(FingerprintAnnotation), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var fingerprint);
        return new SyncRecord(
            key, record.Namespace(), record.Text("spec", "objectAPIVersion"), record.Text("spec", "objectKind"), record.Text("spec", "objectName"), version, fingerprint);
    }

    /// <summary>The whole record but its status.</summary>
    public JsonObject ToJson()
    {
        var metadata = new JsonObject { ["name"] = Key.Name };
        if (Namespace.Length > 0)
            metadata["namespace"] = Namespace;
        if (Fingerprint != 0)
            metadata["annotations"] = new JsonObject { [FingerprintAnnotation] = FingerprintText };
        return new JsonObject
        {
            ["apiVersion"] = RecordKind.ApiVersion,
            ["kind"] = RecordKind.Kind,
            ["metadata"] = metadata,
            ["spec"] = new JsonObject { ["objectAPIVersion"] = ApiVersion, ["objectKind"] = Kind, ["objectName"] = Name },
        };
    }

    public string VersionText => Version.ToString(CultureInfo.InvariantCulture);

    public string FingerprintText => Fingerprint.ToString("x16", CultureInfo.InvariantCulture);

    /// <summary>What the edge has of it, or null for a kind that this CloudCore does not deliver (a stock one delivers more).</summary>
    public InventoryItem? ToItem()
    {
        if (ManagedTypes.TypeOf(Kind) is not { } type || Name.Length == 0 || ManagedTypes.KindOf(type)!.Namespaced != Namespace.Length > 0)
            return null;
        var path = new ResourcePath(Namespace.Length > 0 ? Namespace : ResourcePath.ClusterScope, type, Name);
        return new InventoryItem(path.ToString(), Key.Uid, Version, Fingerprint);
    }
}
