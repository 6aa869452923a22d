using Edge.Common.Storage;
using Microsoft.Data.Sqlite;

namespace Edge.Core.MetaManager;

/// <summary>What an arriving version does to the table.</summary>
internal enum MetaDecision
{
    Stored,
    Removed,

    /// <summary>Older than what is held, the same, of a deleted object, or not there to delete: nothing to do, and the sender may forget it.</summary>
    Ignored,
}

/// <summary>The rules of which version of an object stands (pure).</summary>
internal static class MetaRules
{
    /// <summary>Whether <paramref name="incoming"/> replaces <paramref name="held"/>: a version of the same object that is not newer never does.
    /// An unknown version (0) is taken, since nothing says that it is old.</summary>
    public static bool Replaces(MetaObject? held, MetaObject incoming)
        => held is null || held.Uid != incoming.Uid || incoming.ResourceVersion == 0 || incoming.ResourceVersion > held.ResourceVersion;

    /// <summary>Whether a delete that names <paramref name="uid"/> (empty: none) is about the object held.</summary>
    public static bool Deletes(MetaObject held, string uid) => uid.Length == 0 || held.Uid.Length == 0 || held.Uid == uid;
}

/// <summary>SQL of the tables <c>objects</c>, <c>tombstones</c> and <c>local</c>.</summary>
internal sealed class MetaTable(SqliteDatabase database)
{
    private const int TombstonesMax = 4096;
    private const string Columns = "key, type, ns, name, uid, rv, json, seq";

    /// <summary>The highest sequence number ever given out.</summary>
    public long LastSequence() => database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT max(coalesce((SELECT max(seq) FROM objects), 0), coalesce((SELECT max(seq) FROM tombstones), 0))";
        return (long)command.ExecuteScalar()!;
    });

    public MetaObject? Get(string key) => database.Read(connection => Get(connection, key));

    public List<(MetaObject Object, long Sequence)> List(IReadOnlyList<string> types) => database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT {Columns} FROM objects WHERE type IN ({string.Join(',', types.Select((_, i) => $"$t{i}"))}) ORDER BY key";
        for (var i = 0; i < types.Count; i++)
            command.Parameters.AddWithValue($"$t{i}", types[i]);
        using var row = command.ExecuteReader();
        var list = new List<(MetaObject, long)>();
        while (row.Read())
            list.Add((ReadObject(row), row.GetInt64(7)));
        return list;
    });

    public List<(string Key, string Uid, long Version)> Inventory() => database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT key, uid, rv FROM objects ORDER BY key";
        using var row = command.ExecuteReader();
        var list = new List<(string, string, long)>();
        while (row.Read())
            list.Add((row.GetString(0), row.GetString(1), row.GetInt64(2)));
        return list;
    });

    /// <summary>On the writer: stores <paramref name="incoming"/> when the rules let it.</summary>
    public static MetaDecision Store(SqliteConnection connection, MetaObject incoming, long sequence)
    {
        if (!MetaRules.Replaces(Get(connection, incoming.Key), incoming) || (incoming.Uid.Length > 0 && IsDeleted(connection, incoming.Uid)))
            return MetaDecision.Ignored;
        using var command = connection.CreateCommand();
        command.CommandText = $"INSERT OR REPLACE INTO objects({Columns}) VALUES($key, $type, $ns, $name, $uid, $rv, $json, $seq)";
        command.Parameters.AddWithValue("$key", incoming.Key);
        command.Parameters.AddWithValue("$type", incoming.Type);
        command.Parameters.AddWithValue("$ns", incoming.Namespace);
        command.Parameters.AddWithValue("$name", incoming.Name);
        command.Parameters.AddWithValue("$uid", incoming.Uid);
        command.Parameters.AddWithValue("$rv", incoming.ResourceVersion);
        command.Parameters.AddWithValue("$json", incoming.Json.ToArray());
        command.Parameters.AddWithValue("$seq", sequence);
        command.ExecuteNonQuery();
        return MetaDecision.Stored;
    }

    /// <summary>On the writer: removes the object when <paramref name="uid"/> is its own; remembers the uid, so that a late older message does not bring it back.</summary>
    public static MetaDecision Remove(SqliteConnection connection, string key, string uid, long sequence, out MetaObject? removed)
    {
        removed = Get(connection, key);
        var dead = uid.Length > 0 ? uid : removed?.Uid ?? "";
        if (dead.Length > 0)
        {
            using var bury = connection.CreateCommand();
            bury.CommandText = "INSERT OR REPLACE INTO tombstones(uid, seq) VALUES($uid, $seq); "
                + $"DELETE FROM tombstones WHERE seq <= (SELECT seq FROM tombstones ORDER BY seq DESC LIMIT 1 OFFSET {TombstonesMax})";
            bury.Parameters.AddWithValue("$uid", dead);
            bury.Parameters.AddWithValue("$seq", sequence);
            bury.ExecuteNonQuery();
        }

        if (removed is null || !MetaRules.Deletes(removed, uid))
            return MetaDecision.Ignored;
        using var command = connection.CreateCommand();
        command.CommandText = "DELETE FROM objects WHERE key = $key";
        command.Parameters.AddWithValue("$key", key);
        command.ExecuteNonQuery();
        return MetaDecision.Removed;
    }

    public static void PutLocal(SqliteConnection connection, string room, string key, ReadOnlyMemory<byte> json)
    {
        using var command = connection.CreateCommand();
        command.CommandText = "INSERT OR REPLACE INTO local(room, key, json) VALUES($room, $key, $json)";
        command.Parameters.AddWithValue("$room", room);
        command.Parameters.AddWithValue("$key", key);
        command.Parameters.AddWithValue("$json", json.ToArray());
        command.ExecuteNonQuery();
    }

    public static void DeleteLocal(SqliteConnection connection, string room, string key)
    {
        using var command = connection.CreateCommand();
        command.CommandText = "DELETE FROM local WHERE room = $room AND key = $key";
        command.Parameters.AddWithValue("$room", room);
        command.Parameters.AddWithValue("$key", key);
        command.ExecuteNonQuery();
    }

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

    private static bool IsDeleted(SqliteConnection connection, string uid)
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT 1 FROM tombstones WHERE uid = $uid";
        command.Parameters.AddWithValue("$uid", uid);
        return command.ExecuteScalar() is not null;
    }

    private static MetaObject ReadObject(SqliteDataReader row)
        => new(row.GetString(0), row.GetString(1), row.GetString(2), row.GetString(3), row.GetString(4), row.GetInt64(5), row.GetFieldValue<byte[]>(6));
}
