using System.IO.Compression;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.Edged.Eviction;
using Edge.Kubernetes;
using Edge.Local.Images;
using Edge.Local.Processes;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>Admission, eviction, garbage and logs on real containers. How full the node is, the tests say.</summary>
[Collection("containerd")]
[Trait("Category", "Pods")]
public sealed class ResourcesOnContainerdTests(ContainerdFixture containerd)
{
    private const long Gi = 1L << 30;

    private volatile Low _low = Low.Nothing;

    private enum Low
    {
        Nothing,
        Memory,
        Pids,
    }

    [SkippableFact]
    public async Task A_pod_that_does_not_fit_has_failed_with_the_reason_and_an_Event_and_others_run_on()
    {
        await using var edged = containerd.Run("resources-a", read: ReadAsync);
        var small = Pod("small", "", 0);
        var large = Pod("large", """{"requests":{"cpu":"100000"}}""", 0);
        edged.Meta.Put("pod", small);
        edged.Meta.Put("pod", large);
        var status = await edged.StatusAsync(large, "refused", status => status.Text("phase") == "Failed");
        Assert.Equal("OutOfcpu", status.Text("reason"));
        Assert.StartsWith("Pod was rejected: Node didn't have enough resource: cpu, requested: 100000000, used: 0, capacity: ", status.Text("message"), StringComparison.Ordinal);
        await edged.EventAsync("OutOfcpu", "Node didn't have enough resource: cpu");
        await edged.StatusAsync(small, "running", IsReady);
        using var client = containerd.Client();
        Assert.DoesNotContain(await client.ListPodSandboxAsync(null, default), sandbox => sandbox.Metadata.Uid == large.Uid());

        // Whatever the cloud made of its status while the node was away, it can be said again.
        var before = edged.Uplink.Entries.Count;
        edged.ReportAll();
        await edged.Uplink.WaitAsync("the same status again", entry => entry.Resource == "default/podpatch/small" && IsReady((JsonObject)FakeUplink.Content(entry)["status"]!), before);
        await RemoveAsync(edged, small, large);
    }

    [SkippableFact]
    public async Task When_memory_is_low_the_pod_of_lowest_priority_is_evicted_and_stays_so_over_a_restart()
    {
        var meta = new FakeMetaStore();
        var low = Pod("low", "", 0);
        var high = Pod("high", "", 1000);
        await using (var edged = containerd.Run("resources-b", meta, read: ReadAsync))
        {
            meta.Put("pod", low);
            meta.Put("pod", high);
            await edged.StatusAsync(low, "running", IsReady);
            await edged.StatusAsync(high, "running", IsReady);
            _low = Low.Memory;
            var status = await edged.StatusAsync(low, "evicted", status => status.Text("phase") == "Failed");
            _low = Low.Nothing;
            Assert.Equal("Evicted", status.Text("reason"));
            Assert.StartsWith("The node was low on resource: memory. Threshold quantity: 100Mi, available: 51200Ki. ", status.Text("message"), StringComparison.Ordinal);
            Assert.Contains(status.Items("conditions"), condition => condition.Text("type") == "DisruptionTarget" && condition.Text("reason") == "TerminationByKubelet");
            await edged.EventAsync("Evicted", "The node was low on resource: memory");
            Assert.Contains("MemoryPressure", edged.Runtime.Current.Pressures!);
            await edged.StatusAsync(low, "its container to end", status => status.Items("containerStatuses").Any(container => container.At("state", "terminated") is not null));

            // Under pressure a pod that asks for no memory is not taken.
            var late = Pod("late", "", 0);
            meta.Put("pod", late);
            var refused = await edged.StatusAsync(late, "refused", status => status.Text("phase") == "Failed");
            Assert.Equal(("Evicted", "Pod was rejected: The node had condition: [MemoryPressure]. "), (refused.Text("reason"), refused.Text("message")));
            meta.Delete("pod", late);
        }

        await using var again = containerd.Run("resources-b", meta, read: ReadAsync);
        var kept = await again.StatusAsync(low, "its status again", _ => true);
        Assert.Equal(("Failed", "Evicted"), (kept.Text("phase"), kept.Text("reason")));
        Assert.Contains("memory", kept.Text("message"), StringComparison.Ordinal);
        Assert.Single(kept.Items("conditions"), condition => condition.Text("type") == "DisruptionTarget");
        var other = await again.StatusAsync(high, "running on", IsReady);
        Assert.Equal(0, other.Items("containerStatuses").Single().Number(-1, "restartCount"));
        await RemoveAsync(again, low, high);
    }

