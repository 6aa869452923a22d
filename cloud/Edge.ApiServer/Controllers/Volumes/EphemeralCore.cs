using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Volumes;

/// <summary>Makes the claims of ephemeral volumes, each owned by its pod, with which it goes. Pure.</summary>
internal static class EphemeralCore
{
    public static IReadOnlyList<VolumeAction> Step(VolumeWorld world)
    {
        var actions = new List<VolumeAction>();
        Dictionary<(string, string), JsonObject>? claims = null;
        foreach (var pod in world.Pods)
        {
            if (pod.IsDeleting() || Conditions.IsFinished(pod))
                continue;
            foreach (var volume in pod.Items("spec", "volumes"))
            {
                if (volume.At("ephemeral", "volumeClaimTemplate") is not JsonObject template)
                    continue;
                claims ??= world.Claims.ToDictionary(claim => (claim.Namespace(), claim.Name()));
                var name = PodClaims.EphemeralName(pod, volume);
                if (!claims.TryGetValue((pod.Namespace(), name), out var claim))
                    actions.Add(new CreateClaimAction(pod, Make(pod, name, template)));
                else if (!PodClaims.IsOwnedBy(claim, pod))
                    actions.Add(new TellAction(pod, new VolumeEvent("Warning", "FailedBinding", NotOwner(claim, pod))));
            }
        }

        return actions;
    }

    public static string NotOwner(JsonObject claim, JsonObject pod)
        => $"PVC {claim.Namespace()}/{claim.Name()} was not created for pod {pod.Namespace()}/{pod.Name()} (pod is not owner)";

    private static JsonObject Make(JsonObject pod, string name, JsonObject template)
    {
        var metadata = new JsonObject
        {
            ["name"] = name,
            ["namespace"] = pod.Namespace(),
            ["ownerReferences"] = new JsonArray(new JsonObject
            {
                ["apiVersion"] = "v1",
                ["kind"] = "Pod",
                ["name"] = pod.Name(),
                ["uid"] = pod.Uid(),
                ["controller"] = true,
                ["blockOwnerDeletion"] = true,
            }),
        };
        foreach (var key in (string[])["labels", "annotations"])
        {
            if (template.At("metadata", key) is { } given)
                metadata[key] = given.DeepClone();
        }

        return new JsonObject
        {
            ["apiVersion"] = "v1", ["kind"] = "PersistentVolumeClaim", ["metadata"] = metadata, ["spec"] = template["spec"]?.DeepClone(),
        };
    }
}
