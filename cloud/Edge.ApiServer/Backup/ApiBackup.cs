using System.Formats.Tar;
using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.ApiServer.Storage;
using Edge.Common.Storage;
using Edge.Kubernetes;
using Microsoft.Data.Sqlite;

namespace Edge.ApiServer.Backup;

/// <summary>A backup cannot be written or restored; the message says why and what to do.</summary>
public sealed class BackupException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>What a backup holds. <paramref name="Version"/> is the newest resourceVersion in it.</summary>
public sealed record BackupSummary(string Path, DateTimeOffset Taken, long Version, long Objects, long Bytes);

/// <summary>The embedded API's whole state in one archive (tar and gzip, mode 0600): the database, the CA and all keys, the administrator's token. Whoever has it is administrator.</summary>
public static class ApiBackup
{
    private const string Database = "apiserver.db";
    private const string Manifest = "manifest.json";
    private const long ArchiveBytesMax = 64L << 30;

    /// <summary>More writes than happen between a backup and its restore: versions go on beyond all that clients have seen, so none of them takes an old watch for a current one.</summary>
    private const long VersionLeap = 1_000_000_000;

    private static readonly string[] s_files =
        [Database, "admin.token", "pki/ca.crt", "pki/ca.key", "pki/apiserver.crt", "pki/apiserver.key", "pki/admin.crt", "pki/admin.key", "pki/sa.key"];

