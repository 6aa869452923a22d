using System.Text.Json.Nodes;

namespace Edge.Common.Text;

/// <summary>How deep JSON nests. A tree that is built in steps can become deeper than any reader goes, and than a stack holds.</summary>
public static class JsonDepth
{
    /// <summary>Whether there are more than <paramref name="levels"/> objects and arrays within each other; looks no deeper than that.</summary>
    public static bool Exceeds(JsonNode? node, int levels)
    {
        switch (node)
        {
            case JsonObject when levels <= 0:
            case JsonArray when levels <= 0:
                return true;
            case JsonObject obj:
                foreach (var (_, value) in obj)
                    if (Exceeds(value, levels - 1))
                        return true;
                return false;
            case JsonArray array:
                foreach (var item in array)
                    if (Exceeds(item, levels - 1))
                        return true;
                return false;
            default:
                return false;
        }
    }
}
