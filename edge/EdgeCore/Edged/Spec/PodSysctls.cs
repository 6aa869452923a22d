using Edge.Core.Edged.Admission;
using Edge.Kubernetes;

namespace Edge.Core.Edged.Spec;

/// <summary>Which kernel settings a pod may ask for. Pure. Source: Kubernetes' documentation "Using sysctls in a Kubernetes Cluster".</summary>
internal static class PodSysctls
{
    // In namespaces of their own, and without harm to other pods.
    private static readonly HashSet<string> s_safe = new(StringComparer.Ordinal)
    {
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
    };

    /// <summary>A name with dots, also where it was written with slashes.</summary>
    public static string Normalize(string name)
    {
        // As sysctl(8): the first separator tells how the name is written; in the slash form a dot is part of a name.
        var first = name.AsSpan().IndexOfAny('.', '/');
        return first >= 0 && name[first] == '/'
            ? string.Create(name.Length, name, (span, text) =>
            {
                for (var at = 0; at < span.Length; at++)
                    span[at] = text[at] switch { '/' => '.', '.' => '/', var other => other };
            })
            : name;
    }

    /// <summary>Null when the pod may have its settings, else a kubelet's refusal.</summary>
    /// <param name="allowed">allowedUnsafeSysctls: names, or beginnings that end in <c>*</c>.</param>
    public static AdmissionRefusal? Check(PodDescription pod, IReadOnlyList<string> allowed)
    {
        foreach (var name in pod.Json.Items("spec", "securityContext", "sysctls").Select(item => Normalize(item.Text("name"))))
        {
            var ipc = name.StartsWith("kernel.shm", StringComparison.Ordinal) || name.StartsWith("kernel.msg", StringComparison.Ordinal) || name == "kernel.sem"
                || name.StartsWith("fs.mqueue.", StringComparison.Ordinal);
            var net = name.StartsWith("net.", StringComparison.Ordinal);
            if (net && pod.HostNetwork)
                return Refuse($"forbidden sysctl: \"{name}\" not allowed with host net enabled");
            if (ipc && pod.Json.Flag(false, "spec", "hostIPC"))
                return Refuse($"forbidden sysctl: \"{name}\" not allowed with host ipc enabled");
            var listed = s_safe.Contains(name)
                || (net || ipc) && allowed.Any(rule => rule.EndsWith('*') ? name.StartsWith(rule[..^1], StringComparison.Ordinal) : name == rule);
            if (!listed)
                return Refuse($"forbidden sysctl: \"{name}\" not allowlisted");
        }

        return null;
    }

    private static AdmissionRefusal Refuse(string message) => new("SysctlForbidden", message);
}
