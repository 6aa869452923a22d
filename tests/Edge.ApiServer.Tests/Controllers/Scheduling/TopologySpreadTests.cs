namespace Edge.ApiServer.Tests.Controllers.Scheduling;

[Trait("Category", "Kubernetes")]
public sealed class TopologySpreadTests
{
    private const string Skewed = "node(s) didn't match pod topology spread constraints";

    [Fact]
    public void Pods_are_spread_evenly_over_the_zones_and_within_them()
    {
        var sketch = new Sketch().Node("a1", "a").Node("a2", "a").Node("b1", "b").Node("c1", "c");
        var zones = Enumerable.Range(0, 9).Select(_ => sketch.Put(sketch.Pod("web", Spread("zone", 1)))[0]).ToList();
        Assert.Equal("abcabcabc", string.Concat(zones.Chunk(3).SelectMany(chunk => chunk.Order())));
    }

    [Theory]
    [InlineData(1, 0, "a1")]
    [InlineData(1, 1, "b1")]
    [InlineData(2, 1, "b1")]
    public void Skew_counts_over_the_zones_that_there_are(int maxSkew, int onA, string expected)
    {
        var sketch = new Sketch().Node("a1", "a").Node("b1", "b").Node("x", "");
        for (var i = 0; i < onA; i++)
            sketch.On("a1", sketch.Pod("web"));
        Assert.Equal(expected, sketch.Place(sketch.Pod("web", Spread("zone", maxSkew))));
    }

    [Fact]
    public void A_node_without_the_label_is_said_apart()
    {
        var sketch = new Sketch().Node("a1", "a").Node("b1", "b", "1").Node("x", "");
        sketch.On("a1", sketch.Pod("web"));
        Assert.Equal($"0/3 nodes are available: 1 Insufficient cpu, 1 {Skewed}, 1 {Skewed} (missing required label).", sketch.Place(sketch.Pod("web", Spread("zone", 1), cpu: "2")));
    }

    [Fact]
    public void Fewer_domains_than_minDomains_count_as_one_that_is_empty()
    {
        var sketch = new Sketch().Node("a", "a").Node("b", "b");
        sketch.On("a", sketch.Pod("web")).On("b", sketch.Pod("web"));
        Assert.Equal("a", sketch.Place(sketch.Pod("web", Spread("zone", 1, ",\"minDomains\":2"))));
        Assert.Equal($"0/2 nodes are available: 2 {Skewed}.", sketch.Place(sketch.Pod("web", Spread("zone", 1, ",\"minDomains\":3"))));
    }

    [Fact]
    public void A_node_that_the_pod_may_not_use_is_no_domain_unless_the_policy_says_so()
    {
        // Zone b is not for this pod; where it counts as a domain it holds the pod back.
        var sketch = new Sketch().Node("a", "a").Node("b", "b", extra: """{"taints":[{"key":"k","effect":"NoSchedule"}]}""");
        sketch.On("a", sketch.Pod("web"));
        Assert.Equal($"0/2 nodes are available: 1 {Skewed}, 1 node(s) had untolerated taint {{k: }}.", sketch.Place(sketch.Pod("web", Spread("zone", 1))));
        Assert.Equal("a", sketch.Place(sketch.Pod("web", Spread("zone", 1, ",\"nodeTaintsPolicy\":\"Honor\""))));

        static string OnlyA(string spec) => "{\"nodeSelector\":{\"zone\":\"a\"}," + spec[1..];
        Assert.Equal("a", sketch.Place(sketch.Pod("web", OnlyA(Spread("zone", 1)))));
        Assert.StartsWith("0/2", sketch.Place(sketch.Pod("web", OnlyA(Spread("zone", 1, ",\"nodeAffinityPolicy\":\"Ignore\"")))), StringComparison.Ordinal);
    }

    [Fact]
    public void Only_pods_of_the_selector_of_the_namespace_and_that_stay_count()
    {
        var sketch = new Sketch().Node("a", "a").Node("b", "b");
        sketch.On("b", sketch.Pod("web")).On("b", sketch.Pod("web"));
        sketch.On("a", sketch.Pod("db")).On("a", sketch.Pod("web", space: "other")).On("a", sketch.Pod("web", isDeleting: true)).On("a", sketch.Pod("web", isDeleting: true)).On("a", sketch.Pod("web", isDeleting: true));
        Assert.Equal("a", sketch.Place(sketch.Pod("web", Spread("zone", 1))));
    }

    [Fact]
    public void ScheduleAnyway_is_a_wish_and_a_full_zone_is_no_obstacle()
    {
        var sketch = new Sketch().Node("a", "a", "8").Node("b", "b", "1");
        sketch.On("a", sketch.Pod("web", cpu: "1"));
        var spec = Spread("zone", 1).Replace("DoNotSchedule", "ScheduleAnyway", StringComparison.Ordinal);
        Assert.Equal("b", sketch.Put(sketch.Pod("web", spec, cpu: "1")));
        Assert.Equal("a", sketch.Put(sketch.Pod("web", spec, cpu: "1")));
        Assert.Equal("a", sketch.Put(sketch.Pod("web", spec, cpu: "1")));
    }

    [Fact]
    public void Pods_of_one_controller_spread_by_themselves()
    {
        // The node that has one of the set already has more room.
        var sketch = new Sketch().Node("a", "", "64").Node("b", "", "64");
        sketch.On("a", sketch.Pod("web", cpu: "1", owner: "set")).On("b", sketch.Pod("other", cpu: "4"));
        Assert.Equal("b", sketch.Place(sketch.Pod("web", cpu: "1", owner: "set")));
        Assert.Equal("a", sketch.Place(sketch.Pod("web", cpu: "1", owner: "another")));
        Assert.Equal("a", sketch.Place(sketch.Pod("web", cpu: "1")));
    }

    private static string Spread(string key, int maxSkew, string more = "")
        => $$$$$$"""{"topologySpreadConstraints":[{"maxSkew":{{{{{{maxSkew}}}}}},"topologyKey":"{{{{{{key}}}}}}","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"web"}}{{{{{{more}}}}}}}]}""";
}
