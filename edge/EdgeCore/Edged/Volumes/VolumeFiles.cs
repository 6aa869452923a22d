using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Core.Edged.Volumes;

/// <summary>The files of configMap, secret, downwardAPI and projected volumes. Pure.</summary>
internal static class VolumeFiles
{
    private const int ModeDefault = 0x1A4; // 0644
    private const UnixFileMode TokenMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>The files of the volume, or null when it is not of one of these kinds.</summary>
    /// <exception cref="PodConfigException">Something that is not optional is missing; the message has kubelet's words.</exception>
    public static List<VolumeFile>? Of(PodDescription pod, JsonObject volume, VolumeInput input)
    {
        if (volume["configMap"] is JsonObject map)
            return FromObject(pod, "configmap", map.Text("name"), map, Mode(map), input);
        if (volume["secret"] is JsonObject secret)
            return FromObject(pod, "secret", secret.Text("secretName"), secret, Mode(secret), input);
        if (volume["downwardAPI"] is JsonObject downward)
            return FromFields(pod, downward, Mode(downward), input);
        return volume["projected"] is JsonObject projected ? FromSources(pod, projected, input) : null;
    }

    /// <summary>The token projections of a pod.</summary>
    public static IEnumerable<JsonObject> TokenProjections(PodDescription pod)
        => pod.Json.Items("spec", "volumes").SelectMany(volume => volume.Items("projected", "sources")).Select(source => source["serviceAccountToken"]).OfType<JsonObject>();

    /// <summary>The user that all containers of the pod run as; null when they differ or say nothing (kubelet's FsUserFrom).</summary>
    public static long? CommonUser(PodDescription pod)
    {
        var shared = pod.Json.Number(-1, "spec", "securityContext", "runAsUser");
        long? user = null;
        foreach (var container in pod.InitContainers.Concat(pod.Containers))
        {
            var own = container.Json.Number(shared, "securityContext", "runAsUser");
            if (own < 0 || (user is { } other && other != own))
                return null;
            user = own;
        }

        return user;
    }

    private static UnixFileMode Mode(JsonObject source) => (UnixFileMode)(source.Number(ModeDefault, "defaultMode") & 0x1FF);

    private static List<VolumeFile> FromObject(PodDescription pod, string type, string name, JsonObject source, UnixFileMode mode, VolumeInput input)
    {
        var optional = source.Flag(false, "optional");
        var files = new List<VolumeFile>();
        if (PodEnvironment.Data(type, name, optional, pod, input.Find) is not { } data)
            return files;
        // A client in the pod trusts what it finds here: the node's own API beside the cluster's.
        if (type == "configmap" && name == InCluster.AuthorityMap && input.ClusterAuthority.Length > 0 && data.TryGetValue(InCluster.AuthorityKey, out var authority))
            data[InCluster.AuthorityKey] = [.. authority, .. (byte[])(authority is [.., (byte)'\n'] ? [] : [(byte)'\n']), .. Encoding.ASCII.GetBytes(input.ClusterAuthority)];
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

    private static List<VolumeFile> FromFields(PodDescription pod, JsonObject source, UnixFileMode mode, VolumeInput input)
    {
        var files = new List<VolumeFile>();
        foreach (var item in source.Items("items"))
        {
            var text = item["resourceFieldRef"] is JsonObject resource
                ? PodEnvironment.ResourceField(pod, pod.Containers[0], resource, input.Allocatable)
                : PodEnvironment.Field(pod, item.Text("fieldRef", "fieldPath"), input.HostIp, input.PodIps);
            files.Add(new VolumeFile(Checked(item.Text("path")), Encoding.UTF8.GetBytes(text), (UnixFileMode)(item.Number((long)mode, "mode") & 0x1FF)));
        }

        return files;
    }

    private static List<VolumeFile> FromSources(PodDescription pod, JsonObject projected, VolumeInput input)
    {
        var mode = Mode(projected);
        var files = new Dictionary<string, VolumeFile>(StringComparer.Ordinal);
        foreach (var source in projected.Items("sources"))
        {
            List<VolumeFile> part;
            if (source["configMap"] is JsonObject map)
                part = FromObject(pod, "configmap", map.Text("name"), map, mode, input);
            else if (source["secret"] is JsonObject secret)
                part = FromObject(pod, "secret", secret.Text("name"), secret, mode, input);
            else if (source["downwardAPI"] is JsonObject downward)
                part = FromFields(pod, downward, mode, input);
            else if (source["serviceAccountToken"] is JsonObject token)
                part = [Token(pod, token, mode, input)];
            else
                throw new PodConfigException($"projected sources of kind {source.Select(pair => pair.Key).FirstOrDefault() ?? "(none)"} are not supported");
            foreach (var file in part)
                files[file.Path] = file;
        }

        return [.. files.Values];
    }

    // As kubelet's projected volume: with one user or a group for the pod, nobody else reads the token.
    private static VolumeFile Token(PodDescription pod, JsonObject projection, UnixFileMode mode, VolumeInput input)
    {
        if (!input.Tokens.TryGetValue(projection, out var answer) || answer.Token is not { } token)
            throw new PodConfigException(answer?.Problem ?? "failed to fetch token");
        var user = CommonUser(pod);
        var isRestricted = user is not null || pod.Json.Number(-1, "spec", "securityContext", "fsGroup") >= 0;
        return new VolumeFile(Checked(projection.Text("path")), Encoding.UTF8.GetBytes(token), isRestricted ? TokenMode : mode) { User = user };
    }

    private static string Checked(string path)
        => path.Length == 0 || Path.IsPathRooted(path) || path.Split('/').Any(part => part is ".." or "" or ".") || path.StartsWith("..", StringComparison.Ordinal)
            ? throw new PodConfigException($"path \"{path}\" must be relative and without ..")
            : path;
}
