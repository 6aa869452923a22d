using System.Globalization;
using System.Text.Json.Nodes;
using Edge.ApiServer.Rest;
using Edge.Common.Text;

namespace Edge.ApiServer.Patching;

/// <summary>JSON patch, RFC 6902, with JSON pointers of RFC 6901.</summary>
internal static class JsonPatch
{
    /// <summary>More operations than this are refused, as Kubernetes does.</summary>
    public const int OperationsMax = 10_000;

    /// <summary>Copied nodes in one patch; a chain of copies doubles the document each time.</summary>
    public const int CopiedNodesMax = 1_000_000;

    /// <summary>The patched document as a tree of its own; neither argument is changed or shared. All operations apply, or
    /// <see cref="PatchException"/> names the first that does not.</summary>
    public static JsonNode Apply(JsonNode document, JsonArray operations)
    {
        if (operations.Count > OperationsMax)
            throw new PatchException($"the patch has {operations.Count} operations; at most {OperationsMax} are allowed");
        var root = (JsonNode?)document.DeepClone();
        var copied = 0;
        for (var i = 0; i < operations.Count; i++)
        {
            if (operations[i] is not JsonObject operation)
                throw new PatchException($"operation {i} is not an object");
            try
            {
                root = Step(root, operation, ref copied);
            }
            catch (PatchException e)
            {
                throw new PatchException($"operation {i}: {e.Message}");
            }
        }

        return root ?? throw new PatchException("the patch removes the whole document");
    }

    private static JsonNode? Step(JsonNode? root, JsonObject operation, ref int copied)
    {
        var op = Text(operation, "op");
        var pathText = Text(operation, "path");
        var path = Pointer(pathText);
        switch (op)
        {
            case "add":
                return Add(root, path, pathText, Value(operation));
            case "remove":
                Remove(ref root, path, pathText);
                return root;
            case "replace":
                if (path.Length == 0)
                    return Value(operation);
                Find(root, path, pathText);
                Replace(root, path, pathText, Fitting(Value(operation), path, pathText));
                return root;
            case "test":
                var actual = Find(root, path, pathText);
                return JsonNode.DeepEquals(actual, Value(operation))
                    ? root
                    : throw new PatchException($"testing path {pathText} failed: the value differs");
            case "copy":
                var source = Find(root, Pointer(Text(operation, "from")), Text(operation, "from"));
                copied += Count(source);
                if (copied > CopiedNodesMax)
                    throw new PatchException($"the patch copies more than {CopiedNodesMax} values");
                return Add(root, path, pathText, source?.DeepClone());
            case "move":
                var fromText = Text(operation, "from");
                var from = Pointer(fromText);
                var moved = Find(root, from, fromText);
                if (path.AsSpan().StartsWith(from))
                {
                    if (path.Length == from.Length)
                        return root;
                    throw new PatchException($"cannot move {fromText} into itself");
                }

                moved = moved?.DeepClone();
                Remove(ref root, from, fromText);
                return Add(root, path, pathText, moved);
            default:
                throw new PatchException($"unknown op \"{op}\"; use add, remove, replace, move, copy or test");
        }
    }

    private static JsonNode? Add(JsonNode? root, string[] path, string pathText, JsonNode? value)
    {
        if (path.Length == 0)
            return value;
        var key = path[^1];
        Fitting(value, path, pathText);
        switch (Find(root, path[..^1], pathText))
        {
            case JsonObject obj:
                obj[key] = value;
                break;
            case JsonArray array:
                array.Insert(key == "-" ? array.Count : Index(key, array.Count, pathText), value);
                break;
            default:
                throw new PatchException($"path {pathText}: the parent is neither an object nor an array");
        }

        return root;
    }

    /// <summary>The value, when the document with it nests no deeper than one that is sent; each step could add to the depth, and a copy double it.</summary>
    private static JsonNode? Fitting(JsonNode? value, string[] path, string pathText)
        => !JsonDepth.Exceeds(value, RequestBody.DepthMax - path.Length) ? value
            : throw new PatchException($"path {pathText}: the document would be nested deeper than {RequestBody.DepthMax} levels");

    private static void Remove(ref JsonNode? root, string[] path, string pathText)
    {
        if (path.Length == 0)
        {
            root = null;
            return;
        }

        switch (Find(root, path[..^1], pathText))
        {
            case JsonObject obj when obj.Remove(path[^1]):
                return;
            case JsonArray array:
                array.RemoveAt(Index(path[^1], array.Count - 1, pathText));
                return;
            default:
                throw new PatchException($"path {pathText} does not exist");
        }
    }

    private static void Replace(JsonNode? root, string[] path, string pathText, JsonNode? value)
    {
        switch (Find(root, path[..^1], pathText))
        {
            case JsonObject obj:
                obj[path[^1]] = value;
                break;
            case JsonArray array:
                array[Index(path[^1], array.Count - 1, pathText)] = value;
                break;
        }
    }

    private static JsonNode? Find(JsonNode? node, string[] path, string pathText)
    {
        foreach (var key in path)
        {
            node = node switch
            {
                JsonObject obj when obj.TryGetPropertyValue(key, out var child) => child,
                JsonArray array => array[Index(key, array.Count - 1, pathText)],
                _ => throw new PatchException($"path {pathText} does not exist"),
            };
        }

        return node;
    }

    /// <summary>RFC 6901 section 4: digits without leading zeros.</summary>
    private static int Index(string key, int max, string pathText)
    {
        if (!int.TryParse(key, NumberStyles.None, CultureInfo.InvariantCulture, out var index) || (key.Length > 1 && key[0] == '0'))
            throw new PatchException($"path {pathText}: \"{key}\" is not an array index");
        return index <= max ? index : throw new PatchException($"path {pathText}: index {key} is out of bounds");
    }

    private static string[] Pointer(string text)
    {
        if (text.Length == 0)
            return [];
        if (text[0] != '/')
            throw new PatchException($"path \"{text}\" does not start with /");
        var keys = text[1..].Split('/');
        for (var i = 0; i < keys.Length; i++)
        {
            for (var at = keys[i].IndexOf('~'); at >= 0; at = keys[i].IndexOf('~', at + 1))
            {
                if (at + 1 == keys[i].Length || keys[i][at + 1] is not ('0' or '1'))
                    throw new PatchException($"path \"{text}\": ~ must be written ~0 and / must be written ~1");
            }

            keys[i] = keys[i].Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal);
        }

        return keys;
    }

    private static string Text(JsonObject operation, string key)
        => operation[key] is JsonValue value && value.TryGetValue<string>(out var text) ? text : throw new PatchException($"\"{key}\" is missing or not a string");

    private static JsonNode? Value(JsonObject operation)
        => operation.TryGetPropertyValue("value", out var value) ? value?.DeepClone() : throw new PatchException("\"value\" is missing");

    private static int Count(JsonNode? node) => node switch
    {
        JsonObject obj => 1 + obj.Sum(pair => Count(pair.Value)),
        JsonArray array => 1 + array.Sum(Count),
        _ => 1,
    };
}
