using System.Text.Json.Nodes;
using Edge.ApiServer.Admission;
using Edge.ApiServer.Storage;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;
using Quantity = Edge.ApiServer.Validation.Quantity;

namespace Edge.ApiServer.Tests.Admission;

[Trait("Category", "Unit")]
public sealed class QuotaCoreTests
{
    private static readonly ResourceId s_pods = new("", "pods");

    [Fact]
    public void A_pod_counts_as_all_that_runs_together_or_its_largest_step()
    {
        var pod = Json.Object("""
            {"spec":{"overhead":{"cpu":"50m"},
             "initContainers":[{"name":"side","restartPolicy":"Always","resources":{"requests":{"cpu":"100m"}}},{"name":"init","resources":{"requests":{"cpu":"2"},"limits":{"memory":"1Gi"}}}],
             "containers":[{"name":"a","resources":{"requests":{"cpu":"300m","memory":"64Mi","nvidia.com/gpu":"1"},"limits":{"memory":"128Mi"}}},{"name":"b","resources":{"requests":{"cpu":"200m"}}}]}}
            """);
        var usage = QuotaUsage.Of(s_pods, pod).Usage;
        Assert.Equal(2.15m, usage["requests.cpu"]); // 2 of the init container, its sidecar's 0.1 beside it, 0.05 overhead
        Assert.Equal(2.15m, usage["cpu"]);
        Assert.Equal(64m * 1024 * 1024, usage["requests.memory"]);
        Assert.Equal(1024m * 1024 * 1024, usage["limits.memory"]);
        Assert.Equal(1, usage["requests.nvidia.com/gpu"]);
        Assert.Equal((1m, 1m), (usage["pods"], usage["count/pods"]));
        pod["status"] = new JsonObject { ["phase"] = "Succeeded" };
        Assert.Equal(["count/pods"], QuotaUsage.Of(s_pods, pod).Usage.Keys);
    }

    [Fact]
    public void Services_claims_and_other_kinds_count_by_their_names()
    {
        var service = QuotaUsage.Of(new("", "services"), Json.Object("""{"spec":{"type":"LoadBalancer","ports":[{},{}]}}""")).Usage;
        Assert.Equal((1m, 1m, 2m), (service["services"], service["services.loadbalancers"], service["services.nodeports"]));
        var claim = QuotaUsage.Of(new("", "persistentvolumeclaims"), Json.Object("""{"spec":{"storageClassName":"fast","resources":{"requests":{"storage":"2Gi"}}}}""")).Usage;
        Assert.Equal(2m * 1024 * 1024 * 1024, claim["fast.storageclass.storage.k8s.io/requests.storage"]);
        Assert.Equal(1, QuotaUsage.Of(new("apps", "deployments"), []).Usage["count/deployments.apps"]);
        Assert.Equal(["deployments.apps", "services", "persistentvolumeclaims", "pods", "secrets"],
            ((string[])["count/deployments.apps", "services.nodeports", "fast.storageclass.storage.k8s.io/requests.storage", "limits.cpu", "secrets"]).Select(QuotaUsage.ResourceOf));
    }

    [Fact]
    public void What_goes_beyond_is_refused_in_Kubernetes_words()
    {
        var core = new QuotaCore();
        core.SetQuota(Quota("q", """{"hard":{"requests.cpu":"1","pods":"10"}}"""));
        Assert.Null(core.TryReserve("a", Pod("600m"), null));
        Assert.Equal("exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1", core.TryReserve("b", Pod("500m"), null));
        var silent = Json.Object("""{"spec":{"containers":[{"name":"c1"},{"name":"c2","resources":{"requests":{"cpu":"1"}}}]}}""");
        Assert.Equal("failed quota: q: must specify requests.cpu for: c1", core.TryReserve("c", QuotaUsage.Of(s_pods, silent), silent));
        core.Release("a");
        Assert.Null(core.TryReserve("b", Pod("1"), null));
        Assert.Equal("""{"hard":{"requests.cpu":"1","pods":"10"},"used":{"requests.cpu":"1","pods":"1"}}""", core.Status("q")!.ToJsonString());
    }

    [Fact]
    public void A_quota_that_came_later_may_be_over_its_limit_and_only_more_is_refused()
    {
        var core = new QuotaCore();
        core.SetQuota(Quota("first", """{"hard":{"pods":"9"}}"""));
        core.Put("a", Pod("2"));
        core.SetQuota(Quota("q", """{"hard":{"requests.cpu":"1"}}"""));
        Assert.Equal(2, core.Used("q")["requests.cpu"]);
        Assert.Null(core.TryReserve("a", Pod("2"), null)); // no more than it has
        core.Put("a", Pod("1"));
        Assert.NotNull(core.TryReserve("a", Pod("1100m"), null));
        Assert.NotNull(core.TryReserve("b", Pod("1m"), null));
        core.Remove("a");
        Assert.Null(core.TryReserve("b", Pod("1m"), null));
    }

