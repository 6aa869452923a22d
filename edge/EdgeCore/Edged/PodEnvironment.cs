using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Core.Edged;

/// <summary>A pod reads something that is not there; the message names it in kubelet's words.</summary>
internal sealed class PodConfigException(string message) : Exception(message);

/// <summary>Finds ConfigMaps and Secrets of a namespace; null when there is none.</summary>
internal delegate JsonObject? FindObject(string type, string name);

/// <summary>Environment, <c>$(VAR)</c> expansion and fields of the pod (downward API). Pure.</summary>
internal static class PodEnvironment
{
    /// <summary>The container's variables in order; a later one of the same name replaces the earlier.</summary>
    /// <param name="allocatable">What a resourceFieldRef to a limit that the container does not have reads.</param>
    /// <param name="first">Variables that every container has, which the pod's own replace.</param>
    /// <exception cref="PodConfigException">A ConfigMap, Secret or key that is not optional is missing, or a field is not supported.</exception>
    public static IReadOnlyList<KeyValuePair<string, string>> Resolve(
        PodDescription pod, ContainerDescription container, FindObject find, string hostIp, IReadOnlyList<string> podIps,
        IReadOnlyDictionary<string, Quantity>? allocatable = null, IEnumerable<KeyValuePair<string, string>>? first = null)
    {
        var order = new List<string>();
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        void Set(string name, string value)
        {
            if (values.TryAdd(name, value))
                order.Add(name);
            else
                values[name] = value;
        }

        foreach (var (name, value) in first ?? [])
            Set(name, value);
        foreach (var from in container.Json.Items("envFrom"))
        {
            var prefix = from.Text("prefix");
            foreach (var (kind, type) in (ReadOnlySpan<(string, string)>)[("configMapRef", "configmap"), ("secretRef", "secret")])
            {
                if (from[kind] is not JsonObject reference)
                    continue;
                foreach (var (key, value) in Data(type, reference.Text("name"), reference.Flag(false, "optional"), pod, find) ?? [])
                    Set(prefix + key, Encoding.UTF8.GetString(value));
            }
        }

        foreach (var env in container.Json.Items("env"))
        {
            var name = env.Text("name");
            if (env["valueFrom"] is not JsonObject source)
            {
                Set(name, Expand(env.Text("value"), values));
                continue;
            }

            if (source["fieldRef"] is JsonObject field)
                Set(name, Field(pod, field.Text("fieldPath"), hostIp, podIps));
            else if (source["resourceFieldRef"] is JsonObject resource)
                Set(name, ResourceField(pod, container, resource, allocatable));
            else if (Key(source, "configMapKeyRef", "configmap", pod, find) is { } text)
                Set(name, text);
            else if (Key(source, "secretKeyRef", "secret", pod, find) is { } secret)
                Set(name, secret);
        }

        return [.. order.Select(name => KeyValuePair.Create(name, values[name]))];
    }

    /// <summary>Replaces <c>$(NAME)</c> by the variable; an unknown name stays as it is, <c>$$</c> is one dollar sign.</summary>
    public static string Expand(string text, IReadOnlyDictionary<string, string> values)
    {
        if (!text.Contains('$', StringComparison.Ordinal))
            return text;
        var expanded = new StringBuilder(text.Length);
        for (var at = 0; at < text.Length; at++)
        {
            if (text[at] != '$' || at + 1 == text.Length)
            {
                expanded.Append(text[at]);
            }
            else if (text[at + 1] == '$')
            {
                expanded.Append('$');
                at++;
            }
            else if (text[at + 1] == '(' && text.IndexOf(')', at + 2) is > 0 and var end)
            {
                var name = text[(at + 2)..end];
                expanded.Append(values.TryGetValue(name, out var value) ? value : $"$({name})");
                at = end;
            }
            else
            {
                expanded.Append('$');
            }
        }

        return expanded.ToString();
    }

