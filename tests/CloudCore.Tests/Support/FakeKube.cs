using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Kubernetes;

namespace Edge.Cloud.Tests.Support;

/// <summary>A Kubernetes API in memory: versions, conflicts, list and watch, merge patches; strategic patches are taken as merge patches. The status of a built-in kind is written
/// with labels, annotations and finalizers, as in Kubernetes.</summary>
internal sealed class FakeKube : IKubeClient
{
    private readonly Lock _gate = new();
    private readonly Dictionary<(string Plural, string Namespace, string Name), JsonObject> _objects = [];
    private readonly List<(long Version, string Plural, WatchEvent Event)> _log = [];
    private readonly List<(string Plural, Channel<WatchEvent> Queue)> _watchers = [];
    private long _version = 100;
    private int _tryGets;

    /// <summary>Called before each write with verb, plural and name; may throw.</summary>
    public Action<string, string, string> OnWrite { get; set; } = (_, _, _) => { };

    /// <summary>Which changes watches tell: a watch that is behind has not yet told some.</summary>
    public Predicate<JsonObject> IsWatched { get; set; } = _ => true;

    /// <summary>Called before each TryGet with plural and name; may throw.</summary>
    public Action<string, string> OnTryGet { get; set; } = (_, _) => { };

    /// <summary>Awaited before each list; may throw.</summary>
    public Func<ResourceKind, Task> OnList { get; set; } = _ => Task.CompletedTask;

    /// <summary>Calls of TryGet begun so far.</summary>
    public int TryGets => Volatile.Read(ref _tryGets);

    /// <summary>Status writes of DeviceStatus seen so far.</summary>
    public int StatusPatches { get; private set; }

