using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>What happens to fields that the kind does not know.</summary>
internal enum FieldValidation
{
    Ignore,
    Warn,
    Strict,
}

/// <summary>How a write was asked for; <see cref="Warnings"/> collects what the client is told beside the answer.</summary>
internal sealed record WriteOptions(bool DryRun = false, FieldValidation FieldValidation = FieldValidation.Warn)
{
    /// <summary>Who writes, for metadata.managedFields.</summary>
    public string FieldManager { get; init; } = "unknown";

    /// <summary>A server-side apply: the written object brings its managedFields.</summary>
    public bool IsApply { get; init; }

    /// <summary>Who asked; null is the server itself, which may do everything.</summary>
    public Auth.UserIdentity? User { get; init; }

    public List<string> Warnings { get; } = [];
}

/// <summary>The parts of metav1.DeleteOptions that are served.</summary>
internal sealed record DeleteOptions
{
    public long? GracePeriodSeconds { get; init; }

    public string PropagationPolicy { get; init; } = "";

    public string PreconditionUid { get; init; } = "";

    public string PreconditionVersion { get; init; } = "";

    public bool DryRun { get; init; }

    public static DeleteOptions FromJson(JsonObject? body) => body is null ? new DeleteOptions() : new DeleteOptions
    {
        GracePeriodSeconds = body["gracePeriodSeconds"] is null ? null : body.Number(0, "gracePeriodSeconds"),
        PropagationPolicy = body.Text("propagationPolicy") is { Length: > 0 } policy ? policy : body.Flag(false, "orphanDependents") ? "Orphan" : "",
        PreconditionUid = body.Text("preconditions", "uid"),
        PreconditionVersion = body.Text("preconditions", "resourceVersion"),
        DryRun = body.Texts("dryRun").Any(),
    };
}
