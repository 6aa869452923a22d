using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>Defaults and rules of the built-in kinds. Kinds without a field table (custom resources) pass untouched.</summary>
internal static class BuiltinObjects
{
    /// <summary>All values of a ConfigMap or Secret together, in bytes.</summary>
    public const int DataBytesMax = 1024 * 1024;

    /// <summary>Fills in what Kubernetes (with its standard admission plug-ins) fills in; changes <paramref name="obj"/>.
    /// Doing it twice changes nothing more. Values of a wrong type stay for <see cref="Validate"/> to report.</summary>
    public static void Default(ResourceKind kind, JsonObject obj)
    {
        if (FieldTable.Of(kind) is not { } type)
            return;
        FieldTable.DropNulls(type, obj);
        switch (kind.Kind)
        {
            case "Pod":
                PodDefaults.Apply(obj);
                break;
            case "Service":
                ServiceRules.Default(obj);
                break;
            case "Namespace":
                if (obj.Name().Length > 0 && obj.Child("metadata").Child("labels") is { } labels)
                    labels["kubernetes.io/metadata.name"] = obj.Name();
                if (!obj.Child("spec").ContainsKey("finalizers") && !obj.IsDeleting())
                    obj.Child("spec")["finalizers"] = new JsonArray("kubernetes");
                Set(obj.Child("status"), "phase", "Active");
                break;
            case "Secret":
                DefaultSecret(obj);
                break;
            case "Node":
                obj.Child("spec");
                if (obj.Child("status")["capacity"] is JsonObject capacity && !obj.Child("status").ContainsKey("allocatable"))
                    obj.Child("status")["allocatable"] = capacity.DeepClone();
                break;
            case "Endpoints":
                foreach (var port in obj.Items("subsets").SelectMany(subset => subset.Items("ports")))
                    Set(port, "protocol", "TCP");
                break;
            case "EndpointSlice":
                EndpointSliceRules.Default(obj);
                break;
            case "CustomResourceDefinition":
                DefaultCrd(obj);
                break;
            case "PersistentVolume":
                VolumeRules.Default(obj);
                break;
            case "PersistentVolumeClaim":
                ClaimRules.Default(obj);
                break;
            case "StorageClass":
                VolumeRules.DefaultClass(obj);
                break;
            case "PriorityClass":
                Set(obj, "preemptionPolicy", "PreemptLowerPriority");
                break;
            case "Deployment" or "ReplicaSet" or "DaemonSet" or "StatefulSet":
                WorkloadDefaults.Apply(obj);
                break;
            case "Job":
                WorkloadDefaults.ApplyJob(obj);
                break;
            case "CronJob":
                WorkloadDefaults.ApplyCronJob(obj);
                break;
            case "RoleBinding" or "ClusterRoleBinding":
                RbacRules.DefaultBinding(obj);
                break;
            case "LimitRange":
                LimitRules.DefaultRange(obj);
                break;
        }
    }

