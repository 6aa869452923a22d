using System.Text.Json.Nodes;
using Edge.Core.Edged;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Pods")]
public sealed class PodEnvironmentTests
{
    private const string Objects = """
        {
          "configmap/c":{"data":{"mode":"eco","url":"http://$(HOST)"}},
          "secret/s":{"data":{"password":"Z2VoZWlt","mode":"dHVyYm8="}},
          "secret/bad":{"data":{"key":"%%%"}}
        }
        """;

    private static readonly JsonObject s_objects = (JsonObject)JsonNode.Parse(Objects)!;

    [Theory]
    [InlineData("plain", "plain")]
    [InlineData("$(A)", "1")]
    [InlineData("x$(A)y$(B)z", "x1y2z")]
    [InlineData("$(MISSING)", "$(MISSING)")]
    [InlineData("$$(A)", "$(A)")]
    [InlineData("$$$(A)", "$1")]
    [InlineData("$$$$(A)", "$$(A)")]
    [InlineData("$$", "$")]
    [InlineData("$", "$")]
    [InlineData("$A", "$A")]
    [InlineData("$(A", "$(A")]
    [InlineData("$()", "$()")]
    [InlineData("$(A$(B))", "$(A$(B))")]
    [InlineData("", "")]
    public void References_expand_and_a_doubled_dollar_escapes_one(string text, string expected)
        => Assert.Equal(expected, PodEnvironment.Expand(text, new Dictionary<string, string> { ["A"] = "1", ["B"] = "2" }));

    [Fact]
    public void A_variable_sees_those_before_it_and_not_those_after()
        => Assert.Equal(
            "A=1 B=1-$(C) C=3 D=$(A)",
            Resolve("""{"env":[{"name":"A","value":"1"},{"name":"B","value":"$(A)-$(C)"},{"name":"C","value":"3"},{"name":"D","value":"$$(A)"}]}"""));

    [Fact]
    public void A_later_variable_of_the_same_name_replaces_the_earlier_and_can_use_it()
        => Assert.Equal("A=12 B=x", Resolve("""{"env":[{"name":"A","value":"1"},{"name":"B","value":"x"},{"name":"A","value":"$(A)2"}]}"""));

    [Fact]
    public void EnvFrom_brings_every_key_with_its_prefix_and_later_sources_and_env_win()
    {
        Assert.Equal(
            "mode=turbo url=http://$(HOST) password=geheim",
            Resolve("""{"envFrom":[{"configMapRef":{"name":"c"}},{"secretRef":{"name":"s"}}]}"""));
        Assert.Equal(
            "C_mode=eco C_url=http://$(HOST) mode=own-eco",
            Resolve("""{"envFrom":[{"prefix":"C_","configMapRef":{"name":"c"}}],"env":[{"name":"mode","value":"own-$(C_mode)"}]}"""));
    }

    [Fact]
    public void Keys_of_ConfigMaps_and_Secrets_are_taken_as_they_are()
        => Assert.Equal(
            "U=http://$(HOST) P=geheim",
            Resolve("""{"env":[{"name":"HOST","value":"h"},{"name":"U","valueFrom":{"configMapKeyRef":{"name":"c","key":"url"}}},{"name":"P","valueFrom":{"secretKeyRef":{"name":"s","key":"password"}}}]}""")
                .Replace("HOST=h ", "", StringComparison.Ordinal));

    [Theory]
    [InlineData("""{"envFrom":[{"configMapRef":{"name":"none","optional":true}},{"secretRef":{"name":"none","optional":true}}],"env":[{"name":"A","value":"1"}]}""")]
    [InlineData("""{"env":[{"name":"X","valueFrom":{"configMapKeyRef":{"name":"none","key":"k","optional":true}}},{"name":"A","value":"1"}]}""")]
    [InlineData("""{"env":[{"name":"X","valueFrom":{"secretKeyRef":{"name":"s","key":"none","optional":true}}},{"name":"A","value":"1"}]}""")]
    public void What_is_optional_may_be_missing(string container) => Assert.Equal("A=1", Resolve(container));

