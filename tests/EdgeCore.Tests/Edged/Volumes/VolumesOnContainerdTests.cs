using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Edge.Core.Edged.Eviction;
using Edge.Core.Edged.Volumes;
using Edge.Kubernetes;
using Edge.Protocol.Cri;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>Every kind of volume in containers of real containerd.</summary>
[Collection("containerd-2")]
[Trait("Category", "Pods")]
public sealed class VolumesOnContainerdTests(ContainerdFixture containerd)
{
    [SkippableFact]
    public async Task A_claim_bound_to_a_local_volume_is_mounted_and_one_that_is_not_is_waited_for()
    {
        var meta = new FakeMetaStore();
        meta.Put("node", (JsonObject)JsonNode.Parse("""{"metadata":{"namespace":"null","name":"node-claim","uid":"n","labels":{"kubernetes.io/hostname":"node-claim"}}}""")!);
        var data = Directory.CreateDirectory(Path.Combine(containerd.Directory, "local-volume")).FullName;
        File.WriteAllText(Path.Combine(data, "was-here"), "before");
        var cloud = new ConcurrentDictionary<string, string>
        {
            ["default/persistentvolumeclaim/data"] = """{"metadata":{"namespace":"default","name":"data","uid":"c-1"},"spec":{},"status":{"phase":"Pending"}}""",
            ["null/persistentvolume/pv-1"] = """{"metadata":{"name":"pv-1"},"spec":{"claimRef":{"uid":"c-1"},"local":{"path":"PATH"},"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["node-claim"]}]}]}}}}"""
                .Replace("PATH", data, StringComparison.Ordinal),
        };
        var pod = Pod("claimer", """
            {"securityContext":{"fsGroup":4321},"volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"data"}},{"name":"again","persistentVolumeClaim":{"claimName":"data","readOnly":true}}],
             "containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","command":["sh","-c","cat /data/was-here; echo new > /data/written; sleep 1000"],
               "securityContext":{"runAsUser":1234},
               "volumeMounts":[{"name":"data","mountPath":"/data"},{"name":"again","mountPath":"/ro"},{"name":"data","mountPath":"/sub","subPath":"made/here"}]}]}
            """);
        using var client = containerd.Client();
        await using (var edged = containerd.Run("node-claim", meta))
        {
            edged.Uplink.Answer = request => cloud.TryGetValue(request.Resource, out var json) ? JsonNode.Parse(json) : ClaimTests.NotFound(request.Resource);
            meta.Put("pod", pod);
            await edged.EventAsync("FailedMount", "Unable to attach or mount volumes: unmounted volumes=[again data], unattached volumes=[], failed to process volumes=[again data]: error processing PVC default/data: PVC is not bound");
            Assert.Empty(await PodsOnContainerdTests.SandboxesAsync(client, pod.Uid()));
            cloud["default/persistentvolumeclaim/data"] = ClaimTests.Bound("c-1", "pv-1");
            var status = await edged.StatusAsync(pod, "running once it is bound", PodsOnContainerdTests.IsReady);
            await PodsOnContainerdTests.UntilAsync("the container has written", () => Task.FromResult(File.Exists(Path.Combine(data, "written"))));
            Assert.Equal("before", (await ExecAsync(client, status, "cat /ro/was-here")).Out);
            Assert.Contains("Read-only", (await ExecAsync(client, status, "touch /ro/x")).Error, StringComparison.Ordinal);
            Assert.Equal("2 4321", (await ExecAsync(client, status, "echo hi > /sub/f && stat -c '%a %g' /sub | cut -c1,5-")).Out.Trim());
            Assert.Equal("hi\n", File.ReadAllText(Path.Combine(data, "made/here/f")));
        }

        // Without the cloud, and with nothing running, as after a reboot.
        foreach (var sandbox in await PodsOnContainerdTests.SandboxesAsync(client, pod.Uid()))
            await client.StopPodSandboxAsync(sandbox.Id, default);
        await using (var offline = containerd.Run("node-claim", meta))
        {
            offline.Uplink.IsConnected = false;
            await offline.StatusAsync(pod, "runs again", status => PodsOnContainerdTests.IsReady(status) && status.Items("containerStatuses").Single().Number(0, "restartCount") == 1);
            await GoneAsync(offline, client, pod);
            Assert.False(Directory.Exists(Path.Combine(offline.Root, "pods", pod.Uid())));
        }

        Assert.Equal("before", File.ReadAllText(Path.Combine(data, "was-here"))); // what was bound is not removed with the pod
        Assert.Equal("hi\n", File.ReadAllText(Path.Combine(data, "made/here/f")));
    }