    /// <summary>All faults of a defaulted object, without those of its metadata; with <paramref name="old"/>, also what an update may not
    /// change. A pod's nodeName counts as changed too: binding does not pass through here.</summary>
    public static List<FieldError> Validate(ResourceKind kind, JsonObject obj, JsonObject? old)
    {
        var errors = new List<FieldError>();
        if (FieldTable.Of(kind) is not { } type)
            return errors;
        FieldTable.CheckTypes(type, obj, "", errors);
        if (errors.Count > 0)
            return errors;
        switch (kind.Kind)
        {
            case "Pod":
                PodRules.Check(obj, errors);
                if (old is null && obj.Items("spec", "ephemeralContainers").Any())
                    errors.Add(Errors.Forbidden("spec.ephemeralContainers", "cannot be set on create"));
                if (old is not null)
                    PodUpdateRules.Check(obj, old, errors);
                break;
            case "ConfigMap":
                CheckData(obj, old, errors, ("data", Encoding.UTF8.GetByteCount), ("binaryData", DecodedLength));
                foreach (var key in obj.Map("data").Select(pair => pair.Key).Where(key => obj["binaryData"] is JsonObject binary && binary.ContainsKey(key)))
                    errors.Add(Errors.Invalid($"data[{key}]", key, "duplicate of key present in binaryData"));
                break;
            case "Secret":
                CheckData(obj, old, errors, ("data", DecodedLength));
                CheckSecretType(obj, old, errors);
                break;
            case "Service":
                ServiceRules.Check(obj, old, errors);
                break;
            case "Node":
                CheckTaints(obj, errors);
                break;
            case "Lease":
                if (obj["spec"].Number(1, "leaseDurationSeconds") is <= 0 and var seconds)
                    errors.Add(Errors.Invalid("spec.leaseDurationSeconds", JsonValue.Create(seconds), "must be greater than 0"));
                if (obj["spec"].Number(0, "leaseTransitions") is < 0 and var transitions)
                    errors.Add(Errors.Invalid("spec.leaseTransitions", JsonValue.Create(transitions), "must be greater than or equal to 0"));
                break;
            case "Endpoints":
                CheckEndpoints(obj, errors);
                break;
            case "EndpointSlice":
                EndpointSliceRules.Check(obj, old, errors);
                break;
            case "PersistentVolume":
                VolumeRules.Check(obj, old, errors);
                break;
            case "PersistentVolumeClaim":
                ClaimRules.Check(obj, old, errors);
                break;
            case "StorageClass":
                VolumeRules.CheckClass(obj, old, errors);
                break;
            case "Deployment" or "ReplicaSet" or "DaemonSet" or "StatefulSet" or "ControllerRevision":
                WorkloadRules.Check(obj, old, errors);
                break;
            case "Job":
                JobRules.Check(obj, old, errors);
                break;
            case "CronJob":
                JobRules.CheckCronJob(obj, errors);
                break;
            case "PriorityClass":
                PriorityRules.Check(obj, old, errors);
                break;
            case "RuntimeClass":
                RuntimeClassRules.Check(obj, old, errors);
                break;
            case "PodDisruptionBudget":
                JobRules.CheckBudget(obj, errors);
                break;
            case "Role" or "ClusterRole":
                RbacRules.CheckRole(kind, obj, errors);
                break;
            case "RoleBinding" or "ClusterRoleBinding":
                RbacRules.CheckBinding(kind, obj, old, errors);
                break;
            case "CertificateSigningRequest":
                SigningRules.Check(obj, old, errors);
                break;
            case "ResourceQuota":
                LimitRules.CheckQuota(obj, old, errors);
                break;
            case "LimitRange":
                LimitRules.CheckRange(obj, errors);
                break;
            case "Event":
                if (obj.Namespace() is var ns && obj["involvedObject"].Text("namespace") is { Length: > 0 } involved && involved != ns)
                    errors.Add(Errors.Invalid("involvedObject.namespace", involved, "does not match event.namespace"));
                break;
        }

        return errors;
    }

    /// <summary>Paths of fields that the kind does not have, e.g. <c>spec.containers[0].imagee</c>; empty for custom resources.</summary>
    public static List<string> UnknownFields(ResourceKind kind, JsonObject obj) => FieldTable.Of(kind) is { } type ? FieldTable.Unknown(type, obj) : [];

    /// <summary>As <see cref="UnknownFields"/>, and the fields are gone.</summary>
    public static List<string> DropUnknownFields(ResourceKind kind, JsonObject obj) => FieldTable.Of(kind) is { } type ? FieldTable.DropUnknown(type, obj) : [];

    /// <summary>Sets the member when it is absent.</summary>
    internal static void Set(JsonObject obj, string key, JsonNode value)
    {
        if (!obj.ContainsKey(key))
            obj[key] = value;
    }

    private static void DefaultSecret(JsonObject secret)
    {
        if (secret.Text("type").Length == 0 && secret["type"] is null or JsonValue)
            Set(secret, "type", "Opaque");
        if (secret["stringData"] is not JsonObject plain || plain.Any(pair => pair.Value is not JsonValue value || !value.TryGetValue<string>(out _)))
            return;
        var data = secret.Child("data");
        foreach (var (key, value) in plain)
            data[key] = Convert.ToBase64String(Encoding.UTF8.GetBytes(value!.GetValue<string>()));
        secret.Remove("stringData");
    }

    private static void DefaultCrd(JsonObject crd)
    {
        if (crd["spec"] is not JsonObject spec || spec["names"] is not JsonObject names)
            return;
        if (names.Text("kind") is { Length: > 0 } kind)
        {
            Set(names, "singular", kind.ToLowerInvariant());
            Set(names, "listKind", kind + "List");
        }

        if (!spec.ContainsKey("conversion"))
            spec["conversion"] = new JsonObject { ["strategy"] = "None" };
    }