    [SkippableFact]
    [Trait("Depends", "Cgroups")]
    public async Task Who_goes_is_decided_by_what_the_pods_cgroups_use_without_what_the_kernel_can_drop()
    {
        await using var edged = containerd.Run("resources-f", resources: new ResourceOptions
        {
            Thresholds = [new(EvictionSignals.Memory, new EvictionAmount(100 << 20, 0)), new(EvictionSignals.Pid, new EvictionAmount(100, 0))], PressureTransition = TimeSpan.Zero,
        }, read: ReadAsync);
        // Files that were written once count for a cgroup as memory in use, and are no use that an eviction would end; a volume in memory is.
        var files = Pod("files", "", 0, "dd if=/dev/zero of=/big bs=1M count=48; sleep 1000");
        var memory = Pod("memory", "", 0, "dd if=/dev/zero of=/shm/big bs=1M count=16; sleep 1000");
        memory["spec"]!["volumes"] = new JsonArray(new JsonObject { ["name"] = "shm", ["emptyDir"] = new JsonObject { ["medium"] = "Memory" } });
        memory["spec"]!["containers"]![0]!["volumeMounts"] = new JsonArray(new JsonObject { ["name"] = "shm", ["mountPath"] = "/shm" });
        var many = Pod("many", "", 0, "for i in $(seq 20); do sleep 1000 & done; sleep 1000");
        JsonObject[] all = [files, memory, many];
        foreach (var pod in all)
            edged.Meta.Put("pod", pod);
        foreach (var pod in all)
            await edged.StatusAsync(pod, "running", IsReady);
        var reader = new PodUsageReader(new EdgedOptions { RootDirectory = edged.Root, PodLogsDirectory = edged.Logs });
        PodUsage Usage(JsonObject pod) => reader.Read(PodDescriptionOf(pod), new Dictionary<string, string>(), disk: null);
        await UntilAsync("the volume to be full", () => Task.FromResult(Usage(memory).MemoryBytes > 16 << 20));
        await UntilAsync("the file to be written", () => Task.FromResult(Current(files) > 48 << 20));
        await UntilAsync("all processes to run", () => Task.FromResult(Usage(many).Processes >= 22));
        // The kernel sums up what it could drop some time after it counts what is in use.
        await UntilAsync("the file to count as no use", () => Task.FromResult(Usage(files).MemoryBytes is > 0 and <= 12 << 20));

        _low = Low.Memory;
        var status = await edged.StatusAsync(memory, "evicted", status => status.Text("phase") == "Failed");
        _low = Low.Nothing;
        Assert.Matches(@"^The node was low on resource: memory\. .*Container main was using 1[6-9](\d{3}K|M)i, request is 0, has larger consumption of memory\. $", status.Text("message"));
        await UntilAsync("the pressure to be over", () => Task.FromResult(edged.Runtime.Current.Pressures is { Count: 0 }));
        _low = Low.Pids;
        status = await edged.StatusAsync(many, "evicted", status => status.Text("phase") == "Failed");
        _low = Low.Nothing;
        Assert.Equal(("Evicted", "The node was low on resource: pids. Threshold quantity: 100, available: 50. "), (status.Text("reason"), status.Text("message")));
        var kept = await edged.StatusAsync(files, "running on", IsReady);
        Assert.Equal(0, kept.Items("containerStatuses").Single().Number(-1, "restartCount"));
        await RemoveAsync(edged, all);
    }