    [SkippableFact]
    public async Task A_link_that_a_container_plants_leads_no_subPath_out_of_its_volume()
    {
        await using var edged = containerd.Run("node-subpath");
        edged.Meta.Put("configmap", PodsOnContainerdTests.Object("map", """{"data":{"a.conf":"A"}}"""));
        var pod = Pod("planter", """
            {"restartPolicy":"Always","volumes":[{"name":"tmp","emptyDir":{}},{"name":"cfg","configMap":{"name":"map"}}],
             "initContainers":[{"name":"plant","image":"docker.io/edge/busybox:1.0","command":["sh","-c","ln -s /etc /tmp/v/evil; mkdir /tmp/v/good; echo ok > /tmp/v/good/f"],"volumeMounts":[{"name":"tmp","mountPath":"/tmp/v"}]}],
             "containers":[
               {"name":"fine","image":"docker.io/edge/busybox:1.0","command":["sleep","1000"],"env":[{"name":"POD","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],
                "volumeMounts":[{"name":"tmp","mountPath":"/good","subPath":"good"},{"name":"tmp","mountPath":"/mine","subPathExpr":"of/$(POD)"},{"name":"cfg","mountPath":"/etc/a.conf","subPath":"a.conf"}]},
               {"name":"evil","image":"docker.io/edge/busybox:1.0","command":["sleep","1000"],"volumeMounts":[{"name":"tmp","mountPath":"/x","subPath":"evil"}]},
               {"name":"back","image":"docker.io/edge/busybox:1.0","command":["sleep","1000"],"volumeMounts":[{"name":"tmp","mountPath":"/x","subPath":"good/../../.."}]}]}
            """);
        edged.Meta.Put("pod", pod);
        var status = await edged.StatusAsync(pod, "one runs, two are refused", state => Container(state, "fine").At("state", "running") is not null
            && Container(state, "evil").Text("state", "waiting", "reason") == "CreateContainerConfigError" && Container(state, "back").Text("state", "waiting", "reason") == "CreateContainerConfigError");
        Assert.Equal("failed to prepare subPath for volumeMount \"tmp\" of container \"evil\": subPath \"evil\" leads out of the volume", Container(status, "evil").Text("state", "waiting", "message"));
        Assert.Equal("unable to provision SubPath `good/../../..`: must not contain '..'", Container(status, "back").Text("state", "waiting", "message"));
        using var client = containerd.Client();
        Assert.Equal("ok\nA", (await ExecAsync(client, status, "cat /good/f /etc/a.conf; touch /mine/t", "fine")).Out);
        var volume = Path.Combine(edged.Root, "pods", pod.Uid(), "volumes", "kubernetes.io~empty-dir", "tmp");
        Assert.True(File.Exists(Path.Combine(volume, "of/planter/t")));
        Assert.True(MountTable.IsMounted(Path.Combine(edged.Root, "pods", pod.Uid(), "volume-subpaths", "tmp", "fine", "0")));
        await GoneAsync(edged, client, pod);
        Assert.False(Directory.Exists(Path.Combine(edged.Root, "pods", pod.Uid())));
        Assert.True(File.Exists("/etc/passwd"));
    }

