using System.Globalization;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Ctl.Commands;
using Edge.Ctl.Upgrading;
using Edge.Kubernetes;
using Edge.Local.Processes;
using Edge.Protocol.Cri;
using Edge.Protocol.Grpc;

namespace Edge.Ctl.Joining;

/// <summary>Takes back what join made: the unit, the pods of this node, edgecore's files.</summary>
internal sealed class NodeReset(NodeRecord record, Action<string> say)
{
    private const string UidLabel = "io.kubernetes.pod.uid";
    private static readonly TimeSpan s_callWithin = TimeSpan.FromSeconds(30);

    // Read once: the config goes on the way.
    private readonly string _backups = NodePlaces.BackupsOf(record.Config);
    private readonly string _database = NodePlaces.DatabaseOf(record.Config, record.StateDirectory);

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
        lines.AddRange(Directories().Where(Directory.Exists).Select(directory => $"remove {directory} with everything in it"));
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

        else
            await StopOthersUnitAsync(cancellationToken);

        await RefuseLiveAsync(cancellationToken);
        await RemovePodsAsync(cancellationToken);
        foreach (var directory in Directories().Where(Directory.Exists).ToList())
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
        foreach (var file in Files().Where(File.Exists).ToList())
        {
            File.Delete(file);
            say($"removed {file}");
        }

        if (Directory.Exists(_backups) && !Directory.EnumerateFileSystemEntries(_backups).Any())
            Directory.Delete(_backups);
    }

    // With what jobs and roll-backs kept of both: each has the token, or what the token opened.
    private IEnumerable<string> Files()
        => [
            .. ((string[])["", "-wal", "-shm", ".before-rollback"]).Select(end => _database + end),
            .. ((string[])["", ".last-good", ".backup", ".before-rollback", ".trial", ".tmp", ".backup.tmp", ".before-rollback.tmp", ".trial.tmp"]).Select(end => record.Config + end), 
            .. NodeBackup.List(_backups).All(one => one.IsOf(record.Config)) ? ((string[])["upgrade.json", "refused.json", "package.tar.gz", "lock"]).Select(name => Path.Combine(_backups, name)) : [],
            NodeRecord.PathOf(record.Config),
        ];

    private IEnumerable<string> Directories() => record.Directories.Concat(NodeBackup.Remains(_backups, record.Config));

    // A package's unit, or one that somebody wrote; only if it is of this config.
    private async Task StopOthersUnitAsync(CancellationToken cancellationToken)
    {
        if (!SystemdUnit.IsRunning)
            return;
        var shown = await Tool.TryRunAsync("systemctl", ["show", "-P", "ExecStart", SystemdUnit.Name], new ToolOptions(TimeProvider.System), cancellationToken);
        if (!shown.Output.Split(' ').Contains(record.Config))
            return;
        await SystemdUnit.ControlAsync(cancellationToken, "disable", "--now", SystemdUnit.Name);
        say($"stopped and disabled {SystemdUnit.Name}");
    }

    // Under its feet nothing is deleted: it would write part of it anew, and its pods would come back.
    private async Task RefuseLiveAsync(CancellationToken cancellationToken)
    {
        if (await AnsweringPortAsync(cancellationToken) is { } port)
            throw new JoinException($"edgecore runs: it answers at 127.0.0.1:{port}; stop it, then run 'edgectl reset' again (where another program has that port, remove {PortsFile} first)");
    }

    private string PortsFile => Path.Combine(record.StateDirectory, "edgecore.ports.json");

    // The file stays after an end that was no orderly one, so each port is asked.
    private async Task<string?> AnsweringPortAsync(CancellationToken cancellationToken)
    {
        JsonObject? ports;
        try
        {
            ports = File.Exists(PortsFile) ? JsonNode.Parse(await File.ReadAllTextAsync(PortsFile, cancellationToken)) as JsonObject : null;
        }
        catch (JsonException)
        {
            return null; // it is written whole, so this is nobody's
        }

        foreach (var name in ports?.Select(pair => pair.Key) ?? [])
        {
            var port = (int)ports.Number(0, name);
            if (port is <= 0 or > ushort.MaxValue)
                continue;
            using var socket = new TcpClient();
            try
            {
                await socket.ConnectAsync("127.0.0.1", port, cancellationToken);
                return port.ToString(CultureInfo.InvariantCulture);
            }
            catch (SocketException)
            {
                // Nobody is there.
            }
        }

        return null;
    }

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
