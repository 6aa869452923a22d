using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Kubernetes;
using Edge.Protocol.Cri;
using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;
using Xunit;

namespace Edge.Core.Tests;

[Collection("containerd")]
[Trait("Category", "Pods")]
public sealed class PodsOnContainerdTests(ContainerdFixture containerd)
{
    [SkippableFact]
    public async Task A_containerd_without_events_says_so()
    {
        using var client = containerd.Client();
        var version = (await client.VersionAsync(default)).RuntimeVersion;
        Skip.IfNot(version.StartsWith("1.6.", StringComparison.Ordinal), $"containerd {version} has events");
        await using var events = client.ContainerEventsAsync(default).GetAsyncEnumerator();
        Assert.Equal(Protocol.Grpc.GrpcStatusCode.Unimplemented, (await Assert.ThrowsAsync<Protocol.Grpc.GrpcException>(() => events.MoveNextAsync().AsTask())).Code);
    }

    [SkippableFact]
    public async Task A_pod_runs_with_environment_and_volumes_and_is_gone_after_its_deletion()
    {
        await using var edged = containerd.Run("node-a");
        edged.Meta.Put("configmap", Object("app", """{"data":{"greeting":"hello","file.txt":"from a map"}}"""));
        edged.Meta.Put("secret", Object("cred", """{"data":{"password":"c2VjcmV0"}}"""));
        var pod = Pod("web", """
            {"terminationGracePeriodSeconds":5,
             "volumes":[{"name":"cfg","configMap":{"name":"app"}},{"name":"tmp","emptyDir":{}},{"name":"info","downwardAPI":{"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}}]}}],
             "initContainers":[{"name":"prepare","image":"docker.io/edge/busybox:1.0","command":["sh","-c","echo prepared > /tmp/shared/done"],"volumeMounts":[{"name":"tmp","mountPath":"/tmp/shared"}]}],
             "containers":[{"name":"main","image":"docker.io/edge/busybox:1.0",
               "command":["sh","-c"],"args":["echo $(GREETING) $PASSWORD $NODE; cat /etc/app/file.txt /tmp/shared/done /info/labels; hostname; trap 'exit 0' TERM; while true; do sleep 1 & wait $!; done"],
               "env":[{"name":"GREETING","valueFrom":{"configMapKeyRef":{"name":"app","key":"greeting"}}},{"name":"PASSWORD","valueFrom":{"secretKeyRef":{"name":"cred","key":"password"}}},{"name":"NODE","valueFrom":{"fieldRef":{"fieldPath":"status.hostIP"}}}],
               "volumeMounts":[{"name":"cfg","mountPath":"/etc/app"},{"name":"tmp","mountPath":"/tmp/shared"},{"name":"info","mountPath":"/info"}]}]}
            """);
        pod["metadata"]!["labels"] = new JsonObject { ["app"] = "web" };
        edged.Meta.Put("pod", pod);
        var status = await edged.StatusAsync(pod, "running", IsReady);

        Assert.Equal("Running", status.Text("phase"));
        Assert.StartsWith("10.201.", status.Text("podIP"), StringComparison.Ordinal);
        Assert.Equal("192.0.2.7", status.Text("hostIP"));
        Assert.Equal("Completed", status.Items("initContainerStatuses").Single().Text("state", "terminated", "reason"));
        await edged.EventAsync("Started", "Started container main");
        using var client = containerd.Client();
        var id = status.Items("containerStatuses").Single().Text("containerID")["containerd://".Length..];
        var echo = await client.ExecSyncAsync(id, ["sh", "-c", "cat /proc/1/environ | tr '\\0' '\\n'; cat /etc/app/file.txt /tmp/shared/done /info/labels; hostname; grep web /etc/hosts"], TimeSpan.FromSeconds(10), default);
        var text = echo.Stdout.ToStringUtf8();
        foreach (var expected in (string[])["GREETING=hello", "PASSWORD=secret", "NODE=192.0.2.7", "from a map", "prepared", "app=\"web\"", "web\n", status.Text("podIP")])
            Assert.Contains(expected, text, StringComparison.Ordinal);

        // A changed ConfigMap reaches the running container's file.
        edged.Meta.Put("configmap", Object("app", """{"data":{"greeting":"hello","file.txt":"changed"}}"""));
        var volume = Path.Combine(edged.Root, "pods", pod.Uid(), "volumes", "kubernetes.io~configmap", "cfg", "file.txt");
        await UntilAsync("the volume changes", () => Task.FromResult(File.ReadAllText(volume) == "changed"));
        Assert.Equal("changed", (await client.ExecSyncAsync(id, ["cat", "/etc/app/file.txt"], TimeSpan.FromSeconds(10), default)).Stdout.ToStringUtf8());

        var deleting = (JsonObject)pod.DeepClone();
        deleting["metadata"]!["deletionTimestamp"] = "2026-01-01T00:00:00Z";
        deleting["metadata"]!["deletionGracePeriodSeconds"] = 5;
        edged.Meta.Put("pod", deleting);
        var deleted = await edged.Uplink.WaitAsync("pod delete", entry => entry.Operation == "delete" && entry.Resource == "default/pod/web");
        Assert.Equal(pod.Uid(), FakeUplink.Content(deleted).Text("preconditions", "uid"));
        var last = await edged.StatusAsync(pod, "terminated", state => state.Items("containerStatuses").Single().At("state", "terminated") is not null);
        Assert.Equal(0, last.Items("containerStatuses").Single().Number(-1, "state", "terminated", "exitCode"));
        edged.Meta.Delete("pod", deleting);
        Assert.False(Directory.Exists(Path.Combine(edged.Root, "pods", pod.Uid())));
        Assert.Empty(await SandboxesAsync(client, pod.Uid()));
    }

