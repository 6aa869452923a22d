using System.Text.Json.Nodes;
using Edge.GlobalServices.Locations;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;

namespace Edge.GlobalServices.Services;

/// <summary>The Kubernetes objects of one moment that endpoints come from.</summary>
internal sealed record ClusterState(IReadOnlyCollection<JsonObject> Nodes, IReadOnlyCollection<JsonObject> Services, IReadOnlyCollection<JsonObject> Pods)
{
    public static ClusterState Empty { get; } = new([], [], []);
}

/// <summary>The endpoints of a GlobalService, and what kept some from being there.</summary>
internal sealed record ResolvedEndpoints(IReadOnlyList<ServiceEndpoint> Endpoints, IReadOnlyList<string> Problems);

/// <summary>Turns the items of a GlobalService into endpoints, from Kubernetes objects. Pure; endpoints come out in the order of the items, and inside one by name.</summary>
internal static class EndpointResolver
{
    /// <summary>Puts a node into a NodeGroup (KubeEdge).</summary>
    public const string GroupLabel = "apps.kubeedge.io/belonging-to";

    public const string EdgeRoleLabel = "node-role.kubernetes.io/edge";

    /// <summary>Decimal degrees, on a Node.</summary>
    public const string LatitudeAnnotation = "gslb.edge.io/latitude";

    public const string LongitudeAnnotation = "gslb.edge.io/longitude";

    public const string CountryLabel = "gslb.edge.io/country";

    public const string RegionLabel = "topology.kubernetes.io/region";

    public const string ZoneLabel = "topology.kubernetes.io/zone";

    public static ResolvedEndpoints Resolve(GlobalServiceSpec spec, ClusterState cluster)
    {
        var (endpoints, problems) = (new List<ServiceEndpoint>(), new List<string>());
        for (var i = 0; i < spec.Endpoints.Count; i++)
        {
            var item = spec.Endpoints[i];
            var before = endpoints.Count;
            switch (item.Source)
            {
                case EndpointSource.Addresses given:
                    endpoints.Add(Endpoint(item, item.Name, given.List, item.Port, item.Location, "", ""));
                    break;
                case EndpointSource.Service service:
                    FromService(item, service, cluster, endpoints, problems);
                    break;
                case EndpointSource.NodeGroup group:
                    foreach (var node in ByName(cluster.Nodes.Where(node => node.Label(GroupLabel) == group.Name)))
                        AddNode(item, node, item.Port, NotReadyOf(node), endpoints, problems);
                    break;
                case EndpointSource.Pods pods:
                    FromPods(item, pods, cluster, endpoints, problems);
                    break;
            }

            if (endpoints.Count == before)
                problems.Add($"spec.endpoints[{i}] ({item.Name}): gives no endpoint now");
        }

        if (endpoints.Count > CompiledService.EndpointsMax)
        {
            problems.Add($"spec.endpoints: give {endpoints.Count} endpoints; the first {CompiledService.EndpointsMax} are used");
            endpoints.RemoveRange(CompiledService.EndpointsMax, endpoints.Count - CompiledService.EndpointsMax);
        }

        return new ResolvedEndpoints(endpoints, problems);
    }

    private static void FromService(EndpointItem item, EndpointSource.Service source, ClusterState cluster, List<ServiceEndpoint> endpoints, List<string> problems)
    {
        if (cluster.Services.FirstOrDefault(one => one.Namespace() == source.Namespace && one.Name() == source.Name) is not { } service)
        {
            problems.Add($"the Service {source.Namespace}/{source.Name} of endpoint {item.Name} does not exist");
            return;
        }

        var addresses = new List<UInt128>();
        foreach (var text in service.Items("status", "loadBalancer", "ingress").Select(one => one.Text("ip")).Concat(service.Texts("spec", "externalIPs")))
        {
            if (Network.TryParseAddress(text, out var address, out _) && !addresses.Contains(address))
                addresses.Add(address);
        }

        var ports = service.Items("spec", "ports").ToList();
        if (addresses.Count > 0)
        {
            endpoints.Add(Endpoint(item, item.Name, addresses, item.Port > 0 ? item.Port : (int)ports.FirstOrDefault().Number(0, "port"), item.Location, "", ""));
            return;
        }

        // Every edge node answers at the node port.
        if (ports.FirstOrDefault(one => one.Number(0, "nodePort") > 0) is { } port && service.Text("spec", "type") is "NodePort" or "LoadBalancer")
        {
            foreach (var node in ByName(cluster.Nodes.Where(IsEdge)))
                AddNode(item, node, item.Port > 0 ? item.Port : (int)ports[0].Number(0, "nodePort"), NotReadyOf(node), endpoints, problems);
            return;
        }

        problems.Add($"the Service {source.Namespace}/{source.Name} of endpoint {item.Name} has no address from outside: no status.loadBalancer.ingress[].ip, spec.externalIPs or nodePort");
    }

