using System.Globalization;
using Edge.Common.Storage;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Microsoft.Data.Sqlite;

namespace Edge.Fleet;

/// <summary>What a write did, and its place in the order of all writes.</summary>
internal readonly record struct Applied(MetaDecision Decision, long Sequence);

/// <summary>One database for all nodes, so that their writes share commits: objects, tombstones and uplink, each with a node column.</summary>
internal sealed class FleetStore : IAsyncDisposable
{
    private static readonly string[] s_migrations =
    [
        """
        CREATE TABLE objects(
            node INTEGER NOT NULL, key TEXT NOT NULL, type TEXT NOT NULL, uid TEXT NOT NULL, rv INTEGER NOT NULL, fp INTEGER NOT NULL, json BLOB NOT NULL,
            PRIMARY KEY(node, key)) WITHOUT ROWID;
        CREATE TABLE tombstones(node INTEGER NOT NULL, uid TEXT NOT NULL, rv INTEGER NOT NULL, PRIMARY KEY(node, uid)) WITHOUT ROWID;
        CREATE TABLE uplink(
            id INTEGER PRIMARY KEY AUTOINCREMENT, node INTEGER NOT NULL, key TEXT NOT NULL, newest INTEGER NOT NULL, priority INTEGER NOT NULL, version INTEGER NOT NULL,
            source TEXT NOT NULL, grp TEXT NOT NULL, operation TEXT NOT NULL, resource TEXT NOT NULL, content BLOB NOT NULL);
        CREATE UNIQUE INDEX uplink_newest ON uplink(node, key) WHERE newest = 1
        """,
    ];

    private readonly SqliteDatabase _database;
    private readonly ILookup<int, UplinkSlot> _kept;
    private Statements? _statements; // made and used only on the database's writer thread
    private long _sequence;          // likewise
    private long _version;           // likewise

    private FleetStore(SqliteDatabase database, TimeProvider time)
    {
        _database = database;
        _kept = database.Read(ReadUplink).ToLookup(pair => pair.Node, pair => pair.Slot);
        // The clock keeps the versions of one start above those of the last, as a node's own store does.
        _version = Math.Max(time.GetUtcNow().ToUnixTimeMilliseconds() * 1024, _kept.SelectMany(slots => slots).Select(slot => slot.Version).DefaultIfEmpty().Max());
    }

    /// <exception cref="StoreException">The file cannot be opened.</exception>
    public static FleetStore Open(string path, TimeProvider time) => new(SqliteDatabase.Open(path, s_migrations, time), time);

    /// <summary>Applies MetaManager's rules to one arriving object; completes when the outcome is on disk.</summary>
    /// <exception cref="StoreException">The write failed.</exception>
    public ValueTask<Applied> ApplyAsync(int node, bool isDelete, MetaObject incoming, bool isRepair) => _database.WriteAsync(connection =>
    {
        _statements ??= new Statements(connection);
        var sequence = ++_sequence;
        return new Applied(isDelete ? _statements.Remove(node, incoming) : _statements.Store(node, incoming, isRepair), sequence);
    });

    /// <summary>What lies on disk for one node, of the types that the cloud keeps in step.</summary>
    public List<InventoryItem> Inventory(int node) => _database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT key, uid, rv, fp, type FROM objects WHERE node = $node ORDER BY key";
        command.Parameters.AddWithValue("$node", node);
        using var row = command.ExecuteReader();
        var list = new List<InventoryItem>();
        while (row.Read())
        {
            if (InventoryDigest.Covers(row.GetString(4)))
                list.Add(new InventoryItem(row.GetString(0), row.GetString(1), row.GetInt64(2), (ulong)row.GetInt64(3)));
        }

