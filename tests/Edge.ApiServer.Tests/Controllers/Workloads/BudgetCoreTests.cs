using Edge.ApiServer.Controllers.Workloads;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Controllers.Workloads;

[Trait("Category", "Unit")]
public sealed class BudgetCoreTests
{
    private readonly FakeCluster _cluster = new();

    private System.Text.Json.Nodes.JsonNode? Status(string spec)
    {
        _cluster.Add(ResourceKind.ReplicaSet, """{"metadata":{"name":"r"},"spec":{"replicas":4,"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}""");
        _cluster.Settle(ResourceKind.ReplicaSet, "r", ReplicaSetCore.Reconcile);
        _cluster.Run(pod => pod != _cluster.Alive.First());
        _cluster.Add(ResourceKind.PodDisruptionBudget, $$$$$$$$"""{"metadata":{"name":"b"},"spec":{"selector":{"matchLabels":{"app":"x"}},{{{{{{{{spec}}}}}}}}}}""");
        _cluster.Settle(ResourceKind.PodDisruptionBudget, "b", BudgetCore.Reconcile);
        return _cluster.Get(ResourceKind.PodDisruptionBudget, "b")["status"];
    }

    [Theory]
    [InlineData("\"minAvailable\":2", 4, 2, 1)]
    [InlineData("\"minAvailable\":\"60%\"", 4, 3, 0)]
    [InlineData("\"maxUnavailable\":1", 4, 3, 0)]
    [InlineData("\"maxUnavailable\":\"50%\"", 4, 2, 1)]
    public void What_may_go_is_what_is_healthy_beyond_what_must_be(string spec, long expected, long desired, long allowed)
    {
        var status = Status(spec); // three of four are ready
        Assert.Equal((expected, 3, desired, allowed), (status.Number(-1, "expectedPods"), status.Number(-1, "currentHealthy"), status.Number(-1, "desiredHealthy"), status.Number(-1, "disruptionsAllowed")));
        Assert.Equal(allowed > 0 ? "SufficientPods" : "InsufficientPods", status.Items("conditions").Single().Text("reason"));
    }

    [Fact]
    public void An_allowed_eviction_counts_until_its_pod_goes_or_two_minutes_have_passed()
    {
        Assert.Equal(1, Status("\"minAvailable\":2").Number(0, "disruptionsAllowed"));
        var pod = _cluster.Alive.First(PodFacts.IsReady).Name();
        _cluster.Patch(ResourceKind.PodDisruptionBudget, "b", $$$$$$$$"""{"status":{"disruptionsAllowed":0,"disruptedPods":{"{{{{{{{{pod}}}}}}}}":"{{{{{{{{KubeObject.Time(_cluster.Now)}}}}}}}}"}}}""");
        _cluster.Settle(ResourceKind.PodDisruptionBudget, "b", BudgetCore.Reconcile);
        Assert.Equal(0, _cluster.Get(ResourceKind.PodDisruptionBudget, "b").Number(-1, "status", "disruptionsAllowed"));
        _cluster.Now = _cluster.Now.AddSeconds(121);
        _cluster.Settle(ResourceKind.PodDisruptionBudget, "b", BudgetCore.Reconcile);
        Assert.Equal(1, _cluster.Get(ResourceKind.PodDisruptionBudget, "b").Number(-1, "status", "disruptionsAllowed"));
    }
}
