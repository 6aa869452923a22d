using System.Text.Json.Nodes;
using Edge.ApiServer.Patching;
using Edge.Kubernetes;
using Xunit;

namespace Edge.ApiServer.Tests;

[Trait("Category", "Kubernetes")]
public sealed class PatchTests
{
    // RFC 6902 appendix A.
    [Theory]
    [InlineData("""{"foo":"bar"}""", """[{"op":"add","path":"/baz","value":"qux"}]""", """{"baz":"qux","foo":"bar"}""")]
    [InlineData("""{"foo":["bar","baz"]}""", """[{"op":"add","path":"/foo/1","value":"qux"}]""", """{"foo":["bar","qux","baz"]}""")]
    [InlineData("""{"baz":"qux","foo":"bar"}""", """[{"op":"remove","path":"/baz"}]""", """{"foo":"bar"}""")]
    [InlineData("""{"foo":["bar","qux","baz"]}""", """[{"op":"remove","path":"/foo/1"}]""", """{"foo":["bar","baz"]}""")]
    [InlineData("""{"baz":"qux","foo":"bar"}""", """[{"op":"replace","path":"/baz","value":"boo"}]""", """{"baz":"boo","foo":"bar"}""")]
    [InlineData("""{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}""", """[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]""", """{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}""")]
    [InlineData("""{"foo":["all","grass","cows","eat"]}""", """[{"op":"move","from":"/foo/1","path":"/foo/3"}]""", """{"foo":["all","cows","eat","grass"]}""")]
    [InlineData("""{"baz":"qux","foo":["a",2,"c"]}""", """[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]""", """{"baz":"qux","foo":["a",2,"c"]}""")]
    [InlineData("""{"foo":"bar"}""", """[{"op":"add","path":"/child","value":{"grandchild":{}}}]""", """{"foo":"bar","child":{"grandchild":{}}}""")]
    [InlineData("""{"foo":"bar"}""", """[{"op":"add","path":"/baz","value":"qux","xyz":123}]""", """{"foo":"bar","baz":"qux"}""")]
    [InlineData("""{"/":9,"~1":10}""", """[{"op":"test","path":"/~01","value":10}]""", """{"/":9,"~1":10}""")]
    [InlineData("""{"foo":["bar"]}""", """[{"op":"add","path":"/foo/-","value":["abc","def"]}]""", """{"foo":["bar",["abc","def"]]}""")]
    [InlineData("""{"a":1}""", """[{"op":"copy","from":"/a","path":"/b"}]""", """{"a":1,"b":1}""")]
    public void Json_patch_does_what_RFC_6902_says(string document, string patch, string expected)
        => Same(expected, JsonPatch.Apply(JsonNode.Parse(document)!, JsonNode.Parse(patch)!.AsArray()));

    [Theory]
    [InlineData("""{"baz":"qux"}""", """[{"op":"test","path":"/baz","value":"bar"}]""")]
    [InlineData("""{"foo":"bar"}""", """[{"op":"add","path":"/baz/bat","value":"qux"}]""")]
    [InlineData("""{"/":9,"~1":10}""", """[{"op":"test","path":"/~01","value":"10"}]""")]
    [InlineData("""{"a":[1]}""", """[{"op":"add","path":"/a/2","value":1}]""")]
    [InlineData("""{"a":[1]}""", """[{"op":"remove","path":"/a/01"}]""")]
    [InlineData("""{"a":{"b":1}}""", """[{"op":"move","from":"/a","path":"/a/b"}]""")]
    [InlineData("""{"a":1}""", """[{"op":"jump","path":"/a"}]""")]
    [InlineData("""{"a":1}""", """[{"op":"remove","path":"a"}]""")]
    [InlineData("""{"a":1}""", """[{"op":"replace","path":"/b","value":1}]""")]
    public void Json_patch_refuses_what_does_not_apply(string document, string patch)
        => Assert.Throws<PatchException>(() => JsonPatch.Apply(JsonNode.Parse(document)!, JsonNode.Parse(patch)!.AsArray()));

    // RFC 7386 appendix A.
    [Theory]
    [InlineData("""{"a":"b"}""", """{"a":"c"}""", """{"a":"c"}""")]
    [InlineData("""{"a":"b"}""", """{"b":"c"}""", """{"a":"b","b":"c"}""")]
    [InlineData("""{"a":"b"}""", """{"a":null}""", "{}")]
    [InlineData("""{"a":"b","b":"c"}""", """{"a":null}""", """{"b":"c"}""")]
    [InlineData("""{"a":["b"]}""", """{"a":"c"}""", """{"a":"c"}""")]
    [InlineData("""{"a":"c"}""", """{"a":["b"]}""", """{"a":["b"]}""")]
    [InlineData("""{"a":{"b":"c"}}""", """{"a":{"b":"d","c":null}}""", """{"a":{"b":"d"}}""")]
    [InlineData("""{"a":[{"b":"c"}]}""", """{"a":[1]}""", """{"a":[1]}""")]
    [InlineData("""["a","b"]""", """["c","d"]""", """["c","d"]""")]
    [InlineData("""{"a":"b"}""", """["c"]""", """["c"]""")]
    [InlineData("""{"a":"foo"}""", "null", "null")]
    [InlineData("""{"a":"foo"}""", "\"bar\"", "\"bar\"")]
    [InlineData("""{"e":null}""", """{"a":1}""", """{"e":null,"a":1}""")]
    [InlineData("[1,2]", """{"a":"b","c":null}""", """{"a":"b"}""")]
    [InlineData("{}", """{"a":{"bb":{"ccc":null}}}""", """{"a":{"bb":{}}}""")]
    public void Merge_patch_does_what_RFC_7386_says(string target, string patch, string expected)
        => Same(expected, MergePatch.Apply(JsonNode.Parse(target), JsonNode.Parse(patch)));

