using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>Defaults and rules of PersistentVolumes and StorageClasses, and what claims share with them.</summary>
internal static class VolumeRules
{
    private static readonly string[] s_modes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

    // What a spec has besides its source.
    private static readonly HashSet<string> s_notSources =
    [
        "capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions", "volumeMode", "nodeAffinity", "volumeAttributesClassName",
    ];

    /// <summary>The names of the sources that the spec has (<c>hostPath</c>, <c>local</c>, <c>nfs</c> …); a right one has one.</summary>
    public static IEnumerable<string> Sources(JsonObject spec)
        => FieldTable.Types["PersistentVolumeSpec"].Fields.Keys.Where(key => !s_notSources.Contains(key) && spec[key] is not null);

    public static void Default(JsonObject volume)
    {
        if (volume["spec"] is JsonObject spec)
        {
            BuiltinObjects.Set(spec, "persistentVolumeReclaimPolicy", "Retain");
            BuiltinObjects.Set(spec, "volumeMode", "Filesystem");
            if (spec["hostPath"] is JsonObject host)
                BuiltinObjects.Set(host, "type", "");
        }

        BuiltinObjects.Set(volume.Child("status"), "phase", "Pending");
    }

    public static void Check(JsonObject volume, JsonObject? old, List<FieldError> errors)
    {
        var spec = volume["spec"] as JsonObject ?? [];
        CheckModes(spec, "spec", "", errors);
        CheckCapacity(spec, errors);
        CheckOneOf(spec, "persistentVolumeReclaimPolicy", "spec", errors, "Delete", "Recycle", "Retain");
        var affinity = spec["nodeAffinity"];
        if (affinity is not null && affinity["required"] is null)
            errors.Add(Errors.Required("spec.nodeAffinity.required", "must specify required node constraints"));
        else if (affinity is not null)
            SelectorRules.CheckNodes(affinity["required"]!, "spec.nodeAffinity.required", errors);
        CheckSource(spec, errors);
        if (spec.Text("hostPath", "path").TrimEnd('/').Length == 0 && spec["hostPath"] is not null && spec.Text("persistentVolumeReclaimPolicy") == "Recycle")
            errors.Add(Errors.Forbidden("spec.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'"));
        CheckClassAndMode(spec, "spec", errors);
        if (old?["spec"] is JsonObject before)
            CheckUpdate(spec, before, errors);
    }

    /// <summary>accessModes, of a volume or a claim.</summary>
    public static void CheckModes(JsonObject spec, string at, string detail, List<FieldError> errors)
    {
        var modes = spec.Texts("accessModes").ToList();
        if (modes.Count == 0)
            errors.Add(Errors.Required($"{at}.accessModes", detail));
        foreach (var mode in modes.Where(mode => !s_modes.Contains(mode)))
            errors.Add(Errors.NotSupported($"{at}.accessModes", mode, s_modes));
        if (modes.Contains("ReadWriteOncePod") && modes.Exists(mode => mode != "ReadWriteOncePod" && s_modes.Contains(mode)))
            errors.Add(Errors.Forbidden($"{at}.accessModes", "may not use ReadWriteOncePod with other access modes"));
    }

    /// <summary>storageClassName and volumeMode, of a volume or a claim.</summary>
    public static void CheckClassAndMode(JsonObject spec, string at, List<FieldError> errors)
    {
        if (spec.Text("storageClassName") is { Length: > 0 } name && Names.DnsSubdomain(name) is { } fault)
            errors.Add(Errors.Invalid($"{at}.storageClassName", name, fault));
        CheckOneOf(spec, "volumeMode", at, errors, "Block", "Filesystem");
    }

    public static void CheckPositive(JsonNode? quantity, string at, List<FieldError> errors)
    {
        if (Quantity.TryParse(quantity, out var value) && value <= 0)
            errors.Add(Errors.Invalid(at, quantity, "must be greater than zero"));
    }

    public static void DefaultClass(JsonObject storageClass)
    {
        BuiltinObjects.Set(storageClass, "reclaimPolicy", "Delete");
        BuiltinObjects.Set(storageClass, "volumeBindingMode", "Immediate");
    }

