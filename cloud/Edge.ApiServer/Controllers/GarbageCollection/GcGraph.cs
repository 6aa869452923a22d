using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.GarbageCollection;

/// <summary>One object as the graph knows it.</summary>
internal sealed record GcObject(ResourceKind Kind, JsonObject Object)
{
    public string Uid => Object.Uid();

    public IEnumerable<OwnerReference> Owners => Object.Items("metadata", "ownerReferences").Select(OwnerReference.Read);

    public bool HasFinalizer(string name) => Object.Texts("metadata", "finalizers").Contains(name, StringComparer.Ordinal);

    /// <summary>Goes only after its dependents.</summary>
    public bool WaitsForDependents => Object.IsDeleting() && HasFinalizer(GcGraph.ForegroundFinalizer);

    /// <summary>Lets its dependents free before it goes.</summary>
    public bool Orphans => Object.IsDeleting() && HasFinalizer(GcGraph.OrphanFinalizer);
}

internal sealed record OwnerReference(string ApiVersion, string Kind, string Name, string Uid, bool Blocks)
{
    public static OwnerReference Read(JsonObject reference)
        => new(reference.Text("apiVersion"), reference.Text("kind"), reference.Text("name"), reference.Text("uid"), reference.Flag(false, "blockOwnerDeletion"));
}

internal abstract record GcAction(GcObject Target);

/// <summary>The graph does not hold this owner: ask the API whether it exists, then call <see cref="GcGraph.MarkAbsent"/> or leave it.</summary>
internal sealed record VerifyOwner(GcObject Target, OwnerReference Owner) : GcAction(Target);

internal sealed record DeleteObject(GcObject Target, string Propagation) : GcAction(Target);

internal sealed record DropOwners(GcObject Target, IReadOnlySet<string> Uids) : GcAction(Target);

internal sealed record DropFinalizer(GcObject Target, string Finalizer) : GcAction(Target);

/// <summary>Who owns whom, and what follows when owners go: Kubernetes' garbage collection by ownerReferences. Pure: objects come in,
/// actions go out. Only what a change may concern is looked at.</summary>
internal sealed class GcGraph
{
    public const string ForegroundFinalizer = "foregroundDeletion";
    public const string OrphanFinalizer = "orphan";

    // Forgetting an absent owner only costs another question.
    private const int AbsentMax = 10_000;

    private readonly Dictionary<string, GcObject> _objects = new(StringComparer.Ordinal);
    private readonly Dictionary<string, HashSet<string>> _dependents = new(StringComparer.Ordinal);
    private readonly HashSet<(string Uid, string Namespace)> _absent = [];
    private HashSet<string> _dirty = new(StringComparer.Ordinal);

    public int Count => _objects.Count;

    /// <summary>An object that is new or changed.</summary>
    public void Upsert(GcObject obj)
    {
        if (obj.Uid.Length == 0)
            return;
        if (_objects.GetValueOrDefault(obj.Uid) is { } old)
        {
            // An owner that is let go may have waited for it.
            Unlink(old);
            foreach (var owner in old.Owners)
                _dirty.Add(owner.Uid);
        }

        _objects[obj.Uid] = obj;
        foreach (var owner in obj.Owners)
        {
            if (!_dependents.TryGetValue(owner.Uid, out var dependents))
                _dependents[owner.Uid] = dependents = new HashSet<string>(StringComparer.Ordinal);
            dependents.Add(obj.Uid);
            _dirty.Add(owner.Uid);
        }

        _dirty.Add(obj.Uid);
        if (obj.Object.IsDeleting())
            TouchDependents(obj.Uid);
    }

    /// <summary>Takes a newer state of an object of which the graph knows all that matters to it: same ownerReferences, finalizers and deletion. False, and nothing is done, where any differs.</summary>
    public bool TryRefresh(GcObject obj)
    {
        if (!_objects.TryGetValue(obj.Uid, out var old))
            return false;
        foreach (var field in (ReadOnlySpan<string>)["ownerReferences", "finalizers", "deletionTimestamp"])
        {
            if (!JsonNode.DeepEquals(old.Object.At("metadata", field), obj.Object.At("metadata", field)))
                return false;
        }

        _objects[obj.Uid] = obj;
        return true;
    }

    /// <summary>An object that is gone.</summary>
    public void Remove(string uid)
    {
        if (!_objects.Remove(uid, out var old))
            return;
        Unlink(old);
        foreach (var owner in old.Owners)
            _dirty.Add(owner.Uid);
        TouchDependents(uid);
    }

