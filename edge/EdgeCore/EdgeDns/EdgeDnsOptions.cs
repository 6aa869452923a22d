using System.Net;
using System.Net.Sockets;
using Edge.Common.Configuration;
using Edge.Core.Configuration;
using Edge.Protocol.Dns;

namespace Edge.Core.EdgeDns;

/// <summary>Section <c>modules.edgeDns</c>: the resolver for pods and devices of this node. Off where the section is missing.</summary>
public sealed record EdgeDnsOptions
{
    /// <summary>The address that pods ask: link-local, so that it is the same on every node.</summary>
    public static readonly IPEndPoint PodAddress = new(new IPAddress([169, 254, 30, 10]), 53);

    public bool Enable { get; init; }

    /// <summary>Where it listens, UDP and TCP (key listen). Addresses that this machine has not are added to the interface <c>edge-dns0</c>, which needs root.</summary>
    public IReadOnlyList<IPEndPoint> Listen { get; init; } = [];

    /// <summary>The cluster's domain, without dots at its ends.</summary>
    public string ClusterDomain { get; init; } = "cluster.local";

    /// <summary>Where everything else is asked, in this order; none refuses it.</summary>
    public IReadOnlyList<IPEndPoint> Upstreams { get; init; } = [];

    /// <summary>Whether a Service's name gives its endpoints and not its clusterIP (key serviceAddresses: <c>endpoints</c>): for nodes without kube-proxy. Clients then
    /// need the port that the pod listens on.</summary>
    public bool AnswersWithEndpoints { get; init; }

    /// <summary>Time to live of cluster names, seconds. Too long: clients keep to pods that are gone; too short: more queries.</summary>
    public int TtlSeconds { get; init; } = 5;

    /// <summary>Answers of others that are kept (key cache.entriesMax); the one not asked for longest goes when it is full. About 500 bytes each.</summary>
    public int CacheEntriesMax { get; init; } = 10_000;

    /// <summary>How long an answer is served beyond its time while no upstream answers, seconds (key cache.staleSeconds; RFC 8767 §5 advises one to three days); 0: not at all.</summary>
    public int StaleSeconds { get; init; } = 86_400;

    /// <summary>How long one upstream may take, milliseconds (key upstreamTimeoutMs).</summary>
    public int UpstreamTimeoutMs { get; init; } = 1500;

    /// <summary>Reads the section; what is wrong is said to it.</summary>
    /// <param name="resolvConf">Lines of this machine's /etc/resolv.conf, for the upstreams.</param>
    internal static EdgeDnsOptions Read(ConfigSection dns, IEnumerable<string> resolvConf, List<string> notes)
    {
        var defaults = new EdgeDnsOptions();
        var listen = EndPoints(dns, "listen", dns.Texts("listen", ["169.254.30.10:53", "127.0.0.1:10053"]), 0);
        var domain = dns.Text("clusterDomain", defaults.ClusterDomain).Trim('.').ToLowerInvariant();
        if (!DnsName.TryParse(domain, out _) || !EdgeCoreConfig.IsNodeName(domain))
            dns.Problem("clusterDomain", $"is '{domain}', must be a domain name, e.g. cluster.local");
        var fromHost = resolvConf.Select(line => line.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries)).Where(words => words is ["nameserver", _, ..]).Select(words => words[1]);
        var given = dns.Has("upstreams");
        var upstreams = EndPoints(dns, "upstreams", dns.Texts("upstreams", [.. fromHost.Where(text => IPAddress.TryParse(text, out _))]), 53);
        // A query that we ask ourselves comes back for ever.
        var loops = upstreams.Where(upstream => listen.Any(own => own.Port == upstream.Port && (own.Address.Equals(upstream.Address) || own.Address.Equals(IPAddress.Any) || own.Address.Equals(IPAddress.IPv6Any)))).ToList();
        foreach (var loop in loops)
        {
            if (given)
                dns.Problem("upstreams", $"has {loop}, which is where EdgeDns itself listens; name another resolver");
            else
                notes.Add($"/etc/resolv.conf names {loop}, which is EdgeDns itself; it is not asked");
        }

        upstreams = [.. upstreams.Except(loops)];
        var addresses = dns.Text("serviceAddresses", "clusterIP");
        if (addresses is not ("clusterIP" or "endpoints"))
            dns.Problem("serviceAddresses", $"is '{addresses}', must be clusterIP (a proxy on this node routes these) or endpoints");
        var cache = dns.Section("cache");
        var options = new EdgeDnsOptions
        {
            Enable = dns.Bool("enable", true),
            Listen = listen,
            ClusterDomain = domain,
            Upstreams = upstreams,
            AnswersWithEndpoints = addresses == "endpoints",
            TtlSeconds = dns.Int("ttl", defaults.TtlSeconds, 0, 3600),
            CacheEntriesMax = cache.Int("entriesMax", defaults.CacheEntriesMax, 0, 10_000_000),
            StaleSeconds = cache.Int("staleSeconds", defaults.StaleSeconds, 0, 604_800),
            UpstreamTimeoutMs = dns.Int("upstreamTimeoutMs", defaults.UpstreamTimeoutMs, 50, 60_000),
        };
        if (options.Enable && upstreams.Count == 0)
            notes.Add("modules.edgeDns has no upstreams, and /etc/resolv.conf names none: names outside the cluster are refused");
        return options;
    }

    private static List<IPEndPoint> EndPoints(ConfigSection dns, string key, IReadOnlyList<string> texts, int portWhenAbsent)
    {
        var found = new List<IPEndPoint>();
        foreach (var text in texts)
        {
            if (IPAddress.TryParse(text, out var address) && portWhenAbsent > 0)
                found.Add(new IPEndPoint(address, portWhenAbsent));
            else if (IPEndPoint.TryParse(text, out var endpoint) && text.Contains(':', StringComparison.Ordinal) && (endpoint.AddressFamily == AddressFamily.InterNetwork || text.StartsWith('[')))
                found.Add(endpoint);
            else
                dns.Problem(key, $"has '{text}', must be IP:PORT, e.g. 127.0.0.1:10053{(portWhenAbsent > 0 ? ", or an IP address" : "")}");
        }

        return found;
    }
}
