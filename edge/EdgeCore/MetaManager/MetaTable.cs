using Edge.Common.Storage;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Microsoft.Data.Sqlite;

namespace Edge.Core.MetaManager;

/// <summary>What an arriving version does to the table.</summary>
internal enum MetaDecision
{
    Stored,
    Removed,

    /// <summary>Older than what is held, the same, of a deleted object, or not there to delete: nothing to do, and the sender may forget it.</summary>
    Ignored,

    /// <summary>Ignored, but it is older and says something else, or was deleted here at a later version: a late message, or a cloud that was set back.</summary>
    Doubtful,
}

/// <summary>The rules of which version of an object stands (pure).</summary>
internal static class MetaRules
{
    /// <summary>Whether <paramref name="incoming"/> replaces <paramref name="held"/>: a version of the same object that is not newer never does.
    /// An unknown version (0) is taken, since nothing says that it is old.</summary>
    public static bool Replaces(MetaObject? held, MetaObject incoming)
        => held is null || held.Uid != incoming.Uid || incoming.ResourceVersion == 0 || incoming.ResourceVersion > held.ResourceVersion;

    /// <summary>Whether <paramref name="incoming"/>, which does not replace <paramref name="held"/>, should make the two sides compare.</summary>
    public static bool IsDoubtful(MetaObject held, MetaObject incoming) => incoming.ResourceVersion < held.ResourceVersion && incoming.Fingerprint != held.Fingerprint;

    /// <summary>Whether a tombstone of version <paramref name="deleted"/> holds back <paramref name="incoming"/> of the same uid. A deleted pod or node never comes back; a
    /// ConfigMap, Secret, device or model may have been taken away only because nothing here needed it, and comes back as it was.</summary>
    public static bool IsHeldBack(MetaObject incoming, long deleted)
        => deleted == 0 || incoming.Type is ResourceTypes.Pod or ResourceTypes.Node || (incoming.ResourceVersion != 0 && incoming.ResourceVersion < deleted);

    /// <summary>What becomes of <paramref name="incoming"/> that a tombstone holds back. What the two sides keep in step makes them compare: a cluster restored from a backup may mean it.</summary>
    public static MetaDecision OfHeldBack(MetaObject incoming) => InventoryDigest.Covers(incoming.Type) ? MetaDecision.Doubtful : MetaDecision.Ignored;

    /// <summary>The version of the tombstone after one more delete of version <paramref name="deleted"/>: a late copy of an older delete never lowers it, and 0 stays.</summary>
    public static long Tombstone(long? before, long deleted) => before is 0 || deleted == 0 ? 0 : Math.Max(before ?? 0, deleted);

    /// <summary>Whether a delete that names <paramref name="uid"/> (empty: none) is about the object held.</summary>
    public static bool Deletes(MetaObject held, string uid) => uid.Length == 0 || held.Uid.Length == 0 || held.Uid == uid;
}

/// <summary>SQL of the tables <c>objects</c>, <c>tombstones</c> and <c>local</c>.</summary>
internal sealed class MetaTable(SqliteDatabase database)
{
    private const int TombstonesMax = 4096;
    private const string Columns = "key, type, ns, name, uid, rv, json, seq, fp";
    private static readonly string s_covered = string.Join(
        ',', ((string[])[ResourceTypes.Pod, ResourceTypes.ConfigMap, ResourceTypes.Secret, ResourceTypes.Node, ResourceTypes.Device, ResourceTypes.DeviceModel,
            ResourceTypes.Service, ResourceTypes.EndpointSlice, ResourceTypes.GlobalService, ResourceTypes.Zone, ResourceTypes.RuntimeClass])
            .Where(InventoryDigest.Covers).Select(type => $"'{type}'"));

