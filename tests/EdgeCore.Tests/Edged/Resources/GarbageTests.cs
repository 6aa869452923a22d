using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Core.Edged.Cgroups;
using Edge.Core.Edged.GarbageCollection;
using Edge.Core.Edged.Logs;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Unit")]
public sealed class GarbageTests
{
    private static readonly DateTimeOffset s_start = new(2026, 1, 2, 15, 4, 5, TimeSpan.Zero);

    [Fact]
    public void Above_the_high_threshold_unused_images_go_longest_unused_first_down_to_the_low_one()
    {
        var core = new ImageGcCore(new ResourceOptions());
        ImageView[] images = [Image("used", 100), Image("old", 30), Image("older", 30), Image("pinned", 500) with { Pinned = true }];
        core.Observe(images, new HashSet<string> { "used", "old", "older" }, s_start);
        core.Observe(images, new HashSet<string> { "used", "old" }, s_start.AddMinutes(1));
        core.Observe(images, new HashSet<string> { "used-name" }, s_start.AddMinutes(2));
        Assert.Empty(core.Decide(160, 1000, s_start.AddMinutes(2), out var none));
        Assert.Equal(0, none);
        Assert.Equal(["older", "old"], Names(core.Decide(150, 1000, s_start.AddMinutes(2), out var toFree)));
        Assert.Equal(50, toFree);
        Assert.Equal(["older"], Names(core.Decide(95, 600, s_start.AddMinutes(2), out _))); // 25 are wanted
        Assert.Equal(["older", "old"], Names(core.AllUnused()));
    }

    [Fact]
    public void An_image_that_came_since_the_start_stays_for_its_minimum_age()
    {
        var core = new ImageGcCore(new ResourceOptions());
        core.Observe([], new HashSet<string>(), s_start);
        core.Observe([Image("new", 30)], new HashSet<string>(), s_start.AddMinutes(10));
        Assert.Empty(core.Decide(0, 1000, s_start.AddMinutes(11.9), out _));
        Assert.Equal(["new"], Names(core.Decide(0, 1000, s_start.AddMinutes(12), out _)));
    }

    [Fact]
    public void An_image_unused_beyond_the_maximum_age_goes_though_there_is_room()
    {
        var core = new ImageGcCore(new ResourceOptions { ImageAgeMax = TimeSpan.FromHours(1) });
        core.Observe([Image("a", 30)], new HashSet<string>(), s_start);
        Assert.Empty(core.Decide(900, 1000, s_start.AddMinutes(60), out _));
        Assert.Equal(["a"], Names(core.Decide(900, 1000, s_start.AddMinutes(61), out _)));
    }

    [Theory]
    [InlineData("busybox", "docker.io/library/busybox:latest")]
    [InlineData("edge/app:1", "docker.io/edge/app:1")]
    [InlineData("localhost:5000/app", "localhost:5000/app:latest")]
    [InlineData("r.example/app@sha256:1", "r.example/app@sha256:1")]
    public void Short_image_names_are_completed(string image, string full) => Assert.Equal(full, ImageCollector.FullName(image));

    [Fact]
    public void Directories_of_pods_that_nobody_knows_go()
    {
        (string, string)[] directories = [("/l/ns_a_1", "1"), ("/l/ns_b_2", "2"), ("/l/ns_c_3", "3")];
        Assert.Equal(["/l/ns_c_3"], LeftoverCore.GonePods(directories, new HashSet<string> { "1" }, new HashSet<string> { "2" }));
        Assert.Equal("1-2", LeftoverCore.UidOf("/var/log/pods/ns_pod_1-2"));
        Assert.Null(LeftoverCore.UidOf("/var/log/pods/lost+found"));
    }

    [Fact]
    public void A_pods_cgroup_goes_in_every_hierarchy_whatever_its_class_and_stays_while_it_is_used()
    {
        using var root = new TempDirectory();
        string[] gone = ["memory/kubepods/burstable/podu1", "pids/kubepods/podu1", "unified/kubepods/besteffort/podu1", "kubepods/burstable/podu1"];
        foreach (var path in (string[])[.. gone, "memory/kubepods/burstable/podu2", "pids/kubepods/podu3/c1"])
            Directory.CreateDirectory(root.File(path));
        var cgroups = new PodCgroups(new EdgedOptions(), NullLogger.Instance, root.Path);
        Assert.True(cgroups.Remove("u1"));
        Assert.DoesNotContain(gone, path => Directory.Exists(root.File(path)));
        Assert.True(Directory.Exists(root.File("memory/kubepods/burstable/podu2")));
        Assert.False(cgroups.Remove("u3"));
        Assert.True(Directory.Exists(root.File("pids/kubepods/podu3/c1")));
        Assert.True(cgroups.Remove("unknown"));
    }

    [Fact]
    public void Logs_of_containers_that_were_removed_go_and_the_newest_stay()
    {
        LogFileView[] files =
        [
            new("main", "3.log"), new("main", "4.log"), new("main", "4.log.20260102-150405"), new("main", "5.log"), new("main", "2.log.20260102-150405.gz"), new("main", "notes"),
            new("init", "0.log"), new("init", "1.log"),
        ];
        var attempts = ((string Name, uint Attempt)[])[("main", 4), ("main", 5)];
        Assert.Equal(
            ["3.log", "2.log.20260102-150405.gz", "0.log"],
            LeftoverCore.DeadLogs(files, attempts.ToLookup(one => one.Name, one => one.Attempt)).Select(file => file.File));
    }

    [Fact]
    public void A_log_is_rotated_at_its_size_and_older_files_are_compressed_and_the_oldest_deleted()
    {
        string[] beside =
        [
            "0.log", "0.log.20260101-000001.gz", "0.log.20260101-000002.gz", "0.log.20260101-000003.gz", "0.log.20260101-000004", "0.log.20260101-000003.gz.tmp", "1.log", "0.log.20260101-000002",
        ];
        Assert.Null(LogRotation.Plan("0.log", 99, beside, 100, 5, s_start));
        var plan = LogRotation.Plan("0.log", 100, beside, 100, 5, s_start)!;
        Assert.Equal(["0.log.20260101-000001.gz", "0.log.20260101-000002", "0.log.20260101-000003.gz.tmp"], plan.Delete.Order(StringComparer.Ordinal));
        Assert.Equal(["0.log.20260101-000004"], plan.Compress);
        Assert.Equal("0.log.20260102-150405", plan.RenameTo);
        Assert.NotEqual(plan.RenameTo, LogRotation.Plan("0.log", 100, [.. beside, plan.RenameTo], 100, 5, s_start)!.RenameTo);
        Assert.Equal(4, LogRotation.Plan("0.log", 100, beside.Where(name => name.EndsWith("gz", StringComparison.Ordinal) || name == beside[4]), 100, 2, s_start)!.Delete.Count);
    }

    private static ImageView Image(string name, long bytes) => new(name, [name + "-name"], bytes, false);

    private static IEnumerable<string> Names(IEnumerable<ImageView> images) => images.Select(image => image.Id);
}
