using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.Edged.Eviction;
using Edge.Kubernetes;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Unit")]
public sealed class EvictionTests
{
    private const long Mi = 1 << 20;

    private static readonly EvictionThreshold s_hard = new(EvictionSignals.Memory, new EvictionAmount(100 * Mi, 0), TimeSpan.Zero, new EvictionAmount(50 * Mi, 0));
    private static readonly EvictionThreshold s_soft = new(EvictionSignals.NodeFs, new EvictionAmount(0, 0.1), TimeSpan.FromSeconds(60));

    private readonly EvictionCore _core = new(new ResourceOptions { Thresholds = [s_hard, s_soft], PressureTransition = TimeSpan.FromMinutes(5) });
    private DateTimeOffset _now = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public void A_hard_threshold_presses_and_reclaims_at_once_until_the_minimum_reclaim_is_free_too()
    {
        Assert.Null(Look(memory: 100 * Mi).Reclaim);
        var low = Look(memory: 100 * Mi - 1);
        Assert.Equal(["MemoryPressure"], low.Pressures);
        Assert.Equal((s_hard, 100 * Mi - 1), (low.Reclaim!.Threshold, low.Reclaim.Reading.Available));
        Assert.NotNull(Look(memory: 149 * Mi).Reclaim);
        Assert.False(EvictionCore.IsResolved(s_hard, Readings(149 * Mi, 1000)));
        Assert.True(EvictionCore.IsResolved(s_hard, Readings(150 * Mi, 1000)));
        Assert.Null(Look(memory: 150 * Mi).Reclaim);
        Assert.Null(Look(memory: 101 * Mi).Reclaim);
    }

    [Fact]
    public void A_pressure_stays_for_the_transition_period_after_the_signal_is_good_again()
    {
        Look(memory: 0);
        _now += TimeSpan.FromMinutes(4.9);
        Assert.Equal(["MemoryPressure"], Look().Pressures);
        _now += TimeSpan.FromMinutes(0.2);
        Assert.Empty(Look().Pressures);
    }

    [Fact]
    public void A_soft_threshold_presses_at_once_and_reclaims_after_its_grace_period_without_a_break()
    {
        var first = Look(disk: 99);
        Assert.Equal((1, null), (first.Pressures.Count, first.Reclaim));
        _now += TimeSpan.FromSeconds(59);
        Assert.Null(Look(disk: 99).Reclaim);
        Look(disk: 100); // a break
        _now += TimeSpan.FromSeconds(1);
        Assert.Null(Look(disk: 99).Reclaim);
        _now += TimeSpan.FromSeconds(60);
        Assert.Equal(s_soft, Look(disk: 99).Reclaim!.Threshold);
    }

    [Fact]
    public void Memory_goes_before_disk_and_a_signal_that_cannot_be_read_evicts_nobody()
    {
        Look(memory: 1, disk: 1);
        _now += TimeSpan.FromMinutes(2);
        Assert.Equal(EvictionSignals.Memory, Look(memory: 1, disk: 1).Reclaim!.Threshold.Signal);
        var blind = _core.Step(new NodeReadings(new Dictionary<string, SignalReading>(), true), _now);
        Assert.Null(blind.Reclaim);
    }

    [Fact]
    public void Who_uses_more_than_asked_goes_first_then_lower_priority_then_who_uses_most_beyond_and_critical_pods_never()
    {
        EvictionCandidate[] pods =
        [
            Candidate("within", 100, 90, 0),
            Candidate("beyond-little", 100, 110, 0),
            Candidate("beyond-much", 100, 300, 0),
            Candidate("beyond-important", 100, 900, 1000),
            Candidate("critical", 0, 9000, 2_000_000_000),
            Candidate("nothing-asked", 0, 250, 0),
        ];
        Assert.Equal(["nothing-asked", "beyond-much", "beyond-little", "beyond-important", "within"], EvictionRanking.Order(pods, EvictionSignals.Memory).Select(pod => pod.Json.Name()));
        Assert.Null(EvictionRanking.Choose([pods[4]], new MetThreshold(s_hard, new SignalReading(1, 2)), TimeSpan.Zero));
    }

    [Fact]
    public void For_disk_and_processes_their_own_usage_ranks()
    {
        EvictionCandidate[] pods =
        [
            new(Pod("a", 0, 0), new PodUsage(999 * Mi, 10 * Mi, 5, 7)),
            new(Pod("b", 0, 0), new PodUsage(0, 20 * Mi, 1, 3)),
            new(Pod("c", 0, 50), new PodUsage(0, 30 * Mi, 1, 90)),
        ];
        Assert.Equal(["b", "a", "c"], EvictionRanking.Order(pods, EvictionSignals.NodeFs).Select(pod => pod.Json.Name()));
        Assert.Equal(["a", "b", "c"], EvictionRanking.Order(pods, EvictionSignals.NodeFsInodes).Select(pod => pod.Json.Name()));
        Assert.Equal(["a", "b", "c"], EvictionRanking.Order(pods, EvictionSignals.Pid).Select(pod => pod.Json.Name()));
    }

