using System.Text.Json.Nodes;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Validation;

[Trait("Category", "Kubernetes")]
public sealed class PlacementRulesTests
{
    [Theory]
    [InlineData("""{"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"","labelSelector":{}}]}}}""", "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty")]
    [InlineData("""{"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"a b"}]}}}""", "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: \"a b\"")]
    [InlineData("""{"affinity":{"podAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":101,"podAffinityTerm":{"topologyKey":"k"}}]}}}""", "preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100")]
    [InlineData("""{"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"k","labelSelector":{"matchExpressions":[{"key":"a","operator":"Like"}]}}]}}}""", "labelSelector.matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator")]
    [InlineData("""{"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"k","namespaces":["A"]}]}}}""", "namespaces[0]: Invalid value: \"A\"")]
    [InlineData("""{"affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"k","matchLabelKeys":["a"]}]}}}""", "matchLabelKeys: Forbidden: must not be specified when labelSelector is not set")]
    [InlineData("""{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[]}}}}""", "nodeSelectorTerms: Required value: must have at least one node selector term")]
    [InlineData("""{"topologySpreadConstraints":[{"maxSkew":0,"topologyKey":"k","whenUnsatisfiable":"DoNotSchedule"}]}""", "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero")]
    [InlineData("""{"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"k","whenUnsatisfiable":"Maybe"}]}""", "whenUnsatisfiable: Unsupported value: \"Maybe\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"")]
    [InlineData("""{"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"k","whenUnsatisfiable":"ScheduleAnyway","minDomains":2}]}""", "minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway")]
    [InlineData("""{"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"k","whenUnsatisfiable":"DoNotSchedule"},{"maxSkew":2,"topologyKey":"k","whenUnsatisfiable":"DoNotSchedule"}]}""", "spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{k, DoNotSchedule}\"")]
    [InlineData("""{"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"k","whenUnsatisfiable":"DoNotSchedule","nodeTaintsPolicy":"Maybe"}]}""", "nodeTaintsPolicy: Unsupported value: \"Maybe\"")]
    [InlineData("""{"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"k","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"a":"b"}},"matchLabelKeys":["a"]}]}""", "matchLabelKeys[0]: Invalid value: \"a\": exists in both matchLabelKeys and labelSelector")]
    [InlineData("""{"schedulingGates":[{"name":"a b"}]}""", "spec.schedulingGates[0]: Invalid value: \"a b\"")]
    [InlineData("""{"ephemeralContainers":[{"name":"e","image":"i"}]}""", "spec.ephemeralContainers: Forbidden: cannot be set on create")]
    [InlineData("""{"ephemeralContainers":[{"name":"e","image":"i","ports":[{"containerPort":1}]}]}""", "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container")]
    [InlineData("""{"ephemeralContainers":[{"name":"c","image":"i"}]}""", "spec.ephemeralContainers[0].name: Duplicate value: \"c\"")]
    public void What_Kubernetes_refuses_is_refused_in_its_words(string more, string expected)
    {
        var errors = BuiltinObjects.Validate(ResourceKind.Pod, Pod(more), null);
        Assert.Contains(errors, error => error.ToString().Contains(expected, StringComparison.Ordinal));
    }

    [Fact]
    public void What_is_right_has_no_fault()
        => Assert.Empty(BuiltinObjects.Validate(
            ResourceKind.Pod,
            Pod("""
                {"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"preference":{"matchExpressions":[{"key":"a","operator":"Exists"}]}}]},
                 "podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"a":"b"}},"namespaceSelector":{},"matchLabelKeys":["pod-template-hash"]}]}},
                 "topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"DoNotSchedule","minDomains":2,"nodeAffinityPolicy":"Honor","nodeTaintsPolicy":"Ignore","labelSelector":{"matchLabels":{"a":"b"}}}],
                 "schedulingGates":[{"name":"example.com/gate"}]}
                """),
            null));

    private static JsonObject Pod(string more)
    {
        var pod = Json.Object("""{"metadata":{"name":"p","namespace":"d"},"spec":{"containers":[{"name":"c","image":"i"}]}}""");
        foreach (var (key, value) in Json.Object(more))
            pod["spec"]![key] = value?.DeepClone();
        BuiltinObjects.Default(ResourceKind.Pod, pod);
        return pod;
    }
}