    /// <summary>The API said that there is no such owner in that namespace (empty for cluster scope).</summary>
    public void MarkAbsent(string uid, string @namespace)
    {
        if (_absent.Count >= AbsentMax)
            _absent.Clear();
        _absent.Add((uid, @namespace));
        TouchDependents(uid);
    }

    /// <summary>Look at this object again at the next <see cref="Plan"/>, as acting on it failed.</summary>
    public void Touch(string uid) => _dirty.Add(uid);

    /// <summary>What follows from the changes since the last call.</summary>
    public IReadOnlyList<GcAction> Plan()
    {
        var seen = _dirty;
        var queue = new Queue<string>(seen);
        _dirty = new HashSet<string>(StringComparer.Ordinal);
        var actions = new List<GcAction>();
        while (queue.TryDequeue(out var uid))
        {
            if (!_objects.TryGetValue(uid, out var obj))
                continue;
            if (obj.Orphans)
            {
                PlanOrphaning(obj, actions);
            }
            else if (obj.WaitsForDependents)
            {
                PlanForeground(obj, actions);
                foreach (var dependent in Dependents(obj))
                {
                    if (seen.Add(dependent.Uid))
                        queue.Enqueue(dependent.Uid);
                }
            }

            PlanOwned(obj, actions);
        }

        return actions;
    }

    // All dependents let go first; only then the owner.
    private void PlanOrphaning(GcObject obj, List<GcAction> actions)
    {
        var dependents = Dependents(obj).ToList();
        foreach (var dependent in dependents)
            actions.Add(new DropOwners(dependent, new HashSet<string>(StringComparer.Ordinal) { obj.Uid }));
        if (dependents.Count == 0)
            actions.Add(new DropFinalizer(obj, OrphanFinalizer));
    }

    // The dependents' own look deletes them; those that do not block may outlive the owner.
    private void PlanForeground(GcObject obj, List<GcAction> actions)
    {
        if (!Dependents(obj).Any(dependent => dependent.Owners.Any(owner => owner.Uid == obj.Uid && owner.Blocks)))
            actions.Add(new DropFinalizer(obj, ForegroundFinalizer));
    }

    private void PlanOwned(GcObject obj, List<GcAction> actions)
    {
        var owners = obj.Owners.ToList();

        // One that waits for its own dependents is going already.
        if (owners.Count == 0 || obj.Object.IsDeleting())
            return;
        var solid = 0;
        var gone = new HashSet<string>(StringComparer.Ordinal);
        var waiting = new HashSet<string>(StringComparer.Ordinal);
        foreach (var owner in owners)
        {
            switch (Find(obj, owner))
            {
                case { } known when known.Orphans:
                    // Its finalizer's look frees us.
                    solid++;
                    break;
                case { } known when known.WaitsForDependents:
                    waiting.Add(owner.Uid);
                    break;
                case not null:
                    solid++;
                    break;
                case null when IsAbsent(obj, owner):
                    gone.Add(owner.Uid);
                    break;
                default:
                    actions.Add(new VerifyOwner(obj, owner));
                    return;
            }
        }

        if (solid > 0)
        {
            // Someone still wants it; it must not hold back those that go.
            gone.UnionWith(waiting);
            if (gone.Count > 0)
                actions.Add(new DropOwners(obj, gone));
        }
        else
        {
            actions.Add(new DeleteObject(obj, waiting.Count > 0 && Dependents(obj).Any() ? "Foreground" : "Background"));
        }
    }

    // An owner must be cluster-scoped or in the dependent's namespace, whatever the uid says.
    private GcObject? Find(GcObject dependent, OwnerReference owner)
        => _objects.TryGetValue(owner.Uid, out var known)
            && (!known.Kind.Namespaced || known.Object.Namespace() == dependent.Object.Namespace())
            && known.Kind.Kind == owner.Kind
                ? known
                : null;

    private bool IsAbsent(GcObject dependent, OwnerReference owner)
        => _absent.Contains((owner.Uid, dependent.Object.Namespace()));

    private IEnumerable<GcObject> Dependents(GcObject owner)
        => _dependents.TryGetValue(owner.Uid, out var uids) ? uids.Select(uid => _objects[uid]).Where(dependent => Find(dependent, dependent.Owners.First(reference => reference.Uid == owner.Uid)) is not null) : [];

    private void TouchDependents(string uid)
    {
        if (_dependents.TryGetValue(uid, out var dependents))
            _dirty.UnionWith(dependents);
    }

    private void Unlink(GcObject obj)
    {
        foreach (var owner in obj.Owners)
        {
            if (_dependents.TryGetValue(owner.Uid, out var dependents) && dependents.Remove(obj.Uid) && dependents.Count == 0)
                _dependents.Remove(owner.Uid);
        }
    }
}