    private static void FromPods(EndpointItem item, EndpointSource.Pods source, ClusterState cluster, List<ServiceEndpoint> endpoints, List<string> problems)
    {
        var nodes = cluster.Nodes.ToDictionary(node => node.Name(), StringComparer.Ordinal);
        var pods = cluster.Pods.Where(pod => pod.Namespace() == source.Namespace && source.Selector.Matches(pod.Map("metadata", "labels")) && !pod.IsDeleting())
            .GroupBy(pod => pod.Text("spec", "nodeName"), StringComparer.Ordinal).OrderBy(group => group.Key, StringComparer.Ordinal);
        foreach (var group in pods)
        {
            if (!nodes.TryGetValue(group.Key, out var node) || !IsEdge(node))
                continue;
            // One ready pod makes the node an endpoint.
            var ready = ByName(group).FirstOrDefault(pod => Condition(pod, "Ready") == "True");
            var notReady = NotReadyOf(node);
            if (notReady.Length == 0 && ready is null)
                notReady = $"no pod with {source.SelectorText} on node {group.Key} is ready";
            var port = item.Port > 0 ? item.Port
                : (int)(ready ?? group.First()).Items("spec", "containers").SelectMany(one => one.Items("ports")).Select(one => one.Number(0, "hostPort")).FirstOrDefault(one => one > 0);
            AddNode(item, node, port, notReady, endpoints, problems);
        }
    }

    private static void AddNode(EndpointItem item, JsonObject node, int port, string notReady, List<ServiceEndpoint> endpoints, List<string> problems)
    {
        var addresses = new List<UInt128>();
        foreach (var type in (string[])["ExternalIP", "InternalIP"])
        {
            // What is inside counts only where nothing is known from outside.
            if (addresses.Count > 0)
                break;
            foreach (var one in node.Items("status", "addresses").Where(one => one.Text("type") == type))
            {
                if (Network.TryParseAddress(one.Text("address"), out var address, out _))
                    addresses.Add(address);
            }
        }

        if (addresses.Count == 0)
        {
            problems.Add($"node {node.Name()} of endpoint {item.Name} has neither an ExternalIP nor an InternalIP");
            return;
        }

        endpoints.Add(Endpoint(item, NameAt(item, node.Name()), addresses, port, LocationOf(item.Location, node), node.Name(), notReady) with { Group = node.Label(GroupLabel) ?? "" });
    }

    /// <summary>What the endpoint of an item is called that is on a node.</summary>
    public static string NameAt(EndpointItem item, string node) => $"{item.Name}.{node}";

    private static ServiceEndpoint Endpoint(EndpointItem item, string name, IReadOnlyList<UInt128> addresses, int port, Location location, string node, string notReady)
        => new(name, addresses, port, item.Weight, item.Priority, item.IsDrained, location, node, notReady);

    /// <summary>Where a node is: what is given, and for the rest what its labels and annotations say.</summary>
    public static Location LocationOf(Location given, JsonObject node)
    {
        var point = given.Point;
        if (point is null && Degrees(node.Annotation(LatitudeAnnotation)) is { } latitude && Degrees(node.Annotation(LongitudeAnnotation)) is { } longitude
            && GeoPoint.IsValid(latitude, longitude))
            point = new GeoPoint(latitude, longitude);
        return new Location(
            Or(given.Country, node.Label(CountryLabel)), Or(given.Region, node.Label(RegionLabel)), Or(given.Site, node.Label(ZoneLabel)), point);

        static string Or(string text, string? label) => text.Length > 0 ? text : label ?? "";

        static double? Degrees(string? text)
            => double.TryParse(text, System.Globalization.NumberStyles.Float, System.Globalization.CultureInfo.InvariantCulture, out var number) ? number : null;
    }

    // Whether the node's session is up is told by the health of the node; here only what an object says for ever.
    private static string NotReadyOf(JsonObject node) => node.IsDeleting() ? $"node {node.Name()} is being deleted" : "";

    private static bool IsEdge(JsonObject node) => node.Label(EdgeRoleLabel) is not null;

    internal static string Condition(JsonObject obj, string type) => obj.Items("status", "conditions").FirstOrDefault(one => one.Text("type") == type).Text("status");

    private static IEnumerable<JsonObject> ByName(IEnumerable<JsonObject> objects) => objects.OrderBy(one => one.Name(), StringComparer.Ordinal);
}
