using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Common.Storage;
using Edge.Kubernetes;

namespace Edge.Core.TaskManager;

/// <summary>A changed config that has still to prove itself, written beside it so that whoever reads the config finds it, also where the config itself cannot be read.</summary>
/// <param name="Job">Key of the job's row.</param>
/// <param name="Resource">The resource of the job's messages.</param>
/// <param name="Starts">How often edgecore has started with the change.</param>
/// <param name="Failure">Why the former config is back; null while the change is on trial.</param>
/// <remarks>
/// <para>Order of writes: the backup, this record, then the config. At any moment a crash leaves either the former config, or this record beside the changed one.</para>
/// <para>Files: <c>CONFIG.backup</c> (the former config) and <c>CONFIG.trial</c>, both of mode 0600.</para>
/// </remarks>
public sealed record ConfigTrial(string Job, string Resource, int Starts, string? Failure)
{
    // A change with which edgecore dies before it can judge it is taken back at the next start.
    private const int StartsMax = 3;

    public static string BackupPath(string config) => config + ".backup";

    private static string RecordPath(string config) => config + ".trial";

    /// <summary>The record beside a config; null where there is none. One that cannot be read, as a power cut may leave it, counts as none.</summary>
    public static ConfigTrial? Load(string config)
    {
        try
        {
            return File.Exists(RecordPath(config)) && JsonNode.Parse(File.ReadAllText(RecordPath(config))) is JsonObject json
                ? new ConfigTrial(json.Text("job"), json.Text("resource"), (int)json.Number(0, "starts"), json["failure"] is null ? null : json.Text("failure"))
                : null;
        }
        catch (Exception e) when (e is IOException or JsonException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Copies the config to <see cref="BackupPath"/>.</summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    public static void BackUp(string config) => Write(BackupPath(config), File.ReadAllText(config));

    /// <summary>Puts a changed config in place, on trial.</summary>
    /// <exception cref="IOException">It cannot be written; the former one is still there.</exception>
    public static void Begin(string config, string text, string job, string resource)
    {
        new ConfigTrial(job, resource, 0, null).Save(config);
        Write(config, text);
    }

    /// <summary>To be called by the process before it reads its config: counts the start, and takes a change back with which edgecore has started too often.</summary>
    /// <returns>Why the former config is back; null when nothing was taken back now.</returns>
    /// <exception cref="StoreException">The start cannot be counted: the directory is read-only or full.</exception>
    public static string? Start(string config)
    {
        if (Load(config) is not { Failure: null } trial)
            return null;
        try
        {
            if (trial.Starts >= StartsMax)
                return TakeBack(config, $"edgecore started {trial.Starts} times with it and never connected");
            (trial with { Starts = trial.Starts + 1 }).Save(config);
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StoreException($"a changed config is on trial, and {RecordPath(config)} cannot be written: {e.Message}; make room or the directory writable, or remove that file to keep the change", e);
        }
    }

    /// <summary>Puts the former config back where a change is on trial.</summary>
    /// <returns><paramref name="reason"/>, or null where nothing is on trial: then nothing was done.</returns>
    public static string? TakeBack(string config, string reason)
    {
        if (Load(config) is not { Failure: null } trial || !File.Exists(BackupPath(config)))
            return null;
        // The config first: with the record as it is, a crash here takes it back once more.
        Write(config, File.ReadAllText(BackupPath(config)));
        (trial with { Failure = reason }).Save(config);
        return reason;
    }

    /// <summary>Ends the trial, whatever came of it. The backup stays.</summary>
    public static void End(string config) => File.Delete(RecordPath(config));

    private void Save(string config)
    {
        var json = new JsonObject { ["job"] = Job, ["resource"] = Resource, ["starts"] = Starts };
        if (Failure is not null)
            json["failure"] = Failure;
        Write(RecordPath(config), json.ToJsonString());
    }

    // Whole or not at all, and on the disk before the next step.
    private static void Write(string path, string text)
    {
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite };
        using (var file = new FileStream(path + ".tmp", options))
        {
            file.Write(System.Text.Encoding.UTF8.GetBytes(text));
            file.Flush(flushToDisk: true);
        }

        DirectorySync.Replace(path + ".tmp", path);
    }
}
