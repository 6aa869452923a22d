using System.Text.Json.Nodes;

namespace Edge.Kubernetes.Scheduling;

/// <summary>What a pod asks of its node.</summary>
public static class PodResources
{
    // What Kubernetes' scoring counts for a container that asks for nothing, so that such pods spread too.
    private static readonly Quantity s_cpuAssumed = Quantity.FromMilli(100);
    private static readonly Quantity s_memoryAssumed = Quantity.FromValue(200 * 1024 * 1024);

    /// <summary>The larger of the containers' sum and the peak while init containers run, plus overhead. A limit without a request is a request.
    /// What is not a quantity counts as nothing: the API refuses such pods.</summary>
    public static Dictionary<string, Quantity> Requests(JsonObject pod)
    {
        var total = OfContainers(pod);
        Add(total, Read(pod, "spec", "overhead"));
        return total;
    }

    /// <summary><see cref="Requests"/> without the overhead.</summary>
    public static Dictionary<string, Quantity> OfContainers(JsonObject pod)
    {
        var total = new Dictionary<string, Quantity>(StringComparer.Ordinal);
        foreach (var container in pod.Items("spec", "containers"))
            Add(total, OfContainer(container));

        var sidecars = new Dictionary<string, Quantity>(StringComparer.Ordinal);
        var peak = new Dictionary<string, Quantity>(StringComparer.Ordinal);
        foreach (var container in pod.Items("spec", "initContainers"))
        {
            var asked = OfContainer(container);
            if (container.Text("restartPolicy") == "Always")
            {
                // A sidecar goes on running beside all that start after it.
                Add(total, asked);
                Add(sidecars, asked);
                Raise(peak, sidecars);
            }
            else
            {
                Add(asked, sidecars);
                Raise(peak, asked);
            }
        }

        Raise(total, peak);
        return total;
    }

    /// <summary>cpu and memory for scoring: <see cref="Requests"/> with Kubernetes' assumed 100m and 200Mi for a pod that asks for none.</summary>
    public static (Quantity Cpu, Quantity Memory) ForScore(Dictionary<string, Quantity> requests)
        => (requests.GetValueOrDefault("cpu") is { IsZero: false } cpu ? cpu : s_cpuAssumed,
            requests.GetValueOrDefault("memory") is { IsZero: false } memory ? memory : s_memoryAssumed);

    /// <summary>The quantities of a resource list; what is not a quantity is left out.</summary>
    public static Dictionary<string, Quantity> Read(JsonNode? node, params ReadOnlySpan<string> path)
    {
        var quantities = new Dictionary<string, Quantity>(StringComparer.Ordinal);
        foreach (var (name, text) in node.Map(path))
        {
            if (Quantity.TryParse(text, out var quantity))
                quantities[name] = quantity;
        }

        return quantities;
    }

    /// <summary>Adds <paramref name="more"/> to <paramref name="to"/>.</summary>
    public static void Add(Dictionary<string, Quantity> to, Dictionary<string, Quantity> more)
    {
        foreach (var (name, quantity) in more)
            to[name] = to.GetValueOrDefault(name) + quantity;
    }

    /// <summary>The host ports that the pod wants, with protocol and address (<c>0.0.0.0</c> for all).</summary>
    public static IEnumerable<HostPort> HostPorts(JsonObject pod)
    {
        foreach (var container in pod.Items("spec", "containers").Concat(pod.Items("spec", "initContainers").Where(init => init.Text("restartPolicy") == "Always")))
        {
            foreach (var port in container.Items("ports"))
            {
                var number = port.Number(0, "hostPort");
                if (number == 0 && pod.At("spec").Flag(false, "hostNetwork"))
                    number = port.Number(0, "containerPort");
                if (number > 0)
                    yield return new HostPort(port.Text("hostIP") is { Length: > 0 } ip ? ip : "0.0.0.0", port.Text("protocol") is { Length: > 0 } protocol ? protocol : "TCP", number);
            }
        }
    }

    private static Dictionary<string, Quantity> OfContainer(JsonObject container)
    {
        var asked = Read(container, "resources", "limits");
        foreach (var (name, quantity) in Read(container, "resources", "requests"))
            asked[name] = quantity;
        return asked;
    }

    private static void Raise(Dictionary<string, Quantity> to, Dictionary<string, Quantity> other)
    {
        foreach (var (name, quantity) in other)
        {
            if (quantity > to.GetValueOrDefault(name))
                to[name] = quantity;
        }
    }
}

/// <summary>A port of the node's own network.</summary>
public readonly record struct HostPort(string Address, string Protocol, long Port)
{
    /// <summary>Whether two pods with these ports cannot run on one node.</summary>
    public bool ConflictsWith(HostPort other)
        => Port == other.Port && Protocol == other.Protocol && (Address == other.Address || Address == "0.0.0.0" || other.Address == "0.0.0.0");
}
