using System.Collections.Concurrent;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Core.Tests;

/// <summary>A store in memory whose objects a test sets.</summary>
internal sealed class FakeMetaStore : IMetaStore
{
    private readonly ConcurrentDictionary<string, MetaObject> _objects = new();
    private readonly ConcurrentDictionary<(string Room, string Key), ReadOnlyMemory<byte>> _local = new();
    private readonly List<(string[] Types, Channel<MetaChange> Channel)> _readers = [];

    public void Put(string type, JsonObject json)
    {
        var obj = Of(type, json);
        lock (_readers)
        {
            _objects[obj.Key] = obj;
            Tell(new MetaChange(obj, false));
        }
    }

    public void Delete(string type, JsonObject json)
    {
        lock (_readers)
        {
            if (_objects.TryRemove(Of(type, json).Key, out var old))
                Tell(new MetaChange(old, true));
        }
    }

    public MetaObject? Get(string type, string @namespace, string name) => _objects.GetValueOrDefault($"{@namespace}/{type}/{name}");

    /// <summary>Uids of pods whose rows cannot be read.</summary>
    public IReadOnlyCollection<string> Unreadable { get; set; } = [];

    public IReadOnlyCollection<string> UnreadableUids(string type) => type == "pod" ? Unreadable : [];

    public IReadOnlyList<MetaObject> List(string type) => [.. _objects.Values.Where(obj => obj.Type == type)];

    public ChannelReader<MetaChange> Subscribe(params string[] types)
    {
        var channel = Channel.CreateUnbounded<MetaChange>();
        lock (_readers)
        {
            foreach (var obj in _objects.Values.Where(obj => types.Contains(obj.Type)))
                channel.Writer.TryWrite(new MetaChange(obj, false));
            _readers.Add((types, channel));
        }

        return channel.Reader;
    }

    public Task<MetaObject?> GetOrQueryAsync(string type, string @namespace, string name, CancellationToken cancellationToken) => Task.FromResult(Get(type, @namespace, name));

    /// <summary>What writes of local rows fail with; null while they work.</summary>
    public Exception? LocalFailure { get; set; }

    public ValueTask PutLocalAsync(string room, string key, ReadOnlyMemory<byte> json, CancellationToken cancellationToken)
    {
        if (LocalFailure is not null)
            return ValueTask.FromException(LocalFailure);
        _local[(room, key)] = json;
        return ValueTask.CompletedTask;
    }

    public ValueTask ChangeLocalAsync(string room, IReadOnlyList<KeyValuePair<string, byte[]?>> rows, CancellationToken cancellationToken)
    {
        if (LocalFailure is not null)
            return ValueTask.FromException(LocalFailure);
        foreach (var (key, json) in rows)
        {
            if (json is null)
                _local.TryRemove((room, key), out _);
            else
                _local[(room, key)] = json;
        }

        return ValueTask.CompletedTask;
    }

    public ValueTask DeleteLocalAsync(string room, string key, CancellationToken cancellationToken)
    {
        _local.TryRemove((room, key), out _);
        return ValueTask.CompletedTask;
    }

    public IReadOnlyDictionary<string, ReadOnlyMemory<byte>> ListLocal(string room)
        => _local.Where(row => row.Key.Room == room).ToDictionary(row => row.Key.Key, row => row.Value);

    private static MetaObject Of(string type, JsonObject json)
        => new($"{json.Namespace()}/{type}/{json.Name()}", type, json.Namespace(), json.Name(), json.Uid(), json.Version(), Encoding.UTF8.GetBytes(json.ToJsonString()));

    private void Tell(MetaChange change)
    {
        foreach (var (types, channel) in _readers)
        {
            if (types.Contains(change.Object.Type))
                channel.Writer.TryWrite(change);
        }
    }
}

/// <summary>Keeps what is sent up; a test waits for an entry that satisfies it.</summary>
internal sealed class FakeUplink : IUplink
{
    private readonly List<UplinkEntry> _entries = [];
    private readonly List<(Func<UplinkEntry, bool> Match, TaskCompletionSource<UplinkEntry> Found)> _waiting = [];

