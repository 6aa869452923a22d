using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Services;

/// <summary>What to do so that a Service has the EndpointSlices that follow from its pods.</summary>
/// <param name="Create">New slices.</param>
/// <param name="Update">Whole slices with what changed.</param>
/// <param name="Delete">Slices that nothing is left for.</param>
internal sealed record SliceChanges(List<JsonObject> Create, List<JsonObject> Update, List<JsonObject> Delete);

/// <summary>The EndpointSlices that follow from a Service and its pods. Pure.</summary>
/// <remarks>An endpoint stays in the slice that it is in, and a new one goes where there is room, so that one pod's change writes one slice.</remarks>
internal static class EndpointSliceCore
{
    public const string ServiceLabel = "kubernetes.io/service-name";
    public const string ManagedBy = "endpointslice.kubernetes.io/managed-by";
    public const string Manager = "endpointslice-controller.k8s.io";
    private const string Headless = "service.kubernetes.io/headless";
    private const string ZoneLabel = "topology.kubernetes.io/zone";

    /// <summary>Kubernetes' default bound of one slice.</summary>
    public const int EndpointsMax = 100;

    /// <param name="service">A Service with a selector.</param>
    /// <param name="pods">The pods of its namespace.</param>
    /// <param name="nodeOf">A node's object by name; null when it is not there.</param>
    /// <param name="existing">The slices of this Service that this controller made.</param>
    public static SliceChanges Reconcile(JsonObject service, IEnumerable<JsonObject> pods, Func<string, JsonObject?> nodeOf, IEnumerable<JsonObject> existing)
    {
        var wanted = Wanted(service, pods, nodeOf);
        var changes = new SliceChanges([], [], []);
        var slices = existing.OrderBy(slice => slice.Name(), StringComparer.Ordinal).ToLookup(slice => GroupKey(slice.Text("addressType"), slice.At("ports") as JsonArray ?? []), StringComparer.Ordinal);
        foreach (var group in slices.Where(group => !wanted.ContainsKey(group.Key)))
            changes.Delete.AddRange(group);
        foreach (var (key, (type, ports, endpoints)) in wanted)
            Fill(service, key, type, ports, endpoints, [.. slices[key]], changes);
        return changes;
    }

    private static void Fill(JsonObject service, string key, string type, JsonArray ports, SortedDictionary<string, JsonObject> endpoints, List<JsonObject> slices, SliceChanges changes)
    {
        var left = new SortedDictionary<string, JsonObject>(endpoints, StringComparer.Ordinal);
        var kept = new List<(JsonObject Slice, List<JsonObject> Endpoints)>();
        foreach (var slice in slices)
        {
            var stay = new List<JsonObject>();
            foreach (var endpoint in slice.Items("endpoints"))
            {
                if (stay.Count < EndpointsMax && left.Remove(Id(endpoint), out var newest))
                    stay.Add(newest);
            }

            kept.Add((slice, stay));
        }

        var waiting = new Queue<JsonObject>(left.Values);
        foreach (var (_, stay) in kept)
        {
            while (stay.Count < EndpointsMax && waiting.TryDequeue(out var endpoint))
                stay.Add(endpoint);
        }

        foreach (var (slice, stay) in kept)
        {
            if (stay.Count == 0)
            {
                changes.Delete.Add(slice);
                continue;
            }

            var next = slice.DeepClone().AsObject();
            Write(service, next, stay);
            if (!JsonNode.DeepEquals(next, slice))
                changes.Update.Add(next);
        }

        var taken = slices.Select(slice => slice.Name()).ToHashSet(StringComparer.Ordinal);
        for (var i = 0; waiting.Count > 0; i++)
        {
            var name = NameOf(service, key, i);
            if (!taken.Add(name))
                continue;
            var slice = new JsonObject
            {
                ["apiVersion"] = ResourceKind.EndpointSlice.ApiVersion,
                ["kind"] = ResourceKind.EndpointSlice.Kind,
                ["metadata"] = new JsonObject
                {
                    ["name"] = name,
                    ["namespace"] = service.Namespace(),
                    ["ownerReferences"] = new JsonArray(new JsonObject
                    {
                        ["apiVersion"] = "v1", ["kind"] = "Service", ["name"] = service.Name(), ["uid"] = service.Uid(), ["controller"] = true, ["blockOwnerDeletion"] = true,
                    }),
                },
                ["addressType"] = type,
                ["ports"] = ports.DeepClone(),
            };
            var some = new List<JsonObject>();
            while (some.Count < EndpointsMax && waiting.TryDequeue(out var endpoint))
                some.Add(endpoint);
            Write(service, slice, some);
            changes.Create.Add(slice);
        }
    }