    private static void CheckData(JsonObject obj, JsonObject? old, List<FieldError> errors, params ReadOnlySpan<(string Field, Func<string, int> Length)> maps)
    {
        var total = 0L;
        foreach (var (field, length) in maps)
        {
            foreach (var (key, value) in obj.Map(field))
            {
                if (Names.DataKey(key) is { } fault)
                    errors.Add(Errors.Invalid($"{field}[{key}]", key, fault));
                total += length(value);
            }

            if (old.Flag(false, "immutable") && !JsonNode.DeepEquals(obj[field], old![field]))
                errors.Add(Errors.Forbidden(field, "field is immutable when `immutable` is set"));
        }

        if (old.Flag(false, "immutable") && !obj.Flag(false, "immutable"))
            errors.Add(Errors.Forbidden("immutable", "field is immutable when `immutable` is set"));
        if (total > DataBytesMax)
            errors.Add(Errors.TooLong(maps.Length == 1 ? maps[0].Field : "", DataBytesMax));
    }

    private static void CheckSecretType(JsonObject secret, JsonObject? old, List<FieldError> errors)
    {
        var type = secret.Text("type");
        if (old is not null && old.Text("type") != type)
            errors.Add(Errors.Invalid("type", type, "field is immutable"));
        string[] needed = type switch
        {
            "kubernetes.io/dockerconfigjson" => [".dockerconfigjson"],
            "kubernetes.io/dockercfg" => [".dockercfg"],
            "kubernetes.io/tls" => ["tls.crt", "tls.key"],
            "kubernetes.io/ssh-auth" => ["ssh-privatekey"],
            _ => [],
        };
        foreach (var key in needed.Where(key => secret["data"].At(key) is null))
            errors.Add(Errors.Required($"data[{key}]"));
        if (type == "kubernetes.io/basic-auth" && secret["data"].At("username") is null && secret["data"].At("password") is null)
        {
            errors.Add(Errors.Required("data[username]"));
            errors.Add(Errors.Required("data[password]"));
        }

        if (type == "kubernetes.io/service-account-token" && string.IsNullOrEmpty(secret.Annotation("kubernetes.io/service-account.name")))
            errors.Add(Errors.Required("metadata.annotations[kubernetes.io/service-account.name]"));
    }

    private static void CheckTaints(JsonObject node, List<FieldError> errors)
    {
        var seen = new HashSet<(string, string)>();
        var i = 0;
        foreach (var taint in node["spec"].Items("taints"))
        {
            var at = $"spec.taints[{i++}]";
            var (key, value, effect) = (taint.Text("key"), taint.Text("value"), taint.Text("effect"));
            if (Names.Qualified(key) is { } keyFault)
                errors.Add(Errors.Invalid($"{at}.key", key, keyFault));
            if (Names.LabelValue(value) is { } valueFault)
                errors.Add(Errors.Invalid($"{at}.value", value, valueFault));
            if (effect.Length == 0)
                errors.Add(Errors.Required($"{at}.effect"));
            else if (effect is not ("NoSchedule" or "PreferNoSchedule" or "NoExecute"))
                errors.Add(Errors.NotSupported($"{at}.effect", effect, "NoSchedule", "PreferNoSchedule", "NoExecute"));
            if (!seen.Add((key, effect)))
                errors.Add(Errors.Duplicate(at, $"{key}:{effect}"));
        }
    }

    private static void CheckEndpoints(JsonObject endpoints, List<FieldError> errors)
    {
        var i = 0;
        foreach (var subset in endpoints.Items("subsets"))
        {
            var at = $"subsets[{i++}]";
            foreach (var list in (string[])["addresses", "notReadyAddresses"])
            {
                var j = 0;
                foreach (var address in subset.Items(list))
                {
                    if (!System.Net.IPAddress.TryParse(address.Text("ip"), out _))
                        errors.Add(Errors.Invalid($"{at}.{list}[{j}].ip", address.Text("ip"), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
                    j++;
                }
            }

            var k = 0;
            foreach (var port in subset.Items("ports"))
            {
                if (Names.PortNumber(port.Number(0, "port")) is { } fault)
                    errors.Add(Errors.Invalid($"{at}.ports[{k}].port", port["port"], fault));
                k++;
            }
        }
    }

    private static int DecodedLength(string base64) => base64.Length / 4 * 3 - (base64.EndsWith("==", StringComparison.Ordinal) ? 2 : base64.EndsWith('=') ? 1 : 0);
}
