using Edge.Ctl.Cluster;
using Edge.Kubernetes;
using Edge.Local.Processes;
using Edge.Testing;
using Xunit.Abstractions;

namespace Edge.Ctl.Tests.Cluster;

/// <summary><c>edgectl init</c> against a Kubernetes API, judged by kubectl.</summary>
[Trait("Category", "Kubernetes")]
public sealed class InitTests(ApiFixture api, ITestOutputHelper output) : IClassFixture<ApiFixture>
{
    [SkippableFact]
    public async Task Init_applies_everything_says_what_changed_and_changes_nothing_the_second_time()
    {
        Requires.Kubectl();
        var dry = await api.EdgectlAsync("init", "--advertise-address", "192.0.2.1", "--dry-run", "server");
        Assert.True(dry.ExitCode == 0, dry.Error + dry.Output);
        Assert.Null(await api.Client.TryGetAsync(ResourceKind.Deployment, "kubeedge", "cloudcore", CancellationToken.None));

        var first = await api.EdgectlAsync("init", "--advertise-address", "192.0.2.1", "--wait", "0");
        Assert.True(first.ExitCode == 0, first.Error + first.Output);
        Assert.Contains("deployments.apps kubeedge/cloudcore created", first.Output, StringComparison.Ordinal);
        var listed = await Kubectl("get", "-n", "kubeedge", "deploy,svc,pdb,sa,cm", "-o", "name");
        foreach (var name in (string[])["deployment.apps/cloudcore", "service/cloudcore", "poddisruptionbudget.policy/cloudcore", "serviceaccount/cloudcore", "configmap/cloudcore"])
            Assert.Contains(name + "\n", listed, StringComparison.Ordinal);
        // Where the API serves RBAC the roles are there; else init said that it left them out.
        if ((await Kubectl("api-resources", "-o", "name")).Contains("clusterroles.rbac", StringComparison.Ordinal))
            Assert.Contains("clusterrole.rbac.authorization.k8s.io/cloudcore\n", await Kubectl("get", "clusterrole", "-o", "name"), StringComparison.Ordinal);
        else
            Assert.Contains("clusterroles.rbac.authorization.k8s.io cloudcore left out", first.Output, StringComparison.Ordinal);

        var second = await api.EdgectlAsync("init", "--advertise-address", "192.0.2.1", "--wait", "0");
        output.WriteLine(second.Output);
        Assert.Contains("\n0 of ", second.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("configured", second.Output, StringComparison.Ordinal);

        var third = await api.EdgectlAsync("init", "--advertise-address", "192.0.2.1", "--wait", "0", "--set", "replicas=2");
        Assert.Contains("deployments.apps kubeedge/cloudcore configured", third.Output, StringComparison.Ordinal);
        Assert.Contains("\n1 of ", third.Output, StringComparison.Ordinal);

        // Nobody runs pods here: init says so instead of success.
        var waiting = await api.EdgectlAsync("init", "--advertise-address", "192.0.2.1", "--wait", "1", "--set", "replicas=2");
        Assert.Equal(1, waiting.ExitCode);
        Assert.Contains("0 available", waiting.Output, StringComparison.Ordinal);
        Assert.Contains("not available after 1 s", waiting.Error, StringComparison.Ordinal);

        // A field of somebody else is a conflict, and taken when asked.
        using var directory = new TempDirectory();
        var scaled = directory.File("scaled.json");
        await File.WriteAllTextAsync(scaled, """{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"cloudcore","namespace":"kubeedge"},"spec":{"replicas":7}}""");
        await Kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=somebody", "-f", scaled);
        var conflict = await api.EdgectlAsync("init", "--advertise-address", "192.0.2.1", "--wait", "0", "--set", "replicas=2");
        Assert.Equal(1, conflict.ExitCode);
        Assert.Contains("--force-conflicts takes the fields over", conflict.Error, StringComparison.Ordinal);
        Assert.Equal(0, (await api.EdgectlAsync("init", "--advertise-address", "192.0.2.1", "--wait", "0", "--set", "replicas=2", "--force-conflicts")).ExitCode);
        Assert.Equal(2, (await api.Client.GetAsync(ResourceKind.Deployment, "kubeedge", "cloudcore", CancellationToken.None)).Number(0, "spec", "replicas"));
    }

    [Fact]
    public async Task A_client_dry_run_prints_manifests_and_asks_nobody()
    {
        var printed = await api.EdgectlAsync("init", "--dns-name", "hub.example.com", "--dry-run", "client", "--kubeconfig", "/nonexistent");
        Assert.Equal((0, ""), (printed.ExitCode, printed.Error));
        var objects = Manifests.Parse(printed.Output);
        Assert.Equal(Chart.Crds().Count, objects.Count(one => one.Kind() == "CustomResourceDefinition"));
        Assert.Contains(objects, one => one.Kind() == "Deployment");
        var missing = await api.EdgectlAsync("init", "--dry-run", "client");
        Assert.Equal(1, missing.ExitCode);
        Assert.StartsWith("edgectl init: say what edges will dial", missing.Error, StringComparison.Ordinal);
    }

    private Task<string> Kubectl(params string[] arguments)
        => Tool.RunAsync("kubectl", ["--kubeconfig", api.Kubeconfig, .. arguments], new ToolOptions(TimeProvider.System), CancellationToken.None);
}
