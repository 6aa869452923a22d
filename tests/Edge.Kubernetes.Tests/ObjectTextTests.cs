using System.Buffers;
using System.Text;
using System.Text.Json.Nodes;

namespace Edge.Kubernetes.Tests;

[Trait("Category", "Kubernetes")]
public sealed class ObjectTextTests
{
    private const string Pod = """{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"default","uid":"u-1","resourceVersion":"12"},"spec":{"nodeName":"edge-1","containers":[{"name":"a","image":"x"}]}}""";

    [Fact]
    public void Change_of_a_watch_keeps_its_bytes_and_is_parsed_only_when_looked_into()
    {
        var change = Parse("MODIFIED", Pod);
        Assert.Equal(WatchEventType.Modified, change.Type);
        Assert.Equal(Pod, Encoding.UTF8.GetString(change.Text.Utf8.Span));
        Assert.Equal(("default", "web", "u-1", "12"), (change.Text.Namespace, change.Text.Name, change.Text.Uid, change.Text.ResourceVersion));
        Assert.Equal("edge-1", change.Text.Text("spec", "nodeName"));
        Assert.Equal("", change.Text.Text("spec", "containers", "name"));
        Assert.Equal("", change.Text.Text("spec", "absent"));
        Assert.Equal("", change.Text.Text("metadata"));
        Assert.True(change.Text.MayContain("\"containers\""u8));
        Assert.False(change.Text.MayContain("\"volumes\""u8));
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(Pod), change.Object));
        Assert.Same(change.Object, change.Text.Json);
        Assert.Equal("edge-1", change.Text.Text("spec", "nodeName"));
    }

    [Theory]
    [InlineData("""{"managedFields":[{"manager":"kubectl","fieldsV1":{"f:spec":{}}}],"name":"web","uid":"u","resourceVersion":"1"}""")]
    [InlineData("""{"name":"web","managedFields":[{"manager":"kubectl"}],"uid":"u","resourceVersion":"1"}""")]
    [InlineData("""{ "name" : "web", "uid" : "u", "resourceVersion" : "1" , "managedFields" : [ { "manager" : "kubectl" } ] }""")]
    [InlineData("""{ "managedFields" : null , "name" : "web", "uid" : "u", "resourceVersion" : "1" }""")]
    public void Managed_fields_are_cut_out_of_the_bytes(string metadata)
    {
        var text = Parse("ADDED", $$$"""{"kind":"Pod","apiVersion":"v1","metadata":{{{metadata}}},"spec":{"managedFields":"mine"}}""").Text;
        var lean = text.WithoutManagedFields();
        Assert.True(JsonNode.DeepEquals(
            JsonNode.Parse("""{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","uid":"u","resourceVersion":"1"},"spec":{"managedFields":"mine"}}"""), JsonNode.Parse(lean.Utf8.Span)));
        Assert.Equal(("web", "u", "1"), (lean.Name, lean.Uid, lean.ResourceVersion));
        Assert.Same(lean, lean.WithoutManagedFields());
        Assert.NotNull(text.Json.At("metadata", "name")); // the whole one is untouched
    }

    [Fact]
    public void Parsed_object_without_managed_fields_stays_itself()
    {
        var text = new ObjectText(JsonNode.Parse(Pod)!.AsObject());
        Assert.True(text.Utf8.IsEmpty);
        Assert.Same(text, text.WithoutManagedFields());
        var owned = new ObjectText(JsonNode.Parse(Pod.Replace("\"uid\"", "\"managedFields\":[],\"uid\"", StringComparison.Ordinal))!.AsObject());
        Assert.Null(owned.WithoutManagedFields().Json.At("metadata", "managedFields"));
        Assert.NotNull(owned.Json.At("metadata", "managedFields"));
    }

    [Fact]
    public void Text_that_is_no_unicode_and_an_object_without_a_kind_are_parsed_at_once()
    {
        Assert.True(Parse("ADDED", Pod.Replace("\"x\"", "\"\\ud800\"", StringComparison.Ordinal)).Text.Utf8.IsEmpty);
        var bare = Parse("ADDED", Pod.Replace("\"kind\":\"Pod\",", "", StringComparison.Ordinal));
        Assert.True(bare.Text.Utf8.IsEmpty);
        Assert.Equal("Pod", bare.Object.Kind());
    }

    [Theory]
    [InlineData("""{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","uid":"u","resourceVersion":"1","uid":"v"}}}""")]
    [InlineData("""{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","uid":"u","resourceVersion":"1"}}""")]
    [InlineData("""{"type":"ADDED","object":[]}""")]
    [InlineData("""{"type":"ADDED"}""")]
    public void Bad_events_are_errors(string line)
        => Assert.Throws<KubeException>(() => WatchLines.Parse(new ReadOnlySequence<byte>(Encoding.UTF8.GetBytes(line)), ResourceKind.Pod));

    [Fact]
    public void Error_event_and_bookmark_are_told_apart()
    {
        var error = Assert.Throws<KubeException>(() => Parse("ERROR", """{"kind":"Status","apiVersion":"v1","metadata":{},"code":410,"reason":"Expired","message":"too old"}"""));
        Assert.Equal(410, error.Code);
        Assert.Equal(WatchEventType.Bookmark, Parse("BOOKMARK", """{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"44"}}""").Type);
        Assert.Null(WatchLines.Parse(new ReadOnlySequence<byte>(Encoding.UTF8.GetBytes("{\"type\":\"NEW\",\"object\":" + Pod + "}")), ResourceKind.Pod));
    }

    private static WatchEvent Parse(string type, string obj)
        => WatchLines.Parse(new ReadOnlySequence<byte>(Encoding.UTF8.GetBytes("{\"type\":\"" + type + "\",\"object\":" + obj + "}")), ResourceKind.Pod)!;
}
