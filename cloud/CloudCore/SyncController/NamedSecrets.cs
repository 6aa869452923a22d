using System.Diagnostics.Metrics;
using System.Text.Json.Nodes;
using Edge.Common;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.Cloud.SyncController;

/// <summary>Reads the Secrets that pods on edges name, one by one and again and again, where cloudcore may not list and watch them all: the right to <c>get</c> is all it takes.</summary>
/// <remarks>
/// <para>A Secret is read as soon as the first pod names it, then each <c>every</c> (a fifth more or less, so that they do not come together), and a change is told as a watch would. The last pod's end takes
/// it out of memory. While the API does not answer, what was read last holds.</para>
/// <para>One reader at a time for each Secret, so that states come in order. Safe for concurrent calls; <see cref="Use"/> and <see cref="Release(string, string)"/> do not wait.</para>
/// </remarks>
internal sealed class NamedSecrets : IAsyncDisposable
{
    private const int Readers = 8;

    // What finds no room is read at the next look.
    private const int WaitingMax = 16_384;

    private static readonly TimeSpan s_look = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_backoffMin = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_backoffMax = TimeSpan.FromSeconds(30);
    private static readonly Meter s_meter = new("Edge.Cloud.SyncController");
    private static readonly UpDownCounter<long> s_named = s_meter.CreateUpDownCounter<long>("edge_secrets_named", description: "Secrets that pods on edges name and that are read one by one (modules.edgeController.secretRefreshSeconds)");
    private static readonly Counter<long> s_reads = s_meter.CreateCounter<long>("edge_secrets_reads", description: "Reads of single Secrets");
    private static readonly Counter<long> s_failures = s_meter.CreateCounter<long>("edge_secrets_read_failures", description: "Reads of single Secrets that the API did not answer or refused");

    private readonly IKubeClient _kube;
    private readonly Action<ObjectChange> _changed;
    private readonly Func<string, string, bool> _drop;
    private readonly TimeSpan _every;
    private readonly TimeProvider _time;
    private readonly Random _random; // locked by _gate
    private readonly ILogger _logger;
    private readonly Lock _gate = new();
    private readonly Dictionary<(string Namespace, string Name), Entry> _entries = [];
    private readonly WorkQueue<Entry> _queue;
    private readonly ITimer _timer;
    private TaskCompletionSource? _settled; // locked by _gate

    /// <param name="kube">The API.</param>
    /// <param name="changed">Told of each change, from any thread, never twice at once for one Secret.</param>
    /// <param name="drop">Drops what was told of a Secret (namespace, name) that nothing names any more; false where something does again.</param>
    /// <param name="every">How long a change may go unseen.</param>
    /// <param name="time">Clock.</param>
    /// <param name="random">Jitter; shared with nobody.</param>
    /// <param name="logger">Where operators are told.</param>
    public NamedSecrets(IKubeClient kube, Action<ObjectChange> changed, Func<string, string, bool> drop, TimeSpan every, TimeProvider time, Random random, ILogger logger)
    {
        _kube = kube;
        _changed = changed;
        _drop = drop;
        _every = every;
        _time = time;
        _random = random;
        _logger = logger;
        _queue = new WorkQueue<Entry>(WaitingMax, Readers, ServeAsync, e => SyncLog.WorkBroke(logger, e));
        _timer = time.CreateTimer(_ => Look(), null, s_look, s_look);
    }

    /// <summary>A pod names it now, the first one.</summary>
    public void Use(string @namespace, string name)
    {
        lock (_gate)
        {
            if (!_entries.TryGetValue((@namespace, name), out var entry))
            {
                _entries[(@namespace, name)] = entry = new Entry(@namespace, name);
                s_named.Add(1);
            }

            entry.IsWanted = true;
            Begin(entry);
        }
    }

    /// <summary>No pod names it any more.</summary>
    public void Release(string @namespace, string name)
    {
        lock (_gate)
        {
            if (!_entries.TryGetValue((@namespace, name), out var entry))
                return;
            entry.IsWanted = false;
            Begin(entry);
        }
    }

    /// <summary>Whether the API has said what it is, or that it is not.</summary>
    public bool IsRead(string @namespace, string name)
    {
        lock (_gate)
        {
            return _entries.TryGetValue((@namespace, name), out var entry) && entry.IsRead;
        }
    }

    /// <summary>Completes when each that is named has been asked for once and the API has answered.</summary>
    public Task SettledAsync()
    {
        lock (_gate)
        {
            if (IsSettled)
                return Task.CompletedTask;
            _settled ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _settled.Task;
        }
    }

    private bool IsSettled => _entries.Values.All(entry => entry.IsAnswered || !entry.IsWanted);

