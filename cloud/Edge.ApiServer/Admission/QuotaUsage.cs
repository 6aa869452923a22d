using System.Text.Json.Nodes;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Admission;

/// <summary>What a pod is in the terms of quota scopes.</summary>
internal sealed record PodScopes(bool IsTerminating, bool IsBestEffort, string PriorityClass, bool HasCrossNamespaceAffinity);

/// <summary>What one object counts against quotas, by the resource names of <c>spec.hard</c>; <paramref name="Scopes"/> for pods alone.</summary>
internal sealed record QuotaCharge(IReadOnlyDictionary<string, decimal> Usage, PodScopes? Scopes);

/// <summary>Counts objects as Kubernetes' quota evaluators do (k8s.io/kubernetes/pkg/quota/v1/evaluator/core). Pure.</summary>
internal static class QuotaUsage
{
    private static readonly string[] s_counted = ["pods", "services", "persistentvolumeclaims", "configmaps", "secrets", "resourcequotas", "replicationcontrollers"];
    private static readonly string[] s_compute = ["cpu", "memory", "ephemeral-storage"];
    private const string StorageClassMiddle = ".storageclass.storage.k8s.io/";

    /// <summary>The resource whose objects a key of <c>spec.hard</c> is about: <c>pods</c>, <c>deployments.apps</c>.</summary>
    public static string ResourceOf(string key)
    {
        if (key.StartsWith("count/", StringComparison.Ordinal))
            return key["count/".Length..];
        if (key.StartsWith("services", StringComparison.Ordinal))
            return "services";
        if (key == "requests.storage" || key.Contains(StorageClassMiddle, StringComparison.Ordinal))
            return "persistentvolumeclaims";
        return s_counted.Contains(key) ? key : "pods";
    }

    public static string Qualified(ResourceId resource) => resource.Group.Length == 0 ? resource.Plural : $"{resource.Plural}.{resource.Group}";

    public static QuotaCharge Of(ResourceId resource, JsonObject obj)
    {
        var usage = new Dictionary<string, decimal> { ["count/" + Qualified(resource)] = 1 };
        if (resource.Group.Length > 0)
            return new QuotaCharge(usage, null);
        switch (resource.Plural)
        {
            case "pods":
                return Pod(obj, usage);
            case "services":
                Service(obj, usage);
                break;
            case "persistentvolumeclaims":
                Claim(obj, usage);
                break;
            default:
                if (s_counted.Contains(resource.Plural))
                    usage[resource.Plural] = 1;
                break;
        }

        return new QuotaCharge(usage, null);
    }

    /// <summary>The containers of a new pod that leave open what a quota limits: <c>limits.cpu for: c1,c2; requests.memory for: c1</c>. Empty when none does.</summary>
    public static string Unspecified(JsonObject pod, IEnumerable<string> keys)
    {
        var faults = new List<string>();
        foreach (var key in keys.Where(IsRequired).Order(StringComparer.Ordinal))
        {
            var (list, name) = key.StartsWith("limits.", StringComparison.Ordinal) ? ("limits", key[7..]) : ("requests", key.StartsWith("requests.", StringComparison.Ordinal) ? key[9..] : key);
            var missing = pod.Items("spec", "containers").Concat(pod.Items("spec", "initContainers")).Where(container => container.At("resources", list, name) is null).Select(container => container.Text("name")).ToList();
            if (missing.Count > 0)
                faults.Add($"{key} for: {string.Join(",", missing)}");
        }

        return string.Join("; ", faults);
    }

    /// <summary>The effective sum of a pod's containers, <paramref name="list"/> being requests or limits: all that run together, or the largest init step, and the overhead.</summary>
    public static Dictionary<string, decimal> Sum(JsonObject pod, string list)
    {
        var (total, sidecars, steps) = (new Dictionary<string, decimal>(), new Dictionary<string, decimal>(), new Dictionary<string, decimal>());
        foreach (var container in pod.Items("spec", "containers"))
            Add(total, Read(container.At("resources", list)));
        foreach (var container in pod.Items("spec", "initContainers"))
        {
            var own = Read(container.At("resources", list));
            if (container.Text("restartPolicy") == "Always")
            {
                Add(sidecars, own);
                own = [];
            }

            Add(own, sidecars);
            foreach (var (key, value) in own)
                steps[key] = Math.Max(value, steps.GetValueOrDefault(key));
        }

        Add(total, sidecars);
        foreach (var (key, value) in steps)
            total[key] = Math.Max(value, total.GetValueOrDefault(key));
        foreach (var (key, value) in Read(pod.At("spec", "overhead")))
        {
            if (list == "requests" || total.ContainsKey(key))
                total[key] = total.GetValueOrDefault(key) + value;
        }

        return total;
    }

