using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Core.Edged;

/// <summary>The directories of one pod: volumes, the hosts file, termination messages. Not for use by two threads at once.</summary>
/// <param name="root">The kubelet root; the pod's directory is <c>pods/&lt;uid&gt;</c> below it.</param>
internal sealed class PodVolumes(string root, PodDescription pod, TimeProvider time)
{
    private const UnixFileMode FolderMode = (UnixFileMode)0b111_101_000;

    /// <summary>The pod's directory.</summary>
    public string PodDirectory { get; } = Path.Combine(root, "pods", pod.Uid);

    /// <summary>Why a projected token was left out, for an Event; empty when none was.</summary>
    public string TokenNote { get; private set; } = "";

    /// <summary>Makes or refreshes every volume of the pod.</summary>
    /// <exception cref="PodConfigException">A volume cannot be made; the message has kubelet's words.</exception>
    public void Prepare(FindObject find, string hostIp, IReadOnlyList<string> podIps)
    {
        Directory.CreateDirectory(PodDirectory);
        File.SetUnixFileMode(PodDirectory, FolderMode);
        foreach (var volume in pod.Json.Items("spec", "volumes"))
        {
            try
            {
                Make(volume, find, hostIp, podIps);
            }
            catch (Exception e) when (e is PodConfigException or IOException or UnauthorizedAccessException)
            {
                throw new PodConfigException($"MountVolume.SetUp failed for volume \"{volume.Text("name")}\" : {e.Message}");
            }
        }
    }

    /// <summary>The path on this machine of a mount of a container.</summary>
    /// <exception cref="PodConfigException">The volume or subPath does not exist or is not allowed.</exception>
    public string PathOf(JsonObject mount, Func<string, string> expand)
    {
        var name = mount.Text("name");
        var volume = pod.Json.Items("spec", "volumes").FirstOrDefault(item => item.Text("name") == name)
            ?? throw new PodConfigException($"no volume \"{name}\" in the pod for mount {mount.Text("mountPath")}");
        var path = volume["hostPath"] is JsonObject host ? host.Text("path") : Folder(volume);
        var sub = mount.Text("subPathExpr") is { Length: > 0 } expression ? expand(expression) : mount.Text("subPath");
        if (sub.Length == 0)
            return path;
        if (Path.IsPathRooted(sub) || sub.Split('/').Contains(".."))
            throw new PodConfigException($"subPath \"{sub}\" of volume \"{name}\" must be relative and without ..");
        var full = Path.Combine(path, sub);
        if (volume["configMap"] is not null || volume["secret"] is not null || volume["projected"] is not null || volume["downwardAPI"] is not null)
        {
            // Links through ..data do not resolve in the container: bind what they name now, as a kubelet does.
            full = Path.Combine(path, new FileInfo(Path.Combine(path, "..data")).LinkTarget ?? "", sub);
            if (!File.Exists(full) && !Directory.Exists(full))
                throw new PodConfigException($"subPath \"{sub}\" is not in volume \"{name}\"");
        }
        else if (!File.Exists(full) && !Directory.Exists(full))
        {
            Directory.CreateDirectory(full);
        }

        // A link that a container planted must not lead out of the volume.
        var resolved = new DirectoryInfo(full).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? full;
        if (!resolved.StartsWith(path.TrimEnd('/') + "/", StringComparison.Ordinal))
            throw new PodConfigException($"subPath \"{sub}\" leads out of volume \"{name}\"");
        return full;
    }

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

    /// <summary>Writes the hosts file that containers get as /etc/hosts, and returns its path.</summary>
    public string WriteHosts(string text)
    {
        var path = Path.Combine(PodDirectory, "etc-hosts");
        File.WriteAllText(path, text);
        File.SetUnixFileMode(path, (UnixFileMode)0b110_100_100);
        return path;
    }

    /// <summary>Unmounts what is mounted below the pod's directory and removes it.</summary>
    public void Remove() => Remove(PodDirectory);