    /// <summary>The bytes of a ConfigMap or Secret by key; null when it is missing and optional.</summary>
    public static SortedDictionary<string, byte[]>? Data(string type, string name, bool optional, PodDescription pod, FindObject find)
    {
        if (find(type, name) is not { } found)
            return optional ? null : throw new PodConfigException($"{type} \"{name}\" not found");
        var data = new SortedDictionary<string, byte[]>(StringComparer.Ordinal);
        foreach (var (key, text) in found.Map("data"))
            data[key] = type == "secret" ? Base64(text, name, key) : Encoding.UTF8.GetBytes(text);
        foreach (var (key, text) in found.Map("binaryData"))
            data[key] = Base64(text, name, key);
        return data;
    }

    /// <summary>A field of the pod as <c>fieldRef</c> names it.</summary>
    public static string Field(PodDescription pod, string path, string hostIp, IReadOnlyList<string> podIps)
    {
        switch (path)
        {
            case "metadata.name": return pod.Name;
            case "metadata.namespace": return pod.Namespace;
            case "metadata.uid": return pod.Uid;
            case "spec.nodeName": return pod.Json.Text("spec", "nodeName");
            case "spec.serviceAccountName": return pod.Json.Text("spec", "serviceAccountName");
            case "status.hostIP" or "status.hostIPs": return hostIp;
            case "status.podIP": return podIps.Count > 0 ? podIps[0] : "";
            case "status.podIPs": return string.Join(',', podIps);
            case "metadata.labels" or "metadata.annotations":
                return string.Join('\n', pod.Json.Map("metadata", path["metadata.".Length..]).OrderBy(pair => pair.Key, StringComparer.Ordinal)
                    .Select(pair => $"{pair.Key}=\"{pair.Value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)}\""));
        }

        foreach (var map in (string[])["labels", "annotations"])
        {
            var start = $"metadata.{map}['";
            if (path.StartsWith(start, StringComparison.Ordinal) && path.EndsWith("']", StringComparison.Ordinal))
                return pod.Json.Text("metadata", map, path[start.Length..^2]);
        }

        throw new PodConfigException($"unsupported fieldPath: {path}");
    }

    /// <summary>A request or limit as <c>resourceFieldRef</c> names it, in units of its divisor (default 1), rounded up.</summary>
    /// <param name="allocatable">Stands for limits that are not set, as at a kubelet; null reads them as 0.</param>
    public static string ResourceField(
        PodDescription pod, ContainerDescription container, JsonObject reference, IReadOnlyDictionary<string, Quantity>? allocatable = null)
    {
        var owner = reference.Text("containerName") is { Length: > 0 } name
            ? pod.Containers.Concat(pod.InitContainers).FirstOrDefault(other => other.Name == name) ?? container
            : container;
        var path = reference.Text("resource").Split('.', 2);
        if (path.Length != 2 || path[0] is not ("limits" or "requests"))
            throw new PodConfigException($"unsupported container resource: {reference.Text("resource")}");
        // The scheduler's rule: what has a limit alone asks for as much.
        var milli = Resources.Milli(owner.Json.At("resources", path[0], path[1])) ?? Resources.Milli(owner.Json.At("resources", "limits", path[1]))
            ?? (path[0] == "limits" && allocatable is not null && allocatable.TryGetValue(path[1], out var all) ? all.MilliValue : 0);
        var divisor = Resources.Milli(reference["divisor"]) is > 0 and var set ? set : 1000;
        return ((milli + divisor - 1) / divisor).ToString(System.Globalization.CultureInfo.InvariantCulture);
    }

    private static string? Key(JsonObject source, string kind, string type, PodDescription pod, FindObject find)
    {
        if (source[kind] is not JsonObject reference)
            return null;
        var (name, key, optional) = (reference.Text("name"), reference.Text("key"), reference.Flag(false, "optional"));
        if (Data(type, name, optional, pod, find) is not { } data)
            return null;
        if (data.TryGetValue(key, out var value))
            return Encoding.UTF8.GetString(value);
        return optional ? null : throw new PodConfigException($"couldn't find key {key} in {(type == "secret" ? "Secret" : "ConfigMap")} {pod.Namespace}/{name}");
    }

    private static byte[] Base64(string text, string name, string key)
    {
        try
        {
            return Convert.FromBase64String(text);
        }
        catch (FormatException)
        {
            throw new PodConfigException($"key {key} of {name} is not base64");
        }
    }
}
