using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Ctl.Commands;
using Edge.Kubernetes;

namespace Edge.Ctl.OnNode;

/// <summary>What <c>edgectl get</c> and <c>describe</c> print on a node, from its MetaServer.</summary>
internal sealed class NodeGet(KubeProxy api, TextWriter output, TextWriter errors)
{
    private const string TableAccept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

    /// <summary>Objects of a kind, or one of them.</summary>
    /// <param name="space">Null for all namespaces.</param>
    /// <param name="format">table, wide, json, yaml or name.</param>
    public async Task<int> ShowAsync(string resource, string? name, string? space, string selector, string format, CancellationToken cancellationToken)
    {
        var kind = await FindAsync(resource, cancellationToken);
        if (name is not null && kind.Namespaced && space is null)
            throw new NodeException("one object is in one namespace; leave -A out");
        var target = kind.Path(space, name) + (selector.Length > 0 ? $"?labelSelector={Uri.EscapeDataString(selector)}" : "");
        var answer = await GetAsync(target, format is "table" or "wide" ? TableAccept : "application/json", cancellationToken);
        switch (format)
        {
            case "json":
                output.WriteLine(answer.ToJsonString(new System.Text.Json.JsonSerializerOptions { WriteIndented = true }));
                break;
            case "yaml":
                output.Write(YamlWriter.Write(answer));
                break;
            case "name":
                foreach (var item in answer["items"] is JsonArray ? answer.Items("items") : [answer])
                    output.WriteLine($"{kind.Kind.ToLowerInvariant()}/{item.Name()}");
                break;
            default:
                output.Write(Table(answer, format == "wide", space is null && kind.Namespaced));
                break;
        }

        return 0;
    }

    /// <summary>One object: what it is, then all of it.</summary>
    public async Task<int> DescribeAsync(string resource, string name, string space, CancellationToken cancellationToken)
    {
        var kind = await FindAsync(resource, cancellationToken);
        var obj = await GetAsync(kind.Path(kind.Namespaced ? space : null, name), "application/json", cancellationToken);
        output.Write(Describe(obj));
        return 0;
    }

    /// <summary>Pure. Values of Secrets are left out, only their sizes are told.</summary>
    internal static string Describe(JsonObject obj)
    {
        var shown = (JsonObject)obj.DeepClone();
        var lines = new List<string> { $"Name:         {obj.Name()}" };
        if (obj.Namespace().Length > 0)
            lines.Add($"Namespace:    {obj.Namespace()}");
        lines.Add($"Labels:       {Pairs(obj, "labels")}");
        lines.Add($"Annotations:  {Pairs(obj, "annotations")}");
        if (obj.Kind() == "Pod")
        {
            lines.Add($"Node:         {obj.Text("spec", "nodeName")}");
            lines.Add($"Status:       {obj.Text("status", "phase")}");
            lines.Add($"IP:           {obj.Text("status", "podIP")}");
            lines.Add("Containers:");
            foreach (var container in obj.Items("spec", "containers"))
            {
                var status = obj.Items("status", "containerStatuses").FirstOrDefault(one => one.Text("name") == container.Text("name"));
                var state = (status.At("state") as JsonObject)?.FirstOrDefault() is { Key: { } word } pair ? $"{word}{(pair.Value.Text("reason") is { Length: > 0 } reason ? $" ({reason})" : "")}" : "unknown";
                lines.Add(string.Create(CultureInfo.InvariantCulture, $"  {container.Text("name")}: {container.Text("image")}, {state}, restarts {status.Number(0, "restartCount")}"));
            }
        }

        foreach (var key in obj.Kind() == "Secret" ? (string[])["data", "stringData"] : [])
        {
            if (shown[key] is not JsonObject data)
                continue;
            foreach (var (name, value) in obj.Map(key))
                data[name] = $"{value.Length * 3 / 4} bytes";
        }

        shown.Child("metadata").Remove("managedFields");
        return string.Join('\n', lines) + "\n---\n" + YamlWriter.Write(shown);
    }

