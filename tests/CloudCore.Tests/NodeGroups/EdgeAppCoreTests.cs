using System.Text.Json.Nodes;
using Edge.Cloud.NodeGroups;
using Edge.Kubernetes;

namespace Edge.Cloud.Tests.NodeGroups;

/// <summary>What an EdgeApplication wants to be in the cluster.</summary>
[Trait("Category", "Unit")]
public sealed class EdgeAppCoreTests
{
    private const string Deployment = """
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 1, "template": {"spec": {"containers": [
          {"name": "web", "image": "docker.io/library/nginx:1.2", "command": ["run"], "args": ["-a", "-b"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "resources": {"limits": {"cpu": "1"}}},
          {"name": "side", "image": "envoy"}]}}}}
        """;

    [Fact]
    public void Deployment_comes_once_for_each_group_with_its_name_and_nodeSelector()
    {
        var all = Expand([Deployment], """{"targetNodeGroups": [{"name": "h"}, {"name": "b", "overriders": {"replicas": 3}}]}""");

        Assert.Equal(["web-h", "web-b"], all.Select(one => one.Resource.Name));
        Assert.Equal(["h", "b"], all.Select(one => one.Object.Text("spec", "template", "spec", "nodeSelector", "apps.kubeedge.io/belonging-to")));
        Assert.Equal([1L, 3L], all.Select(one => one.Object.Number(0, "spec", "replicas")));
        Assert.All(all, one => Assert.Equal(("apps.kubeedge.io/v1alpha1", "EdgeApplication", "uid-1"), Owner(one.Object)));
        Assert.All(all, one => Assert.Equal("shop", one.Object.Namespace()));
    }