    [SkippableFact]
    public async Task A_restarted_EdgeCore_adopts_running_containers_and_removes_what_nobody_wants()
    {
        var meta = new FakeMetaStore();
        var keep = Pod("keep", Sleeper());
        var drop = Pod("drop", Sleeper());
        string before;
        using var client = containerd.Client();
        await using (var first = containerd.Run("node-b", meta))
        {
            meta.Put("pod", keep);
            meta.Put("pod", drop);
            before = (await first.StatusAsync(keep, "running", IsReady)).Items("containerStatuses").Single().Text("containerID");
            await first.StatusAsync(drop, "running", IsReady);
        }

        meta.Delete("pod", drop);
        await using var second = containerd.Run("node-b", meta);
        var status = await second.StatusAsync(keep, "running", IsReady);
        Assert.Equal(before, status.Items("containerStatuses").Single().Text("containerID"));
        Assert.Equal(0, status.Items("containerStatuses").Single().Number(-1, "restartCount"));
        await UntilAsync("the orphan is gone", async () => (await SandboxesAsync(client, drop.Uid())).Count == 0);
        meta.Delete("pod", keep);
        await UntilAsync("the pod is gone", async () => (await SandboxesAsync(client, keep.Uid())).Count == 0);
    }

    [SkippableFact]
    public async Task What_another_agent_left_of_a_pod_is_ended_and_the_pod_made_anew()
    {
        var meta = new FakeMetaStore();
        var (pod, stranger) = (Pod("swap", Sleeper().Replace("\"terminationGracePeriodSeconds\":1", "\"terminationGracePeriodSeconds\":20", StringComparison.Ordinal)), Pod("stranger", Sleeper()));
        using var client = containerd.Client();
        var goodbyes = Directory.CreateTempSubdirectory("goodbyes").FullName;
        var left = await LeaveAsync(client, pod, null, 0, goodbyes);
        await LeaveAsync(client, stranger, null, 0, goodbyes);
        meta.Put("pod", pod);
        string own;
        await using (var first = containerd.Run("node-swap", meta))
        {
            own = (await first.StatusAsync(pod, "running", IsReady)).Items("containerStatuses").Single().Text("containerID")["containerd://".Length..];
            await first.EventAsync("Killing", "Stopping container main, which another agent of this node has started");
        }

        Assert.Equal("swap-0\n", File.ReadAllText(Path.Combine(goodbyes, "swap-0"))); // it had its SIGTERM, and the time
        var sandbox = (await SandboxesAsync(client, pod.Uid())).Single();
        Assert.NotEqual(left.Sandbox, sandbox.Id);

        // Back to the other agent, which goes on in the sandbox that it finds, and here again.
        await client.StopContainerAsync(own, TimeSpan.Zero, default);
        var again = await LeaveAsync(client, pod, sandbox.Id, 1, goodbyes);
        await using (var second = containerd.Run("node-swap", meta))
        {
            var now = (await second.StatusAsync(pod, "running again", IsReady)).Items("containerStatuses").Single().Text("containerID")["containerd://".Length..];
            Assert.DoesNotContain(now, (string[])[own, again.Container]);
            Assert.Equal("swap-1\n", File.ReadAllText(Path.Combine(goodbyes, "swap-1")));
            Assert.Equal(GrpcStatusCode.NotFound, (await Assert.ThrowsAsync<GrpcException>(() => client.ContainerStatusAsync(again.Container, default))).Code);
            meta.Delete("pod", pod);
            await UntilAsync("the pod is gone", async () => (await SandboxesAsync(client, pod.Uid())).Count == 0);
        }

        // A pod that is not this node's to run may be another agent's still.
        var theirs = (await SandboxesAsync(client, stranger.Uid())).Single();
        Assert.Equal(PodSandboxState.SandboxReady, theirs.State);
        Assert.False(File.Exists(Path.Combine(goodbyes, "stranger-0")));
        await client.StopPodSandboxAsync(theirs.Id, default);
        await client.RemovePodSandboxAsync(theirs.Id, default);
        Directory.Delete(goodbyes, recursive: true);
    }