    [SkippableFact]
    public async Task When_the_images_disk_is_low_what_ended_pods_left_there_goes_first_and_then_who_wrote_most()
    {
        using var client = containerd.Client();
        var watch = false;
        async Task<IReadOnlyList<Protocol.Cri.V1.Container>> Of(JsonObject pod) => [.. (await client.ListContainersAsync(null, default)).Where(one => one.Labels.Values.Contains(pod.Uid()))];
        var done = Pod("done", "", 0, "dd if=/dev/zero of=/file bs=1M count=1");
        done["spec"]!["restartPolicy"] = "Never";
        var modest = Pod("modest", "", 0);
        var hungry = Pod("hungry", "", 0, "dd if=/dev/zero of=/file bs=1M count=24; sleep 1000");
        var limited = Pod("limited", """{"limits":{"ephemeral-storage":"4Mi"}}""", 0, "dd if=/dev/zero of=/file bs=1M count=6; sleep 1000");
        JsonObject[] all = [done, modest, hungry, limited];
        async Task<NodeReadings> Read(CancellationToken token)
            => new NodeReadings(new Dictionary<string, SignalReading> { [EvictionSignals.ImageFs] = new(Volatile.Read(ref watch) && (await Of(hungry)).Count > 0 ? Gi : 50 * Gi, 100 * Gi) }, false);
        await using var edged = containerd.Run("resources-h", read: Read);
        foreach (var pod in all)
            edged.Meta.Put("pod", pod);
        await edged.StatusAsync(done, "ended", status => status.Text("phase") == "Succeeded");
        await edged.StatusAsync(modest, "running", IsReady);
        await edged.StatusAsync(hungry, "running", IsReady);

        // The pod's own limit holds, however much the node has left.
        var status = await edged.StatusAsync(limited, "evicted", status => status.Text("phase") == "Failed");
        Assert.Equal(("Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. "), (status.Text("reason"), status.Text("message")));
        await UntilAsync("its containers to go", async () => (await Of(limited)).Count == 0);

        // containerd measures what a container wrote every 10 s.
        await UntilAsync("containerd to know what was written", async () => (await client.ListContainerStatsAsync(null, default)).Any(stats => stats.WritableLayer?.UsedBytes?.Value > 24 << 20));
        Assert.Single(await Of(done));
        Volatile.Write(ref watch, true);
        status = await edged.StatusAsync(hungry, "evicted", status => status.Text("phase") == "Failed");
        Assert.Equal("Evicted", status.Text("reason"));
        Assert.Matches(@"^The node was low on resource: ephemeral-storage\. Threshold quantity: 15Gi, available: 1048576Ki\. Container main was using 25\d{6}, request is 0, has larger consumption of ephemeral-storage\. $", status.Text("message"));
        Assert.Empty(await Of(done));
        await edged.StatusAsync(hungry, "its end", status => status.Items("containerStatuses").Single().At("state", "terminated") is not null);
        await UntilAsync("its containers to go", async () => (await Of(hungry)).Count == 0);
        await UntilAsync("its sandbox to go", async () => (await client.ListPodSandboxAsync(null, default)).All(sandbox => sandbox.Metadata.Uid != hungry.Uid()));

        // What they were is still told, although nothing of it is left.
        var from = edged.Uplink.Entries.Count;
        status = (JsonObject)FakeUplink.Content(edged.Uplink.Entries.Last(entry => entry.Resource == "default/podpatch/hungry"))["status"]!;
        edged.ReportAll();
        var again = await edged.StatusAsync(hungry, "told again", _ => true, from);
        foreach (var member in (string[])["phase", "reason", "message", "startTime", "conditions", "containerStatuses"])
            Assert.Equal(status[member]!.ToJsonString(), again[member]!.ToJsonString());
        Assert.Equal("Completed", (await edged.StatusAsync(done, "told again", _ => true, from)).Items("containerStatuses").Single().Text("state", "terminated", "reason"));
        Assert.Equal(0, (await edged.StatusAsync(modest, "running on", IsReady, from)).Items("containerStatuses").Single().Number(-1, "restartCount"));
        await RemoveAsync(edged, all);
    }

    [SkippableFact]
    public async Task A_pod_that_fills_the_nodes_own_disk_is_evicted_and_what_it_wrote_goes()
    {
        var root = Directory.CreateDirectory(Path.Combine(containerd.Directory, "resources-g")).FullName;
        _ = containerd.Socket;
        await Tool.RunAsync("mount", ["-t", "tmpfs", "-o", "size=64m", "tmpfs", root], new ToolOptions(TimeProvider.System), CancellationToken.None);
        try
        {
            await using var edged = containerd.Run("resources-g", resources: new ResourceOptions
            {
                Thresholds = [new(EvictionSignals.NodeFs, new EvictionAmount(24 << 20, 0))], PressureTransition = TimeSpan.Zero,
            });
            var modest = Pod("modest", """{"requests":{"ephemeral-storage":"4Mi"}}""", 0);
            edged.Meta.Put("pod", modest);
            await edged.StatusAsync(modest, "running", IsReady);
            var hungry = Pod("hungry", "", 1000, "dd if=/dev/zero of=/data/file bs=1M count=48; sleep 1000");
            hungry["spec"]!["volumes"] = new JsonArray(new JsonObject { ["name"] = "data", ["emptyDir"] = new JsonObject() });
            hungry["spec"]!["containers"]![0]!["volumeMounts"] = new JsonArray(new JsonObject { ["name"] = "data", ["mountPath"] = "/data" });
            edged.Meta.Put("pod", hungry);

            // Its higher priority does not help it: the other uses no more than it asked for.
            var status = await edged.StatusAsync(hungry, "evicted", status => status.Text("phase") == "Failed");
            Assert.Equal("Evicted", status.Text("reason"));
            Assert.Matches(@"^The node was low on resource: ephemeral-storage\. Threshold quantity: 24Mi, available: \d+Ki\. (Container main was using \d+(Ki)?, request is 0, has larger consumption of ephemeral-storage\. )?$", status.Text("message"));
            await UntilAsync("what it wrote to go", () => Task.FromResult(new DriveInfo(root).AvailableFreeSpace > 40 << 20));
            await UntilAsync("the pressure to be over", () => Task.FromResult(edged.Runtime.Current.Pressures is { Count: 0 }));
            var from = edged.Uplink.Entries.Count;
            edged.ReportAll();
            var kept = await edged.StatusAsync(modest, "running on", IsReady, from);
            Assert.Equal(0, kept.Items("containerStatuses").Single().Number(-1, "restartCount"));
            await RemoveAsync(edged, modest, hungry);
        }
        finally
        {
            await Tool.RunAsync("umount", ["--lazy", root], new ToolOptions(TimeProvider.System), CancellationToken.None);
        }
    }