    [Fact]
    public void Scopes_select_pods()
    {
        var core = new QuotaCore();
        core.SetQuota(Quota("best", """{"hard":{"pods":"1"},"scopes":["BestEffort"]}"""));
        core.SetQuota(Quota("high", """{"hard":{"pods":"1"},"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"In","values":["high"]}]}}"""));
        core.SetQuota(Quota("short", """{"hard":{"pods":"1"},"scopes":["Terminating"]}"""));
        QuotaCharge Of(string spec) => QuotaUsage.Of(s_pods, Json.Object($$"""{"spec":{{spec}}}"""));
        Assert.Null(core.TryReserve("a", Of("""{"containers":[{"name":"c"}]}"""), null));
        Assert.Contains("exceeded quota: best", core.TryReserve("b", Of("""{"containers":[{"name":"c"}]}"""), null), StringComparison.Ordinal);
        Assert.Null(core.TryReserve("c", Pod("1"), null));
        Assert.Null(core.TryReserve("d", Of("""{"priorityClassName":"high","containers":[{"name":"c","resources":{"requests":{"cpu":1}}}]}"""), null));
        Assert.Contains("exceeded quota: high", core.TryReserve("e", Of("""{"priorityClassName":"high","containers":[{"name":"c","resources":{"requests":{"cpu":1}}}]}"""), null), StringComparison.Ordinal);
        Assert.Null(core.TryReserve("f", Of("""{"activeDeadlineSeconds":1,"containers":[{"name":"c","resources":{"requests":{"cpu":1}}}]}"""), null));
        Assert.Equal((1m, 1m, 1m), (core.Used("best")["pods"], core.Used("high")["pods"], core.Used("short")["pods"]));
    }

    /// <summary>Writers that interleave at random, with failures: what is stored and under way never exceeds the limit, and the count is always that of a plain sum.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Whatever_the_order_of_writes_no_quota_is_passed_and_the_count_is_exact(int seed)
    {
        var random = new Random(seed);
        var core = new QuotaCore();
        core.SetQuota(Quota("cpu", """{"hard":{"requests.cpu":"5"}}"""));
        core.SetQuota(Quota("count", """{"hard":{"pods":"12"}}"""));
        var (stored, underWay, next) = (new Dictionary<string, decimal>(), new Dictionary<string, decimal>(), 0);
        for (var step = 0; step < 3000; step++)
        {
            var cpu = random.Next(1, 15) / 10m;
            switch (random.Next(5))
            {
                case 0 or 1:
                    var fresh = $"p{next++}";
                    if (core.TryReserve(fresh, Pod(Quantity.Format(cpu, false)), null) is null)
                        underWay[fresh] = cpu;
                    break;
                case 2 when underWay.Count > 0: // a write is done, or fails
                    var (uid, value) = underWay.ElementAt(random.Next(underWay.Count));
                    underWay.Remove(uid);
                    if (random.Next(3) > 0)
                        core.Put(uid, Pod(Quantity.Format(stored[uid] = value, false)));
                    else
                        core.Release(uid);
                    break;
                case 3 when stored.Count > 0:
                    var gone = stored.Keys.ElementAt(random.Next(stored.Count));
                    stored.Remove(gone);
                    underWay.Remove(gone);
                    core.Remove(gone);
                    break;
                case 4 when stored.Count > 0: // a change of one that is stored
                    var changed = stored.Keys.ElementAt(random.Next(stored.Count));
                    if (core.TryReserve(changed, Pod(Quantity.Format(cpu, false)), null) is null)
                        underWay[changed] = cpu;
                    break;
            }

            var expected = stored.Keys.Union(underWay.Keys).Sum(uid => Math.Max(stored.GetValueOrDefault(uid), underWay.GetValueOrDefault(uid)));
            Assert.True(core.Used("cpu")["requests.cpu"] == expected, $"seed {seed} step {step}: {core.Used("cpu")["requests.cpu"]} instead of {expected}");
            Assert.True(core.Used("count")["pods"] == stored.Keys.Union(underWay.Keys).Count(), $"seed {seed} step {step}");
            Assert.True(expected <= 5 && core.Used("count")["pods"] <= 12, $"seed {seed} step {step}: a quota is passed");
        }
    }

    [Theory]
    [InlineData("0", false, "0")]
    [InlineData("1500m", false, "1500m")]
    [InlineData("2000m", false, "2")]
    [InlineData("3000", false, "3k")]
    [InlineData("100Mi", true, "100Mi")]
    [InlineData("1536Mi", true, "1536Mi")]
    [InlineData("2048Mi", true, "2Gi")]
    [InlineData("1000", true, "1000")]
    [InlineData("1u", false, "1m")]
    public void Quantities_are_written_as_Kubernetes_does(string text, bool isBinary, string expected)
    {
        Assert.True(Quantity.TryParse(text, out var value));
        Assert.Equal(expected, Quantity.Format(value, isBinary));
    }

    [Theory]
    [InlineData("8Ei", long.MaxValue)]
    [InlineData("50000000000E", long.MaxValue)]
    [InlineData("-50000000000E", -long.MaxValue)]
    [InlineData("1e99", long.MaxValue)]
    [InlineData("1e2000000000", long.MaxValue)]
    [InlineData("0e2000000000", 0)]
    [InlineData("1e-99", 0)]
    [InlineData("99999999999999999999999999999999999999999999999", long.MaxValue)]
    [InlineData("1.0000000000000000000000000000000000", 1)]
    [InlineData("9223372036854775806", long.MaxValue - 1)]
    public void Quantities_beyond_a_long_count_as_its_largest(string text, long expected)
    {
        Assert.True(Quantity.TryParse(text, out var value));
        Assert.Equal(expected, decimal.Round(value));
    }

    [Fact]
    public void Sums_of_quantities_beyond_all_measure_are_numbers_still()
    {
        var pod = Json.Object("""{"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"50000000000E"}}},{"name":"b","resources":{"requests":{"cpu":"50000000000E"}}}]}}""");
        Assert.Equal(2m * long.MaxValue, QuotaUsage.Of(s_pods, pod).Usage["requests.cpu"]);
    }

    private static QuotaCharge Pod(string cpu)
        => QuotaUsage.Of(s_pods, Json.Object($$$$"""{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"{{{{cpu}}}}"}}}]}}"""));

    private static JsonObject Quota(string name, string spec) => new() { ["metadata"] = new JsonObject { ["name"] = name }, ["spec"] = Json.Object(spec) };
}
