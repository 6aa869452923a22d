using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Workloads;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Namespaces;

/// <summary>What holds up the end of a namespace, as Kubernetes says it in its conditions; pure.</summary>
internal sealed class Remains
{
    private readonly List<string> _content = [];
    private readonly SortedDictionary<string, int> _finalizers = new(StringComparer.Ordinal);

    public bool IsEmpty => _content.Count == 0;

    /// <summary>Objects of a kind that are still there after their deletion was asked for.</summary>
    public void Add(ResourceKind kind, IReadOnlyCollection<JsonObject> objects)
    {
        if (objects.Count == 0)
            return;
        _content.Add($"{kind.Plural}.{kind.Group} has {objects.Count} resource instances");
        foreach (var finalizer in objects.SelectMany(one => one.Texts("metadata", "finalizers")))
            _finalizers[finalizer] = _finalizers.GetValueOrDefault(finalizer) + 1;
    }

    public override string ToString() => string.Join(", ", _content);

    /// <summary>The conditions of the namespace with ours among them (kube-controller-manager, status_condition_utils.go).</summary>
    public JsonArray Conditions(JsonObject space, DateTimeOffset now)
    {
        var old = space.Items("status", "conditions").ToList();
        List<JsonObject> ours =
        [
            IsEmpty ? StatusWrites.Condition(old, "NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed", now)
                : StatusWrites.Condition(old, "NamespaceContentRemaining", "True", "SomeResourcesRemain", $"Some resources are remaining: {this}", now),
            _finalizers.Count == 0 ? StatusWrites.Condition(old, "NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", "All content-preserving finalizers finished", now)
                : StatusWrites.Condition(
                    old, "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain",
                    $"Some content in the namespace has finalizers remaining: {string.Join(", ", _finalizers.Select(one => $"{one.Key} in {one.Value} resource instances"))}", now),
        ];
        return new JsonArray([.. old.Where(one => ours.TrueForAll(own => own.Text("type") != one.Text("type"))).Select(one => one.DeepClone()), .. ours]);
    }
}
