using System.Buffers.Binary;
using System.Text;
using Edge.Common.Storage;
using Edge.Protocol.Mqtt.Codec;
using Microsoft.Data.Sqlite;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>Sessions and retained messages in one SQLite file (WAL, <c>synchronous=FULL</c>, file mode 0600).</summary>
public sealed class SqliteMqttStore : IMqttStore
{
    private static readonly string[] s_migrations =
    [
        """
        CREATE TABLE sessions(client TEXT PRIMARY KEY, user TEXT, expiry INTEGER NOT NULL, ended INTEGER NOT NULL, will BLOB) WITHOUT ROWID;
        CREATE TABLE subscriptions(client TEXT NOT NULL, filter TEXT NOT NULL, options INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY(client, filter)) WITHOUT ROWID;
        CREATE TABLE messages(id INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, properties BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL, expires INTEGER NOT NULL);
        CREATE TABLE deliveries(client TEXT NOT NULL, seq INTEGER NOT NULL, message INTEGER NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL, ids BLOB, packet INTEGER NOT NULL,
            state INTEGER NOT NULL, PRIMARY KEY(client, seq)) WITHOUT ROWID;
        CREATE TABLE incoming(client TEXT NOT NULL, packet INTEGER NOT NULL, PRIMARY KEY(client, packet)) WITHOUT ROWID;
        CREATE TABLE retained(topic TEXT PRIMARY KEY, payload BLOB NOT NULL, properties BLOB NOT NULL, qos INTEGER NOT NULL, expires INTEGER NOT NULL)
        """,
    ];

    private readonly SqliteDatabase _database;

    private SqliteMqttStore(SqliteDatabase database) => _database = database;

    /// <summary>Where a corrupt file was moved to; null when it was sound.</summary>
    public string? CorruptBackup => _database.CorruptBackup;

    /// <summary>Opens or creates the file. A corrupt one is kept under another name and an empty one takes its place.</summary>
    /// <exception cref="StoreException">It cannot be opened.</exception>
    public static SqliteMqttStore Open(string path, TimeProvider time) => new(SqliteDatabase.Open(path, s_migrations, time, replaceCorrupt: true));

    public IReadOnlyList<MqttStoreChange> Load() => _database.Read(LoadAll);

    public async ValueTask WriteAsync(IReadOnlyList<MqttStoreChange> changes)
    {
        var needless = Needless(changes);
        await _database.WriteAsync(connection =>
        {
            foreach (var change in changes)
            {
                if (!needless.Contains(change))
                    Apply(connection, change);
            }
        });
    }

    public ValueTask DisposeAsync() => _database.DisposeAsync();

    // What comes and goes within one batch need not touch the disk: with clients that keep up that is most of it.
    private static HashSet<MqttStoreChange> Needless(IReadOnlyList<MqttStoreChange> changes)
    {
        var needless = new HashSet<MqttStoreChange>(ReferenceEqualityComparer.Instance);
        var deliveries = new Dictionary<(string, long), List<MqttStoreChange>>();
        var messages = new Dictionary<long, MqttStoreChange>();
        foreach (var change in changes)
        {
            switch (change)
            {
                case DeliveryPut { State: DeliveryState.Waiting, PacketId: 0 } put:
                    deliveries[(put.ClientId, put.Sequence)] = [put];
                    break;
                case DeliveryPut put when deliveries.TryGetValue((put.ClientId, put.Sequence), out var puts):
                    puts.Add(put);
                    break;
                case DeliveryGone gone when deliveries.Remove((gone.ClientId, gone.Sequence), out var puts):
                    needless.UnionWith(puts);
                    needless.Add(gone);
                    break;
                case MessagePut put:
                    messages[put.Id] = put;
                    break;
                case MessageGone gone when messages.Remove(gone.Id, out var put):
                    needless.Add(put);
                    needless.Add(gone);
                    break;
            }
        }

        return needless;
    }

    private static void Apply(SqliteConnection connection, MqttStoreChange change)
    {
        var command = change switch
        {
            SessionPut put => connection.Prepared("INSERT OR REPLACE INTO sessions(client, user, expiry, ended, will) VALUES($c, $u, $e, $t, $w)", "$c", "$u", "$e", "$t", "$w")
                .With(put.ClientId, (object?)put.UserName ?? DBNull.Value, (long)put.ExpirySeconds, put.ConnectedOrEndedAt, put.Will is null ? DBNull.Value : EncodeWill(put.Will)),
            SubscriptionPut put => connection.Prepared("INSERT OR REPLACE INTO subscriptions(client, filter, options, id) VALUES($c, $f, $o, $i)", "$c", "$f", "$o", "$i")
                .With(put.ClientId, put.Filter, (long)put.Options, (long)put.Id),
            SubscriptionGone gone => connection.Prepared("DELETE FROM subscriptions WHERE client = $c AND filter = $f", "$c", "$f").With(gone.ClientId, gone.Filter),
            MessagePut put => connection.Prepared(
                    "INSERT OR REPLACE INTO messages(id, topic, payload, properties, qos, retain, expires) VALUES($i, $t, $p, $r, $q, $k, $e)", "$i", "$t", "$p", "$r", "$q", "$k", "$e")
                .With(put.Id, put.Message.Topic, put.Message.Payload, put.Message.Forwarded, (long)put.Message.Qos, put.Message.Retain ? 1L : 0L, put.ExpiresAt),
            MessageGone gone => connection.Prepared("DELETE FROM messages WHERE id = $i", "$i").With(gone.Id),
            DeliveryPut put => connection.Prepared(
                    "INSERT OR REPLACE INTO deliveries(client, seq, message, qos, retain, ids, packet, state) VALUES($c, $s, $m, $q, $k, $i, $p, $t)",
                    "$c", "$s", "$m", "$q", "$k", "$i", "$p", "$t")
                .With(
                    put.ClientId, put.Sequence, put.MessageId, (long)put.Qos, put.Retain ? 1L : 0L, put.Ids is null ? DBNull.Value : EncodeIds(put.Ids), (long)put.PacketId, (long)put.State),
            DeliveryGone gone => connection.Prepared("DELETE FROM deliveries WHERE client = $c AND seq = $s", "$c", "$s").With(gone.ClientId, gone.Sequence),
            IncomingPut put => connection.Prepared("INSERT OR REPLACE INTO incoming(client, packet) VALUES($c, $p)", "$c", "$p").With(put.ClientId, (long)put.PacketId),
            IncomingGone gone => connection.Prepared("DELETE FROM incoming WHERE client = $c AND packet = $p", "$c", "$p").With(gone.ClientId, (long)gone.PacketId),
            RetainedPut put => connection.Prepared("INSERT OR REPLACE INTO retained(topic, payload, properties, qos, expires) VALUES($t, $p, $r, $q, $e)", "$t", "$p", "$r", "$q", "$e")
                .With(put.Message.Topic, put.Message.Payload, put.Message.Forwarded, (long)put.Message.Qos, put.ExpiresAt),
            RetainedGone gone => connection.Prepared("DELETE FROM retained WHERE topic = $t", "$t").With(gone.Topic),
            SessionGone gone => DropAllOf(connection, gone.ClientId),
            _ => throw new System.Diagnostics.UnreachableException($"no SQL for {change.GetType().Name}"),
        };
        command.ExecuteNonQuery();
    }

