using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.Edged.Images;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Unit")]
public sealed class KeyringTests
{
    [Theory]
    [InlineData("busybox", "docker.io/library/busybox")]
    [InlineData("busybox:1.36", "docker.io/library/busybox")]
    [InlineData("team/app", "docker.io/team/app")]
    [InlineData("index.docker.io/app", "docker.io/library/app")]
    [InlineData("localhost:5000/team/app:v1", "localhost:5000/team/app")]
    [InlineData("localhost/app", "localhost/app")]
    [InlineData("Registry.example.com/app_x/y__z--w.v:T_1", "Registry.example.com/app_x/y__z--w.v")]
    [InlineData("[::1]:5000/app", "[::1]:5000/app")]
    [InlineData("r.io/app:v@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "r.io/app")]
    public void A_name_has_its_full_repository(string image, string repository)
    {
        Assert.True(ImageName.TryRepository(image, out var read, out var error), error);
        Assert.Equal(repository, read);
    }

    [Theory]
    [InlineData("", "invalid reference format")]
    [InlineData("Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase")]
    [InlineData("r.io/Team/App:1", "invalid reference format: repository name (Team/App) must be lowercase")]
    [InlineData("busybox:", "invalid reference format")]
    [InlineData("busybox:a b", "invalid reference format")]
    [InlineData("busybox@sha256:12", "invalid reference format")]
    [InlineData("-x/y", "invalid reference format")]
    [InlineData("r.io//y", "invalid reference format")]
    [InlineData("r.io/", "invalid reference format")]
    [InlineData("x\n", "invalid reference format")]
    public void A_bad_name_says_what_is_wrong(string image, string expected)
    {
        Assert.False(ImageName.TryRepository(image, out _, out var error));
        Assert.Equal(expected, error);
    }

    [Fact]
    public void The_longest_path_goes_first_and_all_that_match_are_tried()
    {
        var ring = new Keyring();
        Add(ring, Config("""{"auths":{"r.io":{"username":"host","password":"1"},"https://r.io/v2/team":{"username":"team","password":"2"},"r.io/team/app":{"username":"app","password":"3"},"r.io/other":{"username":"other","password":"4"}}}"""));
        Add(ring, Config("""{"auths":{"r.io/team/app":{"username":"second","password":"5"},"r.io:5000":{"username":"port","password":"6"}}}"""));
        Assert.Equal(["app", "second", "team", "host"], Users(ring, "r.io/team/app"));
        Assert.Equal(["team", "host"], Users(ring, "r.io/team/tool"));
        Assert.Equal(["host"], Users(ring, "r.io/x"));
        Assert.Equal(["port"], Users(ring, "r.io:5000/team/app"));
        Assert.Empty(Users(ring, "io/team/app"));
        Assert.Empty(Users(ring, "docker.io/team/app"));
    }

    [Fact]
    public void A_star_stands_for_a_part_of_the_host_and_the_hub_has_its_old_name()
    {
        var ring = new Keyring();
        Add(ring, Config("""{"auths":{"*.r.io":{"username":"any","password":"1"},"https://index.docker.io/v1/":{"auth":"aHViOnA6dw=="}}}"""));
        Assert.Equal(["any"], Users(ring, "eu.r.io/app"));
        Assert.Empty(Users(ring, "r.io/app"));
        Assert.Empty(Users(ring, "a.eu.r.io/app"));
        Assert.Equal(new RegistryCredential("hub", "p:w"), Assert.Single(ring.Lookup("docker.io/library/busybox")));
    }

    [Fact]
    public void The_older_form_and_an_auth_without_padding_are_read_too()
    {
        var ring = new Keyring();
        Add(ring, Secret("kubernetes.io/dockercfg", ".dockercfg", """{"r.io":{"auth":"dTpwdw","username":"ignored","password":"ignored"}}"""));
        Add(ring, Secret("Opaque", ".dockerconfigjson", """{"auths":{"r.io":{"username":"x","password":"y"}}}"""));
        Assert.Equal(new RegistryCredential("u", "pw"), Assert.Single(ring.Lookup("r.io/app")));
    }

    [Theory]
    [InlineData("not json hunter2")]
    [InlineData("[]")]
    [InlineData("""{"auths":[]}""")]
    [InlineData("""{"auths":{"r.io":{"auth":"aHVudGVyMg=="}}}""")]
    [InlineData("""{"auths":{"https://":{"username":"u","password":"hunter2"}}}""")]
    [InlineData("""{"auths":{"r.io":"hunter2"}}""")]
    public void A_malformed_Secret_is_said_without_its_content(string text)
    {
        var ring = new Keyring();
        Assert.False(ring.TryAdd(Config(text), out var error));
        Assert.Contains(".dockerconfigjson", error, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", error, StringComparison.Ordinal);
        Assert.Empty(ring.Lookup("r.io/app"));
    }

    [Fact]
    public void A_password_is_in_no_text() => Assert.DoesNotContain("hunter2", new RegistryCredential("u", "hunter2").ToString(), StringComparison.Ordinal);

    private static void Add(Keyring ring, JsonObject secret) => Assert.True(ring.TryAdd(secret, out var error), error);

    private static string[] Users(Keyring ring, string repository) => [.. ring.Lookup(repository).Select(credential => credential.Username)];

    private static JsonObject Config(string text) => Secret("kubernetes.io/dockerconfigjson", ".dockerconfigjson", text);

    private static JsonObject Secret(string type, string key, string text)
        => new() { ["type"] = type, ["data"] = new JsonObject { [key] = Convert.ToBase64String(Encoding.UTF8.GetBytes(text)) } };
}