    /// <summary>The highest sequence number ever given out.</summary>
    public long LastSequence() => database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT max(coalesce((SELECT max(seq) FROM objects), 0), coalesce((SELECT max(seq) FROM tombstones), 0))";
        return (long)command.ExecuteScalar()!;
    });

    public MetaObject? Get(string key) => database.Read(connection => Get(connection, key)) is { Fingerprint: > 0 } held ? held : null;

    /// <summary>Keys and uids of rows that are no JSON object any more; of one type, or of all.</summary>
    public List<(string Key, string Uid)> Unreadable(string? type) => database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT key, uid FROM objects WHERE fp = 0" + (type is null ? "" : " AND type = $type");
        if (type is not null)
            command.Parameters.AddWithValue("$type", type);
        using var row = command.ExecuteReader();
        var list = new List<(string, string)>();
        while (row.Read())
            list.Add((row.GetString(0), row.GetString(1)));
        return list;
    });

    public List<(MetaObject Object, long Sequence)> List(IReadOnlyList<string> types) => database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT {Columns} FROM objects WHERE type IN ({string.Join(',', types.Select((_, i) => $"$t{i}"))}) AND fp <> 0 ORDER BY key";
        for (var i = 0; i < types.Count; i++)
            command.Parameters.AddWithValue($"$t{i}", types[i]);
        using var row = command.ExecuteReader();
        var list = new List<(MetaObject, long)>();
        while (row.Read())
            list.Add((ReadObject(row), row.GetInt64(7)));
        return list;
    });

    /// <summary>What is held of the types that the cloud keeps in step here.</summary>
    public List<InventoryItem> Inventory() => database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        // To the cloud a fingerprint of 0 is one that is not known; a version of 0 is older than any.
        command.CommandText = $"SELECT key, uid, CASE WHEN fp = 0 THEN 0 ELSE rv END, fp FROM objects WHERE type IN ({s_covered})";
        using var row = command.ExecuteReader();
        var list = new List<InventoryItem>();
        while (row.Read())
            list.Add(new InventoryItem(row.GetString(0), row.GetString(1), row.GetInt64(2), row.IsDBNull(3) ? 0 : (ulong)row.GetInt64(3)));
        return list;
    });

    /// <summary>Looks at every row: one that an older release stored without a fingerprint gets it, one that is something else than was stored (a disk that is damaged tells no error)
    /// gets that of what it is now, so that the cloud sees the difference and sends it again. One that is no JSON object any more has 0 and counts as missing, but for
    /// <see cref="Unreadable"/> and in an inventory.</summary>
    /// <exception cref="StoreException">They cannot be written.</exception>
    public static void CheckRows(SqliteDatabase database)
    {
        var changed = database.Read(connection =>
        {
            using var command = connection.CreateCommand();
            command.CommandText = "SELECT key, fp, json FROM objects";
            using var row = command.ExecuteReader();
            var list = new List<(string Key, ulong Fingerprint)>();
            while (row.Read())
            {
                var fingerprint = Fingerprint(row.GetFieldValue<byte[]>(2));
                if (row.IsDBNull(1) || (ulong)row.GetInt64(1) != fingerprint)
                    list.Add((row.GetString(0), fingerprint));
            }

            return list;
        });
        if (changed.Count == 0)
            return;
        // At the start, before anybody else uses the file.
        database.WriteAsync(connection =>
        {
            using var command = connection.CreateCommand();
            command.CommandText = "UPDATE objects SET fp = $fp WHERE key = $key";
            var key = command.Parameters.Add("$key", SqliteType.Text);
            var fp = command.Parameters.Add("$fp", SqliteType.Integer);
            foreach (var (name, fingerprint) in changed)
            {
                (key.Value, fp.Value) = (name, (long)fingerprint);
                command.ExecuteNonQuery();
            }
        }).AsTask().GetAwaiter().GetResult();
    }

    /// <summary>The fingerprint as it stands in an inventory: never 0 for an object, 0 for what is none.</summary>
    public static ulong Fingerprint(ReadOnlySpan<byte> json) => JsonText.IsUnicode(json) && ObjectFingerprint.TryOf(json, out var fingerprint) ? Math.Max(fingerprint, 1) : 0;

    /// <summary>On the writer: stores <paramref name="incoming"/> when the rules let it.</summary>
    /// <param name="isRepair">The cloud has compared and means this state, whatever its version is (<see cref="InventoryMessages.RepairDestination"/>).</param>
    public static MetaDecision Store(SqliteConnection connection, MetaObject incoming, bool isRepair, long sequence)
    {
        var held = Held(connection, incoming, out var deleted);
        // What cannot be read says nothing of versions.
        isRepair |= held is { Fingerprint: 0 };
        if (!isRepair && !MetaRules.Replaces(held, incoming))
            return MetaRules.IsDoubtful(held!, incoming) ? MetaDecision.Doubtful : MetaDecision.Ignored;
        if (!isRepair && deleted is { } version && MetaRules.IsHeldBack(incoming, version))
            return MetaRules.OfHeldBack(incoming);
        if (held is not null && held.Uid.Length > 0 && held.Uid != incoming.Uid)
            Bury(connection, held.Uid, version: 0, sequence);
        if (isRepair && deleted is not null)
            connection.Prepared("DELETE FROM tombstones WHERE uid = $uid", "$uid").With(incoming.Uid).ExecuteNonQuery();
        // Type, namespace and name follow from the key: an update that leaves them alone leaves the index alone.
        connection.Prepared(
            "INSERT INTO objects(key, type, ns, name, uid, rv, seq, fp, json) VALUES($key, $type, $ns, $name, $uid, $rv, $seq, $fp, $json) "
            + "ON CONFLICT(key) DO UPDATE SET uid = excluded.uid, rv = excluded.rv, seq = excluded.seq, fp = excluded.fp, json = excluded.json",
            "$key", "$type", "$ns", "$name", "$uid", "$rv", "$seq", "$fp", "$json")
            .With(
                incoming.Key, incoming.Type, incoming.Namespace, incoming.Name, incoming.Uid, incoming.ResourceVersion, sequence, (long)incoming.Fingerprint, Bytes(incoming.Json))
            .ExecuteNonQuery();
        return MetaDecision.Stored;
    }

    /// <summary>On the writer: removes the object when <paramref name="uid"/> is its own; remembers the uid, so that a late older message does not bring it back.</summary>
    /// <param name="version">The version that the delete names; 0 when it names none.</param>
    public static MetaDecision Remove(SqliteConnection connection, string key, string uid, long version, long sequence, out MetaObject? removed)
    {
        removed = Get(connection, key);
        var dead = uid.Length > 0 ? uid : removed?.Uid ?? "";
        if (dead.Length > 0)
            Bury(connection, dead, Math.Max(version, removed is not null && removed.Uid == dead ? removed.ResourceVersion : 0), sequence);
        if (removed is null || !MetaRules.Deletes(removed, uid))
            return MetaDecision.Ignored;
        using var command = connection.CreateCommand();
        command.CommandText = "DELETE FROM objects WHERE key = $key";
        command.Parameters.AddWithValue("$key", key);
        command.ExecuteNonQuery();
        return MetaDecision.Removed;
    }

    public static void PutLocal(SqliteConnection connection, string room, string key, ReadOnlyMemory<byte> json)
        => connection.Prepared("INSERT OR REPLACE INTO local(room, key, json) VALUES($room, $key, $json)", "$room", "$key", "$json").With(room, key, Bytes(json)).ExecuteNonQuery();

    public static void DeleteLocal(SqliteConnection connection, string room, string key)
        => connection.Prepared("DELETE FROM local WHERE room = $room AND key = $key", "$room", "$key").With(room, key).ExecuteNonQuery();

    public Dictionary<string, ReadOnlyMemory<byte>> ListLocal(string room) => database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT key, json FROM local WHERE room = $room";
        command.Parameters.AddWithValue("$room", room);
        using var row = command.ExecuteReader();
        var rows = new Dictionary<string, ReadOnlyMemory<byte>>();
        while (row.Read())
            rows.Add(row.GetString(0), row.GetFieldValue<byte[]>(1));
        return rows;
    });

    private static MetaObject? Get(SqliteConnection connection, string key)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT {Columns} FROM objects WHERE key = $key";
        command.Parameters.AddWithValue("$key", key);
        using var row = command.ExecuteReader();
        return row.Read() ? ReadObject(row) : null;
    }

    private static void Bury(SqliteConnection connection, string uid, long version, long sequence)
    {
        using var command = connection.CreateCommand();
        // As MetaRules.Tombstone: a late older delete never lowers the version, and 0 stays.
        command.CommandText = "INSERT INTO tombstones(uid, seq, rv) VALUES($uid, $seq, $rv) "
            + "ON CONFLICT(uid) DO UPDATE SET seq = excluded.seq, rv = CASE WHEN rv = 0 OR excluded.rv = 0 THEN 0 ELSE max(rv, excluded.rv) END; "
            + $"DELETE FROM tombstones WHERE seq <= (SELECT seq FROM tombstones ORDER BY seq DESC LIMIT 1 OFFSET {TombstonesMax})";
        command.Parameters.AddWithValue("$uid", uid);
        command.Parameters.AddWithValue("$seq", sequence);
        command.Parameters.AddWithValue("$rv", version);
        command.ExecuteNonQuery();
    }

    // The uid, version and fingerprint held, without the JSON, and the version of the incoming uid's tombstone: all that the rules look at.
    private static MetaObject? Held(SqliteConnection connection, MetaObject incoming, out long? deleted)
    {
        using var row = connection.Prepared(
            "SELECT tombstones.rv, objects.uid, objects.rv, fp FROM (SELECT 1) LEFT JOIN tombstones ON tombstones.uid = $uid AND $uid <> '' LEFT JOIN objects ON key = $key", "$uid", "$key")
            .With(incoming.Uid, incoming.Key).ExecuteReader();
        row.Read();
        deleted = row.IsDBNull(0) ? null : row.GetInt64(0);
        return row.IsDBNull(1)
            ? null
            : incoming with { Uid = row.GetString(1), ResourceVersion = row.GetInt64(2), Fingerprint = row.IsDBNull(3) ? 0 : (ulong)row.GetInt64(3), Json = default };
    }

    private static byte[] Bytes(ReadOnlyMemory<byte> json)
        => System.Runtime.InteropServices.MemoryMarshal.TryGetArray(json, out var segment) && segment.Offset == 0 && segment.Count == segment.Array!.Length ? segment.Array : json.ToArray();

    private static MetaObject ReadObject(SqliteDataReader row)
        => new(row.GetString(0), row.GetString(1), row.GetString(2), row.GetString(3), row.GetString(4), row.GetInt64(5), row.GetFieldValue<byte[]>(6))
        {
            Fingerprint = row.IsDBNull(8) ? 0 : (ulong)row.GetInt64(8),
        };
}