    // As KubeEdge's edgecore and every kubelet leave a pod: with its uid, and no node's name. The container says goodbye in a file when it is asked to end.
    private static async Task<(string Sandbox, string Container)> LeaveAsync(CriClient client, JsonObject pod, string? sandbox, uint attempt, string goodbyes)
    {
        Assert.True(PodDescription.TryRead(pod, out var description, out var error), error);
        var within = new PodSandboxConfig
        {
            Metadata = new PodSandboxMetadata { Name = pod.Name(), Namespace = pod.Namespace(), Uid = pod.Uid() },
            Linux = new LinuxPodSandboxConfig { CgroupParent = CriConfigs.CgroupParent(new EdgedOptions(), description), SecurityContext = new LinuxSandboxSecurityContext() },
        };
        within.Labels[CriConfigs.UidLabel] = pod.Uid();
        sandbox ??= await client.RunPodSandboxAsync(within, "", default);
        var config = new ContainerConfig
        {
            Metadata = new ContainerMetadata { Name = "main", Attempt = attempt }, Image = new ImageSpec { Image = ContainerdFixture.Busybox }, Linux = new LinuxContainerConfig(),
        };
        config.Command.Add(["sh", "-c", $"trap 'echo {pod.Name()}-{attempt} > /out/{pod.Name()}-{attempt}; exit 0' TERM; touch /out/up-{pod.Name()}-{attempt}; while true; do sleep 0.1; done"]);
        config.Mounts.Add(new Mount { ContainerPath = "/out", HostPath = goodbyes });
        config.Labels[CriConfigs.UidLabel] = pod.Uid();
        config.Labels[CriConfigs.ContainerLabel] = "main";
        var container = await client.CreateContainerAsync(sandbox, config, within, default);
        await client.StartContainerAsync(container, default);
        await UntilAsync("its trap is set", () => Task.FromResult(File.Exists(Path.Combine(goodbyes, $"up-{pod.Name()}-{attempt}"))));
        return (sandbox, container);
    }

    // What a start leaves behind that was cut off by the end of EdgeCore: CRI takes the container for not running, containerd has its process and refuses to remove it.
    [SkippableFact]
    public async Task A_container_with_a_process_that_CRI_does_not_know_of_is_removed_too()
    {
        Skip.IfNot(File.Exists("/usr/bin/ctr"), "ctr, which Debian's containerd has, is not there");
        var meta = new FakeMetaStore();
        var pod = Pod("cut", Sleeper());
        using var client = containerd.Client();
        await using (var first = containerd.Run("node-cut", meta))
        {
            meta.Put("pod", pod);
            await first.StatusAsync(pod, "running", IsReady);
        }

        var sandbox = (await SandboxesAsync(client, pod.Uid())).Single();
        Assert.True(PodDescription.TryRead(pod, out var description, out _));
        var config = new ContainerConfig
        {
            Metadata = new ContainerMetadata { Name = "main", Attempt = 7 }, Image = new ImageSpec { Image = "docker.io/edge/busybox:1.0" }, Linux = new LinuxContainerConfig(),
        };
        config.Command.Add(["sleep", "1000"]);
        foreach (var (name, value) in sandbox.Labels)
            config.Labels[name] = value;
        config.Labels[CriConfigs.ContainerLabel] = "main";
        var within = new PodSandboxConfig
        {
            Metadata = sandbox.Metadata, Linux = new LinuxPodSandboxConfig { CgroupParent = CriConfigs.CgroupParent(new EdgedOptions(), description) },
        };
        var id = await client.CreateContainerAsync(sandbox.Id, config, within, default);
        using (var start = System.Diagnostics.Process.Start("ctr", ["-n", "k8s.io", "-a", containerd.Socket, "tasks", "start", "-d", id]))
        {
            await start.WaitForExitAsync();
            Assert.Equal(0, start.ExitCode);
        }

        var refused = await Assert.ThrowsAsync<GrpcException>(() => client.RemoveContainerAsync(id, default));
        Assert.Equal(GrpcStatusCode.FailedPrecondition, refused.Code);
        meta.Delete("pod", pod);
        await using var second = containerd.Run("node-cut", meta);
        await UntilAsync("the pod is gone", async () => (await SandboxesAsync(client, pod.Uid())).Count == 0);
    }