    public Task<JsonObject> GetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            return Task.FromResult(Find(kind, @namespace, name).DeepClone().AsObject());
        }
    }

    public Task<JsonObject?> TryGetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _tryGets);
        OnTryGet(kind.Plural, name);
        lock (_gate)
        {
            return Task.FromResult(_objects.TryGetValue((kind.Plural, @namespace ?? "", name), out var obj) ? obj.DeepClone().AsObject() : null);
        }
    }

    public async Task<KubeList> ListAsync(ResourceKind kind, string? @namespace, ListOptions options, CancellationToken cancellationToken)
    {
        await OnList(kind).WaitAsync(cancellationToken);
        lock (_gate)
        {
            var items = _objects.Where(pair => pair.Key.Plural == kind.Plural && (@namespace is null || pair.Key.Namespace == @namespace) && Matches(pair.Value, options))
                .Select(pair => pair.Value.DeepClone().AsObject()).ToList();
            return new KubeList(items, _version.ToString());
        }
    }

    public async IAsyncEnumerable<WatchEvent> WatchAsync(
        ResourceKind kind, string? @namespace, string resourceVersion, ListOptions options, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var queue = Channel.CreateUnbounded<WatchEvent>();
        lock (_gate)
        {
            foreach (var entry in _log.Where(entry => entry.Plural == kind.Plural && entry.Version > long.Parse(resourceVersion)))
                queue.Writer.TryWrite(entry.Event);
            _watchers.Add((kind.Plural, queue));
        }

        await foreach (var change in queue.Reader.ReadAllAsync(cancellationToken))
        {
            if (Matches(change.Object, options) && IsWatched(change.Object))
                yield return new WatchEvent(change.Type, change.Object.DeepClone().AsObject());
        }
    }

    public Task<JsonObject> CreateAsync(ResourceKind kind, string? @namespace, JsonObject obj, CancellationToken cancellationToken)
    {
        OnWrite("create", kind.Plural, obj.Name());
        lock (_gate)
        {
            var key = (kind.Plural, @namespace ?? "", obj.Name());
            if (_objects.ContainsKey(key))
                throw new KubeException(409, "AlreadyExists", $"{kind.Plural} \"{obj.Name()}\" already exists");
            var stored = obj.DeepClone().AsObject();
            stored["apiVersion"] = kind.ApiVersion;
            stored["kind"] = kind.Kind;
            var metadata = stored.Child("metadata");
            if (kind.Namespaced)
                metadata["namespace"] = @namespace;
            metadata["uid"] = Guid.NewGuid().ToString();
            return Task.FromResult(Store(kind, key, stored, WatchEventType.Added));
        }
    }

    public Task<JsonObject> UpdateAsync(ResourceKind kind, string? @namespace, JsonObject obj, string? subresource, CancellationToken cancellationToken)
    {
        OnWrite("update", kind.Plural, obj.Name());
        lock (_gate)
        {
            var before = Find(kind, @namespace, obj.Name());
            if (obj.ResourceVersion().Length > 0 && obj.ResourceVersion() != before.ResourceVersion())
                throw new KubeException(409, "Conflict", "the object has been modified");
            var stored = obj.DeepClone().AsObject();
            stored.Child("metadata")["uid"] = before.Uid();
            return Task.FromResult(Store(kind, (kind.Plural, @namespace ?? "", obj.Name()), stored, WatchEventType.Modified));
        }
    }

    public Task<JsonObject> PatchAsync(
        ResourceKind kind, string? @namespace, string name, PatchKind patchKind, ReadOnlyMemory<byte> patch, string? subresource, CancellationToken cancellationToken)
    {
        OnWrite("patch", kind.Plural, name);
        lock (_gate)
        {
            if (kind == ResourceKind.DeviceStatus)
                StatusPatches++;
            var stored = Find(kind, @namespace, name).DeepClone().AsObject();
            var change = JsonNode.Parse(patch.Span)!.AsObject();
            if (change.ResourceVersion() is { Length: > 0 } version && version != stored.ResourceVersion())
                throw new KubeException(409, "Conflict", "the object has been modified");
            if (subresource == "status")
                change = StatusPart(kind, change);
            Merge(stored, change);
            return Task.FromResult(Store(kind, (kind.Plural, @namespace ?? "", name), stored, WatchEventType.Modified));
        }
    }

    public Task<JsonObject> DeleteAsync(ResourceKind kind, string? @namespace, string name, JsonObject? options, CancellationToken cancellationToken)
    {
        OnWrite("delete", kind.Plural, name);
        lock (_gate)
        {
            var stored = Find(kind, @namespace, name);
            if (options.Text("preconditions", "uid") is { Length: > 0 } uid && uid != stored.Uid())
                throw new KubeException(409, "Conflict", "the UID in the precondition is another one");
            _objects.Remove((kind.Plural, @namespace ?? "", name));
            var last = stored.DeepClone().AsObject();
            last.Child("metadata")["resourceVersion"] = (++_version).ToString();
            Announce(kind, new WatchEvent(WatchEventType.Deleted, last));
            return Task.FromResult(last);
        }
    }

    public Task<JsonObject> CreateSubresourceAsync(
        ResourceKind kind, string? @namespace, string name, string subresource, JsonObject body, CancellationToken cancellationToken)
    {
        var answer = body.DeepClone().AsObject();
        answer["status"] = new JsonObject { ["token"] = $"token-of-{name}" };
        return Task.FromResult(answer);
    }

    private JsonObject Find(ResourceKind kind, string? @namespace, string name)
        => _objects.TryGetValue((kind.Plural, @namespace ?? "", name), out var obj) ? obj
            : throw new KubeException(404, "NotFound", $"{kind.Plural} \"{name}\" not found");

    private JsonObject Store(ResourceKind kind, (string, string, string) key, JsonObject obj, WatchEventType type)
    {
        obj.Child("metadata")["resourceVersion"] = (++_version).ToString();
        _objects[key] = obj;
        Announce(kind, new WatchEvent(type, obj));
        return obj.DeepClone().AsObject();
    }

    private void Announce(ResourceKind kind, WatchEvent change)
    {
        _log.Add((_version, kind.Plural, change));
        foreach (var (plural, queue) in _watchers)
        {
            if (plural == kind.Plural)
                queue.Writer.TryWrite(change);
        }
    }

    private static bool Matches(JsonObject obj, ListOptions options)
    {
        if (options.LabelSelector.Length > 0 && obj.Label(options.LabelSelector) is null)
            return false;
        return options.FieldSelector switch
        {
            "" => true,
            "spec.nodeName!=" => obj.Text("spec", "nodeName").Length > 0,
            var selector => obj.Text("spec", "nodeName") == selector["spec.nodeName=".Length..],
        };
    }

    private static JsonObject StatusPart(ResourceKind kind, JsonObject change)
    {
        var part = new JsonObject();
        if (change["status"] is { } status)
            part["status"] = status.DeepClone();
        if (kind == ResourceKind.Pod || kind == ResourceKind.Node)
        {
            foreach (var field in (string[])["labels", "annotations", "finalizers"])
            {
                if (change.At("metadata", field) is { } value)
                    part.Child("metadata")[field] = value.DeepClone();
            }
        }

        return part;
    }

    private static void Merge(JsonObject target, JsonObject patch)
    {
        foreach (var (key, value) in patch)
        {
            if (value is null)
                target.Remove(key);
            else if (value is JsonObject inner && target[key] is JsonObject own)
                Merge(own, inner);
            else
                target[key] = value.DeepClone();
        }
    }
}
