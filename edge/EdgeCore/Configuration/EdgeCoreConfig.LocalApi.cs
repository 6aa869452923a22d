using System.Net;
using Edge.Common.Configuration;

namespace Edge.Core.Configuration;

public static partial class EdgeCoreConfig
{
    // Names are KubeEdge's; of the kubelet's two ports KubeEdge serves its API on readOnlyPort (kubeedge-wire §5.10).
    private static LocalApiOptions ReadLocalApi(ConfigSection edged, ConfigSection kubelet, string tokenFile, List<string> notes)
    {
        var authentication = kubelet.Section("authentication");
        var anonymous = authentication.Section("anonymous");
        authentication.Ignore("webhook");
        if (anonymous.Bool("enabled", false))
            notes.Add("modules.edged.tailoredKubeletConfig.authentication.anonymous.enabled has no effect: the local API always wants a token or a certificate");
        var options = new LocalApiOptions
        {
            Enable = kubelet.Bool("enableServer", true),
            Address = kubelet.Text("address", "127.0.0.1"),
            Port = kubelet.Int("readOnlyPort", 10350, 0, 65535),
            TokenFile = edged.Text("localAPITokenFile", "") is { Length: > 0 } named ? named : tokenFile,
            TlsCertificateFile = kubelet.Text("tlsCertFile", ""),
            TlsKeyFile = kubelet.Text("tlsPrivateKeyFile", ""),
            ClientCaFile = authentication.Section("x509").Text("clientCAFile", ""),
        };
        if (options.TlsCertificateFile.Length > 0 != options.TlsKeyFile.Length > 0)
        {
            var missing = options.HasTls ? "tlsPrivateKeyFile" : "tlsCertFile";
            kubelet.Problem(missing, "is empty; the local API's certificate and key go together: set both, or neither for plain HTTP on loopback");
        }

        if (!IPAddress.TryParse(options.Address, out var address))
            kubelet.Problem("address", $"is '{options.Address}', must be an IP address, e.g. 127.0.0.1");
        else if (options.Enable && !IPAddress.IsLoopback(address) && !options.HasTls)
            kubelet.Problem("address", $"is {options.Address}, which others can reach: the local API runs commands in containers, so set tlsCertFile and tlsPrivateKeyFile, or 127.0.0.1");
        if (options.ClientCaFile.Length > 0 && !options.HasTls)
            notes.Add("modules.edged.tailoredKubeletConfig.authentication.x509.clientCAFile has no effect without tlsCertFile: client certificates need TLS");
        return options;
    }
}
