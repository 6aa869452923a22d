using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Kubernetes.Selectors;

namespace Edge.ApiServer.Controllers.Scheduling;

/// <summary>One term of podAffinity or podAntiAffinity (core/v1 PodAffinityTerm): which pods it speaks of, and within what of the nodes.</summary>
/// <param name="Namespaces">Of the pods, beside those that <paramref name="NamespaceSelector"/> finds.</param>
/// <param name="NamespaceSelector">By the namespaces' labels; null for none.</param>
/// <param name="Selector">By the pods' labels; null matches nothing.</param>
/// <param name="TopologyKey">Nodes with the same value of this label are one place.</param>
/// <param name="Weight">Of a preferred term, 1 to 100; 0 of a required one.</param>
internal sealed record AffinityTerm(IReadOnlyCollection<string> Namespaces, LabelSelector? NamespaceSelector, LabelSelector? Selector, string TopologyKey, long Weight)
{
    private const string RequiredKey = "requiredDuringSchedulingIgnoredDuringExecution";
    private const string PreferredKey = "preferredDuringSchedulingIgnoredDuringExecution";

    public static IReadOnlyList<AffinityTerm> Required(PodInfo owner, JsonNode? affinity) => [.. affinity.Items(RequiredKey).Select(term => Read(owner, term, 0))];

    public static IReadOnlyList<AffinityTerm> Preferred(PodInfo owner, JsonNode? affinity)
        => [.. affinity.Items(PreferredKey).Where(term => term["podAffinityTerm"] is JsonObject).Select(term => Read(owner, term["podAffinityTerm"]!.AsObject(), term.Number(0, "weight")))];

    public bool Matches(PodInfo pod, ClusterView cluster)
        => Selector is not null
            && (Namespaces.Contains(pod.Namespace, StringComparer.Ordinal) || (NamespaceSelector is not null && NamespaceSelector.Matches(cluster.NamespaceLabels(pod.Namespace))))
            && Selector.Matches(pod.Labels);

    /// <summary>A selector with the owner's own values of <paramref name="matchKeys"/> required, and those of <paramref name="mismatchKeys"/> excluded. Null, which
    /// matches nothing, when there is none, or one that the API would refuse.</summary>
    public static LabelSelector? SelectorOf(PodInfo owner, JsonNode? selector, IEnumerable<string> matchKeys, IEnumerable<string> mismatchKeys)
    {
        if (selector is not JsonObject json)
            return null;
        var expressions = new List<JsonObject>();
        foreach (var (keys, op) in new[] { (matchKeys, "In"), (mismatchKeys, "NotIn") })
        {
            expressions.AddRange(keys.Where(owner.Labels.ContainsKey).Select(key => new JsonObject { ["key"] = key, ["operator"] = op, ["values"] = new JsonArray((JsonNode)owner.Labels[key]) }));
        }

        if (expressions.Count > 0)
        {
            json = json.DeepClone().AsObject();
            if (json["matchExpressions"] is not JsonArray list)
                json["matchExpressions"] = list = [];
            foreach (var expression in expressions)
                list.Add((JsonNode)expression);
        }

        return Parse(json);
    }

    private static AffinityTerm Read(PodInfo owner, JsonObject term, long weight)
    {
        var namespaces = term.Texts("namespaces").ToList();
        var selector = term["namespaceSelector"] is JsonObject json ? Parse(json) : null;
        if (namespaces.Count == 0 && term["namespaceSelector"] is null)
            namespaces.Add(owner.Namespace);
        return new AffinityTerm(namespaces, selector, SelectorOf(owner, term["labelSelector"], term.Texts("matchLabelKeys"), term.Texts("mismatchLabelKeys")), term.Text("topologyKey"), weight);
    }

    private static LabelSelector? Parse(JsonObject selector)
    {
        try
        {
            return LabelSelector.FromJson(selector);
        }
        catch (SelectorException)
        {
            // Validation refuses it for new pods; one stored by other means speaks of no pod.
            return null;
        }
    }
}
