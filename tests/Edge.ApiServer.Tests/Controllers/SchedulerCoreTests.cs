using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Scheduling;

namespace Edge.ApiServer.Tests;

[Trait("Category", "Kubernetes")]
public sealed class SchedulerCoreTests
{
    private const string Ready = """{"metadata":{"name":"n","labels":{"zone":"a","cores":"8"}},"spec":{},"status":{"allocatable":{"cpu":"2","memory":"1Gi","pods":"3","ephemeral-storage":"1Gi","example.com/dongle":"1"},"conditions":[{"type":"Ready","status":"True"}]}}""";

    /// <summary>Node (as a merge patch over a ready one), pod spec, the pods already there, and what is said; empty when the pod fits.</summary>
    public static TheoryData<string, string, string, string> Cases { get; } = new()
    {
        { "{}", "{}", "[]", "" },
        { """{"spec":{"unschedulable":true}}""", "{}", "[]", "1 node(s) were unschedulable" },
        { """{"spec":{"unschedulable":true}}""", """{"tolerations":[{"key":"node.kubernetes.io/unschedulable","operator":"Exists"}]}""", "[]", "" },
        { """{"status":{"conditions":[{"type":"Ready","status":"False"}]}}""", "{}", "[]", "1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }" },
        { """{"status":{"conditions":null}}""", "{}", "[]", "1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }" },
        { """{"spec":{"taints":[{"key":"k","value":"v","effect":"NoSchedule"}]}}""", "{}", "[]", "1 node(s) had untolerated taint {k: v}" },
        { """{"spec":{"taints":[{"key":"k","value":"v","effect":"NoExecute"}]}}""", """{"tolerations":[{"key":"k","value":"v","effect":"NoSchedule"}]}""", "[]", "1 node(s) had untolerated taint {k: v}" },
        { """{"spec":{"taints":[{"key":"k","value":"v","effect":"NoSchedule"}]}}""", """{"tolerations":[{"key":"k","value":"v"}]}""", "[]", "" },
        { """{"spec":{"taints":[{"key":"k","value":"v","effect":"NoSchedule"}]}}""", """{"tolerations":[{"operator":"Exists"}]}""", "[]", "" },
        { """{"spec":{"taints":[{"key":"k","value":"v","effect":"NoSchedule"}]}}""", """{"tolerations":[{"key":"k","operator":"Equal","value":"w"}]}""", "[]", "1 node(s) had untolerated taint {k: v}" },
        { """{"spec":{"taints":[{"key":"k","value":"v","effect":"PreferNoSchedule"}]}}""", "{}", "[]", "" },
        { "{}", """{"nodeSelector":{"zone":"a"}}""", "[]", "" },
        { "{}", """{"nodeSelector":{"zone":"b"}}""", "[]", "1 node(s) didn't match Pod's node affinity/selector" },
        { "{}", Affinity("""{"key":"zone","operator":"In","values":["b","a"]}"""), "[]", "" },
        { "{}", Affinity("""{"key":"zone","operator":"NotIn","values":["a"]}"""), "[]", "1 node(s) didn't match Pod's node affinity/selector" },
        { "{}", Affinity("""{"key":"gpu","operator":"Exists"}"""), "[]", "1 node(s) didn't match Pod's node affinity/selector" },
        { "{}", Affinity("""{"key":"gpu","operator":"DoesNotExist"}"""), "[]", "" },
        { "{}", Affinity("""{"key":"cores","operator":"Gt","values":["4"]}"""), "[]", "" },
        { "{}", Affinity("""{"key":"cores","operator":"Lt","values":["8"]}"""), "[]", "1 node(s) didn't match Pod's node affinity/selector" },
        { "{}", Asks("cpu", "2"), "[]", "" },
        { "{}", Asks("cpu", "2001m"), "[]", "1 Insufficient cpu" },
        { "{}", Asks("cpu", "1"), $"[{Asks("cpu", "1500m")}]", "1 Insufficient cpu" },
        { "{}", Asks("memory", "1025Mi"), "[]", "1 Insufficient memory" },
        { "{}", Asks("ephemeral-storage", "2Gi"), "[]", "1 Insufficient ephemeral-storage" },
        { "{}", Asks("example.com/dongle", "1"), "[]", "" },
        { "{}", Asks("example.com/dongle", "1"), $"[{Asks("example.com/dongle", "1")}]", "1 Insufficient example.com/dongle" },
        { "{}", Asks("example.com/other", "1"), "[]", "1 Insufficient example.com/other" },
        { "{}", """{"containers":[{"resources":{"limits":{"cpu":"3"}}}]}""", "[]", "1 Insufficient cpu" },
        { "{}", """{"containers":[{"resources":{"requests":{"cpu":3,"memory":"2Gi"}}}]}""", "[]", "1 Insufficient cpu, 1 Insufficient memory" },
        { "{}", """{"initContainers":[{"resources":{"requests":{"cpu":"3"}}}],"containers":[{"resources":{"requests":{"cpu":"1"}}}]}""", "[]", "1 Insufficient cpu" },
        { "{}", """{"initContainers":[{"restartPolicy":"Always","resources":{"requests":{"cpu":"1500m"}}}],"containers":[{"resources":{"requests":{"cpu":"1"}}}]}""", "[]", "1 Insufficient cpu" },
        { "{}", """{"initContainers":[{"resources":{"requests":{"cpu":"2"}}}],"containers":[{"resources":{"requests":{"cpu":"1"}}}]}""", "[]", "" },
        { "{}", """{"overhead":{"cpu":"1"},"containers":[{"resources":{"requests":{"cpu":"1500m"}}}]}""", "[]", "1 Insufficient cpu" },
        { "{}", "{}", "[{},{},{}]", "1 Too many pods" },
        { "{}", Port(80, "", ""), $"[{Port(80, "", "")}]", "1 node(s) didn't have free ports for the requested pod ports" },
        { "{}", Port(80, "UDP", ""), $"[{Port(80, "TCP", "")}]", "" },
        { "{}", Port(80, "", "127.0.0.1"), $"[{Port(80, "", "127.0.0.2")}]", "" },
        { "{}", Port(80, "", "127.0.0.1"), $"[{Port(80, "", "0.0.0.0")}]", "1 node(s) didn't have free ports for the requested pod ports" },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_pod_fits_or_the_message_says_why_not(string nodePatch, string podSpec, string others, string said)
    {
        var info = new NodeInfo(Merge(JsonNode.Parse(Ready)!.AsObject(), JsonNode.Parse(nodePatch)!.AsObject()));
        foreach (var other in JsonNode.Parse(others)!.AsArray())
            info.Add(Pod(other!.ToJsonString()));
        var placement = SchedulerCore.Place(Pod(podSpec), [info]);
        Assert.Equal(said.Length == 0 ? new Placement("n", "") : new Placement(null, $"0/1 nodes are available: {said}."), placement);
    }

    [Fact]
    public void Reasons_of_several_nodes_are_counted_and_sorted_as_in_Kubernetes()
    {
        var nodes = new[] { "{}", "{}", """{"metadata":{"labels":{"zone":"b"}}}""" }.Select(patch => new NodeInfo(Merge(JsonNode.Parse(Ready)!.AsObject(), JsonNode.Parse(patch)!.AsObject()))).ToList();
        Assert.Equal(
            "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 Insufficient cpu.",
            SchedulerCore.Place(Pod("""{"nodeSelector":{"zone":"a"},"containers":[{"resources":{"requests":{"cpu":"9"}}}]}"""), nodes).Message);
        Assert.Equal("no nodes available to schedule pods", SchedulerCore.Place(Pod("{}"), []).Message);
    }

    [Theory]
    [InlineData("{}", "{}", "a")]
    [InlineData("""{"spec":{"taints":[{"key":"k","effect":"PreferNoSchedule"}]}}""", "{}", "b")]
    [InlineData("""{"status":{"allocatable":{"cpu":"500m","memory":"512Mi"}}}""", "{}", "b")]
    [InlineData("""{"metadata":{"labels":{"zone":"z"}}}""", """{"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":5,"preference":{"matchExpressions":[{"key":"zone","operator":"In","values":["a"]}]}}]}}}""", "b")]
    public void The_better_of_two_nodes_that_fit_is_chosen(string patchOfA, string podSpec, string chosen)
    {
        var a = Merge(JsonNode.Parse(Ready)!.AsObject(), JsonNode.Parse(patchOfA)!.AsObject());
        var b = JsonNode.Parse(Ready)!.AsObject();
        a["metadata"]!["name"] = "a";
        b["metadata"]!["name"] = "b";
        Assert.Equal(chosen, SchedulerCore.Place(Pod(podSpec), [new NodeInfo(b), new NodeInfo(a)]).Node);
    }

    [Fact]
    public void Pods_spread_over_equal_nodes()
    {
        var nodes = new[] { "a", "b", "c" }.Select(name =>
        {
            var node = JsonNode.Parse(Ready)!.AsObject();
            node["metadata"]!["name"] = name;
            return new NodeInfo(node);
        }).ToList();
        for (var i = 0; i < 9; i++)
        {
            var placed = SchedulerCore.Place(Pod("{}"), nodes).Node;
            nodes.Find(node => node.Name == placed)!.Add(Pod("{}"));
        }

        Assert.All(nodes, node => Assert.Equal(3, node.Pods.Count));
    }

    private static string Asks(string resource, string quantity) => $$$$$$"""{"containers":[{"resources":{"requests":{"{{{{{{resource}}}}}}":"{{{{{{quantity}}}}}}"}}}]}""";

    private static string Port(int port, string protocol, string ip) => $$$"""{"containers":[{"ports":[{"containerPort":1,"hostPort":{{{port}}},"protocol":"{{{protocol}}}","hostIP":"{{{ip}}}"}]}]}""";

    private static string Affinity(string expression)
        => $$$$$$"""{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{{{{{{expression}}}}}}]}]}}}}""";

    private static JsonObject Pod(string spec) => new() { ["metadata"] = new JsonObject { ["name"] = "p" }, ["spec"] = JsonNode.Parse(spec) };

    private static JsonObject Merge(JsonObject target, JsonObject patch)
    {
        foreach (var (key, value) in patch)
        {
            if (value is JsonObject nested && target[key] is JsonObject existing)
                Merge(existing, nested);
            else
                target[key] = value?.DeepClone();
        }

        return target;
    }
}
