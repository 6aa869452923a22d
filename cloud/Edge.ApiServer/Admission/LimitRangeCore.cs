using System.Globalization;
using System.Text.Json.Nodes;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;

namespace Edge.ApiServer.Admission;

/// <summary>Kubernetes' LimitRanger (plugin/pkg/admission/limitranger). Pure.</summary>
internal static class LimitRangeCore
{
    private const string Annotation = "kubernetes.io/limit-ranger";

    /// <summary>Gives the containers of a new pod the requests and limits that they leave open.</summary>
    public static void Default(JsonObject pod, IEnumerable<JsonObject> ranges)
    {
        var told = new List<string>();
        foreach (var item in ranges.SelectMany(range => range.Items("spec", "limits")).Where(item => item.Text("type") == "Container"))
        {
            foreach (var (list, kind) in (ReadOnlySpan<(string, string)>)[("containers", "container"), ("initContainers", "init container")])
            {
                foreach (var container in pod.Items("spec", list))
                {
                    Fill(container, item, "requests", "defaultRequest", "request", kind, told);
                    Fill(container, item, "limits", "default", "limit", kind, told);
                }
            }
        }

        if (told.Count > 0)
            pod.Child("metadata").Child("annotations")[Annotation] = "LimitRanger plugin set: " + string.Join("; ", told);
    }

    /// <summary>What a new pod has too much or too little of.</summary>
    public static List<string> CheckPod(JsonObject pod, IEnumerable<JsonObject> ranges)
    {
        var faults = new List<string>();
        foreach (var item in ranges.SelectMany(range => range.Items("spec", "limits")))
        {
            switch (item.Text("type"))
            {
                case "Container":
                    foreach (var container in pod.Items("spec", "containers").Concat(pod.Items("spec", "initContainers")))
                        Check(item, "Container", QuotaUsage.Read(container.At("resources", "requests")), QuotaUsage.Read(container.At("resources", "limits")), faults);
                    break;
                case "Pod":
                    Check(item, "Pod", QuotaUsage.Sum(pod, "requests"), QuotaUsage.Sum(pod, "limits"), faults);
                    break;
            }
        }

        return faults;
    }

    public static List<string> CheckClaim(JsonObject claim, IEnumerable<JsonObject> ranges)
    {
        var faults = new List<string>();
        var asked = QuotaUsage.Read(claim.At("spec", "resources", "requests"));
        foreach (var item in ranges.SelectMany(range => range.Items("spec", "limits")).Where(item => item.Text("type") == "PersistentVolumeClaim"))
        {
            foreach (var (key, bound) in QuotaUsage.Read(item["min"]))
            {
                if (!asked.TryGetValue(key, out var value))
                    faults.Add($"minimum {key} usage per PersistentVolumeClaim is {Show(item, "min", key)}.  No request is specified");
                else if (value < bound)
                    faults.Add($"minimum {key} usage per PersistentVolumeClaim is {Show(item, "min", key)}, but request is {Format(key, value)}");
            }

            foreach (var (key, bound) in QuotaUsage.Read(item["max"]))
            {
                if (!asked.TryGetValue(key, out var value))
                    faults.Add($"maximum {key} usage per PersistentVolumeClaim is {Show(item, "max", key)}.  No request is specified");
                else if (value > bound)
                    faults.Add($"maximum {key} usage per PersistentVolumeClaim is {Show(item, "max", key)}, but request is {Format(key, value)}");
            }
        }

        return faults;
    }

    private static void Check(JsonObject item, string type, Dictionary<string, decimal> requests, Dictionary<string, decimal> limits, List<string> faults)
    {
        foreach (var (key, bound) in QuotaUsage.Read(item["min"]))
        {
            var (hasRequest, hasLimit) = (requests.TryGetValue(key, out var request), limits.TryGetValue(key, out var limit));
            if (!hasRequest)
                faults.Add($"minimum {key} usage per {type} is {Show(item, "min", key)}.  No request is specified");
            else if (request < bound)
                faults.Add($"minimum {key} usage per {type} is {Show(item, "min", key)}, but request is {Format(key, request)}");
            else if (hasLimit && limit < bound)
                faults.Add($"minimum {key} usage per {type} is {Show(item, "min", key)}, but limit is {Format(key, limit)}");
        }

        foreach (var (key, bound) in QuotaUsage.Read(item["max"]))
        {
            var (hasRequest, hasLimit) = (requests.TryGetValue(key, out var request), limits.TryGetValue(key, out var limit));
            if (!hasLimit)
                faults.Add($"maximum {key} usage per {type} is {Show(item, "max", key)}.  No limit is specified");
            else if (limit > bound)
                faults.Add($"maximum {key} usage per {type} is {Show(item, "max", key)}, but limit is {Format(key, limit)}");
            else if (hasRequest && request > bound)
                faults.Add($"maximum {key} usage per {type} is {Show(item, "max", key)}, but request is {Format(key, request)}");
        }

        foreach (var (key, bound) in QuotaUsage.Read(item["maxLimitRequestRatio"]))
        {
            if (!requests.TryGetValue(key, out var request) || request == 0)
                faults.Add($"{key} max limit to request ratio per {type} is {Show(item, "maxLimitRequestRatio", key)}, but no request is specified or request is 0");
            else if (!limits.TryGetValue(key, out var limit) || limit == 0)
                faults.Add($"{key} max limit to request ratio per {type} is {Show(item, "maxLimitRequestRatio", key)}, but no limit is specified or limit is 0");
            else if (limit / request > bound)
                faults.Add(string.Create(CultureInfo.InvariantCulture, $"{key} max limit to request ratio per {type} is {Show(item, "maxLimitRequestRatio", key)}, but provided ratio is {limit / request:F6}"));
        }
    }

    private static void Fill(JsonObject container, JsonObject item, string list, string from, string what, string kind, List<string> told)
    {
        var missing = (item[from] as JsonObject ?? []).Where(pair => container.At("resources", list, pair.Key) is null).OrderBy(pair => pair.Key, StringComparer.Ordinal).ToList();
        if (missing.Count == 0)
            return;
        foreach (var (key, value) in missing)
            container.Child("resources").Child(list)[key] = value!.DeepClone();
        told.Add($"{string.Join(", ", missing.Select(pair => pair.Key))} {what} for {kind} {container.Text("name")}");
    }

    private static string Show(JsonObject item, string list, string key) => Errors.Show(item.At(list, key)).Trim('"');

    private static string Format(string key, decimal value) => Validation.Quantity.Format(value, key is "memory" or "storage" or "ephemeral-storage");
}