    [Theory]
    [InlineData("containers merge by name", """{"containers":[{"name":"a","image":"1"},{"name":"b","image":"1"}]}""", """{"containers":[{"name":"b","image":"2"},{"name":"c","image":"3"}]}""", """{"containers":[{"name":"a","image":"1"},{"name":"b","image":"2"},{"name":"c","image":"3"}]}""")]
    [InlineData("delete removes one", """{"containers":[{"name":"a"},{"name":"b"}]}""", """{"containers":[{"$patch":"delete","name":"a"}]}""", """{"containers":[{"name":"b"}]}""")]
    [InlineData("replace empties the list", """{"containers":[{"name":"a"},{"name":"b"}]}""", """{"containers":[{"$patch":"replace"},{"name":"c"}]}""", """{"containers":[{"name":"c"}]}""")]
    [InlineData("replace of an object", """{"nodeSelector":{"a":"1"}}""", """{"nodeSelector":{"$patch":"replace","b":"2"}}""", """{"nodeSelector":{"b":"2"}}""")]
    [InlineData("tolerations are atomic", """{"tolerations":[{"key":"a"}]}""", """{"tolerations":[{"key":"b"}]}""", """{"tolerations":[{"key":"b"}]}""")]
    [InlineData("retainKeys swaps a volume's source", """{"volumes":[{"name":"v","emptyDir":{}}]}""", """{"volumes":[{"$retainKeys":["name","hostPath"],"name":"v","hostPath":{"path":"/x"}}]}""", """{"volumes":[{"name":"v","hostPath":{"path":"/x"}}]}""")]
    [InlineData("setElementOrder orders", """{"containers":[{"name":"s"},{"name":"a"},{"name":"b"}]}""", """{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"b","image":"2"}]}""", """{"containers":[{"name":"s"},{"name":"b","image":"2"},{"name":"a"}]}""")]
    [InlineData("null removes a member of a merged element", """{"containers":[{"name":"a","image":"1","tty":true}]}""", """{"containers":[{"name":"a","tty":null}]}""", """{"containers":[{"name":"a","image":"1"}]}""")]
    [InlineData("ports by containerPort", """{"containers":[{"name":"a","ports":[{"containerPort":80}]}]}""", """{"containers":[{"name":"a","ports":[{"containerPort":80,"name":"w"},{"containerPort":81}]}]}""", """{"containers":[{"name":"a","ports":[{"containerPort":80,"name":"w"},{"containerPort":81}]}]}""")]
    public void Strategic_merge_patch_merges_lists_as_their_type_declares(string rule, string spec, string patch, string expected)
    {
        var result = StrategicMergePatch.Apply(ResourceKind.Pod, new JsonObject { ["spec"] = JsonNode.Parse(spec) }, new JsonObject { ["spec"] = JsonNode.Parse(patch) });
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(expected), result["spec"]), $"{rule}: {result["spec"]!.ToJsonString()}");
    }

    [Fact]
    public void Finalizers_merge_as_a_set_and_can_be_deleted_by_directive()
    {
        var pod = Json.Object("""{"metadata":{"finalizers":["a/1","b/2"]}}""");
        Same("""{"metadata":{"finalizers":["a/1","b/2","c/3"]}}""", StrategicMergePatch.Apply(ResourceKind.Pod, pod, Json.Object("""{"metadata":{"finalizers":["b/2","c/3"]}}""")));
        Same("""{"metadata":{"finalizers":["b/2"]}}""", StrategicMergePatch.Apply(ResourceKind.Pod, pod, Json.Object("""{"metadata":{"$deleteFromPrimitiveList/finalizers":["a/1"]}}""")));
    }

    [Fact]
    public void Node_conditions_merge_by_type_and_service_ports_by_port()
    {
        Same("""{"status":{"conditions":[{"type":"Ready","status":"True"},{"type":"X","status":"False"}]}}""", StrategicMergePatch.Apply(ResourceKind.Node,
            Json.Object("""{"status":{"conditions":[{"type":"Ready","status":"False"}]}}"""), Json.Object("""{"status":{"conditions":[{"type":"Ready","status":"True"},{"type":"X","status":"False"}]}}""")));
        Same("""{"spec":{"ports":[{"port":80,"name":"web"}]}}""", StrategicMergePatch.Apply(ResourceKind.Service, Json.Object("""{"spec":{"ports":[{"port":80}]}}"""), Json.Object("""{"spec":{"ports":[{"port":80,"name":"web"}]}}""")));
    }

    [Fact]
    public void Strategic_merge_patch_refuses_elements_without_key_unknown_directives_and_custom_resources()
    {
        var pod = Json.Object("""{"spec":{"containers":[{"name":"a"}]}}""");
        Assert.Throws<PatchException>(() => StrategicMergePatch.Apply(ResourceKind.Pod, pod, Json.Object("""{"spec":{"containers":[{"image":"x"}]}}""")));
        Assert.Throws<PatchException>(() => StrategicMergePatch.Apply(ResourceKind.Pod, pod, Json.Object("""{"spec":{"$patch":"jump"}}""")));
        Assert.Throws<PatchException>(() => StrategicMergePatch.Apply(ResourceKind.Device, pod, []));
    }

    private static void Same(string expected, JsonNode? actual)
        => Assert.True(JsonNode.DeepEquals(JsonNode.Parse(expected), actual), $"expected {expected}, was {actual?.ToJsonString() ?? "null"}");
}
