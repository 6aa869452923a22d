using Edge.Ctl.Commands;
using Edge.Protocol.Cri;
using Edge.Protocol.Grpc;

namespace Edge.Ctl.Joining;

/// <summary>Takes back what join made: the unit, the pods of this node, edgecore's files.</summary>
internal sealed class NodeReset(NodeRecord record, Action<string> say)
{
    private const string UidLabel = "io.kubernetes.pod.uid";
    private static readonly TimeSpan s_callWithin = TimeSpan.FromSeconds(30);

    /// <summary>Leaves containers and volumes as they are.</summary>
    public bool KeepsPods { get; init; }

    /// <summary>What would go, one line each, as far as it is there.</summary>
    public IReadOnlyList<string> Plan()
    {
        var lines = new List<string>();
        if (record.UnitFile is { } unit && File.Exists(unit))
            lines.Add($"stop and disable {Path.GetFileName(unit)}, remove {unit}");
        var pods = PodUids();
        if (pods.Count > 0)
            lines.Add($"stop and remove the containers of {pods.Count} pod{(pods.Count == 1 ? "" : "s")}, and their volumes in {record.PodsDirectory}");
        lines.AddRange(record.Directories.Where(Directory.Exists).Select(directory => $"remove {directory} with everything in it"));
        lines.AddRange(Files().Where(File.Exists).Select(file => $"remove {file}"));
        return lines;
    }

    /// <summary>Does it. What is not there any more is passed over, so an interrupted reset can be run again.</summary>
    /// <exception cref="JoinException">Something refuses to go; the message says what.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        if (record.UnitFile is { } unit && File.Exists(unit))
        {
            await SystemdUnit.ControlAsync(cancellationToken, "disable", "--now", Path.GetFileName(unit));
            File.Delete(unit);
            await SystemdUnit.ControlAsync(cancellationToken, "daemon-reload");
            say($"removed {unit}");
        }

        await RemovePodsAsync(cancellationToken);
        foreach (var directory in record.Directories.Where(Directory.Exists))
        {
            RefuseMounts(directory);
            if (KeepsPods && record.PodsDirectory.StartsWith(directory + "/", StringComparison.Ordinal))
            {
                say($"kept {directory}, where the pods' volumes are");
                continue;
            }

            Directory.Delete(directory, recursive: true);
            say($"removed {directory}");
        }

        // The record last: until then reset knows what to do.
        foreach (var file in Files().Where(File.Exists))
        {
            File.Delete(file);
            say($"removed {file}");
        }
    }

    private IEnumerable<string> Files() => [record.Config, record.Config + ".last-good", NodeRecord.PathOf(record.Config)];

    private HashSet<string> PodUids()
        => !KeepsPods && Directory.Exists(record.PodsDirectory) ? [.. Directory.EnumerateDirectories(record.PodsDirectory).Select(one => Path.GetFileName(one)!)] : [];

    // Only pods whose volumes are in this node's directory: other agents may use the same runtime.
    private async Task RemovePodsAsync(CancellationToken cancellationToken)
    {
        var uids = PodUids();
        var endpoint = record.Runtime.StartsWith('/') ? "unix://" + record.Runtime : record.Runtime;
        if (uids.Count == 0)
            return;
        if (!File.Exists(endpoint["unix://".Length..]))
            throw new JoinException($"the container runtime at {endpoint} does not answer, and {uids.Count} pods may still run: start it, or pass --keep-pods");
        using var cri = new CriClient(endpoint, TimeProvider.System, s_callWithin);
        try
        {
            foreach (var sandbox in await cri.ListPodSandboxAsync(null, cancellationToken))
            {
                if (!sandbox.Labels.TryGetValue(UidLabel, out var uid) || !uids.Contains(uid))
                    continue;
                await cri.StopPodSandboxAsync(sandbox.Id, cancellationToken);
                await cri.RemovePodSandboxAsync(sandbox.Id, cancellationToken);
                say($"removed pod {sandbox.Metadata.Namespace}/{sandbox.Metadata.Name}");
            }
        }
        catch (GrpcException e)
        {
            throw new JoinException($"the container runtime at {endpoint} refused: {e.Message}");
        }

        foreach (var uid in uids)
        {
            var directory = Path.Combine(record.PodsDirectory, uid);
            await RemoveCgroupsAsync(uid, cancellationToken);
            await UnmountAsync(directory, cancellationToken);
            Directory.Delete(directory, recursive: true);
        }
    }

    // What edgecore made beside what the runtime did: a slice with properties, or an empty cgroup in each hierarchy.
    private static async Task RemoveCgroupsAsync(string uid, CancellationToken cancellationToken)
    {
        foreach (var slice in ((string[])["", "-burstable", "-besteffort"]).Select(qos => $"kubepods{qos}-pod{uid.Replace('-', '_')}.slice"))
        {
            if (!Directory.Exists($"/run/systemd/system.control/{slice}.d"))
                continue;
            await SystemdUnit.ControlAsync(cancellationToken, "stop", slice);
            await SystemdUnit.ControlAsync(cancellationToken, "revert", slice);
        }

        foreach (var hierarchy in Directory.Exists("/sys/fs/cgroup") ? [.. Directory.GetDirectories("/sys/fs/cgroup"), "/sys/fs/cgroup"] : Array.Empty<string>())
        {
            foreach (var path in ((string[])["", "/burstable", "/besteffort"]).Select(qos => $"{hierarchy}/kubepods{qos}/pod{uid}").Where(Directory.Exists))
            {
                try
                {
                    Directory.Delete(path); // rmdir(2), which is all that a cgroup takes
                }
                catch (IOException)
                {
                    // Still in use; without processes it harms nobody.
                }
            }
        }
    }

    // Volumes in memory are mounts; what is mounted is unmounted, never deleted through.
    private static async Task UnmountAsync(string directory, CancellationToken cancellationToken)
    {
        foreach (var mount in Mounts(directory))
            await Edge.Local.Processes.Tool.TryRunAsync("umount", [mount], new Edge.Local.Processes.ToolOptions(TimeProvider.System), cancellationToken);
        RefuseMounts(directory);
    }

    private static void RefuseMounts(string directory)
    {
        if (Mounts(directory).FirstOrDefault() is { } mount)
            throw new JoinException($"{mount} is a mount point; unmount it and run 'edgectl reset' again, so that nothing is deleted on the other side");
    }

    // proc(5): the second word, with blanks as \040; the deepest first.
    private static List<string> Mounts(string directory)
        => [.. File.ReadLines("/proc/self/mounts").Select(line => line.Split(' ')[1].Replace("\\040", " ", StringComparison.Ordinal))
            .Where(path => path == directory || path.StartsWith(directory + "/", StringComparison.Ordinal)).OrderByDescending(path => path.Length)];
}
