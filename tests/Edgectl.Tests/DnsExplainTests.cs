using System.Text;
using Edge.Kubernetes;
using Edge.Local.Processes;

namespace Edge.Ctl.Tests;

/// <summary><c>edgectl dns explain</c> as a user runs it, over the embedded API with the examples.</summary>
[Trait("Category", "Dns")]
public sealed class DnsExplainTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    [Fact]
    public async Task An_explanation_names_who_fell_out_and_why_and_the_answer()
    {
        foreach (var file in (string[])["zone.yaml", "locationmap.yaml", "shop.yaml"])
        {
            var obj = Manifests.Parse(await File.ReadAllTextAsync(Path.Combine(Executables.SourceTree!, "docs/examples/gslb", file))).Single();
            var plural = obj.Kind().ToLowerInvariant() + "s";
            var kind = new ResourceKind("gslb.edge.io", "v1alpha1", plural, obj.Kind(), obj.Kind() == "GlobalService");
            await api.Client.CreateAsync(kind, kind.Namespaced ? "default" : null, obj, CancellationToken.None);
        }

        // As cloudcore writes it.
        var services = new ResourceKind("gslb.edge.io", "v1alpha1", "globalservices", "GlobalService", true);
        await api.Client.PatchAsync(
            services, "default", "shop", PatchKind.Merge, Encoding.UTF8.GetBytes("""{"status": {"endpoints": [{"name": "iad-1", "state": "Down", "reason": "connection refused"}]}}"""), "status",
            CancellationToken.None);

        var result = await api.EdgectlAsync("dns", "explain", "Shop.edge.example", "--from", "198.51.100.200");
        Assert.Equal((0, ""), (result.ExitCode, result.Error));
        foreach (var line in (string[])[
            "client      198.51.100.200/32 (client subnet)", "service     default/shop, policy nearest by region, then weighted", "considered  2 of 4 endpoints", "location    US/us-east/iad (38.9, -77.4) (the same for /25)",
            "  iad-1  192.0.2.3  at US/us-east/iad (38.9, -77.4)  fell out: connection refused", "  fra-2  192.0.2.2  at DE/eu/fra (50.11, 8.68)  fell out: it is drained",
            "answer      A 192.0.2.1", "ttl         20 s", "scope       /25, the same answer for 198.51.100.128/25",
        ])
            Assert.Contains(line, result.Output.Split('\n'));

        // Nodes measured the ways: cloudcore says so on the status.
        var fast = Manifests.Parse("""
            apiVersion: gslb.edge.io/v1alpha1
            kind: GlobalService
            metadata: {name: fast, namespace: default}
            spec: {hosts: [fast.edge.example], policy: {type: latency}, endpoints: [{name: a, addresses: [192.0.2.201]}, {name: b, addresses: [192.0.2.202]}]}
            """).Single();
        await api.Client.CreateAsync(services, "default", fast, CancellationToken.None);
        await api.Client.PatchAsync(
            services, "default", "fast", PatchKind.Merge,
            Encoding.UTF8.GetBytes("""{"status": {"latencies": [{"from": "us-east", "to": "a", "milliseconds": 95}, {"from": "us-east", "to": "b", "milliseconds": 12.5}]}}"""), "status", CancellationToken.None);
        var measured = await api.EdgectlAsync("dns", "explain", "fast.edge.example", "--from", "198.51.100.200");
        Assert.Contains("12.5 ms", measured.Output, StringComparison.Ordinal);
        Assert.Contains("answer      A 192.0.2.202", measured.Output.Split('\n'));

        var six = await api.EdgectlAsync("dns", "explain", "shop.edge.example", "--from", "203.0.113.0/24", "--type", "AAAA");
        Assert.Contains("answer      AAAA 2001:db8::1", six.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("edgectl dns explain: --from '300.1.1.1' is not a network, e.g. 192.0.2.0/24 or 2001:db8::/32\n", "shop.edge.example", "--from", "300.1.1.1")]
    [InlineData("edgectl dns explain: 'a..b' has an empty label\n", "a..b", "--from", "192.0.2.1")]
    [InlineData("edgectl dns explain: no GlobalService answers for 'nobody.example'", "nobody.example", "--from", "192.0.2.1")]
    public async Task What_cannot_be_explained_is_an_error_with_the_fix(string error, params string[] arguments)
    {
        var result = await api.EdgectlAsync(["dns", "explain", .. arguments]);
        Assert.Equal(1, result.ExitCode);
        Assert.StartsWith(error, result.Error, StringComparison.Ordinal);
    }
}