    [Theory]
    [InlineData("""{"envFrom":[{"configMapRef":{"name":"none"}}]}""", "configmap \"none\" not found")]
    [InlineData("""{"envFrom":[{"secretRef":{"name":"none"}}]}""", "secret \"none\" not found")]
    [InlineData("""{"env":[{"name":"X","valueFrom":{"configMapKeyRef":{"name":"c","key":"none"}}}]}""", "couldn't find key none in ConfigMap default/c")]
    [InlineData("""{"env":[{"name":"X","valueFrom":{"secretKeyRef":{"name":"s","key":"none"}}}]}""", "couldn't find key none in Secret default/s")]
    [InlineData("""{"env":[{"name":"X","valueFrom":{"secretKeyRef":{"name":"bad","key":"key"}}}]}""", "key key of bad is not base64")]
    [InlineData("""{"env":[{"name":"X","valueFrom":{"fieldRef":{"fieldPath":"spec.color"}}}]}""", "unsupported fieldPath: spec.color")]
    [InlineData("""{"env":[{"name":"X","valueFrom":{"resourceFieldRef":{"resource":"cpu"}}}]}""", "unsupported container resource: cpu")]
    public void What_is_missing_is_named_in_kubelets_words(string container, string message)
        => Assert.Equal(message, Assert.Throws<PodConfigException>(() => Resolve(container)).Message);

    [Theory]
    [InlineData("metadata.name", "p")]
    [InlineData("metadata.namespace", "default")]
    [InlineData("metadata.uid", "u1")]
    [InlineData("metadata.labels['app']", "web")]
    [InlineData("metadata.annotations['example.com/note']", "a \"b\"\nc")]
    [InlineData("metadata.labels['none']", "")]
    [InlineData("metadata.labels", "app=\"web\"\ntier=\"1\"")]
    [InlineData("metadata.annotations", "example.com/note=\"a \\\"b\\\"\\nc\"")]
    [InlineData("spec.nodeName", "node-1")]
    [InlineData("spec.serviceAccountName", "default")]
    [InlineData("status.hostIP", "192.0.2.1")]
    [InlineData("status.podIP", "10.0.0.2")]
    [InlineData("status.podIPs", "10.0.0.2,fd00::2")]
    public void Fields_of_the_pod_are_those_of_the_downward_API(string path, string expected)
        => Assert.Equal($"X={expected}", Resolve($$$$"""{"env":[{"name":"X","valueFrom":{"fieldRef":{"fieldPath":"{{{{path}}}}"}}}]}"""));

    [Theory]
    [InlineData("limits.cpu", null, "2")]
    [InlineData("limits.cpu", "1m", "1500")]
    [InlineData("requests.cpu", "1m", "250")]
    [InlineData("limits.memory", "1Mi", "64")]
    [InlineData("requests.memory", null, "67108864")]
    public void Resources_are_in_units_of_the_divisor_rounded_up_and_a_missing_request_is_the_limit(string resource, string? divisor, string expected)
    {
        var reference = new JsonObject { ["resource"] = resource };
        if (divisor is not null)
            reference["divisor"] = divisor;
        var container = new JsonObject
        {
            ["resources"] = JsonNode.Parse("""{"limits":{"cpu":"1500m","memory":"64Mi"},"requests":{"cpu":"250m"}}"""),
            ["env"] = new JsonArray(new JsonObject { ["name"] = "X", ["valueFrom"] = new JsonObject { ["resourceFieldRef"] = reference } }),
        };
        Assert.Equal($"X={expected}", Resolve(container.ToJsonString()));
    }

    private static string Resolve(string container)
    {
        var item = (JsonObject)JsonNode.Parse(container)!;
        item["name"] = "a";
        var spec = new JsonObject { ["nodeName"] = "node-1", ["serviceAccountName"] = "default", ["containers"] = new JsonArray(item) };
        var pod = PodBench.Read(spec.ToJsonString(), """{"labels":{"tier":"1","app":"web"},"annotations":{"example.com/note":"a \"b\"\nc"}}""");
        var resolved = PodEnvironment.Resolve(
            pod, pod.Containers[0], (type, name) => s_objects[$"{type}/{name}"] as JsonObject, "192.0.2.1", ["10.0.0.2", "fd00::2"]);
        return string.Join(' ', resolved.Select(pair => $"{pair.Key}={pair.Value}"));
    }
}
