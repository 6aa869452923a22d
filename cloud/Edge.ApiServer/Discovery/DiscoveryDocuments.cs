using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.Kubernetes;

namespace Edge.ApiServer.Discovery;

/// <summary>What kubectl asks first: which groups, versions and resources there are. Pure.</summary>
internal static class DiscoveryDocuments
{
    private static readonly string[] s_verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    private static readonly string[] s_computedVerbs = ["get", "list"];
    private static readonly string[] s_statusVerbs = ["get", "patch", "update"];

    private sealed record Subresource(string Name, string Kind, string Group, string Version, string[] Verbs);

    /// <summary><c>/api</c>.</summary>
    public static JsonObject CoreVersions(string serverAddress) => new()
    {
        ["kind"] = "APIVersions",
        ["versions"] = new JsonArray("v1"),
        ["serverAddressByClientCIDRs"] = new JsonArray(new JsonObject { ["clientCIDR"] = "0.0.0.0/0", ["serverAddress"] = serverAddress }),
    };

    /// <summary><c>/apis</c>.</summary>
    public static JsonObject Groups(IReadOnlyList<ServedResource> all) => new()
    {
        ["kind"] = "APIGroupList",
        ["apiVersion"] = "v1",
        ["groups"] = new JsonArray([.. GroupNames(all).Where(g => g.Length > 0).Select(g => GroupEntry(all, g))]),
    };

    /// <summary><c>/apis/GROUP</c>; null when there is none.</summary>
    public static JsonObject? Group(IReadOnlyList<ServedResource> all, string group)
    {
        if (group.Length == 0 || !GroupNames(all).Contains(group, StringComparer.Ordinal))
            return null;
        var document = new JsonObject { ["kind"] = "APIGroup", ["apiVersion"] = "v1" };
        foreach (var (key, value) in GroupEntry(all, group))
            document[key] = value?.DeepClone();
        return document;
    }

    /// <summary><c>/api/v1</c> and <c>/apis/GROUP/VERSION</c>; null when nothing is served there.</summary>
    public static JsonObject? Resources(IReadOnlyList<ServedResource> all, string group, string version)
    {
        var served = all.Where(r => r.Kind.Group == group && r.Kind.Version == version).ToList();
        if (served.Count == 0)
            return null;
        var resources = new JsonArray();
        foreach (var resource in served)
        {
            resources.Add((JsonNode)new JsonObject
            {
                ["name"] = resource.Kind.Plural,
                ["singularName"] = resource.Singular,
                ["namespaced"] = resource.Kind.Namespaced,
                ["kind"] = resource.Kind.Kind,
                ["verbs"] = Array(Verbs(resource)),
            });
            var entry = resources[^1]!.AsObject();
            if (resource.ShortNames.Count > 0)
                entry["shortNames"] = Array(resource.ShortNames);
            if (resource.Categories.Count > 0)
                entry["categories"] = Array(resource.Categories);
            foreach (var sub in Subresources(resource))
            {
                var item = new JsonObject
                {
                    ["name"] = $"{resource.Kind.Plural}/{sub.Name}",
                    ["singularName"] = "",
                    ["namespaced"] = resource.Kind.Namespaced,
                    ["kind"] = sub.Kind,
                    ["verbs"] = Array(sub.Verbs),
                };
                if (sub.Group.Length > 0 && sub.Group != group)
                {
                    item["group"] = sub.Group;
                    item["version"] = sub.Version;
                }

                resources.Add((JsonNode)item);
            }
        }

        return new JsonObject { ["kind"] = "APIResourceList", ["apiVersion"] = "v1", ["groupVersion"] = group.Length == 0 ? version : $"{group}/{version}", ["resources"] = resources };
    }

    /// <summary>The aggregated form of <c>/api</c> (<paramref name="core"/>) or <c>/apis</c>, all in one answer.</summary>
    public static JsonObject Aggregated(IReadOnlyList<ServedResource> all, bool core, string version) => new()
    {
        ["kind"] = "APIGroupDiscoveryList",
        ["apiVersion"] = $"apidiscovery.k8s.io/{version}",
        ["metadata"] = new JsonObject(),
        ["items"] = new JsonArray([.. GroupNames(all).Where(g => g.Length == 0 == core).Select(g => AggregatedGroup(all, g))]),
    };

