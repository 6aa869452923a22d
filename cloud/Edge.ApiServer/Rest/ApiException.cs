using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Validation;

namespace Edge.ApiServer.Rest;

/// <summary>A request that fails; answered as a metav1.Status with the texts that Kubernetes uses, since kubectl prints them.</summary>
internal sealed class ApiException(int code, string reason, string message, JsonObject? details = null) : Exception(message)
{
    public int Code { get; } = code;

    public string Reason { get; } = reason;

    public JsonObject ToStatus()
    {
        var status = new JsonObject
        {
            ["kind"] = "Status",
            ["apiVersion"] = "v1",
            ["metadata"] = new JsonObject(),
            ["status"] = "Failure",
            ["message"] = Message,
        };
        if (Reason.Length > 0)
            status["reason"] = Reason;
        if (details is not null)
            status["details"] = details.DeepClone();
        status["code"] = Code;
        return status;
    }

    public static ApiException NotFound(ServedResource resource, string name)
        => new(404, "NotFound", $"{resource.Qualified} \"{name}\" not found", Details(resource, name));

    public static ApiException NamespaceNotFound(string name)
        => new(404, "NotFound", $"namespaces \"{name}\" not found", new JsonObject { ["name"] = name, ["kind"] = "namespaces" });

    public static ApiException NoSuchResource() => new(404, "NotFound", "the server could not find the requested resource", []);

    public static ApiException AlreadyExists(ServedResource resource, string name)
        => new(409, "AlreadyExists", $"{resource.Qualified} \"{name}\" already exists", Details(resource, name));

    public static ApiException Conflict(ServedResource resource, string name, string why)
        => new(409, "Conflict", $"Operation cannot be fulfilled on {resource.Qualified} \"{name}\": {why}", Details(resource, name));

    public static ApiException Modified(ServedResource resource, string name)
        => Conflict(resource, name, "the object has been modified; please apply your changes to the latest version and try again");

    public static ApiException Forbidden(ServedResource resource, string name, string why, JsonArray? causes = null)
    {
        var details = Details(resource, name);
        if (causes is not null)
            details["causes"] = causes;
        return new ApiException(403, "Forbidden", $"{resource.Qualified}{(name.Length > 0 ? $" \"{name}\"" : "")} is forbidden: {why}", details);
    }

    public static ApiException BadRequest(string message) => new(400, "BadRequest", message);

    public static ApiException MethodNotAllowed() => new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", []);

    public static ApiException Expired(string message) => new(410, "Expired", message);

    public static ApiException UnsupportedMediaType(string accepted)
        => new(415, "UnsupportedMediaType", $"the body of the request was in an unknown format - accepted media types include: {accepted}");

    public static ApiException TooLarge(int bytesMax) => new(413, "RequestEntityTooLarge", $"Request entity too large: limit is {bytesMax}");

    public static ApiException Invalid(ServedResource resource, string name, IReadOnlyList<FieldError> errors)
    {
        var text = errors.Count == 1 ? errors[0].ToString() : $"[{string.Join(", ", errors)}]";
        var kind = resource.Kind.Group.Length == 0 ? resource.Kind.Kind : $"{resource.Kind.Kind}.{resource.Kind.Group}";
        var details = Details(resource, name);
        details["kind"] = resource.Kind.Kind;
        details["causes"] = new JsonArray([.. errors.Select(e => new JsonObject { ["reason"] = e.Type, ["message"] = e.Detail, ["field"] = e.Field })]);
        return new ApiException(422, "Invalid", $"{kind} \"{name}\" is invalid: {text}", details);
    }

    private static JsonObject Details(ServedResource resource, string name)
    {
        var details = new JsonObject();
        if (name.Length > 0)
            details["name"] = name;
        if (resource.Kind.Group.Length > 0)
            details["group"] = resource.Kind.Group;
        details["kind"] = resource.Kind.Plural;
        return details;
    }
}
