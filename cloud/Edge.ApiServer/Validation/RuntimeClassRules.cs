using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>The rules of node.k8s.io/v1 RuntimeClass.</summary>
internal static class RuntimeClassRules
{
    public static void Check(JsonObject runtimeClass, JsonObject? old, List<FieldError> errors)
    {
        var handler = runtimeClass.Text("handler");
        if (old is not null && handler != old.Text("handler"))
            errors.Add(Errors.Invalid("handler", handler, "field is immutable"));
        if (Names.DnsLabel(handler) is { } fault)
            errors.Add(Errors.Invalid("handler", handler, fault));
        foreach (var (name, amount) in runtimeClass.At("overhead", "podFixed") as JsonObject ?? [])
        {
            if (name is not ("cpu" or "memory" or "ephemeral-storage") && !name.StartsWith("hugepages-", StringComparison.Ordinal) && !name.Contains('/', StringComparison.Ordinal))
                errors.Add(Errors.NotSupported("overhead.podFixed", name, "cpu", "ephemeral-storage", "memory"));
            if (Quantity.TryParse(amount, out var value) && value < 0)
                errors.Add(Errors.Invalid($"overhead.podFixed[{name}]", amount, "must be greater than or equal to 0"));
        }

        if (runtimeClass.At("scheduling", "nodeSelector") is JsonObject selector)
            Names.Labels(selector, "scheduling.nodeSelector", errors);
        if (runtimeClass["scheduling"] is JsonObject scheduling)
            PodRules.CheckTolerations(scheduling, "scheduling", errors);
    }
}