    /// <summary>A Table as kubectl prints it; of an answer that is none (read before the cloud went), names and ages. Pure.</summary>
    internal static string Table(JsonObject answer, bool isWide, bool withNamespace)
    {
        if (answer.Kind() != "Table")
        {
            var items = answer["items"] is JsonArray ? answer.Items("items") : [answer];
            return items.Any() ? Output.Table(["NAMESPACE", "NAME"], items.Select(item => (IReadOnlyList<string>)[item.Namespace(), item.Name()])) : "No resources found at this node\n";
        }

        var columns = answer.Items("columnDefinitions").Select((column, at) => (Name: column.Text("name").ToUpperInvariant(), At: at, IsShown: isWide || column.Number(0, "priority") == 0)).Where(column => column.IsShown).ToList();
        var rows = answer.Items("rows").Select(row =>
        {
            var cells = row["cells"] as JsonArray ?? [];
            IEnumerable<string> shown = columns.Select(column => column.At < cells.Count && cells[column.At] is JsonValue cell ? cell.ToString() : "<none>");
            return (IReadOnlyList<string>)[.. withNamespace ? (string[])[row.Text("object", "metadata", "namespace")] : [], .. shown];
        }).ToList();
        return rows.Count == 0 ? "No resources found at this node\n" : Output.Table([.. withNamespace ? (string[])["NAMESPACE"] : [], .. columns.Select(column => column.Name)], rows);
    }

    // By plural, singular, kind or short name; RESOURCE.GROUP for one of several.
    private async Task<ResourceKind> FindAsync(string resource, CancellationToken cancellationToken)
    {
        var (name, group) = resource.Split('.', 2) is [var first, var rest] ? (first, rest) : (resource, null);
        if (group is null && await InAsync("/api/v1", "", "v1") is { } core)
            return core;
        foreach (var one in (await GetAsync("/apis", "application/json", cancellationToken)).Items("groups").Where(one => group is null || one.Text("name") == group))
        {
            var version = one.Text("preferredVersion", "version");
            if (await InAsync($"/apis/{one.Text("name")}/{version}", one.Text("name"), version) is { } found)
                return found;
        }

        throw new NodeException($"there is no resource '{resource}'; its plural, singular or short name is meant, as in 'edgectl get pods', or RESOURCE.GROUP");

        async Task<ResourceKind?> InAsync(string path, string inGroup, string version)
        {
            JsonObject list;
            try
            {
                list = await GetAsync(path, "application/json", cancellationToken);
            }
            catch (KubeException e) when (e.Code == 503)
            {
                return null; // a group that was never read here: the others are looked at
            }

            var found = list.Items("resources").FirstOrDefault(one => !one.Text("name").Contains('/', StringComparison.Ordinal)
                && (one.Text("name") == name || one.Text("singularName") == name || one.Text("kind").Equals(name, StringComparison.OrdinalIgnoreCase) || one.Texts("shortNames").Contains(name, StringComparer.Ordinal)));
            return found is null ? null : new ResourceKind(inGroup, version, found.Text("name"), found.Text("kind"), found.Flag(false, "namespaced"));
        }
    }

    private async Task<JsonObject> GetAsync(string target, string accept, CancellationToken cancellationToken)
    {
        using var response = await api.SendAsync(HttpMethod.Get, target, accept, "", default, "", cancellationToken);
        var body = JsonNode.Parse(await response.Content.ReadAsByteArrayAsync(cancellationToken)) as JsonObject ?? throw new NodeException($"{target}: the answer is no JSON object");
        if (!response.IsSuccessStatusCode)
            throw new KubeException((int)response.StatusCode, body.Text("reason"), body.Text("message"));
        if (response.Headers.TryGetValues("Warning", out var warnings) && !target.StartsWith("/apis", StringComparison.Ordinal) || response.Headers.TryGetValues("Warning", out warnings) && target.Contains("/namespaces/", StringComparison.Ordinal))
        {
            foreach (var warning in warnings!.Where(_ => target != "/api/v1"))
                errors.WriteLine($"Warning: {warning.Split('"') switch { [_, var text, ..] => text, _ => warning }}");
        }

        return body;
    }

    private static string Pairs(JsonObject obj, string key)
        => obj.Map("metadata", key).Select(pair => $"{pair.Key}={pair.Value}").ToList() is { Count: > 0 } pairs ? string.Join(", ", pairs) : "<none>";
}