    public static Dictionary<string, decimal> Read(JsonNode? quantities)
    {
        var read = new Dictionary<string, decimal>();
        foreach (var (key, node) in quantities as JsonObject ?? [])
        {
            if (Validation.Quantity.TryParse(node, out var value))
                read[key] = value;
        }

        return read;
    }

    private static QuotaCharge Pod(JsonObject pod, Dictionary<string, decimal> usage)
    {
        var containers = pod.Items("spec", "containers").Concat(pod.Items("spec", "initContainers")).ToList();
        var isBestEffort = !containers.Exists(container => ((string[])["requests", "limits"]).Any(list => container.At("resources", list, "cpu") is not null || container.At("resources", list, "memory") is not null));
        var scopes = new PodScopes(pod.At("spec", "activeDeadlineSeconds") is not null, isBestEffort, pod.Text("spec", "priorityClassName"), HasCrossNamespaceAffinity(pod));
        if (pod.Text("status", "phase") is "Succeeded" or "Failed")
            return new QuotaCharge(usage, scopes); // it holds nothing any longer
        usage["pods"] = 1;
        foreach (var (key, value) in Sum(pod, "requests"))
        {
            usage["requests." + key] = value;
            if (s_compute.Contains(key))
                usage[key] = value;
        }

        foreach (var (key, value) in Sum(pod, "limits"))
        {
            if (s_compute.Contains(key))
                usage["limits." + key] = value;
        }

        return new QuotaCharge(usage, scopes);
    }

    private static void Service(JsonObject service, Dictionary<string, decimal> usage)
    {
        var ports = service.Items("spec", "ports").Count();
        usage["services"] = 1;
        switch (service.Text("spec", "type"))
        {
            case "NodePort":
                usage["services.nodeports"] = ports;
                break;
            case "LoadBalancer":
                usage["services.loadbalancers"] = 1;
                usage["services.nodeports"] = service.Flag(true, "spec", "allocateLoadBalancerNodePorts") ? ports : service.Items("spec", "ports").Count(port => port.Number(0, "nodePort") > 0);
                break;
        }
    }

    private static void Claim(JsonObject claim, Dictionary<string, decimal> usage)
    {
        usage["persistentvolumeclaims"] = 1;
        var storage = Validation.Quantity.TryParse(claim.At("spec", "resources", "requests", "storage"), out var asked) ? asked : 0;
        usage["requests.storage"] = storage;
        if (Resources.StorageAnnotations.ClassOf(claim) is not { Length: > 0 } name)
            return;
        usage[$"{name}{StorageClassMiddle}requests.storage"] = storage;
        usage[$"{name}{StorageClassMiddle}persistentvolumeclaims"] = 1;
    }

    private static bool HasCrossNamespaceAffinity(JsonObject pod)
        => ((string[])["podAffinity", "podAntiAffinity"]).Any(kind =>
            pod.Items("spec", "affinity", kind, "requiredDuringSchedulingIgnoredDuringExecution")
                .Concat(pod.Items("spec", "affinity", kind, "preferredDuringSchedulingIgnoredDuringExecution").Select(term => term["podAffinityTerm"] as JsonObject ?? []))
                .Any(term => term.Texts("namespaces").Any() || term["namespaceSelector"] is not null));

    private static bool IsRequired(string key) => key is "cpu" or "memory" or "requests.cpu" or "requests.memory" or "limits.cpu" or "limits.memory";

    private static void Add(Dictionary<string, decimal> to, Dictionary<string, decimal> more)
    {
        foreach (var (key, value) in more)
            to[key] = to.GetValueOrDefault(key) + value;
    }
}
