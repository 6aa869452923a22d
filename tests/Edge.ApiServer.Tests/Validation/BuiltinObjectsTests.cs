using System.Text.Json.Nodes;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;
using Xunit;

namespace Edge.ApiServer.Tests;

[Trait("Category", "Kubernetes")]
public sealed class BuiltinObjectsTests
{
    private const string Pod = """{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"default"},"spec":{"containers":[{"name":"a","image":"nginx"}]}}""";

    [Fact]
    public void A_pod_gets_the_defaults_of_Kubernetes_and_then_has_no_fault()
    {
        var pod = Defaulted(Pod);
        Assert.Equal("Always", pod.Text("spec", "restartPolicy"));
        Assert.Equal(30, pod.Number(0, "spec", "terminationGracePeriodSeconds"));
        Assert.Equal("Always", pod["spec"].Items("containers").Single().Text("imagePullPolicy"));
        Assert.Equal(2, pod["spec"].Items("tolerations").Count());
        Assert.Equal("BestEffort", pod.Text("status", "qosClass"));
        Assert.Equal("Pending", pod.Text("status", "phase"));
        Assert.Empty(BuiltinObjects.Validate(ResourceKind.Pod, pod, null));
        Assert.Empty(BuiltinObjects.UnknownFields(ResourceKind.Pod, pod));
        var again = (JsonObject)pod.DeepClone();
        BuiltinObjects.Default(ResourceKind.Pod, again);
        Assert.True(JsonNode.DeepEquals(pod, again));
    }

    [Theory]
    [InlineData("nginx", "Always")]
    [InlineData("nginx:latest", "Always")]
    [InlineData("registry:5000/nginx", "Always")]
    [InlineData("nginx:1.2", "IfNotPresent")]
    [InlineData("nginx@sha256:0000", "IfNotPresent")]
    public void The_pull_policy_follows_the_tag(string image, string policy)
        => Assert.Equal(policy, Defaulted(Pod.Replace("\"nginx\"", $"\"{image}\"", StringComparison.Ordinal))["spec"].Items("containers").Single().Text("imagePullPolicy"));

