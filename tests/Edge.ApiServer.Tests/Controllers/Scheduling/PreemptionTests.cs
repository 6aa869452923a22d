using System.Diagnostics;
using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Scheduling;
using Edge.Kubernetes;
using Xunit.Abstractions;

namespace Edge.ApiServer.Tests.Controllers.Scheduling;

[Trait("Category", "Kubernetes")]
public sealed class PreemptionTests(ITestOutputHelper output)
{
    [Fact]
    public void The_fewest_and_least_important_leave()
    {
        var sketch = new Sketch().Node("a", "").Node("b", "").Node("c", "");
        sketch.On("a", sketch.Pod("mid", priority: 5, cpu: "4"));
        sketch.On("b", sketch.Pod("low1", priority: 1, cpu: "2")).On("b", sketch.Pod("low2", priority: 1, cpu: "2"));
        sketch.On("c", sketch.Pod("low3", priority: 1, cpu: "2")).On("c", sketch.Pod("top", priority: 10, cpu: "2"));
        Assert.Equal("a: mid", Victims(sketch, sketch.Pod("new", priority: 7, cpu: "4"), lowerThan: "b"));
        Assert.Equal("b: low2", Victims(sketch, sketch.Pod("new", priority: 7, cpu: "2")));
        Assert.Equal("b: low1 low2", Victims(sketch, sketch.Pod("new", priority: 7, cpu: "3")));
        Assert.Equal("c: top low3", Victims(sketch, sketch.Pod("new", """{"nodeSelector":{"host":"c"}}""", priority: 11, cpu: "4")));
    }

    [Fact]
    public void Who_need_not_leave_stays_the_more_important_first()
    {
        var sketch = new Sketch().Node("a", "");
        foreach (var (name, priority) in new[] { ("one", 1), ("two", 2), ("three", 3), ("four", 4) })
            sketch.On("a", sketch.Pod(name, priority: priority, cpu: "1"));
        Assert.Equal("a: one", Victims(sketch, sketch.Pod("new", priority: 9, cpu: "1")));
        Assert.Equal("a: two one", Victims(sketch, sketch.Pod("new", priority: 9, cpu: "2")));
        Assert.Equal("a: two one", Victims(sketch, sketch.Pod("new", priority: 3, cpu: "2")));
        Assert.Equal("preemption: 0/1 nodes are available: 1 Insufficient cpu.", Victims(sketch, sketch.Pod("new", priority: 3, cpu: "3")));
        Assert.Equal("preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.", Victims(sketch, sketch.Pod("new", priority: 1, cpu: "1")));
        Assert.Equal("preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.", Victims(sketch, sketch.Pod("new", priority: 9, cpu: "5")));
        Assert.Equal("preemption: not eligible due to preemptionPolicy=Never.", Victims(sketch, sketch.Pod("new", """{"preemptionPolicy":"Never"}""", priority: 9, cpu: "1")));
    }

    [Fact]
    public void A_budget_is_violated_only_where_nothing_else_helps()
    {
        var sketch = new Sketch().Node("a", "").Node("b", "");
        sketch.On("a", sketch.Pod("kept", priority: 1, cpu: "4")).On("b", sketch.Pod("free", priority: 3, cpu: "4"));
        var budget = Json.Object("""{"metadata":{"namespace":"default"},"spec":{"selector":{"matchLabels":{"app":"kept"}}},"status":{"disruptionsAllowed":0}}""");
        Assert.Equal("a: kept", Victims(sketch, sketch.Pod("new", priority: 9, cpu: "1")));
        Assert.Equal("b: free", Victims(sketch, sketch.Pod("new", priority: 9, cpu: "1"), budgets: budget));
        Assert.Equal("a: kept", Victims(sketch, sketch.Pod("new", """{"nodeSelector":{"host":"a"}}""", priority: 9, cpu: "1"), budgets: budget));
        budget["status"]!["disruptionsAllowed"] = 1;
        Assert.Equal("a: kept", Victims(sketch, sketch.Pod("new", priority: 9, cpu: "1"), budgets: budget));
    }

    [Fact]
    public void Who_keeps_others_away_leaves_too()
    {
        const string anti = """{"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"host","labelSelector":{"matchLabels":{"app":"new"}}}]}}}""";
        const string spread = """{"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"host","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"web"}}}]}""";
        var sketch = new Sketch().Node("a", "");
        sketch.On("a", sketch.Pod("alone", anti, priority: 1)).On("a", sketch.Pod("other", priority: 1));
        Assert.Equal("a: alone", Victims(sketch, sketch.Pod("new", priority: 2)));
        sketch = new Sketch().Node("a", "").Node("b", "", "1");
        sketch.On("a", sketch.Pod("web", priority: 1));
        Assert.Equal("a: web", Victims(sketch, sketch.Pod("web", spread, priority: 2, cpu: "2")));
        var verdict = SchedulerCore.Decide(sketch.Pod("web", spread, priority: 2, cpu: "2"), sketch.View());
        Assert.Equal("0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints.", verdict.Message);
    }

    [Fact]
    public void A_thousand_pods_find_their_places_among_a_thousand_nodes()
    {
        const string spec = """
            {"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"host","labelSelector":{"matchLabels":{"app":"web"}}}]}},
             "topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"web"}}}],
             "tolerations":[{"key":"k","operator":"Exists"}]}
            """;
        foreach (var (what, podSpec) in new[] { ("plain", "{}"), ("with anti-affinity and spread", spec) })
        {
            var sketch = new Sketch();
            for (var i = 0; i < 1000; i++)
                sketch.Node($"n{i:000}", $"z{i % 10}", extra: """{"taints":[{"key":"k","effect":"PreferNoSchedule"}]}""");
            var view = sketch.View();
            var pods = Enumerable.Range(0, 1000).Select(_ => sketch.Pod("web", podSpec, cpu: "100m", owner: "set")).ToList();
            using var process = Process.GetCurrentProcess();
            var (clock, cpu) = (Stopwatch.StartNew(), process.TotalProcessorTime);
            foreach (var pod in pods)
                SchedulerCore.Decide(pod, view).Node!.Add(pod);
            process.Refresh();
            output.WriteLine($"1,000 pods over 1,000 nodes, {what}: {clock.Elapsed.TotalSeconds:0.00} s, {(process.TotalProcessorTime - cpu).TotalSeconds:0.00} s of processor time");
            Assert.All(view.Nodes, node => Assert.Single(node.Pods));
        }
    }

    private static string Victims(Sketch sketch, PodInfo pod, string lowerThan = "", params JsonObject[] budgets)
    {
        var view = lowerThan.Length == 0 ? sketch.View() : new ClusterView([.. sketch.View().Nodes.Where(node => string.CompareOrdinal(node.Name, lowerThan) < 0)]);
        var found = Preemption.Find(pod, view, SchedulerCore.Decide(pod, view), budgets);
        return found.Node is null ? found.Message : $"{found.Node.Name}: {string.Join(' ', found.Victims.Select(victim => victim.Labels["app"]))}";
    }
}
