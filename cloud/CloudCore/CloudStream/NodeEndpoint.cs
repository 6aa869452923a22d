using System.Text.Json.Nodes;
using Edge.Cloud.Configuration;
using Edge.Kubernetes;

namespace Edge.Cloud.CloudStream;

/// <summary>Writes into what a node reports of itself where API servers find its kubelet: the endpoint of <see cref="KubeletServer"/>. Pure.</summary>
internal static class NodeEndpoint
{
    /// <param name="node">The node's name.</param>
    /// <param name="known">The node as it is known; null when it is not. KubeEdge's own edges say in their reports only what has changed, so one that registered at another cloud tells neither
    /// its endpoint nor its addresses again: what is known stands for what is not said.</param>
    /// <param name="status">The whole status, or a strategic merge patch of it; changed in place.</param>
    public static void Redirect(string node, JsonObject? known, JsonObject status, CloudStreamOptions options, int port)
    {
        status["daemonEndpoints"] = new JsonObject { ["kubeletEndpoint"] = new JsonObject { ["Port"] = port } };
        if (options.NodeAddress.Length == 0 && options.NodeDomain.Length == 0)
            return;
        var addresses = status["addresses"] as JsonArray;
        var said = addresses?.OfType<JsonObject>() ?? known.Items("status", "addresses");
        var own = Find(said, "InternalIP");
        if (addresses is null && Find(said, "ExternalIP") is { Length: > 0 } kept)
            own = kept; // as written below
        // Which one an API server takes is its --kubelet-preferred-address-types; kubeadm says InternalIP first, the program's own default Hostname.
        var address = options.NodeAddress.Length > 0 ? options.NodeAddress : own;
        var host = options.NodeDomain.Length > 0 ? $"{node}.{options.NodeDomain}" : options.NodeAddress;
        if (addresses is null && (own.Length == 0 || (Find(said, "InternalIP") == address && Find(said, "Hostname") == host)))
            return;
        var redirected = new JsonArray();
        if (address.Length > 0)
            redirected.Add((JsonNode)Address("InternalIP", address));
        redirected.Add((JsonNode)Address("Hostname", host));
        if (own.Length > 0 && own != address)
            redirected.Add((JsonNode)Address("ExternalIP", own));
        if (said.Any(one => one.Text("$patch") == "replace"))
            redirected.Insert(0, new JsonObject { ["$patch"] = "replace" });
        status["addresses"] = redirected;
    }

    private static string Find(IEnumerable<JsonObject> addresses, string type) => addresses.FirstOrDefault(one => one.Text("type") == type).Text("address");

    private static JsonObject Address(string type, string address) => new() { ["type"] = type, ["address"] = address };
}
