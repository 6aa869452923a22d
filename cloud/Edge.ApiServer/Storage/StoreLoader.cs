using Edge.Common.Storage;
using Edge.Kubernetes;
using Microsoft.Data.Sqlite;

namespace Edge.ApiServer.Storage;

/// <summary>Fills the tables in memory from the database at start.</summary>
internal static class StoreLoader
{
    /// <summary>In the table of floors: every resource, those without an object too. A restored backup has it, so that no watch resumes from before.</summary>
    public const string EveryResource = "*";

    public static long FloorOfAll(SqliteDatabase database) => database.Read(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT ifnull(max(rv), 0) FROM floors WHERE grp = '*'";
        return Convert.ToInt64(command.ExecuteScalar(), System.Globalization.CultureInfo.InvariantCulture);
    });

    /// <summary>Returns the newest version; 0 for an empty database.</summary>
    public static long Load(SqliteDatabase database, Func<ResourceId, ResourceTable> tables) => database.Read(connection =>
    {
        LoadObjects(connection, tables);
        LoadFloors(connection, tables);
        return LoadEvents(connection, tables);
    });

    private static void LoadObjects(SqliteConnection connection, Func<ResourceId, ResourceTable> tables)
    {
        var byResource = new Dictionary<ResourceId, List<StoredObject>>();
        foreach (var (obj, _) in Rows(connection, "SELECT grp, plural, ns, name, uid, rv, json, 0 FROM objects"))
        {
            if (!byResource.TryGetValue(obj.Resource, out var list))
                byResource[obj.Resource] = list = [];
            list.Add(obj);
        }

        foreach (var (resource, list) in byResource)
        {
            list.Sort((a, b) => string.CompareOrdinal(a.SortKey, b.SortKey));
            tables(resource).Load(list);
        }
    }

    private static void LoadFloors(SqliteConnection connection, Func<ResourceId, ResourceTable> tables)
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT grp, plural, rv FROM floors";
        using var reader = command.ExecuteReader();
        while (reader.Read())
        {
            if (reader.GetString(0) == EveryResource)
                continue; // read first, by FloorOfAll
            var table = tables(new ResourceId(reader.GetString(0), reader.GetString(1)));
            table.TrimmedTo = reader.GetInt64(2);
            table.History.Restore(table.TrimmedTo);
        }
    }

    private static long LoadEvents(SqliteConnection connection, Func<ResourceId, ResourceTable> tables)
    {
        var newest = 0L;
        var last = new Dictionary<(ResourceId, string), StoredObject?>();
        foreach (var (read, type) in Rows(connection, "SELECT grp, plural, ns, name, uid, rv, json, type FROM events ORDER BY rv"))
        {
            var table = tables(read.Resource);
            var current = table.Find(read.Namespace, read.Name);
            var obj = current?.Version == read.Version ? current : read; // one copy in memory
            var known = last.TryGetValue((obj.Resource, obj.SortKey), out var previous);
            table.History.Add(new StoredEvent(type, obj, previous, PreviousUnknown: !known && type != WatchEventType.Added));
            last[(obj.Resource, obj.SortKey)] = type == WatchEventType.Deleted ? null : obj;
            newest = obj.Version;
        }

        return newest;
    }

    private static IEnumerable<(StoredObject Object, WatchEventType Type)> Rows(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        using var reader = command.ExecuteReader();
        while (reader.Read())
        {
            var resource = new ResourceId(string.Intern(reader.GetString(0)), string.Intern(reader.GetString(1)));
            var obj = new StoredObject(resource, string.Intern(reader.GetString(2)), reader.GetString(3), reader.GetString(4), reader.GetInt64(5), reader.GetFieldValue<byte[]>(6));
            yield return (obj, (WatchEventType)reader.GetInt64(7));
        }
    }
}
