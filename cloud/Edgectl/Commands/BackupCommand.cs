using System.CommandLine;
using System.Globalization;
using Edge.ApiServer.Backup;

namespace Edge.Ctl.Commands;

/// <summary><c>edgectl backup</c> and <c>edgectl restore</c>: the embedded API's state in one file.</summary>
internal static class BackupCommand
{
    private const string DefaultDirectory = "/var/lib/edge/cloudcore";

    public static Command Create()
    {
        var directory = DirectoryOption();
        var output = new Option<string?>("--output", "-o") { Description = "The file to write; it must not exist. Without it edge-backup-TIME.tar.gz in this directory.", HelpName = "FILE" };
        var command = new Command("backup", """
            Writes everything of the embedded Kubernetes API into one file of mode 0600, also while cloudcore runs: the objects as they are at one
            moment, the CA, all keys and the administrator's token. Whoever has the file is administrator of the cluster.

            Examples:
              edgectl backup
              edgectl backup --data-dir /srv/cloudcore -o /backup/monday.tar.gz
              edgectl backup edge                               on a node: its edgecore, for 'edgectl rollback edge'
            """)
        {
            output, directory, UpgradeCommand.CreateBackup(),
        };
        command.SetAction(result => Run("backup", () =>
        {
            var now = TimeProvider.System.GetUtcNow();
            var made = ApiBackup.Write(result.GetValue(directory)!, Path.GetFullPath(result.GetValue(output) ?? $"edge-backup-{now.ToString("yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture)}.tar.gz"), TimeProvider.System);
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{made.Path}: {made.Objects} objects at resourceVersion {made.Version}, {made.Bytes} bytes"));
        }));
        return command;
    }

    public static Command CreateRestore()
    {
        var directory = DirectoryOption();
        var file = new Argument<string>("FILE") { Description = "What edgectl backup wrote." };
        var command = new Command("restore", """
            Puts a backup into cloudcore's data directory, which cloudcore must not be using. What is there is kept beside, in before-restore-TIME.
            Clients that watch get 410 Gone and list again.

            Examples:
              systemctl stop cloudcore && edgectl restore /backup/monday.tar.gz && systemctl start cloudcore
            """)
        {
            file, directory,
        };
        command.SetAction(result => Run("restore", () =>
        {
            var restored = ApiBackup.Restore(result.GetValue(file)!, Path.GetFullPath(result.GetValue(directory)!), TimeProvider.System);
            Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{restored.Objects} objects of {restored.Taken:yyyy-MM-dd HH:mm:ss}Z are restored; resourceVersions go on from {restored.Version}"));
        }));
        return command;
    }

    private static Option<string> DirectoryOption() => new("--data-dir") { Description = "cloudcore's data directory.", HelpName = "DIR", DefaultValueFactory = _ => DefaultDirectory };

    private static int Run(string command, Action work)
    {
        try
        {
            work();
            return 0;
        }
        catch (Exception e) when (e is BackupException or IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"edgectl {command}: {e.Message.ReplaceLineEndings(" ")}");
            return 1;
        }
    }
}
