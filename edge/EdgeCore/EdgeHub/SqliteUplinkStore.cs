using System.Buffers.Text;
using System.Globalization;
using System.Text;
using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Protocol.Messages;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeHub;

/// <summary>The table <c>uplink</c> of a node's own database.</summary>
/// <remarks>Rows that can wait for their end are deleted together, a second later or when <see cref="RowsMax"/> of them wait: each deletion by itself would be a commit, as dear as the
/// report that made the row. A newer value that comes before takes the row over, and nothing is to be deleted.</remarks>
internal sealed class SqliteUplinkStore : IUplinkStore
{
    /// <summary>Most rows that wait to be deleted: half of what an Edge cloud remembers of a node, so that it knows all of them when a killed node sends them again.</summary>
    public const int RowsMax = 64;

    /// <summary>How long a row waits at most.</summary>
    public static readonly TimeSpan WaitMax = TimeSpan.FromSeconds(1);

    // A second of the clock (see FirstVersion).
    private const long VersionsPerBlock = 1L << 20;
    private readonly SqliteDatabase _database;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly Lock _gate = new();
    private List<UplinkRow> _done = [];
    private bool _isWaiting;
    private long _version; // as the statements, touched only on the database's writer thread, and by ReadSlots before that
    private long _reserved; // as _version: up to it the disk knows that versions may be used
    private volatile bool _isReservationLost;
    private SqliteStatement? _reserve;
    private SqliteStatement? _known;
    private SqliteStatement? _renew;
    private SqliteStatement? _put;
    private SqliteStatement? _delete;

    public SqliteUplinkStore(SqliteDatabase database, TimeProvider time, ILogger log)
    {
        _database = database;
        _time = time;
        _log = log;
        database.AtClose(connection =>
        {
            DeleteDone(connection);
            foreach (var statement in (SqliteStatement?[])[_reserve, _known, _renew, _put, _delete])
                statement?.Dispose();
        });
    }

    public IReadOnlyList<UplinkSlot> ReadSlots()
    {
        var slots = _database.Read(ReadSlots);
        _version = FirstVersion(slots.Count == 0 ? 0 : slots.Max(slot => slot.Version));
        return slots;
    }

    public ValueTask<IReadOnlyList<UplinkSlot>> StoreAsync(IReadOnlyList<UplinkEntry> entries, CancellationToken cancellationToken)
    {
        var written = _database.WriteAsync<IReadOnlyList<UplinkSlot>>(
            connection =>
            {
                var slots = new UplinkSlot[entries.Count];
                for (var i = 0; i < slots.Length; i++)
                    slots[i] = Store(connection, entries[i]);
                return slots;
            },
            cancellationToken);
        return written.IsCompletedSuccessfully ? written : StoredAsync(written);
    }

    private async ValueTask<IReadOnlyList<UplinkSlot>> StoredAsync(ValueTask<IReadOnlyList<UplinkSlot>> written)
    {
        try
        {
            return await written;
        }
        catch
        {
            _isReservationLost = true; // it may have been in this transaction
            throw;
        }
    }

    public IReadOnlyDictionary<long, Message> Load(IReadOnlyList<long> ids) => _database.Read(connection => Load(connection, ids));

    public ValueTask DeleteAsync(IReadOnlyList<UplinkRow> rows, bool canWait)
    {
        if (!canWait)
            return _database.WriteAsync(connection => Delete(connection, rows));
        lock (_gate)
        {
            _done.AddRange(rows);
            if (_done.Count < RowsMax)
            {
                if (!_isWaiting)
                {
                    _isWaiting = true;
                    _ = DeleteSoonAsync(); // ends by itself once nothing waits, and does not throw; what is left then is done when the database is closed
                }

                return ValueTask.CompletedTask;
            }
        }

        // Whoever brings the last of so many waits for the disk, so that they cannot grow beyond.
        return _database.WriteAsync(DeleteDone);
    }

    private async Task DeleteSoonAsync()
    {
        while (true)
        {
            await Task.Delay(WaitMax, _time);
            lock (_gate)
            {
                _isWaiting = _done.Count > 0;
                if (!_isWaiting)
                    return;
            }

            try
            {
                await _database.WriteAsync(DeleteDone);
            }
            catch (ChannelClosedException)
            {
                return; // the database is being closed, and does it
            }
            catch (StoreException e)
            {
                HubLog.DeleteFailed(_log, e.Message); // the rows stay, and are sent once more after a restart
            }
        }
    }

    private void DeleteDone(SqliteConnection connection)
    {
        List<UplinkRow> rows;
        lock (_gate)
            (rows, _done) = (_done, []);
        Delete(connection, rows);
    }

    private void Delete(SqliteConnection connection, IReadOnlyList<UplinkRow> rows)
    {
        _delete ??= new SqliteStatement(connection, "DELETE FROM uplink WHERE id = ?1 AND version = ?2");
        foreach (var row in rows)
        {
            _delete.Bind(1, row.Id);
            _delete.Bind(2, row.Version);
            _delete.Run();
        }
    }

