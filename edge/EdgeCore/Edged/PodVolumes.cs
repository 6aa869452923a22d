using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.Edged.Volumes;
using Edge.Kubernetes;

namespace Edge.Core.Edged;

/// <summary>The directories of one pod: volumes, the hosts file, termination messages. Not for use by two threads at once.</summary>
/// <param name="root">The kubelet root; the pod's directory is <c>pods/&lt;uid&gt;</c> below it.</param>
internal sealed class PodVolumes(string root, PodDescription pod, TimeProvider time)
{
    // Kinds that are files of ours; a subPath of these is never made.
    private static readonly (string Key, string Folder)[] s_kinds = [("configMap", "configmap"), ("secret", "secret"), ("projected", "projected"), ("downwardAPI", "downward-api")];

    private IReadOnlyDictionary<string, ClaimedVolume> _claims = new Dictionary<string, ClaimedVolume>();

    /// <summary>Folder in the pod's directory for what subPaths are bound to.</summary>
    internal const string SubPaths = "volume-subpaths";

    private const string VolumesFolder = "volumes";

    private const UnixFileMode FolderMode = (UnixFileMode)0b111_101_000;

    /// <summary>The pod's directory.</summary>
    public string PodDirectory { get; } = Path.Combine(root, "pods", pod.Uid);

    /// <summary>Makes or refreshes every volume of the pod.</summary>
    /// <param name="newest">The pod as it is wanted now: its labels may have changed.</param>
    /// <exception cref="PodConfigException">A volume cannot be made; the message has kubelet's words.</exception>
    public void Prepare(PodDescription newest, VolumeInput input)
    {
        pod = newest;
        Directory.CreateDirectory(PodDirectory);
        File.SetUnixFileMode(PodDirectory, FolderMode);
        _claims = input.Claims;
        Claims(input.IsNew);
        foreach (var volume in pod.Json.Items("spec", "volumes").Where(volume => !_claims.ContainsKey(volume.Text("name"))))
            Try(volume.Text("name"), () => Make(volume, input));
    }

    /// <summary>The path on this machine of a mount of a container. A subPath is bound to a path of its own, anew at each call.</summary>
    /// <param name="index">Which of the container's mounts it is.</param>
    /// <exception cref="PodConfigException">The volume or subPath does not exist or is not allowed.</exception>
    /// <exception cref="IOException">The system refused.</exception>
    public string PathOf(ContainerDescription container, int index, JsonObject mount, Func<string, string> expand)
    {
        var name = mount.Text("name");
        var volume = pod.Json.Items("spec", "volumes").FirstOrDefault(item => item.Text("name") == name)
            ?? throw new PodConfigException($"no volume \"{name}\" in the pod for mount {mount.Text("mountPath")}");
        var path = _claims.TryGetValue(name, out var claim) ? claim.Path : volume["hostPath"] is JsonObject host ? host.Text("path") : Folder(volume);
        var sub = mount.Text("subPathExpr") is { Length: > 0 } expression ? expand(expression) : mount.Text("subPath");
        if (sub.Length == 0)
            return path;
        if (!SubPath.IsAllowed(sub, out var error))
            throw new PodConfigException(error);
        var target = Path.Combine(PodDirectory, SubPaths, name, container.Name, index.ToString(CultureInfo.InvariantCulture));
        try
        {
            SubPath.Bind(path, sub, target, create: !IsReadOnly(name) && s_kinds.All(kind => volume[kind.Key] is null));
        }
        catch (Exception e) when (e is PodConfigException or IOException or UnauthorizedAccessException)
        {
            throw new PodConfigException($"failed to prepare subPath for volumeMount \"{name}\" of container \"{container.Name}\": {e.Message}");
        }

        return target;
    }

    /// <summary>Whether the volume itself is read-only, whatever a mount says.</summary>
    public bool IsReadOnly(string name) => _claims.TryGetValue(name, out var claim) && claim.IsReadOnly;