    private static void Write(JsonObject service, JsonObject slice, List<JsonObject> endpoints)
    {
        var labels = slice.Child("metadata").Child("labels");
        labels[ServiceLabel] = service.Name();
        labels[ManagedBy] = Manager;
        if (service.Text("spec", "clusterIP") == "None")
            labels[Headless] = "";
        else
            labels.Remove(Headless);
        slice["endpoints"] = new JsonArray([.. endpoints.Select(endpoint => endpoint.DeepClone())]);
    }

    // By family and ports: a named port may be another number in another pod.
    private static SortedDictionary<string, (string Type, JsonArray Ports, SortedDictionary<string, JsonObject> Endpoints)> Wanted(
        JsonObject service, IEnumerable<JsonObject> pods, Func<string, JsonObject?> nodeOf)
    {
        var selector = service.Map("spec", "selector").ToList();
        var families = service.Texts("spec", "ipFamilies").ToHashSet(StringComparer.Ordinal);
        var groups = new SortedDictionary<string, (string Type, JsonArray Ports, SortedDictionary<string, JsonObject> Endpoints)>(StringComparer.Ordinal);
        foreach (var pod in pods)
        {
            if (Conditions.IsFinished(pod) || !selector.TrueForAll(pair => pod.Label(pair.Key) == pair.Value))
                continue;
            var ports = EndpointsCore.Ports(service, pod, named: true);
            if (ports.Count == 0 && service.Items("spec", "ports").Any())
                continue;
            foreach (var (type, address) in Addresses(pod))
            {
                if (families.Count > 0 && !families.Contains(type))
                    continue;
                var key = GroupKey(type, ports);
                if (!groups.TryGetValue(key, out var group))
                    groups[key] = group = (type, ports, new SortedDictionary<string, JsonObject>(StringComparer.Ordinal));
                var endpoint = Endpoint(service, pod, address, nodeOf);
                group.Endpoints[Id(endpoint)] = endpoint;
            }
        }

        return groups;
    }

    private static JsonObject Endpoint(JsonObject service, JsonObject pod, string address, Func<string, JsonObject?> nodeOf)
    {
        var nodeName = pod.Text("spec", "nodeName");
        var node = nodeOf(nodeName);
        var serving = Conditions.Status(pod, "Ready") == "True" && node is not null && Conditions.Status(node, "Ready") == "True";
        var terminating = pod.IsDeleting();
        var endpoint = new JsonObject
        {
            ["addresses"] = new JsonArray((JsonNode)address),
            ["conditions"] = new JsonObject
            {
                ["ready"] = service.At("spec").Flag(false, "publishNotReadyAddresses") || (serving && !terminating), ["serving"] = serving, ["terminating"] = terminating,
            },
        };
        if (pod.Text("spec", "hostname") is { Length: > 0 } hostname && pod.Text("spec", "subdomain") == service.Name())
            endpoint["hostname"] = hostname;
        endpoint["nodeName"] = nodeName;
        if (node?.Label(ZoneLabel) is { Length: > 0 } zone)
            endpoint["zone"] = zone;
        endpoint["targetRef"] = new JsonObject { ["kind"] = "Pod", ["namespace"] = pod.Namespace(), ["name"] = pod.Name(), ["uid"] = pod.Uid() };
        return endpoint;
    }

    private static IEnumerable<(string Type, string Address)> Addresses(JsonObject pod)
    {
        var texts = pod.Items("status", "podIPs").Select(ip => ip.Text("ip")).Where(ip => ip.Length > 0).ToList();
        if (texts.Count == 0 && pod.Text("status", "podIP") is { Length: > 0 } only)
            texts.Add(only);
        return texts.Select(text => (text.Contains(':', StringComparison.Ordinal) ? "IPv6" : "IPv4", text));
    }

    private static string Id(JsonObject endpoint) => $"{endpoint.Texts("addresses").FirstOrDefault()} {endpoint.Text("targetRef", "uid")}";

    private static string GroupKey(string type, JsonArray ports) => $"{type} {ports.ToJsonString()}";

    // The same for the same content, so that a watch that is behind makes a conflict and not a second slice.
    private static string NameOf(JsonObject service, string key, int number)
    {
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes($"{service.Uid()} {key} {number}"));
        return $"{service.Name()}-{Convert.ToHexStringLower(hash.AsSpan(0, 4))}";
    }
}
