using System.Text;
using Edge.Core.Edged;
using Edge.Testing;
using Xunit;

namespace Edge.Core.Tests;

[Trait("Category", "Pods")]
public sealed class AtomicVolumeTests : IDisposable
{
    private const UnixFileMode Readable = (UnixFileMode)0b110_100_100;
    private static readonly DateTimeOffset s_now = new(2030, 1, 2, 3, 4, 5, TimeSpan.Zero);

    private readonly TempDirectory _directory = new();

    private string Folder => _directory.File("volume");

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Each_name_is_a_link_through_the_data_link_to_a_dated_directory()
    {
        Assert.True(Write(("a", "1"), ("deep/b", "2")));
        Assert.Equal("1", Read("a"));
        Assert.Equal("2", Read("deep/b"));
        Assert.Equal("..data/a", new FileInfo(Path.Combine(Folder, "a")).LinkTarget);
        Assert.Equal("..data/deep", new FileInfo(Path.Combine(Folder, "deep")).LinkTarget);
        Assert.StartsWith("..2030_01_02_03_04_05.", Data(), StringComparison.Ordinal);
    }

    [Fact]
    public void Changed_files_come_by_a_swap_of_the_data_link_and_the_old_directory_goes()
    {
        Write(("a", "1"), ("b", "1"));
        var old = Data();
        using var reader = File.OpenRead(Path.Combine(Folder, "a"));
        Assert.True(Write(("a", "2"), ("b", "2")));
        Assert.NotEqual(old, Data());
        Assert.Equal(("2", "2"), (Read("a"), Read("b")));
        Assert.False(Directory.Exists(Path.Combine(Folder, old)));
        Assert.Equal('1', reader.ReadByte());
        Assert.Equal(["..data", "a", "b"], Names().Where(name => name != Data()));
    }

    [Fact]
    public void The_same_files_again_change_nothing()
    {
        Write(("a", "1"));
        var old = Data();
        Assert.False(Write(("a", "1")));
        Assert.Equal(old, Data());
    }

    [Fact]
    public void Removed_keys_go_and_new_ones_come()
    {
        Write(("a", "1"), ("b", "1"), ("deep/x", "1"), ("deep/y", "1"));
        Assert.True(Write(("b", "1"), ("c", "1"), ("deep/y", "1")));
        Assert.Equal(["..data", "b", "c", "deep"], Names().Where(name => name != Data()));
        Assert.False(File.Exists(Path.Combine(Folder, "deep", "x")));
        Assert.True(Write());
        Assert.Equal(["..data"], Names().Where(name => name != Data()));
        Assert.False(Write());
    }

    [Fact]
    public void A_swap_that_was_cut_off_is_repaired()
    {
        Write(("a", "1"));
        File.CreateSymbolicLink(Path.Combine(Folder, "..data_tmp"), "..nowhere");
        File.Delete(Path.Combine(Folder, "a"));
        Assert.True(Write(("a", "2")));
        Assert.Equal("2", Read("a"));
        Assert.DoesNotContain("..data_tmp", Names());
    }

    [Fact]
    public void A_link_that_is_missing_comes_back_though_the_files_are_the_same()
    {
        // As after a stop between the swap of the data link and the making of the links beside it.
        Write(("a", "1"), ("b", "1"));
        File.Delete(Path.Combine(Folder, "b"));
        File.CreateSymbolicLink(Path.Combine(Folder, "stale"), "..data/stale");
        Write(("a", "1"), ("b", "1"));
        Assert.Equal(["..data", "a", "b"], Names().Where(name => name != Data()));
        Assert.Equal("1", Read("b"));
    }

    [Fact]
    public void Each_file_has_its_own_mode_and_a_changed_mode_is_a_change()
    {
        var secret = (UnixFileMode)0b100_000_000;
        AtomicVolume.Write(Folder, [new VolumeFile("a", [1], Readable), new VolumeFile("k", [1], secret)], null, s_now);
        Assert.Equal((Readable, secret), (Mode("a"), Mode("k")));
        Assert.True(AtomicVolume.Write(Folder, [new VolumeFile("a", [1], secret), new VolumeFile("k", [1], secret)], null, s_now));
        Assert.Equal(secret, Mode("a"));
    }

    [SkippableFact]
    public void With_a_group_the_group_may_read()
    {
        Skip.IfNot(Environment.IsPrivilegedProcess, "giving a file to a group needs root");
        AtomicVolume.Write(Folder, [new VolumeFile("k", [1], (UnixFileMode)0b100_000_000)], 2000, s_now);
        Assert.Equal((UnixFileMode)0b100_100_000, Mode("k"));
        Assert.False(AtomicVolume.Write(Folder, [new VolumeFile("k", [1], (UnixFileMode)0b100_000_000)], 2000, s_now));
    }

    [Fact]
    public void A_reader_never_sees_a_mix_of_old_and_new()
    {
        Write(("a", "0"), ("b", "0"));
        for (var i = 1; i <= 50; i++)
        {
            var folder = Path.Combine(Folder, Data());
            var before = (File.ReadAllText(Path.Combine(folder, "a")), File.ReadAllText(Path.Combine(folder, "b")));
            Assert.Equal(before.Item1, before.Item2);
            Write(("a", $"{i}"), ("b", $"{i}"));
            Assert.Equal(($"{i}", $"{i}"), (Read("a"), Read("b")));
        }

        Assert.Equal(4, Names().Count);
    }

    private bool Write(params (string Path, string Text)[] files)
        => AtomicVolume.Write(Folder, [.. files.Select(file => new VolumeFile(file.Path, Encoding.UTF8.GetBytes(file.Text), Readable))], null, s_now);

    private string Data() => new FileInfo(Path.Combine(Folder, "..data")).LinkTarget!;

    private string Read(string path) => File.ReadAllText(Path.Combine(Folder, path));

    private UnixFileMode Mode(string name) => File.GetUnixFileMode(Path.Combine(Folder, Data(), name));

    private List<string> Names() => [.. Directory.EnumerateFileSystemEntries(Folder).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];
}
