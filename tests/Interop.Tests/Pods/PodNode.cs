using System.Globalization;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Protocol.Cri;
using Edge.Protocol.Cri.V1;
using Edge.Testing;

namespace Edge.Interop.Tests.Pods;

/// <summary>What is of pods on edge-1 as the runtime, the file system and the kernel have it, whatever edgecore and the API say.</summary>
internal sealed class PodNode(TestEdge edge) : IDisposable
{
    private const string UidLabel = "io.kubernetes.pod.uid";

    private readonly CriClient _cri = new("unix://" + edge.Local.Nodes[0].Containerd!.Socket, TimeProvider.System, TimeSpan.FromMinutes(1));

    private string ContainerdDirectory => Path.GetDirectoryName(edge.Local.Nodes[0].Containerd!.Socket)!;

    /// <summary>The pod's directory.</summary>
    public string PodDirectory(string uid) => Path.Combine(Pods, uid);

    /// <summary>The path of a file in a volume of the pod.</summary>
    /// <param name="kind">The volume's folder: <c>configmap</c>, <c>secret</c>, <c>downward-api</c>, <c>empty-dir</c>, <c>projected</c>.</param>
    public string VolumeFile(string uid, string kind, string volume, string file) => Path.Combine(PodDirectory(uid), "volumes", "kubernetes.io~" + kind, volume, file);

    public async Task<IReadOnlyList<PodSandbox>> SandboxesAsync() => await _cri.ListPodSandboxAsync(null, CancellationToken.None);

    public async Task<IReadOnlyList<Container>> ContainersAsync() => await _cri.ListContainersAsync(null, CancellationToken.None);

    /// <summary>The running containers by pod uid and name.</summary>
    public async Task<Dictionary<(string Uid, string Name), Container>> RunningAsync()
        => (await ContainersAsync()).Where(container => container.State == ContainerState.ContainerRunning).ToDictionary(container => (Uid(container), container.Metadata.Name));

    public static string Uid(Container container) => container.Labels[UidLabel];

    /// <summary>The first process of each task that runs, sandboxes' too, by id.</summary>
    public async Task<Dictionary<string, int>> ProcessesAsync()
        => (await edge.CtrAsync("tasks", "ls")).Split('\n', StringSplitOptions.RemoveEmptyEntries).Skip(1)
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(fields => fields[2] == "RUNNING")
            .ToDictionary(fields => fields[0], fields => int.Parse(fields[1], CultureInfo.InvariantCulture), StringComparer.Ordinal);

    /// <summary>What should not be there, one line each: anything of a pod that is not wanted, and of those that are, anything but one ready sandbox, one running
    /// container of each name (with one that ended before it, its last state) and what belongs to these.</summary>
    /// <param name="wanted">Uids of the pods that are to run.</param>
    /// <param name="known">Uids of all pods that ever were: their cgroups are looked for.</param>
    public async Task<IReadOnlyList<string>> UnexpectedAsync(IReadOnlySet<string> wanted, IEnumerable<string> known)
    {
        var unexpected = new List<string>();
        var sandboxes = await SandboxesAsync();
        var containers = await ContainersAsync();
        unexpected.AddRange(sandboxes.Where(sandbox => !wanted.Contains(sandbox.Metadata.Uid) || sandbox.State != PodSandboxState.SandboxReady)
            .Select(sandbox => $"sandbox {sandbox.Id} of {sandbox.Metadata.Name}, attempt {sandbox.Metadata.Attempt}, {sandbox.State}"));
        unexpected.AddRange(sandboxes.GroupBy(sandbox => sandbox.Metadata.Uid).Where(same => same.Count() > 1).Select(same => $"{same.Count()} sandboxes of {same.First().Metadata.Name}"));
        foreach (var same in containers.GroupBy(container => (Uid: Uid(container), container.Metadata.Name)))
        {
            var running = same.Count(container => container.State == ContainerState.ContainerRunning);
            if (!wanted.Contains(same.Key.Uid) || running > 1 || same.Count() - running > 1)
                unexpected.AddRange(same.Select(container => $"container {container.Id} {same.Key.Name} of {same.Key.Uid}, attempt {container.Metadata.Attempt}, {container.State}"));
        }

        // What the runtime has below CRI: its containers, tasks, snapshots, shims, addresses, network namespaces.
        var sandboxIds = sandboxes.Select(sandbox => sandbox.Id).ToHashSet(StringComparer.Ordinal);
        var ids = containers.Select(container => container.Id).Concat(sandboxIds).ToHashSet(StringComparer.Ordinal);
        unexpected.AddRange((await LinesAsync("containers", "ls", "-q")).Where(id => !ids.Contains(id)).Select(id => $"containerd's container {id}"));
        unexpected.AddRange((await LinesAsync("tasks", "ls", "-q")).Where(id => !ids.Contains(id)).Select(id => $"task {id}"));
        unexpected.AddRange((await LinesAsync("snapshots", "ls")).Where(line => line.EndsWith("Active", StringComparison.Ordinal)).Select(line => line.Split(' ')[0])
            .Where(id => !ids.Contains(id)).Select(id => $"snapshot {id}"));
        unexpected.AddRange(Shims().Where(shim => !sandboxIds.Contains(shim.Sandbox) && HasChildren(shim.Process)).Select(shim => $"shim {shim.Process} of {shim.Sandbox}"));
        var addresses = Path.Combine(ContainerdDirectory, "ipam", "edge");
        unexpected.AddRange(Files(addresses, "10.*").Where(file => !sandboxIds.Contains(File.ReadLines(file).First().Trim())).Select(file => $"address {Path.GetFileName(file)}"));
        var namespaces = Mounts(ContainerdDirectory).Count(path => path.Contains("/netns/", StringComparison.Ordinal));
        if (namespaces > sandboxIds.Count)
            unexpected.Add($"{namespaces} network namespaces for {sandboxIds.Count} sandboxes");

        // What edgecore keeps beside it.
        unexpected.AddRange(Folders(Pods).Where(path => !wanted.Contains(Path.GetFileName(path))).Select(path => $"directory {path}"));
        unexpected.AddRange(Folders(Path.Combine(edge.Local.Nodes[0].DataDirectory, "logs", "pods")).Where(path => !wanted.Contains(path[(path.LastIndexOf('_') + 1)..])).Select(path => $"logs {path}"));
        unexpected.AddRange(Mounts(Pods).Where(path => !wanted.Contains(Path.GetRelativePath(Pods, path).Split('/')[0])).Select(path => $"mount {path}"));
        foreach (var cgroup in known.SelectMany(uid => Cgroups(uid).Select(path => (Uid: uid, Path: path))))
        {
            if (!wanted.Contains(cgroup.Uid))
                unexpected.Add($"cgroup {cgroup.Path}");
            else
                unexpected.AddRange(Folders(cgroup.Path).Where(path => !ids.Contains(Path.GetFileName(path))).Select(path => $"cgroup {path}"));
        }

        return unexpected;
    }

