using System.Text.Json.Nodes;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>Kubernetes' admission plug-in ServiceAccount: a new pod's account must be there, and gives the pod its token to ask the API with and its Secrets to pull images with.</summary>
internal static class ServiceAccountAdmission
{
    /// <summary>Where in-cluster clients look for their token, the API's CA and their namespace.</summary>
    private const string MountPath = "/var/run/secrets/kubernetes.io/serviceaccount";

    private const string VolumeName = "kube-api-access-";
    private const long FileMode = 420; // 0644

    // An hour; the 7 s tell it from a token that a pod asks for itself.
    private const long ExpirationSeconds = 3607;

    private static readonly ResourceId s_accounts = ResourceId.Of(ResourceKind.ServiceAccount);

    /// <summary>Completes a new pod; comes after the defaults. Fields of a wrong type are left for validation to name.</summary>
    /// <param name="newName">Ends a name so that it is like no other.</param>
    /// <exception cref="ApiException">403, in Kubernetes' words.</exception>
    public static void OnCreate(ServedResource resource, JsonObject pod, ObjectStore store, Func<string, string> newName)
    {
        // A mirror pod tells of what runs already, and may not use an account.
        if (resource.Kind != ResourceKind.Pod || pod["spec"] is not JsonObject spec || pod.Annotation("kubernetes.io/config.mirror") is not null)
            return;
        var (ns, name) = (pod.Namespace(), spec.Text("serviceAccountName"));
        var account = store.Get(s_accounts, ns, name)?.Parse();
        // Each namespace gets its default account in a moment; Kubernetes waits for it, and what it would say is known.
        if (account is null && name != "default")
            throw ApiException.Forbidden(resource, pod.Name(), $"error looking up service account {ns}/{name}: serviceaccount \"{name}\" not found");
        if (spec["imagePullSecrets"] is null or JsonArray { Count: 0 } && account?["imagePullSecrets"] is JsonArray { Count: > 0 } secrets)
            spec["imagePullSecrets"] = secrets.DeepClone();
        if (spec.Flag(account.Flag(true, "automountServiceAccountToken"), "automountServiceAccountToken"))
            Mount(spec, newName);
    }

    // Into each container that has nothing of its own there.
    private static void Mount(JsonObject spec, Func<string, string> newName)
    {
        if (spec["volumes"] is not (null or JsonArray))
            return;
        var existing = spec.Items("volumes").Select(volume => volume.Text("name")).FirstOrDefault(one => one.StartsWith(VolumeName, StringComparison.Ordinal));
        var volume = existing ?? newName(VolumeName);
        var isUsed = false;
        foreach (var container in (IEnumerable<JsonObject>)[.. spec.Items("initContainers"), .. spec.Items("containers")])
        {
            if (container["volumeMounts"] is not (null or JsonArray) || container.Items("volumeMounts").Any(mount => mount.Text("mountPath") == MountPath))
                continue;
            if (container["volumeMounts"] is not JsonArray mounts)
                container["volumeMounts"] = mounts = [];
            mounts.Add((JsonNode)new JsonObject { ["name"] = volume, ["readOnly"] = true, ["mountPath"] = MountPath });
            isUsed = true;
        }

        if (!isUsed || existing is not null)
            return;
        if (spec["volumes"] is not JsonArray volumes)
            spec["volumes"] = volumes = [];
        volumes.Add((JsonNode)new JsonObject
        {
            ["name"] = volume,
            ["projected"] = new JsonObject
            {
                ["sources"] = new JsonArray(
                    new JsonObject { ["serviceAccountToken"] = new JsonObject { ["expirationSeconds"] = ExpirationSeconds, ["path"] = "token" } },
                    new JsonObject { ["configMap"] = new JsonObject { ["name"] = "kube-root-ca.crt", ["items"] = new JsonArray(new JsonObject { ["key"] = "ca.crt", ["path"] = "ca.crt" }) } },
                    new JsonObject
                    {
                        ["downwardAPI"] = new JsonObject
                        {
                            ["items"] = new JsonArray(new JsonObject { ["path"] = "namespace", ["fieldRef"] = new JsonObject { ["apiVersion"] = "v1", ["fieldPath"] = "metadata.namespace" } }),
                        },
                    }),
                ["defaultMode"] = FileMode,
            },
        });
    }
}
