using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Services;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests;

[Trait("Category", "Dns")]
public sealed class EndpointSliceCoreTests
{
    private static readonly JsonObject s_node = Parse("""{"metadata":{"name":"up","labels":{"topology.kubernetes.io/zone":"z1"} },"status":{"conditions":[{"type":"Ready","status":"True"}]} }""");

    [Fact]
    public void An_endpoint_says_whether_it_is_ready_serves_and_ends()
    {
        var going = Pod("going", "10.0.0.2");
        going["metadata"]!["deletionTimestamp"] = "t";
        var slice = Assert.Single(Reconcile(Service(), [Pod("a", "10.0.0.1", hostname: "a"), going, Pod("late", "10.0.0.3", ready: false), Pod("away", "10.0.0.4", node: "down"), Pod("other", "10.0.0.5", app: "db"), Pod("no-ip", "")]).Create);
        Assert.Equal("10.0.0.1 True True False|10.0.0.2 False True True|10.0.0.3 False False False|10.0.0.4 False False False", string.Join('|', slice.Items("endpoints").Select(one =>
            $"{one.Texts("addresses").Single()} {one.At("conditions").Flag(false, "ready")} {one.At("conditions").Flag(false, "serving")} {one.At("conditions").Flag(false, "terminating")}")));
        var first = slice.Items("endpoints").First();
        Assert.Equal(("a", "up", "z1", "Pod"), (first.Text("hostname"), first.Text("nodeName"), first.Text("zone"), first.Text("targetRef", "kind")));
        Assert.Equal("""[{"name":"http","port":8080,"protocol":"TCP"}]""", slice["ports"]!.ToJsonString());
        Assert.Equal(("web", "endpointslice-controller.k8s.io", "IPv4"), (slice.Label("kubernetes.io/service-name"), slice.Label("endpointslice.kubernetes.io/managed-by"), slice.Text("addressType")));
        Assert.Equal("web-uid", slice.Items("metadata", "ownerReferences").Single().Text("uid"));
    }

    [Fact]
    public void Families_and_ports_that_differ_stand_in_slices_of_their_own()
    {
        var dual = Pod("a", "10.0.0.1");
        dual["status"]!["podIPs"] = JsonNode.Parse("""[{"ip":"10.0.0.1"},{"ip":"fd00::1"}]""");
        var both = Reconcile(Service(), [dual, Pod("b", "10.0.0.2", port: 9090)]).Create;
        Assert.Equal("IPv4 8080 10.0.0.1|IPv4 9090 10.0.0.2|IPv6 8080 fd00::1", string.Join('|', both.Select(Show).Order(StringComparer.Ordinal)));
        var only = Reconcile(Service(""","ipFamilies":["IPv6"]"""), [dual]).Create;
        Assert.Equal("IPv6 8080 fd00::1", Show(Assert.Single(only)));
    }

    [Fact]
    public void Not_ready_ones_are_published_where_the_service_says_so()
        => Assert.True(Assert.Single(Reconcile(Service(""","publishNotReadyAddresses":true"""), [Pod("a", "10.0.0.1", ready: false)]).Create).Items("endpoints").Single().At("conditions").Flag(false, "ready"));

    [Fact]
    public void Nothing_is_written_when_nothing_changes()
    {
        List<JsonObject> pods = [Pod("a", "10.0.0.1"), Pod("b", "10.0.0.2")];
        var slices = Reconcile(Service(), pods).Create;
        pods.Reverse();
        var again = Reconcile(Service(), pods, slices);
        Assert.Empty(again.Create);
        Assert.Empty(again.Update);
        Assert.Empty(again.Delete);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Any_sequence_of_changes_ends_with_each_pod_in_one_slice_and_few_writes(int seed)
    {
        var random = new Random(seed);
        var pods = new Dictionary<int, JsonObject>();
        var slices = new Dictionary<string, JsonObject>(StringComparer.Ordinal);
        for (var step = 0; step < 60; step++)
        {
            var changes = 0;
            for (var i = random.Next(step == 0 ? 350 : 4); i >= 0; i--, changes++)
            {
                var number = random.Next(400);
                if (!pods.Remove(number))
                    pods[number] = Pod($"p{number}", $"10.0.{number / 200}.{1 + (number % 200)}");
            }

            var result = Reconcile(Service(), pods.Values, slices.Values);
            foreach (var slice in result.Create)
                Assert.True(slices.TryAdd(slice.Name(), slice), $"step {step}: {slice.Name()} is there already");
            foreach (var slice in result.Update)
                slices[slice.Name()] = slice;
            foreach (var slice in result.Delete)
                Assert.True(slices.Remove(slice.Name()));
            Assert.All(slices.Values, slice => Assert.InRange(slice.Items("endpoints").Count(), 1, EndpointSliceCore.EndpointsMax));
            Assert.Equal(pods.Keys.Select(number => $"p{number}").Order(StringComparer.Ordinal), slices.Values.SelectMany(slice => slice.Items("endpoints")).Select(one => one.Text("targetRef", "name")).Order(StringComparer.Ordinal));
            if (step > 0)
                Assert.InRange(result.Create.Count + result.Update.Count + result.Delete.Count, 0, changes);
        }
    }

    private static SliceChanges Reconcile(JsonObject service, IEnumerable<JsonObject> pods, IEnumerable<JsonObject>? existing = null)
        => EndpointSliceCore.Reconcile(service, pods, name => name == "up" ? s_node : null, existing ?? []);

    private static string Show(JsonObject slice)
        => $"{slice.Text("addressType")} {slice.Items("ports").Single().Number(0, "port")} {string.Join(',', slice.Items("endpoints").Select(one => one.Texts("addresses").Single()))}";

    private static JsonObject Service(string more = "") => Parse($$"""{"metadata":{"name":"web","namespace":"x","uid":"web-uid"},"spec":{"selector":{"app":"web"},"ports":[{"name":"http","port":80,"targetPort":"web"}]{{more}} } }""");

    private static JsonObject Pod(string name, string ip, bool ready = true, string node = "up", int port = 8080, string app = "web", string hostname = "") => Parse($$$"""
        {"metadata":{"name":"{{{name}}}","namespace":"x","uid":"{{{name}}}","labels":{"app":"{{{app}}}"} },
         "spec":{"nodeName":"{{{node}}}","hostname":"{{{hostname}}}","subdomain":"web","containers":[{"ports":[{"name":"web","containerPort":{{{port}}} }]}]},
         "status":{"podIP":"{{{ip}}}","conditions":[{"type":"Ready","status":"{{{(ready ? "True" : "False")}}}"}]} }
        """);

    private static JsonObject Parse(string json) => JsonNode.Parse(json)!.AsObject();
}
