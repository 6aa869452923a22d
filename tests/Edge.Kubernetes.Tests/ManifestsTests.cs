using System.Text;
using System.Text.Json.Nodes;

namespace Edge.Kubernetes.Tests;

[Trait("Category", "Kubernetes")]
public sealed class ManifestsTests
{
    [Fact]
    public void Documents_come_in_order_without_the_empty_ones()
    {
        var objects = Manifests.Parse("""
            # nothing
            ---
            apiVersion: v1
            kind: ConfigMap
            metadata: {name: a}
            ---
            ---
            apiVersion: v1
            kind: Secret
            metadata:
              name: b
            """);
        Assert.Equal(["ConfigMap a", "Secret b"], objects.Select(obj => $"{obj.Kind()} {obj.Name()}"));
    }

    [Theory]
    [InlineData("1", "1")]
    [InlineData("-7", "-7")]
    [InlineData("0644", "420")]
    [InlineData("0o644", "420")]
    [InlineData("0x1F", "31")]
    [InlineData("089", "89")]
    [InlineData("1.5", "1.5")]
    [InlineData("1e3", "1000")]
    [InlineData("18446744073709551615", "18446744073709551615")]
    [InlineData("true", "true")]
    [InlineData("off", "false")]
    [InlineData("yes", "true")]
    [InlineData("~", "null")]
    [InlineData("", "null")]
    [InlineData("null", "null")]
    [InlineData("y", "\"y\"")]
    [InlineData("\"1\"", "\"1\"")]
    [InlineData("'true'", "\"true\"")]
    [InlineData("!!str 1", "\"1\"")]
    [InlineData("1.2.3", "\"1.2.3\"")]
    [InlineData("10.0.0.1", "\"10.0.0.1\"")]
    [InlineData("12:30:00", "\"12:30:00\"")]
    [InlineData("2020-01-01", "\"2020-01-01\"")]
    [InlineData(".inf", "\".inf\"")]
    [InlineData("100m", "\"100m\"")]
    [InlineData("-", "\"-\"")]
    public void A_scalar_has_the_type_kubectl_gives_it(string yaml, string json)
        => Assert.Equal(json, Manifests.ParseValue($"x: {(yaml == "-" ? "\"-\"" : yaml)}")!["x"]?.ToJsonString() ?? "null");

    [Fact]
    public void Anchors_aliases_and_merge_keys_are_resolved()
    {
        var node = Manifests.ParseValue("""
            base: &base {a: 1, b: 2}
            one: {<<: *base, b: 3}
            two: *base
            """)!;
        Assert.Equal("""{"b":3,"a":1}""", node["one"]!.ToJsonString());
        Assert.Equal("""{"a":1,"b":2}""", node["two"]!.ToJsonString());
    }

    [Fact]
    public void Json_with_tabs_and_a_list_counts_as_its_items()
    {
        var objects = Manifests.Parse("{\n\t\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"p\"}}]}");
        Assert.Equal("p", Assert.Single(objects).Name());
    }

    [Theory]
    [InlineData("a: [1, 2", "line 2: is not valid YAML")]
    [InlineData("a: 1\na: 2", "line 2: the key 'a' stands twice")]
    [InlineData("a: *nope", "nope")]
    [InlineData("just text", "must be an object")]
    [InlineData("kind: Pod\nmetadata: {name: x}", "has no apiVersion (metadata.name: x)")]
    [InlineData("apiVersion: v1\nkind: Pod", "has no metadata.name")]
    public void What_is_no_manifest_is_an_error_that_says_where(string yaml, string said)
        => Assert.Contains(said, Assert.Throws<ManifestException>(() => Manifests.Parse(yaml)).Message, StringComparison.Ordinal);

    [Fact]
    public void Deep_nesting_and_exploding_aliases_are_refused_before_they_take_memory()
    {
        Assert.Contains("deeper", Assert.Throws<ManifestException>(() => Manifests.ParseValue("a: " + new string('[', 100_000))).Message, StringComparison.Ordinal);
        var bomb = new StringBuilder("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for (var i = 1; i < 10; i++)
            bomb.Append(System.Globalization.CultureInfo.InvariantCulture, $"a{i}: &a{i} [{string.Join(", ", Enumerable.Repeat($"*a{i - 1}", 10))}]\n");
        Assert.Contains("more than", Assert.Throws<ManifestException>(() => Manifests.ParseValue(bomb.ToString())).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_the_writer_writes_reads_back_the_same()
    {
        var node = JsonNode.Parse("""
            {"a":{"b":[1,"2",{"c":null,"d":[]},["x","y"],{}],"text":"line 1\n  line 2\n\nline 4\n","open":"a\nb","tail":"a\n\n"},
             "strings":["true","no","null","~","","0644","1e3","- x","a: b","a #b","it's","\u0001","tab\there","#c","@at","*star","-dash","name","10.0.0.1","key:","%x","ünï"," pad "],
             "numbers":[0,-1,1.5,true,false],"ke: y":{"1":2},"":"empty key","\n":"x"}
            """)!;
        var yaml = YamlWriter.Write(node);
        Assert.True(JsonNode.DeepEquals(node, Manifests.ParseValue(yaml)), yaml);
    }

    [Fact]
    public void The_writer_writes_as_kubectl_does()
        => Assert.Equal(
            "apiVersion: v1\nmetadata:\n  labels: {}\n  name: web\nspec:\n  containers:\n  - image: busybox\n    args:\n    - sh\n    - -c\n",
            YamlWriter.Write(JsonNode.Parse("""{"apiVersion":"v1","metadata":{"labels":{},"name":"web"},"spec":{"containers":[{"image":"busybox","args":["sh","-c"]}]}}""")).Replace("'-c'", "-c", StringComparison.Ordinal));
}