    public static void CheckClass(JsonObject storageClass, JsonObject? old, List<FieldError> errors)
    {
        var provisioner = storageClass.Text("provisioner");
        if (provisioner.Length == 0)
            errors.Add(Errors.Required("provisioner"));
        else if (Names.Qualified(provisioner.ToLowerInvariant()) is { } fault)
            errors.Add(Errors.Invalid("provisioner", provisioner, fault));
        CheckOneOf(storageClass, "reclaimPolicy", "", errors, "Delete", "Retain");
        CheckOneOf(storageClass, "volumeBindingMode", "", errors, "Immediate", "WaitForFirstConsumer");
        foreach (var (key, _) in storageClass.Map("parameters").Where(pair => pair.Key.Length == 0))
            errors.Add(Errors.Invalid("parameters", key, "field can not be empty."));
        if (old is null)
            return;
        foreach (var key in (string[])["parameters", "provisioner", "reclaimPolicy"])
        {
            if (!JsonNode.DeepEquals(storageClass[key], old[key]))
                errors.Add(Errors.Forbidden(key, $"updates to {key} are forbidden."));
        }

        if (storageClass.Text("volumeBindingMode") != old.Text("volumeBindingMode"))
            errors.Add(Errors.Invalid("volumeBindingMode", storageClass.Text("volumeBindingMode"), "field is immutable"));
    }

    private static void CheckCapacity(JsonObject spec, List<FieldError> errors)
    {
        var capacity = spec["capacity"] as JsonObject;
        if (capacity is null || capacity.Count == 0)
            errors.Add(Errors.Required("spec.capacity"));
        if (capacity is null || capacity.Count != 1 || !capacity.ContainsKey("storage"))
            errors.Add(new FieldError("FieldValueNotSupported", "spec.capacity", $"Unsupported value: {capacity?.ToJsonString() ?? "core.ResourceList(nil)"}: supported values: \"storage\""));
        foreach (var (key, value) in capacity ?? [])
            CheckPositive(value, $"spec.capacity[{key}]", errors);
    }

    private static void CheckSource(JsonObject spec, List<FieldError> errors)
    {
        var sources = Sources(spec).ToList();
        if (sources.Count == 0)
            errors.Add(Errors.Required("spec", "must specify a volume type"));
        foreach (var extra in sources.Skip(1))
            errors.Add(Errors.Forbidden($"spec.{extra}", "may not specify more than 1 volume type"));
        foreach (var source in sources.Where(source => source is "hostPath" or "local"))
        {
            var path = spec.Text(source, "path");
            if (path.Length == 0)
                errors.Add(Errors.Required($"spec.{source}.path"));
            else if (path.Split('/').Contains(".."))
                errors.Add(Errors.Invalid($"spec.{source}.path", path, "must not contain '..'"));
        }

        if (spec["hostPath"] is JsonObject host && host.Text("type").Length > 0)
            CheckOneOf(host, "type", "spec.hostPath", errors, "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket");
        if (spec["local"] is not null && spec["nodeAffinity"] is null)
            errors.Add(Errors.Required("spec.nodeAffinity", "Local volume requires node affinity"));
    }

    private static void CheckUpdate(JsonObject spec, JsonObject before, List<FieldError> errors)
    {
        if (Sources(spec).Union(Sources(before)).Any(source => !JsonNode.DeepEquals(spec[source], before[source])))
            errors.Add(Errors.Forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation"));
        if (spec.Text("volumeMode") != before.Text("volumeMode"))
            errors.Add(Errors.Invalid("volumeMode", spec["volumeMode"], "field is immutable"));
        if (before["nodeAffinity"] is not null && !JsonNode.DeepEquals(spec["nodeAffinity"], before["nodeAffinity"]))
            errors.Add(Errors.Invalid("nodeAffinity", spec["nodeAffinity"], "field is immutable"));
    }

    private static void CheckOneOf(JsonObject obj, string key, string at, List<FieldError> errors, params string[] allowed)
    {
        if (obj.ContainsKey(key) && !allowed.Contains(obj.Text(key)))
            errors.Add(Errors.NotSupported(at.Length == 0 ? key : $"{at}.{key}", obj.Text(key), allowed));
    }
}
