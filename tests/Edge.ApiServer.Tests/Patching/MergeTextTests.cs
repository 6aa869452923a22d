using System.Buffers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.ApiServer.Patching;
using Edge.ApiServer.Schema;
using Edge.ApiServer.Validation;
using Xunit;

namespace Edge.ApiServer.Tests.Patching;

/// <summary>The short way of a status patch, on text, beside the general one on trees.</summary>
[Trait("Category", "Kubernetes")]
public sealed class MergeTextTests
{
    private static readonly string[] s_names = ["twins", "propertyName", "reported", "value", "metadata", "state", "extensions", "count", "list", "flag", "other", "q\"\\ü"];

    [Theory]
    [InlineData("", 1)]
    [InlineData("", 2)]
    [InlineData("""{"type":"object","required":["state"],"properties":{"state":{"type":"string"},"count":{"type":"integer"},"flag":{"type":"boolean"},"list":{"type":"array","items":{"type":"integer"}},"metadata":{"type":"object","additionalProperties":{"type":"string"}},"reported":{"type":"object","required":["value"],"properties":{"value":{"type":"string"},"count":{"type":"integer","minimum":3}}},"extensions":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}""", 3)]
    [InlineData("""{"type":"object","properties":{"state":{"type":"string","enum":["a","b"]},"value":{"type":"string","maxLength":1},"count":{"type":"number"},"list":{"type":"array","maxItems":1,"items":{"type":"object","properties":{"value":{"type":"string"}}}},"other":{"type":"object","maxProperties":1,"additionalProperties":{"type":"integer"}},"flag":{"x-kubernetes-int-or-string":true}}}""", 4)]
    public void A_patch_that_passes_the_look_needs_nothing_from_the_schema_and_merges_as_trees_do(string status, int seed)
    {
        var schema = status.Length == 0 ? DeviceStatus() : Custom(status);
        var (random, passed, held) = (new Random(seed), 0, 0);
        for (var i = 0; i < 4000; i++)
        {
            var old = new JsonObject { ["status"] = Value(random, 0, 0.8) as JsonObject ?? [] };
            schema.PruneStatus(old);
            if (schema.ValidateStatus(old, null).Count > 0)
                old.Remove("status");
            var patch = Value(random, 0, 0.8) as JsonObject ?? [];
            var next = (JsonObject)MergePatch.Apply(old, new JsonObject { ["status"] = patch.DeepClone() })!;
            using var oldText = old["status"] is { } there ? JsonDocument.Parse(there.ToJsonString()) : null;
            using var patchText = JsonDocument.Parse(patch.ToJsonString(new JsonSerializerOptions { WriteIndented = true }));
            Assert.True(JsonNode.DeepEquals(next["status"], Merged(oldText?.RootElement ?? default, patchText.RootElement)), $"{i}: {old} and {patch}");

            if (!PlainValue.MayMerge(schema.Root.Member("status")!, patchText.RootElement, oldText?.RootElement ?? default))
            {
                held++;
                continue;
            }

            passed++;
            var before = next.ToJsonString();
            Assert.Empty(schema.PruneStatus(next));
            schema.DefaultStatus(next);
            Assert.Equal(before, next.ToJsonString());
            Assert.Empty(schema.ValidateStatus(next, null));
        }

        Assert.True(passed > 40 && held > 100, $"passed {passed}, held {held}");
    }

    private static JsonNode? Merged(JsonElement old, JsonElement patch)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(buffer);
        MergeText.Write(json, old, patch);
        json.Flush();
        Assert.DoesNotContain("\n", Encoding.UTF8.GetString(buffer.WrittenSpan), StringComparison.Ordinal); // a watch has an event a line
        return JsonNode.Parse(buffer.WrittenSpan);
    }

    private static JsonNode? Value(Random random, int depth, double objects)
    {
        if (depth < 4 && random.NextDouble() < objects)
        {
            var obj = new JsonObject();
            for (var n = random.Next(4); n > 0; n--)
            {
                var name = s_names[random.Next(s_names.Length)];
                obj[name] = name switch
                {
                    // Mostly as the schemas have it.
                    _ when random.Next(8) == 0 => Value(random, depth + 1, 0.3),
                    "twins" or "list" => new JsonArray([.. Enumerable.Range(0, random.Next(3)).Select(_ => Value(random, depth + 1, name == "twins" ? 1 : 0.3))]),
                    "count" => random.Next(9),
                    "flag" => random.Next(2) == 0,
                    "propertyName" or "value" or "state" => $"{(char)('a' + random.Next(4))}\n",
                    _ => Value(random, depth + 1, 1),
                };
            }

            return obj;
        }

        return random.Next(6) switch
        {
            0 => null,
            1 => random.Next(5),
            2 => random.Next(2) == 0,
            3 => 1.5,
            4 => new JsonArray(1, null, new JsonObject { ["value"] = null }),
            _ => "t\u2028ü\"",
        };
    }

    private static StructuralSchema DeviceStatus()
    {
        Assert.True(CustomResource.TryParse(Json.Yaml(Json.RepositoryFile("manifests/crds/devices.kubeedge.io_devicestatuses.yaml")), out var definition, out _));
        return definition.Versions[0].Schema;
    }

    private static StructuralSchema Custom(string status)
    {
        var errors = new List<FieldError>();
        var schema = StructuralSchema.Parse(Json.Object($$$"""{"type":"object","properties":{"status":{{{status}}}}}"""), "schema", errors);
        Assert.Empty(errors);
        return schema;
    }
}
