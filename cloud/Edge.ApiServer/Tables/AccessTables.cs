using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tables;

/// <summary>The columns and cells of roles, bindings, signing requests and quotas (k8s.io/kubernetes/pkg/printers/internalversion).</summary>
internal static class AccessTables
{
    private static readonly TableColumn s_name = new("Name", "string", 0, "name", "Name must be unique within a namespace.");

    public static TableColumn[] CreatedColumns { get; } = [s_name, new("Created At", "date", 0)];

    public static TableColumn[] BindingColumns { get; } = [s_name, Text("Role"), Text("Age"), Wide("Users"), Wide("Groups"), Wide("ServiceAccounts")];

    public static TableColumn[] SigningColumns { get; } = [s_name, Text("Age"), Text("SignerName"), Text("Requestor"), Text("RequestedDuration"), Text("Condition")];

    public static TableColumn[] QuotaColumns { get; } = [s_name, Text("Age"), Text("Request"), Text("Limit")];

    public static JsonNode?[] Created(JsonObject obj, DateTimeOffset now) => [obj.Name(), obj.Text("metadata", "creationTimestamp")];

    public static JsonNode?[] Binding(JsonObject obj, DateTimeOffset now)
        => [obj.Name(), $"{obj.Text("roleRef", "kind")}/{obj.Text("roleRef", "name")}", Age(obj, now), Subjects(obj, "User"), Subjects(obj, "Group"), Subjects(obj, "ServiceAccount")];

    public static JsonNode?[] Signing(JsonObject obj, DateTimeOffset now)
    {
        var seconds = obj.Number(0, "spec", "expirationSeconds");
        return [obj.Name(), Age(obj, now), obj.Text("spec", "signerName"), obj.Text("spec", "username"), seconds > 0 ? HumanDuration.Format(TimeSpan.FromSeconds(seconds)) : "<none>", Condition(obj)];
    }

    public static JsonNode?[] Quota(JsonObject obj, DateTimeOffset now)
    {
        var hard = obj.At("status", "hard") as JsonObject ?? obj.At("spec", "hard") as JsonObject ?? [];
        var entries = hard.OrderBy(pair => pair.Key, StringComparer.Ordinal)
            .Select(pair => (pair.Key, Text: $"{pair.Key}: {Plain(obj.At("status", "used", pair.Key))}/{Plain(pair.Value)}")).ToList();
        return
        [
            obj.Name(), Age(obj, now), string.Join(", ", entries.Where(entry => !IsLimit(entry.Key)).Select(entry => entry.Text)),
            string.Join(", ", entries.Where(entry => IsLimit(entry.Key)).Select(entry => entry.Text)),
        ];
    }

    private static string Condition(JsonObject obj)
    {
        var types = obj.Items("status", "conditions").Select(condition => condition.Text("type")).ToList();
        var text = types.Contains("Denied") ? "Denied" : types.Contains("Approved") ? "Approved" : "Pending";
        if (types.Contains("Failed"))
            text += ",Failed";
        return obj.Text("status", "certificate").Length > 0 ? text + ",Issued" : text;
    }

    private static string Subjects(JsonObject binding, string kind)
        => string.Join(", ", binding.Items("subjects").Where(subject => subject.Text("kind") == kind)
            .Select(subject => kind == "ServiceAccount" ? $"{subject.Text("namespace")}/{subject.Text("name")}" : subject.Text("name")));

    private static bool IsLimit(string resource) => resource.StartsWith("limits.", StringComparison.Ordinal);

    private static string Plain(JsonNode? quantity) => quantity is JsonValue value ? value.TryGetValue<string>(out var text) ? text : value.ToJsonString() : "0";

    private static string Age(JsonObject obj, DateTimeOffset now) => HumanDuration.Since(obj.Text("metadata", "creationTimestamp"), now);

    private static TableColumn Text(string name) => new(name, "string", 0);

    private static TableColumn Wide(string name) => new(name, "string", 1);
}
