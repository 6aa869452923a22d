using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tables;

/// <summary>One column of a built-in table; <paramref name="Priority"/> 1 shows with <c>-o wide</c> only.</summary>
internal sealed record TableColumn(string Name, string Type, int Priority, string Format = "", string Description = "");

/// <summary>The columns and cells of the built-in kinds.</summary>
internal static class BuiltinTables
{
    private const string None = "<none>";

    private static readonly TableColumn s_name = new("Name", "string", 0, "name", "Name must be unique within a namespace.");
    private static readonly TableColumn s_age = Text("Age");

    private static readonly Dictionary<string, (TableColumn[] Columns, Func<JsonObject, DateTimeOffset, JsonNode?[]> Cells)> s_tables = new()
    {
        ["Pod"] = ([s_name, Text("Ready"), Text("Status"), Text("Restarts"), s_age, Wide("IP"), Wide("Node"), Wide("Nominated Node"), Wide("Readiness Gates")], Pod),
        ["Node"] = ([s_name, Text("Status"), Text("Roles"), s_age, Text("Version"), Wide("Internal-IP"), Wide("External-IP"), Wide("OS-Image"), Wide("Kernel-Version"), Wide("Container-Runtime")], Node),
        ["Namespace"] = ([s_name, Text("Status"), s_age], (obj, now) => [obj.Name(), obj.Text("status", "phase"), Age(obj, now)]),
        ["ConfigMap"] = ([s_name, Number("Data"), s_age], (obj, now) => [obj.Name(), Count(obj, "data") + Count(obj, "binaryData"), Age(obj, now)]),
        ["Secret"] = ([s_name, Text("Type"), Number("Data"), s_age], (obj, now) => [obj.Name(), obj.Text("type"), Count(obj, "data"), Age(obj, now)]),
        ["Service"] = ([s_name, Text("Type"), Text("Cluster-IP"), Text("External-IP"), Text("Port(s)"), s_age, Wide("Selector")], Service),
        ["Endpoints"] = ([s_name, Text("Endpoints"), s_age], (obj, now) => [obj.Name(), Addresses(obj), Age(obj, now)]),
        ["EndpointSlice"] = (
            [s_name, Text("AddressType"), Text("Ports"), Text("Endpoints"), s_age],
            (obj, now) => [obj.Name(), obj.Text("addressType"), Shortened(obj.Items("ports").Select(port => $"{port.Number(0, "port")}")), Shortened(obj.Items("endpoints").SelectMany(one => one.Texts("addresses"))), Age(obj, now)]),
        ["Event"] = ([Text("Last Seen"), Text("Type"), Text("Reason"), Text("Object"), Wide("Subobject"), Wide("Source"), Text("Message"), Wide("First Seen"), new("Count", "integer", 1), new("Name", "string", 1, "name")], Event),
        ["Lease"] = ([s_name, Text("Holder"), s_age], (obj, now) => [obj.Name(), obj.Text("spec", "holderIdentity"), Age(obj, now)]),
        ["ServiceAccount"] = ([s_name, Number("Secrets"), s_age], (obj, now) => [obj.Name(), obj.Items("secrets").LongCount(), Age(obj, now)]),
        ["CustomResourceDefinition"] = ([s_name, new("Created At", "date", 0)], (obj, _) => [obj.Name(), obj.Text("metadata", "creationTimestamp")]),
        ["PersistentVolume"] = (StorageTables.VolumeColumns, StorageTables.Volume),
        ["PersistentVolumeClaim"] = (StorageTables.ClaimColumns, StorageTables.Claim),
        ["StorageClass"] = (StorageTables.ClassColumns, StorageTables.Class),
        ["Deployment"] = (WorkloadTables.DeploymentColumns, WorkloadTables.Deployment),
        ["ReplicaSet"] = (WorkloadTables.ReplicaSetColumns, WorkloadTables.ReplicaSet),
        ["DaemonSet"] = (WorkloadTables.DaemonSetColumns, WorkloadTables.DaemonSet),
        ["StatefulSet"] = (WorkloadTables.StatefulSetColumns, WorkloadTables.StatefulSet),
        ["ControllerRevision"] = (WorkloadTables.RevisionColumns, WorkloadTables.Revision),
        ["Job"] = (WorkloadTables.JobColumns, WorkloadTables.Job),
        ["CronJob"] = (WorkloadTables.CronJobColumns, WorkloadTables.CronJob),
        ["PriorityClass"] = (
            [s_name, Text("Value"), Text("Global-Default"), s_age, Text("PreemptionPolicy")],
            (obj, now) => [obj.Name(), obj.Number(0, "value"), obj.Flag(false, "globalDefault"), Age(obj, now), obj.Text("preemptionPolicy")]),
        ["RuntimeClass"] = ([s_name, Text("Handler"), s_age], (obj, now) => [obj.Name(), obj.Text("handler"), Age(obj, now)]),
        ["PodDisruptionBudget"] = (WorkloadTables.BudgetColumns, WorkloadTables.Budget),
        ["Role"] = (AccessTables.CreatedColumns, AccessTables.Created),
        ["ClusterRole"] = (AccessTables.CreatedColumns, AccessTables.Created),
        ["RoleBinding"] = (AccessTables.BindingColumns, AccessTables.Binding),
        ["ClusterRoleBinding"] = (AccessTables.BindingColumns, AccessTables.Binding),
        ["CertificateSigningRequest"] = (AccessTables.SigningColumns, AccessTables.Signing),
        ["ResourceQuota"] = (AccessTables.QuotaColumns, AccessTables.Quota),
        ["LimitRange"] = (AccessTables.CreatedColumns, AccessTables.Created),
    };

