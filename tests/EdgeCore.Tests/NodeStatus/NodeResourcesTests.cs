using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Core.NodeStatus;
using Edge.Kubernetes;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Unit")]
public sealed class NodeResourcesTests
{
    private static readonly NodeFacts s_facts = RunningEdge.Facts with { HugePages = [(2 << 20, 512L << 20), (1 << 30, 0)] };

    [Fact]
    public void Allocatable_is_capacity_less_reservations_hard_thresholds_and_huge_pages()
    {
        var options = new EdgedOptions
        {
            MaxPods = 20,
            Resources = new ResourceOptions
            {
                SystemReserved = new Dictionary<string, Quantity> { ["cpu"] = Quantity.Parse("200m"), ["memory"] = Quantity.Parse("256Mi") },
                KubeReserved = new Dictionary<string, Quantity> { ["cpu"] = Quantity.Parse("100m"), ["memory"] = Quantity.Parse("128Mi"), ["ephemeral-storage"] = Quantity.Parse("1Gi"), ["pid"] = Quantity.Parse("100") },
            },
        };
        var status = NodeObject.Status("n", options, s_facts, new RuntimeState(true, "", "containerd", "1.6.20", []), [], DateTimeOffset.UnixEpoch);
        Assert.Equal(("2", "4194304Ki", "104857600Ki", "20", "512Mi", "0"), Texts(status["capacity"]));
        Assert.Equal(("1700m", $"{4194304 - ((256 + 128 + 100 + 512) * 1024)}Ki", $"{(90L * 1024 * 1024) - (1024 * 1024)}Ki", "20", "512Mi", "0"), Texts(status["allocatable"]));
    }

    [Fact]
    public void Reserving_more_than_there_is_leaves_nothing_and_never_less()
    {
        var allocatable = NodeResources.Allocatable(NodeResources.Capacity(s_facts, 1), new ResourceOptions { SystemReserved = new Dictionary<string, Quantity> { ["cpu"] = Quantity.Parse("5") } });
        Assert.True(allocatable["cpu"].IsZero);
    }

    [Fact]
    public void Pressures_and_the_network_are_conditions_with_a_kubelets_reasons_and_come_from_one_look_where_no_pods_run()
    {
        var runtime = new RuntimeState(true, "", "containerd", "1.6.20", []) { NetworkReady = true, Pressures = new HashSet<string> { "DiskPressure" } };
        var status = NodeObject.Status("n", new EdgedOptions(), s_facts, runtime, [], DateTimeOffset.UnixEpoch);
        Assert.Equal(
            ["MemoryPressure=False KubeletHasSufficientMemory", "DiskPressure=True KubeletHasDiskPressure", "PIDPressure=False KubeletHasSufficientPID", "NetworkUnavailable=False NetworkPluginIsReady", "Ready=True EdgeReady"],
            status.Items("conditions").Select(condition => $"{condition.Text("type")}={condition.Text("status")} {condition.Text("reason")}"));
        var low = NodeObject.Status("n", new EdgedOptions(), s_facts with { MemoryAvailableBytes = 50 << 20 }, null, [], DateTimeOffset.UnixEpoch);
        Assert.Equal("True", low.Items("conditions").First().Text("status"));
    }

    [Fact]
    public void Only_the_50_largest_images_are_reported()
    {
        var runtime = new RuntimeState(true, "", "containerd", "1.6.20", [.. Enumerable.Range(1, 60).Select(size => new RuntimeImage([$"i:{size}"], size))]);
        var images = NodeObject.Status("n", new EdgedOptions(), s_facts, runtime, [], DateTimeOffset.UnixEpoch).Items("images").ToList();
        Assert.Equal((50, 60, 11), (images.Count, images[0].Number(0, "sizeBytes"), images[^1].Number(0, "sizeBytes")));
    }

    [Fact]
    public void Huge_pages_are_read_by_size()
    {
        using var directory = new TempDirectory();
        foreach (var (name, count) in ((string, string)[])[("hugepages-2048kB", "3\n"), ("hugepages-1048576kB", "0\n")])
        {
            Directory.CreateDirectory(directory.File(name));
            File.WriteAllText(directory.File(name + "/nr_hugepages"), count);
        }

        Assert.Equal([(1L << 30, 0L), (2L << 20, 6L << 20)], NodeFacts.Huge(directory.Path));
    }

    [Fact]
    public void File_systems_tell_sizes_and_inodes()
    {
        using var directory = new TempDirectory();
        var here = FileSystemFacts.Of(directory.File("not/there/yet"))!;
        Assert.Equal(FileSystemFacts.Of(directory.Path)!.Device, here.Device);
        Assert.Equal(new DriveInfo(directory.Path).TotalSize, here.Bytes);
        Assert.InRange(here.BytesAvailable, 1, here.Bytes);
        Assert.InRange(here.InodesFree, 0, here.Inodes);
    }

    private static (string, string, string, string, string, string) Texts(System.Text.Json.Nodes.JsonNode? list)
        => (list.Text("cpu"), list.Text("memory"), list.Text("ephemeral-storage"), list.Text("pods"), list.Text("hugepages-2Mi"), list.Text("hugepages-1Gi"));
}