    [Fact]
    public void Target_by_labels_gets_a_hashed_name_and_an_affinity()
    {
        var one = Expand([Deployment], """{"targetNodeLabels": [{"labelSelector": {"matchLabels": {"b": "2", "a": "1"}}}]}""").Single();

        // SHA-256 of "a1b2": the sorted keys, each with its value behind it.
        Assert.Equal("web-ls-" + Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData("a1b2"u8)[..4]), one.Resource.Name);
        var terms = one.Object.At("spec", "template", "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution").Items("nodeSelectorTerms").Single();
        Assert.Equal(
            """[{"key":"a","operator":"In","values":["1"]},{"key":"b","operator":"In","values":["2"]}]""", terms["matchExpressions"]!.ToJsonString());
        Assert.Null(one.Object.At("spec", "template", "spec", "nodeSelector"));
    }

    [Fact]
    public void Service_is_ranged_over_the_group_and_others_come_once()
    {
        var all = Expand(
            ["""{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}""", """{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "page"}}"""],
            """{"targetNodeGroups": [{"name": "h"}, {"name": "b"}]}""");

        Assert.Equal(["Service web", "ConfigMap page"], all.Select(one => $"{one.Resource.Kind} {one.Resource.Name}"));
        Assert.Equal("range-nodegroup", all[0].Object.Annotation("apps.kubeedge.io/service-topology"));
        Assert.Null(all[1].Object.Annotation("apps.kubeedge.io/service-topology"));
    }

    [Theory]
    [InlineData("Registry", "replace", "r.example:5000", "r.example:5000/library/nginx:1.2")]
    [InlineData("Registry", "remove", "", "library/nginx:1.2")]
    [InlineData("Registry", "add", ".cn", "docker.io.cn/library/nginx:1.2")]
    [InlineData("Repository", "replace", "own/nginx", "docker.io/own/nginx:1.2")]
    [InlineData("Tag", "replace", "1.3", "docker.io/library/nginx:1.3")]
    [InlineData("Tag", "add", "-arm", "docker.io/library/nginx:1.2-arm")]
    [InlineData("Tag", "remove", "", "docker.io/library/nginx")]
    [InlineData("Tag", "replace", "sha256:0123", "docker.io/library/nginx@sha256:0123")]
    public void Image_is_changed_part_by_part(string component, string operation, string value, string expected)
    {
        var one = Override($$"""{"imageOverriders": [{"predicate": {"path": "/spec/template/spec/containers/0/image"}, "component": "{{component}}", "operator": "{{operation}}", "value": "{{value}}"}]}""");

        Assert.Equal([expected, "envoy"], one.Items("spec", "template", "spec", "containers").Select(container => container.Text("image")));
    }

    [Theory]
    [InlineData("nginx", "", "nginx", "")]
    [InlineData("localhost/nginx:1", "localhost", "nginx", "1")]
    [InlineData("r:5000/a/b", "r:5000", "a/b", "")]
    [InlineData("a/b@sha256:00", "", "a/b", "sha256:00")]
    public void Image_names_are_told_apart_as_Docker_does(string text, string registry, string repository, string tag)
    {
        var name = ImageName.Parse(text);

        Assert.Equal((registry, repository, tag), (name.Registry, name.Repository, name.Tag));
        Assert.Equal(text, name.ToString());
    }

    [Fact]
    public void Image_override_without_predicate_changes_every_container()
        => Assert.Equal(
            ["r/library/nginx:1.2", "r/envoy"],
            Override("""{"imageOverriders": [{"component": "Registry", "operator": "replace", "value": "r"}]}""").Items("spec", "template", "spec", "containers").Select(one => one.Text("image")));

    [Fact]
    public void Env_command_args_and_resources_are_changed_in_the_named_container_alone()
    {
        var one = Override("""
            {"envOverriders": [{"containerName": "web", "operator": "replace", "value": [{"name": "B", "value": "9"}, {"name": "C", "value": "3"}]}, {"containerName": "web", "operator": "remove", "value": [{"name": "A"}]}],
             "commandOverriders": [{"containerName": "web", "operator": "add", "value": ["now"]}], "argsOverriders": [{"containerName": "web", "operator": "remove", "value": ["-a"]}],
             "resourcesOverriders": [{"containerName": "web", "value": {"limits": {"memory": "64Mi"}}}]}
            """);

        var containers = one.Items("spec", "template", "spec", "containers").ToList();
        Assert.Equal("""[{"name":"B","value":"9"},{"name":"C","value":"3"}]""", containers[0]["env"]!.ToJsonString());
        Assert.Equal(["run", "now"], containers[0].Texts("command"));
        Assert.Equal(["-b"], containers[0].Texts("args"));
        Assert.Equal("""{"limits":{"memory":"64Mi"}}""", containers[0]["resources"]!.ToJsonString());
        Assert.Equal("""{"name":"side","image":"envoy"}""", containers[1].ToJsonString());
    }

    [Theory]
    [InlineData("""{"kind": "ConfigMap", "metadata": {"name": "x"}}""", "has no apiVersion")]
    [InlineData("""{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "else"}}""", "is of the namespace 'else'")]
    public void Manifest_that_cannot_be_applied_is_named_and_the_others_are_not_held_up(string bad, string expected)
    {
        var all = Expand([bad, """{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "good"}}"""], "{}");

        Assert.Contains(expected, all[0].Problem, StringComparison.Ordinal);
        Assert.Null(all[1].Problem);
    }

    [Fact]
    public void Two_manifests_of_one_name_are_not_applied_one_over_the_other()
        => Assert.Equal(1, Expand([Deployment, Deployment], """{"targetNodeGroups": [{"name": "h"}]}""").Count(one => one.Problem is null));

    [Fact]
    public void Bad_predicate_is_an_error_that_says_where()
    {
        var one = Expand([Deployment], """{"targetNodeGroups": [{"name": "h", "overriders": {"imageOverriders": [{"predicate": {"path": "/spec/x/9"}, "component": "Tag", "operator": "remove"}]}}]}""").Single();

        Assert.Contains("target 'h': imageOverriders: predicate.path '/spec/x/9' leads to no image", one.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void Deployment_is_available_with_all_its_replicas_and_others_when_they_are_there()
    {
        var wanted = Expand([Deployment, """{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "page"}}"""], """{"targetNodeGroups": [{"name": "h"}]}""");
        string States(string? deployment, string? map) => string.Join(' ', EdgeAppCore.Status(
            wanted, one => (one.Kind == "Deployment" ? deployment : map) is { } json ? JsonNode.Parse(json)!.AsObject() : null).Items("workloadStatus").Select(one => one.Text("conditions")));

        Assert.Equal("Processing Processing", States(null, null));
        Assert.Equal("Processing Available", States("""{"kind": "Deployment", "spec": {"replicas": 2}, "status": {"availableReplicas": 1}}""", "{}"));
        Assert.Equal("Available Processing", States("""{"kind": "Deployment", "spec": {"replicas": 2}, "status": {"availableReplicas": 2}}""", null));
        Assert.Equal("Processing Processing", States("""{"kind": "Deployment", "metadata": {"generation": 3}, "spec": {"replicas": 2}, "status": {"availableReplicas": 2, "observedGeneration": 2}}""", null));
    }

    [Fact]
    public void Update_takes_away_what_the_template_had_and_leaves_what_others_set()
    {
        var patch = EdgeAppCore.ThreeWay(
            Parse("""{"data": {"a": "1", "b": "2"}, "spec": {"x": 1}}"""), Parse("""{"data": {"a": "9"}}"""), Parse("""{"data": {"a": "1", "b": "2", "c": "3"}, "spec": {"x": 1}, "metadata": {"uid": "u"}}"""));

        Assert.Equal("""{"data":{"a":"9","b":null},"spec":null}""", patch.ToJsonString());
    }

    [Fact]
    public void What_was_made_is_read_back_from_the_annotation()
    {
        var made = Expand([Deployment], """{"targetNodeGroups": [{"name": "h"}]}""").Select(one => one.Resource).ToList();
        var app = App([], "{}");
        app.Child("metadata")["annotations"] = new JsonObject { ["apps.kubeedge.io/last-contained-resources"] = EdgeAppCore.Write(made) };

        Assert.Equal(made, EdgeAppCore.LastContained(app));
        Assert.Equal("""[{"ordinal":0,"group":"apps","version":"v1","kind":"Deployment","namespace":"shop","name":"web-h"}]""", EdgeAppCore.Write(made));
    }

    private static JsonObject Override(string overriders)
    {
        var one = Expand([Deployment], $$"""{"targetNodeGroups": [{"name": "h", "overriders": {{overriders}}}]}""").Single();
        Assert.Null(one.Problem);
        return one.Object;
    }

    private static List<AppObject> Expand(string[] manifests, string scope) => EdgeAppCore.Expand(App(manifests, scope));

    private static JsonObject App(string[] manifests, string scope) => new()
    {
        ["metadata"] = new JsonObject { ["name"] = "app", ["namespace"] = "shop", ["uid"] = "uid-1" },
        ["spec"] = new JsonObject
        {
            ["workloadTemplate"] = new JsonObject { ["manifests"] = new JsonArray([.. manifests.Select(one => JsonNode.Parse(one))]) }, ["workloadScope"] = JsonNode.Parse(scope),
        },
    };

    private static (string, string, string) Owner(JsonObject obj)
    {
        var owner = obj.Items("metadata", "ownerReferences").Single();
        return (owner.Text("apiVersion"), owner.Text("kind"), owner.Text("uid"));
    }

    private static JsonObject Parse(string json) => JsonNode.Parse(json)!.AsObject();
}