    [Theory]
    [InlineData("""{"containers":[]}""", "spec.containers: Required value")]
    [InlineData("""{"containers":[{"name":"A","image":"x"}]}""", "spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist")]
    [InlineData("""{"containers":[{"name":"a","image":"x"},{"name":"a","image":"x"}]}""", "spec.containers[1].name: Duplicate value: \"a\"")]
    [InlineData("""{"containers":[{"name":"a"}]}""", "spec.containers[0].image: Required value")]
    [InlineData("""{"containers":[{"name":"a","image":"x","volumeMounts":[{"name":"v","mountPath":"/v"}]}]}""", "spec.containers[0].volumeMounts[0].name: Not found: \"v\"")]
    [InlineData("""{"restartPolicy":"Sometimes","containers":[{"name":"a","image":"x"}]}""", "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"")]
    [InlineData("""{"containers":[{"name":"a","image":"x","ports":[{"containerPort":70000}]}]}""", "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive")]
    [InlineData("""{"containers":[{"name":"a","image":5}]}""", "spec.containers[0].image: Invalid value: \"integer\": spec.containers[0].image in body must be of type string: \"integer\"")]
    [InlineData("""{"containers":{"name":"a"}}""", "spec.containers: Invalid value: \"object\"")]
    [InlineData("""{"containers":[{"name":"a","image":"x","resources":{"limits":{"cpu":"1"},"requests":{"cpu":"2"}}}]}""", "must be less than or equal to cpu limit of 1")]
    [InlineData("""{"containers":[{"name":"a","image":"x","resources":{"limits":{"cpu":"one"}}}]}""", "quantities must match the regular expression")]
    public void A_wrong_pod_is_told_what_and_where(string spec, string expected)
    {
        var pod = Defaulted($$"""{"metadata":{"name":"p"},"spec":{{spec}}}""");
        Assert.Contains(BuiltinObjects.Validate(ResourceKind.Pod, pod, null), error => error.ToString().Contains(expected, StringComparison.Ordinal));
    }

    [Fact]
    public void A_pod_update_may_change_an_image_and_add_tolerations_and_nothing_else()
    {
        var old = Defaulted(Pod);
        var image = Defaulted(Pod);
        image["spec"]!["containers"]![0]!["image"] = "nginx:2";
        image["spec"]!["tolerations"]!.AsArray().Add((JsonNode)Json.Object("""{"key":"k","operator":"Exists"}"""));
        Assert.Empty(BuiltinObjects.Validate(ResourceKind.Pod, image, old));
        var command = Defaulted(Pod);
        command["spec"]!["containers"]![0]!["command"] = new JsonArray("sh");
        Assert.StartsWith("spec: Forbidden: pod updates may not change fields other than", Assert.Single(BuiltinObjects.Validate(ResourceKind.Pod, command, old)).ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Unknown_fields_are_named_by_path()
        => Assert.Equal(["spec.containers[0].imagee", "spech"], BuiltinObjects.UnknownFields(ResourceKind.Pod,
            Json.Object("""{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"name":"a","imagee":"x"}]},"spech":1}""")));

    [Fact]
    public void A_secrets_stringData_folds_into_data_and_an_immutable_one_stays()
    {
        var secret = Json.Object("""{"metadata":{"name":"s"},"stringData":{"k":"v"}}""");
        BuiltinObjects.Default(ResourceKind.Secret, secret);
        Assert.Equal("dg==", secret.Text("data", "k"));
        Assert.Equal("Opaque", secret.Text("type"));
        Assert.Null(secret["stringData"]);
        var fixedMap = Json.Object("""{"data":{"a":"1"},"immutable":true}""");
        Assert.Equal("data: Forbidden: field is immutable when `immutable` is set", Assert.Single(BuiltinObjects.Validate(ResourceKind.ConfigMap, Json.Object("""{"data":{"a":"2"},"immutable":true}"""), fixedMap)).ToString());
    }

    [Fact]
    public void A_config_map_over_one_mebibyte_is_too_long()
        => Assert.Equal("FieldValueTooLong", Assert.Single(BuiltinObjects.Validate(ResourceKind.ConfigMap, new JsonObject { ["data"] = new JsonObject { ["a"] = new string('x', 1024 * 1024 + 1) } }, null)).Type);

    [Theory]
    [InlineData("""{"metadata":{"name":"Web_1","namespace":"d"}}""", "metadata.name: Invalid value: \"Web_1\": a lowercase RFC 1123 subdomain")]
    [InlineData("""{"metadata":{"namespace":"d"}}""", "metadata.name: Required value: name or generateName is required")]
    [InlineData("""{"metadata":{"name":"a","namespace":"d","labels":{"a b":"c"}}}""", "metadata.labels: Invalid value: \"a b\": name part must consist of")]
    [InlineData("""{"metadata":{"name":"a","namespace":"d","labels":{"a":1}}}""", "metadata.labels.a: Invalid value: \"integer\"")]
    [InlineData("""{"metadata":{"name":"a","namespace":"d","finalizers":["x"]}}""", "metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified")]
    [InlineData("""{"metadata":{"name":"a"}}""", "metadata.namespace: Required value")]
    public void Wrong_metadata_is_told_what_and_where(string obj, string expected)
        => Assert.Contains(ObjectMeta.Validate(ResourceKind.Pod, Json.Object(obj), null), error => error.ToString().StartsWith(expected, StringComparison.Ordinal));

    [Fact]
    public void A_uid_does_not_change_and_generated_names_may_end_in_a_hyphen()
    {
        Assert.Equal("metadata.uid: Invalid value: \"2\": field is immutable", Assert.Single(ObjectMeta.Validate(ResourceKind.Node,
            Json.Object("""{"metadata":{"name":"n","uid":"2"}}"""), Json.Object("""{"metadata":{"name":"n","uid":"1"}}"""))).ToString());
        Assert.Empty(ObjectMeta.Validate(ResourceKind.Pod, Json.Object("""{"metadata":{"generateName":"web-","namespace":"d"}}"""), null));
    }

    private static JsonObject Defaulted(string pod)
    {
        var obj = Json.Object(pod);
        BuiltinObjects.Default(ResourceKind.Pod, obj);
        return obj;
    }
}
