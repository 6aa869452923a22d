using System.Buffers.Text;
using System.Globalization;
using System.Text;
using Edge.Common.Storage;
using Edge.Protocol.Messages;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeHub;

/// <summary>The table <c>uplink</c> of a node's own database.</summary>
internal sealed class SqliteUplinkStore(SqliteDatabase database, TimeProvider time, ILogger log) : IUplinkStore
{
    private const long VersionsPerStart = 1L << 32;
    private long _version; // touched only on the database's writer thread, and by ReadSlots before that

    public IReadOnlyList<UplinkSlot> ReadSlots()
    {
        var slots = database.Read(ReadSlots);
        _version = FirstVersion(slots.Count == 0 ? 0 : slots.Max(slot => slot.Version));
        return slots;
    }

    public ValueTask<UplinkSlot> StoreAsync(UplinkEntry entry, CancellationToken cancellationToken)
        => database.WriteAsync(connection => Store(connection, entry), cancellationToken);

    public IReadOnlyDictionary<long, Message> Load(IReadOnlyList<long> ids) => database.Read(connection => Load(connection, ids));

    public ValueTask DeleteAsync(IReadOnlyList<UplinkRow> rows) => database.WriteAsync(connection =>
    {
        using var command = connection.CreateCommand();
        command.CommandText = "DELETE FROM uplink WHERE id = $id AND version = $version";
        var id = command.Parameters.Add("$id", SqliteType.Integer);
        var version = command.Parameters.Add("$version", SqliteType.Integer);
        foreach (var row in rows)
        {
            id.Value = row.Id;
            version.Value = row.Version;
            command.ExecuteNonQuery();
        }
    });

    /// <summary>Whether a stock cloud answers such an entry: not events, user data, the reports of node tasks and the membership question (kubeedge-wire §3.2, §4.3, §6).</summary>
    public static bool IsAnswered(string group, string resource)
        => group is not (Groups.User or NodeTaskWire.HubGroup) && resource != "membership/detail"
            && !(group == Groups.Meta && ResourcePath.TryParse(resource, out var path) && path.Type is ResourceTypes.Event or "rulestatus");

    private UplinkSlot Store(SqliteConnection connection, UplinkEntry entry)
    {
        var version = ++_version;
        using var command = connection.CreateCommand();
        command.Parameters.AddWithValue("$key", entry.Key);
        long? id = null;
        if (entry.Rule == UplinkRule.Newest)
        {
            command.CommandText = "SELECT id FROM uplink WHERE key = $key AND newest = 1";
            id = (long?)command.ExecuteScalar();
        }

        command.Parameters.AddWithValue("$newest", entry.Rule == UplinkRule.Newest ? 1 : 0);
        command.Parameters.AddWithValue("$priority", (int)entry.Priority);
        command.Parameters.AddWithValue("$version", version);
        command.Parameters.AddWithValue("$source", entry.Source);
        command.Parameters.AddWithValue("$grp", entry.Group);
        command.Parameters.AddWithValue("$operation", entry.Operation);
        command.Parameters.AddWithValue("$resource", entry.Resource);
        command.Parameters.AddWithValue("$content", entry.Content.ToArray());
        if (id is { } known)
        {
            command.Parameters.AddWithValue("$id", known);
            command.CommandText = "UPDATE uplink SET priority = $priority, version = $version, source = $source, grp = $grp, operation = $operation, resource = $resource, content = $content WHERE id = $id";
            command.ExecuteNonQuery();
        }
        else
        {
            command.CommandText = "INSERT INTO uplink(key, newest, priority, version, source, grp, operation, resource, content) "
                + "VALUES($key, $newest, $priority, $version, $source, $grp, $operation, $resource, $content); SELECT last_insert_rowid()";
            id = (long)command.ExecuteScalar()!;
        }

        return new UplinkSlot(id.Value, version, entry.Key, entry.Priority, IsAnswered(entry.Group, entry.Resource), entry.Content.Length);
    }

    private static Dictionary<long, Message> Load(SqliteConnection connection, IReadOnlyList<long> ids)
    {
        using var command = connection.CreateCommand();
        command.CommandText = $"SELECT id, version, source, grp, operation, resource, content FROM uplink WHERE id IN ({string.Join(',', ids.Select((_, i) => $"$i{i}"))})";
        for (var i = 0; i < ids.Count; i++)
            command.Parameters.AddWithValue($"$i{i}", ids[i]);
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
    }

    // Versions never go back, although the queue may have been empty, the clock set back, or the file lost: the cloud takes a lower one for an old message.
    // Each start of the program has a range of its own, above the last start's and above what the clock says.
    private long FirstVersion(long highest)
    {
        var last = database.Read(connection =>
        {
            using var command = connection.CreateCommand();
            command.CommandText = "SELECT json FROM local WHERE room = 'uplink' AND key = 'version'";
            return command.ExecuteScalar() is byte[] text && Utf8Parser.TryParse(text, out long number, out _) ? number : 0;
        });
        var first = Math.Max(Math.Max(last, highest) + VersionsPerStart, time.GetUtcNow().ToUnixTimeMilliseconds() * 1024);
        try
        {
            // Once, before the queue serves anybody.
            database.WriteAsync(connection =>
            {
                using var command = connection.CreateCommand();
                command.CommandText = "INSERT OR REPLACE INTO local(room, key, json) VALUES('uplink', 'version', $json)";
                command.Parameters.AddWithValue("$json", Encoding.UTF8.GetBytes(first.ToString(CultureInfo.InvariantCulture)));
                command.ExecuteNonQuery();
            }).AsTask().GetAwaiter().GetResult();
        }
        catch (StoreException e)
        {
            HubLog.VersionNotKept(log, e.Message); // what is here can still be sent, and the clock keeps the versions apart
        }

        return first;
    }

    private static List<UplinkSlot> ReadSlots(SqliteConnection connection)
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT id, version, key, priority, grp, resource, length(content) FROM uplink ORDER BY id";
        using var row = command.ExecuteReader();
        var slots = new List<UplinkSlot>();
        while (row.Read())
            slots.Add(new UplinkSlot(row.GetInt64(0), row.GetInt64(1), row.GetString(2), (UplinkPriority)row.GetInt32(3), IsAnswered(row.GetString(4), row.GetString(5)), row.GetInt32(6)));
        return slots;
    }
}
