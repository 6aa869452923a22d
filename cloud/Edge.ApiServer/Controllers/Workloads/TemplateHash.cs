using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>The hash of a pod template, for names and labels: the same for the same content, whatever the order of its members.</summary>
internal static class TemplateHash
{
    // Kubernetes' alphabet for such names (k8s.io/apimachinery/pkg/util/rand): no vowels, no look-alikes.
    private const string Letters = "bcdfghjklmnpqrstvwxz2456789";

    /// <param name="template">The pod template.</param>
    /// <param name="collisions">How often a name was taken by another template; each gives another hash.</param>
    public static string Of(JsonNode? template, long collisions)
    {
        var hash = 2166136261; // FNV-1a, 32 bits
        Feed(template, ref hash);
        if (collisions > 0)
            Feed(collisions.ToString(CultureInfo.InvariantCulture), ref hash);
        return string.Concat(hash.ToString(CultureInfo.InvariantCulture).Select(digit => Letters[digit % Letters.Length]));
    }

    private static void Feed(JsonNode? node, ref uint hash)
    {
        switch (node)
        {
            case JsonObject obj:
                Feed("{", ref hash);
                foreach (var (key, value) in obj.OrderBy(pair => pair.Key, StringComparer.Ordinal))
                {
                    Feed(key + ":", ref hash);
                    Feed(value, ref hash);
                }

                Feed("}", ref hash);
                break;
            case JsonArray array:
                Feed("[", ref hash);
                foreach (var item in array)
                    Feed(item, ref hash);
                Feed("]", ref hash);
                break;
            default:
                Feed(node is null || node.GetValueKind() == JsonValueKind.Null ? "null" : node.ToJsonString() + ",", ref hash);
                break;
        }
    }

    private static void Feed(string text, ref uint hash)
    {
        foreach (var c in text)
            hash = unchecked((hash ^ c) * 16777619);
    }
}
