using Edge.Kubernetes;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Pods;

/// <summary>RuntimeClass from kubectl to the container.</summary>
[Trait("Category", "Pods")]
[Collection(nameof(EdgeCollection))]
public sealed class RuntimeClassTests(PodsEdge shared) : IClassFixture<PodsEdge>
{
    private const string NamesIt = ""","runtimeClassName":"usual" """;

    [SkippableFact]
    public async Task A_pod_runs_with_the_handler_and_overhead_of_its_class_once_there_is_one()
    {
        var edge = await shared.GetAsync();
        var refused = await Assert.ThrowsAnyAsync<Exception>(() => edge.ApplyAsync(PodSteps.Pod("classy", NamesIt)));
        Assert.Contains("pods \"classy\" is forbidden: pod rejected: RuntimeClass \"usual\" not found", refused.Message, StringComparison.Ordinal);

        await edge.ApplyAsync("""{"apiVersion":"node.k8s.io/v1","kind":"RuntimeClass","metadata":{"name":"usual"},"handler":"runc","overhead":{"podFixed":{"cpu":"10m","memory":"8Mi"} } }""");
        Assert.Matches(@"NAME +HANDLER +AGE\s+usual +runc +\d", await edge.KubectlAsync("get runtimeclasses"));
        await edge.ApplyAsync(PodSteps.Pod("classy", NamesIt));
        var pod = await edge.ReadyAsync("classy");
        Assert.Equal(("10m", "8Mi"), (pod.Text("spec", "overhead", "cpu"), pod.Text("spec", "overhead", "memory")));
        await edge.DeleteAsync("classy");

        // One that the runtime has not got, in the runtime's words.
        await edge.ApplyAsync("""{"apiVersion":"node.k8s.io/v1","kind":"RuntimeClass","metadata":{"name":"vm"},"handler":"kata-qemu"}""", PodSteps.Pod("in-vm", ""","runtimeClassName":"vm" """));
        Assert.Contains("no runtime for \"kata-qemu\" is configured", await edge.EventAsync("in-vm", "Warning FailedCreatePodSandBox"), StringComparison.Ordinal);
        await edge.DeleteAsync("in-vm");
    }
}
