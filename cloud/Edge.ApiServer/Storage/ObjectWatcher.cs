using System.Text.Json.Nodes;
using System.Threading.Channels;

namespace Edge.ApiServer.Storage;

/// <summary>What a watcher reads: a change, or (with <see cref="Change"/> null) the word that every change up to a version has been handed over.</summary>
/// <param name="Tree">The change's object, the same for all watchers.</param>
internal readonly record struct WatchItem(StoredEvent? Change, long Version, SharedTree? Tree = null);

/// <summary>An object's tree for watchers within the process: parsed when the first of them reads it, dropped when the last one has.</summary>
internal sealed class SharedTree(StoredObject obj)
{
    private JsonObject? _tree;

    /// <summary>Not to be changed.</summary>
    public JsonObject Read() => Volatile.Read(ref _tree) ?? Parse();

    // Two that parse at once do the work twice, and hold the same.
    private JsonObject Parse() => Interlocked.CompareExchange(ref _tree, obj.Parse(), null) ?? _tree;
}

/// <summary>One watcher's bounded queue. A watcher that does not keep up is closed; its client resumes by resourceVersion.</summary>
internal sealed class ObjectWatcher : IDisposable
{
    /// <summary>Changes that may wait for one slow client; they are references, so the bound costs 64 KiB.</summary>
    public const int QueueCapacity = 4096;

    /// <summary>Bytes of the objects of those changes. The history lets go of its oldest ones, and then the queue is all that keeps them.</summary>
    public const int QueueBytesMax = 16 << 20;

    // TryWrite alone is used: a full queue closes the watcher, so that no publisher ever waits for a client.
    private readonly Channel<WatchItem> _queue = Channel.CreateBounded<WatchItem>(
        new BoundedChannelOptions(QueueCapacity) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });

    private readonly ObjectStore _store;
    private readonly CancellationTokenSource _overflow = new();
    private long _bytes;

    public ObjectWatcher(ObjectStore store, ResourceId resource, string @namespace, string? name, IReadOnlyList<StoredEvent> replay, long start)
    {
        _store = store;
        Resource = resource;
        Namespace = @namespace;
        Name = name;
        Replay = replay;
        Start = start;
    }

    public ResourceId Resource { get; }

    /// <summary>Empty watches all namespaces.</summary>
    public string Namespace { get; }

    /// <summary>Null watches all names.</summary>
    public string? Name { get; }

    /// <summary>The changes between the asked version and <see cref="Start"/>; come before the queue.</summary>
    public IReadOnlyList<StoredEvent> Replay { get; private set; }

    /// <summary>The version at which the queue begins.</summary>
    public long Start { get; }

    /// <summary>Completes when the watcher is closed: too slow, or the store ends.</summary>
    public ChannelReader<WatchItem> Queue => _queue.Reader;

    /// <summary>Cancelled when the watcher is closed for not keeping up. Who writes to a client that takes nothing gives it up then: the queue is kept until <see cref="Dispose"/>.</summary>
    public CancellationToken Overflow => _overflow.Token;

    /// <summary>Changes of the status alone are not wanted.</summary>
    public bool SkipsStatus { get; init; }

    public bool Wants(StoredEvent change)
        => (Namespace.Length == 0 || change.Object.Namespace == Namespace) && (Name is null || change.Object.Name == Name) && !(SkipsStatus && change.IsStatusAlone);

    /// <summary>Asks for an item that says up to which version all changes have been handed over.</summary>
    public void RequestProgress() => _store.PostProgress(this);

    /// <summary>The next item that is there. Items are taken by this, so that their bytes are counted off.</summary>
    public bool TryRead(out WatchItem item)
    {
        if (!_queue.Reader.TryRead(out item))
            return false;
        Interlocked.Add(ref _bytes, -Size(item));
        return true;
    }

    /// <summary>Lets go of <see cref="Replay"/> once it has been handed over: a watch lasts longer than the history.</summary>
    public void ForgetReplay() => Replay = [];

    public bool TryPost(WatchItem item)
    {
        if (Interlocked.Add(ref _bytes, Size(item)) <= QueueBytesMax && _queue.Writer.TryWrite(item))
            return true;
        if (_queue.Writer.TryComplete())
        {
            _store.CountOverflow();
            _ = _overflow.CancelAsync(); // what follows runs elsewhere: the store's lock is held here
        }

        return false;
    }

    public void Close() => _queue.Writer.TryComplete();

    public void Dispose()
    {
        Close();
        _store.Unsubscribe(this);
        _overflow.Dispose();
    }

    private static int Size(WatchItem item) => item.Change?.Object.Json.Length ?? 0;
}
