using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Edge.Common.Storage;
using Edge.Kubernetes;
using Microsoft.Data.Sqlite;

namespace Edge.Ctl.Upgrading;

/// <summary>A backup of a node's edgecore: its program, config and database as they were at one moment, in a directory of mode 0700 (the config may hold a token).</summary>
/// <param name="Config">The node's config, by which its backups are told from another node's; empty for those of versions that did not note it.</param>
/// <param name="Number">Of two the one made later has the larger one; the clock may have been set back between them. 0 for those of versions that gave none.</param>
internal sealed partial record NodeBackup(string Directory, string Version, DateTimeOffset Taken, string Config, long Number)
{
    /// <summary>Older ones are removed with each new backup.</summary>
    public const int Kept = 3;

    private const string Manifest = "backup.json";
    private const string ConfigName = "edgecore.yaml";
    private const string DatabaseName = "edgecore.db";

    /// <summary>Makes one, also while edgecore runs: the database by SQLite's online backup. It counts only with its last file.</summary>
    /// <param name="version">What edgecore says its version is.</param>
    /// <exception cref="UpgradeException">It cannot be written.</exception>
    public static NodeBackup Make(NodePlaces node, string version, TimeProvider time)
    {
        var taken = time.GetUtcNow();
        var number = List(node.Backups).Select(one => one.Number).FirstOrDefault() + 1;
        var directory = Path.Combine(node.Backups, string.Create(CultureInfo.InvariantCulture, $"{number:D6}-{taken.UtcDateTime:yyyyMMdd'T'HHmmssfff}"));
        try
        {
            MakePrivate(node.Backups);
            // No whole one has this number: what a crash left of the try before.
            foreach (var left in System.IO.Directory.EnumerateDirectories(node.Backups, string.Create(CultureInfo.InvariantCulture, $"{number:D6}-*")).ToList())
                System.IO.Directory.Delete(left, recursive: true);
            MakePrivate(directory);
            ProgramDirectory.Copy(node.Program, Path.Combine(directory, "program"));
            WritePrivate(Path.Combine(directory, ConfigName), File.ReadAllBytes(node.Config));
            var database = node.Database;
            if (File.Exists(database))
                CopyDatabase(database, Path.Combine(directory, DatabaseName));
            var files = System.IO.Directory.EnumerateFiles(directory, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).ToList();
            var manifest = new JsonObject
            {
                ["version"] = version, ["taken"] = KubeObject.MicroTime(taken), ["number"] = number, ["config"] = node.Config,
                ["sha256"] = new JsonObject(files.Select(file => KeyValuePair.Create(Path.GetRelativePath(directory, file), (JsonNode?)NodePackage.Hash(file)))),
            };
            WritePrivate(Path.Combine(directory, Manifest), System.Text.Encoding.UTF8.GetBytes(manifest.ToJsonString()));
            DirectorySync.Flush(node.Backups); // before an older one goes
            foreach (var old in List(node.Backups).Skip(Kept))
                System.IO.Directory.Delete(old.Directory, recursive: true);
            return new NodeBackup(directory, version, taken, node.Config, number);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or SqliteException)
        {
            throw new UpgradeException($"the backup {directory} cannot be written: {e.Message}");
        }
    }

    /// <summary>The whole backups, the one made last first. What a crash left half done is none.</summary>
    public static IReadOnlyList<NodeBackup> List(string backups)
        => !System.IO.Directory.Exists(backups) ? [] : [.. System.IO.Directory.EnumerateDirectories(backups).Select(Read).OfType<NodeBackup>()
            .OrderByDescending(one => one.Number).ThenByDescending(one => one.Taken)];

    /// <summary>Whether it is of the node with this config. One that does not say is of the only node of its machine.</summary>
    public bool IsOf(string config) => Config == config || Config.Length == 0 && config == NodePlaces.ConfigDefault;

    /// <summary>The directories of a node's backups, and what a crash left half done of any.</summary>
    public static IReadOnlyList<string> Remains(string backups, string config)
        => !System.IO.Directory.Exists(backups) ? []
            : [.. System.IO.Directory.EnumerateDirectories(backups).Where(one => Read(one) is { } backup ? backup.IsOf(config) : NamePattern().IsMatch(Path.GetFileName(one)) && !File.Exists(Path.Combine(one, Manifest)))];

