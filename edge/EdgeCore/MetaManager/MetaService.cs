using System.Globalization;
using System.Text.Json;
using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Common.Tracing;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Protocol.Messages;
using Edge.Protocol.Sync;
using Microsoft.Extensions.Logging;

namespace Edge.Core.MetaManager;

/// <summary>MetaManager: stores what the cloud sends before it is acknowledged, and serves it to the other rooms, with or without a link.</summary>
internal sealed class MetaService : IMetaStore, IMetaMessages
{
    private static readonly TimeSpan s_queryTimeoutMax = TimeSpan.FromSeconds(10);
    private readonly SqliteDatabase _database;
    private readonly MetaTable _table;
    private readonly IHubLink _hub;
    private readonly TimeProvider _time;
    private readonly TimeSpan _queryTimeout;
    private readonly ILogger _log;
    private readonly CommitOrder _order;
    private readonly List<MetaSubscription> _subscriptions = []; // changed and read only inside _order's lock
    private long _doubts;
    private long _sequence; // touched only on the database's writer thread

    public MetaService(MetaManagerOptions options, SqliteDatabase database, IHubLink hub, TimeProvider time, ILoggerFactory loggers)
    {
        _database = database;
        _table = new MetaTable(database);
        _hub = hub;
        _time = time;
        _log = loggers.CreateLogger("MetaManager");
        var remote = TimeSpan.FromSeconds(options.RemoteQueryTimeoutSeconds);
        _queryTimeout = remote < s_queryTimeoutMax ? remote : s_queryTimeoutMax;
        _sequence = _table.LastSequence();
        _order = new CommitOrder(_sequence + 1, Publish);
        if (database.CorruptBackup is { } backup)
            MetaLog.Corrupt(_log, database.Path, backup);
        foreach (var (key, _) in _table.Unreadable(null))
            MetaLog.Unreadable(_log, key, database.Path);
    }

    public MetaObject? Get(string type, string @namespace, string name) => _table.Get(Key(type, @namespace, name));

    public IReadOnlyList<MetaObject> List(string type) => [.. _table.List([type]).Select(row => row.Object)];

    public IReadOnlyCollection<string> UnreadableUids(string type) => [.. _table.Unreadable(type).Select(row => row.Uid)];

    public ChannelReader<MetaChange> Subscribe(params string[] types) => _order.Between(() =>
    {
        var subscription = new MetaSubscription(types, _table.List(types));
        _subscriptions.Add(subscription);
        return subscription;
    });

    public async Task<MetaObject?> GetOrQueryAsync(string type, string @namespace, string name, CancellationToken cancellationToken)
    {
        if (Get(type, @namespace, name) is { } held)
            return held;
        if (!_hub.IsConnected)
            return null;
        var key = Key(type, @namespace, name);
        try
        {
            var query = Message.Create(_time, Sources.Edged, Groups.Meta, Operations.Query, key);
            var answer = await _hub.RequestUnacknowledgedAsync(query, _queryTimeout, cancellationToken);
            var read = CloudAnswer.Read(answer);
            if (read.Outcome != UplinkOutcome.Accepted || read.Object is null)
            {
                if (read.Outcome != UplinkOutcome.Accepted)
                    MetaLog.QueryFailed(_log, key, read.Text);
                await _hub.AcknowledgeAsync(answer, cancellationToken);
                return null;
            }

            await ApplyAsync(Operations.Update, ToObject(key, type, @namespace, name, JsonBytes(read), answer.ResourceVersion), isRepair: false);
            await _hub.AcknowledgeAsync(answer, cancellationToken);
        }
        catch (Exception e) when (e is UplinkException or StoreException)
        {
            MetaLog.QueryFailed(_log, key, e.Message);
        }

        return Get(type, @namespace, name);
    }

    /// <summary>Raised after a local row of this room was committed; must be quick and must not throw.</summary>
    public event Action<string>? LocalChanged;

