using System.Text.Json.Nodes;

namespace Edge.Cloud.Host;

/// <summary><c>&lt;data-dir&gt;/cloudcore.ports.json</c>: where a running cloudcore listens. There while it serves, gone after.</summary>
internal sealed class PortsFile(string path) : IDisposable
{
    public void Write(int api, int webSocket, int https, int metrics, string kubeconfig, int quic, int dns, int router, int stream, int tunnel)
    {
        var content = new JsonObject
        {
            ["api"] = api,
            ["websocket"] = webSocket,
            ["https"] = https,
            ["metrics"] = metrics,
            ["kubeconfig"] = kubeconfig,
        };
        if (quic > 0)
            content["quic"] = quic;
        if (dns > 0)
            content["dns"] = dns;
        if (router > 0)
            content["router"] = router;
        if (stream > 0)
            content["stream"] = stream;
        if (tunnel > 0)
            content["tunnel"] = tunnel;
        // A reader sees the whole file or none.
        var temporary = $"{path}.{Environment.ProcessId}.tmp";
        File.WriteAllText(temporary, content.ToJsonString() + "\n");
        File.Move(temporary, path, overwrite: true);
    }

    public void Dispose() => File.Delete(path);
}
