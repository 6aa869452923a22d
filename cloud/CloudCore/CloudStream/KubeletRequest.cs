namespace Edge.Cloud.CloudStream;

/// <summary>What an API server asks of a kubelet, read from the path. Pure.</summary>
/// <param name="Verb">containerLogs, exec, attach, portForward, stats, pods or healthz.</param>
/// <param name="Namespace">Of the pod; empty where the request is about a node.</param>
/// <param name="Pod">The pod's name.</param>
/// <param name="Uid">The pod's uid where the path names it; else empty.</param>
/// <param name="Target">The path for the node's local API, percent-encoded.</param>
internal sealed record KubeletRequest(string Verb, string Namespace, string Pod, string Uid, string Target)
{
    /// <summary>Whether the connection is upgraded and then carries streams.</summary>
    public bool IsStream => Verb is "exec" or "attach" or "portForward";

    /// <summary>Reads a request; null with the reason when it is none that is served.</summary>
    /// <param name="path">Decoded.</param>
    public static KubeletRequest? Read(string method, string path, out int code, out string problem)
    {
        (code, problem) = (404, "there are /containerLogs, /exec, /attach, /portForward, /stats/summary, /pods and /healthz");
        KubeletRequest? request = path.Split('/', StringSplitOptions.RemoveEmptyEntries) switch
        {
            ["containerLogs", var ns, var pod, var container] => Of("containerLogs", ns, pod, "", container),
            ["exec" or "attach", var ns, var pod, var container] parts => Of(parts[0], ns, pod, "", container),
            ["exec" or "attach", var ns, var pod, var uid, var container] parts => Of(parts[0], ns, pod, uid, container),
            ["portForward", var ns, var pod] => Of("portForward", ns, pod, "", ""),
            ["portForward", var ns, var pod, var uid] => Of("portForward", ns, pod, uid, ""),
            ["stats", "summary"] => new KubeletRequest("stats", "", "", "", "/stats/summary"),
            ["pods"] => new KubeletRequest("pods", "", "", "", "/pods"),
            ["healthz"] => new KubeletRequest("healthz", "", "", "", "/healthz"),
            _ => null,
        };
        if (request is null || method == "GET" || (method == "POST" && request.IsStream))
            return request;
        (code, problem) = (405, $"{method} is not possible here");
        return null;
    }

    private static KubeletRequest Of(string verb, string ns, string pod, string uid, string container)
        => new(verb, ns, pod, uid, string.Concat(((string[])[verb, ns, pod, container]).Where(part => part.Length > 0).Select(part => "/" + Uri.EscapeDataString(part))));
}