    public async ValueTask PutLocalAsync(string room, string key, ReadOnlyMemory<byte> json, CancellationToken cancellationToken)
    {
        await _database.WriteAsync(connection => MetaTable.PutLocal(connection, room, key, json), cancellationToken);
        LocalChanged?.Invoke(room);
    }

    public async ValueTask ChangeLocalAsync(string room, IReadOnlyList<KeyValuePair<string, byte[]?>> rows, CancellationToken cancellationToken)
    {
        await _database.WriteAsync(
            connection =>
            {
                foreach (var (key, json) in rows)
                {
                    if (json is null)
                        MetaTable.DeleteLocal(connection, room, key);
                    else
                        MetaTable.PutLocal(connection, room, key, json);
                }
            },
            cancellationToken);
        LocalChanged?.Invoke(room);
    }

    public async ValueTask DeleteLocalAsync(string room, string key, CancellationToken cancellationToken)
    {
        await _database.WriteAsync(connection => MetaTable.DeleteLocal(connection, room, key), cancellationToken);
        LocalChanged?.Invoke(room);
    }

    public IReadOnlyDictionary<string, ReadOnlyMemory<byte>> ListLocal(string room) => _table.ListLocal(room);

    public async Task<Message?> HandleAsync(Message message)
    {
        if (message.Operation == Operations.Error)
        {
            MetaLog.BadMessage(_log, message.Operation, message.Resource, CloudAnswer.Read(message).Text);
            return null;
        }

        if (!TryRead(message, out var incoming, out var why))
        {
            // An answer without an object ("OK", an ObjectResp) that came too late has nothing to keep.
            if (message.Operation == Operations.Response)
                return Ok(message);
            MetaLog.BadMessage(_log, message.Operation, message.Resource, why);
            return message.Error(_time, $"{message.Operation} {message.Resource}: {why}") with { Source = Sources.MetaManager };
        }

        try
        {
            // An object that is written down carries its deletion itself (deletionTimestamp); only "delete" removes it.
            await ApplyAsync(message.Operation == Operations.Delete ? Operations.Delete : Operations.Update, incoming, message.Destination == InventoryMessages.RepairDestination);
            return Ok(message);
        }
        catch (Exception e) when (e is StoreException or Microsoft.Data.Sqlite.SqliteException or ChannelClosedException)
        {
            MetaLog.StoreFailed(_log, message.Operation, message.Resource, e.Message);
            return message.Error(_time, $"{message.Operation} {message.Resource} could not be stored: {e.Message}") with { Source = Sources.MetaManager };
        }
    }

    public long Doubts => Interlocked.Read(ref _doubts);

    public (int Count, InventoryDigest Digest) InventoryDigest()
    {
        var items = _table.Inventory();
        var digest = new InventoryDigest(Protocol.Sync.InventoryDigest.BucketsFor(items.Count));
        foreach (var item in items)
            digest.Add(item.Key, item.Uid, item.Fingerprint);
        return (items.Count, digest);
    }

    public InventoryPart InventoryPart(int of, IReadOnlyList<int> buckets)
    {
        var part = new InventoryPart(of, buckets, []);
        return part with { Items = [.. _table.Inventory().Where(item => part.Covers(item.Key))] };
    }

    private Message Ok(Message message) => message.Response(_time, MessageCodec.Ok);

    private async Task ApplyAsync(string operation, MetaObject incoming, bool isRepair)
    {
        long? sequence = null;
        MetaChange? change = null;
        var trace = EdgeTrace.Current;
        try
        {
            change = await _database.WriteAsync(connection =>
            {
                sequence = ++_sequence;
                if (operation == Operations.Delete)
                {
                    return MetaTable.Remove(connection, incoming.Key, incoming.Uid, incoming.ResourceVersion, sequence.Value, out var removed) == MetaDecision.Removed
                        ? new MetaChange(removed!, Deleted: true)
                        : null;
                }

                var decision = MetaTable.Store(connection, incoming, isRepair, sequence.Value);
                if (decision == MetaDecision.Doubtful)
                    Interlocked.Increment(ref _doubts);
                return decision == MetaDecision.Stored ? new MetaChange(incoming, Deleted: false) : null;
            });
            if (trace is not null && change is not null)
                change = change with { Trace = trace };
        }
        finally
        {
            // Failed jobs too: the order waits for every number.
            if (sequence is { } number)
                _order.Complete(number, change);
        }

        if (change is null)
            MetaLog.Ignored(_log, operation, incoming.Key, incoming.ResourceVersion);
        else if (change.Deleted)
            MetaLog.Removed(_log, incoming.Key);
        else
            MetaLog.Stored(_log, incoming.Key, incoming.ResourceVersion);
    }

