using System.Text.Json.Nodes;
using Edge.Core.Edged.LocalApi;
using Edge.Kubernetes;

namespace Edge.Core.Tests.LocalApi;

/// <summary>Figures from texts, and the shapes in which they are told.</summary>
[Trait("Category", "Pods")]
public sealed class UsageTests
{
    private static readonly DateTimeOffset s_now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    [Fact]
    public void Idle_time_and_guests_are_not_counted_as_used()
    {
        string[] stat = ["cpu  100 10 200 9999 8888 3 4 5 100 0", "cpu0 1 2 3 4 5 6 7 8 9 0", "btime 1700000000"];
        Assert.Equal(3_220_000_000UL, ProcText.CpuNanoseconds(stat)); // 100+10+200+3+4+5 ticks of 10 ms
        Assert.Equal(DateTimeOffset.FromUnixTimeSeconds(1700000000), ProcText.Booted(stat));
        Assert.Null(ProcText.CpuNanoseconds(["cpu 1 2"]));
        Assert.Null(ProcText.Booted(["btime soon"]));
    }

    [Fact]
    public void Memory_is_told_in_bytes() => Assert.Equal(new Dictionary<string, ulong> { ["MemTotal"] = 2048, ["HugePages_Total"] = 3 }, ProcText.Memory(["MemTotal:  2 kB", "HugePages_Total: 3", "odd", "Bad: x kB"]));

    [Fact]
    public void Interfaces_are_read_without_the_loopback()
    {
        var found = ProcText.Interfaces(
            ["Inter-| Receive", " face |bytes", "    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0", "  eth0:11 12 13 14 0 0 0 0 21 22 23 24 0 0 0 0", "  bad: 1 2"]);
        Assert.Equal(new InterfaceUse("eth0", 11, 12, 13, 14, 21, 22, 23, 24), Assert.Single(found));
    }

    [Fact]
    public void A_rate_needs_two_samples_and_survives_a_counter_that_starts_again()
    {
        var rates = new CpuRates();
        Assert.Null(rates.Rate("a", new CpuUse(s_now, 1_000, null))!.NanoCores);
        Assert.Equal(500_000_000UL, rates.Rate("a", new CpuUse(s_now.AddSeconds(2), 1_000_001_000, null))!.NanoCores);
        // Too soon for a sound figure: the last one stands.
        Assert.Equal(500_000_000UL, rates.Rate("a", new CpuUse(s_now.AddSeconds(2.1), 1_900_000_000, null))!.NanoCores);
        Assert.Null(rates.Rate("a", new CpuUse(s_now.AddSeconds(4), 5, null))!.NanoCores);
        Assert.Null(rates.Rate("b", new CpuUse(s_now.AddSeconds(4), 5, null))!.NanoCores);
        rates.Forget(s_now.AddHours(1));
        Assert.Null(rates.Rate("a", new CpuUse(s_now.AddHours(1), 5_000, null))!.NanoCores);
    }

    [Fact]
    public void The_summary_has_the_kubelets_shape_and_leaves_out_what_is_not_known()
    {
        var json = JsonNode.Parse(StatsSummary.Build(Report(), onlyCpuAndMemory: false).ToJsonString())!;
        Assert.Equal("n1", json.Text("node", "nodeName"));
        Assert.Equal(7, json.Number(0, "node", "cpu", "usageCoreNanoSeconds"));
        Assert.Equal(("eth0", 11L), (json.Text("node", "network", "name"), json.Number(0, "node", "network", "rxBytes")));
        Assert.Equal((99L, 5L), (json.Number(0, "node", "rlimit", "maxpid"), json.Number(0, "node", "rlimit", "curproc")));
        var pod = Assert.Single(json.Items("pods"));
        Assert.Equal(("web", "default", "u1"), (pod.Text("podRef", "name"), pod.Text("podRef", "namespace"), pod.Text("podRef", "uid")));
        Assert.Equal(2, pod.Number(0, "process_stats", "process_count"));
        var container = Assert.Single(pod.Items("containers"));
        Assert.Equal((2_500_000_000L, 4096L), (container.Number(0, "cpu", "usageCoreNanoSeconds"), container.Number(0, "memory", "workingSetBytes")));
        Assert.Equal(77, container.Number(0, "rootfs", "usedBytes"));
        Assert.Null(container.At("cpu", "usageNanoCores"));
        Assert.Null(container.At("memory", "availableBytes"));
        Assert.Null(container.At("logs"));
        var less = StatsSummary.Build(Report(), onlyCpuAndMemory: true);
        Assert.Null(less["node"].At("fs"));
        Assert.Null(less.Items("pods").Single().Items("containers").Single().At("rootfs"));
    }

