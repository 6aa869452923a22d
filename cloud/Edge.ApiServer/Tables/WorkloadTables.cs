using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tables;

/// <summary>The columns and cells of apps/v1, batch/v1 and policy/v1 (k8s.io/kubernetes/pkg/printers/internalversion).</summary>
internal static class WorkloadTables
{
    private static readonly TableColumn s_name = new("Name", "string", 0, "name", "Name must be unique within a namespace.");
    private static readonly TableColumn[] s_containers = [Wide("Containers"), Wide("Images")];

    public static TableColumn[] DeploymentColumns { get; } = [s_name, Text("Ready"), Text("Up-to-date"), Text("Available"), Text("Age"), .. s_containers, Wide("Selector")];

    public static TableColumn[] ReplicaSetColumns { get; } = [s_name, Number("Desired"), Number("Current"), Number("Ready"), Text("Age"), .. s_containers, Wide("Selector")];

    public static TableColumn[] DaemonSetColumns { get; } =
        [s_name, Number("Desired"), Number("Current"), Number("Ready"), Number("Up-to-date"), Number("Available"), Text("Node Selector"), Text("Age"), .. s_containers, Wide("Selector")];

    public static TableColumn[] StatefulSetColumns { get; } = [s_name, Text("Ready"), Text("Age"), .. s_containers];

    public static TableColumn[] RevisionColumns { get; } = [s_name, Text("Controller"), Text("Revision"), Text("Age")];

    public static TableColumn[] JobColumns { get; } = [s_name, Text("Status"), Text("Completions"), Text("Duration"), Text("Age"), .. s_containers, Wide("Selector")];

    public static TableColumn[] CronJobColumns { get; } =
        [s_name, Text("Schedule"), Text("Timezone"), new("Suspend", "boolean", 0), Number("Active"), Text("Last Schedule"), Text("Age"), .. s_containers, Wide("Selector")];

    public static TableColumn[] BudgetColumns { get; } = [s_name, Text("Min Available"), Text("Max Unavailable"), Number("Allowed Disruptions"), Text("Age")];

    public static JsonNode?[] Deployment(JsonObject obj, DateTimeOffset now) =>
    [
        obj.Name(), $"{Status(obj, "readyReplicas")}/{obj.Number(0, "spec", "replicas")}", $"{Status(obj, "updatedReplicas")}", $"{Status(obj, "availableReplicas")}", Age(obj, now),
        .. Containers(obj.At("spec", "template")), Selector(obj.At("spec", "selector")),
    ];

    public static JsonNode?[] ReplicaSet(JsonObject obj, DateTimeOffset now) =>
    [
        obj.Name(), obj.Number(0, "spec", "replicas"), Status(obj, "replicas"), Status(obj, "readyReplicas"), Age(obj, now), .. Containers(obj.At("spec", "template")), Selector(obj.At("spec", "selector")),
    ];

