using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Rest;

/// <summary>metrics.k8s.io/v1beta1, what <c>kubectl top</c> reads: the use of nodes and pods, asked of the nodes themselves at the moment (their <c>/stats/summary</c>). Nothing is kept and
/// nothing is asked while nobody looks. A node that does not answer in time is left out, as a metrics-server leaves it out.</summary>
internal sealed class NodeMetrics(ObjectApi api, NodeProxy nodes, TimeProvider time)
{
    public const string Group = "metrics.k8s.io";
    private const string Version = "v1beta1";

    // Streams at once for one request.
    private const int NodesAtOnce = 64;

    // A rate needs two samples of a counter.
    private static readonly TimeSpan s_window = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_between = TimeSpan.FromSeconds(1.1);
    private static readonly TimeSpan s_nodeWithin = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_within = TimeSpan.FromSeconds(60);
    private static readonly ServedResource s_nodes = BuiltinResources.All.First(resource => resource.Kind == ResourceKind.Node);
    private static readonly ServedResource s_nodeMetrics = new(new ResourceKind(Group, Version, "nodes", "NodeMetrics", false), "") { IsComputed = true };
    private static readonly ServedResource s_podMetrics = new(new ResourceKind(Group, Version, "pods", "PodMetrics", true), "") { IsComputed = true };

    /// <summary>For discovery; none where this server reaches no nodes.</summary>
    public IReadOnlyList<ServedResource> Resources { get; } = nodes.IsServed ? [s_nodeMetrics, s_podMetrics] : [];

    /// <summary>Answers a request of the group; false when it is not for one of these resources.</summary>
    public async Task<bool> TryHandleAsync(HttpContext context, RequestPath path)
    {
        if (path.Group != Group || Resources.FirstOrDefault(one => one.Kind.Version == path.Version && one.Kind.Plural == path.Plural) is not { } resource || path.Subresource.Length > 0)
            return false;
        if (!HttpMethods.IsGet(context.Request.Method) || context.Request.Query["watch"].ToString() is "true" or "1")
            throw ApiException.MethodNotAllowed();
        var isPods = resource == s_podMetrics;
        if (path.Name.Length > 0 && isPods && path.Namespace.Length == 0)
            throw ApiException.NoSuchResource();
        var of = isPods ? BuiltinResources.Pods : s_nodes;
        var wanted = Wanted(context, of, path);
        var items = isPods ? await PodsAsync(wanted, context.RequestAborted) : await NodesAsync(wanted, context.RequestAborted);
        if (path.Name.Length > 0)
        {
            await ApiResponse.WriteAsync(context, 200, items.Count > 0 ? items[0] : throw ApiException.NotFound(resource, path.Name));
            return true;
        }

        await ApiResponse.WriteAsync(context, 200, new JsonObject
        {
            ["kind"] = resource.ListKind, ["apiVersion"] = resource.Kind.ApiVersion, ["metadata"] = new JsonObject(), ["items"] = new JsonArray([.. items]),
        });
        return true;
    }

    /// <summary>The use of a node as its summary tells it, or null where that lacks a figure. Pure.</summary>
    internal static JsonObject? OfNode(StoredObject node, JsonObject summary)
        => summary["node"] is JsonObject told && Usage(told) is { } usage ? Item(node, s_nodeMetrics, told, [KeyValuePair.Create("usage", (JsonNode?)usage)]) : null;

    /// <summary>The use of a pod's containers as the summary of its node tells it, or null while none has figures. Pure.</summary>
    internal static JsonObject? OfPod(StoredObject pod, JsonObject summary)
    {
        var told = summary.Items("pods").FirstOrDefault(one => one.Text("podRef", "namespace") == pod.Namespace && one.Text("podRef", "name") == pod.Name);
        if (told is null)
            return null;
        var containers = new JsonArray();
        foreach (var container in told.Items("containers"))
        {
            if (Usage(container) is { } usage)
                containers.Add((JsonNode)new JsonObject { ["name"] = container.Text("name"), ["usage"] = usage });
        }

        return containers.Count == 0 ? null : Item(pod, s_podMetrics, told.Items("containers").First(), [KeyValuePair.Create("containers", (JsonNode?)containers)]);
    }

