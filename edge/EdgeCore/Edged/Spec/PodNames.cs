using System.Globalization;
using System.Text;
using Edge.Core.Configuration;
using Edge.Kubernetes;

namespace Edge.Core.Edged.Spec;

/// <summary>What a pod is called inside: hostname, domain and /etc/hosts. Pure.</summary>
internal static class PodNames
{
    /// <summary>The kernel's limit (__NEW_UTS_LEN).</summary>
    private const int KernelNameLengthMax = 64;

    /// <summary>spec.hostname or the pod's name, cut to 63 characters.</summary>
    public static string Hostname(PodDescription pod)
    {
        var name = pod.Json.Text("spec", "hostname") is { Length: > 0 } set ? set : pod.Name;
        return name.Length <= 63 ? name : name[..63].TrimEnd('-', '.');
    }

    /// <summary>The domain that spec.subdomain asks for; empty when it asks for none.</summary>
    public static string Domain(PodDescription pod, EdgedOptions options)
        => pod.Json.Text("spec", "subdomain") is { Length: > 0 } sub ? $"{sub}.{pod.Namespace}.svc.{options.ClusterDomain}".TrimEnd('.') : "";

    /// <summary>The hostname as the kernel has it: the whole name with setHostnameAsFQDN.</summary>
    /// <exception cref="PodConfigException">It is longer than the kernel takes.</exception>
    public static string KernelName(PodDescription pod, EdgedOptions options)
    {
        var (name, domain) = (Hostname(pod), Domain(pod, options));
        if (domain.Length == 0 || !pod.Json.Flag(false, "spec", "setHostnameAsFQDN"))
            return name;
        var full = $"{name}.{domain}";
        return full.Length <= KernelNameLengthMax
            ? full
            : throw new PodConfigException($"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long ({KernelNameLengthMax} characters is the max, {full.Length} characters requested)");
    }

    /// <summary>The text of /etc/hosts as a kubelet writes it.</summary>
    /// <param name="hostFile">This machine's own /etc/hosts, which a pod on the host's network gets.</param>
    public static string Hosts(PodDescription pod, EdgedOptions options, IReadOnlyList<string> podIps, string hostFile)
    {
        var text = new StringBuilder();
        if (pod.HostNetwork)
        {
            text.Append("# Kubernetes-managed hosts file (host network).\n").Append(hostFile);
        }
        else
        {
            text.Append("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
                .Append("fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n");
            var (name, domain) = (Hostname(pod), Domain(pod, options));
            foreach (var ip in podIps)
                text.Append(CultureInfo.InvariantCulture, $"{ip}\t{(domain.Length > 0 ? $"{name}.{domain}\t{name}" : name)}\n");
        }

        var aliases = pod.Json.Items("spec", "hostAliases").ToList();
        if (aliases.Count > 0)
            text.Append("\n# Entries added by HostAliases.\n");
        foreach (var alias in aliases)
            text.Append(CultureInfo.InvariantCulture, $"{alias.Text("ip")}\t{string.Join('\t', alias.Texts("hostnames"))}\n");
        return text.ToString();
    }
}