    /// <summary>Writes a backup, also while cloudcore runs: the copy of the database is of one moment (SQLite's online backup).</summary>
    /// <exception cref="BackupException">There is no data, or the archive exists or cannot be written.</exception>
    public static BackupSummary Write(string dataDirectory, string archive, TimeProvider time)
    {
        var source = Path.Combine(dataDirectory, Database);
        if (!File.Exists(source))
            throw new BackupException($"{dataDirectory} has no {Database}; name cloudcore's data directory with --data-dir");
        if (File.Exists(archive))
            throw new BackupException($"{archive} exists; choose another name, a backup never overwrites one");
        var work = Directory.CreateTempSubdirectory("edge-backup-"); // mode 0700
        var beside = archive + ".new";
        try
        {
            var copy = Path.Combine(work.FullName, Database);
            var (version, objects) = CopyDatabase(source, copy);
            var manifest = new JsonObject
            {
                ["format"] = "edge-backup/v1", ["taken"] = KubeObject.Time(time.GetUtcNow()), ["resourceVersion"] = version, ["objects"] = objects,
            };
            var files = s_files.Select(name => (Name: name, Path: name == Database ? copy : Path.Combine(dataDirectory, name))).Where(file => File.Exists(file.Path)).ToList();
            manifest["sha256"] = new JsonObject(files.Select(file => KeyValuePair.Create(file.Name, (JsonNode?)Hash(file.Path))));
            File.WriteAllText(Path.Combine(work.FullName, Manifest), manifest.ToJsonString());
            File.Delete(beside);
            using (var output = new FileStream(beside, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite }))
            {
                using (var gzip = new GZipStream(output, CompressionLevel.Fastest, leaveOpen: true))
                using (var tar = new TarWriter(gzip))
                {
                    tar.WriteEntry(Path.Combine(work.FullName, Manifest), Manifest);
                    foreach (var (name, path) in files)
                        tar.WriteEntry(path, name);
                }

                output.Flush(flushToDisk: true);
            }

            File.Move(beside, archive);
            return new BackupSummary(archive, time.GetUtcNow(), version, objects, new FileInfo(archive).Length);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or SqliteException)
        {
            File.Delete(beside);
            throw new BackupException($"the backup {archive} cannot be written: {e.Message}", e);
        }
        finally
        {
            work.Delete(recursive: true);
        }
    }

    /// <summary>Puts a backup in place of what the directory has; that is kept beside, in <c>before-restore-TIME</c>. Nothing is changed before the whole archive is read and checked.</summary>
    /// <exception cref="BackupException">A cloudcore runs there, or the archive is damaged or none.</exception>
    public static BackupSummary Restore(string archive, string dataDirectory, TimeProvider time)
    {
        if (!File.Exists(archive))
            throw new BackupException($"there is no file {archive}");
        Auth.PrivateFiles.CreateDirectory(dataDirectory);
        using var held = DirectoryLock.TryTake(dataDirectory) ?? throw new BackupException($"a cloudcore is running on {dataDirectory}; stop it first, then restore");
        var work = Path.Combine(dataDirectory, ".restore");
        try
        {
            if (Directory.Exists(work))
                Directory.Delete(work, recursive: true);
            Auth.PrivateFiles.CreateDirectory(work);
            Auth.PrivateFiles.CreateDirectory(Path.Combine(work, "pki"));
            Extract(archive, work);
            var manifest = Check(archive, work);
            var version = LeapAhead(Path.Combine(work, Database));
            Swap(work, dataDirectory, Path.Combine(dataDirectory, $"before-restore-{time.GetUtcNow():yyyyMMddTHHmmssfff}"));
            return new BackupSummary(archive, DateTimeOffset.Parse(manifest.Text("taken"), CultureInfo.InvariantCulture), version, manifest.Number(0, "objects"), new FileInfo(archive).Length);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or SqliteException or InvalidDataException or FormatException or JsonException)
        {
            throw new BackupException($"{archive} cannot be restored: {e.Message}", e);
        }
        finally
        {
            if (Directory.Exists(work))
                Directory.Delete(work, recursive: true);
        }
    }

    private static (long Version, long Objects) CopyDatabase(string source, string copy)
    {
        using (new FileStream(copy, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite }))
        {
            // made with its mode first: SQLite would make it for everyone
        }

        SqliteDatabase.LoadLibrary();
        using var from = Open(source);
        using var to = Open(copy);
        from.BackupDatabase(to);
        Run(to, "PRAGMA journal_mode=DELETE"); // one file, without a log beside it
        return (Whole(to, "SELECT ifnull(max(rv), 0) FROM events"), Whole(to, "SELECT count(*) FROM objects"));
    }

    private static void Extract(string archive, string directory)
    {
        using var file = File.OpenRead(archive);
        using var gzip = new GZipStream(file, CompressionMode.Decompress);
        using var tar = new TarReader(gzip);
        var left = ArchiveBytesMax;
        while (tar.GetNextEntry() is { } entry)
        {
            // Only the names that a backup has: nothing is written anywhere else.
            if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile) || (entry.Name != Manifest && !s_files.Contains(entry.Name)))
                throw new InvalidDataException($"it has an entry '{entry.Name}', which no backup of edgectl has");
            left -= entry.Length;
            if (left < 0)
                throw new InvalidDataException($"it holds more than {ArchiveBytesMax} bytes");
            using var output = new FileStream(Path.Combine(directory, entry.Name), new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite });
            entry.DataStream?.CopyTo(output);
            output.Flush(flushToDisk: true);
        }
    }

    private static JsonObject Check(string archive, string directory)
    {
        var path = Path.Combine(directory, Manifest);
        if (!File.Exists(path) || JsonNode.Parse(File.ReadAllText(path)) is not JsonObject manifest || manifest.Text("format") != "edge-backup/v1")
            throw new BackupException($"{archive} is no backup of edgectl: it has no {Manifest} of format edge-backup/v1");
        var hashes = new Dictionary<string, string>(manifest.Map("sha256"));
        foreach (var name in s_files)
        {
            var file = Path.Combine(directory, name);
            if (hashes.TryGetValue(name, out var hash) ? !File.Exists(file) || Hash(file) != hash : File.Exists(file) || name == Database)
                throw new BackupException($"{archive} is damaged: {name} is not what was backed up");
        }

        File.Delete(path);
        return manifest;
    }

    /// <summary>Raises the newest version beyond all that clients can have seen, and forgets the changes before it: every watch of before gets 410 Gone and lists again.</summary>
    private static long LeapAhead(string path)
    {
        SqliteDatabase.LoadLibrary();
        using var connection = Open(path);
        using (var check = connection.CreateCommand())
        {
            check.CommandText = "PRAGMA quick_check(1)";
            if (check.ExecuteScalar() as string != "ok")
                throw new InvalidDataException($"its {Database} is corrupt");
        }

        using var transaction = connection.BeginTransaction();
        var version = Whole(connection, "SELECT max(ifnull((SELECT max(rv) FROM events), 0), ifnull((SELECT max(rv) FROM floors), 0))") + VersionLeap;
        // The newest version is that of the newest change, so one object is written anew.
        using var find = connection.CreateCommand();
        find.CommandText = "SELECT grp, plural, ns, name, uid, json FROM objects ORDER BY grp = '' AND plural = 'namespaces' AND name = 'kube-system' DESC LIMIT 1";
        using (var row = find.ExecuteReader())
        {
            if (!row.Read())
                throw new InvalidDataException($"its {Database} has no objects");
            var obj = JsonNode.Parse(row.GetFieldValue<byte[]>(5))!.AsObject();
            using var put = connection.CreateCommand();
            put.CommandText = """
                DELETE FROM events;
                DELETE FROM floors;
                UPDATE objects SET rv = $rv, json = $json WHERE grp = $grp AND plural = $plural AND ns = $ns AND name = $name;
                INSERT INTO events (rv, grp, plural, ns, name, uid, type, json) VALUES ($rv, $grp, $plural, $ns, $name, $uid, $type, $json);
                INSERT INTO floors (grp, plural, rv) VALUES ($all, '', $rv - 1)
                """;
            put.Parameters.AddWithValue("$rv", version);
            put.Parameters.AddWithValue("$json", ObjectJson.Serialize(obj).At(version));
            put.Parameters.AddWithValue("$type", (long)WatchEventType.Modified);
            put.Parameters.AddWithValue("$all", StoreLoader.EveryResource);
            foreach (var (index, name) in ((ReadOnlySpan<string>)["$grp", "$plural", "$ns", "$name", "$uid"]).ToArray().Index())
                put.Parameters.AddWithValue(name, row.GetString(index));
            put.ExecuteNonQuery();
        }

        transaction.Commit();
        return version;
    }

    private static void Swap(string work, string directory, string before)
    {
        Auth.PrivateFiles.CreateDirectory(before);
        Auth.PrivateFiles.CreateDirectory(Path.Combine(before, "pki"));
        Auth.PrivateFiles.CreateDirectory(Path.Combine(directory, "pki"));
        foreach (var name in (string[])[.. s_files, Database + "-wal", Database + "-shm", "admin.kubeconfig"])
        {
            if (File.Exists(Path.Combine(directory, name)))
                File.Move(Path.Combine(directory, name), Path.Combine(before, name));
        }

        foreach (var name in s_files.Where(name => File.Exists(Path.Combine(work, name))))
            File.Move(Path.Combine(work, name), Path.Combine(directory, name));
    }

    private static SqliteConnection Open(string path)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false, DefaultTimeout = 30 }.ToString());
        connection.Open();
        return connection;
    }

    private static void Run(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    private static long Whole(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return Convert.ToInt64(command.ExecuteScalar(), CultureInfo.InvariantCulture);
    }

    private static string Hash(string path)
    {
        using var file = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(file));
    }
}
