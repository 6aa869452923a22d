using System.Text.Json.Nodes;
using Edge.ApiServer.Schema;
using Xunit;

namespace Edge.ApiServer.Tests;

[Trait("Category", "Kubernetes")]
public sealed class CustomResourceTests
{
    [Theory]
    [InlineData("devices.kubeedge.io_devices")]
    [InlineData("devices.kubeedge.io_devicemodels")]
    [InlineData("devices.kubeedge.io_devicestatuses")]
    [InlineData("reliablesyncs.kubeedge.io_objectsyncs")]
    [InlineData("reliablesyncs.kubeedge.io_clusterobjectsyncs")]
    public void The_CRDs_of_this_repository_are_valid(string file)
    {
        var valid = CustomResource.TryParse(Json.Yaml(Json.RepositoryFile($"manifests/crds/{file}.yaml")), out _, out var errors);
        Assert.True(valid, string.Join("\n", errors));
    }

    [Theory]
    [InlineData("""{"name":"t","type":"INT","accessMode":"ReadOnly","minimum":"0","maximum":"1e2"}""", "")]
    [InlineData("""{"name":"t","type":"WORD","accessMode":"ReadOnly"}""", "spec.properties[0].type: Unsupported value: \"WORD\"")]
    [InlineData("""{"name":"t","type":"INT","accessMode":"ReadOnly","minimum":"low"}""", "spec.properties[0].minimum: Invalid value: \"low\"")]
    [InlineData("""{"name":"t","type":"INT","accessMode":"ReadOnly","minimum":"5","maximum":"1"}""", "minimum must not exceed maximum")]
    [InlineData("""{"name":"t","type":"STRING","accessMode":"ReadOnly","minimum":"5"}""", "are for the types INT, FLOAT and DOUBLE")]
    [InlineData("""{"name":"t","type":"INT"}""", "spec.properties[0].accessMode: Required value")]
    [InlineData("""{"name":"t","type":"INT","accessMode":"ReadOnly"},{"name":"t","type":"INT","accessMode":"ReadOnly"}""", "spec.properties[1]: Duplicate value: {\"name\":\"t\"}")]
    public void A_device_model_is_checked_beyond_what_KubeEdge_does(string properties, string expected)
    {
        Assert.True(CustomResource.TryParse(Json.Yaml(Json.RepositoryFile("manifests/crds/devices.kubeedge.io_devicemodels.yaml")), out var definition, out _));
        var errors = definition.Versions[0].Schema.Validate(Json.Object($$$"""{"spec":{"properties":[{{{properties}}}]}}"""), null);
        if (expected.Length == 0)
            Assert.Empty(errors);
        else
            Assert.Contains(errors, error => error.ToString().Contains(expected, StringComparison.Ordinal));
    }