        return list;
    });

    /// <summary>What lies on disk for all nodes.</summary>
    public Dictionary<(int Node, string Key), (string Uid, long Version)> ReadAll() => _database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT node, key, uid, rv FROM objects";
        using var row = command.ExecuteReader();
        var all = new Dictionary<(int, string), (string, long)>();
        while (row.Read())
            all.Add((row.GetInt32(0), row.GetString(1)), (row.GetString(2), row.GetInt64(3)));
        return all;
    });

    /// <summary>The queue rows of one node.</summary>
    /// <param name="deleted">Called with how many rows were deleted, once they are gone from disk.</param>
    public IUplinkStore Uplink(int node, Action<int> deleted) => new NodeUplink(this, node, deleted);

    public ValueTask DisposeAsync() => _database.DisposeAsync();

    private static List<(int Node, UplinkSlot Slot)> ReadUplink(SqliteConnection connection)
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT node, id, version, key, priority, grp, resource, length(content), newest FROM uplink ORDER BY id";
        using var row = command.ExecuteReader();
        var slots = new List<(int, UplinkSlot)>();
        while (row.Read())
        {
            slots.Add((row.GetInt32(0), new UplinkSlot(
                row.GetInt64(1), row.GetInt64(2), row.GetString(3), (UplinkPriority)row.GetInt32(4), SqliteUplinkStore.IsAnswered(row.GetString(5), row.GetString(6)), row.GetInt32(7))
            {
                Rule = row.GetInt32(8) == 1 ? UplinkRule.Newest : UplinkRule.Every,
            }));
        }

        return slots;
    }

    // Prepared once: at this rate making a command costs more than running it.
    private sealed class Statements(SqliteConnection connection)
    {
        private readonly SqliteCommand _held = Make(connection, "SELECT uid, rv, fp FROM objects WHERE node = $node AND key = $key", "$node", "$key");
        private readonly SqliteCommand _isDead = Make(connection, "SELECT rv FROM tombstones WHERE node = $node AND uid = $uid", "$node", "$uid");
        private readonly SqliteCommand _put = Make(
            connection, "INSERT OR REPLACE INTO objects(node, key, type, uid, rv, fp, json) VALUES($node, $key, $type, $uid, $rv, $fp, $json)",
            "$node", "$key", "$type", "$uid", "$rv", "$fp", "$json");
        private readonly SqliteCommand _remove = Make(connection, "DELETE FROM objects WHERE node = $node AND key = $key", "$node", "$key");
        private readonly SqliteCommand _bury = Make(connection, "INSERT OR REPLACE INTO tombstones(node, uid, rv) VALUES($node, $uid, $rv)", "$node", "$uid", "$rv");
        private readonly SqliteCommand _exhume = Make(connection, "DELETE FROM tombstones WHERE node = $node AND uid = $uid", "$node", "$uid");
        private readonly SqliteCommand _isWaiting = Make(connection, "SELECT id FROM uplink WHERE node = $node AND key = $key AND newest = 1", "$node", "$key");
        private readonly SqliteCommand _renew = Make(
            connection, "UPDATE uplink SET priority = $p, version = $v, source = $s, grp = $g, operation = $o, resource = $r, content = $c WHERE id = $id", "$id", "$p", "$v", "$s", "$g", "$o", "$r", "$c");
        private readonly SqliteCommand _enqueue = Make(
            connection,
            "INSERT INTO uplink(node, key, newest, priority, version, source, grp, operation, resource, content) VALUES($node, $key, $n, $p, $v, $s, $g, $o, $r, $c); SELECT last_insert_rowid()",
            "$node", "$key", "$n", "$p", "$v", "$s", "$g", "$o", "$r", "$c");
        private readonly SqliteCommand _dequeue = Make(connection, "DELETE FROM uplink WHERE id = $id AND version = $v", "$id", "$v");

        public MetaDecision Store(int node, MetaObject incoming, bool isRepair)
        {
            var held = Held(node, incoming);
            if (!isRepair && !MetaRules.Replaces(held, incoming))
                return MetaRules.IsDoubtful(held!, incoming) ? MetaDecision.Doubtful : MetaDecision.Ignored;
            if (isRepair)
                With(_exhume, node, incoming.Uid).ExecuteNonQuery();
            else if (incoming.Uid.Length > 0 && With(_isDead, node, incoming.Uid).ExecuteScalar() is long deleted && MetaRules.IsHeldBack(incoming, deleted))
                return MetaRules.OfHeldBack(incoming);
            if (held is not null && held.Uid.Length > 0 && held.Uid != incoming.Uid)
                With(_bury, node, held.Uid, 0L).ExecuteNonQuery();
            With(_put, node, incoming.Key, incoming.Type, incoming.Uid, incoming.ResourceVersion, (long)incoming.Fingerprint, incoming.Json.ToArray()).ExecuteNonQuery();
            return MetaDecision.Stored;
        }

        public MetaDecision Remove(int node, MetaObject incoming)
        {
            var held = Held(node, incoming);
            var dead = incoming.Uid.Length > 0 ? incoming.Uid : held?.Uid ?? "";
            if (dead.Length > 0)
                With(_bury, node, dead, Math.Max(incoming.ResourceVersion, held is not null && held.Uid == dead ? held.ResourceVersion : 0)).ExecuteNonQuery();
            if (held is null || !MetaRules.Deletes(held, incoming.Uid))
                return MetaDecision.Ignored;
            With(_remove, node, incoming.Key).ExecuteNonQuery();
            return MetaDecision.Removed;
        }

        public UplinkSlot Enqueue(int node, UplinkEntry entry, long version)
        {
            var isNewest = entry.Rule == UplinkRule.Newest;
            var id = isNewest ? (long?)With(_isWaiting, node, entry.Key).ExecuteScalar() : null;
            if (id is { } known)
                With(_renew, known, (int)entry.Priority, version, entry.Source, entry.Group, entry.Operation, entry.Resource, entry.Content.ToArray()).ExecuteNonQuery();
            else
            {
                id = (long)With(_enqueue, node, entry.Key, isNewest ? 1 : 0, (int)entry.Priority, version, entry.Source, entry.Group, entry.Operation, entry.Resource, entry.Content.ToArray())
                    .ExecuteScalar()!;
            }

            return new UplinkSlot(id.Value, version, entry.Key, entry.Priority, SqliteUplinkStore.IsAnswered(entry.Group, entry.Resource), entry.Content.Length) { Rule = entry.Rule };
        }

        public int Dequeue(IReadOnlyList<UplinkRow> rows) => rows.Sum(row => With(_dequeue, row.Id, row.Version).ExecuteNonQuery());

        private MetaObject? Held(int node, MetaObject incoming)
        {
            using var row = With(_held, node, incoming.Key).ExecuteReader();
            return row.Read() ? incoming with { Uid = row.GetString(0), ResourceVersion = row.GetInt64(1), Fingerprint = (ulong)row.GetInt64(2), Json = default } : null;
        }

        private static SqliteCommand Make(SqliteConnection connection, string sql, params string[] parameters)
        {
            var command = connection.CreateCommand();
            command.CommandText = sql;
            foreach (var name in parameters)
                command.Parameters.Add(new SqliteParameter { ParameterName = name });
            return command;
        }

        private static SqliteCommand With(SqliteCommand command, params object[] values)
        {
            for (var i = 0; i < values.Length; i++)
                command.Parameters[i].Value = values[i];
            return command;
        }
    }

    private sealed class NodeUplink(FleetStore store, int node, Action<int> deleted) : IUplinkStore
    {
        public IReadOnlyList<UplinkSlot> ReadSlots() => [.. store._kept[node]];

        public ValueTask<IReadOnlyList<UplinkSlot>> StoreAsync(IReadOnlyList<UplinkEntry> entries, CancellationToken cancellationToken)
            => store._database.WriteAsync<IReadOnlyList<UplinkSlot>>(
                connection =>
                {
                    var statements = store._statements ??= new Statements(connection);
                    return [.. entries.Select(entry => statements.Enqueue(node, entry, ++store._version))];
                },
                cancellationToken);

        public IReadOnlyDictionary<long, Message> Load(IReadOnlyList<long> ids) => store._database.Read(connection =>
        {
            using var command = connection.CreateCommand();
            command.CommandText = $"SELECT id, version, source, grp, operation, resource, content FROM uplink WHERE id IN ({string.Join(',', ids)})";
            using var row = command.ExecuteReader();
            var messages = new Dictionary<long, Message>(ids.Count);
            while (row.Read())
            {
                messages.Add(row.GetInt64(0), new Message
                {
                    Id = "",
                    ResourceVersion = row.GetInt64(1).ToString(CultureInfo.InvariantCulture),
                    Source = row.GetString(2),
                    Group = row.GetString(3),
                    Operation = row.GetString(4),
                    Resource = row.GetString(5),
                    Content = row.GetFieldValue<byte[]>(6),
                });
            }

            return messages;
        });

        public async ValueTask DeleteAsync(IReadOnlyList<UplinkRow> rows, bool canWait)
            => deleted(await store._database.WriteAsync(connection => (store._statements ??= new Statements(connection)).Dequeue(rows)));
    }
}