    public async ValueTask DisposeAsync()
    {
        await _timer.DisposeAsync();
        await _queue.DisposeAsync();
        lock (_gate)
        {
            s_named.Add(-_entries.Count);
            _entries.Clear();
        }
    }

    private void Look()
    {
        lock (_gate)
        {
            var now = _time.GetUtcNow();
            foreach (var entry in _entries.Values)
            {
                if (entry.Due <= now)
                    Begin(entry);
            }
        }
    }

    // Under the lock.
    private void Begin(Entry entry)
    {
        if (!entry.IsServed)
            entry.IsServed = _queue.TryAdd(entry);
    }

    private async Task ServeAsync(Entry entry, CancellationToken cancellationToken)
    {
        while (true)
        {
            bool isWanted;
            lock (_gate)
            {
                isWanted = entry.IsWanted;
            }

            var (isAnswered, isLeft) = (false, false);
            try
            {
                isAnswered = isWanted ? await ReadAsync(entry, cancellationToken) : Release(entry);
            }
            finally
            {
                lock (_gate)
                {
                    entry.Due = _time.GetUtcNow() + NextIn(entry, isAnswered);
                    isLeft = entry.IsWanted == isWanted;
                    if (isLeft)
                        Leave(entry, isAnswered);
                }
            }

            // Not by what the entry says now: it may have another reader by now.
            if (isLeft)
                return;
        }
    }

    // Under the lock.
    private TimeSpan NextIn(Entry entry, bool isAnswered)
    {
        entry.Failures = isAnswered ? 0 : entry.Failures + 1;
        return isAnswered ? _every * (0.8 + (0.4 * _random.NextDouble())) : Backoff.FullJitter(entry.Failures, s_backoffMin, s_backoffMax, _random);
    }

    // Under the lock.
    private void Leave(Entry entry, bool isAnswered)
    {
        entry.IsServed = false;
        entry.IsAnswered |= isAnswered;
        if (!entry.IsWanted && _entries.Remove((entry.Namespace, entry.Name)))
            s_named.Add(-1);
        if (_settled is null || !IsSettled)
            return;
        _settled.SetResult();
        _settled = null;
    }

    // False where the API gave no answer.
    private async Task<bool> ReadAsync(Entry entry, CancellationToken cancellationToken)
    {
        s_reads.Add(1);
        JsonObject? live;
        try
        {
            live = await _kube.TryGetAsync(ResourceKind.Secret, entry.Namespace, entry.Name, cancellationToken);
        }
        catch (KubeException e)
        {
            s_failures.Add(1);
            if (entry.Failure != e.Message)
                SyncLog.SecretNotRead(_logger, entry.Namespace, entry.Name, e.Message);
            entry.Failure = e.Message;
            // What is refused is refused again: nobody need wait for it, and what was read last holds.
            return e.Code is >= 400 and < 500 and not 429;
        }

        entry.Failure = "";
        if (entry.Uid.Length > 0 && live?.Uid() != entry.Uid)
        {
            var last = KubeObject.Identity(ResourceKind.Secret.ApiVersion, ResourceKind.Secret.Kind, entry.Namespace, entry.Name, entry.Uid, entry.Version);
            (entry.Uid, entry.Version) = ("", "");
            _changed(new ObjectChange(ChangeType.Deleted, new ObjectText(last), null));
        }

        if (live is not null && live.ResourceVersion() != entry.Version)
        {
            var type = entry.Uid.Length == 0 ? ChangeType.Added : ChangeType.Updated;
            var text = new ObjectText(KubeObject.WithoutManagedFields(live));
            (entry.Uid, entry.Version) = (text.Uid, text.ResourceVersion);
            _changed(new ObjectChange(type, text, null));
        }

        lock (_gate)
        {
            entry.IsRead = true;
        }

        return true;
    }

    private bool Release(Entry entry)
    {
        if (_drop(entry.Namespace, entry.Name))
            (entry.Uid, entry.Version) = ("", "");
        return true;
    }

    // What is not said to be locked belongs to the reader that serves it.
    private sealed class Entry(string @namespace, string name)
    {
        public string Namespace => @namespace;

        public string Name => name;

        /// <summary>Empty while it is not known to be there.</summary>
        public string Uid { get; set; } = "";

        public string Version { get; set; } = "";

        public string Failure { get; set; } = "";

        public int Failures { get; set; } // locked

        public bool IsWanted { get; set; } // locked

        /// <summary>It waits for a reader or has one.</summary>
        public bool IsServed { get; set; } // locked

        /// <summary>The API has said whether it is.</summary>
        public bool IsRead { get; set; } // locked

        /// <summary>The API has said something, be it that cloudcore may not know.</summary>
        public bool IsAnswered { get; set; } // locked

        public DateTimeOffset Due { get; set; } // locked
    }
}
