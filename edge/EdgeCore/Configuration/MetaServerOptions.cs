using System.Net;
using Edge.Common.Configuration;

namespace Edge.Core.Configuration;

/// <summary>Section <c>modules.metaManager.metaServer</c>: the Kubernetes API on the node. Off by default, as KubeEdge's.</summary>
public sealed record MetaServerOptions
{
    public bool Enable { get; init; }

    /// <summary>Where it listens; port 0 takes a free one, which edgecore.ports.json names.</summary>
    public IPEndPoint Server { get; init; } = new(IPAddress.Loopback, 10550);

    /// <summary>Where pods with a network of their own reach it: an address that edgecore puts on an interface of the machine. Null: not for them.</summary>
    public IPEndPoint? DummyServer { get; init; } = new(IPAddress.Parse("169.254.30.10"), 10550);

    /// <summary>Who may have made the tokens that are accepted (claim <c>iss</c>).</summary>
    public IReadOnlyList<string> ServiceAccountIssuers { get; init; } = [DefaultIssuer];

    /// <summary>For whom tokens must have been made (claim <c>aud</c>); empty: the issuers.</summary>
    public IReadOnlyList<string> ApiAudiences { get; init; } = [];

    /// <summary>PEM files with public keys of the issuer, beside those that the cloud tells.</summary>
    public IReadOnlyList<string> ServiceAccountKeyFiles { get; init; } = [];

    /// <summary>PEM certificate and key to serve with; empty: made by edgecore, signed by a CA of the node's own.</summary>
    public string TlsCertificateFile { get; init; } = "";

    public string TlsKeyFile { get; init; } = "";

    /// <summary>True asks the API what a ServiceAccount may (kubelet's mode Webhook); false lets everybody with a good token read what the node holds (AlwaysAllow), as KubeEdge without its
    /// feature requireAuthorization.</summary>
    public bool AsksAccess { get; init; } = true;

    /// <summary>The ServiceAccount, <c>NAMESPACE/NAME</c>, whose rights those have who show no token and ask by plain HTTP at <see cref="Server"/>, as programs made for KubeEdge without its feature
    /// requireAuthorization do. Empty: HTTPS and a token always.</summary>
    public string HttpServiceAccount { get; init; } = "";

    /// <summary>Answers of the API that are kept for when the cloud is away, MiB.</summary>
    public int CacheMebibytes { get; init; } = 32;

    public const string DefaultIssuer = "https://kubernetes.default.svc.cluster.local";

    internal static MetaServerOptions Read(ConfigSection section)
    {
        var absent = new MetaServerOptions();
        var mode = section.Section("authorization").Text("mode", "Webhook");
        if (mode is not ("Webhook" or "AlwaysAllow"))
            section.Section("authorization").Problem("mode", $"is '{mode}', must be Webhook or AlwaysAllow");
        // KubeEdge's own CA for a certificate that comes from the cloud; ours comes from the node.
        section.Ignore("tlsCaFile");
        var options = new MetaServerOptions
        {
            Enable = section.Bool("enable", false),
            Server = EndPoint(section, "server", absent.Server)!,
            DummyServer = section.Text("dummyServer", "169.254.30.10:10550").Length == 0 ? null : EndPoint(section, "dummyServer", absent.DummyServer!),
            ServiceAccountIssuers = section.Texts("serviceAccountIssuers", [DefaultIssuer]),
            ApiAudiences = section.Texts("apiAudiences", []),
            ServiceAccountKeyFiles = section.Texts("serviceAccountKeyFiles", []),
            TlsCertificateFile = section.Text("tlsCertFile", ""),
            TlsKeyFile = section.Text("tlsPrivateKeyFile", ""),
            AsksAccess = mode != "AlwaysAllow",
            HttpServiceAccount = section.Text("httpServiceAccount", ""),
            CacheMebibytes = section.Int("cacheMebibytes", absent.CacheMebibytes, 0, 4096),
        };
        if (options.TlsCertificateFile.Length > 0 != options.TlsKeyFile.Length > 0)
            section.Problem(options.TlsKeyFile.Length > 0 ? "tlsPrivateKeyFile" : "tlsCertFile", "is given alone; tlsCertFile and tlsPrivateKeyFile belong together");
        if (options.HttpServiceAccount.Length > 0)
        {
            if (options.HttpServiceAccount.Split('/') is not [{ Length: > 0 }, { Length: > 0 }])
                section.Problem("httpServiceAccount", $"is '{options.HttpServiceAccount}', must be NAMESPACE/NAME of a ServiceAccount, e.g. kubeedge/edgemesh-agent");
            if (!IPAddress.IsLoopback(options.Server.Address))
                section.Problem("httpServiceAccount", $"serves plain HTTP without a token, and server is {options.Server}: that must be a loopback address then, e.g. {absent.Server}");
        }

        return options;
    }

    private static IPEndPoint EndPoint(ConfigSection section, string key, IPEndPoint absent)
    {
        var text = section.Text(key, absent.ToString());
        if (text.Contains(':', StringComparison.Ordinal) && IPEndPoint.TryParse(text, out var read))
            return read;
        section.Problem(key, $"is '{text}', must be an IP address and a port, e.g. {absent}");
        return absent;
    }
}
