using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local.Processes;

namespace Edge.Cloud.Tests.Support;

/// <summary>A Kubernetes API that grants the roles of <c>manifests/cloudcore/02-rbac.yaml</c> and nothing else, as RBAC does: what is not granted is 403 and noted. What was used is noted
/// too, so that rights that nothing needs are found.</summary>
internal sealed class RoleCheckedKube : IKubeClient
{
    private readonly List<Rule> _rules = [];
    private readonly ConcurrentDictionary<string, bool> _used = new(StringComparer.Ordinal);
    private IKubeClient _inner = null!;

    public RoleCheckedKube()
    {
        foreach (var role in Manifests.Parse(File.ReadAllText(Path.Combine(Executables.SourceTree!, "manifests/cloudcore/02-rbac.yaml"))).Where(one => one.Kind() is "ClusterRole" or "Role"))
        {
            foreach (var rule in role.Items("rules"))
            {
                foreach (var (group, resource, verb) in rule.Texts("apiGroups").SelectMany(group => rule.Texts("resources").SelectMany(resource => rule.Texts("verbs").Select(verb => (group, resource, verb)))))
                    _rules.Add(new Rule(role.Name(), role.Kind() == "Role" ? role.Namespace() : null, group, resource, verb));
            }
        }
    }

    /// <summary>Which requests (<c>list pods</c>) are refused whatever the roles say.</summary>
    public Func<string, bool> Withholds { get; set; } = _ => false;

    /// <summary>Requests that no role grants.</summary>
    public ConcurrentQueue<string> Denied { get; } = new();

    /// <summary>Rights of the roles that nothing has used.</summary>
    public IEnumerable<string> Unused => _rules.Select(rule => rule.ToString()).Where(rule => !_used.ContainsKey(rule)).Order(StringComparer.Ordinal);

    public IKubeClient Over(IKubeClient inner)
    {
        _inner = inner;
        return this;
    }

    public Task<JsonObject> GetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken)
    {
        Check("get", kind, @namespace, null);
        return _inner.GetAsync(kind, @namespace, name, cancellationToken);
    }

    public Task<JsonObject?> TryGetAsync(ResourceKind kind, string? @namespace, string name, CancellationToken cancellationToken)
    {
        Check("get", kind, @namespace, null);
        return _inner.TryGetAsync(kind, @namespace, name, cancellationToken);
    }

    public Task<KubeList> ListAsync(ResourceKind kind, string? @namespace, ListOptions options, CancellationToken cancellationToken)
    {
        Check("list", kind, @namespace, null);
        return _inner.ListAsync(kind, @namespace, options, cancellationToken);
    }

    public async IAsyncEnumerable<WatchEvent> WatchAsync(
        ResourceKind kind, string? @namespace, string resourceVersion, ListOptions options, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        Check("watch", kind, @namespace, null);
        await foreach (var change in _inner.WatchAsync(kind, @namespace, resourceVersion, options, cancellationToken))
            yield return change;
    }

    public Task<JsonObject> CreateAsync(ResourceKind kind, string? @namespace, JsonObject obj, CancellationToken cancellationToken)
    {
        Check("create", kind, @namespace, null);
        return _inner.CreateAsync(kind, @namespace, obj, cancellationToken);
    }

    public Task<JsonObject> UpdateAsync(ResourceKind kind, string? @namespace, JsonObject obj, string? subresource, CancellationToken cancellationToken)
    {
        Check("update", kind, @namespace, subresource);
        return _inner.UpdateAsync(kind, @namespace, obj, subresource, cancellationToken);
    }

    public Task<JsonObject> PatchAsync(
        ResourceKind kind, string? @namespace, string name, PatchKind patchKind, ReadOnlyMemory<byte> patch, string? subresource, CancellationToken cancellationToken)
    {
        Check("patch", kind, @namespace, subresource);
        return _inner.PatchAsync(kind, @namespace, name, patchKind, patch, subresource, cancellationToken);
    }

    public Task<JsonObject> DeleteAsync(ResourceKind kind, string? @namespace, string name, JsonObject? options, CancellationToken cancellationToken)
    {
        Check("delete", kind, @namespace, null);
        return _inner.DeleteAsync(kind, @namespace, name, options, cancellationToken);
    }

    public Task<JsonObject> CreateSubresourceAsync(ResourceKind kind, string? @namespace, string name, string subresource, JsonObject body, CancellationToken cancellationToken)
    {
        Check("create", kind, @namespace, subresource);
        return _inner.CreateSubresourceAsync(kind, @namespace, name, subresource, body, cancellationToken);
    }

    private void Check(string verb, ResourceKind kind, string? @namespace, string? subresource)
    {
        var resource = subresource is null ? kind.Plural : $"{kind.Plural}/{subresource}";
        var isWithheld = Withholds($"{verb} {resource}");
        var granted = _rules.Where(rule => !isWithheld && rule.Group == kind.Group && rule.Resource == resource && rule.Verb == verb && (rule.Namespace is null || rule.Namespace == @namespace)).ToList();
        // The narrowest role counts as the one that was needed.
        if (granted.OrderBy(rule => rule.Namespace is null).FirstOrDefault() is { } used)
        {
            _used[used.ToString()] = true;
            return;
        }

        var text = $"{verb} {resource}{(kind.Group.Length == 0 ? "" : "." + kind.Group)} in {@namespace ?? "the cluster"}";
        Denied.Enqueue(text);
        throw new KubeException(403, "Forbidden", $"cloudcore may not {text}");
    }

    private sealed record Rule(string Role, string? Namespace, string Group, string Resource, string Verb)
    {
        public override string ToString() => $"{(Namespace is null ? "" : Namespace + "/")}{Role}: {Verb} {Resource}{(Group.Length == 0 ? "" : "." + Group)}";
    }
}