    /// <summary>Whether a stock cloud answers such an entry: not events, user data, the reports of node tasks and the membership question (kubeedge-wire §3.2, §4.3, §6).</summary>
    public static bool IsAnswered(string group, string resource)
        => group is not (Groups.User or NodeTaskWire.HubGroup) && resource != "membership/detail"
            && !(group == Groups.Meta && ResourcePath.TryParse(resource, out var path) && path.Type is ResourceTypes.Event or "rulestatus");

    private UplinkSlot Store(SqliteConnection connection, UplinkEntry entry)
    {
        if (_version >= _reserved || _isReservationLost)
            Reserve(connection);
        var version = ++_version;
        var newest = entry.Rule == UplinkRule.Newest;
        long? known = null;
        if (newest)
        {
            _known ??= new SqliteStatement(connection, "SELECT id FROM uplink WHERE key = ?1 AND newest = 1");
            _known.Bind(1, entry.Key);
            known = _known.RunForNumber();
        }

        if (known is { } id)
        {
            _renew ??= new SqliteStatement(
                connection, "UPDATE uplink SET priority = ?1, version = ?2, source = ?3, grp = ?4, operation = ?5, resource = ?6, content = ?7 WHERE id = ?8");
            Bind(_renew, entry, version);
            _renew.Bind(8, id);
            _renew.Run();
            return Slot(id);
        }

        _put ??= new SqliteStatement(
            connection, "INSERT INTO uplink(priority, version, source, grp, operation, resource, content, key, newest) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
        Bind(_put, entry, version);
        _put.Bind(8, entry.Key);
        _put.Bind(9, newest ? 1 : 0);
        _put.Run();
        return Slot(connection.LastInsertRowId());

        UplinkSlot Slot(long id) => new(id, version, entry.Key, entry.Priority, IsAnswered(entry.Group, entry.Resource), entry.Content.Length) { Rule = entry.Rule };
    }

    private static void Bind(SqliteStatement statement, UplinkEntry entry, long version)
    {
        statement.Bind(1, (long)entry.Priority);
        statement.Bind(2, version);
        statement.Bind(3, entry.Source);
        statement.Bind(4, entry.Group);
        statement.Bind(5, entry.Operation);
        statement.Bind(6, entry.Resource);
        statement.Bind(7, entry.Content.Span);
    }

    private static Dictionary<long, Message> Load(SqliteConnection connection, IReadOnlyList<long> ids)
    {
        var messages = new Dictionary<long, Message>(ids.Count);
        var command = connection.Prepared("SELECT version, source, grp, operation, resource, content FROM uplink WHERE id = $id", "$id");
        // Several are read as of one moment, and the file is locked for them once.
        if (ids.Count > 1)
            connection.Prepared("BEGIN").ExecuteNonQuery();
        try
        {
            foreach (var id in ids)
            {
                using var row = command.With(id).ExecuteReader();
                if (!row.Read())
                    continue;
                messages.Add(id, new Message
                {
                    Id = "",
                    ResourceVersion = row.GetInt64(0).ToString(CultureInfo.InvariantCulture),
                    Source = row.GetString(1),
                    Group = row.GetString(2),
                    Operation = row.GetString(3),
                    Resource = row.GetString(4),
                    Content = row.GetFieldValue<byte[]>(5),
                });
            }
        }
        finally
        {
            if (ids.Count > 1)
                connection.Prepared("COMMIT").ExecuteNonQuery();
        }

        return messages;
    }

    // Versions never go back, although the queue may have been empty, the clock set back, or the file lost: the cloud takes a lower one for an old message. They begin above those of the
    // last start and above what the clock says, 1,024 a millisecond, and stay near the clock however often the program starts: else it would be far behind them once the file is lost.
    private long FirstVersion(long highest)
    {
        var reserved = _database.Read(connection =>
        {
            using var command = connection.CreateCommand();
            command.CommandText = "SELECT json FROM local WHERE room = 'uplink' AND key = 'reserved'";
            return command.ExecuteScalar() is byte[] text && Utf8Parser.TryParse(text, out long number, out _) ? number : 0;
        });
        return Math.Max(Math.Max(reserved, highest), _time.GetUtcNow().ToUnixTimeMilliseconds() * 1024);
    }

    // In the transaction of the first entry that needs it, so that no version is on its way that the next start does not know of.
    private void Reserve(SqliteConnection connection)
    {
        _isReservationLost = false;
        _reserved = _version + VersionsPerBlock;
        _reserve ??= new SqliteStatement(connection, "INSERT OR REPLACE INTO local(room, key, json) VALUES('uplink', 'reserved', ?1)");
        _reserve.Bind(1, Encoding.UTF8.GetBytes(_reserved.ToString(CultureInfo.InvariantCulture)).AsSpan());
        _reserve.Run();
    }

    private static List<UplinkSlot> ReadSlots(SqliteConnection connection)
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT id, version, key, priority, grp, resource, length(content), newest FROM uplink ORDER BY id";
        using var row = command.ExecuteReader();
        var slots = new List<UplinkSlot>();
        while (row.Read())
        {
            slots.Add(new UplinkSlot(row.GetInt64(0), row.GetInt64(1), row.GetString(2), (UplinkPriority)row.GetInt32(3), IsAnswered(row.GetString(4), row.GetString(5)), row.GetInt32(6))
            {
                Rule = row.GetInt32(7) == 1 ? UplinkRule.Newest : UplinkRule.Every,
            });
        }

        return slots;
    }
}
