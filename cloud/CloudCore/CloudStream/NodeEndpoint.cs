using System.Text.Json.Nodes;
using Edge.Cloud.Configuration;
using Edge.Kubernetes;

namespace Edge.Cloud.CloudStream;

/// <summary>Writes into what a node reports of itself where API servers find its kubelet: the endpoint of <see cref="KubeletServer"/>. Pure.</summary>
internal static class NodeEndpoint
{
    /// <param name="node">The node's name.</param>
    /// <param name="status">The whole status, or a strategic merge patch of it; changed in place. What it does not say is left alone.</param>
    public static void Redirect(string node, JsonObject status, CloudStreamOptions options, int port)
    {
        if (status["daemonEndpoints"] is JsonObject)
            status["daemonEndpoints"] = new JsonObject { ["kubeletEndpoint"] = new JsonObject { ["Port"] = port } };
        if ((options.NodeAddress.Length == 0 && options.NodeDomain.Length == 0) || status["addresses"] is not JsonArray addresses)
            return;
        var own = addresses.OfType<JsonObject>().FirstOrDefault(one => one.Text("type") == "InternalIP").Text("address");
        // Which one an API server takes is its --kubelet-preferred-address-types; kubeadm says InternalIP first, the program's own default Hostname.
        var address = options.NodeAddress.Length > 0 ? options.NodeAddress : own;
        var redirected = new JsonArray();
        if (address.Length > 0)
            redirected.Add((JsonNode)Address("InternalIP", address));
        redirected.Add((JsonNode)Address("Hostname", options.NodeDomain.Length > 0 ? $"{node}.{options.NodeDomain}" : options.NodeAddress));
        if (own.Length > 0 && own != address)
            redirected.Add((JsonNode)Address("ExternalIP", own));
        if (addresses.OfType<JsonObject>().Any(one => one.Text("$patch") == "replace"))
            redirected.Insert(0, new JsonObject { ["$patch"] = "replace" });
        status["addresses"] = redirected;
    }

    private static JsonObject Address(string type, string address) => new() { ["type"] = type, ["address"] = address };
}
