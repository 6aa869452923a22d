using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Edge.Core.Configuration;
using Edge.Kubernetes;

namespace Edge.Core.Edged.StaticPods;

/// <summary>Reads the text of a static pod's file. Pure. Source: Kubernetes' documentation "Create static Pods" and the kubelet's file source.</summary>
internal static partial class StaticPodFile
{
    public const string HashAnnotation = "kubernetes.io/config.hash";
    public const string SourceAnnotation = "kubernetes.io/config.source";
    public const string SeenAnnotation = "kubernetes.io/config.seen";
    public const string MirrorAnnotation = "kubernetes.io/config.mirror";

    /// <summary>The most bytes that a file may have.</summary>
    public const int LengthMax = 1024 * 1024;

    /// <summary>Whether a file of the name is read at all; names that begin with a dot are editors' own.</summary>
    public static bool IsPodFile(string name)
        => !name.StartsWith('.') && (name.EndsWith(".yaml", StringComparison.Ordinal) || name.EndsWith(".yml", StringComparison.Ordinal) || name.EndsWith(".json", StringComparison.Ordinal));

    /// <summary>Whether the pod is not one to run, but stands at the API for a static pod.</summary>
    public static bool IsMirror(JsonObject pod) => pod.Annotation(MirrorAnnotation) is not null;

    /// <summary>Whether the pod comes from a file of this node.</summary>
    public static bool IsStatic(JsonObject pod) => pod.Annotation(SourceAnnotation) == "file" && !IsMirror(pod);

    /// <summary>The pod as it is to run here: bound to this node, named after it, with a uid from the content; or what is wrong with the text.</summary>
    /// <param name="path">The file, which counts for the uid.</param>
    /// <param name="now">For the annotation config.seen.</param>
    public static (JsonObject? Pod, string Error) Read(string text, string path, string nodeName, DateTimeOffset now)
    {
        JsonNode? parsed;
        try
        {
            parsed = Manifests.ParseValue(text);
        }
        catch (ManifestException e)
        {
            return (null, e.Message);
        }

        if (parsed is not JsonObject given || given.Kind() != "Pod" || given.ApiVersion() != "v1")
            return (null, parsed is null ? "it is empty" : $"it must be one Pod of apiVersion v1, and is kind '{(parsed as JsonObject)?.Kind()}' of apiVersion '{(parsed as JsonObject)?.ApiVersion()}'");
        if (given["spec"] is not JsonObject || Wrong(given) is { Length: > 0 })
            return (null, given["spec"] is not JsonObject ? "it has no spec" : Wrong(given));

        var pod = Build(given, nodeName);
        if (!EdgeCoreConfig.IsNodeName(pod.Name()))
            return (null, $"metadata.name '{given.Name()}' with the node's name behind it is '{pod.Name()}', must be a DNS-1123 subdomain of at most 253 characters");
        var hash = SHA256.HashData(Encoding.UTF8.GetBytes($"{nodeName}\n{path}\n{pod.ToJsonString()}"));
        var uid = Convert.ToHexStringLower(hash.AsSpan(0, 16)); // as long as a kubelet's
        var metadata = pod.Child("metadata");
        metadata["uid"] = uid;
        var annotations = metadata.Child("annotations");
        annotations[HashAnnotation] = uid;
        annotations[SourceAnnotation] = "file";
        annotations[SeenAnnotation] = now.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fffffff'Z'", CultureInfo.InvariantCulture);
        if (!PodDescription.TryRead(pod, out var description, out var error))
            return (null, error);
        return description.References().FirstOrDefault() is { Name.Length: > 0 } reference ? (null, Refers($"{reference.Type} \"{reference.Name}\"")) : (pod, "");
    }

    /// <summary>What is sent to the API in the static pod's place.</summary>
    public static JsonObject Mirror(JsonObject pod, string nodeName, string nodeUid)
    {
        var mirror = (JsonObject)pod.DeepClone();
        var metadata = mirror.Child("metadata");
        metadata.Remove("uid");
        metadata.Child("annotations")[MirrorAnnotation] = pod.Annotation(HashAnnotation);
        metadata["ownerReferences"] = new JsonArray(new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Node", ["name"] = nodeName, ["uid"] = nodeUid, ["controller"] = true });
        return mirror;
    }

    // Only what a file may decide: the rest of the metadata and the status are the node's.
    private static JsonObject Build(JsonObject given, string nodeName)
    {
        var metadata = new JsonObject
        {
            ["name"] = $"{given.Name()}-{nodeName}",
            ["namespace"] = given.Namespace() is { Length: > 0 } named ? named : "default",
        };
        foreach (var map in (string[])["labels", "annotations"])
        {
            if (given.At("metadata", map) is JsonObject found)
                metadata[map] = found.DeepClone();
        }

        (metadata["annotations"] as JsonObject)?.Remove(MirrorAnnotation);
        var spec = (JsonObject)given["spec"]!.DeepClone();
        spec["nodeName"] = nodeName;
        // No taint of the node takes a static pod away.
        var tolerations = spec["tolerations"] as JsonArray ?? [];
        tolerations.Add((JsonNode)new JsonObject { ["operator"] = "Exists", ["effect"] = "NoExecute" });
        spec["tolerations"] = tolerations;
        return new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Pod", ["metadata"] = metadata, ["spec"] = spec };
    }

    private static string Wrong(JsonObject given)
    {
        if (given.Name().Length == 0)
            return "it has no metadata.name";
        if (given.Namespace() is { Length: > 0 } ns && !LabelPattern().IsMatch(ns))
            return $"metadata.namespace is '{ns}', must be a DNS-1123 label";
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var container in given.Items("spec", "initContainers").Concat(given.Items("spec", "containers")))
        {
            var name = container.Text("name");
            if (!LabelPattern().IsMatch(name))
                return $"a container's name is '{name}', must be a DNS-1123 label";
            if (!names.Add(name))
                return $"two containers are named '{name}'";
            if (container.Text("image").Length == 0)
                return $"container '{name}' has no image";
        }

        foreach (var field in (ReadOnlySpan<string>)["serviceAccountName", "serviceAccount"])
        {
            if (given.Text("spec", field) is { Length: > 0 } account)
                return Refers($"serviceaccount \"{account}\"");
        }

        if (given.Items("spec", "imagePullSecrets").FirstOrDefault().Text("name") is { Length: > 0 } secret)
            return Refers($"secret \"{secret}\"");
        if (given.Items("spec", "volumes").FirstOrDefault(volume => volume["ephemeral"] is not null) is { } ephemeral)
            return Refers($"the claim of volume \"{ephemeral.Text("name")}\"");
        return given.Items("spec", "volumes").FirstOrDefault(volume => volume["persistentVolumeClaim"] is not null).Text("persistentVolumeClaim", "claimName") is { Length: > 0 } claim
            ? Refers($"persistentvolumeclaim \"{claim}\"")
            : "";
    }

    private static string Refers(string what) => $"static pods may not refer to API objects, and it refers to {what}";

    [GeneratedRegex(@"\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\z")]
    private static partial Regex LabelPattern();
}
