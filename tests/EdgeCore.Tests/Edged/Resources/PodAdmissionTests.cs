using System.Text.Json.Nodes;
using Edge.Core.Edged.Admission;
using Edge.Kubernetes;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Unit")]
public sealed class PodAdmissionTests
{
    private static readonly Dictionary<string, Quantity> s_allocatable = new()
    {
        ["cpu"] = Quantity.Parse("2"), ["memory"] = Quantity.Parse("1Gi"), ["pods"] = Quantity.Parse("3"), ["ephemeral-storage"] = Quantity.Parse("10Gi"),
    };

    private static readonly JsonObject s_node = (JsonObject)JsonNode.Parse("""
        {"metadata":{"name":"n","labels":{"zone":"a"}},"spec":{"taints":[
          {"key":"node.kubernetes.io/unreachable","effect":"NoExecute"},{"key":"maintenance","value":"soon","effect":"NoSchedule"}]}}
        """)!;

    [Fact]
    public void A_pod_that_fits_is_admitted_to_the_last_of_each_resource()
        => Assert.Null(Check("""{"containers":[{"resources":{"requests":{"cpu":"1500m","memory":"768Mi"}}}]}""", """{"containers":[{"resources":{"requests":{"cpu":"500m","memory":"256Mi"}}}]}"""));

    [Theory]
    [InlineData("""{"requests":{"cpu":"1501m"}}""", "OutOfcpu", "Node didn't have enough resource: cpu, requested: 1501, used: 500, capacity: 2000")]
    [InlineData("""{"limits":{"memory":"769Mi"}}""", "OutOfmemory", "Node didn't have enough resource: memory, requested: 806354944, used: 268435456, capacity: 1073741824")]
    [InlineData("""{"requests":{"ephemeral-storage":"11Gi"}}""", "OutOfephemeral-storage", "Node didn't have enough resource: ephemeral-storage, requested: 11811160064, used: 0, capacity: 10737418240")]
    public void A_pod_that_asks_for_more_than_is_left_is_refused_with_a_kubelets_words(string resources, string reason, string message)
    {
        var refusal = Check($$$"""{"containers":[{"resources":{{{resources}}}}]}""", """{"containers":[{"resources":{"requests":{"cpu":"500m","memory":"256Mi"}}}]}""");
        Assert.Equal((reason, message, "Pod was rejected: " + message), (refusal?.Reason, refusal?.Message, refusal?.StatusMessage));
    }

    [Fact]
    public void A_pod_too_many_is_refused()
        => Assert.Equal(
            new AdmissionRefusal("OutOfpods", "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"),
            Check("""{"containers":[{}]}""", """{"containers":[{}]}""", """{"containers":[{}]}""", """{"containers":[{}]}"""));

    [Theory]
    [InlineData("""{"containers":[{}],"nodeSelector":{"zone":"b"}}""", "NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")]
    [InlineData("""{"containers":[{"ports":[{"hostPort":80,"containerPort":8080}]}]}""", "NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports")]
    public void A_pod_that_does_not_suit_the_node_is_refused(string spec, string reason, string message)
        => Assert.Equal(new AdmissionRefusal(reason, message), Check(spec, """{"containers":[{"ports":[{"hostPort":80,"containerPort":80}]}]}"""));

    [Fact]
    public void Only_an_untolerated_NoExecute_taint_refuses_and_not_that_the_node_was_lost()
    {
        Assert.Null(Check("""{"containers":[{}]}"""));
        var tainted = (JsonObject)s_node.DeepClone();
        tainted["spec"]!["taints"]!.AsArray().Add((JsonNode)new JsonObject { ["key"] = "k", ["effect"] = "NoExecute" });
        Assert.Equal("TaintToleration", PodAdmission.Check(Pod("""{"containers":[{}]}"""), tainted, s_allocatable, [], new HashSet<string>())?.Reason);
        Assert.Null(PodAdmission.Check(Pod("""{"containers":[{}],"tolerations":[{"key":"k","operator":"Exists"}]}"""), tainted, s_allocatable, [], new HashSet<string>()));
        Assert.Null(PodAdmission.Check(Pod("""{"containers":[{}]}"""), null, s_allocatable, [], new HashSet<string>()));
    }

    [Theory]
    [InlineData("MemoryPressure", """{"containers":[{}]}""", "The node had condition: [MemoryPressure]. ")]
    [InlineData("MemoryPressure", """{"containers":[{"resources":{"requests":{"memory":"1Mi"}}}]}""", null)]
    [InlineData("DiskPressure", """{"containers":[{"resources":{"requests":{"memory":"1Mi"}}}]}""", "The node had condition: [DiskPressure]. ")]
    [InlineData("DiskPressure", """{"priority":2000000000,"containers":[{}]}""", null)]
    public void Under_pressure_a_node_takes_only_what_does_not_make_it_worse(string pressure, string spec, string? message)
    {
        var refusal = PodAdmission.Check(Pod(spec), s_node, s_allocatable, [], new HashSet<string> { pressure });
        Assert.Equal(message is null ? (null, null) : ("Evicted", message), (refusal?.Reason, refusal?.Message));
    }

    private static JsonObject Pod(string spec) => new() { ["metadata"] = new JsonObject { ["name"] = "p" }, ["spec"] = JsonNode.Parse(spec) };

    private static AdmissionRefusal? Check(string spec, params string[] others)
        => PodAdmission.Check(Pod(spec), s_node, s_allocatable, [.. others.Select(Pod)], new HashSet<string>());
}