    /// <summary>Unmounts what is mounted below the directory, then removes it.</summary>
    internal static void Remove(string directory)
    {
        foreach (var mount in File.ReadLines("/proc/self/mountinfo").Select(line => line.Split(' ')[4])
            .Where(path => path.StartsWith(directory + "/", StringComparison.Ordinal)).OrderByDescending(path => path.Length).ToList())
            Native.Unmount(mount);
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
    }

    private string TerminationFile(string container, uint attempt)
        => Path.Combine(PodDirectory, "containers", container, attempt.ToString(CultureInfo.InvariantCulture));

    private string Folder(JsonObject volume)
    {
        var kind = volume["configMap"] is not null ? "configmap"
            : volume["secret"] is not null ? "secret"
            : volume["projected"] is not null ? "projected"
            : volume["downwardAPI"] is not null ? "downward-api"
            : "empty-dir";
        return Path.Combine(PodDirectory, "volumes", "kubernetes.io~" + kind, volume.Text("name"));
    }

    private void Make(JsonObject volume, FindObject find, string hostIp, IReadOnlyList<string> podIps)
    {
        var folder = Folder(volume);
        if (volume["hostPath"] is JsonObject host)
            CheckHostPath(host.Text("path"), host.Text("type"));
        else if (volume["emptyDir"] is JsonObject empty)
            MakeEmpty(folder, empty);
        else if (volume["configMap"] is JsonObject map)
            Write(folder, FromObject("configmap", map.Text("name"), map, Mode(map, 0x1A4), find));
        else if (volume["secret"] is JsonObject secret)
            Write(folder, FromObject("secret", secret.Text("secretName"), secret, Mode(secret, 0x1A4), find));
        else if (volume["downwardAPI"] is JsonObject downward)
            Write(folder, FromFields(downward, Mode(downward, 0x1A4), hostIp, podIps));
        else if (volume["projected"] is JsonObject projected)
            Write(folder, FromSources(projected, find, hostIp, podIps));
        else
            throw new PodConfigException($"volumes of kind {volume.Select(pair => pair.Key).FirstOrDefault(key => key != "name") ?? "(none)"} are not supported");
    }

    private void Write(string folder, List<VolumeFile> files)
        => AtomicVolume.Write(folder, files, Group(), time.GetUtcNow());

    private long? Group() => pod.Json.Number(-1, "spec", "securityContext", "fsGroup") is >= 0 and var group ? group : null;

    private static UnixFileMode Mode(JsonObject source, int absent) => (UnixFileMode)(source.Number(absent, "defaultMode") & 0x1FF);

    private List<VolumeFile> FromObject(string type, string name, JsonObject source, UnixFileMode mode, FindObject find)
    {
        var optional = source.Flag(false, "optional");
        var files = new List<VolumeFile>();
        if (PodEnvironment.Data(type, name, optional, pod, find) is not { } data)
            return files;
        if (source["items"] is not JsonArray)
            return [.. data.Select(pair => new VolumeFile(pair.Key, pair.Value, mode))];
        foreach (var item in source.Items("items"))
        {
            if (data.TryGetValue(item.Text("key"), out var content))
                files.Add(new VolumeFile(Checked(item.Text("path")), content, (UnixFileMode)(item.Number((long)mode, "mode") & 0x1FF)));
            else if (!optional)
                throw new PodConfigException($"references non-existent {type} key: {item.Text("key")}");
        }

        return files;
    }

    private List<VolumeFile> FromFields(JsonObject source, UnixFileMode mode, string hostIp, IReadOnlyList<string> podIps)
    {
        var files = new List<VolumeFile>();
        foreach (var item in source.Items("items"))
        {
            var text = item["resourceFieldRef"] is JsonObject resource
                ? PodEnvironment.ResourceField(pod, pod.Containers[0], resource)
                : PodEnvironment.Field(pod, item.Text("fieldRef", "fieldPath"), hostIp, podIps);
            files.Add(new VolumeFile(Checked(item.Text("path")), Encoding.UTF8.GetBytes(text), (UnixFileMode)(item.Number((long)mode, "mode") & 0x1FF)));
        }

        return files;
    }