    private void Publish(long sequence, MetaChange change)
    {
        foreach (var subscription in _subscriptions)
            subscription.Publish(sequence, change);
    }

    /// <summary>Reads the object that a message of group resource carries; false with the reason when it carries none.</summary>
    internal static bool TryRead(Message message, out MetaObject incoming, out string why)
    {
        incoming = null!;
        why = "";
        if (!ResourcePath.TryParse(message.Resource, out var path) || path.Name.Length == 0)
            why = "the resource must be NAMESPACE/TYPE/NAME";
        else if (message.Operation is not (Operations.Insert or Operations.Update or Operations.Delete or Operations.Response))
            why = $"the operation '{message.Operation}' is not known here";
        else if (message.Operation != Operations.Delete && (message.Content.IsEmpty || message.Content.Span[0] != (byte)'{'))
            why = "the content must be an object";
        if (why.Length > 0)
            return false;
        // All of it is looked at: what is stored must be readable for whoever uses it later.
        incoming = ToObject(path.ToString(), path.Type, path.Namespace, path.Name, message.Content, message.ResourceVersion);
        if (incoming.Fingerprint == 0 && message.Content.Span.StartsWith("{"u8))
        {
            why = "the content must be one JSON object in valid Unicode";
            return false;
        }

        // The answer to a request that has timed out; {"Object","Err"} has no metadata of its own.
        if (message.Operation == Operations.Response && incoming.Uid.Length == 0)
            why = "the answer carries no object";
        return why.Length == 0;
    }

    private static MetaObject ToObject(string key, string type, string @namespace, string name, ReadOnlyMemory<byte> json, string headerVersion)
    {
        var fingerprint = MetaTable.Fingerprint(json.Span);
        var (uid, version) = fingerprint == 0 ? ("", "") : ReadMetadata(json);
        if (!long.TryParse(headerVersion, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            _ = long.TryParse(version, NumberStyles.None, CultureInfo.InvariantCulture, out number);
        return new MetaObject(key, type, Scope(@namespace), name, uid, number, json) { Fingerprint = fingerprint };
    }

    // metadata.uid and metadata.resourceVersion of one whole JSON object, without building a document.
    private static (string Uid, string Version) ReadMetadata(ReadOnlyMemory<byte> json)
    {
        var uid = "";
        var version = "";
        var reader = new Utf8JsonReader(json.Span);
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isMetadata = reader.ValueTextEquals("metadata"u8);
            reader.Read();
            if (!isMetadata || reader.TokenType != JsonTokenType.StartObject)
            {
                reader.Skip();
                continue;
            }

            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var isUid = reader.ValueTextEquals("uid"u8);
                var isVersion = reader.ValueTextEquals("resourceVersion"u8);
                reader.Read();
                if (isUid && reader.TokenType == JsonTokenType.String)
                    uid = reader.GetString()!;
                else if (isVersion && reader.TokenType == JsonTokenType.String)
                    version = reader.GetString()!;
                else
                    reader.Skip();
            }
        }

        return (uid, version);
    }

    private static byte[] JsonBytes(CloudAnswer answer) => System.Text.Encoding.UTF8.GetBytes(answer.Object!.ToJsonString());

    private static string Scope(string @namespace) => @namespace.Length == 0 ? ResourcePath.ClusterScope : @namespace;

    private static string Key(string type, string @namespace, string name) => new ResourcePath(Scope(@namespace), type, name).ToString();
}
