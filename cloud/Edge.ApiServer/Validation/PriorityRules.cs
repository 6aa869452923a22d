using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>The rules of scheduling.k8s.io/v1 PriorityClass.</summary>
internal static class PriorityRules
{
    private const long UserValueMax = 1_000_000_000;
    private const string SystemPrefix = "system-";

    public static void Check(JsonObject priorityClass, JsonObject? old, List<FieldError> errors)
    {
        var (name, value) = (priorityClass.Name(), priorityClass.Number(0, "value"));
        if (old is not null)
        {
            if (value != old.Number(0, "value"))
                errors.Add(Errors.Forbidden("value", "may not be changed in an update."));
            if (priorityClass.Text("preemptionPolicy") != old.Text("preemptionPolicy"))
                errors.Add(Errors.Invalid("preemptionPolicy", priorityClass.Text("preemptionPolicy"), "field is immutable"));
        }
        else if (name.StartsWith(SystemPrefix, StringComparison.Ordinal))
        {
            if (!PriorityAdmission.SystemClasses().Any(known => known.Name() == name && known.Number(0, "value") == value && !priorityClass.Flag(false, "globalDefault")))
                errors.Add(Errors.Forbidden("metadata.name", $"priority class names with '{SystemPrefix}' prefix are reserved for system use only"));
        }
        else if (value > UserValueMax)
        {
            errors.Add(Errors.Forbidden("value", $"maximum allowed value of a user defined priority is {UserValueMax}"));
        }

        if (value is < int.MinValue or > int.MaxValue)
            errors.Add(Errors.Invalid("value", priorityClass["value"], "must be a 32-bit number"));
        if (priorityClass.Text("preemptionPolicy") is not ("PreemptLowerPriority" or "Never") and var policy)
            errors.Add(Errors.NotSupported("preemptionPolicy", policy, "PreemptLowerPriority", "Never"));
    }
}
