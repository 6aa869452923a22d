using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.EdgeController;

/// <summary>A ConfigMap, Secret or RuntimeClass by name.</summary>
/// <param name="Type">The resource type word, <c>configmap</c>, <c>secret</c> or <c>runtimeclass</c>.</param>
/// <param name="Namespace">Empty for a RuntimeClass.</param>
internal readonly record struct ConfigKey(string Type, string Namespace, string Name);

/// <summary>Which ConfigMaps and Secrets a pod uses (env, envFrom, volumes, also projected and those of volume drivers, and imagePullSecrets), and its RuntimeClass.</summary>
internal static class PodReferences
{
    /// <summary>Whether another state of the pod may use others. Of a pod's spec only ephemeral containers are added later; what else names ConfigMaps or Secrets cannot be changed
    /// (Kubernetes, ValidatePodUpdate).</summary>
    public static bool MayGrow(ObjectText pod) => pod.MayContain("\"ephemeralContainers\""u8) && pod.Json.At("spec", "ephemeralContainers") is not null;

    public static HashSet<ConfigKey> Of(JsonObject pod)
    {
        var found = new HashSet<ConfigKey>();
        var ns = pod.Namespace();
        void Add(string type, string name)
        {
            if (name.Length > 0)
                found.Add(new ConfigKey(type, ns, name));
        }

        foreach (var list in (ReadOnlySpan<string>)["containers", "initContainers", "ephemeralContainers"])
        {
            foreach (var container in pod.Items("spec", list))
            {
                foreach (var env in container.Items("env"))
                {
                    Add(ResourceTypes.ConfigMap, env.Text("valueFrom", "configMapKeyRef", "name"));
                    Add(ResourceTypes.Secret, env.Text("valueFrom", "secretKeyRef", "name"));
                }

                foreach (var from in container.Items("envFrom"))
                {
                    Add(ResourceTypes.ConfigMap, from.Text("configMapRef", "name"));
                    Add(ResourceTypes.Secret, from.Text("secretRef", "name"));
                }
            }
        }

        foreach (var volume in pod.Items("spec", "volumes"))
        {
            Add(ResourceTypes.ConfigMap, volume.Text("configMap", "name"));
            Add(ResourceTypes.Secret, volume.Text("secret", "secretName"));
            foreach (var source in volume.Items("projected", "sources"))
            {
                Add(ResourceTypes.ConfigMap, source.Text("configMap", "name"));
                Add(ResourceTypes.Secret, source.Text("secret", "name"));
            }

            foreach (var driver in (ReadOnlySpan<string>)["azureFile", "cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"])
            {
                Add(ResourceTypes.Secret, volume.Text(driver, "secretRef", "name"));
                Add(ResourceTypes.Secret, volume.Text(driver, "secretName"));
            }

            Add(ResourceTypes.Secret, volume.Text("csi", "nodePublishSecretRef", "name"));
        }

        foreach (var secret in pod.Items("spec", "imagePullSecrets"))
            Add(ResourceTypes.Secret, secret.Text("name"));
        if (pod.Text("spec", "runtimeClassName") is { Length: > 0 } runtimeClass)
            found.Add(new ConfigKey(ResourceTypes.RuntimeClass, "", runtimeClass));
        return found;
    }
}
