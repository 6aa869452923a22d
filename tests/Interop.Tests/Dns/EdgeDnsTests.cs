using Edge.Interop.Tests.Pods;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Dns;

/// <summary>EdgeDns as a pod on a real containerd sees it: by the search paths of its resolv.conf, with the cloud and without.</summary>
[Trait("Category", "Dns")]
[Collection(nameof(EdgeCollection))]
public sealed class EdgeDnsTests
{
    // An address of this test's own: other edges of this machine may have the usual one.
    private static readonly string s_resolver = $"169.254.30.{100 + (Environment.ProcessId % 100)}";

    [SkippableFact]
    public async Task A_pod_resolves_services_global_services_and_zones_and_goes_on_when_the_cloud_is_gone_and_edgecore_starts_again()
    {
        Requires.Containerd();
        Requires.Kubectl();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions
        {
            Pods = true,
            Dns = true,
            EdgeCoreSettings = [$"modules.edgeDns.listen=[{s_resolver}:53, 127.0.0.1:0]", "modules.edgeDns.serviceAddresses=endpoints", "modules.edgeDns.upstreams=[]"],
        });
        var server = $$"""{"name":"c","image":"{{LocalEdge.BusyboxImage}}","command":["sh","-c","mkdir -p /www; echo it works >/www/index.html; trap 'exit 0' TERM; httpd -f -p 8080 -h /www & wait"]}""";
        await edge.ApplyAsync(
            """{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"ports":[{"name":"http","port":8080}]} }""",
            """{"apiVersion":"v1","kind":"Service","metadata":{"name":"stateful"},"spec":{"clusterIP":"None","selector":{"app":"web"},"ports":[{"name":"http","port":8080}]} }""",
            """{"apiVersion":"v1","kind":"Node","metadata":{"name":"far","labels":{"node-role.kubernetes.io/edge":"","apps.kubeedge.io/belonging-to":"west"} } }""",
            """{"apiVersion":"v1","kind":"Service","metadata":{"name":"near","annotations":{"apps.kubeedge.io/service-topology":"range-nodegroup"} },"spec":{"ports":[{"port":80}]} }""",
            """
            {"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"near-1","labels":{"kubernetes.io/service-name":"near"} },"addressType":"IPv4","ports":[{"port":80}],
             "endpoints":[{"addresses":["192.0.2.1"],"nodeName":"edge-1"},{"addresses":["192.0.2.9"],"nodeName":"far"}]}
            """,
            // Instances on this node are meant, at the pod's own address: the zone of docs/examples/gslb has the name.
            """
            {"apiVersion":"gslb.edge.io/v1alpha1","kind":"GlobalService","metadata":{"name":"page"},"spec":{"hosts":["page.edge.example"],
             "endpoints":[{"name":"here","pods":{"namespace":"default","matchLabels":{"app":"web"} },"port":8080}]} }
            """,
            PodSteps.Manifest("web", server, ""","hostname":"web-0","subdomain":"stateful" """),
            PodSteps.Pod("client"));
        var web = await edge.ReadyAsync("web");
        var client = PodSteps.ContainerId(await edge.ReadyAsync("client"));
        var address = web.Text("status", "podIP");

        var conf = await edge.ExecAsync(client, "cat", "/etc/resolv.conf");
        Assert.Contains($"nameserver {s_resolver}", conf, StringComparison.Ordinal);
        Assert.Contains("search default.svc.cluster.local svc.cluster.local cluster.local", conf, StringComparison.Ordinal);
        await ResolvesAsync("web.default.svc.cluster.local", address);
        await ResolvesAsync("web-0.stateful.default.svc.cluster.local", address);
        Assert.Equal("it works", (await edge.ExecAsync(client, "wget", "-q", "-O", "-", "http://web:8080/")).Trim());
        Assert.Contains("NXDOMAIN", await LookUpAsync("none.default.svc.cluster.local"), StringComparison.Ordinal);

        // As edgectl up --dns has them: a GlobalService by its own name and by an alias, static records of its zone, and a name that is not there.
        await ResolvesAsync("page.edge.example", address);
        Assert.Equal("it works", (await edge.ExecAsync(client, "wget", "-q", "-O", "-", "http://page.edge.example:8080/")).Trim());
        await ResolvesAsync("www.edge.example", "192.0.2.");
        await ResolvesAsync("mail.edge.example", "192.0.2.25");
        Assert.Contains("NXDOMAIN", await LookUpAsync("none.edge.example"), StringComparison.Ordinal);

        // The NodeGroup of this node, as its label says.
        await edge.KubectlAsync("label node edge-1 apps.kubeedge.io/belonging-to=east");
        await ResolvesAsync("near.default.svc.cluster.local", "192.0.2.1", not: "192.0.2.9");
        await edge.KubectlAsync("label node edge-1 --overwrite apps.kubeedge.io/belonging-to=west");
        await ResolvesAsync("near.default.svc.cluster.local", "192.0.2.9");
        await edge.KubectlAsync("label node far --overwrite apps.kubeedge.io/belonging-to=north");
        await ResolvesAsync("near.default.svc.cluster.local", "192.0.2.1", not: "192.0.2.9");

        // Without the cloud, from what is on the disk.
        await edge.Local.KillCloudCoreAsync();
        await LocalEdge.KillEdgeCoreAsync(edge.Local.Nodes[0]);
        edge.Local.RestartEdgeCore(edge.Local.Nodes[0]);
        await ResolvesAsync("web.default.svc.cluster.local", address);
        Assert.Equal("it works", (await edge.ExecAsync(client, "wget", "-q", "-O", "-", "http://web:8080/")).Trim());
        await ResolvesAsync("near.default.svc.cluster.local", "192.0.2.1", not: "192.0.2.9");
        await ResolvesAsync("page.edge.example", address);
        await ResolvesAsync("mail.edge.example", "192.0.2.25");
        Assert.Contains("NXDOMAIN", await LookUpAsync("none.default.svc.cluster.local"), StringComparison.Ordinal);

        // Endpoints follow the pods when it is back.
        await edge.Local.RestartCloudCoreAsync(CancellationToken.None);
        await edge.DeleteAsync("web");
        await edge.WaitForAsync("the headless name is gone with its pod", async () => (await LookUpAsync("stateful.default.svc.cluster.local")).Contains("NXDOMAIN", StringComparison.Ordinal), PodSteps.Long);
        Assert.DoesNotContain(address, await LookUpAsync("web.default.svc.cluster.local"), StringComparison.Ordinal);

        async Task ResolvesAsync(string name, string expected, string? not = null)
        {
            var said = "";
            await edge.WaitForAsync($"{name} is {expected}", async () => (said = await LookUpAsync(name)).Contains(expected, StringComparison.Ordinal) && (not is null || !said.Contains(not, StringComparison.Ordinal)), PodSteps.Long);
        }

        // nslookup ends with 1 where a name is not there, or has not both families.
        Task<string> LookUpAsync(string name) => edge.ExecAsync(client, "sh", "-c", $"nslookup -type=a {name} 2>&1 || true");
    }
}
