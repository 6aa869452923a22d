using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>A pod's defaults, the names that the admission plug-ins ServiceAccount, DefaultTolerationSeconds and Priority fill in among them.</summary>
internal static class PodDefaults
{
    private const long FileMode = 420; // 0644
    private const long EvictAfterSeconds = 300;

    public static void Apply(JsonObject pod)
    {
        if (pod["spec"] is not JsonObject spec)
            return;
        ApplyTemplate(pod);
        BuiltinObjects.Set(spec, "enableServiceLinks", true);
        BuiltinObjects.Set(spec, "preemptionPolicy", "PreemptLowerPriority");
        BuiltinObjects.Set(spec, "priority", 0L);
        BuiltinObjects.Set(spec, "serviceAccountName", spec.Text("serviceAccount") is { Length: > 0 } account ? account : "default");
        if (spec["serviceAccountName"] is JsonValue name)
            spec["serviceAccount"] = name.DeepClone();
        DefaultTolerations(spec);
        foreach (var container in (IEnumerable<JsonObject>)[.. spec.Items("initContainers"), .. spec.Items("containers")])
            DefaultRequests(container);
        var status = pod.Child("status");
        BuiltinObjects.Set(status, "phase", "Pending");
        BuiltinObjects.Set(status, "qosClass", QosClass(spec));
    }

    /// <summary>The defaults of a pod's spec that a workload's template has too; what admission gives a pod comes when the pod is made.</summary>
    public static void ApplyTemplate(JsonObject template)
    {
        if (template["spec"] is not JsonObject spec)
            return;
        BuiltinObjects.Set(spec, "restartPolicy", "Always");
        BuiltinObjects.Set(spec, "dnsPolicy", "ClusterFirst");
        BuiltinObjects.Set(spec, "terminationGracePeriodSeconds", 30L);
        BuiltinObjects.Set(spec, "schedulerName", "default-scheduler");
        BuiltinObjects.Set(spec, "securityContext", new JsonObject());
        if (spec.Text("serviceAccountName") is { Length: > 0 } account)
            BuiltinObjects.Set(spec, "serviceAccount", account);
        foreach (var container in (IEnumerable<JsonObject>)[.. spec.Items("initContainers"), .. spec.Items("containers"), .. spec.Items("ephemeralContainers")])
            DefaultContainer(container, spec.Flag(false, "hostNetwork"));
        foreach (var volume in spec.Items("volumes"))
            DefaultVolume(volume);
    }

    /// <summary>Guaranteed when every container's CPU and memory limits equal its requests, BestEffort when none asks for either.</summary>
    public static string QosClass(JsonObject spec)
    {
        var any = false;
        var guaranteed = true;
        foreach (var container in spec.Items("initContainers").Concat(spec.Items("containers")))
        {
            foreach (var resource in (string[])["cpu", "memory"])
            {
                var hasRequest = Quantity.TryParse(container.At("resources", "requests", resource), out var request) && request > 0;
                var hasLimit = Quantity.TryParse(container.At("resources", "limits", resource), out var limit) && limit > 0;
                any |= hasRequest || hasLimit;
                guaranteed &= hasLimit && (!hasRequest || request == limit);
            }
        }

        return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
    }

    private static void DefaultTolerations(JsonObject spec)
    {
        if (spec["tolerations"] is not (null or JsonArray))
            return;
        foreach (var key in (string[])["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"])
        {
            var covered = spec.Items("tolerations").Any(toleration =>
                (toleration.Text("key") == key || toleration.Text("key").Length == 0) && toleration.Text("effect") is "NoExecute" or "");
            if (covered)
                continue;
            if (spec["tolerations"] is not JsonArray list)
                spec["tolerations"] = list = [];
            list.Add((JsonNode)new JsonObject { ["key"] = key, ["operator"] = "Exists", ["effect"] = "NoExecute", ["tolerationSeconds"] = EvictAfterSeconds });
        }
    }

