using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Cloud.EdgeController;
using Edge.Kubernetes;

namespace Edge.Cloud.Dashboard;

/// <summary>A condition of a Node, as kubectl describe shows it.</summary>
internal sealed record ConditionRow(string Type, string Status, string Reason, string Message, string Since);

/// <summary>What the page shows of a Node.</summary>
/// <param name="Ready">The status of the condition Ready: True, False or Unknown; empty when it has none.</param>
/// <param name="Labels">Those worth grouping by: without the node's own name.</param>
internal sealed record NodeRow(
    string Name, string Ready, string Reason, string Group, string Version, string Runtime, string Address, string Platform, string Created, string Cpu, string Memory, bool IsCordoned,
    IReadOnlyList<ConditionRow> Conditions, IReadOnlyList<KeyValuePair<string, string>> Labels)
{
    public bool IsSame(NodeRow other)
        => this with { Conditions = [], Labels = [] } == other with { Conditions = [], Labels = [] } && Conditions.SequenceEqual(other.Conditions) && Labels.SequenceEqual(other.Labels);

    public static NodeRow Of(JsonObject node)
    {
        var ready = node.Items("status", "conditions").FirstOrDefault(one => one.Text("type") == "Ready");
        return new NodeRow(
            node.Name(), ready.Text("status"), ready.Text("reason"), node.Label(ServicePlacement.GroupLabel) ?? "", node.Text("status", "nodeInfo", "kubeletVersion"),
            node.Text("status", "nodeInfo", "containerRuntimeVersion"),
            node.Items("status", "addresses").FirstOrDefault(one => one.Text("type") == "InternalIP").Text("address"),
            string.Join('/', new[] { node.Text("status", "nodeInfo", "operatingSystem"), node.Text("status", "nodeInfo", "architecture") }.Where(text => text.Length > 0)),
            node.Text("metadata", "creationTimestamp"), node.Text("status", "capacity", "cpu"), node.Text("status", "capacity", "memory"), node.Flag(false, "spec", "unschedulable"),
            [.. node.Items("status", "conditions").Select(one => new ConditionRow(one.Text("type"), one.Text("status"), one.Text("reason"), one.Text("message"), one.Text("lastTransitionTime")))],
            [.. node.Map("metadata", "labels").Where(pair => pair.Value.Length is > 0 and < 64 && pair.Key != "kubernetes.io/hostname").Take(24)]);
    }
}

/// <summary>What the page shows of a Pod. Nothing of its spec but names: environment variables may hold secrets.</summary>
internal sealed record PodRow(string Namespace, string Name, string Node, string Phase, string Reason, int Ready, int Containers, long Restarts, string Ip, string Created)
{
    public static PodRow Of(JsonObject pod)
    {
        var statuses = pod.Items("status", "containerStatuses").ToList();
        var waiting = statuses.Select(one => one.Text("state", "waiting", "reason")).FirstOrDefault(reason => reason.Length > 0) ?? "";
        return new PodRow(
            pod.Namespace(), pod.Name(), pod.Text("spec", "nodeName"), pod.Text("status", "phase") is { Length: > 0 } phase ? phase : "Pending",
            pod.IsDeleting() ? "Terminating" : pod.Text("status", "reason") is { Length: > 0 } reason ? reason : waiting,
            statuses.Count(one => one.Flag(false, "ready")), pod.Items("spec", "containers").Count(), statuses.Sum(one => one.Number(0, "restartCount")), pod.Text("status", "podIP"),
            pod.Text("metadata", "creationTimestamp"));
    }
}

/// <summary>What the page shows of a Device: not its protocol's configuration, which may hold passwords.</summary>
internal sealed record DeviceRow(string Namespace, string Name, string Node, string Model, string Protocol, IReadOnlyDictionary<string, string> Desired, IReadOnlyList<string> Properties)
{
    public static DeviceRow Of(JsonObject device)
    {
        var desired = new Dictionary<string, string>();
        var names = new List<string>();
        foreach (var property in device.Items("spec", "properties"))
        {
            names.Add(property.Text("name"));
            if (property.Text("desired", "value") is { Length: > 0 } value)
                desired[property.Text("name")] = value;
        }

        return new DeviceRow(
            device.Namespace(), device.Name(), device.Text("spec", "nodeName"), device.Text("spec", "deviceModelRef", "name"), device.Text("spec", "protocol", "protocolName"), desired, names);
    }
}

