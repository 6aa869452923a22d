using Edge.Common.Storage;
using Edge.Kubernetes;
using Microsoft.Data.Sqlite;

namespace Edge.ApiServer.Storage;

/// <summary>The SQL of one change, with its statements prepared once. Used on the database's writer thread only.</summary>
internal sealed class StoreWriter : IDisposable
{
    /// <summary>Schema, see <see cref="SqliteDatabase.Open"/>. <c>events.type</c> is a <see cref="WatchEventType"/>.</summary>
    public static readonly string[] Migrations =
    [
        """
        CREATE TABLE objects (grp TEXT NOT NULL, plural TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL,
            rv INTEGER NOT NULL, json BLOB NOT NULL, PRIMARY KEY (grp, plural, ns, name));
        CREATE TABLE events (rv INTEGER PRIMARY KEY, grp TEXT NOT NULL, plural TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL,
            uid TEXT NOT NULL, type INTEGER NOT NULL, json BLOB NOT NULL);
        CREATE INDEX events_resource ON events (grp, plural, rv);
        CREATE TABLE floors (grp TEXT NOT NULL, plural TEXT NOT NULL, rv INTEGER NOT NULL, PRIMARY KEY (grp, plural))
        """,
    ];

    // What names an object are the parameters 1 to 4 of all statements.
    private const int Uid = 5;
    private const int Rv = 6;
    private const int Json = 7;
    private const int Type = 8;

    private SqliteConnection? _connection;
    private SqliteStatement? _newest;
    private SqliteStatement? _version;
    private SqliteStatement? _put;
    private SqliteStatement? _remove;
    private SqliteStatement? _event;

    /// <summary>The newest version in the database, uncommitted ones of this batch included; 0 when empty.</summary>
    public long Newest(SqliteConnection connection)
    {
        Bind(connection);
        return _newest!.RunForNumber() ?? 0;
    }

    /// <summary>The object's version, or null when there is none.</summary>
    public long? Version(ResourceId resource, string @namespace, string name)
    {
        Set(_version!, resource, @namespace, name);
        return _version!.RunForNumber();
    }

    public void Write(WatchEventType type, StoredObject obj)
    {
        if (type == WatchEventType.Deleted)
        {
            Set(_remove!, obj.Resource, obj.Namespace, obj.Name);
            _remove!.Run();
        }
        else
        {
            SetAll(_put!, obj);
            _put!.Run();
        }

        SetAll(_event!, obj);
        _event!.Bind(Type, (long)type);
        _event.Run();
    }

    /// <summary>Lets the statements go, before the connection they are of is closed.</summary>
    public void Dispose()
    {
        foreach (var statement in (SqliteStatement?[])[_newest, _version, _put, _remove, _event])
            statement?.Dispose();
        _connection = null;
    }

    /// <summary>Forgets the changes up to the floor, and remembers it.</summary>
    public static void Trim(SqliteConnection connection, ResourceId resource, long floor)
    {
        using var command = connection.CreateCommand();
        command.CommandText = """
            DELETE FROM events WHERE grp = $grp AND plural = $plural AND rv <= $rv;
            INSERT OR REPLACE INTO floors (grp, plural, rv) VALUES ($grp, $plural, $rv)
            """;
        command.Parameters.AddWithValue("$grp", resource.Group);
        command.Parameters.AddWithValue("$plural", resource.Plural);
        command.Parameters.AddWithValue("$rv", floor);
        command.ExecuteNonQuery();
    }

    private void Bind(SqliteConnection connection)
    {
        if (ReferenceEquals(connection, _connection))
            return;
        _connection = connection;
        _newest = new SqliteStatement(connection, "SELECT max(rv) FROM events");
        _version = new SqliteStatement(connection, "SELECT rv FROM objects WHERE grp = ?1 AND plural = ?2 AND ns = ?3 AND name = ?4");
        _remove = new SqliteStatement(connection, "DELETE FROM objects WHERE grp = ?1 AND plural = ?2 AND ns = ?3 AND name = ?4");
        // To replace the row would give it another number, and with that another place in the table and in the index.
        _put = new SqliteStatement(
            connection,
            "INSERT INTO objects (grp, plural, ns, name, uid, rv, json) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) "
            + "ON CONFLICT (grp, plural, ns, name) DO UPDATE SET uid = excluded.uid, rv = excluded.rv, json = excluded.json");
        _event = new SqliteStatement(connection, "INSERT INTO events (grp, plural, ns, name, uid, rv, json, type) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    }

    private static void Set(SqliteStatement statement, ResourceId resource, string @namespace, string name)
    {
        statement.Bind(1, resource.Group);
        statement.Bind(2, resource.Plural);
        statement.Bind(3, @namespace);
        statement.Bind(4, name);
    }

    private static void SetAll(SqliteStatement statement, StoredObject obj)
    {
        Set(statement, obj.Resource, obj.Namespace, obj.Name);
        statement.Bind(Uid, obj.Uid);
        statement.Bind(Rv, obj.Version);
        statement.Bind(Json, obj.Json);
    }
}