    /// <summary>Shims that hold nothing and that containerd has forgotten. Its 1.6 leaves one when a client goes away while it makes or stops a sandbox, whoever the client is.</summary>
    public async Task<int> ForgottenShimsAsync()
    {
        var sandboxes = (await SandboxesAsync()).Select(sandbox => sandbox.Id).ToHashSet(StringComparer.Ordinal);
        return Shims().Count(shim => !sandboxes.Contains(shim.Sandbox) && !HasChildren(shim.Process));
    }

    /// <summary>The cgroups of a pod, in every hierarchy.</summary>
    public static IEnumerable<string> Cgroups(string uid)
        => Folders("/sys/fs/cgroup").Append("/sys/fs/cgroup")
            .SelectMany(hierarchy => ((string[])["", "/burstable", "/besteffort"]).Select(quality => $"{hierarchy}/kubepods{quality}/pod{uid}"))
            .Where(Directory.Exists);

    public void Dispose() => _cri.Dispose();

    private string Pods => Path.Combine(edge.Local.Nodes[0].DataDirectory, "kubelet", "pods");

    private async Task<string[]> LinesAsync(params string[] arguments)
        => [.. (await edge.CtrAsync(arguments)).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Trim())];

    private IEnumerable<(int Process, string Sandbox)> Shims()
    {
        foreach (var path in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(path), NumberStyles.None, CultureInfo.InvariantCulture, out var id) || ProcessTable.Find(id) is not { State: not 'Z' } process)
                continue;
            var words = process.CommandLine.Split(' ');
            if (words[0].Contains("containerd-shim", StringComparison.Ordinal) && words.Contains(edge.Local.Nodes[0].Containerd!.Socket) && Array.IndexOf(words, "-id") is > 0 and var at)
                yield return (id, words[at + 1]);
        }
    }

    private static bool HasChildren(int process)
    {
        try
        {
            return Folders($"/proc/{process}/task").Any(task => File.ReadAllText(Path.Combine(task, "children")).Length > 0);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return false; // it ended meanwhile
        }
    }

    private static List<string> Mounts(string directory)
        => [.. File.ReadLines("/proc/self/mountinfo").Select(line => line.Split(' ')[4]).Where(path => path.StartsWith(directory + "/", StringComparison.Ordinal))];

    private static string[] Folders(string directory) => Directory.Exists(directory) ? Directory.GetDirectories(directory) : [];

    private static string[] Files(string directory, string pattern) => Directory.Exists(directory) ? Directory.GetFiles(directory, pattern) : [];
}
