using System.Collections.Immutable;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Admission;

/// <summary>Kubernetes' ResourceQuota admission and its controller: follows the store, reserves what is about to be written, and keeps <c>status.used</c>. Namespaces without a
/// quota cost one look at a dictionary.</summary>
internal sealed partial class QuotaLedger(ObjectStore store, ResourceRegistry registry, TimeProvider time, ILogger<QuotaLedger> log) : IDisposable
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(2);

    // One mark is enough: each round looks at every namespace with a quota.
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { SingleReader = true, FullMode = BoundedChannelFullMode.DropWrite });
    private volatile Spaces _spaces = new(ImmutableDictionary<string, Space>.Empty); // written under the store's lock, or before the first change

    /// <summary>Writes statuses; set once, before the first request.</summary>
    public ObjectApi? Api { get; set; }

    public void Load(IEnumerable<StoredObject> quotas)
    {
        foreach (var quota in quotas)
            SetQuota(quota, isDeleted: false);
    }

    /// <summary>Told of every change, under the store's lock.</summary>
    public void Apply(StoredEvent change)
    {
        var obj = change.Object;
        if (obj.Namespace.Length == 0)
            return;
        if (obj.Resource == BuiltinResources.Quotas.Id)
            SetQuota(obj, change.Type == WatchEventType.Deleted);
        if (!_spaces.All.TryGetValue(obj.Namespace, out var space))
            return;
        lock (space.Gate)
        {
            if (!space.Core.Resources.Contains(QuotaUsage.Qualified(obj.Resource)))
                return;
            if (change.Type == WatchEventType.Deleted)
            {
                space.Core.Remove(obj.Uid);
                if (!space.IsSeeded)
                    space.Gone.Add(obj.Uid);
            }
            else
            {
                space.Core.Put(obj.Uid, QuotaUsage.Of(obj.Resource, obj.Parse()));
            }

            space.Changes++;
        }

        _wake.Writer.TryWrite(true);
    }

    /// <summary>Counts an object that is about to be stored.</summary>
    /// <param name="old">Its state before; null for a new one.</param>
    /// <returns>True where a quota of the namespace is about the resource: then <see cref="Release"/> when the write fails, and <see cref="SettleAsync"/> when it succeeds.</returns>
    /// <exception cref="ApiException">403, in Kubernetes' words.</exception>
    public bool Reserve(ServedResource resource, JsonObject obj, JsonObject? old, bool dryRun)
    {
        if (!resource.Kind.Namespaced || !_spaces.All.TryGetValue(obj.Namespace(), out var space))
            return false;
        Seed(obj.Namespace(), space);
        lock (space.Gate)
        {
            if (!space.Core.Resources.Contains(QuotaUsage.Qualified(resource.Id)))
                return false;
            var charge = QuotaUsage.Of(resource.Id, obj);
            if (space.Core.TryReserve(obj.Uid(), charge, old is null && resource.Kind == ResourceKind.Pod ? obj : null) is { } why)
                throw ApiException.Forbidden(resource, obj.Name(), why);
            if (dryRun)
                space.Core.Release(obj.Uid());
            else
                space.Changes++;
            return !dryRun;
        }
    }

    public void Release(string @namespace, string uid)
    {
        if (!_spaces.All.TryGetValue(@namespace, out var space))
            return;
        lock (space.Gate)
            space.Core.Release(uid);
    }

    /// <summary>Done when <c>status.used</c> of the namespace's quotas counts all that was stored before the call. Writes that wait share one.</summary>
    public async Task SettleAsync(string @namespace, CancellationToken cancellationToken)
    {
        if (!_spaces.All.TryGetValue(@namespace, out var space))
            return;
        Seed(@namespace, space);
        long wanted;
        lock (space.Gate)
            wanted = space.Changes;
        await space.Writing.WaitAsync(cancellationToken);
        try
        {
            if (space.Written >= wanted)
                return;
            List<(string Name, JsonObject Status)> statuses;
            lock (space.Gate)
            {
                wanted = space.Changes;
                statuses = [.. space.Core.Names.Select(name => (name, space.Core.Status(name)!))];
            }

            foreach (var (name, status) in statuses)
                await WriteAsync(@namespace, name, status, cancellationToken);
            space.Written = wanted;
        }
        finally
        {
            space.Writing.Release();
        }
    }

    /// <summary>Keeps the statuses after deletions and changes that nobody waits for.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        _wake.Writer.TryWrite(true);
        try
        {
            while (await _wake.Reader.WaitToReadAsync(cancellationToken))
            {
                _wake.Reader.TryRead(out _);
                foreach (var ns in _spaces.All.Keys)
                {
                    try
                    {
                        await SettleAsync(ns, cancellationToken);
                    }
                    catch (Exception e) when (e is ApiException or Common.Storage.StoreException)
                    {
                        StatusFailed(log, ns, e.Message);
                        await Task.Delay(s_retry, time, cancellationToken);
                        _wake.Writer.TryWrite(true);
                    }
                    catch (Exception e) when (!cancellationToken.IsCancellationRequested)
                    {
                        RoundFailed(log, ns, e); // the other namespaces' statuses go on; this one's with its next change
                    }
                }
            }
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            // the server stops
        }
    }

    public void Dispose()
    {
        foreach (var space in _spaces.All.Values)
            space.Writing.Dispose();
    }

    private async Task WriteAsync(string @namespace, string name, JsonObject status, CancellationToken cancellationToken)
    {
        try
        {
            await Api!.ChangeAsServerAsync(
                BuiltinResources.Quotas, @namespace, name,
                tree =>
                {
                    // Of a spec that changed in between the next round writes.
                    if (JsonNode.DeepEquals(tree["spec"].At("hard") ?? new JsonObject(), status["hard"]))
                        tree["status"] = status.DeepClone();
                    return tree;
                },
                dryRun: false, cancellationToken);
        }
        catch (ApiException e) when (e.Code == 404)
        {
            // the quota is gone
        }
    }

    private void SetQuota(StoredObject stored, bool isDeleted)
    {
        var all = _spaces.All;
        if (!all.TryGetValue(stored.Namespace, out var space))
        {
            if (isDeleted)
                return;
            space = new Space();
        }

        lock (space.Gate)
        {
            if (isDeleted)
                space.Core.RemoveQuota(stored.Name);
            else if (space.Core.SetQuota(stored.Parse()))
                (space.IsSeeded, space.Generation, space.Changes) = (false, space.Generation + 1, space.Changes + 1);
            _spaces = new Spaces(space.Core.IsEmpty ? all.Remove(stored.Namespace) : all.SetItem(stored.Namespace, space));
        }

        _wake.Writer.TryWrite(true);
    }

    /// <summary>Counts what the namespace has already. Changes that come meanwhile are newer than what is found here, and count instead.</summary>
    private void Seed(string @namespace, Space space)
    {
        lock (space.Seeding)
        {
            while (true)
            {
                long generation;
                IReadOnlySet<string> resources;
                lock (space.Gate)
                {
                    if (space.IsSeeded)
                        return;
                    (generation, resources) = (space.Generation, space.Core.Resources);
                }

                // The store's lock is taken here, so the space's own must not be held.
                var found = registry.All.Select(resource => resource.Id).Distinct().Where(id => resources.Contains(QuotaUsage.Qualified(id)))
                    .SelectMany(id => store.Snapshot(id).Items).Where(obj => obj.Namespace == @namespace).Select(obj => (obj.Uid, Charge: QuotaUsage.Of(obj.Resource, obj.Parse()))).ToList();
                lock (space.Gate)
                {
                    foreach (var (uid, charge) in found)
                    {
                        if (!space.Core.IsStored(uid) && !space.Gone.Contains(uid))
                            space.Core.Put(uid, charge);
                    }

                    space.Changes++;
                    if (generation != space.Generation)
                        continue;
                    space.IsSeeded = true;
                    space.Gone.Clear();
                    return;
                }
            }
        }
    }

    private sealed class Spaces(ImmutableDictionary<string, Space> all)
    {
        public ImmutableDictionary<string, Space> All => all;
    }

    /// <summary>One namespace. Locks are taken in the order Seeding, the store's, Gate.</summary>
    private sealed class Space
    {
        public Lock Seeding { get; } = new();

        public Lock Gate { get; } = new();

        public QuotaCore Core { get; } = new(); // under Gate, as the five below

        public bool IsSeeded { get; set; }

        public long Generation { get; set; }

        public HashSet<string> Gone { get; } = []; // deleted while the namespace is counted

        public long Changes { get; set; }

        public SemaphoreSlim Writing { get; } = new(1);

        public long Written { get; set; } // under Writing
    }

    [LoggerMessage(EventId = 7120, Level = LogLevel.Warning, Message = "QuotaStatusFailed: status.used of quotas in {Namespace} is not written, trying again: {Reason}")]
    private static partial void StatusFailed(ILogger logger, string @namespace, string reason);

    [LoggerMessage(EventId = 7121, Level = LogLevel.Error, Message = "QuotaRoundFailed: status.used of quotas in {Namespace} stays as it is until something changes there; please report it")]
    private static partial void RoundFailed(ILogger logger, string @namespace, Exception error);
}