    [SkippableFact]
    public async Task Failures_have_a_kubelets_reasons_and_other_pods_run_on()
    {
        await using var edged = containerd.Run("node-c");
        var crash = Pod("crash", """{"containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","command":["sh","-c","echo bad > /dev/termination-log; exit 3"]}]}""");
        var never = Pod("never", """{"containers":[{"name":"main","image":"docker.io/edge/absent:1","imagePullPolicy":"Never"}]}""");
        var config = Pod("config", """{"containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","command":["sleep","1000"],"envFrom":[{"configMapRef":{"name":"late"}}]}]}""");
        var job = Pod("job", """{"restartPolicy":"Never","containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","command":["true"]}]}""");
        foreach (var pod in (JsonObject[])[crash, never, config, job])
            edged.Meta.Put("pod", pod);

        var loop = await edged.StatusAsync(crash, "CrashLoopBackOff", status => Reason(status) == "CrashLoopBackOff");
        Assert.Equal(1, loop.Items("containerStatuses").Single().Number(0, "restartCount"));
        Assert.Equal(3, loop.Items("containerStatuses").Single().Number(0, "lastState", "terminated", "exitCode"));
        Assert.Equal("bad\n", loop.Items("containerStatuses").Single().Text("lastState", "terminated", "message"));
        await edged.StatusAsync(never, "ErrImageNeverPull", status => Reason(status) == "ErrImageNeverPull");
        await edged.StatusAsync(config, "CreateContainerConfigError", status => Reason(status) == "CreateContainerConfigError");
        var done = await edged.StatusAsync(job, "Succeeded", status => status.Text("phase") == "Succeeded");
        Assert.Equal("PodCompleted", done.Items("conditions").Single(condition => condition.Text("type") == "Ready").Text("reason"));

        edged.Meta.Put("configmap", Object("late", """{"data":{"A":"1"}}"""));
        await edged.StatusAsync(config, "running once the map is there", IsReady);
        using var client = containerd.Client();
        foreach (var pod in (JsonObject[])[crash, never, config, job])
            edged.Meta.Delete("pod", pod);
        foreach (var pod in (JsonObject[])[crash, never, config, job])
            await UntilAsync($"{pod.Name()} is gone", async () => (await SandboxesAsync(client, pod.Uid())).Count == 0);
    }

    [SkippableFact]
    public async Task A_pod_of_the_same_name_with_a_new_uid_starts_after_the_old_one_is_gone()
    {
        await using var edged = containerd.Run("node-d");
        using var client = containerd.Client();
        var old = Pod("same", Sleeper());
        edged.Meta.Put("pod", old);
        await edged.StatusAsync(old, "running", IsReady);
        var next = Pod("same", Sleeper());
        edged.Meta.Put("pod", next);
        await edged.Uplink.WaitAsync("the new pod runs", entry => entry.Key == $"podstatus/default/same/{next.Uid()}" && IsReady((JsonObject)FakeUplink.Content(entry)["status"]!));
        Assert.Empty(await SandboxesAsync(client, old.Uid()));
        Assert.Single(await SandboxesAsync(client, next.Uid()));
        edged.Meta.Delete("pod", next);
        await UntilAsync("it is gone", async () => (await SandboxesAsync(client, next.Uid())).Count == 0);
    }

    internal static string Sleeper()
        => """{"terminationGracePeriodSeconds":1,"containers":[{"name":"main","image":"docker.io/edge/busybox:1.0","command":["sleep","1000"]}]}""";

    internal static bool IsReady(JsonObject status)
        => status.Items("conditions").Any(condition => condition.Text("type") == "Ready" && condition.Text("status") == "True");

    internal static string Reason(JsonObject status) => status.Items("containerStatuses").First().Text("state", "waiting", "reason");

    internal static JsonObject Pod(string name, string spec)
    {
        var pod = Object(name, "{\"spec\":" + spec + "}");
        pod["apiVersion"] = "v1";
        pod["kind"] = "Pod";
        return pod;
    }

    internal static JsonObject Object(string name, string rest)
    {
        var obj = (JsonObject)JsonNode.Parse(rest)!;
        obj["metadata"] = new JsonObject { ["namespace"] = "default", ["name"] = name, ["uid"] = Guid.NewGuid().ToString(), ["resourceVersion"] = "1" };
        return obj;
    }

    internal static Task<IReadOnlyList<PodSandbox>> SandboxesAsync(CriClient client, string uid)
    {
        var filter = new PodSandboxFilter();
        filter.LabelSelector["io.kubernetes.pod.uid"] = uid;
        return client.ListPodSandboxAsync(filter, default);
    }

    internal static async Task UntilAsync(string what, Func<Task<bool>> condition)
    {
        using var limit = new CancellationTokenSource(Edge.Testing.Patience.Of(TimeSpan.FromSeconds(40)));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
        while (!await condition())
        {
            try
            {
                await timer.WaitForNextTickAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                throw new TimeoutException(what);
            }
        }
    }
}
