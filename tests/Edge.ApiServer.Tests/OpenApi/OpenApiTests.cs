using System.Text;
using System.Text.Json.Nodes;
using Edge.ApiServer.OpenApi;
using Edge.ApiServer.Schema;
using Edge.Kubernetes;
using Xunit;

namespace Edge.ApiServer.Tests;

[Trait("Category", "Kubernetes")]
public sealed class OpenApiTests
{
    private static readonly ResourceKind s_widget = new("example.com", "v1", "widgets", "Widget", true);

    private static readonly (ResourceKind, StructuralSchema?)[] s_kinds =
        [
            (ResourceKind.Pod, null), (ResourceKind.Lease, null), (ResourceKind.CustomResourceDefinition, null), (ResourceKind.PersistentVolume, null), (ResourceKind.PersistentVolumeClaim, null),
            (ResourceKind.StorageClass, null), (s_widget, CustomResourceTests.Schema("""{"spec":{"type":"object","properties":{"size":{"type":"integer"}}}}""")),
        ];

    [Fact]
    public void Every_kinds_patch_names_its_kind_and_takes_fieldValidation()
    {
        var document = OpenApiV3.GroupVersion("example.com", "v1", s_kinds);
        var patch = document["paths"]!["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]!["patch"]!;
        Assert.Equal("Widget", patch.Text("x-kubernetes-group-version-kind", "kind"));
        Assert.Contains("fieldValidation", patch.Items("parameters").Select(parameter => parameter.Text("name")));
        Assert.Equal("/openapi/v3/apis/example.com/v1", OpenApiV3.Root(s_kinds).Text("paths", "apis/example.com/v1", "serverRelativeURL").Split('?')[0]);
    }

    [Fact]
    public void No_reference_dangles()
    {
        foreach (var (document, prefix, at) in new[] { (OpenApiV2.Json(s_kinds), "#/definitions/", (string[])["definitions"]), (OpenApiV3.GroupVersion("", "v1", s_kinds), "#/components/schemas/", ["components", "schemas"]) })
        {
            var names = document.At(at)!.AsObject().Select(pair => prefix + pair.Key).ToHashSet();
            Assert.All(References(document), reference => Assert.Contains(reference, names));
        }
    }

    [Fact]
    public void The_protobuf_is_made_of_whole_fields_and_holds_paths_and_definitions()
    {
        var bytes = OpenApiV2.Protobuf(s_kinds);
        var fields = Fields(bytes);
        Assert.Equal([1, 2, 8, 9], fields.Select(field => field.Number));
        Assert.Equal("2.0", Encoding.UTF8.GetString(fields[0].Bytes));
        var definitions = Fields(fields[3].Bytes).Select(named => Encoding.UTF8.GetString(Fields(named.Bytes)[0].Bytes)).ToList();
        Assert.Contains("io.k8s.api.core.v1.Pod", definitions);
        Assert.Contains("com.example.v1.Widget", definitions);
        Assert.Contains("""{"group":"example.com","kind":"Widget","version":"v1"}""", Encoding.UTF8.GetString(bytes), StringComparison.Ordinal);
    }

    private static IEnumerable<string> References(JsonNode? node) => node switch
    {
        JsonObject obj => obj.SelectMany(pair => pair.Key == "$ref" && pair.Value is JsonValue value ? [value.GetValue<string>()] : References(pair.Value)),
        JsonArray array => array.SelectMany(References),
        _ => [],
    };

    private static List<(int Number, byte[] Bytes)> Fields(byte[] bytes)
    {
        var fields = new List<(int, byte[])>();
        for (var i = 0; i < bytes.Length;)
        {
            var tag = Varint(ref i);
            Assert.Equal(2UL, tag & 7);
            var length = (int)Varint(ref i);
            fields.Add(((int)(tag >> 3), bytes[i..(i + length)]));
            i += length;
        }

        return fields;

        ulong Varint(ref int i)
        {
            for (ulong value = 0, shift = 0; ; shift += 7)
            {
                var b = bytes[i++];
                value |= (ulong)(b & 0x7f) << (int)shift;
                if (b < 0x80)
                    return value;
            }
        }
    }
}
