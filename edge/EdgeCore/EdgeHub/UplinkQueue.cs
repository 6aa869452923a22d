using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Core.Configuration;
using Edge.Protocol.Messages;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace Edge.Core.EdgeHub;

/// <summary>An entry the cloud refused for good and that was dropped.</summary>
public sealed record UplinkRejection(string Key, string Reason, string Text);

/// <summary>The durable queue: <see cref="UplinkCore"/> over the table <c>uplink</c>. Safe for concurrent calls.</summary>
internal sealed class UplinkQueue
{
    private readonly SqliteDatabase _database;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly UplinkCore _core;
    private readonly Lock _gate = new();
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite }); // a flag, not a queue
    private long _version; // touched only on the database's writer thread

    public UplinkQueue(SqliteDatabase database, EdgeHubOptions options, TimeProvider time, ILogger log)
    {
        _database = database;
        _time = time;
        _log = log;
        _core = new UplinkCore(new UplinkLimits(options.QueueEntriesMax, options.QueueBytesMax, options.MessageQps, options.MessageBurst));
        foreach (var slot in _database.Read(ReadSlots))
        {
            _version = Math.Max(_version, slot.Version);
            _core.Apply(slot);
        }
    }

    /// <summary>Raised after an entry was refused for good; handlers must be quick and must not throw.</summary>
    public event Action<UplinkRejection>? Rejected;

    public long NowMs => (long)(_time.GetTimestamp() * 1000.0 / _time.TimestampFrequency);

    public ChannelReader<bool> Wake => _wake.Reader;

    public async ValueTask PostAsync(UplinkEntry entry, CancellationToken cancellationToken)
    {
        if (entry.Content.Length > MessageLimits.MessageSizeMax - 4096)
            throw new ArgumentException($"the content of {entry.Key} has {entry.Content.Length} bytes, the limit is {MessageLimits.MessageSizeMax - 4096}", nameof(entry));
        var slot = await _database.WriteAsync(connection => Store(connection, entry), cancellationToken);
        IReadOnlyList<UplinkRow> pushedOut;
        lock (_gate)
            pushedOut = _core.Apply(slot);
        _wake.Writer.TryWrite(true);
        if (pushedOut.Count > 0)
        {
            HubLog.QueueOverflow(_log, entry.Priority, pushedOut.Count);
            await DeleteAsync(pushedOut);
        }
    }

    public void LinkUp()
    {
        lock (_gate)
            _core.LinkUp(NowMs);
        _wake.Writer.TryWrite(true);
    }

    public void LinkDown()
    {
        lock (_gate)
            _core.LinkDown();
    }

    /// <summary>The next message to send, or null. After the write, <see cref="Sent"/> must be called.</summary>
    public (UplinkSend Send, Message Message)? TakeNext()
    {
        while (true)
        {
            UplinkSend send;
            lock (_gate)
            {
                if (!_core.TryNext(NowMs, Guid.NewGuid().ToString(), out send))
                    return null;
            }

            if (_database.Read(connection => Load(connection, send)) is { } message)
                return (send, message);
            lock (_gate)
                _core.Missing(send);
        }
    }

    public void Sent(UplinkSend send)
    {
        lock (_gate)
            _core.Sent(send);
    }

    public long NextSequence()
    {
        lock (_gate)
            return _core.NextSequence();
    }

    /// <summary>How long until something may be sent without a new post; null when nothing is due.</summary>
    public TimeSpan? NextDue()
    {
        lock (_gate)
        {
            var now = NowMs;
            return _core.NextDueMs(now) is { } due ? TimeSpan.FromMilliseconds(due - now) : null;
        }
    }

    /// <summary>Gives the queue an answer. Returns false when the parent id is not one of its messages.</summary>
    public async ValueTask<bool> AnswerAsync(Message answer)
    {
        var read = CloudAnswer.Read(answer);
        var done = new List<UplinkRow>();
        UplinkSlot? slot;
        lock (_gate)
            slot = _core.Answer(answer.ParentId, read.Outcome, NowMs, done);
        if (slot is null)
            return false;
        if (read.Outcome == UplinkOutcome.Rejected)
        {
            HubLog.EntryRejected(_log, slot.Key, read.Reason, read.Text);
            Rejected?.Invoke(new UplinkRejection(slot.Key, read.Reason, read.Text));
        }
        else if (read.Outcome == UplinkOutcome.Failed)
            HubLog.EntryFailed(_log, slot.Key, read.Text);
        await DeleteAsync(done);
        _wake.Writer.TryWrite(true);
        return true;
    }

    /// <summary>A request sent with this number was answered: what was written before it has arrived.</summary>
    public async ValueTask ProvedAsync(long sequence)
    {
        var done = new List<UplinkRow>();
        lock (_gate)
            _core.Proved(sequence, done);
        await DeleteAsync(done);
    }

    /// <summary>Depth and losses by priority, and the counters, for the metrics page.</summary>
    public UplinkFigures Figures()
    {
        lock (_gate)
        {
            var all = Enum.GetValues<UplinkPriority>();
            return new UplinkFigures([.. all.Select(_core.Depth)], [.. all.Select(_core.Bytes)], [.. all.Select(_core.Overflowed)], _core.Rejected, _core.Resent);
        }
    }

    private async ValueTask DeleteAsync(IReadOnlyList<UplinkRow> rows)
    {
        if (rows.Count == 0)
            return;
        try
        {
            await _database.WriteAsync(connection =>
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
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException)
        {
            // The rows stay and are sent once more after a restart; the cloud takes the same value twice without harm.
            HubLog.DeleteFailed(_log, e.Message);
        }
    }

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

    private Message? Load(SqliteConnection connection, UplinkSend send)
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT source, grp, operation, resource, content FROM uplink WHERE id = $id";
        command.Parameters.AddWithValue("$id", send.Slot.Id);
        using var row = command.ExecuteReader();
        if (!row.Read())
            return null;
        return new Message
        {
            Id = send.MessageId,
            TimestampMs = _time.GetUtcNow().ToUnixTimeMilliseconds(),
            Source = row.GetString(0),
            Group = row.GetString(1),
            Operation = row.GetString(2),
            Resource = row.GetString(3),
            Content = row.GetFieldValue<byte[]>(4),
        };
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

    // The cloud answers neither events nor user data nor the membership question (kubeedge-wire §3.2, §4.3, §6).
    private static bool IsAnswered(string group, string resource)
        => group != Groups.User && resource != "membership/detail"
            && !(group == Groups.Meta && ResourcePath.TryParse(resource, out var path) && path.Type is ResourceTypes.Event or "rulestatus");
}

/// <summary>Counters of the queue; lists are by <see cref="UplinkPriority"/>.</summary>
internal sealed record UplinkFigures(IReadOnlyList<int> Depth, IReadOnlyList<long> Bytes, IReadOnlyList<long> Overflowed, long Rejected, long Resent);
