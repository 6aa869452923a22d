using Edge.Protocol.Cri.V1;

namespace Edge.Core.Edged.GarbageCollection;

/// <summary>Removes what <see cref="LeftoverCore"/> names: directories, logs and cgroups of pods that are gone, logs of containers that were removed. (Containers and sandboxes
/// themselves are removed by their pod's worker; those of pods that nobody wants get one.)</summary>
/// <param name="wanted">Uids of the pods that have a worker.</param>
internal sealed class LeftoverCollector(PodContext context, Func<IReadOnlySet<string>> wanted)
{
    /// <summary>One pass.</summary>
    public async Task CollectAsync(CancellationToken cancellationToken)
    {
        // Listed before the wanted pods are asked for, so that a pod that comes in between is among them; and before the runtime, so that one that starts is there.
        var logs = Folders(context.Options.PodLogsDirectory).Select(path => (Path: path, Uid: LeftoverCore.UidOf(path)!)).Where(one => one.Uid is not null).ToList();
        var pods = Folders(Path.Combine(context.Options.RootDirectory, "pods")).Select(path => (Path: path, Uid: Path.GetFileName(path))).ToList();
        var here = wanted();

        // Every sandbox, other nodes' too: a kubelet may share the directories.
        var sandboxes = await context.Cri.ListPodSandboxAsync(null, cancellationToken);
        var atRuntime = sandboxes.Select(sandbox => sandbox.Metadata.Uid).ToHashSet(StringComparer.Ordinal);
        var (goneLogs, gonePods) = (LeftoverCore.GonePods(logs, here, atRuntime), LeftoverCore.GonePods(pods, here, atRuntime));
        foreach (var uid in goneLogs.Select(path => LeftoverCore.UidOf(path)!).Concat(gonePods.Select(path => Path.GetFileName(path))).Distinct(StringComparer.Ordinal))
            context.Cgroups.Remove(uid);
        foreach (var path in goneLogs)
            Remove(path, directory => Directory.Delete(directory, recursive: true));
        foreach (var path in gonePods)
            Remove(path, PodVolumes.Remove);

        var filter = new ContainerFilter();
        filter.LabelSelector[CriConfigs.NodeLabel] = context.NodeName;
        var containers = (await context.Cri.ListContainersAsync(filter, cancellationToken)).ToLookup(container => container.Labels.TryGetValue(CriConfigs.UidLabel, out var uid) ? uid : "");
        foreach (var (path, uid) in logs.Where(one => here.Contains(one.Uid)))
        {
            var attempts = containers[uid].ToLookup(container => container.Metadata.Name, container => container.Metadata.Attempt, StringComparer.Ordinal);
            foreach (var dead in LeftoverCore.DeadLogs(Files(path), attempts))
                Remove(Path.Combine(path, dead.Container, dead.File), File.Delete);
        }
    }

    private static string[] Folders(string directory) => Directory.Exists(directory) ? Directory.GetDirectories(directory) : [];

    private static List<LogFileView> Files(string directory)
        => [.. Folders(directory).SelectMany(folder => Directory.GetFiles(folder).Select(file => new LogFileView(Path.GetFileName(folder), Path.GetFileName(file))))];

    private void Remove(string path, Action<string> remove)
    {
        try
        {
            remove(path);
            EdgedLog.LeftoverRemoved(context.Log, path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            EdgedLog.LeftoverStays(context.Log, path, e.Message);
        }
    }
}
