using Edge.Common.Storage;
using Microsoft.Data.Sqlite;

namespace Edge.Chaos.Tests;

/// <summary>One commit to an object in the edge's store.</summary>
/// <param name="Key"><c>type/name</c>.</param>
/// <param name="Count">The writer's counter in the object; <see cref="EdgeStore.Deleted"/> for a delete.</param>
internal sealed record StoredChange(long At, string Key, string Uid, long Version, long Count);

/// <summary>edgecore's SQLite file as the tests see it: what is in it, and every change ever committed, which a trigger writes beside the change, in its transaction; so nothing
/// that happened between two looks is missed, and a kill loses none.</summary>
internal sealed class EdgeStore(string path)
{
    /// <summary>The <see cref="StoredChange.Count"/> of a delete.</summary>
    public const long Deleted = -1;

    // The annotation counts, but for devices, where it is the desired value that must arrive.
    private const string Count = """
        CASE WHEN json_valid(CAST(NEW.json AS TEXT)) THEN CAST(coalesce(
          CASE WHEN NEW.type = 'device' THEN json_extract(CAST(NEW.json AS TEXT), '$.spec.properties[0].desired.value') END,
          json_extract(CAST(NEW.json AS TEXT), '$.metadata.annotations.n'), 0) AS INTEGER) END
        """;

    private const string Ledger = $"""
        CREATE TABLE IF NOT EXISTS chaos_ledger(at INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, uid TEXT NOT NULL, rv INTEGER NOT NULL, n INTEGER);
        CREATE TRIGGER IF NOT EXISTS chaos_insert AFTER INSERT ON objects BEGIN
          INSERT INTO chaos_ledger(key, uid, rv, n) VALUES (NEW.type || '/' || NEW.name, NEW.uid, NEW.rv, {Count});
        END;
        CREATE TRIGGER IF NOT EXISTS chaos_update AFTER UPDATE ON objects BEGIN
          INSERT INTO chaos_ledger(key, uid, rv, n) VALUES (NEW.type || '/' || NEW.name, NEW.uid, NEW.rv, {Count});
        END;
        CREATE TRIGGER IF NOT EXISTS chaos_delete AFTER DELETE ON objects BEGIN
          INSERT INTO chaos_ledger(key, uid, rv, n) VALUES (OLD.type || '/' || OLD.name, OLD.uid, OLD.rv, -1);
        END;
        """;

    private readonly SemaphoreSlim _closed = new(1, 1);

    /// <summary>Puts the ledger into the file. Call once, while edgecore runs and before it has anything.</summary>
    public void AddLedger()
        => Use(SqliteOpenMode.ReadWrite, connection =>
        {
            using var command = connection.CreateCommand();
            command.CommandText = Ledger;
            return command.ExecuteNonQuery();
        });

    /// <summary>The changes after <paramref name="at"/>, in the order of their commits.</summary>
    public List<StoredChange> ChangesAfter(long at)
        => Use(SqliteOpenMode.ReadOnly, connection =>
        {
            using var command = connection.CreateCommand();
            command.CommandText = "SELECT at, key, uid, rv, coalesce(n, 0) FROM chaos_ledger WHERE at > $at ORDER BY at";
            command.Parameters.AddWithValue("$at", at);
            using var row = command.ExecuteReader();
            var changes = new List<StoredChange>();
            while (row.Read())
                changes.Add(new StoredChange(row.GetInt64(0), row.GetString(1), row.GetString(2), row.GetInt64(3), row.GetInt64(4)));
            return changes;
        });

    /// <summary>The objects that are there: uid and counter by <c>type/name</c>.</summary>
    public Dictionary<string, (string Uid, long Count)> Objects()
        => Use(SqliteOpenMode.ReadOnly, connection =>
        {
            using var command = connection.CreateCommand();
            command.CommandText = $"SELECT NEW.type || '/' || NEW.name, NEW.uid, coalesce({Count}, 0) FROM objects AS NEW";
            using var row = command.ExecuteReader();
            var objects = new Dictionary<string, (string, long)>();
            while (row.Read())
                objects.Add(row.GetString(0), (row.GetString(1), row.GetInt64(2)));
            return objects;
        });

    /// <summary>Entries of the uplink queue about devices and pods, and Events.</summary>
    public long QueuedReports()
        => Use(SqliteOpenMode.ReadOnly, connection =>
        {
            using var command = connection.CreateCommand();
            command.CommandText = "SELECT count(*) FROM uplink WHERE key LIKE 'twin/%' OR key LIKE 'podstatus/%' OR key LIKE 'event/%'";
            return (long)command.ExecuteScalar()!;
        });

    /// <summary>Commits rows to the uplink queue as edgecore does, in one transaction. Only while edgecore is dead and whoever calls holds <see cref="CloseAsync"/>.</summary>
    public void EnqueueWhileClosed(IEnumerable<QueueRow> rows)
        => With(SqliteOpenMode.ReadWrite, connection =>
        {
            using var transaction = connection.BeginTransaction();
            using var command = connection.CreateCommand();
            command.Transaction = transaction;
            // Above all that the dead process can have given; the next one begins above these.
            command.CommandText = """
                SELECT MAX(COALESCE((SELECT CAST(CAST(json AS TEXT) AS INTEGER) FROM local WHERE room = 'uplink' AND key = 'reserved'), 0), COALESCE((SELECT MAX(version) FROM uplink), 0))
                """;
            var version = (long)command.ExecuteScalar()!;
            command.CommandText = """
                INSERT INTO uplink(key, newest, priority, version, source, grp, operation, resource, content) VALUES($key, $newest, $priority, $version, 'edged', 'meta', $operation, $resource, $content)
                ON CONFLICT(key) WHERE newest = 1 DO UPDATE SET version = excluded.version, content = excluded.content
                """;
            foreach (var row in rows)
            {
                command.Parameters.Clear();
                command.Parameters.AddWithValue("$key", row.Key);
                command.Parameters.AddWithValue("$newest", row.IsNewest ? 1 : 0);
                command.Parameters.AddWithValue("$priority", row.Priority);
                command.Parameters.AddWithValue("$version", ++version);
                command.Parameters.AddWithValue("$operation", row.Operation);
                command.Parameters.AddWithValue("$resource", row.Resource);
                command.Parameters.AddWithValue("$content", row.Content);
                command.ExecuteNonQuery();
            }

            command.Parameters.Clear();
            command.CommandText = "INSERT OR REPLACE INTO local(room, key, json) VALUES('uplink', 'reserved', CAST(CAST($version AS TEXT) AS BLOB))";
            command.Parameters.AddWithValue("$version", version);
            command.ExecuteNonQuery();
            transaction.Commit();
            return version;
        });

    /// <summary>Keeps the tests out of the file until the result is disposed.</summary>
    public async Task<IDisposable> CloseAsync()
    {
        await _closed.WaitAsync();
        return new Reopening(_closed);
    }

    private T Use<T>(SqliteOpenMode mode, Func<SqliteConnection, T> work)
    {
        _closed.Wait();
        try
        {
            return With(mode, work);
        }
        finally
        {
            _closed.Release();
        }
    }

    private T With<T>(SqliteOpenMode mode, Func<SqliteConnection, T> work)
    {
        SqliteNative.EnsureLoaded();
        using var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Mode = mode, Pooling = false, DefaultTimeout = 30 }.ToString());
        connection.Open();
        return work(connection);
    }

    private sealed class Reopening(SemaphoreSlim closed) : IDisposable
    {
        public void Dispose() => closed.Release();
    }
}