    private List<VolumeFile> FromSources(JsonObject projected, FindObject find, string hostIp, IReadOnlyList<string> podIps)
    {
        var mode = Mode(projected, 0x1A4);
        var files = new Dictionary<string, VolumeFile>(StringComparer.Ordinal);
        var hasToken = projected.Items("sources").Any(source => source["serviceAccountToken"] is not null);
        foreach (var source in projected.Items("sources"))
        {
            List<VolumeFile> part = [];
            if (source["configMap"] is JsonObject map)
            {
                // The cluster's CA is of use only beside a token; a pod is not held up for it.
                if (!hasToken || find("configmap", map.Text("name")) is not null)
                    part = FromObject("configmap", map.Text("name"), map, mode, find);
            }
            else if (source["secret"] is JsonObject secret)
                part = FromObject("secret", secret.Text("name"), secret, mode, find);
            else if (source["downwardAPI"] is JsonObject downward)
                part = FromFields(downward, mode, hostIp, podIps);
            else if (source["serviceAccountToken"] is JsonObject)
                TokenNote = "service account tokens are not available on this node; the pod runs without one";
            foreach (var file in part)
                files[file.Path] = file;
        }

        return [.. files.Values];
    }

    private static string Checked(string path)
        => path.Length == 0 || Path.IsPathRooted(path) || path.Split('/').Any(part => part is ".." or "" or ".") || path.StartsWith("..", StringComparison.Ordinal)
            ? throw new PodConfigException($"path \"{path}\" must be relative and without ..")
            : path;

    private void MakeEmpty(string folder, JsonObject source)
    {
        if (Directory.Exists(folder))
            return;
        Directory.CreateDirectory(folder);
        if (source.Text("medium") == "Memory")
        {
            var size = Resources.Milli(source["sizeLimit"]) is > 0 and var limit ? string.Create(CultureInfo.InvariantCulture, $"size={limit / 1000},mode=0777") : "mode=0777";
            try
            {
                Native.MountTmpfs(folder, size);
            }
            catch (IOException)
            {
                Directory.Delete(folder);
                throw;
            }
        }

        var mode = (UnixFileMode)0b111_111_111;
        if (Group() is { } group)
        {
            Native.ChangeOwner(folder, -1, group);
            mode |= UnixFileMode.SetGroup;
        }

        File.SetUnixFileMode(folder, mode);
    }

    private static void CheckHostPath(string path, string type)
    {
        switch (type)
        {
            case "DirectoryOrCreate":
                if (!Directory.Exists(path))
                    Directory.CreateDirectory(path);
                break;
            case "FileOrCreate":
                if (Directory.Exists(path))
                    throw new PodConfigException($"hostPath type check failed: {path} is not a file");
                if (!File.Exists(path))
                    File.WriteAllBytes(path, []);
                break;
            case "Directory" when !Directory.Exists(path):
                throw new PodConfigException($"hostPath type check failed: {path} is not a directory");
            case "File" when !File.Exists(path) || Native.FileKind(path) != '-':
                throw new PodConfigException($"hostPath type check failed: {path} is not a file");
            case "Socket" when Native.FileKind(path) != 's':
                throw new PodConfigException($"hostPath type check failed: {path} is not a socket file");
            case "CharDevice" when Native.FileKind(path) != 'c':
                throw new PodConfigException($"hostPath type check failed: {path} is not a character device");
            case "BlockDevice" when Native.FileKind(path) != 'b':
                throw new PodConfigException($"hostPath type check failed: {path} is not a block device");
            case "" when !Directory.Exists(path) && !File.Exists(path):
                // As containerd's own mount would: an absent path becomes a directory.
                Directory.CreateDirectory(path);
                break;
        }
    }
}