    private static void DefaultContainer(JsonObject container, bool hostNetwork)
    {
        BuiltinObjects.Set(container, "terminationMessagePath", "/dev/termination-log");
        BuiltinObjects.Set(container, "terminationMessagePolicy", "File");
        BuiltinObjects.Set(container, "resources", new JsonObject());
        if (container.Text("image") is { Length: > 0 } image)
            BuiltinObjects.Set(container, "imagePullPolicy", Tag(image) == "latest" ? "Always" : "IfNotPresent");
        foreach (var port in container.Items("ports"))
        {
            BuiltinObjects.Set(port, "protocol", "TCP");
            if (hostNetwork && port["containerPort"] is JsonValue number)
                BuiltinObjects.Set(port, "hostPort", number.DeepClone());
        }

        foreach (var variable in container.Items("env"))
        {
            if (variable.At("valueFrom", "fieldRef") is JsonObject field)
                BuiltinObjects.Set(field, "apiVersion", "v1");
        }

        foreach (var name in (string[])["livenessProbe", "readinessProbe", "startupProbe"])
        {
            if (container[name] is JsonObject probe)
                DefaultProbe(probe);
        }

        foreach (var hook in (string[])["postStart", "preStop"])
        {
            if (container.At("lifecycle", hook, "httpGet") is JsonObject get)
                DefaultHttpGet(get);
        }
    }

    private static void DefaultRequests(JsonObject container)
    {
        if (container.At("resources", "limits") is JsonObject limits)
        {
            var resources = container.Child("resources");
            if (resources["requests"] is null or JsonObject)
            {
                foreach (var (key, value) in limits)
                {
                    if (value is not null)
                        BuiltinObjects.Set(resources.Child("requests"), key, value.DeepClone());
                }
            }
        }
    }

    private static void DefaultProbe(JsonObject probe)
    {
        BuiltinObjects.Set(probe, "timeoutSeconds", 1L);
        BuiltinObjects.Set(probe, "periodSeconds", 10L);
        BuiltinObjects.Set(probe, "successThreshold", 1L);
        BuiltinObjects.Set(probe, "failureThreshold", 3L);
        if (probe["httpGet"] is JsonObject get)
            DefaultHttpGet(get);
        if (probe["grpc"] is JsonObject grpc)
            BuiltinObjects.Set(grpc, "service", "");
    }

    private static void DefaultHttpGet(JsonObject get)
    {
        BuiltinObjects.Set(get, "path", "/");
        BuiltinObjects.Set(get, "scheme", "HTTP");
    }

    private static void DefaultVolume(JsonObject volume)
    {
        if (volume.All(pair => pair.Key == "name"))
            volume["emptyDir"] = new JsonObject();
        foreach (var source in (string[])["secret", "configMap", "downwardAPI", "projected"])
        {
            if (volume[source] is JsonObject files)
                BuiltinObjects.Set(files, "defaultMode", FileMode);
        }

        if (volume["hostPath"] is JsonObject host)
            BuiltinObjects.Set(host, "type", "");
        if (volume.At("ephemeral", "volumeClaimTemplate", "spec") is JsonObject claim)
            ClaimRules.DefaultSpec(claim);
        foreach (var token in volume["projected"].Items("sources").Select(source => source["serviceAccountToken"]).OfType<JsonObject>())
            BuiltinObjects.Set(token, "expirationSeconds", 3600L);
        var items = volume["downwardAPI"].Items("items").Concat(volume["projected"].Items("sources").SelectMany(source => source["downwardAPI"].Items("items")));
        foreach (var field in items.Select(item => item["fieldRef"]).OfType<JsonObject>())
            BuiltinObjects.Set(field, "apiVersion", "v1");
    }

    /// <summary>The tag of an image reference: <c>latest</c> when there is neither tag nor digest, empty with a digest alone.</summary>
    private static string Tag(string image)
    {
        var at = image.IndexOf('@', StringComparison.Ordinal);
        var name = at < 0 ? image : image[..at];
        var colon = name.LastIndexOf(':');
        return colon > name.LastIndexOf('/') ? name[(colon + 1)..] : at < 0 ? "latest" : "";
    }
}
