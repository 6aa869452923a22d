using System.Text.Json.Nodes;
using Edge.ApiServer.Admission;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Admission;

[Trait("Category", "Unit")]
public sealed class LimitRangeCoreTests
{
    [Fact]
    public void Containers_get_what_they_leave_open_and_the_pod_says_so()
    {
        var pod = Pod("""{"limits":{"cpu":"2"}}""", "{}");
        LimitRangeCore.Default(pod, [Range("""{"type":"Container","default":{"cpu":"1","memory":"1Gi"},"defaultRequest":{"cpu":"500m"}}""")]);
        Assert.Equal("""{"limits":{"cpu":"2","memory":"1Gi"},"requests":{"cpu":"500m"}}""", pod.At("spec", "containers")![0]!["resources"]!.ToJsonString());
        Assert.Equal("""{"requests":{"cpu":"500m"},"limits":{"cpu":"1","memory":"1Gi"}}""", pod.At("spec", "containers")![1]!["resources"]!.ToJsonString());
        Assert.Equal("LimitRanger plugin set: cpu request for container c0; memory limit for container c0; cpu request for container c1; cpu, memory limit for container c1", pod.Annotation("kubernetes.io/limit-ranger"));
    }

    [Theory]
    [InlineData("""{"type":"Container","min":{"cpu":"200m"}}""", """{"requests":{"cpu":"100m"}}""", "minimum cpu usage per Container is 200m, but request is 100m")]
    [InlineData("""{"type":"Container","min":{"cpu":"200m"}}""", "{}", "minimum cpu usage per Container is 200m.  No request is specified")]
    [InlineData("""{"type":"Container","max":{"memory":"1Gi"}}""", """{"limits":{"memory":"2Gi"}}""", "maximum memory usage per Container is 1Gi, but limit is 2Gi")]
    [InlineData("""{"type":"Container","max":{"memory":"1Gi"}}""", "{}", "maximum memory usage per Container is 1Gi.  No limit is specified")]
    [InlineData("""{"type":"Container","maxLimitRequestRatio":{"cpu":"2"}}""", """{"requests":{"cpu":"1"},"limits":{"cpu":"3"}}""", "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000")]
    [InlineData("""{"type":"Pod","max":{"cpu":"3"}}""", """{"limits":{"cpu":"4"}}""", "maximum cpu usage per Pod is 3, but limit is 4")]
    [InlineData("""{"type":"Pod","max":{"cpu":"3"}}""", """{"limits":{"cpu":"3"}}""", "")]
    public void Pods_beyond_the_bounds_are_told_why(string limits, string resources, string expected)
        => Assert.Equal(expected, string.Join("; ", LimitRangeCore.CheckPod(Pod(resources), [Range(limits)])));

    [Theory]
    [InlineData("5Gi", "")]
    [InlineData("11Gi", "maximum storage usage per PersistentVolumeClaim is 10Gi, but request is 11Gi")]
    [InlineData("1Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi")]
    public void Claims_beyond_the_bounds_are_told_why(string storage, string expected)
        => Assert.Equal(expected, string.Join("; ", LimitRangeCore.CheckClaim(
            Json.Object($$$$$"""{"spec":{"resources":{"requests":{"storage":"{{{{{storage}}}}}"}}}}"""), [Range("""{"type":"PersistentVolumeClaim","min":{"storage":"1Gi"},"max":{"storage":"10Gi"}}""")])));

    [Fact]
    public void Defaults_of_a_range_come_from_its_bounds()
    {
        var range = Range("""{"type":"Container","max":{"cpu":"2"},"min":{"cpu":"100m","memory":"1Mi"}}""");
        BuiltinObjects.Default(ResourceKind.LimitRange, range);
        Assert.Equal("""{"cpu":"2"}""", range.At("spec", "limits")![0]!["default"]!.ToJsonString());
        Assert.Equal("""{"cpu":"2","memory":"1Mi"}""", range.At("spec", "limits")![0]!["defaultRequest"]!.ToJsonString());
    }

    private static JsonObject Pod(params string[] resources) => new()
    {
        ["metadata"] = new JsonObject(),
        ["spec"] = new JsonObject { ["containers"] = new JsonArray([.. resources.Select((one, i) => new JsonObject { ["name"] = $"c{i}", ["resources"] = Json.Object(one) })]) },
    };

    private static JsonObject Range(string item) => Json.Object($$$"""{"spec":{"limits":[{{{item}}}]}}""");
}
