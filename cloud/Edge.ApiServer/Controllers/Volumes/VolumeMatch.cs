using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.Kubernetes;
using Edge.Kubernetes.Scheduling;
using Edge.Kubernetes.Selectors;

namespace Edge.ApiServer.Controllers.Volumes;

/// <summary>Which volume serves a claim, as kube-controller-manager and kube-scheduler choose it (component-helpers storage/volume). Pure.</summary>
internal static class VolumeMatch
{
    /// <summary>Whether the volume is reserved for this claim: by name, and by uid where it says one.</summary>
    public static bool IsReservedFor(JsonObject volume, JsonObject claim)
        => volume.At("spec", "claimRef") is { } reference
            && reference.Text("name") == claim.Name()
            && reference.Text("namespace") == claim.Namespace()
            && (reference.Text("uid").Length == 0 || reference.Text("uid") == claim.Uid());

    /// <summary>Whether the binder has done all it does for the claim: it has its volume for good.</summary>
    public static bool IsBound(JsonObject claim) => claim.Annotation(StorageAnnotations.BindCompleted) is not null;

    /// <summary>Whether the claim gets its volume only when a pod that uses it is scheduled.</summary>
    public static bool IsDelayed(JsonObject claim, Func<string, JsonObject?> findClass)
        => StorageAnnotations.ClassOf(claim) is { Length: > 0 } name && findClass(name).Text("volumeBindingMode") == "WaitForFirstConsumer";

    /// <summary>Why a volume that the claim asks for by name does not serve it; null when it does.</summary>
    public static string? Mismatch(JsonObject volume, JsonObject claim)
        => Capacity(volume) < Asked(claim) ? "requested PV is too small"
            : StorageAnnotations.ClassOf(volume) != StorageAnnotations.ClassOf(claim) ? "storageClassName does not match"
            : Mode(volume) != Mode(claim) ? "incompatible volumeMode"
            : !HasModes(volume, claim) ? "incompatible accessMode"
            : null;

    /// <summary>The volume for an unbound claim: the one reserved for it, or else the smallest of those that fit; null when there is none.</summary>
    /// <param name="claim">Without a volumeName.</param>
    /// <param name="volumes">All volumes.</param>
    /// <param name="taken">Names of volumes that are given away already.</param>
    /// <param name="node">Where the claim's pod is to run; null while no pod is considered.</param>
    /// <param name="isDelayed">Without a node such a claim gets only what is reserved for it.</param>
    public static JsonObject? Find(JsonObject claim, IEnumerable<JsonObject> volumes, IReadOnlySet<string> taken, JsonObject? node, bool isDelayed)
    {
        var asked = Asked(claim);
        var wantedClass = StorageAnnotations.ClassOf(claim);
        var selector = claim.At("spec", "selector") is JsonObject given ? LabelSelector.FromJson(given) : LabelSelector.Everything;
        var fitting = new List<JsonObject>();
        foreach (var volume in volumes)
        {
            var isReserved = IsReservedFor(volume, claim);
            if (taken.Contains(volume.Name()) || (volume.At("spec", "claimRef") is not null && !isReserved))
                continue;
            if (Capacity(volume) < asked || Mode(volume) != Mode(claim) || volume.IsDeleting())
                continue;
            if (isReserved)
                return node is null || IsReachable(volume, node) ? volume : null;
            if ((node is null && isDelayed) || volume.Text("status", "phase") != "Available")
                continue;
            if (StorageAnnotations.ClassOf(volume) == wantedClass && HasModes(volume, claim) && selector.Matches(volume.Map("metadata", "labels")) && (node is null || IsReachable(volume, node)))
                fitting.Add(volume);
        }

        // The binder spares volumes that offer more modes than asked for, the scheduler looks at the size alone.
        return fitting
            .OrderBy(volume => node is null ? volume.Texts("spec", "accessModes").Count() : 0)
            .ThenBy(Capacity)
            .ThenBy(volume => volume.Name(), StringComparer.Ordinal)
            .FirstOrDefault();
    }

    /// <summary>Whether the volume may be used on the node.</summary>
    public static bool IsReachable(JsonObject volume, JsonObject node)
        => volume.At("spec", "nodeAffinity", "required") is not { } required || NodeAffinity.MatchesSelector(required, node);

    /// <summary>What the claim asks for, in bytes.</summary>
    public static Quantity Asked(JsonObject claim) => Read(claim.At("spec", "resources", "requests", "storage"));

    public static Quantity Capacity(JsonObject volume) => Read(volume.At("spec", "capacity", "storage"));

    public static Quantity Read(JsonNode? quantity)
        => quantity is JsonValue value && Quantity.TryParse(value.TryGetValue<string>(out var text) ? text : value.ToJsonString(), out var read) ? read : Quantity.Zero;

    private static bool HasModes(JsonObject volume, JsonObject claim)
        => claim.Texts("spec", "accessModes").All(mode => volume.Texts("spec", "accessModes").Contains(mode, StringComparer.Ordinal));

    private static string Mode(JsonObject obj) => obj.Text("spec", "volumeMode") is { Length: > 0 } mode ? mode : "Filesystem";
}
