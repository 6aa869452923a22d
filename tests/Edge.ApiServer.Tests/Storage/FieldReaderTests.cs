using System.Text;
using Edge.ApiServer.Storage;
using Edge.Kubernetes.Selectors;

namespace Edge.ApiServer.Tests.Storage;

[Trait("Category", "Kubernetes")]
public sealed class FieldReaderTests
{
    private const string Text = """{"apiVersion":"v1","skipped":{"spec":{"n":1},"l":[{"spec":2}]},"metadata":{"name":"x\u00e9","labels":{"a":"1","b":2,"c":null,"d":{"e":1},"f":true}},"spec":{"n":1.50,"on":false,"none":null,"deep":{"list":[1],"k\u0065y":"v"}}}""";

    [Theory]
    [InlineData("apiVersion")]
    [InlineData("metadata.name")]
    [InlineData("metadata.labels.a")]
    [InlineData("metadata.labels")]
    [InlineData("spec.n")]
    [InlineData("spec.on")]
    [InlineData("spec.none")]
    [InlineData("spec.deep.key")]
    [InlineData("spec.deep.list")]
    [InlineData("spec.deep.list.0")]
    [InlineData("spec.n.more")]
    [InlineData("absent")]
    [InlineData("")]
    public void A_field_reads_as_out_of_the_tree(string path)
        => Assert.Equal(FieldSelector.Read(Json.Object(Text), path), FieldReader.Text(Encoding.UTF8.GetBytes(Text), path));

    [Fact]
    public void A_map_reads_with_its_scalars_as_text()
    {
        Assert.Equal(new Dictionary<string, string> { ["a"] = "1", ["b"] = "2", ["f"] = "true" }, FieldReader.Map(Encoding.UTF8.GetBytes(Text), "metadata.labels"));
        Assert.Empty(FieldReader.Map(Encoding.UTF8.GetBytes(Text), "metadata.annotations"));
        Assert.Empty(FieldReader.Map(Encoding.UTF8.GetBytes(Text), "metadata.name"));
    }
}