    [Fact]
    public void Defaults_fill_in_and_unknown_fields_go()
    {
        var schema = Schema("""{"spec":{"type":"object","default":{},"properties":{"n":{"type":"integer","default":3},"free":{"type":"object","x-kubernetes-preserve-unknown-fields":true},"l":{"type":"array","items":{"type":"object","properties":{"a":{"type":"string","default":"x"}}}}}}}""");
        var obj = Json.Object("""{"apiVersion":"g/v1","kind":"K","metadata":{"name":"x"},"spec":{"l":[{"b":1}],"free":{"any":1},"z":1}}""");
        Assert.Equal(["spec.l[0].b", "spec.z"], schema.Prune(obj));
        schema.Default(obj);
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse("""{"l":[{"a":"x"}],"free":{"any":1},"n":3}"""), obj["spec"]), obj.ToJsonString());
        var empty = new JsonObject();
        schema.Default(empty);
        Assert.Equal("""{"spec":{"n":3}}""", empty.ToJsonString());
    }

    [Theory]
    [InlineData("""{"spec":{"type":"object"},"status":{"type":"object"}}""", true)]
    [InlineData("""{"spec":{"type":"object"},"status":{"type":"object","x-kubernetes-validations":[{"rule":"true"}]}}""", true)]
    [InlineData("""{"spec":{"type":"object","x-kubernetes-validations":[{"rule":"self == oldSelf"}]},"status":{"type":"object"}}""", false)]
    [InlineData("""{"spec":{"type":"object","properties":{"n":{"type":"integer","x-kubernetes-validations":[{"rule":"self > 0"}]}}},"status":{"type":"object"}}""", false)]
    public void A_status_stands_apart_where_no_rule_judges_the_rest(string properties, bool isApart) => Assert.Equal(isApart, Schema(properties).IsStatusApart);

    [Fact]
    public void A_status_alone_is_pruned_defaulted_and_judged_as_with_the_whole()
    {
        var schema = Schema("""{"spec":{"type":"object","properties":{"n":{"type":"integer"}}},"status":{"type":"object","properties":{"phase":{"type":"string","default":"New"},"count":{"type":"integer","minimum":1},"list":{"type":"array","items":{"type":"object","properties":{"a":{"type":"string"}}}}}}}""");
        var whole = Json.Object("""{"metadata":{"name":"x"},"spec":{"n":1},"status":{"count":0,"z":1,"list":[{"b":1}]}}""");
        var alone = (JsonObject)whole.DeepClone();
        Assert.Equal(schema.Prune(whole), schema.PruneStatus(alone));
        schema.Default(whole);
        schema.DefaultStatus(alone);
        Assert.Equal("New", (string?)alone["status"]!["phase"]);
        Assert.Equal(whole.ToJsonString(), alone.ToJsonString());
        var errors = schema.Validate(whole, null).Select(error => error.ToString()).ToList();
        Assert.Equal(errors, schema.ValidateStatus(alone, null).Select(error => error.ToString()));
        Assert.Contains(errors, error => error.StartsWith("status.count", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("""{"type":"integer"}""", "\"x\"", "v: Invalid value: \"string\": v in body must be of type integer: \"string\"")]
    [InlineData("""{"type":"integer","minimum":1}""", "0", "v: Invalid value: 0: v in body should be greater than or equal to 1")]
    [InlineData("""{"type":"number","maximum":1,"exclusiveMaximum":true}""", "1", "v: Invalid value: 1: v in body should be less than 1")]
    [InlineData("""{"type":"number","multipleOf":0.5}""", "0.7", "v: Invalid value: 0.7: v in body should be a multiple of 0.5")]
    [InlineData("""{"type":"string","enum":["a","b"]}""", "\"c\"", "v: Unsupported value: \"c\": supported values: \"a\", \"b\"")]
    [InlineData("""{"type":"string","pattern":"^\\d+$"}""", "\"1a\"", "v: Invalid value: \"1a\": v in body should match '^\\d+$'")]
    [InlineData("""{"type":"string","minLength":2}""", "\"é\"", "v: Invalid value: \"é\": v in body should be at least 2 chars long")]
    [InlineData("""{"type":"string","format":"date-time"}""", "\"now\"", "v: Invalid value: \"now\": v in body must be of type date-time: \"now\"")]
    [InlineData("""{"type":"array","maxItems":1,"items":{"type":"string"}}""", """["a","b"]""", "v: Too many: 2: must have at most 1 items")]
    [InlineData("""{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}}""", """["a","a"]""", "v[1]: Duplicate value: \"a\"")]
    [InlineData("""{"type":"object","required":["a"],"properties":{"a":{"type":"string"}}}""", "{}", "v.a: Required value")]
    [InlineData("""{"type":"object","additionalProperties":{"type":"string"}}""", """{"k":1}""", "v.k: Invalid value: \"integer\": v.k in body must be of type string: \"integer\"")]
    [InlineData("""{"x-kubernetes-int-or-string":true}""", "true", "v: Invalid value: \"boolean\": v in body must be of type integer or string: \"boolean\"")]
    [InlineData("""{"type":"string"}""", "null", "v: Invalid value: \"null\": v in body must be of type string: \"null\"")]
    [InlineData("""{"type":"integer","oneOf":[{"minimum":5},{"maximum":9}]}""", "7", "v: Invalid value: 7: \"v\" must validate one and only one schema (oneOf). Found 2 valid")]
    public void A_wrong_value_is_told_in_Kubernetes_words(string schema, string value, string expected)
        => Assert.Contains(expected, Schema($$"""{"v":{{schema}}}""").Validate(Json.Object($$"""{"v":{{value}}}"""), null).Select(error => error.ToString()));

    [Theory]
    [InlineData("self.a <= self.b", true)]
    [InlineData("self.a > self.b", false)]
    [InlineData("has(self.missing) || self.a + 1 == 2", true)]
    [InlineData("!has(self.missing) && size(self.list) == 2", true)]
    [InlineData("self.list.all(x, x.startsWith('i'))", true)]
    [InlineData("self.list.exists(x, x == 'item2') && 'item1' in self.list", true)]
    [InlineData("self.list.filter(x, x.endsWith('2')).size() == 1", true)]
    [InlineData("self.name.matches('^[a-z]+$')", true)]
    [InlineData("self.a == 1 ? self.b == 2 : false", true)]
    [InlineData("double(self.text) < 2.0 && int('3') == 3", true)]
    [InlineData("-self.a * 3 % 2 == -1", true)]
    [InlineData("self.b / 2 - self.a == 0", true)]
    [InlineData("self.missing == 'x'", false)]
    [InlineData("self.missing == 'x' || true", true)]
    public void Rules_are_evaluated(string rule, bool holds)
    {
        var errors = Ruled(rule).Validate(Json.Object("""{"spec":{"a":1,"b":2,"name":"abc","text":"1.5","list":["item1","item2"]}}"""), null);
        Assert.Equal(holds, errors.Count == 0);
    }

    [Fact]
    public void A_transition_rule_compares_with_the_old_value_and_rests_on_create()
    {
        var schema = Ruled("self.a >= oldSelf.a");
        Assert.Empty(schema.Validate(Json.Object("""{"spec":{"a":1}}"""), null));
        Assert.Equal("spec: Invalid value: \"object\": failed rule: self.a >= oldSelf.a", Assert.Single(schema.Validate(Json.Object("""{"spec":{"a":1}}"""), Json.Object("""{"spec":{"a":2}}"""))).ToString());
    }

    [Theory]
    [InlineData("self.unknown == 1", "undefined field 'unknown'")]
    [InlineData("self.a == 'x'", "found no matching overload for '_==_' applied to '(int, string)'")]
    [InlineData("self.a", "must evaluate to a bool")]
    [InlineData("quantity(self.text) == 1", "the function quantity() is not supported")]
    [InlineData("self.list.sum() == 1", "the method sum() is not supported")]
    [InlineData("{'a': 1}.size() == 1", "map literals and optional access are not supported")]
    [InlineData("self.a == ", "unexpected the end")]
    [InlineData("self.name.matches('(')", "must be a valid regular expression")]
    public void A_rule_outside_the_subset_is_refused_when_the_CRD_is_made(string rule, string expected)
    {
        Assert.False(CustomResource.TryParse(Crd(SpecWith(rule)), out _, out var errors));
        Assert.Contains(expected, Assert.Single(errors).ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_CRD_that_is_not_structural_is_refused()
    {
        Assert.False(CustomResource.TryParse(Crd("""{"spec":{"properties":{"a":{"type":"text"}}},"l":{"type":"array"}}"""), out _, out var errors));
        Assert.Equal(
            [
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
                "spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[a].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
                "spec.versions[0].schema.openAPIV3Schema.properties[l].items: Required value: must be specified",
            ],
            errors.Select(error => error.ToString()));
    }

    internal static JsonObject Crd(string properties) => Json.Object($$$$$$"""
        {"metadata":{"name":"widgets.example.com"},"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"widgets","kind":"Widget"},
        "versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{{{{{{properties}}}}}}}}}]}}
        """);

    internal static StructuralSchema Schema(string properties)
    {
        Assert.True(CustomResource.TryParse(Crd(properties), out var definition, out var errors), string.Join("\n", errors));
        return definition.Versions[0].Schema;
    }

    private static StructuralSchema Ruled(string rule) => Schema(SpecWith(rule));

    private static string SpecWith(string rule) => new JsonObject
    {
        ["spec"] = new JsonObject
        {
            ["type"] = "object",
            ["properties"] = JsonNode.Parse("""{"a":{"type":"integer"},"b":{"type":"integer"},"name":{"type":"string"},"text":{"type":"string"},"missing":{"type":"string"},"list":{"type":"array","items":{"type":"string"}}}"""),
            ["x-kubernetes-validations"] = new JsonArray(new JsonObject { ["rule"] = rule }),
        },
    }.ToJsonString();
}