/// <summary>A property as its twin reports it.</summary>
/// <param name="ReportedMs">Unix milliseconds of the reported value; 0 when it was never reported.</param>
/// <param name="Observed">The desired value that the edge has taken over.</param>
internal sealed record TwinRow(string Property, string Reported, long ReportedMs, string Error, string Type, string Observed, long ObservedMs)
{
    public static TwinRow Of(JsonObject twin) => new(
        twin.Text("propertyName"), Value(twin, "reported"), Stamp(twin, "reported"), twin.Text("reported", "metadata", "error"), twin.Text("reported", "metadata", "type"),
        Value(twin, "observedDesired"), Stamp(twin, "observedDesired"));

    private static string Value(JsonObject twin, string side) => twin.Text(side, "value") is { Length: > 4096 } text ? text[..4096] : twin.Text(side, "value");

    private static long Stamp(JsonObject twin, string side)
        => long.TryParse(twin.Text(side, "metadata", "timestamp"), NumberStyles.None, CultureInfo.InvariantCulture, out var stamp) ? stamp : 0;
}

/// <summary>What a DeviceStatus says.</summary>
internal sealed record DeviceStatusRow(string State, string LastOnline, IReadOnlyList<TwinRow> Twins, IReadOnlyList<string> Problems)
{
    public static DeviceStatusRow None { get; } = new("", "", [], []);

    public static DeviceStatusRow Of(JsonObject status) => new(
        status.Text("status", "state"), status.Text("status", "lastOnlineTime"), [.. status.Items("status", "twins").Select(TwinRow.Of)], [.. status.Texts("status", "extensions", "problems")]);
}

/// <summary>An endpoint of a GlobalService and what became of it.</summary>
internal sealed record EndpointRow(string Name, string Addresses, string Node, string State, string Reason, string Location, double? Latitude, double? Longitude);

/// <summary>What the page shows of a GlobalService.</summary>
internal sealed record ServiceRow(string Namespace, string Name, IReadOnlyList<string> Hosts, string Policy, string Ready, string Message, IReadOnlyList<EndpointRow> Endpoints)
{
    public static ServiceRow Of(JsonObject service)
    {
        var found = service.Items("status", "endpoints").Any() ? service.Items("status", "endpoints") : service.Items("spec", "endpoints");
        var ready = service.Items("status", "conditions").FirstOrDefault(one => one.Text("type") == "Ready");
        var policies = new List<string>();
        for (var step = service.At("spec", "policy"); step is not null; step = step.At("then"))
            policies.Add(step.Text("by") is { Length: > 0 } by ? $"{step.Text("type")} by {by}" : step.Text("type"));
        return new ServiceRow(
            service.Namespace(), service.Name(), [.. service.Texts("spec", "hosts")], string.Join(", then ", policies), ready.Text("status"), ready.Text("message"), [.. found.Select(Endpoint)]);
    }

    private static EndpointRow Endpoint(JsonObject one) => new(
        one.Text("name"), one.Text("addresses") is { Length: > 0 } text ? text : string.Join(',', one.Texts("addresses")), one.Text("node"), one.Text("state"), one.Text("reason"),
        string.Join('/', new[] { one.Text("location", "country"), one.Text("location", "region"), one.Text("location", "site") }.Where(part => part.Length > 0)),
        Number(one, "latitude"), Number(one, "longitude"));

    private static double? Number(JsonObject one, string key) => one.At("location", key) is JsonValue value && value.TryNumber(out var number) ? number : null;
}

/// <summary>A Kubernetes Event.</summary>
internal sealed record EventRow(string Uid, string Time, string Type, string Reason, string Kind, string Namespace, string Name, string Message, long Count, string Source)
{
    public static EventRow Of(JsonObject one) => new(
        one.Uid(), First(one.Text("lastTimestamp"), one.Text("eventTime"), one.Text("firstTimestamp"), one.Text("metadata", "creationTimestamp")), one.Text("type"), one.Text("reason"),
        one.Text("involvedObject", "kind"), one.Text("involvedObject", "namespace"), one.Text("involvedObject", "name"),
        one.Text("message") is { Length: > 1024 } text ? text[..1024] : one.Text("message"), one.Number(1, "count"), First(one.Text("source", "component"), one.Text("reportingComponent")));

    private static string First(params ReadOnlySpan<string> texts)
    {
        foreach (var text in texts)
        {
            if (text.Length > 0)
                return text;
        }

        return "";
    }
}