    [Fact]
    public void Resource_metrics_have_the_kubelets_names()
    {
        var text = UsageMetrics.Resource(Report());
        Assert.Contains("# TYPE container_cpu_usage_seconds_total counter\ncontainer_cpu_usage_seconds_total{container=\"main\",namespace=\"default\",pod=\"web\"} 2.5 1767323045000\n", text, StringComparison.Ordinal);
        Assert.Contains("\ncontainer_memory_working_set_bytes{container=\"main\",namespace=\"default\",pod=\"web\"} 4096 1767323045000\n", text, StringComparison.Ordinal);
        Assert.Contains("\nnode_cpu_usage_seconds_total 0.000000007 1767323045000\n", text, StringComparison.Ordinal);
        Assert.Contains("\nscrape_error 0\n", text, StringComparison.Ordinal);
        Assert.DoesNotContain("\npod_cpu_usage_seconds_total{", text, StringComparison.Ordinal); // not known
        Assert.Contains("\nscrape_error 1\n", UsageMetrics.Resource(Report() with { Error = "down", Pods = [] }), StringComparison.Ordinal);
    }

    [Fact]
    public void Cadvisors_metrics_have_a_row_for_node_pod_and_container_and_escape_labels()
    {
        var text = UsageMetrics.Cadvisor(Report());
        Assert.Contains("container_cpu_usage_seconds_total{container=\"main\",id=\"/kubepods/podu1/c1\",image=\"a\\\"b\\\\c\",name=\"c1\",namespace=\"default\",pod=\"web\",cpu=\"total\"} 2.5 ", text, StringComparison.Ordinal);
        Assert.Contains("container_network_transmit_packets_dropped_total{container=\"\",id=\"/\",image=\"\",name=\"\",namespace=\"\",pod=\"\",interface=\"eth0\"} 24 ", text, StringComparison.Ordinal);
        Assert.Contains("container_fs_usage_bytes{container=\"main\",", text, StringComparison.Ordinal);
        Assert.Equal(text.Split('\n').Count(line => line.StartsWith("# TYPE", StringComparison.Ordinal)), text.Split('\n').Where(line => line.StartsWith("# TYPE", StringComparison.Ordinal)).Distinct().Count());
    }

    [Theory]
    [InlineData("""{"pid":42,"other":{}}""", 42)]
    [InlineData("""{"pid":0}""", null)]
    [InlineData("[]", null)]
    [InlineData("nonsense", null)]
    public void The_sandboxs_process_is_taken_from_what_containerd_says(string info, int? process) => Assert.Equal(process, UsageSampler.ProcessOf(info));

    [Fact]
    public void The_machine_itself_can_be_measured()
    {
        var node = UsageFiles.Node("n", new Configuration.EdgedOptions { RootDirectory = "/nowhere/below/the/root" }, s_now);
        Assert.InRange(node.Cpu!.CoreNanoseconds, 1UL, ulong.MaxValue);
        Assert.InRange(node.Memory!.WorkingSet, 1UL, node.MemoryBytes);
        Assert.InRange(node.Disk!.Used!.Value, 1UL, node.Disk.Capacity!.Value);
        Assert.Equal((ulong)new DriveInfo("/").TotalSize, node.Disk.Capacity);
        Assert.Null(UsageFiles.Cgroup("/no/such/cgroup", s_now).Cpu);
        Assert.Null(UsageFiles.FileBytes("/no/such/directory"));
    }

    private static UsageReport Report() => new(
        s_now,
        new NodeUse
        {
            Name = "n1",
            Booted = s_now.AddDays(-1),
            Cpu = new CpuUse(s_now, 7, null),
            Memory = new MemoryUse(s_now, 10, 8, 2, null, null, null),
            Network = [new InterfaceUse("eth0", 11, 12, 13, 14, 21, 22, 23, 24)],
            DefaultInterface = "eth0",
            Disk = new DiskUse(s_now, 100, 40, 60, 10, 4, 6),
            Processes = 5,
            ProcessesMax = 99,
        },
        [
            new PodUse
            {
                Namespace = "default",
                Name = "web",
                Uid = "u1",
                Cgroup = "/kubepods/podu1",
                Started = s_now,
                Processes = 2,
                Containers =
                [
                    new ContainerUse
                    {
                        Name = "main",
                        Id = "c1",
                        Image = "a\"b\\c",
                        Started = s_now,
                        Cpu = new CpuUse(s_now, 2_500_000_000, null),
                        Memory = new MemoryUse(s_now, 5000, 4096, null, null, null, null),
                        Rootfs = new DiskUse(s_now, 100, 40, 77, 10, 4, 1),
                    },
                ],
            },
        ],
        "");
}
