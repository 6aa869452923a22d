namespace Edge.ApiServer.Tests.Controllers.Scheduling;

[Trait("Category", "Kubernetes")]
public sealed class PodAffinityTests
{
    private const string NoAffinity = "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.";

    /// <summary>The incoming pod's app and affinity, the app, namespace and affinity of the pod that runs on node a (zone 1), and where the incoming one goes (a, b zone 1; c zone 2).</summary>
    public static TheoryData<string, string, string, string, string, string> Cases { get; } = new()
    {
        { "web", Affine("zone", "db"), "db", "default", "{}", "b" },
        { "web", Affine("host", "db"), "db", "default", "{}", "a" },
        { "web", Affine("zone", "db"), "other", "default", "{}", NoAffinity },
        { "web", Affine("zone", "db"), "db", "elsewhere", "{}", NoAffinity },
        { "web", Affine("zone", "db", ",\"namespaces\":[\"elsewhere\"]"), "db", "elsewhere", "{}", "b" },
        { "web", Affine("zone", "db", ",\"namespaceSelector\":{}"), "db", "elsewhere", "{}", "b" },
        { "web", Affine("zone", "db", ",\"namespaceSelector\":{\"matchLabels\":{\"team\":\"x\"}}"), "db", "elsewhere", "{}", "b" },
        { "web", Affine("zone", "db", ",\"namespaceSelector\":{\"matchLabels\":{\"team\":\"y\"}}"), "db", "elsewhere", "{}", NoAffinity },
        { "web", Affine("rack", "db"), "db", "default", "{}", NoAffinity },

        // The first of a group that wants to be together.
        { "web", Affine("zone", "web"), "db", "default", "{}", "b" },
        { "web", Anti("zone", "db"), "db", "default", "{}", "c" },
        { "web", Anti("host", "db"), "db", "default", "{}", "b" },
        { "web", Anti("zone", "db"), "db", "elsewhere", "{}", "b" },

        // What runs keeps others away.
        { "web", "{}", "db", "default", Anti("zone", "web"), "c" },
        { "web", "{}", "db", "default", Anti("host", "web"), "b" },
        { "web", "{}", "db", "default", Anti("zone", "other"), "b" },

        // Wishes, of the pod and of what runs.
        { "web", Wish("podAffinity", "host", "db"), "db", "default", "{}", "a" },
        { "web", Wish("podAntiAffinity", "zone", "db"), "db", "default", "{}", "c" },
        { "web", "{}", "db", "default", Wish("podAffinity", "host", "web"), "a" },
        { "web", "{}", "db", "default", Wish("podAntiAffinity", "zone", "web"), "c" },
        { "web", "{}", "db", "default", Affine("host", "web"), "a" },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_pod_goes_where_its_company_and_that_of_others_allow(string app, string spec, string existing, string space, string existingSpec, string expected)
    {
        var sketch = new Sketch().Node("a", "1").Node("b", "1").Node("c", "2").Space("elsewhere", """{"team":"x"}""");
        sketch.On("a", sketch.Pod(existing, existingSpec, space));
        Assert.Equal(expected, sketch.Place(sketch.Pod(app, spec)));
    }

    [Fact]
    public void Why_not_is_said_in_the_words_of_Kubernetes()
    {
        var sketch = new Sketch().Node("a", "1").Node("b", "2");
        sketch.On("a", sketch.Pod("web")).On("b", sketch.Pod("db", Anti("zone", "web")));
        Assert.Equal(
            "0/2 nodes are available: 1 node(s) didn't match pod anti-affinity rules, 1 node(s) didn't satisfy existing pods anti-affinity rules.",
            sketch.Place(sketch.Pod("web", Anti("zone", "web"))));
    }

    [Fact]
    public void Every_term_of_the_affinity_must_be_met_by_one_pod()
    {
        var sketch = new Sketch().Node("a", "1");
        sketch.On("a", sketch.Pod("db")).On("a", sketch.Pod("cache"));
        var both = $$$$$$"""{"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{{{{{{Term("zone", "db")}}}}}},{{{{{{Term("zone", "cache")}}}}}}]}}}""";
        Assert.StartsWith("0/1 nodes are available", sketch.Place(sketch.Pod("web", both)), StringComparison.Ordinal);
    }

    [Fact]
    public void MatchLabelKeys_tells_the_revisions_of_a_workload_apart()
    {
        var sketch = new Sketch().Node("a", "1").Node("b", "2");
        var old = sketch.Pod("web");
        sketch.On("a", old);
        var spec = """{"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"zone","labelSelector":{},"matchLabelKeys":["app"]}]}}}""";
        Assert.Equal("b", sketch.Place(sketch.Pod("web", spec)));
        var other = sketch.Place(sketch.Pod("web2", spec));
        Assert.Contains(other, new[] { "a", "b" });
        sketch.On("b", sketch.Pod("web"));
        Assert.Equal("0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.", sketch.Place(sketch.Pod("web", spec)));
        Assert.Contains(sketch.Place(sketch.Pod("web2", spec)), new[] { "a", "b" });
    }

    [Fact]
    public void Ten_that_want_to_be_apart_take_ten_nodes_and_the_eleventh_waits()
    {
        var sketch = new Sketch();
        for (var i = 0; i < 10; i++)
            sketch.Node($"n{i}", "1");
        var used = Enumerable.Range(0, 10).Select(_ => sketch.Put(sketch.Pod("web", Anti("host", "web")))).ToHashSet();
        Assert.Equal(10, used.Count);
        Assert.Equal("0/10 nodes are available: 10 node(s) didn't match pod anti-affinity rules.", sketch.Place(sketch.Pod("web", Anti("host", "web"))));
    }

    private static string Term(string key, string app, string more = "") => $$$$$$"""{"topologyKey":"{{{{{{key}}}}}}","labelSelector":{"matchLabels":{"app":"{{{{{{app}}}}}}"}}{{{{{{more}}}}}}}""";

    private static string Affine(string key, string app, string more = "") => $$$$$$"""{"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{{{{{{Term(key, app, more)}}}}}}]}}}""";

    private static string Anti(string key, string app) => $$$$$$"""{"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{{{{{{Term(key, app)}}}}}}]}}}""";

    private static string Wish(string kind, string key, string app)
        => $$$$$$"""{"affinity":{"{{{{{{kind}}}}}}":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":100,"podAffinityTerm":{{{{{{Term(key, app)}}}}}}}]}}}""";
}
