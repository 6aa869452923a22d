using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Core.MetaManager.MetaServer;

/// <summary>meta.k8s.io/v1 Tables of what the node holds, for kubectl get. Pure.</summary>
internal static class NodeTables
{
    private sealed record Column(string Name, bool IsWide, Func<JsonObject, string> Cell);

    public static JsonObject Build(ResourceKind kind, IEnumerable<JsonObject> objects, string version, string includeObject, DateTimeOffset now)
    {
        var columns = Columns(kind);
        var rows = new JsonArray();
        foreach (var obj in objects)
        {
            var cells = new JsonArray(obj.Name());
            foreach (var column in columns)
                cells.Add((JsonNode)column.Cell(obj));
            cells.Insert(AgeAt(columns) + 1, (JsonNode)Age(obj, now));
            var row = new JsonObject { ["cells"] = cells };
            if (includeObject == "Object")
                row["object"] = obj.DeepClone();
            else if (includeObject != "None")
                row["object"] = new JsonObject { ["kind"] = "PartialObjectMetadata", ["apiVersion"] = "meta.k8s.io/v1", ["metadata"] = obj["metadata"]?.DeepClone() };
            rows.Add((JsonNode)row);
        }

        var definitions = columns.Select(column => Definition(column.Name, column.IsWide, "")).ToList();
        definitions.Insert(AgeAt(columns), Definition("Age", false, ""));
        return new JsonObject
        {
            ["kind"] = "Table", ["apiVersion"] = "meta.k8s.io/v1", ["metadata"] = new JsonObject { ["resourceVersion"] = version },
            ["columnDefinitions"] = new JsonArray([Definition("Name", false, "name"), .. definitions]), ["rows"] = rows,
        };
    }

    /// <summary>A time span as kubectl writes ages: <c>45s</c>, <c>12m</c>, <c>5h3m</c>, <c>4d</c>.</summary>
    public static string Human(TimeSpan span)
    {
        var seconds = (long)Math.Max(0, span.TotalSeconds);
        return string.Create(CultureInfo.InvariantCulture, $"{(seconds < 120 ? $"{seconds}s" : seconds < 600 ? Two(seconds, 60, "m", 1, "s") : seconds < 10_800 ? $"{seconds / 60}m" : seconds < 28_800 ? Two(seconds, 3600, "h", 60, "m") : seconds < 172_800 ? $"{seconds / 3600}h" : $"{seconds / 86_400}d")}");
    }

    /// <summary>A pod's STATUS as kubectl shows it.</summary>
    public static string PodReason(JsonObject pod)
    {
        var reason = pod.Text("status", "reason") is { Length: > 0 } said ? said : pod.Text("status", "phase") is { Length: > 0 } phase ? phase : "Pending";
        var containers = pod.Items("status", "containerStatuses").ToList();
        foreach (var init in pod.Items("status", "initContainerStatuses"))
        {
            if (init.Number(0, "state", "terminated", "exitCode") != 0)
                return $"Init:{(init.Text("state", "terminated", "reason") is { Length: > 0 } why ? why : "Error")}";
            if (init.Text("state", "waiting", "reason") is { Length: > 0 } waiting && waiting != "PodInitializing")
                return $"Init:{waiting}";
        }

        foreach (var container in containers)
        {
            if (container.Text("state", "waiting", "reason") is { Length: > 0 } waiting)
                reason = waiting;
            else if (container.At("state", "terminated") is JsonObject ended)
                reason = ended.Text("reason") is { Length: > 0 } why ? why : $"ExitCode:{ended.Number(0, "exitCode")}";
        }

        if (reason == "Completed" && containers.Exists(one => one.At("state", "running") is not null))
            reason = "Running";
        return pod.IsDeleting() ? "Terminating" : reason;
    }

    private static Column[] Columns(ResourceKind kind)
    {
        if (kind == ResourceKind.Pod)
        {
            return
            [
                new("Ready", false, pod => $"{pod.Items("status", "containerStatuses").Count(one => one.Flag(false, "ready"))}/{pod.Items("spec", "containers").Count()}"),
                new("Status", false, PodReason),
                new("Restarts", false, pod => pod.Items("status", "containerStatuses").Sum(one => one.Number(0, "restartCount")).ToString(CultureInfo.InvariantCulture)),
                new("IP", true, pod => Or(pod.Text("status", "podIP"))), new("Node", true, pod => Or(pod.Text("spec", "nodeName"))),
            ];
        }

        if (kind == ResourceKind.Node)
        {
            return
            [
                new("Status", false, node => node.Items("status", "conditions").FirstOrDefault(one => one.Text("type") == "Ready").Text("status") switch { "True" => "Ready", "False" => "NotReady", _ => "Unknown" }),
                new("Version", false, node => Or(node.Text("status", "nodeInfo", "kubeletVersion"))),
                new("Internal-IP", true, node => Or(node.Items("status", "addresses").FirstOrDefault(one => one.Text("type") == "InternalIP").Text("address"))),
            ];
        }

        if (kind == ResourceKind.ConfigMap)
            return [new("Data", false, Count)];
        if (kind == ResourceKind.Secret)
            return [new("Type", false, secret => secret.Text("type")), new("Data", false, Count)];
        if (kind == ResourceKind.Service)
        {
            return
            [
                new("Type", false, service => Or(service.Text("spec", "type"))), new("Cluster-IP", false, service => Or(service.Text("spec", "clusterIP"))),
                new("Port(s)", false, service => Or(string.Join(',', service.Items("spec", "ports").Select(port => $"{port.Number(0, "port")}/{(port.Text("protocol") is { Length: > 0 } named ? named : "TCP")}")))),
            ];
        }

        return kind == ResourceKind.Device ? [new("Node", false, device => Or(device.Text("spec", "nodeName"))), new("Model", false, device => Or(device.Text("spec", "deviceModelRef", "name")))] : [];
    }

    // Before the wide columns, as kubectl has it.
    private static int AgeAt(Column[] columns) => columns.Count(column => !column.IsWide);

    private static JsonObject Definition(string name, bool isWide, string format)
        => new() { ["name"] = name, ["type"] = "string", ["format"] = format, ["description"] = "", ["priority"] = isWide ? 1L : 0L };

    private static string Count(JsonObject obj) => (obj.Map("data").Count() + obj.Map("binaryData").Count()).ToString(CultureInfo.InvariantCulture);

    private static string Or(string text) => text.Length > 0 ? text : "<none>";

    private static string Age(JsonObject obj, DateTimeOffset now)
        => DateTimeOffset.TryParse(obj.Text("metadata", "creationTimestamp"), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var made) ? Human(now - made) : "<unknown>";

    private static string Two(long seconds, long large, string unit, long small, string smallUnit)
        => seconds % large / small == 0 ? $"{seconds / large}{unit}" : $"{seconds / large}{unit}{seconds % large / small}{smallUnit}";
}
