using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Auth.Rbac;

/// <summary>What a node may do by itself (Kubernetes' node authorizer, narrowed): its own Node, lease and pods, and what its own pods name. Pure.</summary>
/// <remarks>A KubeEdge node gets all of this through CloudCore and never asks the API; these rules are for a client that comes with a node's certificate of this API's CA.</remarks>
internal static class NodeRules
{
    /// <param name="node">The name of the node that asks.</param>
    /// <param name="podsOf">The pods that are bound to a node.</param>
    /// <param name="claim">A PersistentVolumeClaim by namespace and name, or null.</param>
    public static bool Allows(string node, in AccessRequest request, Func<string, IEnumerable<JsonObject>> podsOf, Func<string, string, JsonObject?> claim)
    {
        var (ns, name, verb) = (request.Namespace, request.Name, request.Verb);
        var isRead = verb is "get" or "list" or "watch";
        return (request.Group, request.Combined) switch
        {
            ("", "nodes") => verb == "create" || (name == node && (isRead || verb is "update" or "patch")),
            ("", "nodes/status") => name == node && verb is "get" or "update" or "patch",
            ("", "pods") => verb is "list" or "watch" ? request.NodeSelected == node : verb is "get" or "delete" && podsOf(node).Any(pod => pod.Namespace() == ns && pod.Name() == name),
            ("", "pods/status") => verb is "get" or "update" or "patch" && podsOf(node).Any(pod => pod.Namespace() == ns && pod.Name() == name),
            ("coordination.k8s.io", "leases") => ns == "kube-node-lease" && (verb == "create" || (name == node && (verb == "get" || verb is "update" or "patch" or "delete"))),
            ("", "events") => verb is "create" or "patch",
            ("", "services") => isRead,
            ("", "secrets") => isRead && name.Length > 0 && podsOf(node).Any(pod => pod.Namespace() == ns && Secrets(pod).Contains(name, StringComparer.Ordinal)),
            ("", "configmaps") => isRead && name.Length > 0 && podsOf(node).Any(pod => pod.Namespace() == ns && ConfigMaps(pod).Contains(name, StringComparer.Ordinal)),
            ("", "persistentvolumeclaims") => verb == "get" && podsOf(node).Any(pod => pod.Namespace() == ns && Claims(pod).Contains(name, StringComparer.Ordinal)),
            ("", "persistentvolumes") => verb == "get" && podsOf(node).Any(pod => Claims(pod).Any(one => claim(pod.Namespace(), one).Text("spec", "volumeName") == name)),
            ("", "serviceaccounts") => verb == "get" && UsesAccount(),
            ("", "serviceaccounts/token") => verb == "create" && UsesAccount(),
            ("certificates.k8s.io", "certificatesigningrequests") => isRead || verb == "create",
            ("authentication.k8s.io", "tokenreviews") or ("authorization.k8s.io", "subjectaccessreviews") => verb == "create",
            _ => false,
        };

        bool UsesAccount() => podsOf(node).Any(pod => pod.Namespace() == ns && (pod.Text("spec", "serviceAccountName") is { Length: > 0 } named ? named : "default") == name);
    }

    private static IEnumerable<string> Secrets(JsonObject pod)
        => Sources(pod, "secret", "secretName", "secret").Concat(References(pod, "secretRef", "secretKeyRef")).Concat(pod.Items("spec", "imagePullSecrets").Select(one => one.Text("name")));

    private static IEnumerable<string> ConfigMaps(JsonObject pod) => Sources(pod, "configMap", "name", "configMap").Concat(References(pod, "configMapRef", "configMapKeyRef")).Append("kube-root-ca.crt");

    private static IEnumerable<string> Claims(JsonObject pod)
        => pod.Items("spec", "volumes").Select(volume => volume["ephemeral"] is not null ? $"{pod.Name()}-{volume.Text("name")}" : volume.Text("persistentVolumeClaim", "claimName")).Where(name => name.Length > 0);

    private static IEnumerable<string> Sources(JsonObject pod, string volume, string key, string projected)
        => pod.Items("spec", "volumes").SelectMany(one => one.Items("projected", "sources").Select(source => source.Text(projected, "name")).Prepend(one.Text(volume, key))).Where(name => name.Length > 0);

    private static IEnumerable<string> References(JsonObject pod, string all, string one)
        => ((string[])["initContainers", "containers", "ephemeralContainers"]).SelectMany(list => pod.Items("spec", list))
            .SelectMany(container => container.Items("envFrom").Select(from => from.Text(all, "name")).Concat(container.Items("env").Select(env => env.Text("valueFrom", one, "name"))))
            .Where(name => name.Length > 0);
}
