using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Testing;
using Xunit;

namespace Edge.Interop.Tests.Pods;

/// <summary>Pods that cannot run as they are: a kubelet's reasons and words in their status and events, and others are not held up.</summary>
[Trait("Category", "Pods")]
[Collection(nameof(EdgeCollection))]
public sealed class BadPodTests(PodsEdge shared) : IClassFixture<PodsEdge>
{
    [SkippableFact]
    public async Task A_hostPath_of_the_wrong_type_is_a_mount_that_failed_until_the_path_is_right()
    {
        var edge = await shared.GetAsync();
        var path = Path.Combine(edge.Local.Directory, "wrong");
        await File.WriteAllTextAsync(path, "a file");
        await edge.ApplyAsync(PodSteps.Pod(
            "wrong-path", $$""","volumes":[{"name":"host","hostPath":{"path":"{{path}}","type":"Directory"} }]""", ""","volumeMounts":[{"name":"host","mountPath":"/host"}]"""));

        Assert.Equal(
            $"Warning FailedMount: MountVolume.SetUp failed for volume \"host\" : hostPath type check failed: {path} is not a directory", await edge.EventAsync("wrong-path", "Warning FailedMount"));
        var pod = await edge.PodAsync("wrong-path");
        Assert.Equal(("Pending", "ContainerCreating"), (pod.Text("status", "phase"), PodSteps.Waiting(pod).Reason));
        await OthersRunAsync(edge, "beside-path");

        File.Delete(path);
        Directory.CreateDirectory(path);
        await edge.ReadyAsync("wrong-path");
        await edge.DeleteAsync("wrong-path");
    }

    [SkippableFact]
    public async Task A_missing_ConfigMap_keeps_its_pods_waiting_until_it_is_there()
    {
        var edge = await shared.GetAsync();
        await edge.ApplyAsync(
            PodSteps.Pod("volume-waits", ""","volumes":[{"name":"config","configMap":{"name":"late"} }]""", ""","volumeMounts":[{"name":"config","mountPath":"/config"}]"""),
            PodSteps.Pod("env-waits", container: ""","env":[{"name":"VALUE","valueFrom":{"configMapKeyRef":{"name":"late","key":"value"} } }]"""));

        Assert.Equal("Warning FailedMount: MountVolume.SetUp failed for volume \"config\" : configmap \"late\" not found", await edge.EventAsync("volume-waits", "Warning FailedMount"));
        Assert.Equal("ContainerCreating", PodSteps.Waiting(await edge.PodAsync("volume-waits")).Reason);
        Assert.Equal("Warning Failed: Error: configmap \"late\" not found", await edge.EventAsync("env-waits", "Warning Failed:"));
        var waits = await edge.PodWhenAsync("env-waits", "waits", pod => PodSteps.Waiting(pod).Reason == "CreateContainerConfigError");
        Assert.Equal(("Pending", "configmap \"late\" not found"), (waits.Text("status", "phase"), PodSteps.Waiting(waits).Message));
        await OthersRunAsync(edge, "beside-config");

        await edge.ApplyAsync("""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"late"},"data":{"value":"here"} }""");
        var (volume, env) = (await edge.ReadyAsync("volume-waits"), await edge.ReadyAsync("env-waits"));
        Assert.Equal("here", await edge.ExecAsync(PodSteps.ContainerId(volume), "cat", "/config/value"));
        Assert.Equal("here", await edge.ExecAsync(PodSteps.ContainerId(env), "sh", "-c", "echo -n $VALUE"));
        await edge.DeleteAsync("volume-waits", "env-waits");
    }

    [SkippableFact]
    public async Task An_image_that_does_not_exist_is_pulled_with_back_off_until_the_image_is_another()
    {
        var edge = await shared.GetAsync();
        const string Image = "127.0.0.1:1/no/such:1";
        await edge.ApplyAsync(PodSteps.Manifest("no-image", $$"""{"name":"c","image":"{{Image}}","command":{{PodSteps.Sleep}}}"""));

        await edge.EventAsync("no-image", $"Warning Failed: Failed to pull image \"{Image}\": ");
        await edge.EventAsync("no-image", "Warning Failed: Error: ErrImagePull");
        Assert.Equal($"Normal BackOff: Back-off pulling image \"{Image}\"", await edge.EventAsync("no-image", "Normal BackOff"));
        var pod = await edge.PodWhenAsync("no-image", "backs off", pod => PodSteps.Waiting(pod).Reason == "ImagePullBackOff");
        Assert.Equal("Pending", pod.Text("status", "phase"));
        Assert.StartsWith($"Back-off pulling image \"{Image}\"", PodSteps.Waiting(pod).Message, StringComparison.Ordinal);
        Assert.Equal(0, PodSteps.Restarts(pod));
        await OthersRunAsync(edge, "beside-image");
        await edge.KubectlAsync($"set image pod/no-image c={LocalEdge.BusyboxImage}");
        Assert.Equal(0, PodSteps.Restarts(await edge.ReadyAsync("no-image")));
        await edge.DeleteAsync("no-image");
    }

    [SkippableFact]
    public async Task A_probe_on_a_closed_port_fails_in_a_kubelets_words_and_counts_as_one()
    {
        var edge = await shared.GetAsync();
        await edge.ApplyAsync(
            PodSteps.Pod("not-ready", container: ""","readinessProbe":{"tcpSocket":{"port":81},"periodSeconds":1}"""),
            PodSteps.Pod("not-alive", container: ""","livenessProbe":{"httpGet":{"path":"/","port":81},"periodSeconds":1,"failureThreshold":2}"""));

        var told = await edge.EventAsync("not-ready", "Warning Unhealthy");
        var pod = await edge.PodWhenAsync("not-ready", "runs", pod => pod.Text("status", "phase") == "Running");
        Assert.Equal($"Warning Unhealthy: Readiness probe failed: dial tcp {pod.Text("status", "podIP")}:81: connect: connection refused", told);
        var conditions = pod.Items("status", "conditions").ToDictionary(condition => condition.Text("type"));
        Assert.Equal(("False", "ContainersNotReady", "containers with unready status: [c]"), (conditions["Ready"].Text("status"), conditions["Ready"].Text("reason"), conditions["Ready"].Text("message")));

        var address = (await edge.PodAsync("not-alive")).Text("status", "podIP");
        Assert.Equal(
            $"Warning Unhealthy: Liveness probe failed: Get \"http://{address}:81/\": dial tcp {address}:81: connect: connection refused", await edge.EventAsync("not-alive", "Warning Unhealthy"));
        Assert.Equal("Normal Killing: Container c failed liveness probe, will be restarted", await edge.EventAsync("not-alive", "Normal Killing"));
        await edge.PodWhenAsync("not-alive", "is restarted", one => PodSteps.Restarts(one) > 0);
        var other = await edge.PodAsync("not-ready");
        Assert.Equal((PodSteps.ContainerId(pod), 0), (PodSteps.ContainerId(other), PodSteps.Restarts(other)));
        await edge.DeleteAsync("not-ready", "not-alive");
    }

    private static async Task OthersRunAsync(TestEdge edge, string name)
    {
        await edge.ApplyAsync(PodSteps.Pod(name));
        Assert.Equal(0, PodSteps.Restarts(await edge.ReadyAsync(name)));
        await edge.DeleteAsync(name);
    }
}
