using System.Diagnostics;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Edge.Core.Edged;
using Edge.Core.Edged.Eviction;
using Edge.Core.Edged.Volumes;
using Edge.Testing;
using Xunit;

namespace Edge.Core.Tests;

/// <summary>Paths of volumes on a real file system; what mounts needs root.</summary>
[Trait("Category", "Unit")]
public sealed class VolumePathTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose()
    {
        MountTable.UnmountBelow(_directory.Path);
        _directory.Dispose();
    }

    [Theory]
    [InlineData("a/b", true)]
    [InlineData("a/..b", true)]
    [InlineData("../a", false)]
    [InlineData("a/../../b", false)]
    [InlineData("/etc", false)]
    [InlineData("..", false)]
    public void A_subPath_is_relative_and_without_steps_back(string subPath, bool allowed) => Assert.Equal(allowed, SubPath.IsAllowed(subPath, out _));

    [SkippableFact]
    public void A_subPath_is_bound_made_where_missing_and_replaced_at_the_next_start()
    {
        Skip.IfNot(Environment.IsPrivilegedProcess, "needs root");
        var volume = Directory.CreateDirectory(_directory.File("volume")).FullName;
        File.SetUnixFileMode(volume, (UnixFileMode)0b111_111_111);
        var target = _directory.File("bound/0");
        SubPath.Bind(volume, "a/b", target, create: true);
        Assert.True(MountTable.IsMounted(target));
        Assert.Equal((UnixFileMode)0b111_111_111, File.GetUnixFileMode(Path.Combine(volume, "a/b")));
        File.WriteAllText(Path.Combine(target, "f"), "x");
        Assert.Equal("x", File.ReadAllText(Path.Combine(volume, "a/b/f")));
        SubPath.Bind(volume, "a/b/f", target, create: true); // now a file
        Assert.Equal("x", File.ReadAllText(target));
        File.CreateSymbolicLink(Path.Combine(volume, "inner"), "a/b");
        SubPath.Bind(volume, "inner/f", target, create: true);
        Assert.Equal("x", File.ReadAllText(target));
        Assert.Throws<PodConfigException>(() => SubPath.Bind(volume, "absent", target, create: false));
    }

    [SkippableFact]
    public void What_a_subPath_was_bound_to_stays_when_the_pod_goes_also_where_the_root_is_behind_a_link()
    {
        Skip.IfNot(Environment.IsPrivilegedProcess, "needs root");
        var volume = Directory.CreateDirectory(_directory.File("data/sub")).Parent!.FullName;
        File.WriteAllText(_directory.File("data/sub/f"), "kept");
        Directory.CreateDirectory(_directory.File("real"));
        Directory.CreateSymbolicLink(_directory.File("root"), _directory.File("real"));
        var pod = _directory.File("root/pods/u");
        SubPath.Bind(volume, "sub", Path.Combine(pod, "volume-subpaths/v/c/0"), create: false);
        SubPath.Bind(volume, "sub/f", Path.Combine(pod, "volume-subpaths/v/c/1"), create: false);
        Assert.True(MountTable.IsMounted(Path.Combine(pod, "volume-subpaths/v/c/0")));
        PodVolumes.Remove(pod);
        Assert.Equal("kept", File.ReadAllText(_directory.File("data/sub/f")));
        Assert.False(Directory.Exists(pod));

        // Something that looks like data stops the removal.
        Directory.CreateDirectory(Path.Combine(pod, "volume-subpaths/v/c/0"));
        File.WriteAllText(Path.Combine(pod, "volume-subpaths/v/c/0/data"), "x");
        Assert.Throws<IOException>(() => PodVolumes.Remove(pod));
        Assert.True(File.Exists(Path.Combine(pod, "volume-subpaths/v/c/0/data")));
    }

    [SkippableTheory]
    [InlineData("/etc")]
    [InlineData("../outside")]
    [InlineData("../volume-too")] // begins like the volume
    public void A_link_out_of_the_volume_is_refused_and_nothing_is_made_there(string to)
    {
        Skip.IfNot(Environment.IsPrivilegedProcess, "needs root");
        var volume = Directory.CreateDirectory(_directory.File("volume")).FullName;
        Directory.CreateDirectory(_directory.File("outside"));
        Directory.CreateDirectory(_directory.File("volume-too"));
        File.CreateSymbolicLink(Path.Combine(volume, "link"), to);
        File.CreateSymbolicLink(Path.Combine(volume, "dangling"), "../made");
        foreach (var subPath in (string[])["link", "link/new", "link/deep/new", "dangling", "dangling/new"])
            Assert.Throws<PodConfigException>(() => SubPath.Bind(volume, subPath, _directory.File("bound"), create: true));
        Assert.False(MountTable.IsMounted(_directory.File("bound")));
        Assert.Empty(Directory.GetFileSystemEntries(_directory.File("outside")));
        Assert.Empty(Directory.GetFileSystemEntries(_directory.File("volume-too")));
        Assert.False(Directory.Exists(_directory.File("made")));
    }

    [SkippableFact]
    public async Task A_directory_that_is_swapped_for_a_link_meanwhile_never_leads_out()
    {
        Skip.IfNot(Environment.IsPrivilegedProcess, "needs root");
        var volume = Directory.CreateDirectory(_directory.File("volume")).FullName;
        Directory.CreateDirectory(_directory.File("outside/sub"));
        File.WriteAllText(_directory.File("outside/sub/secret"), "s");
        Directory.CreateDirectory(Path.Combine(volume, "real/sub"));
        File.CreateSymbolicLink(Path.Combine(volume, "evil"), "../outside");
        using var stop = new CancellationTokenSource();
        var name = Path.Combine(volume, "x");
        var swapping = Task.Run(() =>
        {
            // rename(2) both ways, so that the name is a directory at one moment and a link at the next.
            while (!stop.IsCancellationRequested)
            {
                Native.Rename(Path.Combine(volume, "real"), name);
                Native.Rename(name, Path.Combine(volume, "real"));
                Native.Rename(Path.Combine(volume, "evil"), name);
                Native.Rename(name, Path.Combine(volume, "evil"));
            }
        });
        for (var i = 0; i < 2000; i++)
        {
            try
            {
                SubPath.Bind(volume, "x/sub", _directory.File("bound"), create: false);
                Assert.False(File.Exists(_directory.File("bound/secret")));
            }
            catch (Exception e) when (e is PodConfigException or IOException)
            {
                // Refused: the name was a link, or nothing, at that moment.
            }
        }

        await stop.CancelAsync();
        await swapping;
        SubPath.Bind(volume, "real/sub", _directory.File("bound"), create: false);
        Assert.False(File.Exists(_directory.File("bound/secret")));
    }

    [Fact]
    public void Mount_points_are_read_with_their_escapes()
        => Assert.Equal(
            ["/a b/c", "/x\\y"],
            MountTable.Paths(["36 35 98:0 / /a\\040b/c rw - ext3 /dev/root rw", "37 35 0:1 / /x\\134y rw - tmpfs none rw", "short line"]));

    [Fact]
    public void A_hostPath_is_of_its_type()
    {
        var file = _directory.File("file");
        var folder = _directory.File("folder");
        File.WriteAllText(file, "");
        Directory.CreateDirectory(folder);
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(_directory.File("socket")));
        foreach (var (path, good) in ((string, string[])[])[
            (file, ["", "File", "FileOrCreate"]), (folder, ["", "Directory", "DirectoryOrCreate"]), (_directory.File("socket"), ["", "Socket"]), ("/dev/null", ["", "CharDevice"])])
        {
            foreach (var type in (string[])["", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket", "CharDevice", "BlockDevice"])
            {
                if (good.Contains(type))
                    HostPathCheck.Apply(path, type);
                else
                    Assert.StartsWith($"hostPath type check failed: {path} is not a", Assert.Throws<PodConfigException>(() => HostPathCheck.Apply(path, type)).Message, StringComparison.Ordinal);
            }
        }

        var absent = _directory.File("absent");
        foreach (var type in (string[])["Directory", "File", "Socket", "CharDevice", "BlockDevice"])
            Assert.Throws<PodConfigException>(() => HostPathCheck.Apply(absent, type));
        Assert.Equal("Folder is an invalid volume type", Assert.Throws<PodConfigException>(() => HostPathCheck.Apply(file, "Folder")).Message);
        HostPathCheck.Apply(_directory.File("made/folder"), "DirectoryOrCreate");
        HostPathCheck.Apply(_directory.File("made/file"), "FileOrCreate");
        Assert.True(Directory.Exists(_directory.File("made/folder")) && File.Exists(_directory.File("made/file")));
    }

    [SkippableFact]
    public void The_group_gets_everything_in_a_volume_and_new_files_too()
    {
        Skip.IfNot(Environment.IsPrivilegedProcess, "needs root");
        var volume = Directory.CreateDirectory(_directory.File("volume/inner")).Parent!.FullName;
        File.WriteAllText(_directory.File("volume/inner/f"), "");
        File.SetUnixFileMode(_directory.File("volume/inner/f"), UnixFileMode.UserRead);
        File.WriteAllText(_directory.File("outside"), "");
        var before = File.GetUnixFileMode(_directory.File("outside"));
        File.CreateSymbolicLink(_directory.File("volume/link"), _directory.File("outside"));
        VolumeOwnership.Apply(volume, Pod("""{"fsGroup":4321}"""));
        Assert.Equal("2775 0 4321", Stat(volume));
        Assert.Equal("2775 0 4321", Stat(_directory.File("volume/inner")));
        Assert.Equal("660 0 4321", Stat(_directory.File("volume/inner/f")));
        Assert.Equal((0, before), (Native.GroupOf(_directory.File("outside")), File.GetUnixFileMode(_directory.File("outside"))));

        // OnRootMismatch looks at the top alone.
        Native.ChangeOwner(_directory.File("volume/inner/f"), -1, 1);
        VolumeOwnership.Apply(volume, Pod("""{"fsGroup":4321,"fsGroupChangePolicy":"OnRootMismatch"}"""));
        Assert.Equal(1, Native.GroupOf(_directory.File("volume/inner/f")));
        VolumeOwnership.Apply(volume, Pod("""{"fsGroup":4321}"""));
        Assert.Equal(4321, Native.GroupOf(_directory.File("volume/inner/f")));
    }

    [Theory]
    [InlineData("""{"sizeLimit":"1Ki"}""", 1024, null)]
    [InlineData("""{"sizeLimit":"1Ki"}""", 1025, "Usage of EmptyDir volume \"tmp\" exceeds the limit \"1Ki\". ")]
    [InlineData("""{}""", 1_000_000, null)]
    [InlineData("""{"sizeLimit":"0"}""", 1_000_000, null)]
    [InlineData("""{"sizeLimit":"1Ki","medium":"Memory"}""", 1_000_000, null)]
    public void An_emptyDir_over_its_limit_ends_the_pod(string empty, long used, string? message)
    {
        var pod = Pod("{}", $$"""[{"name":"tmp","emptyDir":{{empty}}}]""");
        Assert.Equal(message, LocalStorageLimits.Exceeded(pod, _ => used, _ => 0));
        Assert.Equal(empty.Contains("1Ki", StringComparison.Ordinal) && !empty.Contains("Memory", StringComparison.Ordinal), LocalStorageLimits.Any(pod));
        pod.Json["spec"]!["priority"] = EvictionRanking.CriticalPriority;
        Assert.False(LocalStorageLimits.Any(pod));
        Assert.Null(LocalStorageLimits.Exceeded(pod, _ => used, _ => 0));
    }

    [Theory]
    [InlineData(1024, 0, 0, null)]
    [InlineData(1025, 0, 0, "Container a exceeded its local ephemeral storage limit \"1Ki\". ")]
    [InlineData(1024, 2048, 0, null)]
    [InlineData(1024, 2049, 0, "Pod ephemeral local storage usage exceeds the total limit of containers 3Ki. ")]
    [InlineData(0, 0, 3073, "Pod ephemeral local storage usage exceeds the total limit of containers 3Ki. ")]
    public void Containers_over_their_ephemeral_storage_end_the_pod(long first, long second, long volume, string? message)
    {
        var json = PodsOnContainerdTests.Pod("p", """
            {"containers":[{"name":"a","image":"x","resources":{"limits":{"ephemeral-storage":"1Ki"} } },{"name":"b","image":"x","resources":{"limits":{"ephemeral-storage":"2Ki"} } }],
             "volumes":[{"name":"tmp","emptyDir":{} },{"name":"memory","emptyDir":{"medium":"Memory"} }]}
            """);
        Assert.True(PodDescription.TryRead(json, out var pod, out _));
        Assert.True(LocalStorageLimits.Any(pod) && LocalStorageLimits.HasContainerLimit(pod));
        string? Exceeded() => LocalStorageLimits.Exceeded(pod, name => name == "tmp" ? volume : 1_000_000, name => name == "a" ? first : second);
        Assert.Equal(message, Exceeded());
        pod.Json["spec"]!["priority"] = EvictionRanking.CriticalPriority;
        Assert.Null(Exceeded());
    }

    [Fact]
    public void An_init_container_may_have_what_is_the_limit_of_the_pod()
    {
        var json = PodsOnContainerdTests.Pod("p", """
            {"initContainers":[{"name":"i","image":"x","resources":{"limits":{"ephemeral-storage":"2Ki"} } }],"containers":[{"name":"a","image":"x","resources":{"limits":{"ephemeral-storage":"1Ki"} } }]}
            """);
        Assert.True(PodDescription.TryRead(json, out var pod, out _));
        Assert.Null(LocalStorageLimits.Exceeded(pod, _ => 0, name => name == "i" ? 2048 : 0));
        Assert.Equal("Pod ephemeral local storage usage exceeds the total limit of containers 2Ki. ", LocalStorageLimits.Exceeded(pod, _ => 0, name => name == "i" ? 2048 : 1));
    }

    private static PodDescription Pod(string security, string volumes = "[]")
    {
        var json = PodsOnContainerdTests.Pod("p", """{"containers":[{"name":"a","image":"x"}]}""");
        json["spec"]!["securityContext"] = JsonNode.Parse(security);
        json["spec"]!["volumes"] = JsonNode.Parse(volumes);
        Assert.True(PodDescription.TryRead(json, out var pod, out _));
        return pod;
    }

    private static string Stat(string path)
    {
        using var process = Process.Start(new ProcessStartInfo("stat", ["-c", "%a %u %g", path]) { RedirectStandardOutput = true })!;
        return process.StandardOutput.ReadToEnd().Trim();
    }
}
