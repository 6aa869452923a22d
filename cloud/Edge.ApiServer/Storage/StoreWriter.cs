using System.Globalization;
using Edge.Kubernetes;
using Microsoft.Data.Sqlite;

namespace Edge.ApiServer.Storage;

/// <summary>The SQL of one change, with its statements prepared once. Used on the database's writer thread only.</summary>
internal sealed class StoreWriter
{
    /// <summary>Schema, see <see cref="Common.Storage.SqliteDatabase.Open"/>. <c>events.type</c> is a <see cref="WatchEventType"/>.</summary>
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

    private SqliteConnection? _connection;
    private SqliteCommand? _newest;
    private SqliteCommand? _version;
    private SqliteCommand? _put;
    private SqliteCommand? _remove;
    private SqliteCommand? _event;

    /// <summary>The newest version in the database, uncommitted ones of this batch included; 0 when empty.</summary>
    public long Newest(SqliteConnection connection)
    {
        Bind(connection);
        return Convert.ToInt64(_newest!.ExecuteScalar(), CultureInfo.InvariantCulture);
    }

    /// <summary>The object's version, or null when there is none.</summary>
    public long? Version(ResourceId resource, string @namespace, string name)
    {
        Set(_version!, resource, @namespace, name);
        return _version!.ExecuteScalar() is long version ? version : null;
    }

    public void Write(WatchEventType type, StoredObject obj)
    {
        if (type == WatchEventType.Deleted)
        {
            Set(_remove!, obj.Resource, obj.Namespace, obj.Name);
            _remove!.ExecuteNonQuery();
        }
        else
        {
            SetAll(_put!, obj);
            _put!.ExecuteNonQuery();
        }

        SetAll(_event!, obj);
        _event!.Parameters["$type"].Value = (long)type;
        _event.ExecuteNonQuery();
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
        _newest = Command("SELECT ifnull(max(rv), 0) FROM events");
        _version = Command("SELECT rv FROM objects WHERE grp = $grp AND plural = $plural AND ns = $ns AND name = $name");
        _remove = Command("DELETE FROM objects WHERE grp = $grp AND plural = $plural AND ns = $ns AND name = $name");
        _put = Command("INSERT OR REPLACE INTO objects (grp, plural, ns, name, uid, rv, json) VALUES ($grp, $plural, $ns, $name, $uid, $rv, $json)");
        _event = Command("INSERT INTO events (rv, grp, plural, ns, name, uid, type, json) VALUES ($rv, $grp, $plural, $ns, $name, $uid, $type, $json)");
    }

    private SqliteCommand Command(string sql)
    {
        var command = _connection!.CreateCommand();
        command.CommandText = sql;
        foreach (var (name, type) in ((string, SqliteType)[])[("$grp", SqliteType.Text), ("$plural", SqliteType.Text), ("$ns", SqliteType.Text), ("$name", SqliteType.Text), ("$uid", SqliteType.Text), ("$rv", SqliteType.Integer), ("$type", SqliteType.Integer), ("$json", SqliteType.Blob)])
            if (sql.Contains(name, StringComparison.Ordinal))
                command.Parameters.Add(name, type);
        return command;
    }

    private static void Set(SqliteCommand command, ResourceId resource, string @namespace, string name)
    {
        command.Parameters["$grp"].Value = resource.Group;
        command.Parameters["$plural"].Value = resource.Plural;
        command.Parameters["$ns"].Value = @namespace;
        command.Parameters["$name"].Value = name;
    }

    private static void SetAll(SqliteCommand command, StoredObject obj)
    {
        Set(command, obj.Resource, obj.Namespace, obj.Name);
        command.Parameters["$uid"].Value = obj.Uid;
        command.Parameters["$rv"].Value = obj.Version;
        command.Parameters["$json"].Value = obj.Json;
    }
}
