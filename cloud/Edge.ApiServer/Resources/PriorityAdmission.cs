using System.Globalization;
using System.Text.Json.Nodes;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>Kubernetes' admission plug-in Priority: a pod's priority comes from its PriorityClass, or from the class for all.</summary>
internal static class PriorityAdmission
{
    public const string NodeCritical = "system-node-critical";
    public const string ClusterCritical = "system-cluster-critical";

    private const string Preempts = "PreemptLowerPriority";

    /// <summary>The classes that every cluster has.</summary>
    public static IEnumerable<JsonObject> SystemClasses()
    {
        yield return Make(NodeCritical, 2_000_001_000, "Used for system critical pods that must not be moved from their current node.");
        yield return Make(ClusterCritical, 2_000_000_000, "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.");
    }

    /// <summary>Gives a new pod its priority and preemption policy; refuses a second class for all. Comes before the defaults.</summary>
    /// <exception cref="ApiException">403, in Kubernetes' words.</exception>
    public static void OnCreate(ServedResource resource, JsonObject obj, ObjectStore store)
    {
        if (resource.Kind == ResourceKind.Pod && obj["spec"] is JsonObject spec)
            SetPriority(resource, obj.Name(), spec, store);
        else
            OnUpdate(resource, obj, store);
    }

    /// <summary>Refuses a second class for all.</summary>
    /// <exception cref="ApiException">403, in Kubernetes' words.</exception>
    public static void OnUpdate(ServedResource resource, JsonObject obj, ObjectStore store)
    {
        if (resource.Kind != ResourceKind.PriorityClass || !obj.Flag(false, "globalDefault"))
            return;
        if (Classes(store).FirstOrDefault(known => known.Flag(false, "globalDefault") && known.Name() != obj.Name()) is { } other)
            throw ApiException.Forbidden(resource, obj.Name(), $"PriorityClass {other.Name()} is already marked as default. Only one default can exist");
    }

    private static void SetPriority(ServedResource resource, string pod, JsonObject spec, ObjectStore store)
    {
        var name = spec.Text("priorityClassName");
        if (name.Length == 0 && spec["priorityClassName"] is JsonValue value && !value.TryGetValue<string>(out _))
            return; // of a wrong type: validation says so
        var chosen = name.Length > 0
            ? store.Get(BuiltinResources.PriorityClasses.Id, "", name)?.Parse() ?? throw ApiException.Forbidden(resource, pod, $"no PriorityClass with name {name} was found")
            : Classes(store).Where(known => known.Flag(false, "globalDefault")).MinBy(known => known.Number(0, "value"));
        var priority = chosen.Number(0, "value");
        var policy = chosen.Text("preemptionPolicy") is { Length: > 0 } given ? given : Preempts;
        if (spec["priority"] is not null && spec["priority"].TryWhole(out var asked) && asked != priority)
            throw ApiException.Forbidden(
                resource, pod,
                string.Create(CultureInfo.InvariantCulture, $"the integer value of priority ({asked}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name"));
        if (spec.Text("preemptionPolicy") is { Length: > 0 } wanted && wanted != policy)
            throw ApiException.Forbidden(
                resource, pod,
                $"the string value of PreemptionPolicy ({wanted}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name");
        if (chosen is not null)
            spec["priorityClassName"] = chosen.Name();
        if (spec["priority"] is null)
            spec["priority"] = priority;
        if (spec["preemptionPolicy"] is null)
            spec["preemptionPolicy"] = policy;
    }

    private static IEnumerable<JsonObject> Classes(ObjectStore store) => store.Snapshot(BuiltinResources.PriorityClasses.Id).Items.Select(stored => stored.Parse());

    private static JsonObject Make(string name, long value, string description) => new()
    {
        ["metadata"] = new JsonObject { ["name"] = name },
        ["value"] = value,
        ["description"] = description,
        ["preemptionPolicy"] = Preempts,
    };
}
