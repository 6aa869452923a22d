using System.Text.Json.Nodes;
using Edge.ApiServer.Schema;
using Edge.Kubernetes;

namespace Edge.ApiServer.Crd;

/// <summary>The status that the server gives a CustomResourceDefinition. Pure.</summary>
internal static class CrdStatus
{
    /// <summary>Holds a definition until its objects are gone.</summary>
    public const string Finalizer = "customresourcecleanup.apiextensions.k8s.io";

    /// <summary>Sets accepted names, stored versions and the conditions NamesAccepted and Established.</summary>
    /// <param name="conflict">The resource that already has one of the names, or null.</param>
    public static void Set(JsonObject crd, CustomResource definition, string? conflict, DateTimeOffset now)
    {
        var status = crd.Child("status");
        var accepted = conflict is null;
        if (accepted)
            status["acceptedNames"] = new JsonObject
            {
                ["plural"] = definition.Plural,
                ["singular"] = definition.Singular,
                ["kind"] = definition.Kind,
                ["listKind"] = definition.ListKind,
            };
        else if (status["acceptedNames"] is null)
            status["acceptedNames"] = new JsonObject { ["plural"] = "", ["kind"] = "" };
        if (accepted && definition.ShortNames.Count > 0)
            status.Child("acceptedNames")["shortNames"] = new JsonArray([.. definition.ShortNames.Select(n => JsonValue.Create(n))]);
        if (accepted && definition.Categories.Count > 0)
            status.Child("acceptedNames")["categories"] = new JsonArray([.. definition.Categories.Select(n => JsonValue.Create(n))]);
        var stored = status.Texts("storedVersions").Append(definition.Versions.First(v => v.Storage).Name).Distinct(StringComparer.Ordinal);
        status["storedVersions"] = new JsonArray([.. stored.Select(v => JsonValue.Create(v))]);
        SetCondition(status, "NamesAccepted", accepted, accepted ? "NoConflicts" : "NameConflict", accepted ? "no conflicts found" : $"a name is already in use by {conflict}", now);
        var wasEstablished = status.Items("conditions").Any(c => c.Text("type") == "Established" && c.Text("status") == "True");
        if (accepted || !wasEstablished)
            SetCondition(status, "Established", accepted, accepted ? "InitialNamesAccepted" : "NotAccepted", accepted ? "the initial names have been accepted" : "not all names are accepted", now);
    }

    public static void SetTerminating(JsonObject crd, DateTimeOffset now)
        => SetCondition(crd.Child("status"), "Terminating", true, "InstanceDeletionInProgress", "CustomResource deletion is in progress", now);

    private static void SetCondition(JsonObject status, string type, bool value, string reason, string message, DateTimeOffset now)
    {
        if (status["conditions"] is not JsonArray conditions)
            status["conditions"] = conditions = [];
        var text = value ? "True" : "False";
        var condition = conditions.OfType<JsonObject>().FirstOrDefault(c => c.Text("type") == type);
        if (condition is null)
            conditions.Add((JsonNode)(condition = new JsonObject { ["type"] = type }));
        if (condition.Text("status") != text)
            condition["lastTransitionTime"] = KubeObject.Time(now);
        condition["status"] = text;
        condition["reason"] = reason;
        condition["message"] = message;
    }
}
