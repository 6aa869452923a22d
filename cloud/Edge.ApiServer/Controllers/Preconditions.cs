using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers;

/// <summary>metav1.DeleteOptions that delete this very object and not one made anew under its name.</summary>
internal static class Preconditions
{
    public static JsonObject Uid(JsonObject obj, string? propagation = null, int? graceSeconds = null)
    {
        var options = new JsonObject
        {
            ["apiVersion"] = "v1",
            ["kind"] = "DeleteOptions",
            ["preconditions"] = new JsonObject { ["uid"] = obj.Uid() },
        };
        if (propagation is not null)
            options["propagationPolicy"] = propagation;
        if (graceSeconds is { } grace)
            options["gracePeriodSeconds"] = grace;
        return options;
    }
}