    private int _waitingForDisk;

    public bool IsConnected { get; set; } = true;

    /// <summary>The cloud's answer to a request; null while it gives none.</summary>
    public Func<Message, JsonNode?>? Answer { get; set; }

    /// <summary>The requests so far.</summary>
    public ConcurrentQueue<Message> Requests { get; } = [];

    /// <summary>What posts fail with; null while they work.</summary>
    public Exception? Failure { get; set; }

    public IReadOnlyList<UplinkEntry> Entries
    {
        get
        {
            lock (_entries)
                return [.. _entries];
        }
    }

    public static JsonObject Content(UplinkEntry entry) => (JsonObject)JsonNode.Parse(MessageCodec.Unwrap(entry.Content).Span)!;

    public event Action<bool>? LinkChanged;

    /// <summary>The queue takes nothing whose sender can be told no.</summary>
    public bool IsFull { get; set; }

    /// <summary>Not completed: nothing gets to the disk.</summary>
    public Task Disk { get; set; } = Task.CompletedTask;

    /// <summary>Entries that wait for <see cref="Disk"/>, or did.</summary>
    public int WaitingForDisk => Volatile.Read(ref _waitingForDisk);

    /// <summary>Whether anybody waits for a change of the link.</summary>
    public bool IsWatched => LinkChanged is not null;

    public void Change(bool isConnected) => LinkChanged?.Invoke(isConnected);

    public async ValueTask PostAsync(IReadOnlyList<UplinkEntry> entries, CancellationToken cancellationToken)
    {
        foreach (var entry in entries)
            await PostAsync(entry, cancellationToken);
    }

    public async ValueTask<bool> TryPostAsync(UplinkEntry entry, CancellationToken cancellationToken)
    {
        if (IsFull)
            return false;
        Interlocked.Increment(ref _waitingForDisk);
        await Disk.WaitAsync(cancellationToken);
        await PostAsync(entry, cancellationToken);
        return true;
    }

    public ValueTask PostAsync(UplinkEntry entry, CancellationToken cancellationToken)
    {
        if (Failure is not null)
            return ValueTask.FromException(Failure);
        lock (_entries)
        {
            _entries.Add(entry);
            foreach (var (match, found) in _waiting)
            {
                if (match(entry))
                    found.TrySetResult(entry);
            }
        }

        return ValueTask.CompletedTask;
    }

    public Task<Message> RequestAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken)
    {
        Requests.Enqueue(request);
        return Answer?.Invoke(request) is { } answer
            ? Task.FromResult(request.Response(TimeProvider.System, Encoding.UTF8.GetBytes(answer.ToJsonString())))
            : Task.FromException<Message>(new UplinkException("no answer within 10 s"));
    }

    /// <summary>The first entry, earlier or to come, that satisfies the condition; fails after 60 s (times <see cref="Edge.Testing.Patience"/>) naming what was missing.</summary>
    public async Task<UplinkEntry> WaitAsync(string what, Func<UplinkEntry, bool> match, int from = 0)
    {
        Task<UplinkEntry> found;
        lock (_entries)
        {
            if (_entries.Skip(from).FirstOrDefault(match) is { } entry)
                return entry;
            var source = new TaskCompletionSource<UplinkEntry>(TaskCreationOptions.RunContinuationsAsynchronously);
            _waiting.Add((match, source));
            found = source.Task;
        }

        try
        {
            return await found.WaitAsync(Edge.Testing.Patience.Of(TimeSpan.FromSeconds(60)));
        }
        catch (TimeoutException)
        {
            throw new TimeoutException($"not seen: {what}. Sent:\n{string.Join('\n', Entries.TakeLast(12).Select(entry => $"{entry.Operation} {entry.Resource} {Encoding.UTF8.GetString(entry.Content.Span)}"))}");
        }
    }
}
