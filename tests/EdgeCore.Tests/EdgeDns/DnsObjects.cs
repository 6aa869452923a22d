using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.EdgeDns;
using Edge.Core.MetaManager;
using Edge.Protocol.Dns;

namespace Edge.Core.Tests;

/// <summary>Objects as CloudCore sends them, and questions in text.</summary>
internal static class DnsObjects
{
    public static MetaChange Put(string type, string @namespace, string name, string json)
        => new(new MetaObject($"{@namespace}/{type}/{name}", type, @namespace, name, name, 1, Encoding.UTF8.GetBytes(json)), Deleted: false);

    public static MetaChange Gone(string type, string @namespace, string name)
        => new(new MetaObject($"{@namespace}/{type}/{name}", type, @namespace, name, name, 1, default), Deleted: true);

    public static MetaChange Service(string id, string spec, string annotations = "{}")
    {
        var (space, name) = (id.Split('/')[0], id.Split('/')[1]);
        return Put("service", space, name, $$$"""{"metadata":{"name":"{{{name}}}","namespace":"{{{space}}}","annotations":{{{annotations}}} },"spec":{{{spec}}} }""");
    }

    /// <param name="id">namespace/slice</param>
    /// <param name="endpoints">Each <c>address[ hostname=h][ node=n][ group=g][ notready]</c>.</param>
    public static MetaChange Slice(string id, string service, string ports, params string[] endpoints)
    {
        var (space, name) = (id.Split('/')[0], id.Split('/')[1]);
        var slice = new JsonObject
        {
            ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = space, ["labels"] = new JsonObject { ["kubernetes.io/service-name"] = service } },
            ["endpoints"] = new JsonArray([.. endpoints.Select(text =>
            {
                var words = text.Split(' ');
                string Word(string key) => words.FirstOrDefault(word => word.StartsWith(key + "=", StringComparison.Ordinal))?[(key.Length + 1)..] ?? "";
                var endpoint = new JsonObject { ["addresses"] = new JsonArray((JsonNode)words[0]), ["conditions"] = new JsonObject { ["ready"] = !words.Contains("notready") } };
                if (Word("hostname") is { Length: > 0 } hostname)
                    endpoint["hostname"] = hostname;
                if (Word("node") is { Length: > 0 } node)
                    endpoint["nodeName"] = node;
                if (Word("group") is { Length: > 0 } group)
                    endpoint["deprecatedTopology"] = new JsonObject { ["apps.kubeedge.io/belonging-to"] = group };
                return (JsonNode)endpoint;
            })]),
            ["ports"] = JsonNode.Parse(ports),
        };
        return Put("endpointslice", space, name, slice.ToJsonString());
    }

    public static MetaChange Node(string name, string group = "")
        => Put("node", "null", name, $$$"""{"metadata":{"name":"{{{name}}}","labels":{"apps.kubeedge.io/belonging-to":"{{{group}}}"} } }""");

    public static ServiceCatalog Catalog(params MetaChange[] changes)
        => changes.Aggregate(ServiceCatalog.Empty with { Node = "n1" }, (catalog, change) => catalog.With(change));

    /// <summary>The answer in text: the code, and the records in order of their text; <c>none</c> where others are to be asked.</summary>
    public static string Ask(this ClusterZone zone, ServiceCatalog catalog, string name, RecordType type)
    {
        if (zone.Answer(new DnsQuestion(DnsName.Parse(name), type), catalog) is not { } answer)
            return "none";
        var rows = answer.Answers.Select(row => $"{RecordData.TypeName(row.Type)} {RecordData.ToText(row.Type, row.Data.Span)}").Order(StringComparer.Ordinal);
        var code = answer.Code == ResponseCode.NameError ? "NXDOMAIN" : answer.Code == ResponseCode.NoError ? answer.Answers.Count == 0 ? "NODATA" : "" : answer.Code.ToString();
        return string.Join("; ", new[] { code }.Concat(rows).Where(text => text.Length > 0));
    }
}
