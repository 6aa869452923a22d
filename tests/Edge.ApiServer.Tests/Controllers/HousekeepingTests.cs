using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Housekeeping;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests;

[Trait("Category", "Kubernetes")]
public sealed class HousekeepingTests
{
    private static readonly DateTimeOffset s_start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public void Pods_of_a_node_that_stays_away_go_after_the_quarantine_and_not_before()
    {
        var core = new PodGcCore();
        var pod = Pod("p", "gone");
        var (pods, next) = core.Step([pod, Pod("q", "there")], node => node == "there", s_start);
        Assert.Empty(pods);
        Assert.Equal(s_start + PodGcCore.Quarantine, next);

        // Back in between: the quarantine starts anew.
        core.Step([pod], _ => true, s_start.AddSeconds(20));
        Assert.Empty(core.Step([pod], _ => false, s_start.AddSeconds(41)).Pods);
        Assert.Equal("p", Assert.Single(core.Step([pod], _ => false, s_start.AddSeconds(81)).Pods).Name());
    }

    [Fact]
    public void A_deleted_pod_that_never_had_a_node_goes_at_once()
    {
        var pod = Pod("p", "");
        Assert.Empty(new PodGcCore().Step([pod], _ => true, s_start).Pods);
        pod["metadata"]!["deletionTimestamp"] = "t";
        Assert.Single(new PodGcCore().Step([pod], _ => true, s_start).Pods);
    }

    [Theory]
    [InlineData("""{"lastTimestamp":"2025-12-31T22:59:59Z"}""", true)]
    [InlineData("""{"lastTimestamp":"2025-12-31T23:00:01Z"}""", false)]
    [InlineData("""{"lastTimestamp":"2025-12-31T20:00:00Z","series":{"lastObservedTime":"2025-12-31T23:30:00.000000Z"}}""", false)]
    [InlineData("""{"eventTime":"2025-12-31T23:30:00.000000Z"}""", false)]
    [InlineData("""{"metadata":{"creationTimestamp":"2025-12-31T20:00:00Z"}}""", true)]
    public void An_event_is_old_an_hour_after_it_was_last_seen(string json, bool old) => Assert.Equal(old, EventTtl.IsOld(JsonNode.Parse(json)!.AsObject(), s_start));

    private static JsonObject Pod(string name, string node) => new() { ["metadata"] = new JsonObject { ["name"] = name }, ["spec"] = new JsonObject { ["nodeName"] = node } };
}