    [SkippableFact]
    public async Task When_the_images_disk_is_low_unused_images_go_and_used_ones_and_the_sandboxes_stay_and_no_pod_is_evicted()
    {
        const string Unused = "docker.io/edge/unused:1.0";
        await containerd.ImportAsync(OciImage.Create(Unused).AddBusybox(Local.Images.Busybox.Find(), ["sleep"]));
        using var client = containerd.Client();
        var watch = false;
        async Task<NodeReadings> Read(CancellationToken token)
        {
            var low = Volatile.Read(ref watch) && await client.ImageStatusAsync(Unused, token) is not null;
            return new NodeReadings(new Dictionary<string, SignalReading> { [EvictionSignals.ImageFs] = new(low ? Gi : 50 * Gi, 100 * Gi) }, false);
        }

        await using var edged = containerd.Run("resources-c", read: Read);
        var pod = Pod("user", "", 0);
        edged.Meta.Put("pod", pod);
        await edged.StatusAsync(pod, "running", IsReady);
        var before = (await client.ListImagesAsync(default)).Count;
        Volatile.Write(ref watch, true);
        await UntilAsync("the unused image to go", async () => await client.ImageStatusAsync(Unused, default) is null);
        await UntilAsync("the pressure to be told", () => Task.FromResult(edged.Runtime.Current.Pressures is { } pressures && pressures.Contains("DiskPressure")));
        // containerd takes an image's names away one after the other, and lists it until the last is gone.
        await UntilAsync("the unused image alone to be gone from the list", async () => (await client.ListImagesAsync(default)).Count == before - 1);
        Assert.NotNull(await client.ImageStatusAsync(ContainerdFixture.Busybox, default));
        Assert.DoesNotContain(edged.Uplink.Entries, entry => System.Text.Encoding.UTF8.GetString(entry.Content.Span).Contains("Evicted", StringComparison.Ordinal));
        await RemoveAsync(edged, pod);
    }

    [SkippableFact]
    public async Task A_long_log_is_rotated_and_compressed_and_the_container_writes_on()
    {
        await using var edged = containerd.Run("resources-d", resources: new ResourceOptions { LogSizeMax = 2000, LogFilesMax = 3, LogPeriod = TimeSpan.FromSeconds(1) }, read: ReadAsync);
        var pod = Pod("talker", "", 0, "i=0; while true; do i=$((i+1)); echo line $i of a long talk; usleep 5000; done");
        edged.Meta.Put("pod", pod);
        await edged.StatusAsync(pod, "running", IsReady);
        var directory = Path.Combine(edged.Logs, $"default_talker_{pod.Uid()}", "main");
        await UntilAsync("a compressed and a plain rotated log", () =>
        {
            var names = Directory.GetFiles(directory).Select(path => Path.GetFileName(path)!).ToList();
            return Task.FromResult(names.Exists(name => name.EndsWith(".gz", StringComparison.Ordinal)) && names.Contains("0.log") && new FileInfo(Path.Combine(directory, "0.log")).Length > 0);
        });
        await UntilAsync("at most 3 files", () => Task.FromResult(Directory.GetFiles(directory).Length <= 3));
        string text;
        try
        {
            await using var gzip = new GZipStream(File.OpenRead(Directory.GetFiles(directory, "*.gz")[0]), CompressionMode.Decompress);
            text = await new StreamReader(gzip).ReadToEndAsync();
        }
        catch (Exception e) when (e is FileNotFoundException or IndexOutOfRangeException)
        {
            // The rotation that came between took it; the next one left another.
            await UntilAsync("another compressed log", () => Task.FromResult(Directory.GetFiles(directory, "*.gz").Length > 0));
            await using var gzip = new GZipStream(File.OpenRead(Directory.GetFiles(directory, "*.gz")[0]), CompressionMode.Decompress);
            text = await new StreamReader(gzip).ReadToEndAsync();
        }

        Assert.Contains("of a long talk", text, StringComparison.Ordinal);
        await RemoveAsync(edged, pod);
    }

