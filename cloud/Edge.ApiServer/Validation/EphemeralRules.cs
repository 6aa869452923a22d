using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>The rules of a pod's ephemeral containers, which only the subresource <c>ephemeralcontainers</c> adds (<c>kubectl debug</c>).</summary>
internal static class EphemeralRules
{
    private const string NotHere = "cannot be set for an Ephemeral Container";

    private static readonly string[] s_refused = ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources", "restartPolicy", "restartPolicyRules", "resizePolicy"];

    public static void Check(JsonObject spec, List<FieldError> errors)
    {
        var i = 0;
        var others = spec.Items("containers").Concat(spec.Items("initContainers")).Select(container => container.Text("name")).ToHashSet(StringComparer.Ordinal);
        foreach (var container in spec.Items("ephemeralContainers"))
        {
            var at = $"spec.ephemeralContainers[{i++}]";
            foreach (var field in s_refused.Where(field => container[field] is { } value and not (JsonObject { Count: 0 } or JsonArray { Count: 0 })))
                errors.Add(Errors.Forbidden($"{at}.{field}", NotHere));
            if (container.Text("targetContainerName") is { Length: > 0 } target && !others.Contains(target))
                errors.Add(Errors.NotFound($"{at}.targetContainerName", target));
            var j = 0;
            foreach (var mount in container.Items("volumeMounts"))
            {
                foreach (var field in ((string[])["subPath", "subPathExpr"]).Where(field => mount.Text(field).Length > 0))
                    errors.Add(Errors.Forbidden($"{at}.volumeMounts[{j}].{field}", NotHere));
                j++;
            }
        }
    }

    /// <summary>They are only ever added.</summary>
    public static void CheckUpdate(JsonObject pod, JsonObject old, List<FieldError> errors)
    {
        const string at = "spec.ephemeralContainers";
        if (old.Annotation("kubernetes.io/config.mirror") is not null)
            errors.Add(Errors.Forbidden("", "static pods do not support ephemeral containers"));
        var now = pod.Items("spec", "ephemeralContainers").DistinctBy(container => container.Text("name")).ToDictionary(container => container.Text("name"), StringComparer.Ordinal);
        foreach (var before in old.Items("spec", "ephemeralContainers"))
        {
            var name = before.Text("name");
            if (!now.TryGetValue(name, out var container))
                errors.Add(Errors.Forbidden(at, $"existing ephemeral containers \"{name}\" may not be removed"));
            else if (!JsonNode.DeepEquals(container, before))
                errors.Add(Errors.Forbidden(at, $"existing ephemeral containers \"{name}\" may not be changed"));
        }
    }
}
