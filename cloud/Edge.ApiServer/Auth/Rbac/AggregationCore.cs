using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Selectors;

namespace Edge.ApiServer.Auth.Rbac;

/// <summary>ClusterRoles that gather the rules of others by label (<c>aggregationRule</c>). Pure.</summary>
internal static class AggregationCore
{
    /// <summary>The rules that the aggregating role gets: those of every role that one of its selectors matches, by name, none twice. Null for a role that gathers nothing.</summary>
    public static JsonArray? Rules(JsonObject role, IEnumerable<JsonObject> all)
    {
        if (role["aggregationRule"] is not JsonObject)
            return null;
        var selectors = role.Items("aggregationRule", "clusterRoleSelectors").Select(LabelSelector.FromJson).ToList();
        var rules = new JsonArray();
        foreach (var other in all.Where(other => other.Name() != role.Name()).OrderBy(other => other.Name(), StringComparer.Ordinal))
        {
            var labels = new Dictionary<string, string>(other.Map("metadata", "labels"), StringComparer.Ordinal);
            if (!selectors.Exists(selector => selector.Matches(labels)))
                continue;
            foreach (var rule in other.Items("rules"))
            {
                if (!rules.Any(known => JsonNode.DeepEquals(known, rule)))
                    rules.Add(rule.DeepClone());
            }
        }

        return rules;
    }
}