    /// <summary>Null for kinds that are not built in.</summary>
    public static (TableColumn[] Columns, Func<JsonObject, DateTimeOffset, JsonNode?[]> Cells)? Of(ResourceKind kind)
        => kind.Group is "" or "coordination.k8s.io" or "apiextensions.k8s.io" or "storage.k8s.io" or "discovery.k8s.io" or "apps" or "batch" or "policy" or "scheduling.k8s.io" or "node.k8s.io" or "rbac.authorization.k8s.io" or "certificates.k8s.io" && s_tables.TryGetValue(kind.Kind, out var table) ? table : null;

    private static JsonNode?[] Pod(JsonObject pod, DateTimeOffset now)
    {
        var status = PodStatus.Of(pod, now);
        var gates = pod["spec"].Items("readinessGates").Select(gate => gate.Text("conditionType")).ToList();
        var passed = gates.Count(gate => pod["status"].Items("conditions").Any(condition => condition.Text("type") == gate && condition.Text("status") == "True"));
        return
        [
            pod.Name(), status.Ready, status.Reason, status.Restarts, Age(pod, now),
            Or(pod["status"].Items("podIPs").Select(ip => ip.Text("ip")).FirstOrDefault() is { Length: > 0 } first ? first : pod.Text("status", "podIP")),
            Or(pod.Text("spec", "nodeName")), Or(pod.Text("status", "nominatedNodeName")), gates.Count == 0 ? None : $"{passed}/{gates.Count}",
        ];
    }

    private static JsonNode?[] Node(JsonObject node, DateTimeOffset now)
    {
        var ready = node["status"].Items("conditions").FirstOrDefault(condition => condition.Text("type") == "Ready");
        var status = ready is null ? "Unknown" : ready.Text("status") == "True" ? "Ready" : "NotReady";
        if (node["spec"].Flag(false, "unschedulable"))
            status += ",SchedulingDisabled";
        var roles = node["metadata"].Map("labels")
            .Select(label => label.Key.StartsWith("node-role.kubernetes.io/", StringComparison.Ordinal) ? label.Key["node-role.kubernetes.io/".Length..] : label.Key == "kubernetes.io/role" ? label.Value : "")
            .Where(role => role.Length > 0).Distinct().Order(StringComparer.Ordinal);
        var info = node.At("status", "nodeInfo");
        return
        [
            node.Name(), status, Or(string.Join(",", roles)), Age(node, now), info.Text("kubeletVersion"), Or(Address("InternalIP")), Or(Address("ExternalIP")),
            Unknown(info.Text("osImage")), Unknown(info.Text("kernelVersion")), Unknown(info.Text("containerRuntimeVersion")),
        ];

        string Address(string type) => node["status"].Items("addresses").Where(address => address.Text("type") == type).Select(address => address.Text("address")).FirstOrDefault() ?? "";
    }

