using Edge.Kubernetes;
using Edge.Local;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Pods;

/// <summary>What may be changed of a pod that runs.</summary>
[Trait("Category", "Pods")]
[Collection(nameof(EdgeCollection))]
public sealed class ChangedPodTests(PodsEdge shared) : IClassFixture<PodsEdge>
{
    [SkippableFact]
    public async Task A_new_image_restarts_its_container_alone_and_a_new_label_none()
    {
        var edge = await shared.GetAsync();
        const string Other = "edge.local/busybox:other";
        await edge.CtrAsync("images", "tag", LocalEdge.BusyboxImage, Other);
        var container = $"\"image\":\"{LocalEdge.BusyboxImage}\",\"command\":{PodSteps.Sleep}";
        await edge.ApplyAsync(PodSteps.Manifest("changed", $$"""{"name":"c",{{container}}},{"name":"d",{{container}}}"""));
        var before = await edge.ReadyAsync("changed");

        await edge.KubectlAsync("label pod changed colour=blue");
        await edge.KubectlAsync($"set image pod/changed d={Other}");
        var after = await edge.PodWhenAsync("changed", "runs the other image", pod => PodSteps.IsReady(pod) && pod.Items("status", "containerStatuses").Last().Number(0, "restartCount") > 0);
        Assert.Equal("Normal Killing: Container d definition changed, will be restarted", await edge.EventAsync("changed", "Normal Killing"));
        Assert.Equal(before.Uid(), after.Uid());
        Assert.Equal((PodSteps.ContainerId(before), 0), (PodSteps.ContainerId(after), PodSteps.Restarts(after)));
        Assert.Equal(1, after.Items("status", "containerStatuses").Last().Number(-1, "restartCount"));
        await edge.DeleteAsync("changed");
    }
}
