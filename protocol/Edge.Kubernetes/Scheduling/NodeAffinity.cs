using System.Globalization;
using System.Text.Json.Nodes;

namespace Edge.Kubernetes.Scheduling;

/// <summary>nodeSelector and nodeAffinity.</summary>
public static class NodeAffinity
{
    /// <summary>Whether the node has what the pod requires: every nodeSelector label, and one of the required affinity terms.</summary>
    public static bool Matches(JsonObject pod, JsonObject node)
    {
        foreach (var (key, value) in pod.Map("spec", "nodeSelector"))
        {
            if (node.Label(key) != value)
                return false;
        }

        var required = pod.At("spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution");
        return required is null || MatchesSelector(required, node);
    }

    /// <summary>Whether the node matches one of the terms of a NodeSelector, as a PersistentVolume's <c>nodeAffinity.required</c> is one.</summary>
    public static bool MatchesSelector(JsonNode selector, JsonObject node) => selector.Items("nodeSelectorTerms").Any(term => TermMatches(term, node));

    /// <summary>The sum of the weights of the preferred terms that match.</summary>
    public static long Preference(JsonObject pod, JsonObject node)
        => pod.Items("spec", "affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution")
            .Where(preferred => preferred["preference"] is JsonObject term && TermMatches(term, node))
            .Sum(preferred => preferred.Number(0, "weight"));

    // All expressions and fields of a term must match; a term without any matches nothing.
    private static bool TermMatches(JsonObject term, JsonObject node)
    {
        var expressions = term.Items("matchExpressions").ToList();
        var fields = term.Items("matchFields").ToList();
        return expressions.Count + fields.Count > 0
            && expressions.All(expression => Requirement(expression, node.Label(expression.Text("key"))))
            && fields.All(field => field.Text("key") == "metadata.name" && Requirement(field, node.Name()));
    }

    private static bool Requirement(JsonObject requirement, string? actual)
    {
        var values = requirement.Texts("values").ToList();
        return requirement.Text("operator") switch
        {
            "In" => actual is not null && values.Contains(actual, StringComparer.Ordinal),
            "NotIn" => actual is null || !values.Contains(actual, StringComparer.Ordinal),
            "Exists" => actual is not null,
            "DoesNotExist" => actual is null,
            "Gt" => Compare(actual, values) > 0,
            "Lt" => Compare(actual, values) < 0,
            _ => false,
        };
    }

    // Zero, which satisfies neither Gt nor Lt, when either is not a whole number.
    private static int Compare(string? actual, List<string> values)
        => values.Count == 1
            && long.TryParse(actual, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var left)
            && long.TryParse(values[0], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var right)
                ? left.CompareTo(right)
                : 0;
}