    private static JsonNode?[] Service(JsonObject service, DateTimeOffset now)
    {
        var spec = service["spec"];
        var ports = spec.Items("ports").Select(port => port.Number(0, "nodePort") is > 0 and var node
            ? $"{port.Number(0, "port")}:{node}/{port.Text("protocol")}"
            : $"{port.Number(0, "port")}/{port.Text("protocol")}");
        return
        [
            service.Name(), spec.Text("type"), Or(spec.Text("clusterIP")), External(service), Or(string.Join(",", ports)), Age(service, now),
            Or(string.Join(",", spec.Map("selector").OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}={pair.Value}"))),
        ];
    }

    private static string External(JsonObject service)
    {
        var spec = service["spec"];
        if (spec.Text("type") == "ExternalName")
            return spec.Text("externalName");
        var addresses = spec.Texts("externalIPs").ToList();
        if (spec.Text("type") == "LoadBalancer")
        {
            var ingress = service["status"].Items("loadBalancer", "ingress").Select(entry => entry.Text("ip") is { Length: > 0 } ip ? ip : entry.Text("hostname")).ToList();
            addresses = [.. ingress, .. addresses];
            return addresses.Count == 0 ? "<pending>" : string.Join(",", addresses);
        }

        return Or(string.Join(",", addresses));
    }

    private static string Addresses(JsonObject endpoints)
    {
        const int Shown = 3;
        var all = endpoints.Items("subsets").SelectMany(subset => subset.Items("ports").Any()
            ? subset.Items("ports").SelectMany(port => subset.Items("addresses").Select(address => $"{(address.Text("ip").Contains(':', StringComparison.Ordinal) ? $"[{address.Text("ip")}]" : address.Text("ip"))}:{port.Number(0, "port")}"))
            : subset.Items("addresses").Select(address => address.Text("ip"))).ToList();
        var text = Or(string.Join(",", all.Take(Shown)));
        return all.Count > Shown ? $"{text} + {all.Count - Shown} more..." : text;
    }

    private static string Shortened(IEnumerable<string> texts)
    {
        const int Shown = 3;
        var all = texts.ToList();
        return all.Count == 0 ? "<unset>" : string.Join(",", all.Take(Shown)) + (all.Count > Shown ? $" + {all.Count - Shown} more..." : "");
    }

    private static JsonNode?[] Event(JsonObject obj, DateTimeOffset now)
    {
        var first = obj.Text("firstTimestamp") is { Length: > 0 } time ? time : obj.Text("eventTime");
        var last = obj.Text("series", "lastObservedTime") is { Length: > 0 } observed ? observed : obj.Text("lastTimestamp") is { Length: > 0 } seen ? seen : first;
        var count = obj["series"] is JsonObject ? obj.Number(0, "series", "count") : Math.Max(1, obj.Number(1, "count"));
        var involved = obj["involvedObject"];
        var (component, host) = (obj.Text("source", "component"), obj.Text("source", "host"));
        if (component.Length == 0)
            (component, host) = (obj.Text("reportingComponent"), obj.Text("reportingInstance"));
        return
        [
            HumanDuration.Since(last, now), obj.Text("type"), obj.Text("reason"),
            $"{involved.Text("kind").ToLowerInvariant()}/{involved.Text("name")}", involved.Text("fieldPath"),
            host.Length == 0 ? component : $"{component}, {host}", obj.Text("message").Trim(), HumanDuration.Since(first, now), count, obj.Name(),
        ];
    }

    private static string Age(JsonObject obj, DateTimeOffset now) => HumanDuration.Since(obj.Text("metadata", "creationTimestamp"), now);

    private static long Count(JsonObject obj, string key) => obj[key] is JsonObject map ? map.Count : 0;

    private static string Or(string text) => text.Length == 0 ? None : text;

    private static string Unknown(string text) => text.Length == 0 ? "<unknown>" : text;

    private static TableColumn Text(string name) => new(name, "string", 0);

    private static TableColumn Wide(string name) => new(name, "string", 1);

    private static TableColumn Number(string name) => new(name, "integer", 0);
}
