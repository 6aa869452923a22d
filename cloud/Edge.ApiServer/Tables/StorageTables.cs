using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tables;

/// <summary>The columns and cells of persistent volumes, claims and storage classes.</summary>
internal static class StorageTables
{
    private const string Unset = "<unset>";

    private static readonly TableColumn s_name = new("Name", "string", 0, "name", "Name must be unique within a namespace.");

    private static readonly (string Mode, string Short)[] s_modes = [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];

    public static TableColumn[] VolumeColumns { get; } =
    [
        s_name, Text("Capacity"), Text("Access Modes"), Text("Reclaim Policy"), Text("Status"), Text("Claim"), Text("StorageClass"), Text("VolumeAttributesClass"), Text("Reason"), Text("Age"), Wide("VolumeMode"),
    ];

    public static TableColumn[] ClaimColumns { get; } =
    [
        s_name, Text("Status"), Text("Volume"), Text("Capacity"), Text("Access Modes"), Text("StorageClass"), Text("VolumeAttributesClass"), Text("Age"), Wide("VolumeMode"),
    ];

    public static TableColumn[] ClassColumns { get; } = [s_name, Text("Provisioner"), Text("ReclaimPolicy"), Text("VolumeBindingMode"), Text("AllowVolumeExpansion"), Text("Age")];

    public static JsonNode?[] Volume(JsonObject volume, DateTimeOffset now)
    {
        var spec = volume["spec"];
        var claim = spec.At("claimRef") is { } reference ? $"{reference.Text("namespace")}/{reference.Text("name")}" : "";
        return
        [
            volume.Name(), Quantity(spec.At("capacity", "storage")), Modes(spec.At("accessModes")), spec.Text("persistentVolumeReclaimPolicy"), Phase(volume), claim,
            StorageAnnotations.ClassOf(volume), Or(spec.Text("volumeAttributesClassName")), volume.Text("status", "reason"), Age(volume, now), Or(spec.Text("volumeMode")),
        ];
    }

    public static JsonNode?[] Claim(JsonObject claim, DateTimeOffset now)
    {
        var spec = claim["spec"];
        var hasVolume = spec.Text("volumeName").Length > 0;
        return
        [
            claim.Name(), Phase(claim), spec.Text("volumeName"), hasVolume ? Quantity(claim.At("status", "capacity", "storage")) : "", hasVolume ? Modes(claim.At("status", "accessModes")) : "",
            StorageAnnotations.ClassOf(claim), Or(spec.Text("volumeAttributesClassName")), Age(claim, now), Or(spec.Text("volumeMode")),
        ];
    }

    public static JsonNode?[] Class(JsonObject storageClass, DateTimeOffset now)
        =>
        [
            storageClass.Name() + (StorageAnnotations.IsDefaultClass(storageClass) ? " (default)" : ""), storageClass.Text("provisioner"), storageClass.Text("reclaimPolicy"),
            storageClass.Text("volumeBindingMode"), storageClass.Flag(false, "allowVolumeExpansion"), Age(storageClass, now),
        ];

    private static string Phase(JsonObject obj) => obj.IsDeleting() ? "Terminating" : obj.Text("status", "phase");

    private static string Modes(JsonNode? modes) => string.Join(",", s_modes.Where(pair => modes.Texts().Contains(pair.Mode, StringComparer.Ordinal)).Select(pair => pair.Short));

    // As it was written; a plain number is one too.
    private static string Quantity(JsonNode? quantity)
        => quantity is JsonValue value ? value.TryGetValue<string>(out var text) ? text : value.ToJsonString() : "0";

    private static string Age(JsonObject obj, DateTimeOffset now) => HumanDuration.Since(obj.Text("metadata", "creationTimestamp"), now);

    private static string Or(string text) => text.Length == 0 ? Unset : text;

    private static TableColumn Text(string name) => new(name, "string", 0);

    private static TableColumn Wide(string name) => new(name, "string", 1);
}