    /// <summary>The file that holds what a container wrote to its termination message path; made empty.</summary>
    public string MakeTerminationFile(string container, uint attempt)
    {
        var path = TerminationFile(container, attempt);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, []);
        File.SetUnixFileMode(path, (UnixFileMode)0b110_110_110);
        return path;
    }

    /// <summary>What the container wrote there, at most 4096 bytes; empty when nothing.</summary>
    public string TerminationMessage(string container, uint attempt)
    {
        try
        {
            using var file = File.OpenRead(TerminationFile(container, attempt));
            var bytes = new byte[4096];
            return Encoding.UTF8.GetString(bytes, 0, file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return "";
        }
    }

    /// <summary>Whether <see cref="MarkOutOfMemory"/> was said of this start of the container, also before a restart of EdgeCore.</summary>
    public bool WasOutOfMemory(string container, uint attempt) => File.Exists(OutOfMemoryFile(container, attempt));

    /// <summary>Remembers that the kernel killed this start of the container for memory, which the runtime does not know.</summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    public void MarkOutOfMemory(string container, uint attempt)
    {
        var path = OutOfMemoryFile(container, attempt);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, []);
    }

    /// <summary>Writes the hosts file that containers get as /etc/hosts, and returns its path.</summary>
    public string WriteHosts(string text)
    {
        var path = Path.Combine(PodDirectory, "etc-hosts");
        File.WriteAllText(path, text);
        File.SetUnixFileMode(path, (UnixFileMode)0b110_100_100);
        return path;
    }

    /// <summary>Unmounts and removes the volumes of a pod whose containers have all ended, with what is in them; the containers' last words stay.</summary>
    /// <exception cref="IOException">Something could not be removed.</exception>
    public void RemoveVolumes()
    {
        var volumes = Path.Combine(PodDirectory, VolumesFolder);
        var subPaths = Path.Combine(PodDirectory, SubPaths);
        if (!Directory.Exists(volumes) && !Directory.Exists(subPaths))
            return;
        MountTable.UnmountBelow(PodDirectory);
        if (Directory.Exists(subPaths))
        {
            RemoveTargets(subPaths);
            Directory.Delete(subPaths, recursive: true);
        }

        if (Directory.Exists(volumes))
            Directory.Delete(volumes, recursive: true);
    }

    /// <summary>Unmounts what is mounted below the pod's directory and removes it.</summary>
    public void Remove() => Remove(PodDirectory);

    /// <summary>Unmounts what is mounted below the directory, then removes it.</summary>
    internal static void Remove(string directory)
    {
        MountTable.UnmountBelow(directory);
        var subPaths = Path.Combine(directory, SubPaths);
        if (Directory.Exists(subPaths))
            RemoveTargets(subPaths);
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
    }

    // Behind these lay data that outlives the pod: each must be an empty file or directory by now, and one that is not, or is still a mount, stops the removal.
    private static void RemoveTargets(string subPaths)
    {
        foreach (var container in Directory.GetDirectories(subPaths).SelectMany(Directory.GetDirectories))
        {
            foreach (var target in new DirectoryInfo(container).GetFileSystemInfos())
            {
                if (target is FileInfo { Length: > 0 })
                    throw new IOException($"{target.FullName} is not empty: is it still mounted?");
                target.Delete(); // a directory only when it is empty
            }
        }
    }

    private string TerminationFile(string container, uint attempt)
        => Path.Combine(PodDirectory, "containers", container, attempt.ToString(CultureInfo.InvariantCulture));

    private string OutOfMemoryFile(string container, uint attempt) => TerminationFile(container, attempt) + ".oom";

    private string Folder(JsonObject volume)
    {
        var kind = s_kinds.FirstOrDefault(kind => volume[kind.Key] is not null).Folder ?? "empty-dir";
        return Path.Combine(PodDirectory, VolumesFolder, "kubernetes.io~" + kind, volume.Text("name"));
    }

    // A claim that has no volume is a problem of the pod, one whose volume cannot be mounted one of the volume.
    private void Claims(bool isNew)
    {
        var unresolved = _claims.Where(claim => claim.Value.IsUnresolved).OrderBy(claim => claim.Key, StringComparer.Ordinal).ToList();
        if (unresolved.Count > 0)
        {
            var names = string.Join(' ', unresolved.Select(claim => claim.Key));
            throw new PodConfigException(
                $"Unable to attach or mount volumes: unmounted volumes=[{names}], unattached volumes=[], failed to process volumes=[{names}]: {string.Join(", ", unresolved.Select(claim => claim.Value.Problem))}");
        }

        foreach (var claim in _claims.Values)
        {
            if (claim.Problem.Length > 0)
                throw new PodConfigException(claim.Problem);
            if (claim.HostPathType is { } type)
                Try(claim.VolumeName, () => HostPathCheck.Apply(claim.Path, type));
            else if (!Directory.Exists(claim.Path))
                throw new PodConfigException($"MountVolume.NewMounter initialization failed for volume \"{claim.VolumeName}\" : path \"{claim.Path}\" does not exist");
            else if (isNew && !claim.IsReadOnly)
                Try(claim.VolumeName, () => VolumeOwnership.Apply(claim.Path, pod));
        }
    }

    private static void Try(string volume, Action make)
    {
        try
        {
            make();
        }
        catch (Exception e) when (e is PodConfigException or IOException or UnauthorizedAccessException)
        {
            throw new PodConfigException($"MountVolume.SetUp failed for volume \"{volume}\" : {e.Message}");
        }
    }

    private void Make(JsonObject volume, VolumeInput input)
    {
        var folder = Folder(volume);
        if (volume["hostPath"] is JsonObject host)
            HostPathCheck.Apply(host.Text("path"), host.Text("type"));
        else if (volume["emptyDir"] is JsonObject empty)
            MakeEmpty(folder, empty);
        else if (VolumeFiles.Of(pod, volume, input) is { } files)
            AtomicVolume.Write(folder, files, VolumeOwnership.Group(pod), time.GetUtcNow());
        else
            throw new PodConfigException($"volumes of kind {volume.Select(pair => pair.Key).FirstOrDefault(key => key != "name") ?? "(none)"} are not supported");
    }

    private void MakeEmpty(string folder, JsonObject source)
    {
        var medium = source.Text("medium");
        if (medium is not ("" or "Memory"))
            throw new PodConfigException($"emptyDir of medium {medium} is not supported");

        // After a reboot the directory is there and the tmpfs is not.
        if (Directory.Exists(folder) && (medium.Length == 0 || MountTable.IsMounted(folder)))
            return;
        Directory.CreateDirectory(folder);
        if (medium == "Memory")
            Native.MountTmpfs(folder, MemorySize(source) is { } size ? string.Create(CultureInfo.InvariantCulture, $"size={size},mode=0777") : "mode=0777");
        var mode = (UnixFileMode)0b111_111_111;
        if (VolumeOwnership.Group(pod) is { } group)
        {
            Native.ChangeOwner(folder, -1, group);
            mode |= UnixFileMode.SetGroup;
        }

        File.SetUnixFileMode(folder, mode);
    }

    // The limit of the volume, and no more than all containers may use; null leaves the kernel's half of the memory.
    private long? MemorySize(JsonObject source)
    {
        var limits = pod.Containers.Select(container => Resources.Milli(container.Json.At("resources", "limits", "memory"))).ToList();
        var most = limits.TrueForAll(limit => limit > 0) ? limits.Sum() / 1000 : null;
        return Resources.Milli(source["sizeLimit"]) is > 0 and var limit ? Math.Min(limit / 1000, most ?? long.MaxValue) : most;
    }
}
