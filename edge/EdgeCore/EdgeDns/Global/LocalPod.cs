using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Core.Edged;
using Edge.Core.MetaManager;
using Edge.GlobalServices.Locations;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Core.EdgeDns.Global;

/// <summary>A pod of this node as clients here see it.</summary>
/// <param name="Addresses">Its own, of either IP version; none before it has any.</param>
/// <param name="HostPorts">Host port to the pod's port, where it has host ports.</param>
internal sealed record LocalPod(string Namespace, string Name, IReadOnlyDictionary<string, string> Labels, IReadOnlyList<UInt128> Addresses, bool IsReady, IReadOnlyDictionary<int, int> HostPorts)
{
    /// <summary>The pods in the store with the status that this node said last: what is true here, cloud or not.</summary>
    public static List<LocalPod> Read(IMetaStore meta)
    {
        var said = PodRows.Statuses.Load(meta);
        var pods = new List<LocalPod>();
        foreach (var stored in meta.List(ResourceTypes.Pod).OrderBy(pod => pod.Key, StringComparer.Ordinal))
        {
            if (said.TryGetValue(stored.Uid, out var status) && Parse(stored) is { } pod)
                pods.Add(Of(pod, status));
        }

        return pods;
    }

    public bool IsSame(LocalPod other)
        => (Namespace, Name, IsReady) == (other.Namespace, other.Name, other.IsReady) && Addresses.SequenceEqual(other.Addresses) && Labels.SequenceEqual(other.Labels) && HostPorts.SequenceEqual(other.HostPorts);

    /// <summary>Whether a client that means this port of the node reaches the pod at its own address: not where the node's port leads to another one of the pod.</summary>
    public bool IsReachedAt(int port) => Addresses.Count > 0 && (!HostPorts.TryGetValue(port, out var own) || own == port);

    private static LocalPod Of(JsonObject pod, JsonObject status)
    {
        var addresses = new List<UInt128>();
        foreach (var text in status.Items("podIPs").Select(one => one.Text("ip")).DefaultIfEmpty(status.Text("podIP")))
        {
            if (Network.TryParseAddress(text, out var address, out _))
                addresses.Add(address);
        }

        var ports = new SortedDictionary<int, int>();
        foreach (var port in pod.Items("spec", "containers").SelectMany(container => container.Items("ports")).Where(port => port.Number(0, "hostPort") is > 0 and <= 65_535))
            ports[(int)port.Number(0, "hostPort")] = (int)port.Number(0, "containerPort");
        var isReady = !pod.IsDeleting() && status.Items("conditions").Any(one => one.Text("type") == "Ready" && one.Text("status") == "True");
        return new LocalPod(
            pod.Namespace(), pod.Name(), new SortedDictionary<string, string>(pod.Map("metadata", "labels").ToDictionary(StringComparer.Ordinal), StringComparer.Ordinal), addresses, isReady, ports);
    }

    private static JsonObject? Parse(MetaObject stored)
    {
        try
        {
            return JsonNode.Parse(stored.Json.Span) as JsonObject;
        }
        catch (JsonException)
        {
            return null; // Edged has said so (event 4004)
        }
    }
}
