using Edge.Core.Configuration;
using Edge.Core.Edged;
using Edge.Core.Edged.Cgroups;
using Edge.Core.Edged.Lifecycle;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Pods")]
public sealed class OomLedgerTests
{
    private readonly OomLedger _ledger = new();

    [Fact]
    public void A_new_pods_first_kill_counts_also_when_it_comes_before_the_second_look()
    {
        Look(null);
        Assert.False(_ledger.HasKilled || _ledger.IsCounted);
        Look(3);
        Assert.True(_ledger.HasKilled && _ledger.IsCounted);
        _ledger.Settle();
        Assert.False(_ledger.HasKilled);
        Look(3);
        Assert.False(_ledger.HasKilled);
        Look(4);
        Assert.True(_ledger.HasKilled);
    }

    [Fact]
    public void What_was_killed_before_EdgeCore_started_explains_no_later_end()
    {
        Look(2);
        Look(2);
        Assert.False(_ledger.HasKilled);
        Look(3);
        Assert.True(_ledger.HasKilled);
    }

    [Fact]
    public void A_cgroup_that_was_made_anew_counts_from_zero()
    {
        Look(7);
        Look(1);
        Assert.True(_ledger.HasKilled);
        _ledger.Settle();
        Look(null);
        _ledger.Settle();
        Assert.False(_ledger.HasKilled);
        Look(1);
        Assert.False(_ledger.HasKilled);
    }

    [Theory]
    [InlineData("cgroupfs", "kubepods/besteffort/podu-1")]
    [InlineData("systemd", "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podu_1.slice")]
    public void The_kernels_count_of_a_pod_is_read_on_v2_alone(string driver, string path)
    {
        using var directory = new TempDirectory();
        var pod = PodBench.Read("""{"containers":[{"name":"a"}]}""", """{"uid":"u-1"}""");
        long? Kills() => new PodCgroups(new EdgedOptions { CgroupDriver = driver }, NullLogger.Instance, directory.Path).OomKills(pod);
        var cgroup = Directory.CreateDirectory(directory.File(path)).FullName;
        File.WriteAllText(Path.Combine(cgroup, "memory.events"), "low 0\nhigh 0\nmax 12\noom 2\noom_kill 5\noom_group_kill 1\n");
        Assert.Null(Kills());
        File.WriteAllText(directory.File("cgroup.controllers"), "memory");
        Assert.Equal(5, Kills());
        File.WriteAllText(Path.Combine(cgroup, "memory.events"), "oom_kill many\n");
        Assert.Null(Kills());
        File.Delete(Path.Combine(cgroup, "memory.events"));
        Assert.Null(Kills());
    }

    [Fact]
    public void What_was_said_of_one_start_of_a_container_is_remembered_of_it_alone()
    {
        using var directory = new TempDirectory();
        PodVolumes Volumes() => new(directory.Path, PodBench.Read("""{"containers":[{"name":"a"}]}"""), TimeProvider.System);
        Assert.False(Volumes().WasOutOfMemory("a", 1));
        Volumes().MarkOutOfMemory("a", 1);
        Assert.True(Volumes().WasOutOfMemory("a", 1));
        Assert.False(Volumes().WasOutOfMemory("a", 2) || Volumes().WasOutOfMemory("b", 1));
        Assert.Equal("", Volumes().TerminationMessage("a", 1));
    }

    private void Look(long? count) => _ledger.Look(count);
}