    private static SqliteCommand DropAllOf(SqliteConnection connection, string client)
    {
        connection.Prepared("DELETE FROM subscriptions WHERE client = $c", "$c").With(client).ExecuteNonQuery();
        connection.Prepared("DELETE FROM deliveries WHERE client = $c", "$c").With(client).ExecuteNonQuery();
        connection.Prepared("DELETE FROM incoming WHERE client = $c", "$c").With(client).ExecuteNonQuery();
        return connection.Prepared("DELETE FROM sessions WHERE client = $c", "$c").With(client);
    }

    private static List<MqttStoreChange> LoadAll(SqliteConnection connection)
    {
        var all = new List<MqttStoreChange>();
        Each("SELECT client, user, expiry, ended, will FROM sessions", row => new SessionPut(
            row.GetString(0), row.IsDBNull(1) ? null : row.GetString(1), (uint)row.GetInt64(2), row.GetInt64(3), row.IsDBNull(4) ? null : DecodeWill((byte[])row[4])));
        Each("SELECT client, filter, options, id FROM subscriptions", row => new SubscriptionPut(row.GetString(0), row.GetString(1), row.GetByte(2), (uint)row.GetInt64(3)));
        Each("SELECT id, topic, payload, properties, qos, retain, expires FROM messages", row => new MessagePut(
            row.GetInt64(0),
            new StoredMessage(
                Encoding.UTF8.GetBytes(row.GetString(1)), row.GetString(1), (byte[])row[2], (byte[])row[3], (MqttQos)row.GetInt64(4), row.GetInt64(5) != 0, long.MaxValue),
            row.GetInt64(6)));
        Each("SELECT client, seq, message, qos, retain, ids, packet, state FROM deliveries ORDER BY seq", row => new DeliveryPut(
            row.GetString(0), row.GetInt64(1), row.GetInt64(2), (MqttQos)row.GetInt64(3), row.GetInt64(4) != 0, row.IsDBNull(5) ? null : DecodeIds((byte[])row[5]), (ushort)row.GetInt64(6),
            (DeliveryState)row.GetInt64(7)));
        Each("SELECT client, packet FROM incoming", row => new IncomingPut(row.GetString(0), (ushort)row.GetInt64(1)));
        Each("SELECT topic, payload, properties, qos, expires FROM retained", row => new RetainedPut(
            new StoredMessage(Encoding.UTF8.GetBytes(row.GetString(0)), row.GetString(0), (byte[])row[1], (byte[])row[2], (MqttQos)row.GetInt64(3), true, long.MaxValue), row.GetInt64(4)));
        return all;

        void Each(string sql, Func<SqliteDataReader, MqttStoreChange> read)
        {
            using var command = connection.CreateCommand();
            command.CommandText = sql;
            using var reader = command.ExecuteReader();
            while (reader.Read())
                all.Add(read(reader));
        }
    }

    private static byte[] EncodeIds(uint[] ids)
    {
        var bytes = new byte[ids.Length * 4];
        for (var i = 0; i < ids.Length; i++)
            BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(i * 4), ids[i]);
        return bytes;
    }

    private static uint[] DecodeIds(byte[] bytes) => [.. Enumerable.Range(0, bytes.Length / 4).Select(i => BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(i * 4)))];

    // As in CONNECT: flags, properties, topic, payload.
    private static byte[] EncodeWill(MqttWill will)
    {
        var writer = new MqttWriter();
        writer.Byte((byte)((int)will.Qos | (will.Retain ? 4 : 0)));
        MqttPropertyCodec.Write(writer, will.Properties ?? MqttProperties.None);
        writer.String(will.Topic);
        writer.Binary(will.Payload.Span);
        return writer.Written.ToArray();
    }

    private static MqttWill DecodeWill(byte[] bytes)
    {
        var reader = new MqttReader(bytes, MqttPacketType.Connect);
        var flags = reader.Byte("flags");
        var properties = MqttPropertyCodec.Read(ref reader, MqttPropertyRules.Will);
        return new MqttWill(reader.String("topic"), reader.Binary("payload").ToArray(), (MqttQos)(flags & 3), (flags & 4) != 0) { Properties = properties };
    }
}
