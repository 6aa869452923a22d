using System.Collections.Concurrent;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Protocol.Messages;

namespace Edge.Devices.Tests;

/// <summary>MetaManager's contract in memory; local rows survive as long as the object.</summary>
internal sealed class FakeMetaStore : IMetaStore
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, MetaObject> _objects = new(StringComparer.Ordinal);
    private readonly List<(string[] Types, Channel<MetaChange> Channel)> _readers = [];
    private readonly Dictionary<(string Room, string Key), ReadOnlyMemory<byte>> _local = [];

    public IReadOnlyCollection<string> UnreadableUids(string type) => [];

    public void Put(string type, JsonObject one)
    {
        var name = (string)one["metadata"]!["name"]!;
        var change = new MetaChange(
            new MetaObject($"default/{type}/{name}", type, "default", name, "uid", 1, Encoding.UTF8.GetBytes(one.ToJsonString())), false);
        lock (_gate)
        {
            _objects[change.Object.Key] = change.Object;
            Publish(change);
        }
    }

    public void Remove(string type, string name)
    {
        lock (_gate)
        {
            if (_objects.Remove($"default/{type}/{name}", out var one))
                Publish(new MetaChange(one, true));
        }
    }

    public MetaObject? Get(string type, string @namespace, string name)
    {
        lock (_gate)
            return _objects.GetValueOrDefault($"{@namespace}/{type}/{name}");
    }

    public IReadOnlyList<MetaObject> List(string type)
    {
        lock (_gate)
            return [.. _objects.Values.Where(one => one.Type == type)];
    }

    public ChannelReader<MetaChange> Subscribe(params string[] types)
    {
        var channel = Channel.CreateUnbounded<MetaChange>();
        lock (_gate)
        {
            _readers.Add((types, channel));
            foreach (var one in _objects.Values.Where(one => types.Contains(one.Type)))
                channel.Writer.TryWrite(new MetaChange(one, false));
        }

        return channel.Reader;
    }

    public Task<MetaObject?> GetOrQueryAsync(string type, string @namespace, string name, CancellationToken cancellationToken)
        => Task.FromResult(Get(type, @namespace, name));

    public ValueTask PutLocalAsync(string room, string key, ReadOnlyMemory<byte> json, CancellationToken cancellationToken)
    {
        lock (_gate)
            _local[(room, key)] = json;
        return ValueTask.CompletedTask;
    }

    public ValueTask ChangeLocalAsync(string room, IReadOnlyList<KeyValuePair<string, byte[]?>> rows, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            foreach (var (key, json) in rows)
            {
                if (json is null)
                    _local.Remove((room, key));
                else
                    _local[(room, key)] = json;
            }
        }

        return ValueTask.CompletedTask;
    }

    public ValueTask DeleteLocalAsync(string room, string key, CancellationToken cancellationToken)
    {
        lock (_gate)
            _local.Remove((room, key));
        return ValueTask.CompletedTask;
    }

    public IReadOnlyDictionary<string, ReadOnlyMemory<byte>> ListLocal(string room)
    {
        lock (_gate)
            return _local.Where(pair => pair.Key.Room == room).ToDictionary(pair => pair.Key.Key, pair => pair.Value);
    }

    private void Publish(MetaChange change)
    {
        foreach (var (types, channel) in _readers)
            if (types.Contains(change.Object.Type))
                channel.Writer.TryWrite(change);
    }
}

/// <summary>An uplink that keeps the newest entry of each key and lets a test wait for one.</summary>
internal sealed class FakeUplink : IUplink
{
    private readonly ConcurrentQueue<UplinkEntry> _entries = new();
    private readonly List<(Func<UplinkEntry, bool> Want, TaskCompletionSource<UplinkEntry> Done)> _waiters = [];
    private readonly Lock _gate = new();

    public bool IsConnected => true;

    /// <summary>What a post of several waits for, as for a slow disk.</summary>
    public Task Gate { get; set; } = Task.CompletedTask;

    public IReadOnlyList<UplinkEntry> Entries => [.. _entries];

    public event Action<bool>? LinkChanged
    {
        add
        {
            // This link never changes.
        }

        remove
        {
        }
    }

    public async ValueTask PostAsync(IReadOnlyList<UplinkEntry> entries, CancellationToken cancellationToken)
    {
        await Gate;
        foreach (var entry in entries)
            await PostAsync(entry, cancellationToken);
    }

    public async ValueTask<bool> TryPostAsync(UplinkEntry entry, CancellationToken cancellationToken)
    {
        await PostAsync(entry, cancellationToken);
        return true;
    }

    public ValueTask PostAsync(UplinkEntry entry, CancellationToken cancellationToken)
    {
        _entries.Enqueue(entry);
        lock (_gate)
        {
            foreach (var waiter in _waiters.Where(one => one.Want(entry)).ToList())
            {
                _waiters.Remove(waiter);
                waiter.Done.TrySetResult(entry);
            }
        }

        return ValueTask.CompletedTask;
    }

    public Task<Message> RequestAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken)
        => throw new UplinkException("not connected");

    /// <summary>The next entry (from now on) that satisfies the condition; fails after 20 s, naming what was missing.</summary>
    public async Task<UplinkEntry> NextAsync(string what, Func<UplinkEntry, bool> want)
    {
        var done = new TaskCompletionSource<UplinkEntry>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
            _waiters.Add((want, done));
        try
        {
            return await done.Task.WaitAsync(TimeSpan.FromSeconds(20));
        }
        catch (TimeoutException)
        {
            throw new TimeoutException($"no {what}; the last entries: {string.Join('\n', _entries.TakeLast(4).Select(one => $"{one.Resource} {Encoding.UTF8.GetString(one.Content.Span)}"))}");
        }
    }

    /// <summary>The next twin whose property satisfies the condition.</summary>
    public Task<UplinkEntry> NextTwinAsync(string what, string property, Func<JsonNode, bool> want)
        => NextAsync(what, entry => entry.Resource.EndsWith("/twin/edge_updated", StringComparison.Ordinal)
            && JsonNode.Parse(entry.Content.Span)!["twin"]![property] is { } twin && want(twin));

    public Task<UplinkEntry> NextStateAsync(string state)
        => NextAsync($"state {state}", entry => entry.Resource.EndsWith("/state/update", StringComparison.Ordinal)
            && (string)JsonNode.Parse(MessageCodec.Unwrap(entry.Content).Span)!["device"]!["state"]! == state);
}
