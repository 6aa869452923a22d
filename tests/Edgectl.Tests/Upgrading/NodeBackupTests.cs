using Edge.Ctl.Upgrading;
using Edge.Testing;

namespace Edge.Ctl.Tests.Upgrading;

/// <summary>Backups of a node count in the order in which they were made, whatever its clock said: one without a battery may start years back.</summary>
[Trait("Category", "Kubernetes")]
public sealed class NodeBackupTests : IDisposable
{
    private static readonly DateTimeOffset s_later = new(2026, 11, 22, 4, 0, 0, TimeSpan.Zero);
    private readonly TempDirectory _directory = new();

    private NodePlaces Node => new(_directory.File("lib/edgecore"), _directory.File("edgecore.yaml"), _directory.File("data"), _directory.File("backups"), null, null);

    public NodeBackupTests()
    {
        Directory.CreateDirectory(Node.Program);
        File.WriteAllText(Path.Combine(Node.Program, "edgecore"), "");
        File.WriteAllText(Node.Config, "kind: EdgeCore\n");
    }

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void A_backup_that_is_made_after_the_clock_was_set_back_is_the_newest_and_the_oldest_made_goes()
    {
        for (var i = 0; i < NodeBackup.Kept; i++)
            Make($"later-{i}", s_later.AddDays(i));
        Make("now", s_later.AddYears(-20));
        Assert.Equal(["now", "later-2", "later-1"], NodeBackup.List(Node.Backups).Select(one => one.Version));
        Make("then", s_later.AddYears(-21));
        Assert.Equal(["then", "now", "later-2"], NodeBackup.List(Node.Backups).Select(one => one.Version));
    }

    [Fact]
    public void Two_of_the_same_moment_are_two()
    {
        Make("first", s_later);
        Make("second", s_later);
        Assert.Equal(["second", "first"], NodeBackup.List(Node.Backups).Select(one => one.Version));
    }

    [Fact]
    public void Backups_of_before_they_had_numbers_are_older_than_those_that_have_one()
    {
        foreach (var (version, day) in new[] { ("a", 1), ("b", 2) })
        {
            // Their directories were called by the time alone.
            var directory = Path.Combine(Node.Backups, $"2026112{day}T040000000");
            Directory.Move(Make(version, s_later.AddDays(day)).Directory, directory);
            var manifest = Path.Combine(directory, "backup.json");
            var json = Edge.Kubernetes.Manifests.ParseValue(File.ReadAllText(manifest))!.AsObject();
            json.Remove("number");
            File.WriteAllText(manifest, json.ToJsonString());
        }

        Make("c", s_later.AddYears(-20));
        Assert.Equal(["c", "b", "a"], NodeBackup.List(Node.Backups).Select(one => one.Version));
    }

    private NodeBackup Make(string version, DateTimeOffset at) => NodeBackup.Make(Node, version, new ManualTimeProvider(at));
}
