using Edge.Common.Configuration;

namespace Edge.Common.Tests.Configuration;

[Trait("Category", "Unit")]
public sealed class ConfigFileTests
{
    private const string Yaml = """
        apiVersion: cloudcore.config.kubeedge.io/v1alpha1
        kind: CloudCore
        modules:
          cloudHub:
            nodeLimit: 500
            websocket:
              enable: true
              port: 10000
            dnsNames: [a, b]
        """;

    [Fact]
    public void Known_keys_are_read_with_their_types()
    {
        var file = ConfigFile.Parse("cloudcore.yaml", Yaml, []);
        Assert.Equal(10000, ReadPort(file));
        file.ThrowIfInvalid();
    }

    [Fact]
    public void A_mistyped_key_names_file_line_path_and_the_key_that_was_meant()
    {
        var file = ConfigFile.Parse("cloudcore.yaml", Yaml.Replace("nodeLimit", "nodeLimt", StringComparison.Ordinal), []);
        ReadPort(file);
        var error = Assert.Throws<ConfigException>(file.ThrowIfInvalid);
        Assert.Equal(["cloudcore.yaml:5: modules.cloudHub.nodeLimt: is not a known key; did you mean 'nodeLimit'?"], error.Problems);
    }

    [Theory]
    [InlineData("port: 10000", "port: ten", "cloudcore.yaml:8: modules.cloudHub.websocket.port: is 'ten', must be a whole number")]
    [InlineData("port: 10000", "port: 70000", "cloudcore.yaml:8: modules.cloudHub.websocket.port: is 70000, must be from 0 to 65535")]
    [InlineData("enable: true", "enable: maybe", "cloudcore.yaml:7: modules.cloudHub.websocket.enable: is 'maybe', must be true or false")]
    [InlineData("dnsNames: [a, b]", "dnsNames: a", "cloudcore.yaml:9: modules.cloudHub.dnsNames: must be a list of texts")]
    [InlineData("kind: CloudCore", "kind: EdgeCore", "cloudcore.yaml:2: kind: is 'EdgeCore', must be 'CloudCore'")]
    public void A_wrong_value_names_its_line_and_what_it_must_be(string right, string wrong, string problem)
    {
        var file = ConfigFile.Parse("cloudcore.yaml", Yaml.Replace(right, wrong, StringComparison.Ordinal), []);
        ReadPort(file);
        Assert.Contains(problem, Assert.Throws<ConfigException>(file.ThrowIfInvalid).Problems);
    }

    [Theory]
    [InlineData("null")]
    [InlineData("~")]
    [InlineData("")]
    public void A_key_whose_value_is_null_counts_as_absent(string nothing)
    {
        var file = ConfigFile.Parse("cloudcore.yaml", $"text: {nothing}\nnumber: {nothing}\nflag: {nothing}\nlist: {nothing}\nmap: {nothing}\nsections: {nothing}\nsection: {nothing}\nquoted: \"{nothing}\"\n", []);
        Assert.Equal(("absent", 7, true, false), (file.Root.Text("text", "absent"), file.Root.Int("number", 7), file.Root.Bool("flag", true), file.Root.Has("list")));
        Assert.Equal(["a"], file.Root.Texts("list", ["a"]));
        Assert.Empty(file.Root.Map("map"));
        Assert.Empty(file.Root.Sections("sections"));
        Assert.Equal(3, file.Root.Section("section").Int("any", 3));
        Assert.Equal(nothing, file.Root.Text("quoted", "absent"));
        file.ThrowIfInvalid();
    }

    [Fact]
    public void Set_overrides_the_file_and_makes_missing_sections()
    {
        var file = ConfigFile.Parse("cloudcore.yaml", "kind: CloudCore", ["modules.cloudHub.websocket.port=1234"]);
        Assert.Equal(1234, ReadPort(file));
        file.ThrowIfInvalid();
    }

    [Fact]
    public void A_set_with_an_unknown_key_is_refused()
    {
        var file = ConfigFile.Parse("cloudcore.yaml", Yaml, ["modules.cloudHub.websocket.prot=1"]);
        ReadPort(file);
        var problem = Assert.Single(Assert.Throws<ConfigException>(file.ThrowIfInvalid).Problems);
        Assert.Contains("modules.cloudHub.websocket.prot", problem, StringComparison.Ordinal);
        Assert.Contains("did you mean 'port'", problem, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("noequals")]
    [InlineData("=1")]
    [InlineData("kind.inner=1")]
    public void A_set_that_is_no_key_path_and_value_is_refused(string text)
        => Assert.Contains("--set", Assert.Throws<ConfigException>(() => ConfigFile.Parse("x", Yaml, [text])).Message, StringComparison.Ordinal);

    [Fact]
    public void Broken_yaml_names_the_line()
        => Assert.StartsWith("x:2:", Assert.Throws<ConfigException>(() => ConfigFile.Parse("x", "a: 1\nb: ]\nc: 2", [])).Message, StringComparison.Ordinal);

    [Fact]
    public void A_missing_file_says_how_to_make_one()
        => Assert.Contains("--config", Assert.Throws<ConfigException>(() => ConfigFile.Load("/nonexistent/edgecore.yaml", [])).Message, StringComparison.Ordinal);

    private static int ReadPort(ConfigFile file)
    {
        file.Root.ExpectText("kind", "CloudCore");
        file.Root.ExpectText("apiVersion", "cloudcore.config.kubeedge.io/v1alpha1");
        var hub = file.Root.Section("modules").Section("cloudHub");
        hub.Int("nodeLimit", 500);
        hub.Texts("dnsNames", []);
        var socket = hub.Section("websocket");
        socket.Bool("enable", true);
        return socket.Int("port", 1, 0, 65535);
    }
}
