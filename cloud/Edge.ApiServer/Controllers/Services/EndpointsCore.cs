using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Services;

/// <summary>The Endpoints that follow from a Service and its pods. Pure.</summary>
internal static class EndpointsCore
{
    // Kubernetes' bound of one Endpoints object.
    private const int AddressesMax = 1000;

    /// <summary>The <c>subsets</c> for a Service with a selector: addresses with the same ports stand together, in order of address, so that equal
    /// input gives equal output.</summary>
    /// <param name="service">The Service.</param>
    /// <param name="pods">The pods of its namespace.</param>
    /// <param name="nodeIsReady">By node name; pods on a node that is away are not ready, whatever they last said.</param>
    public static JsonArray Subsets(JsonObject service, IEnumerable<JsonObject> pods, Func<string, bool> nodeIsReady)
    {
        var selector = service.Map("spec", "selector").ToList();
        var groups = new SortedDictionary<string, (JsonArray Ports, List<JsonObject> Ready, List<JsonObject> NotReady)>(StringComparer.Ordinal);
        var count = 0;
        foreach (var pod in pods.OrderBy(Address, StringComparer.Ordinal).ThenBy(pod => pod.Name(), StringComparer.Ordinal))
        {
            if (Address(pod).Length == 0 || pod.IsDeleting() || Conditions.IsFinished(pod) || !selector.TrueForAll(pair => pod.Label(pair.Key) == pair.Value))
                continue;
            if (++count > AddressesMax)
                break;
            var ports = Ports(service, pod);
            if (ports.Count == 0 && service.Items("spec", "ports").Any())
                continue;
            var key = ports.ToJsonString();
            if (!groups.TryGetValue(key, out var group))
                groups[key] = group = (ports, [], []);
            var ready = service.At("spec").Flag(false, "publishNotReadyAddresses")
                || (Conditions.Status(pod, "Ready") == "True" && nodeIsReady(pod.Text("spec", "nodeName")));
            (ready ? group.Ready : group.NotReady).Add(Entry(service, pod));
        }

        var subsets = new JsonArray();
        foreach (var (ports, ready, notReady) in groups.Values)
        {
            var subset = new JsonObject();
            if (ready.Count > 0)
                subset["addresses"] = new JsonArray([.. ready]);
            if (notReady.Count > 0)
                subset["notReadyAddresses"] = new JsonArray([.. notReady]);
            if (ports.Count > 0)
                subset["ports"] = ports;
            subsets.Add((JsonNode)subset);
        }

        return subsets;
    }

    private static string Address(JsonObject pod) => pod.Text("status", "podIP");

    private static JsonObject Entry(JsonObject service, JsonObject pod)
    {
        var entry = new JsonObject { ["ip"] = Address(pod) };
        if (pod.Text("spec", "hostname") is { Length: > 0 } hostname && pod.Text("spec", "subdomain") == service.Name())
            entry["hostname"] = hostname;
        entry["nodeName"] = pod.Text("spec", "nodeName");
        entry["targetRef"] = new JsonObject { ["kind"] = "Pod", ["namespace"] = pod.Namespace(), ["name"] = pod.Name(), ["uid"] = pod.Uid() };
        return entry;
    }

    /// <summary>The Service's ports as the pod has them. A port that the pod does not name is left out, as in Kubernetes.</summary>
    /// <param name="named">Also a port without a name gets one, the empty one, as in EndpointSlices.</param>
    public static JsonArray Ports(JsonObject service, JsonObject pod, bool named = false)
    {
        var ports = new JsonArray();
        foreach (var port in service.Items("spec", "ports"))
        {
            var protocol = port.Text("protocol") is { Length: > 0 } given ? given : "TCP";
            var number = Target(port, pod, protocol);
            if (number == 0)
                continue;
            var entry = new JsonObject();
            if (port.Text("name") is var name && (named || name.Length > 0))
                entry["name"] = name;
            entry["port"] = number;
            entry["protocol"] = protocol;
            if (port.Text("appProtocol") is { Length: > 0 } application)
                entry["appProtocol"] = application;
            ports.Add((JsonNode)entry);
        }

        return ports;
    }

    private static long Target(JsonObject port, JsonObject pod, string protocol)
    {
        var named = port.Text("targetPort");
        if (named.Length == 0)
            return port.Number(0, "targetPort") is > 0 and var number ? number : port.Number(0, "port");
        return pod.Items("spec", "containers")
            .SelectMany(container => container.Items("ports"))
            .FirstOrDefault(candidate => candidate.Text("name") == named && (candidate.Text("protocol") is { Length: > 0 } given ? given : "TCP") == protocol)
            .Number(0, "containerPort");
    }
}