    private static JsonObject AggregatedGroup(IReadOnlyList<ServedResource> all, string group) => new()
    {
        ["metadata"] = group.Length == 0 ? new JsonObject { ["creationTimestamp"] = null } : new JsonObject { ["name"] = group, ["creationTimestamp"] = null },
        ["versions"] = new JsonArray([.. Versions(all, group).Select(v => new JsonObject
        {
            ["version"] = v,
            ["freshness"] = "Current",
            ["resources"] = new JsonArray([.. all.Where(r => r.Kind.Group == group && r.Kind.Version == v).Select(AggregatedResource)]),
        })]),
    };

    private static JsonObject AggregatedResource(ServedResource resource)
    {
        var entry = new JsonObject
        {
            ["resource"] = resource.Kind.Plural,
            ["responseKind"] = ResponseKind(resource.Kind.Group, resource.Kind.Version, resource.Kind.Kind),
            ["scope"] = resource.Kind.Namespaced ? "Namespaced" : "Cluster",
            ["singularResource"] = resource.Singular,
            ["verbs"] = Array(Verbs(resource)),
        };
        if (resource.ShortNames.Count > 0)
            entry["shortNames"] = Array(resource.ShortNames);
        if (resource.Categories.Count > 0)
            entry["categories"] = Array(resource.Categories);
        var subresources = Subresources(resource).Select(sub => new JsonObject
        {
            ["subresource"] = sub.Name,
            ["responseKind"] = ResponseKind(sub.Group, sub.Version, sub.Kind),
            ["verbs"] = Array(sub.Verbs),
        }).ToList();
        if (subresources.Count > 0)
            entry["subresources"] = new JsonArray([.. subresources]);
        return entry;
    }

    private static IEnumerable<string> Verbs(ServedResource resource) => resource.Verbs ?? (resource.IsComputed ? s_computedVerbs : s_verbs);

    private static JsonObject ResponseKind(string group, string version, string kind) => new() { ["group"] = group, ["version"] = version, ["kind"] = kind };

    private static IEnumerable<Subresource> Subresources(ServedResource resource)
    {
        if (resource.HasStatus)
            yield return new Subresource("status", resource.Kind.Kind, resource.Kind.Group, resource.Kind.Version, s_statusVerbs);
        if (resource.Scale is not null)
            yield return new Subresource("scale", "Scale", "autoscaling", "v1", s_statusVerbs);
        if (resource.Kind == ResourceKind.Pod)
        {
            yield return new Subresource("attach", "PodAttachOptions", "", "v1", ["create", "get"]);
            yield return new Subresource("binding", "Binding", "", "v1", ["create"]);
            yield return new Subresource("ephemeralcontainers", "Pod", "", "v1", ["get", "patch", "update"]);
            yield return new Subresource("eviction", "Eviction", "policy", "v1", ["create"]);
            yield return new Subresource("exec", "PodExecOptions", "", "v1", ["create", "get"]);
            yield return new Subresource("log", "Pod", "", "v1", ["get"]);
            yield return new Subresource("portforward", "PodPortForwardOptions", "", "v1", ["create", "get"]);
        }
        else if (resource.Kind == ResourceKind.Namespace)
        {
            yield return new Subresource("finalize", "Namespace", "", "v1", ["update"]);
        }
        else if (resource.Kind == ResourceKind.ServiceAccount)
        {
            yield return new Subresource("token", "TokenRequest", "authentication.k8s.io", "v1", ["create"]);
        }
        else if (resource.Kind == ResourceKind.CertificateSigningRequest)
        {
            yield return new Subresource("approval", resource.Kind.Kind, resource.Kind.Group, resource.Kind.Version, s_statusVerbs);
        }
    }

    private static JsonObject GroupEntry(IReadOnlyList<ServedResource> all, string group)
    {
        var versions = Versions(all, group).Select(v => new JsonObject { ["groupVersion"] = $"{group}/{v}", ["version"] = v }).ToList();
        return new JsonObject { ["name"] = group, ["versions"] = new JsonArray([.. versions]), ["preferredVersion"] = versions[0].DeepClone() };
    }

    private static IEnumerable<string> GroupNames(IReadOnlyList<ServedResource> all) => all.Select(r => r.Kind.Group).Distinct(StringComparer.Ordinal);

    /// <summary>The preferred version first: stable before beta before alpha, newer before older.</summary>
    private static IEnumerable<string> Versions(IReadOnlyList<ServedResource> all, string group)
        => all.Where(r => r.Kind.Group == group).Select(r => r.Kind.Version).Distinct(StringComparer.Ordinal).OrderByDescending(VersionRank.Of);

    private static JsonArray Array(IEnumerable<string> texts) => new([.. texts.Select(t => JsonValue.Create(t))]);
}
