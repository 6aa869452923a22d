using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers.GarbageCollection;

/// <summary>Feeds <see cref="GcGraph"/> from informers of all kinds, the CRDs' among them, and carries out what it decides.</summary>
internal sealed partial class GarbageCollector : IAsyncDisposable
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(0.5);

    // A kind whose CRD goes before its first list never syncs; the CRDs are looked at again after this long.
    private static readonly TimeSpan s_syncWait = TimeSpan.FromSeconds(2);

    private readonly GcGraph _graph = new();
    private readonly Lock _gate = new();
    private readonly Dictionary<string, (ResourceKind Kind, SharedInformer Informer)> _custom = new(StringComparer.Ordinal);
    private readonly IKubeClient _client;
    private readonly IReadOnlyList<SharedInformer> _builtIn;
    private readonly SharedInformer _crds;
    private readonly Func<ResourceKind, SharedInformer> _makeInformer;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ReconcileLoop _loop;
    private string _awaited = ""; // the kinds that were last said to hold up the rest

    /// <param name="client">The API.</param>
    /// <param name="builtIn">Informers of all built-in kinds.</param>
    /// <param name="crds">The one of them that has the CustomResourceDefinitions.</param>
    /// <param name="makeInformer">Makes an informer for a CRD's kind; it is started and disposed here.</param>
    public GarbageCollector(
        IKubeClient client,
        IReadOnlyList<SharedInformer> builtIn,
        SharedInformer crds,
        Func<ResourceKind, SharedInformer> makeInformer,
        TimeProvider time,
        Random random,
        ILogger logger)
    {
        _client = client;
        _builtIn = builtIn;
        _crds = crds;
        _makeInformer = makeInformer;
        _time = time;
        _logger = logger;
        _loop = new ReconcileLoop("garbage collector", PassAsync, time, random, logger);
        foreach (var informer in builtIn)
            Follow(informer);
    }

    public void Start() => _loop.Start();

    public async ValueTask DisposeAsync()
    {
        await _loop.DisposeAsync();
        foreach (var (_, informer) in _custom.Values)
            await informer.DisposeAsync();
    }

    /// <summary>What the graph keeps of an object; as <see cref="Informer.Transform"/> it saves the memory of the rest.</summary>
    public static JsonObject MetadataOnly(ResourceKind kind, JsonObject obj)
    {
        var metadata = new JsonObject();
        foreach (var key in new[] { "name", "namespace", "uid", "resourceVersion", "ownerReferences", "finalizers", "deletionTimestamp" })
        {
            if (obj.At("metadata", key) is { } value)
                metadata[key] = value.DeepClone();
        }

        return new JsonObject { ["apiVersion"] = kind.ApiVersion, ["kind"] = kind.Kind, ["metadata"] = metadata };
    }

    private void Follow(SharedInformer informer)
    {
        informer.Listen(change =>
        {
            lock (_gate)
            {
                // Leases and status change all the time, and nothing follows from that.
                if (change.Type == ChangeType.Updated && change.Object.Kind() != ResourceKind.CustomResourceDefinition.Kind && _graph.TryRefresh(new GcObject(informer.Kind, change.Object)))
                    return;
                if (change.Type == ChangeType.Deleted)
                    _graph.Remove(change.Object.Uid());
                else
                    _graph.Upsert(new GcObject(informer.Kind, change.Object));
            }

            if (Matters(change))
                _loop.Wake();
        });
    }

    private static bool Matters(ObjectChange change)
        => change.Type == ChangeType.Deleted
            || change.Object.Kind() == ResourceKind.CustomResourceDefinition.Kind
            || change.Object.IsDeleting()
            || change.Object.Items("metadata", "ownerReferences").Any()
            || (change.Old?.Items("metadata", "ownerReferences").Any() ?? false);

    private async Task<TimeSpan?> PassAsync(CancellationToken token)
    {
        // An owner may not go, nor an object be called ownerless, before all kinds are known.
        await Task.WhenAll(_builtIn.Select(informer => informer.Synced)).WaitAsync(token);
        if (!await FollowCustomKindsAsync(token))
            return TimeSpan.Zero;

        IReadOnlyList<GcAction> actions;
        lock (_gate)
        {
            actions = _graph.Plan();
        }

        var retry = false;
        var asked = new HashSet<(string, string)>();
        foreach (var action in actions)
        {
            try
            {
                await DoAsync(action, asked, token);
            }
            catch (KubeException e) when (e.Code == 404)
            {
                // Gone already: its informer will say.
            }
            catch (KubeException e)
            {
                if (e.Code != 409)
                    LogFailed(_logger, action.GetType().Name, action.Target.Kind.Plural, action.Target.Object.Namespace(), action.Target.Object.Name(), e.Message);
                retry = true;
                var newer = e.Code == 409 ? await NewerAsync(action.Target, token) : null;
                lock (_gate)
                {
                    if (newer is not null)
                        _graph.Upsert(newer);
                    _graph.Touch(action.Target.Uid);
                }
            }
        }

        return retry ? s_retry : null;
    }

    // The informers show no changes of the status alone, but those have versions too.
    private async Task<GcObject?> NewerAsync(GcObject known, CancellationToken token)
    {
        try
        {
            var found = await _client.TryGetAsync(known.Kind, known.Kind.Namespaced ? known.Object.Namespace() : null, known.Object.Name(), token);
            return found?.Uid() == known.Uid ? new GcObject(known.Kind, MetadataOnly(known.Kind, found)) : null;
        }
        catch (KubeException)
        {
            return null; // the next try asks again
        }
    }

    // False while a kind is not known yet: its CRD may have gone in between, which the next look sees.
    private async Task<bool> FollowCustomKindsAsync(CancellationToken token)
    {
        var wanted = new Dictionary<string, ResourceKind>(StringComparer.Ordinal);
        foreach (var crd in _crds.List())
        {
            if (CrdKinds.Read(crd) is { } kind && Conditions.Status(crd, "Established") is "True" or "")
                wanted[crd.Uid()] = kind;
        }

        foreach (var (uid, (kind, informer)) in _custom.Where(pair => wanted.GetValueOrDefault(pair.Key) != pair.Value.Kind).ToList())
        {
            var last = informer.List();
            await informer.DisposeAsync();
            _custom.Remove(uid);
            if (wanted.ContainsKey(uid))
                continue;

            // With the CRD all its objects went.
            lock (_gate)
            {
                foreach (var obj in last)
                    _graph.Remove(obj.Uid());
            }
        }

        foreach (var (uid, kind) in wanted)
        {
            if (_custom.ContainsKey(uid))
                continue;
            var informer = _makeInformer(kind);
            Follow(informer);
            _custom[uid] = (kind, informer);
            informer.Start();
        }

        try
        {
            await Task.WhenAll(_custom.Values.Select(custom => custom.Informer.Synced)).WaitAsync(s_syncWait, _time, token);
            return true;
        }
        catch (TimeoutException)
        {
            var awaited = string.Join(", ", _custom.Values.Where(custom => !custom.Informer.Synced.IsCompleted).Select(custom => $"{custom.Kind.Plural}.{custom.Kind.Group}"));
            if (awaited != _awaited)
                LogWaiting(_logger, awaited);
            _awaited = awaited;
            return false;
        }
    }

    private async Task DoAsync(GcAction action, HashSet<(string, string)> asked, CancellationToken token)
    {
        var (kind, obj) = (action.Target.Kind, action.Target.Object);
        var space = kind.Namespaced ? obj.Namespace() : null;
        switch (action)
        {
            case VerifyOwner { Owner: var owner }:
                if (asked.Add((owner.Uid, obj.Namespace())))
                    await VerifyAsync(obj, owner, token);
                break;
            case DeleteObject delete:
                LogDeleting(_logger, kind.Plural, obj.Namespace(), obj.Name());
                await _client.DeleteAsync(kind, space, obj.Name(), Preconditions.Uid(obj, delete.Propagation), token);
                break;
            case DropOwners drop:
                var owners = new JsonArray();
                foreach (var reference in obj.Items("metadata", "ownerReferences").Where(reference => !drop.Uids.Contains(reference.Text("uid"))))
                    owners.Add(reference.DeepClone());
                await PatchMetadataAsync(kind, space, obj, "ownerReferences", owners, token);
                break;
            case DropFinalizer drop:
                var finalizers = new JsonArray();
                foreach (var finalizer in obj.Texts("metadata", "finalizers").Where(finalizer => finalizer != drop.Finalizer))
                    finalizers.Add((JsonNode)finalizer);
                await PatchMetadataAsync(kind, space, obj, "finalizers", finalizers, token);
                break;
        }
    }

    private async Task VerifyAsync(JsonObject dependent, OwnerReference owner, CancellationToken token)
    {
        var kind = KindOf(owner);
        if (kind is null)
        {
            // As in Kubernetes: who cannot be asked for is not taken for absent.
            LogUnknownOwner(_logger, dependent.Kind(), dependent.Namespace(), dependent.Name(), owner.ApiVersion, owner.Kind);
            return;
        }

        var found = kind.Namespaced && dependent.Namespace().Length == 0
            ? null
            : await _client.TryGetAsync(kind, kind.Namespaced ? dependent.Namespace() : null, owner.Name, token);
        if (found?.Uid() == owner.Uid)
            return;
        lock (_gate)
        {
            _graph.MarkAbsent(owner.Uid, dependent.Namespace());
        }

        _loop.Wake();
    }

    private ResourceKind? KindOf(OwnerReference owner)
    {
        var group = owner.ApiVersion.Contains('/', StringComparison.Ordinal) ? owner.ApiVersion[..owner.ApiVersion.IndexOf('/', StringComparison.Ordinal)] : "";
        return CrdKinds.BuiltIn.Append(ResourceKind.Event).Concat(_custom.Values.Select(custom => custom.Kind)).FirstOrDefault(kind => kind.Group == group && kind.Kind == owner.Kind);
    }

    // The resourceVersion makes it a 409 when the object is not the one decided about.
    private Task<JsonObject> PatchMetadataAsync(ResourceKind kind, string? space, JsonObject obj, string key, JsonArray value, CancellationToken token)
    {
        var patch = new JsonObject
        {
            ["metadata"] = new JsonObject { ["resourceVersion"] = obj.ResourceVersion(), ["uid"] = obj.Uid(), [key] = value.Count == 0 ? null : value },
        };
        return _client.PatchAsync(kind, space, obj.Name(), PatchKind.Merge, Encoding.UTF8.GetBytes(patch.ToJsonString()), null, token);
    }

    [LoggerMessage(3230, LogLevel.Information, "{Kind} {Namespace}/{Name} has no owner any longer and is deleted")]
    private static partial void LogDeleting(ILogger logger, string kind, string @namespace, string name);

    [LoggerMessage(3231, LogLevel.Warning, "{Action} of {Kind} {Namespace}/{Name} failed, trying again: {Message}")]
    private static partial void LogFailed(ILogger logger, string action, string kind, string @namespace, string name, string message);

    [LoggerMessage(3233, LogLevel.Warning, "nothing is collected until {Kinds} could be listed, or their definitions are gone")]
    private static partial void LogWaiting(ILogger logger, string kinds);

    [LoggerMessage(3232, LogLevel.Warning, "{Kind} {Namespace}/{Name} names an owner of a kind that is not served: {OwnerApiVersion} {OwnerKind}; it is kept")]
    private static partial void LogUnknownOwner(ILogger logger, string kind, string @namespace, string name, string ownerApiVersion, string ownerKind);
}
