using System.Text.Json.Nodes;

namespace Edge.ApiServer.Patching;

/// <summary>JSON merge patch, RFC 7386.</summary>
internal static class MergePatch
{
    /// <summary>The patched value as a tree of its own; neither argument is changed or shared.</summary>
    /// <remarks>A null member of the patch removes that member; anything but an object replaces the whole target. Null is JSON's null.</remarks>
    public static JsonNode? Apply(JsonNode? target, JsonNode? patch)
    {
        if (patch is not JsonObject changes)
            return patch?.DeepClone();
        var result = target is JsonObject ? (JsonObject)target.DeepClone() : [];
        Merge(result, changes);
        return result;
    }

    /// <summary>As <see cref="Apply"/>, on the target itself, which must be the caller's own; the patch is not changed or shared.</summary>
    public static JsonObject ApplyTo(JsonObject target, JsonObject patch)
    {
        Merge(target, patch);
        return target;
    }

    private static void Merge(JsonObject target, JsonObject patch)
    {
        for (var i = 0; i < patch.Count; i++)
        {
            var (key, value) = patch.GetAt(i);
            switch (value)
            {
                case null:
                    target.Remove(key);
                    break;
                case JsonObject changes:
                    if (target[key] is not JsonObject child)
                        target[key] = child = [];
                    Merge(child, changes);
                    break;
                default:
                    target[key] = value.DeepClone();
                    break;
            }
        }
    }
}