    [Fact]
    public void The_message_is_a_kubelets_and_soft_thresholds_leave_grace()
    {
        var pod = Candidate("p", 100, 300, 0);
        var hard = EvictionRanking.Choose([pod], new MetThreshold(s_hard, new SignalReading(80 * Mi, 4096 * Mi)), TimeSpan.FromSeconds(7))!;
        Assert.Equal(
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 81920Ki. Container main was using 300Mi, request is 100Mi, has larger consumption of memory. ",
            hard.Message);
        Assert.Equal(("p", TimeSpan.Zero), (hard.Uid, hard.Grace));
        var soft = EvictionRanking.Choose([pod], new MetThreshold(s_soft, new SignalReading(50, 1000)), TimeSpan.FromSeconds(7))!;
        Assert.Equal("The node was low on resource: ephemeral-storage. Threshold quantity: 100, available: 0Ki. ", soft.Message);
        Assert.Equal(TimeSpan.FromSeconds(7), soft.Grace);
    }

    [Fact]
    public void Usage_is_read_from_cgroups_of_both_versions_and_from_the_pods_directories()
    {
        using var directory = new TempDirectory();
        var options = new EdgedOptions { RootDirectory = directory.File("root"), PodLogsDirectory = directory.File("logs") };
        void Write(string path, string text)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(directory.File(path))!);
            File.WriteAllText(directory.File(path), text);
        }

        Write("v1/memory/kubepods/besteffort/podp/memory.usage_in_bytes", "1000\n");
        Write("v1/memory/kubepods/besteffort/podp/memory.stat", "cache 1\ntotal_inactive_file 300\n");
        Write("v1/memory/kubepods/besteffort/podp/c1/memory.usage_in_bytes", "500\n");
        Write("v1/pids/kubepods/besteffort/podp/pids.current", "12\n");
        Write("v2/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podp.slice/memory.current", "2000\n");
        Write("v2/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podp.slice/memory.stat", "anon 1\ninactive_file 100\n");
        Write("root/pods/p/volumes/kubernetes.io~empty-dir/d/file", new string('x', 5000));
        Write("logs/default_p_p/main/0.log", new string('x', 70));
        Assert.True(Edged.PodDescription.TryRead(Pod("p", 0, 0), out var pod, out _));
        var v1 = new PodUsageReader(options, directory.File("v1")).Read(pod, new Dictionary<string, string> { ["main"] = "c1" }, new PodDisk(true, [new LayerUse("main", 1000, 3), new LayerUse("main", 500, 1)]));
        Assert.Equal((700, 12, 6570, 500, 1570), (v1.MemoryBytes, v1.Processes, v1.DiskBytes, v1.ContainerMemory["main"], v1.ContainerDisk["main"]));
        var images = new PodUsageReader(options, directory.File("v1")).Read(pod, new Dictionary<string, string>(), new PodDisk(false, [new LayerUse("main", 1000, 3)]));
        Assert.Equal((1000, 3), (images.DiskBytes, images.Inodes));
        var v2 = new PodUsageReader(options with { CgroupDriver = "systemd" }, directory.File("v2")).Read(pod, new Dictionary<string, string>(), disk: null);
        Assert.Equal((1900, 0), (v2.MemoryBytes, v2.DiskBytes));
    }

    private static EvictionCandidate Candidate(string name, long requestMi, long usedMi, long priority)
        => new(Pod(name, requestMi, priority), new PodUsage(usedMi * Mi, 0, 0, 0) { ContainerMemory = new Dictionary<string, long> { ["main"] = usedMi * Mi } });

    private static JsonObject Pod(string name, long requestMi, long priority)
    {
        var container = new JsonObject { ["name"] = "main" };
        if (requestMi > 0)
            container["resources"] = new JsonObject { ["requests"] = new JsonObject { ["memory"] = $"{requestMi}Mi" } };
        return new JsonObject
        {
            ["metadata"] = new JsonObject { ["namespace"] = "default", ["name"] = name, ["uid"] = name },
            ["spec"] = new JsonObject { ["priority"] = priority, ["containers"] = new JsonArray(container) },
        };
    }

    private static NodeReadings Readings(long memory, long disk) => new(
        new Dictionary<string, SignalReading> { [EvictionSignals.Memory] = new(memory, 4096 * Mi), [EvictionSignals.NodeFs] = new(disk, 1000) }, true);

    private EvictionDecision Look(long memory = 4096 * Mi, long disk = 1000) => _core.Step(Readings(memory, disk), _now);
}