    public static JsonNode?[] DaemonSet(JsonObject obj, DateTimeOffset now) =>
    [
        obj.Name(), Status(obj, "desiredNumberScheduled"), Status(obj, "currentNumberScheduled"), Status(obj, "numberReady"), Status(obj, "updatedNumberScheduled"), Status(obj, "numberAvailable"),
        Or(string.Join(",", obj.Map("spec", "template", "spec", "nodeSelector").OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}={pair.Value}"))),
        Age(obj, now), .. Containers(obj.At("spec", "template")), Selector(obj.At("spec", "selector")),
    ];

    public static JsonNode?[] StatefulSet(JsonObject obj, DateTimeOffset now)
        => [obj.Name(), $"{Status(obj, "readyReplicas")}/{obj.Number(0, "spec", "replicas")}", Age(obj, now), .. Containers(obj.At("spec", "template"))];

    public static JsonNode?[] Revision(JsonObject obj, DateTimeOffset now)
    {
        var owner = obj.Items("metadata", "ownerReferences").FirstOrDefault(reference => reference.Flag(false, "controller"));
        var group = owner.ApiVersionGroup();
        return [obj.Name(), owner is null ? "<none>" : $"{owner.Kind().ToLowerInvariant()}{(group.Length > 0 ? "." + group : "")}/{owner.Text("name")}", obj.Number(0, "revision").ToString(CultureInfo.InvariantCulture), Age(obj, now)];
    }

    public static JsonNode?[] Job(JsonObject obj, DateTimeOffset now)
    {
        var (completions, parallelism) = (obj.At("spec", "completions"), obj.Number(0, "spec", "parallelism"));
        var succeeded = Status(obj, "succeeded");
        var done = completions is not null ? $"{succeeded}/{obj.Number(0, "spec", "completions")}" : parallelism > 1 ? $"{succeeded}/1 of {parallelism}" : $"{succeeded}/1";
        var start = obj.Text("status", "startTime");
        var end = obj.Text("status", "completionTime");
        var duration = start.Length == 0 ? ""
            : HumanDuration.Since(start, end.Length > 0 && DateTimeOffset.TryParse(end, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var ended) ? ended : now);
        string Has(string type) => obj.Items("status", "conditions").FirstOrDefault(condition => condition.Text("type") == type).Text("status");
        var status = Has("Complete") == "True" ? "Complete"
            : Has("Failed") == "True" ? "Failed"
            : obj.IsDeleting() ? "Terminating"
            : Has("Suspended") == "True" ? "Suspended"
            : Has("FailureTarget") == "True" ? "FailureTarget"
            : Has("SuccessCriteriaMet") == "True" ? "SuccessCriteriaMet" : "Running";
        return [obj.Name(), status, done, duration, Age(obj, now), .. Containers(obj.At("spec", "template")), Selector(obj.At("spec", "selector"))];
    }

    public static JsonNode?[] CronJob(JsonObject obj, DateTimeOffset now) =>
    [
        obj.Name(), obj.Text("spec", "schedule"), Or(obj.Text("spec", "timeZone")), obj.Flag(false, "spec", "suspend") ? "True" : "False", obj.Items("status", "active").LongCount(),
        obj.Text("status", "lastScheduleTime") is { Length: > 0 } last ? HumanDuration.Since(last, now) : "<none>", Age(obj, now),
        .. Containers(obj.At("spec", "jobTemplate", "spec", "template")), Selector(obj.At("spec", "jobTemplate", "spec", "selector")),
    ];

    public static JsonNode?[] Budget(JsonObject obj, DateTimeOffset now)
        => [obj.Name(), IntOrText(obj.At("spec", "minAvailable")), IntOrText(obj.At("spec", "maxUnavailable")), Status(obj, "disruptionsAllowed"), Age(obj, now)];

    /// <summary>A metav1.LabelSelector as text, e.g. <c>app=web,tier in (a,b)</c>; <c>&lt;none&gt;</c> when there is none.</summary>
    public static string Selector(JsonNode? selector)
    {
        var parts = selector.Map("matchLabels").OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}={pair.Value}")
            .Concat(selector.Items("matchExpressions").Select(expression => expression.Text("operator") switch
            {
                "In" => $"{expression.Text("key")} in ({string.Join(",", expression.Texts("values"))})",
                "NotIn" => $"{expression.Text("key")} notin ({string.Join(",", expression.Texts("values"))})",
                "DoesNotExist" => $"!{expression.Text("key")}",
                _ => expression.Text("key"),
            }));
        return Or(string.Join(",", parts));
    }

    private static string ApiVersionGroup(this JsonObject? reference)
        => reference.Text("apiVersion") is var version && version.IndexOf('/', StringComparison.Ordinal) is > 0 and var slash ? version[..slash] : "";

    private static JsonNode?[] Containers(JsonNode? template)
        => [string.Join(",", template.Items("spec", "containers").Select(container => container.Text("name"))), string.Join(",", template.Items("spec", "containers").Select(container => container.Text("image")))];

    private static string IntOrText(JsonNode? node) => node is null ? "N/A" : node.TryWhole(out var number) ? number.ToString(CultureInfo.InvariantCulture) : node.Text();

    private static long Status(JsonObject obj, string field) => obj.Number(0, "status", field);

    private static string Age(JsonObject obj, DateTimeOffset now) => HumanDuration.Since(obj.Text("metadata", "creationTimestamp"), now);

    private static string Or(string text) => text.Length == 0 ? "<none>" : text;

    private static TableColumn Text(string name) => new(name, "string", 0);

    private static TableColumn Wide(string name) => new(name, "string", 1);

    private static TableColumn Number(string name) => new(name, "integer", 0);
}