    /// <summary>Puts it back while edgecore is stopped: the program always; the config where it differs; the database only where its form (<c>PRAGMA user_version</c>) is another than then, since what
    /// the node has to tell the cloud is in it. What is replaced of config and database is kept beside, as <c>.before-rollback</c>.</summary>
    /// <returns>What was put back, for people.</returns>
    /// <exception cref="UpgradeException">The backup is damaged, or something cannot be written.</exception>
    public IReadOnlyList<string> PutBack(NodePlaces node)
    {
        var done = new List<string>();
        try
        {
            // All of it before anything is touched.
            var sums = JsonNode.Parse(File.ReadAllText(Path.Combine(Directory, Manifest)))?["sha256"] as JsonObject ?? [];
            foreach (var (name, _) in sums)
            {
                if (!File.Exists(Path.Combine(Directory, name)) || NodePackage.Hash(Path.Combine(Directory, name)) != sums.Text(name))
                    throw new UpgradeException($"{Path.Combine(Directory, name)} is damaged or gone; put another backup back with --from");
            }

            var config = Path.Combine(Directory, ConfigName);
            var before = File.ReadAllBytes(config);
            if (!File.Exists(node.Config) || !before.AsSpan().SequenceEqual(File.ReadAllBytes(node.Config)))
            {
                KeepBeside(node.Config);
                WritePrivate(node.Config, before);
                done.Add($"{node.Config}, the one that was there is {node.Config}.before-rollback");
            }

            var database = Path.Combine(Directory, DatabaseName);
            if (File.Exists(database) && (!File.Exists(node.Database) || Form(node.Database) != Form(database)))
            {
                KeepBeside(node.Database);
                // Their log belongs to the database that goes.
                File.Delete(node.Database + "-wal");
                File.Delete(node.Database + "-shm");
                DirectorySync.Flush(Path.GetDirectoryName(node.Database)!);
                WritePrivate(node.Database, File.ReadAllBytes(database));
                done.Add($"{node.Database}, the one that was there is {node.Database}.before-rollback");
            }

            ProgramDirectory.Copy(Path.Combine(Directory, "program"), ProgramDirectory.MakeStaging(node.Program));
            ProgramDirectory.Replace(node.Program);
            done.Add($"{node.Program}, version {Version}");
            return done;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or SqliteException or JsonException)
        {
            throw new UpgradeException($"{Directory} cannot be put back: {e.Message}");
        }
    }

    /// <summary>A directory for its owner alone.</summary>
    public static void MakePrivate(string directory)
    {
        var mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        System.IO.Directory.CreateDirectory(directory, mode);
        File.SetUnixFileMode(directory, mode);
    }

    /// <summary>Writes a file of mode 0600, whole or not at all; it is on the disk then, under its name.</summary>
    public static void WritePrivate(string path, ReadOnlySpan<byte> content)
    {
        var beside = path + ".tmp";
        using (var file = new FileStream(beside, new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite }))
        {
            file.Write(content);
            file.Flush(flushToDisk: true);
        }

        DirectorySync.Replace(beside, path);
    }

    // Without a number: of versions that gave none.
    [GeneratedRegex(@"\A([0-9]{6,}-)?[0-9]{8}T[0-9]{9}\z")]
    private static partial Regex NamePattern();

    private static NodeBackup? Read(string directory)
    {
        try
        {
            return JsonNode.Parse(File.ReadAllText(Path.Combine(directory, Manifest))) is JsonObject json
                ? new NodeBackup(directory, json.Text("version"), DateTimeOffset.Parse(json.Text("taken"), CultureInfo.InvariantCulture), json.Text("config"), json.Number(0, "number")) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or FormatException)
        {
            return null;
        }
    }

    private static void KeepBeside(string path)
    {
        if (File.Exists(path))
            WritePrivate(path + ".before-rollback", File.ReadAllBytes(path));
    }

    private static void CopyDatabase(string source, string copy)
    {
        WritePrivate(copy, []); // with its mode first: SQLite would make it for everyone
        using var from = Open(source);
        using var to = Open(copy);
        from.BackupDatabase(to);
        Scalar(to, "PRAGMA journal_mode=DELETE"); // one file, without a log beside it
    }

    private static long Form(string database)
    {
        using var connection = Open(database);
        return Convert.ToInt64(Scalar(connection, "PRAGMA user_version"), CultureInfo.InvariantCulture);
    }

    private static SqliteConnection Open(string path)
    {
        SqliteDatabase.LoadLibrary();
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false, DefaultTimeout = 30 }.ToString());
        connection.Open();
        return connection;
    }

    private static object? Scalar(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }
}