    [SkippableFact]
    [Trait("Depends", "Cgroups")]
    public async Task An_emptyDir_in_memory_has_its_size_survives_a_restart_and_goes_with_the_pod()
    {
        var meta = new FakeMetaStore();
        var pod = Pod("memory", """
            {"securityContext":{"fsGroup":4321},"volumes":[{"name":"shm","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"}}],
             "containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","command":["sleep","1000"],"volumeMounts":[{"name":"shm","mountPath":"/shm"}]}]}
            """);
        using var client = containerd.Client();
        string folder;
        await using (var edged = containerd.Run("node-memory", meta))
        {
            folder = Path.Combine(edged.Root, "pods", pod.Uid(), "volumes", "kubernetes.io~empty-dir", "shm");
            meta.Put("pod", pod);
            var status = await edged.StatusAsync(pod, "running", PodsOnContainerdTests.IsReady);
            Assert.Equal("tmpfs 2777 4321", (await ExecAsync(client, status, "echo \"$(stat -f -c %T /shm) $(stat -c '%a %g' /shm)\"")).Out.Trim());
            Assert.Contains("No space left", (await ExecAsync(client, status, "dd if=/dev/zero of=/shm/big bs=1024 count=2000; rm /shm/big; echo kept > /shm/f")).Error, StringComparison.Ordinal);
        }

        await using (var restarted = containerd.Run("node-memory", meta))
        {
            var status = await restarted.StatusAsync(pod, "adopted", PodsOnContainerdTests.IsReady);
            Assert.Equal("kept\n", (await ExecAsync(client, status, "cat /shm/f")).Out);
            Assert.True(MountTable.IsMounted(folder));
            await GoneAsync(restarted, client, pod);
            Assert.False(MountTable.IsMounted(folder));
            Assert.False(Directory.Exists(folder));
        }
    }

    [SkippableFact]
    public async Task A_pod_whose_emptyDir_is_over_its_limit_is_evicted_with_a_kubelets_message()
    {
        await using var edged = containerd.Run("node-limit", read: _ => Task.FromResult(new NodeReadings(new Dictionary<string, SignalReading>(), true)));
        var pod = Pod("filler", """
            {"volumes":[{"name":"tmp","emptyDir":{"sizeLimit":"1Mi"}}],
             "containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","command":["sh","-c","dd if=/dev/zero of=/tmp/v/big bs=1024 count=2000; sleep 1000"],"volumeMounts":[{"name":"tmp","mountPath":"/tmp/v"}]}]}
            """);
        edged.Meta.Put("pod", pod);
        var status = await edged.StatusAsync(pod, "evicted", state => state.Text("phase") == "Failed");
        Assert.Equal(("Evicted", "Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Mi\". "), (status.Text("reason"), status.Text("message")));
        await edged.EventAsync("Evicted", "exceeds the limit");
        using var client = containerd.Client();
        await GoneAsync(edged, client, pod);
    }

