using Edge.Common.Configuration;

namespace Edge.Cloud.Configuration;

/// <summary>Section <c>modules.cloudStream</c>: the kubelet's endpoint of edge nodes, for an API server's logs, exec, attach and port-forward. Off by default.</summary>
public sealed record CloudStreamOptions
{
    /// <summary>Where API servers call.</summary>
    public ListenOn Listen { get; init; } = new(false, "0.0.0.0", 10003, "modules.cloudStream.streamPort");

    /// <summary>Where stock KubeEdge edges dial their tunnel; also alone, without the endpoint for API servers. The hub's CA and certificate serve it, whatever the tlsTunnel keys say.</summary>
    public ListenOn Tunnel { get; init; } = new(false, "0.0.0.0", 10004, "modules.cloudStream.tunnelPort");

    /// <summary>tlsStreamCAFile: PEM of the CAs that sign the API server's client certificate. Empty: the cluster's own, as it tells them in the ConfigMap
    /// kube-system/extension-apiserver-authentication.</summary>
    public string ClientCaFile { get; init; } = "";

    /// <summary>tlsStreamCertFile and tlsStreamPrivateKeyFile: what the endpoint presents, PEM. Empty: the hub's certificate.</summary>
    public string CertificateFile { get; init; } = "";

    public string KeyFile { get; init; } = "";

    /// <summary>Common names that may call, beside the group system:masters. Who may call may run commands in every pod of every edge.</summary>
    public IReadOnlyList<string> ClientNames { get; init; } = ["kube-apiserver-kubelet-client"];

    /// <summary>The address (IP) at which API servers reach this endpoint; it is written into the status of edge nodes, whose own becomes their ExternalIP. Empty leaves the nodes'
    /// addresses: then something must lead the API server's connections to them here.</summary>
    public string NodeAddress { get; init; } = "";

    /// <summary>A DNS domain of which each edge node has a name, NODE.DOMAIN, that leads API servers to this endpoint: it becomes the Hostname in the node's status, and tells which node a
    /// request without a pod is for. Empty for none. The names are for you to make, e.g. with one wildcard record.</summary>
    public string NodeDomain { get; init; } = "";

    /// <summary>The IP at which other cloudcores reach this one's endpoint. Empty: modules.cloudHub.instanceId where it is an IP, else the first advertised address.</summary>
    public string PeerAddress { get; init; } = "";

    internal static CloudStreamOptions Read(ConfigSection section)
    {
        var absent = new CloudStreamOptions();
        // Edges have their certificates of the hub's CA.
        section.Ignore("tlsTunnelCAFile", "tlsTunnelCertFile", "tlsTunnelPrivateKeyFile");
        var isEnabled = section.Bool("enable", false);
        var options = absent with
        {
            Listen = absent.Listen with
            {
                IsEnabled = isEnabled, Address = section.Text("address", absent.Listen.Address), Port = section.Int("streamPort", absent.Listen.Port, min: 0, max: 65535),
            },
            Tunnel = absent.Tunnel with
            {
                IsEnabled = section.Bool("tunnel", isEnabled), Address = section.Text("address", absent.Tunnel.Address), Port = section.Int("tunnelPort", absent.Tunnel.Port, min: 0, max: 65535),
            },
            ClientCaFile = section.Text("tlsStreamCAFile", ""),
            CertificateFile = section.Text("tlsStreamCertFile", ""),
            KeyFile = section.Text("tlsStreamPrivateKeyFile", ""),
            ClientNames = section.Texts("clientNames", absent.ClientNames),
            NodeAddress = section.Text("nodeAddress", ""),
            NodeDomain = section.Text("nodeDomain", "").ToLowerInvariant(),
            PeerAddress = section.Text("peerAddress", ""),
        };
        foreach (var (key, value) in new[] { ("address", options.Listen.Address), ("nodeAddress", options.NodeAddress), ("peerAddress", options.PeerAddress) })
        {
            if (value.Length > 0 && !System.Net.IPAddress.TryParse(value, out _))
                section.Problem(key, $"'{value}' is not an IP address");
        }

        if (options.NodeDomain.Length > 0 && (options.NodeDomain.Length > 200 || Uri.CheckHostName(options.NodeDomain) != UriHostNameType.Dns || options.NodeDomain.EndsWith('.')))
            section.Problem("nodeDomain", $"'{options.NodeDomain}' is not a DNS domain, e.g. edge.example.com");
        if ((options.CertificateFile.Length == 0) != (options.KeyFile.Length == 0))
            section.Problem("tlsStreamCertFile", "and tlsStreamPrivateKeyFile are given together or not at all");
        return options;
    }
}
