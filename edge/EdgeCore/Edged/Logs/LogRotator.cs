using System.Globalization;
using System.IO.Compression;
using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;

namespace Edge.Core.Edged.Logs;

/// <summary>Rotates the logs of running containers that have grown too large.</summary>
/// <param name="pods">The pods of this node.</param>
internal sealed class LogRotator(PodContext context, Func<IEnumerable<PodDescription>> pods)
{
    /// <summary>One pass over all running containers.</summary>
    public async Task RotateAsync(CancellationToken cancellationToken)
    {
        var filter = new ContainerFilter { State = new ContainerStateValue { State = ContainerState.ContainerRunning } };
        filter.LabelSelector[CriConfigs.NodeLabel] = context.NodeName;
        var directories = pods().ToDictionary(pod => pod.Uid, pod => CriConfigs.LogDirectory(context.Options, pod), StringComparer.Ordinal);
        foreach (var container in await context.Cri.ListContainersAsync(filter, cancellationToken))
        {
            if (!container.Labels.TryGetValue(CriConfigs.UidLabel, out var uid) || !directories.TryGetValue(uid, out var directory))
                continue;
            var log = Path.Combine(directory, container.Metadata.Name, string.Create(CultureInfo.InvariantCulture, $"{container.Metadata.Attempt}.log"));
            try
            {
                await RotateAsync(container.Id, log, cancellationToken);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or GrpcException { Code: not GrpcStatusCode.Unavailable })
            {
                EdgedLog.NotRotated(context.Log, log, e.Message); // the next pass tries again
            }
        }
    }

    private async Task RotateAsync(string id, string log, CancellationToken cancellationToken)
    {
        var info = new FileInfo(log);
        if (!info.Exists)
            return;
        var directory = info.DirectoryName!;
        var beside = Directory.EnumerateFiles(directory).Select(path => Path.GetFileName(path)!);
        var options = context.Options.Resources;
        if (LogRotation.Plan(info.Name, info.Length, beside, options.LogSizeMax, options.LogFilesMax, context.Time.GetUtcNow()) is not { } plan)
            return;
        foreach (var name in plan.Delete)
            File.Delete(Path.Combine(directory, name));
        foreach (var name in plan.Compress)
            await CompressAsync(Path.Combine(directory, name), cancellationToken);
        var rotated = Path.Combine(directory, plan.RenameTo);
        File.Move(log, rotated);
        try
        {
            await context.Cri.ReopenContainerLogAsync(id, cancellationToken);
        }
        catch
        {
            // The runtime still writes to the renamed file: it must have its name again, or its lines would be rotated away unseen.
            if (!File.Exists(log))
                File.Move(rotated, log);
            throw;
        }

        EdgedLog.Rotated(context.Log, log, info.Length);
    }

    // The name appears only when all is in it.
    private static async Task CompressAsync(string path, CancellationToken cancellationToken)
    {
        var unfinished = path + ".tmp";
        await using (var from = File.OpenRead(path))
        await using (var to = new FileStream(unfinished, FileMode.Create, FileAccess.Write))
        await using (var gzip = new GZipStream(to, CompressionLevel.Optimal))
            await from.CopyToAsync(gzip, cancellationToken);
        File.SetUnixFileMode(unfinished, File.GetUnixFileMode(path));
        File.Move(unfinished, path + ".gz", overwrite: true);
        File.Delete(path);
    }
}
