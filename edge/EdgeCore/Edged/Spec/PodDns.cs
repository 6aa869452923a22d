using Edge.Core.Configuration;
using Edge.Kubernetes;
using Edge.Protocol.Cri.V1;

namespace Edge.Core.Edged.Spec;

/// <summary>A pod's resolv.conf from dnsPolicy and dnsConfig. Pure.</summary>
internal static class PodDns
{
    /// <summary>resolv.conf(5): further servers are not asked.</summary>
    private const int ServersMax = 3;

    /// <summary>Kubernetes' limit on search domains.</summary>
    private const int SearchesMax = 32;

    /// <param name="resolvConf">Lines of this machine's /etc/resolv.conf.</param>
    /// <returns>Null lets the runtime take this machine's resolv.conf as it is.</returns>
    public static DNSConfig? Of(PodDescription pod, EdgedOptions options, IEnumerable<string> resolvConf)
    {
        var spec = pod.Json["spec"];
        var policy = spec.Text("dnsPolicy") is { Length: > 0 } set ? set : "ClusterFirst";
        var extra = spec.At("dnsConfig");
        var cluster = options.ClusterDns.Length > 0 && (policy == "ClusterFirstWithHostNet" || policy == "ClusterFirst" && !pod.HostNetwork);
        if (extra is null && !cluster && policy != "None")
            return null;
        var (servers, searches, words) = (new List<string>(), new List<string>(), new List<string>());
        if (policy != "None")
            ReadHost(resolvConf, servers, searches, words);
        if (cluster)
        {
            servers = [.. options.ClusterDns.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)];
            words = ["ndots:5"];
            if (options.ClusterDomain.Length > 0)
                searches = [$"{pod.Namespace}.svc.{options.ClusterDomain}", $"svc.{options.ClusterDomain}", options.ClusterDomain, .. searches];
        }

        // The pod's own are added; an option of a name that is there replaces it.
        foreach (var option in extra.Items("options").Where(option => option.Text("name").Length > 0))
        {
            words.RemoveAll(word => word.Split(':')[0] == option.Text("name"));
            words.Add(option.Text("value") is { Length: > 0 } value ? $"{option.Text("name")}:{value}" : option.Text("name"));
        }

        var dns = new DNSConfig();
        dns.Servers.Add(servers.Concat(extra.Texts("nameservers")).Distinct(StringComparer.Ordinal).Take(ServersMax));
        dns.Searches.Add(searches.Concat(extra.Texts("searches")).Distinct(StringComparer.Ordinal).Take(SearchesMax));
        dns.Options.Add(words);
        return dns;
    }

    private static void ReadHost(IEnumerable<string> lines, List<string> servers, List<string> searches, List<string> options)
    {
        foreach (var line in lines)
        {
            var words = line.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
            if (words.Length < 2)
                continue;
            if (words[0] == "nameserver")
                servers.Add(words[1]);
            else if (words[0] is "search" or "domain")
            {
                searches.Clear(); // the last line counts
                searches.AddRange(words[1..]);
            }
            else if (words[0] == "options")
                options.AddRange(words[1..]);
        }
    }
}