    private static JsonObject Item(StoredObject obj, ServedResource resource, JsonObject sampled, IEnumerable<KeyValuePair<string, JsonNode?>> figures)
    {
        var metadata = new JsonObject { ["name"] = obj.Name };
        if (obj.Namespace.Length > 0)
            metadata["namespace"] = obj.Namespace;
        metadata["creationTimestamp"] = sampled.Text("cpu", "time");
        if (obj.Labels.Count > 0)
            metadata["labels"] = new JsonObject(obj.Labels.Select(label => KeyValuePair.Create(label.Key, (JsonNode?)label.Value)));
        var item = new JsonObject
        {
            ["kind"] = resource.Kind.Kind, ["apiVersion"] = resource.Kind.ApiVersion, ["metadata"] = metadata,
            ["timestamp"] = sampled.Text("cpu", "time"), ["window"] = $"{s_window.TotalSeconds:0}s",
        };
        foreach (var (key, value) in figures)
            item[key] = value;
        return item;
    }

    private static JsonObject? Usage(JsonObject told)
        => told.At("cpu", "usageNanoCores").TryWhole(out var cores) && told.At("memory", "workingSetBytes").TryWhole(out var bytes)
            ? new JsonObject { ["cpu"] = string.Create(CultureInfo.InvariantCulture, $"{cores}n"), ["memory"] = string.Create(CultureInfo.InvariantCulture, $"{bytes / 1024}Ki") }
            : null;

    private List<StoredObject> Wanted(HttpContext context, ServedResource of, RequestPath path)
    {
        if (path.Name.Length > 0)
            return [api.Get(of, path.Namespace, path.Name)];
        var filter = ObjectFilter.Read(context.Request, of, path.Namespace);
        return [.. api.Store.Snapshot(of.Id).Items.Where(filter.Matches)];
    }

    private async Task<List<JsonObject>> NodesAsync(List<StoredObject> wanted, CancellationToken cancellationToken)
    {
        var summaries = await SummariesAsync(wanted.Select(node => node.Name), cancellationToken);
        return [.. wanted.Select(node => summaries.TryGetValue(node.Name, out var summary) ? OfNode(node, summary) : null).OfType<JsonObject>()];
    }

    private async Task<List<JsonObject>> PodsAsync(List<StoredObject> wanted, CancellationToken cancellationToken)
    {
        var placed = wanted.Select(pod => (Pod: pod, Node: pod.Field("spec.nodeName"))).Where(one => one.Node.Length > 0).ToList();
        var summaries = await SummariesAsync(placed.Select(one => one.Node).Distinct(StringComparer.Ordinal), cancellationToken);
        return [.. placed.Select(one => summaries.TryGetValue(one.Node, out var summary) ? OfPod(one.Pod, summary) : null).OfType<JsonObject>()];
    }

    private async Task<IReadOnlyDictionary<string, JsonObject>> SummariesAsync(IEnumerable<string> names, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(s_within, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        var answered = new ConcurrentDictionary<string, JsonObject>(StringComparer.Ordinal);
        try
        {
            await Parallel.ForEachAsync(names, new ParallelOptions { MaxDegreeOfParallelism = NodesAtOnce, CancellationToken = both.Token }, async (name, token) =>
            {
                if (await SummaryAsync(name, token) is { } summary)
                    answered[name] = summary;
            });
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // Those that have answered by now are better than none.
        }

        return answered;
    }

    // Null when the node does not tell it in time.
    private async Task<JsonObject?> SummaryAsync(string node, CancellationToken cancellationToken)
    {
        try
        {
            using var limit = new CancellationTokenSource(s_nodeWithin, time);
            using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
            const string target = "/stats/summary?only_cpu_and_memory=true";
            await nodes.GetJsonAsync(node, target, both.Token);
            await Task.Delay(s_between, time, both.Token);
            return await nodes.GetJsonAsync(node, target, both.Token);
        }
        catch (Exception e) when (e is ApiException or OperationCanceledException)
        {
            // Away, or an older edge that does not tell it: without figures, which kubectl shows as such.
            return null;
        }
    }
}
