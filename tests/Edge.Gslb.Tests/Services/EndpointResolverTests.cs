using System.Text.Json.Nodes;
using Edge.GlobalServices.Locations;
using Edge.GlobalServices.Resources;
using Edge.GlobalServices.Services;
using Edge.Kubernetes;

namespace Edge.Cloud.Gslb.Tests;

[Trait("Category", "Dns")]
public sealed class EndpointResolverTests
{
    private static readonly JsonObject[] s_nodes =
    [
        Object("""
            {apiVersion: v1, kind: Node, metadata: {name: edge-2, labels: {node-role.kubernetes.io/edge: "", apps.kubeedge.io/belonging-to: hall, topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: fra}},
             status: {addresses: [{type: InternalIP, address: 10.0.0.2}, {type: ExternalIP, address: 192.0.2.2}, {type: ExternalIP, address: "2001:db8::2"}]}}
            """),
        Object("""
            {apiVersion: v1, kind: Node, metadata: {name: edge-1, labels: {node-role.kubernetes.io/edge: "", apps.kubeedge.io/belonging-to: hall, gslb.edge.io/country: DE},
             annotations: {gslb.edge.io/latitude: "50.1", gslb.edge.io/longitude: "8.7"}}, status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}}
            """),
        Object("{apiVersion: v1, kind: Node, metadata: {name: edge-3, labels: {node-role.kubernetes.io/edge: \"\"}}, status: {addresses: [{type: Hostname, address: edge-3}]}}"),
        Object("{apiVersion: v1, kind: Node, metadata: {name: cloud-1}, status: {addresses: [{type: InternalIP, address: 10.0.0.9}]}}"),
    ];

    [Fact]
    public void Every_node_of_a_group_is_an_endpoint_with_its_outside_address_and_place()
    {
        var resolved = Resolve("endpoints: [{nodeGroup: {name: hall}, port: 80, weight: 5}]", nodes: s_nodes);
        Assert.Empty(resolved.Problems);
        Assert.Equal(["hall.edge-1 10.0.0.1 80 edge-1 DE (50.1, 8.7)", "hall.edge-2 192.0.2.2,2001:db8::2 80 edge-2 eu/fra"], resolved.Endpoints.Select(Text));
        Assert.All(resolved.Endpoints, one => Assert.Equal(5, one.Weight));
    }

    [Fact]
    public void What_the_item_says_of_its_place_wins()
        => Assert.Equal(
            "hall.edge-2 192.0.2.2,2001:db8::2 0 edge-2 eu/here",
            Text(Resolve("endpoints: [{nodeGroup: {name: hall}, location: {site: here}}]", nodes: s_nodes).Endpoints[1]));

    [Fact]
    public void A_service_gives_its_addresses_from_outside()
    {
        var services = new[]
        {
            Object("{metadata: {name: lb, namespace: default}, spec: {externalIPs: [192.0.2.7], ports: [{port: 443}]}, status: {loadBalancer: {ingress: [{ip: 192.0.2.6}, {ip: 192.0.2.7}]}}}"),
            Object("{metadata: {name: np, namespace: shops}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30080}]}}"),
            Object("{metadata: {name: inner, namespace: default}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}"),
        };
        var resolved = Resolve("endpoints: [{service: {name: lb}}, {service: {name: np, namespace: shops}}, {service: {name: inner}}, {service: {name: none}}]", nodes: s_nodes[..2], services: services);
        Assert.Equal(["lb 192.0.2.6,192.0.2.7 443  unknown", "np.edge-1 10.0.0.1 30080 edge-1 DE (50.1, 8.7)", "np.edge-2 192.0.2.2,2001:db8::2 30080 edge-2 eu/fra"], resolved.Endpoints.Select(Text));
        Assert.Equal(
            [
                "the Service default/inner of endpoint inner has no address from outside: no status.loadBalancer.ingress[].ip, spec.externalIPs or nodePort", "spec.endpoints[2] (inner): gives no endpoint now",
                "the Service default/none of endpoint none does not exist", "spec.endpoints[3] (none): gives no endpoint now",
            ],
            resolved.Problems);
    }

    [Fact]
    public void Edge_nodes_with_a_pod_are_endpoints_and_ready_when_a_pod_there_is()
    {
        JsonObject Pod(string name, string node, string ready, string app = "shop") => Object($$"""
            {metadata: {name: {{name}}, namespace: default, uid: {{name}}, labels: {app: {{app}}} }, spec: {nodeName: {{node}}, containers: [{ports: [{containerPort: 80, hostPort: 8080}]}]},
             status: {conditions: [{type: Ready, status: "{{ready}}"}]} }
            """);
        var pods = new[] { Pod("a", "edge-1", "False"), Pod("b", "edge-2", "False"), Pod("c", "edge-2", "True"), Pod("d", "cloud-1", "True"), Pod("e", "edge-1", "True", "other"), Pod("f", "edge-3", "True") };
        var resolved = Resolve("endpoints: [{name: web, pods: {matchLabels: {app: shop}}}]", nodes: s_nodes, pods: pods);
        Assert.Equal(["web.edge-1 10.0.0.1 8080 edge-1 DE (50.1, 8.7)", "web.edge-2 192.0.2.2,2001:db8::2 8080 edge-2 eu/fra"], resolved.Endpoints.Select(Text));
        Assert.Equal(["no pod with app=shop on node edge-1 is ready", ""], resolved.Endpoints.Select(one => one.NotReady));
        Assert.Equal(["node edge-3 of endpoint web has neither an ExternalIP nor an InternalIP"], resolved.Problems);
    }

    internal static JsonObject Object(string yaml)
        => Manifests.Parse(yaml.TrimStart().Contains("apiVersion", StringComparison.Ordinal) ? yaml : $"{{apiVersion: v1, kind: Thing, {yaml.Trim()[1..]}").Single();

    private static string Text(ServiceEndpoint one)
        => $"{one.Name} {string.Join(',', one.Addresses.Select(address => Network.ToIPAddress(address)))} {one.Port} {one.Node} {one.Location}";

    private static ResolvedEndpoints Resolve(string spec, JsonObject[]? nodes = null, JsonObject[]? services = null, JsonObject[]? pods = null)
    {
        var read = GlobalServiceSpec.Read(Object($"{{metadata: {{name: shop, namespace: default}}, spec: {{hosts: [shop.example.com], {spec}}}}}"), out var problems);
        Assert.Empty(problems);
        return EndpointResolver.Resolve(read!, new ClusterState(nodes ?? [], services ?? [], pods ?? []));
    }
}
