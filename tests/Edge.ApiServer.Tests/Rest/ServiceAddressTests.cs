using System.Net;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Rest;

/// <summary>The embedded API gives Services their cluster addresses.</summary>
[Trait("Category", "Dns")]
public sealed class ServiceAddressTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    private const string Path = "/api/v1/namespaces/default/services";

    [Fact]
    public async Task A_service_gets_an_address_of_its_own_and_keeps_it()
    {
        var made = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => api.PostAsync(Path, Service($"many-{i}"))));
        var addresses = made.Select(service => service.Text("spec", "clusterIP")).ToList();
        Assert.Equal(20, addresses.Distinct().Count());
        Assert.All(addresses, address => Assert.True(IPAddress.Parse(address).GetAddressBytes() is [10, >= 96 and < 112, _, _], address));
        Assert.Equal("""["IPv4"]""", made[0]["spec"]!["ipFamilies"]!.ToJsonString());
        Assert.Equal($"""["{addresses[0]}"]""", made[0]["spec"]!["clusterIPs"]!.ToJsonString());

        // An update that does not name it keeps it, one that changes it is refused.
        var update = JsonNode.Parse(Service("many-0"))!.AsObject();
        update["spec"]!["ports"]![0]!["port"] = 81;
        Assert.Equal(addresses[0], (await api.PutAsync($"{Path}/many-0", update)).Text("spec", "clusterIP"));
        update["spec"]!["clusterIP"] = "10.96.1.1";
        await api.PutAsync($"{Path}/many-0", update, HttpStatusCode.UnprocessableEntity);
    }

    [Fact]
    public async Task An_address_that_is_taken_is_refused_until_its_service_is_gone()
    {
        await api.PostAsync(Path, Service("first", ""","clusterIP":"10.96.77.1" """));
        var refused = await api.PostAsync(Path, Service("second", ""","clusterIP":"10.96.77.1" """), HttpStatusCode.UnprocessableEntity);
        Assert.Contains("provided IP is already allocated", refused.Text("message"), StringComparison.Ordinal);
        await api.DeleteAsync($"{Path}/first");
        await api.PostAsync(Path, Service("second", ""","clusterIP":"10.96.77.1" """));
        await api.StartAsync(TimeProvider.System); // what is stored counts after a restart, too
        await api.PostAsync(Path, Service("third", ""","clusterIP":"10.96.77.1" """), HttpStatusCode.UnprocessableEntity);
    }

    [Fact]
    public async Task Headless_and_external_ones_get_none_and_dual_ones_two()
    {
        var headless = await api.PostAsync(Path, Service("headless", ""","clusterIP":"None" """));
        Assert.Equal(("None", """["None"]"""), (headless.Text("spec", "clusterIP"), headless["spec"]!["clusterIPs"]!.ToJsonString()));
        var external = await api.PostAsync(Path, """{"metadata":{"name":"external"},"spec":{"type":"ExternalName","externalName":"www.example.com"} }""");
        Assert.Null(external["spec"]!["clusterIP"]);
        var dual = await api.PostAsync(Path, Service("dual", ""","ipFamilyPolicy":"RequireDualStack" """));
        Assert.Equal("IPv4 IPv6", string.Join(' ', dual.Texts("spec", "ipFamilies")));
        Assert.StartsWith("fd00:10:96::", dual.Texts("spec", "clusterIPs").Last(), StringComparison.Ordinal);

        // It becomes one with an address, and gives it back.
        var inside = await api.PatchAsync($"{Path}/external", "merge", """{"spec":{"type":"ClusterIP","externalName":null,"ports":[{"port":80}]} }""");
        Assert.NotEqual("", inside.Text("spec", "clusterIP"));
        var outside = await api.PatchAsync($"{Path}/external", "merge", """{"spec":{"type":"ExternalName","externalName":"www.example.com"} }""");
        Assert.Null(outside["spec"]!["clusterIP"]);
        Assert.Null(outside["spec"]!["clusterIPs"]);
    }

    private static string Service(string name, string more = "") => $$"""{"metadata":{"name":"{{name}}"},"spec":{"ports":[{"port":80}]{{more}} } }""";
}
