using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Testing;

/// <summary>The recorded exchange of stock KubeEdge peers, lying beside the repository.</summary>
public static class Recording
{
    private const string File = "shared/facts/samples/kubeedge-1.23.1-websocket.jsonl";

    /// <summary>Its lines, or null when it is not there.</summary>
    public static List<JsonObject>? Read()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var path = Path.Combine(folder.FullName, File);
            if (System.IO.File.Exists(path))
                return [.. System.IO.File.ReadLines(path).Select(line => JsonNode.Parse(line)!.AsObject())];
        }

        return null;
    }

    public static bool IsFromEdge(JsonObject line) => line.Text("dir") == "edge->cloud";

    /// <summary>Whether the edge waits for an answer: not acks, keepalives, user data, and the list of devices, which is pushed anyway.</summary>
    public static bool IsRequest(JsonObject line)
        => IsFromEdge(line) && line["message"] is { } message && message.Text("header", "parent_msg_id").Length == 0
            && message.Text("route", "operation") is not (Operations.Keepalive or Operations.Upload or Operations.Get);

    /// <summary>Whether the cloud sends it of itself.</summary>
    public static bool IsPush(JsonObject line) => !IsFromEdge(line) && line["message"] is { } message && message.Text("header", "parent_msg_id").Length == 0;

    public static string Route(JsonNode message) => $"{message.Text("route", "operation")} {message.Text("route", "resource")}";

    /// <summary>The object of the first message with the operation and resource, as a user would have written it.</summary>
    public static JsonObject Manifest(List<JsonObject> lines, string operation, string resource)
    {
        var found = lines.Select(line => line["message"]).First(message => message is not null && message.Text("route", "source") is "edgecontroller" or "devicecontroller"
            && Route(message!) == $"{operation} {resource}" && message!["content"] is JsonObject content && content["metadata"] is not null)!;
        var manifest = found["content"]!.DeepClone().AsObject();
        manifest.Remove("status");
        foreach (var key in (string[])["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"])
            manifest.Child("metadata").Remove(key);
        return manifest;
    }
}

/// <summary>What stands here for the uids and versions of the recording. Learnt by laying an object of ours beside the recorded one.</summary>
public sealed class Substitutes
{
    private readonly Dictionary<string, string> _uids = [];
    private readonly Dictionary<(string Uid, string Version), string> _versions = [];

    public void Learn(JsonNode? recorded, JsonNode? ours)
    {
        if (recorded is not JsonObject from || ours is not JsonObject to)
            return;
        if (from["metadata"] is not null && from.Uid().Length > 0 && to.Uid().Length > 0)
        {
            _uids[from.Uid()] = to.Uid();
            _versions[(from.Uid(), from.ResourceVersion())] = to.ResourceVersion();
        }

        Learn(from["Object"], to["Object"]);
    }

    /// <summary>The recorded content with our uids and versions in it.</summary>
    public JsonNode? Apply(JsonNode? recorded)
    {
        if (recorded is null)
            return null;
        var content = recorded.DeepClone();
        if (content is JsonObject obj && _versions.TryGetValue((obj.Uid(), obj.ResourceVersion()), out var version))
            obj.Child("metadata")["resourceVersion"] = version;
        var text = new StringBuilder(content.ToJsonString());
        foreach (var (theirs, own) in _uids)
            text.Replace(theirs, own);
        return JsonNode.Parse(text.ToString());
    }
}

/// <summary>Compares JSON by its shape: which keys are there and of which kind their values are, not the values.</summary>
public static class Shape
{
    // Written by other controllers and admission plugins of the recorded cluster, not by CloudCore.
    private static readonly HashSet<string> s_notCompared = ["managedFields", "node.alpha.kubernetes.io/ttl", "kubernetes.io/description", "taints"];

    /// <summary>What <paramref name="ours"/> lacks of <paramref name="recorded"/>; more than that is allowed, as Go peers skip what they do not know.</summary>
    public static IEnumerable<string> Missing(JsonNode? recorded, JsonNode? ours, string at = "content")
    {
        if (recorded?.GetValueKind() != ours?.GetValueKind())
        {
            yield return $"{at} is {Kind(ours)}, recorded {Kind(recorded)}";
            yield break;
        }

        if (recorded is JsonArray list)
        {
            var own = ours!.AsArray();
            if (list.Count > 0 && own.Count == 0)
                yield return $"{at} is empty";
            // What each recorded item has each of ours must have.
            if (list.All(item => item is JsonObject))
            {
                foreach (var key in list.Select(item => item!.AsObject().Where(pair => pair.Value is not null).Select(pair => pair.Key)).DefaultIfEmpty([]).Aggregate((all, keys) => all.Intersect(keys)))
                {
                    if (!s_notCompared.Contains(key) && own.Any(item => item is not JsonObject obj || !(obj.ContainsKey(key) || obj.ContainsKey("$patch"))))
                        yield return $"{at}[].{key} is missing";
                }
            }

            yield break;
        }

        if (recorded is not JsonObject map)
            yield break;
        foreach (var (key, value) in map)
        {
            if (s_notCompared.Contains(key) || (value is JsonObject { Count: > 0 } inner && inner.All(pair => s_notCompared.Contains(pair.Key))))
                continue;
            if (!ours!.AsObject().TryGetPropertyValue(key, out var held))
            {
                yield return $"{at}.{key} is missing";
                continue;
            }

            foreach (var problem in Missing(value, held, $"{at}.{key}"))
                yield return problem;
        }
    }

    private static string Kind(JsonNode? node) => node?.GetValueKind().ToString() ?? "null";
}
