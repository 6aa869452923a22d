using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Up;

internal sealed record NodeRow(string Name, string Status, TimeSpan? LeaseAge);

internal sealed record PodRow(string Namespace, string Name, string Node, string Ready, string Status, long Restarts, string Ip, TimeSpan? Age);

internal sealed record PropertyRow(string Device, string Property, string Reported, string Desired, TimeSpan? Age);

/// <summary>What the live table shows, read from the API's objects.</summary>
internal sealed record EdgeView(IReadOnlyList<NodeRow> Nodes, IReadOnlyList<PodRow> Pods, IReadOnlyList<PropertyRow> Properties)
{
    public static async Task<EdgeView> ReadAsync(IKubeClient client, DateTimeOffset now, CancellationToken cancellationToken)
    {
        async Task<IReadOnlyList<JsonObject>> List(ResourceKind kind) => (await client.ListAsync(kind, null, new ListOptions(), cancellationToken)).Items;
        return From(
            await List(ResourceKind.Node), await List(ResourceKind.Lease), await List(ResourceKind.Pod),
            await List(ResourceKind.Device), await List(ResourceKind.DeviceStatus), now);
    }

    public static EdgeView From(
        IEnumerable<JsonObject> nodes, IReadOnlyList<JsonObject> leases, IEnumerable<JsonObject> pods,
        IEnumerable<JsonObject> devices, IReadOnlyList<JsonObject> statuses, DateTimeOffset now)
        => new(
            [.. nodes.Select(node => Node(node, leases, now)).OrderBy(row => row.Name, StringComparer.Ordinal)],
            [.. pods.Select(pod => Pod(pod, now)).OrderBy(row => row.Namespace + "/" + row.Name, StringComparer.Ordinal)],
            [.. devices.SelectMany(device => PropertiesOf(device, statuses, now))]);

    private static NodeRow Node(JsonObject node, IEnumerable<JsonObject> leases, DateTimeOffset now)
    {
        var ready = node.Items("status", "conditions").FirstOrDefault(one => one.Text("type") == "Ready").Text("status");
        var lease = leases.FirstOrDefault(one => one.Namespace() == "kube-node-lease" && one.Name() == node.Name());
        return new NodeRow(node.Name(), ready switch { "True" => "Ready", "" => "Unknown", _ => "NotReady" }, Since(lease.Text("spec", "renewTime"), now));
    }

    private static PodRow Pod(JsonObject pod, DateTimeOffset now)
    {
        var containers = pod.Items("status", "containerStatuses").ToList();
        var total = pod.Items("spec", "containers").Count();

        // As kubectl: what keeps a container from running says more than the phase.
        var reason = containers.Select(one => one.Text("state", "waiting", "reason") is { Length: > 0 } waiting ? waiting : one.Text("state", "terminated", "reason"))
            .FirstOrDefault(one => one.Length > 0);
        var status = pod.IsDeleting() ? "Terminating" : reason ?? pod.Text("status", "phase");
        return new PodRow(
            pod.Namespace(),
            pod.Name(),
            pod.Text("spec", "nodeName"),
            string.Create(CultureInfo.InvariantCulture, $"{containers.Count(one => one.Flag(false, "ready"))}/{total}"),
            status,
            containers.Sum(one => one.Number(0, "restartCount")),
            pod.Text("status", "podIP"),
            Since(pod.Text("metadata", "creationTimestamp"), now));
    }

    private static IEnumerable<PropertyRow> PropertiesOf(JsonObject device, IEnumerable<JsonObject> statuses, DateTimeOffset now)
    {
        var status = statuses.FirstOrDefault(one => one.Namespace() == device.Namespace() && one.Name() == device.Name());
        foreach (var property in device.Items("spec", "properties"))
        {
            var name = property.Text("name");
            var twin = status.Items("status", "twins").FirstOrDefault(one => one.Text("propertyName") == name);
            var reported = twin.At("reported");
            TimeSpan? age = long.TryParse(reported.Text("metadata", "timestamp"), NumberStyles.None, CultureInfo.InvariantCulture, out var milliseconds)
                ? now - DateTimeOffset.FromUnixTimeMilliseconds(milliseconds) : null;
            yield return new PropertyRow(device.Name(), name, reported.Text("value"), property.Text("desired", "value"), age);
        }
    }

    private static TimeSpan? Since(string time, DateTimeOffset now)
        => DateTimeOffset.TryParse(time, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var then) ? now - then : null;
}
