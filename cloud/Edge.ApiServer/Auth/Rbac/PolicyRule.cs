using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Auth.Rbac;

/// <summary>One rule of a role (rbac.authorization.k8s.io/v1 PolicyRule). Immutable. <c>*</c> stands for all.</summary>
internal sealed class PolicyRule(IReadOnlyList<string> verbs, IReadOnlyList<string> groups, IReadOnlyList<string> resources, IReadOnlyList<string> names, IReadOnlyList<string> paths)
{
    private const string All = "*";

    public IReadOnlyList<string> Verbs => verbs;

    public IReadOnlyList<string> Groups => groups;

    public IReadOnlyList<string> Resources => resources;

    /// <summary>Empty allows every name.</summary>
    public IReadOnlyList<string> Names => names;

    /// <summary>nonResourceURLs; a <c>*</c> may stand at the end of one.</summary>
    public IReadOnlyList<string> Paths => paths;

    public static PolicyRule Parse(JsonObject rule)
        => new([.. rule.Texts("verbs")], [.. rule.Texts("apiGroups")], [.. rule.Texts("resources")], [.. rule.Texts("resourceNames")], [.. rule.Texts("nonResourceURLs")]);

    /// <summary>The rules of a Role or ClusterRole.</summary>
    public static IReadOnlyList<PolicyRule> OfRole(JsonObject role) => [.. role.Items("rules").Select(Parse)];

    public JsonObject ToJson()
    {
        var json = new JsonObject { ["verbs"] = Array(verbs) };
        foreach (var (key, list) in (ReadOnlySpan<(string, IReadOnlyList<string>)>)[("apiGroups", groups), ("resources", resources), ("resourceNames", names), ("nonResourceURLs", paths)])
        {
            if (list.Count > 0)
                json[key] = Array(list);
        }

        return json;
    }

    public bool Allows(in AccessRequest request)
    {
        if (!Has(verbs, request.Verb))
            return false;
        return request.IsResource
            ? Has(groups, request.Group) && HasResource(request.Resource, request.Subresource) && (names.Count == 0 || Contains(names, request.Name))
            : HasPath(request.Path);
    }

    /// <summary>True when whoever has <paramref name="owned"/> has all that <paramref name="wanted"/> allows; else the rules that go beyond.</summary>
    public static bool Covers(IReadOnlyList<PolicyRule> owned, IReadOnlyList<PolicyRule> wanted, out IReadOnlyList<PolicyRule> missing)
    {
        // Each combination of verb, group, resource and name must lie within one owned rule, as in Kubernetes' rbac validation.
        missing = [.. wanted.SelectMany(Atoms).Where(atom => !owned.Any(rule => rule.Contains(atom)))];
        return missing.Count == 0;
    }

    /// <summary>In the words of Kubernetes' escalation errors: <c>{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}</c>.</summary>
    public override string ToString()
    {
        var text = new StringBuilder("{");
        foreach (var (key, list) in (ReadOnlySpan<(string, IReadOnlyList<string>)>)[("NonResourceURLs", paths), ("APIGroups", groups), ("Resources", resources), ("ResourceNames", names), ("Verbs", verbs)])
        {
            if (list.Count > 0)
                text.Append(text.Length > 1 ? ", " : "").Append(key).Append(":[").AppendJoin(", ", list.Select(item => $"\"{item}\"")).Append(']');
        }

        return text.Append('}').ToString();
    }

    private bool HasResource(string resource, string subresource)
    {
        for (var i = 0; i < resources.Count; i++)
        {
            var one = resources[i];
            if (one == All || (subresource.Length == 0 ? one == resource : IsCombined(one, resource, subresource) || IsCombined(one, All, subresource)))
                return true;
        }

        return false;
    }

    private static bool IsCombined(string text, string resource, string subresource)
        => text.Length == resource.Length + 1 + subresource.Length && text[resource.Length] == '/'
            && text.StartsWith(resource, StringComparison.Ordinal) && text.EndsWith(subresource, StringComparison.Ordinal);

    private bool HasPath(string path)
    {
        for (var i = 0; i < paths.Count; i++)
        {
            var one = paths[i];
            if (one == All || one == path || (one.EndsWith('*') && path.AsSpan().StartsWith(one.AsSpan(0, one.Length - 1), StringComparison.Ordinal)))
                return true;
        }

        return false;
    }

    /// <summary>Whether an atom lies within this rule.</summary>
    private bool Contains(PolicyRule atom)
    {
        if (!Has(verbs, atom.Verbs[0]))
            return false;
        if (atom.Paths.Count > 0)
            return HasPath(atom.Paths[0]) || paths.Any(own => own.EndsWith('*') && atom.Paths[0].StartsWith(own[..^1], StringComparison.Ordinal));
        if (!Has(groups, atom.Groups[0]))
            return false;
        var parts = atom.Resources[0].Split('/', 2);
        return HasResource(parts[0], parts.Length > 1 ? parts[1] : "") && (names.Count == 0 || (atom.Names.Count > 0 && Contains(names, atom.Names[0])));
    }

    private static IEnumerable<PolicyRule> Atoms(PolicyRule rule)
    {
        foreach (var verb in rule.Verbs)
        {
            foreach (var path in rule.Paths)
                yield return new PolicyRule([verb], [], [], [], [path]);
            foreach (var group in rule.Groups)
            {
                foreach (var resource in rule.Resources)
                {
                    if (rule.Names.Count == 0)
                        yield return new PolicyRule([verb], [group], [resource], [], []);
                    foreach (var name in rule.Names)
                        yield return new PolicyRule([verb], [group], [resource], [name], []);
                }
            }
        }
    }

    private static bool Has(IReadOnlyList<string> list, string item) => Contains(list, All) || Contains(list, item);

    // Every request comes here for every rule of its user.
    private static bool Contains(IReadOnlyList<string> list, string item)
    {
        for (var i = 0; i < list.Count; i++)
        {
            if (list[i] == item)
                return true;
        }

        return false;
    }

    private static JsonArray Array(IReadOnlyList<string> list) => new([.. list.Select(item => JsonValue.Create(item))]);
}
