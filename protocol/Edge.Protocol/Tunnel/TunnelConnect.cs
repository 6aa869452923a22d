using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Protocol.Tunnel;

/// <summary>The request that a connect message of KubeEdge's tunnel carries as JSON: <c>MessID</c>, <c>url</c> (Go's <c>url.URL</c> as a struct), <c>header</c> and <c>method</c>. The edge
/// replays it against its own kubelet API. Pure.</summary>
/// <param name="Method">Empty for logs and metrics, which are always GET.</param>
/// <param name="Path">Decoded.</param>
/// <param name="RawPath">As it was sent.</param>
/// <param name="RawQuery">Without the question mark.</param>
public sealed record TunnelConnect(ulong Id, TunnelMessageType Type, string Method, string Path, string RawPath, string RawQuery, IReadOnlyList<KeyValuePair<string, string>> Headers)
{
    // Where a stock edge's kubelet API listens; the edge takes the address from here.
    private const string KubeletHost = "127.0.0.1:10350";

    /// <summary>Whether the edge answers with the raw bytes of its connection, the response's head included; else with the body alone.</summary>
    public bool IsRaw => Type is TunnelMessageType.ExecConnect or TunnelMessageType.AttachConnect;

    /// <summary>Whether the log is followed, so that nothing may come for long.</summary>
    public bool IsFollowed => RawQuery.Split('&').Any(part => part is "follow=true" or "follow=1");

    /// <summary>Reads the head of an HTTP/1.1 request, blank line included.</summary>
    /// <returns>Null with the reason when a tunnel has no way for it.</returns>
    public static TunnelConnect? Read(ulong id, ReadOnlySpan<byte> head, out string problem)
    {
        var lines = Encoding.Latin1.GetString(head).Split("\r\n");
        if (lines[0].Split(' ') is not ["GET" or "POST", ['/', ..] target, "HTTP/1.1"])
        {
            problem = "the first line is not 'GET|POST <path> HTTP/1.1'";
            return null;
        }

        var method = lines[0].Split(' ')[0];
        var mark = target.IndexOf('?', StringComparison.Ordinal);
        var (rawPath, query) = mark < 0 ? (target, "") : (target[..mark], target[(mark + 1)..]);
        TunnelMessageType? type = rawPath.Split('/')[1] switch
        {
            "containerLogs" => TunnelMessageType.LogsConnect,
            "exec" => TunnelMessageType.ExecConnect,
            "attach" => TunnelMessageType.AttachConnect,
            "stats" or "metrics" => TunnelMessageType.MetricsConnect,
            _ => null,
        };
        if (type is null)
        {
            problem = $"KubeEdge's tunnel carries logs, exec, attach, stats and metrics, and not {rawPath}; port-forward needs Edge's own edgecore on the node";
            return null;
        }

        var headers = new List<KeyValuePair<string, string>>();
        foreach (var line in lines.Skip(1))
        {
            if (line.Length == 0)
                break;
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            // Host is the kubelet's own; a credential of the cloud's side has no business there.
            if (colon > 0 && line[..colon].ToUpperInvariant() is not ("HOST" or "AUTHORIZATION" or "COOKIE" or "CONTENT-LENGTH"))
                headers.Add(new(line[..colon], line[(colon + 1)..].Trim()));
        }

        problem = "";
        return new TunnelConnect(id, type.Value, method, Uri.UnescapeDataString(rawPath), rawPath, query, headers);
    }

    /// <summary>Reads a connect message, as an edge does.</summary>
    /// <returns>Null with the reason when it is none.</returns>
    public static TunnelConnect? Read(TunnelMessage message, out string problem)
    {
        problem = "it is no connect message";
        if (message.Type is TunnelMessageType.Data or TunnelMessageType.RemoveConnect or TunnelMessageType.CloseConnect)
            return null;
        try
        {
            using var json = JsonDocument.Parse(message.Data);
            if (json.RootElement.ValueKind != JsonValueKind.Object || !json.RootElement.TryGetProperty("url", out var url) || url.ValueKind != JsonValueKind.Object)
            {
                problem = "there is no url in it";
                return null;
            }

            var headers = new List<KeyValuePair<string, string>>();
            if (json.RootElement.TryGetProperty("header", out var all) && all.ValueKind == JsonValueKind.Object)
            {
                foreach (var header in all.EnumerateObject().Where(one => one.Value.ValueKind == JsonValueKind.Array))
                    headers.AddRange(header.Value.EnumerateArray().Where(one => one.ValueKind == JsonValueKind.String).Select(one => new KeyValuePair<string, string>(header.Name, one.GetString()!)));
            }

            var (path, raw) = (Text(url, "Path"), Text(url, "RawPath"));
            problem = "";
            return new TunnelConnect(message.Id, message.Type, Text(json.RootElement, "method"), path, raw.Length > 0 ? raw : path, Text(url, "RawQuery"), headers);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            problem = e.Message;
            return null;
        }
    }

    /// <summary>The connect message.</summary>
    public TunnelMessage ToMessage()
    {
        var headers = new JsonObject();
        foreach (var group in Headers.GroupBy(one => Canonical(one.Key), StringComparer.Ordinal))
            headers[group.Key] = new JsonArray([.. group.Select(one => (JsonNode?)JsonValue.Create(one.Value))]);
        var json = new JsonObject
        {
            ["MessID"] = Id,
            ["url"] = new JsonObject
            {
                ["Scheme"] = "http", ["Opaque"] = "", ["User"] = null, ["Host"] = KubeletHost, [nameof(Path)] = Path, [nameof(RawPath)] = RawPath == Path ? "" : RawPath,
                ["ForceQuery"] = false, [nameof(RawQuery)] = RawQuery, ["Fragment"] = "", ["RawFragment"] = "",
            },
            ["header"] = headers,
        };
        if (IsRaw)
            json["method"] = Method;
        return new TunnelMessage(Id, Type, Encoding.UTF8.GetBytes(json.ToJsonString()));
    }

    private static string Text(JsonElement obj, string name) => obj.TryGetProperty(name, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString()! : "";

    // Go looks a header up under its canonical name alone: each word capitalised.
    private static string Canonical(string name) => string.Join('-', name.Split('-').Select(word => word.Length == 0 ? word : char.ToUpper(word[0], CultureInfo.InvariantCulture) + word[1..].ToLowerInvariant()));
}