    [SkippableFact]
    public async Task Files_have_their_modes_and_group_optional_ones_may_be_missing_and_changes_arrive()
    {
        await using var edged = containerd.Run("node-files");
        edged.Meta.Put("configmap", PodsOnContainerdTests.Object("map", """{"data":{"run.sh":"echo run","plain":"1"},"binaryData":{"bin":"AAE="}}"""));
        edged.Meta.Put("secret", PodsOnContainerdTests.Object("cred", """{"immutable":true,"data":{"key":"c2VjcmV0"}}"""));
        var pod = Pod("files", """
            {"securityContext":{"fsGroup":4321},
             "volumes":[{"name":"cfg","configMap":{"name":"map","defaultMode":288,"items":[{"key":"run.sh","path":"bin/run.sh","mode":320},{"key":"plain","path":"plain"},{"key":"bin","path":"b"}]}},
               {"name":"cred","secret":{"secretName":"cred","defaultMode":256}},
               {"name":"maybe","secret":{"secretName":"absent","optional":true}},
               {"name":"all","projected":{"sources":[{"configMap":{"name":"map","optional":true,"items":[{"key":"nokey","path":"nokey"},{"key":"plain","path":"deep/plain"}]}},{"secret":{"name":"absent","optional":true}}]}},
               {"name":"host","hostPath":{"path":"HOST","type":"DirectoryOrCreate"}},{"name":"null","hostPath":{"path":"/dev/null","type":"CharDevice"}}],
             "containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","command":["sleep","1000"],"securityContext":{"runAsUser":1234},
               "volumeMounts":[{"name":"cfg","mountPath":"/cfg"},{"name":"cred","mountPath":"/cred"},{"name":"maybe","mountPath":"/maybe"},{"name":"all","mountPath":"/all"},{"name":"host","mountPath":"/host"},{"name":"null","mountPath":"/null"}]}]}
            """.Replace("HOST", Path.Combine(containerd.Directory, "made-for-host"), StringComparison.Ordinal));
        var wrong = Pod("wrong-type", """{"volumes":[{"name":"h","hostPath":{"path":"/dev/null","type":"Directory"}}],"containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","volumeMounts":[{"name":"h","mountPath":"/h"}]}]}""");
        edged.Meta.Put("pod", pod);
        edged.Meta.Put("pod", wrong);
        var status = await edged.StatusAsync(pod, "running", PodsOnContainerdTests.IsReady);
        using var client = containerd.Client();
        var modes = (await ExecAsync(client, status, "stat -L -c '%a %u %g %n' /cfg/bin /cfg/bin/run.sh /cfg/plain /cfg/b /cred/key /all/deep/plain; ls /maybe; ls /all; cat /cred/key")).Out.Split('\n');
        Assert.Equal(
            ["2755 0 4321 /cfg/bin", "540 0 4321 /cfg/bin/run.sh", "440 0 4321 /cfg/plain", "440 0 4321 /cfg/b", "440 0 4321 /cred/key", "644 0 4321 /all/deep/plain", "deep", "secret"], modes);
        await edged.EventAsync("FailedMount", "MountVolume.SetUp failed for volume \"h\" : hostPath type check failed: /dev/null is not a directory");

        // One swap of ..data, seen by the running container.
        edged.Meta.Put("configmap", PodsOnContainerdTests.Object("map", """{"data":{"run.sh":"echo changed","plain":"2"},"binaryData":{"bin":"AAE="}}"""));
        await PodsOnContainerdTests.UntilAsync("the change arrives", async () => (await ExecAsync(client, status, "cat /cfg/plain /cfg/bin/run.sh /all/deep/plain")).Out == "2echo changed2");
        await GoneAsync(edged, client, pod, wrong);
        Assert.True(Directory.Exists(Path.Combine(containerd.Directory, "made-for-host")));
    }

    private static JsonObject Pod(string name, string spec)
    {
        var pod = PodsOnContainerdTests.Pod(name, spec);
        pod["spec"]!["terminationGracePeriodSeconds"] = 1;
        return pod;
    }

    private static JsonObject Container(JsonObject status, string name) => status.Items("containerStatuses").Single(container => container.Text("name") == name);

    private static async Task<(string Out, string Error)> ExecAsync(CriClient client, JsonObject status, string script, string container = "main")
    {
        var id = Container(status, container).Text("containerID")["containerd://".Length..];
        var answer = await client.ExecSyncAsync(id, ["sh", "-c", script], TimeSpan.FromSeconds(20), default);
        return (answer.Stdout.ToStringUtf8(), answer.Stderr.ToStringUtf8());
    }

    private static async Task GoneAsync(RunningEdged edged, CriClient client, params JsonObject[] pods)
    {
        foreach (var pod in pods)
            edged.Meta.Delete("pod", pod);
        foreach (var pod in pods)
            await PodsOnContainerdTests.UntilAsync($"{pod.Name()} is gone", async () => (await PodsOnContainerdTests.SandboxesAsync(client, pod.Uid())).Count == 0 && !Directory.Exists(Path.Combine(edged.Root, "pods", pod.Uid())));
    }
}
