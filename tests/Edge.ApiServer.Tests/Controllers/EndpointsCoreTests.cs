using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Services;

namespace Edge.ApiServer.Tests;

[Trait("Category", "Kubernetes")]
public sealed class EndpointsCoreTests
{
    [Fact]
    public void Ready_pods_and_those_not_ready_stand_apart_with_their_ports()
    {
        var service = Parse("""{"metadata":{"name":"web","namespace":"x"},"spec":{"selector":{"app":"web"},"ports":[{"name":"http","port":80,"targetPort":"web"},{"name":"plain","port":81,"targetPort":8081},{"name":"same","port":82,"protocol":"UDP"}]}}""");
        var subsets = EndpointsCore.Subsets(
            service,
            [
                Pod("b", "10.0.0.2", ready: true, node: "up"),
                Pod("a", "10.0.0.1", ready: true, node: "up"),
                Pod("starting", "10.0.0.3", ready: false, node: "up"),
                Pod("away", "10.0.0.4", ready: true, node: "down"),
                Pod("other-port", "10.0.0.5", ready: true, node: "up", port: 9090),
                Pod("no-ip", "", ready: true, node: "up"),
                Pod("other", "10.0.0.6", ready: true, node: "up", app: "db"),
            ],
            node => node == "up");
        Assert.Equal(2, subsets.Count);
        Assert.Equal("10.0.0.1 10.0.0.2", Addresses(subsets[0]!["addresses"]));
        Assert.Equal("10.0.0.3 10.0.0.4", Addresses(subsets[0]!["notReadyAddresses"]));
        Assert.Equal("""[{"name":"http","port":8080,"protocol":"TCP"},{"name":"plain","port":8081,"protocol":"TCP"},{"name":"same","port":82,"protocol":"UDP"}]""", subsets[0]!["ports"]!.ToJsonString());
        Assert.Equal("10.0.0.5", Addresses(subsets[1]!["addresses"]));
        Assert.Equal("""{"kind":"Pod","namespace":"x","name":"a","uid":"a"}""", subsets[0]!["addresses"]![0]!["targetRef"]!.ToJsonString());
    }

    [Fact]
    public void A_headless_service_without_ports_has_addresses_and_a_pod_that_goes_has_none()
    {
        var service = Parse("""{"metadata":{"name":"web","namespace":"x"},"spec":{"clusterIP":"None","selector":{"app":"web"}}}""");
        var going = Pod("going", "10.0.0.9", ready: true, node: "up");
        going["metadata"]!["deletionTimestamp"] = "t";
        var subset = Assert.Single(EndpointsCore.Subsets(service, [Pod("a", "10.0.0.1", ready: true, node: "up"), going], _ => true))!;
        Assert.Equal("10.0.0.1", Addresses(subset["addresses"]));
        Assert.Null(subset["ports"]);
    }

    [Fact]
    public void PublishNotReadyAddresses_makes_all_ready()
    {
        var service = Parse("""{"metadata":{"name":"web","namespace":"x"},"spec":{"publishNotReadyAddresses":true,"selector":{"app":"web"},"ports":[{"port":80}]}}""");
        Assert.Equal("10.0.0.1", Addresses(Assert.Single(EndpointsCore.Subsets(service, [Pod("a", "10.0.0.1", ready: false, node: "down")], _ => false))!["addresses"]));
    }

    private static string Addresses(JsonNode? entries) => string.Join(' ', entries!.AsArray().Select(entry => entry!["ip"]!.GetValue<string>()));

    private static JsonObject Pod(string name, string ip, bool ready, string node, int port = 8080, string app = "web") => Parse($$$"""
        {"metadata":{"name":"{{{name}}}","namespace":"x","uid":"{{{name}}}","labels":{"app":"{{{app}}}"}},
         "spec":{"nodeName":"{{{node}}}","containers":[{"ports":[{"name":"web","containerPort":{{{port}}}}]}]},
         "status":{"podIP":"{{{ip}}}","conditions":[{"type":"Ready","status":"{{{(ready ? "True" : "False")}}}"}]}}
        """);

    private static JsonObject Parse(string json) => JsonNode.Parse(json)!.AsObject();
}