    [SkippableFact]
    public async Task What_pods_that_are_gone_left_on_disk_is_removed_and_what_others_have_stays()
    {
        var root = Path.Combine(containerd.Directory, "resources-e");
        var meta = new FakeMetaStore();
        var pod = Pod("kept", "", 0);
        meta.Put("pod", pod);
        string[] gone = [Path.Combine(root, "logs", "default_gone_1234", "main"), Path.Combine(root, "pods", "1234", "volumes")];
        string[] kept = [Path.Combine(root, "logs", "notes"), Path.Combine(root, "pods", pod.Uid(), "volumes", "kubernetes.io~empty-dir", "data")];
        foreach (var directory in gone.Concat(kept))
            Directory.CreateDirectory(directory);
        await using var edged = containerd.Run("resources-e", meta, read: ReadAsync);
        await edged.StatusAsync(pod, "running", IsReady);
        await UntilAsync("the directories to go", () => Task.FromResult(!Directory.Exists(Path.GetDirectoryName(gone[0])) && !Directory.Exists(Path.GetDirectoryName(gone[1]))));
        Assert.All(kept, directory => Assert.True(Directory.Exists(directory), directory));
        await RemoveAsync(edged, pod);
    }

    private static bool IsReady(JsonObject status)
        => status.Items("conditions").Any(condition => condition.Text("type") == "Ready" && condition.Text("status") == "True");

    private static JsonObject Pod(string name, string resources, long priority, string command = "sleep 1000")
    {
        var container = new JsonObject { ["name"] = "main", ["image"] = ContainerdFixture.Busybox, ["command"] = new JsonArray("sh", "-c", command) };
        if (resources.Length > 0)
            container["resources"] = JsonNode.Parse(resources);
        return new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "Pod",
            ["metadata"] = new JsonObject { ["namespace"] = "default", ["name"] = name, ["uid"] = Guid.NewGuid().ToString(), ["resourceVersion"] = "1" },
            ["spec"] = new JsonObject { ["terminationGracePeriodSeconds"] = 1, ["priority"] = priority, ["containers"] = new JsonArray(container) },
        };
    }

    private static async Task UntilAsync(string what, Func<Task<bool>> condition)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
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

    private Task<NodeReadings> ReadAsync(CancellationToken token) => Task.FromResult(new NodeReadings(
        new Dictionary<string, SignalReading> { [EvictionSignals.Memory] = new(_low == Low.Memory ? 50 << 20 : 4 * Gi, 8 * Gi), [EvictionSignals.Pid] = new(_low == Low.Pids ? 50 : 4000, 8000) }, true));

    private static Edged.PodDescription PodDescriptionOf(JsonObject pod)
        => Edged.PodDescription.TryRead(pod, out var read, out var error) ? read : throw new InvalidOperationException(error);

    // All that the kernel counts for the pod's cgroup.
    private static long Current(JsonObject pod)
    {
        var path = $"kubepods/besteffort/pod{pod.Uid()}";
        return ((string[])[$"/sys/fs/cgroup/memory/{path}/memory.usage_in_bytes", $"/sys/fs/cgroup/{path}/memory.current"]).Where(File.Exists)
            .Select(file => long.Parse(File.ReadAllText(file), System.Globalization.CultureInfo.InvariantCulture)).FirstOrDefault();
    }

    private async Task RemoveAsync(RunningEdged edged, params JsonObject[] pods)
    {
        using var client = containerd.Client();
        foreach (var pod in pods)
            edged.Meta.Delete("pod", pod);
        foreach (var pod in pods)
            await UntilAsync($"{pod.Name()} to be gone", async () => (await client.ListPodSandboxAsync(null, default)).All(sandbox => sandbox.Metadata.Uid != pod.Uid()));
    }
}
