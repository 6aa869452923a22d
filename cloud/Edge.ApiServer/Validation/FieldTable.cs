using System.Buffers.Text;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>What a field holds, apart from being single, a list or a map.</summary>
internal enum FieldForm
{
    Text,
    Whole,
    Number,
    Flag,

    /// <summary>A number with a unit such as <c>500m</c> or <c>64Mi</c>; a plain JSON number is allowed.</summary>
    Quantity,
    IntOrString,
    Time,

    /// <summary>Base64 text.</summary>
    Bytes,
    Any,
    Object,
}

internal enum FieldShape
{
    Single,
    List,
    Map,
}

/// <summary>One field of a built-in type. <paramref name="MergeKey"/> is the key by which a strategic merge patch merges the list,
/// <c>+</c> for a set of plain values, null for a list that is replaced.</summary>
internal sealed record Field(string Name, FieldForm Form, FieldShape Shape, string TypeName, string? MergeKey, bool RetainKeys, bool Required)
{
    private Field? _element;

    /// <summary>One of what a list or map holds; itself where it is single.</summary>
    public Field Element => Shape == FieldShape.Single ? this : _element ??= this with { Shape = FieldShape.Single };
}

/// <summary>A built-in type; <paramref name="Package"/> is its OpenAPI definition's prefix, e.g. <c>io.k8s.api.core.v1</c>.</summary>
internal sealed record FieldSet(string Name, string Package, IReadOnlyDictionary<string, Field> Fields)
{
    public string Definition => $"{Package}.{Name}";
}

/// <summary>The fields of the built-in kinds. Patching, checking and the OpenAPI documents all read this one table.</summary>
internal static partial class FieldTable
{
    public const string MetaPackage = "io.k8s.apimachinery.pkg.apis.meta.v1";

    private static readonly Dictionary<string, FieldSet> s_types = Parse(
        (MetaPackage, MetaTypes),
        ("io.k8s.api.core.v1", CoreTypes),
        ("io.k8s.api.core.v1", VolumeTypes),
        ("io.k8s.api.core.v1", PersistentVolumeTypes),
        ("io.k8s.api.storage.v1", StorageTypes),
        ("io.k8s.api.core.v1", TemplateTypes),
        ("io.k8s.api.apps.v1", AppsTypes),
        ("io.k8s.api.batch.v1", BatchTypes),
        ("io.k8s.api.policy.v1", PolicyTypes),
        ("io.k8s.api.scheduling.v1", SchedulingTypes),
        ("io.k8s.api.node.v1", NodeTypes),
        ("io.k8s.api.rbac.v1", RbacTypes),
        ("io.k8s.api.certificates.v1", CertificateTypes),
        ("io.k8s.api.core.v1", LimitTypes),
        ("io.k8s.api.coordination.v1", CoordinationTypes),
        ("io.k8s.api.discovery.v1", DiscoveryTypes),
        ("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", ExtensionTypes));

    private static readonly Dictionary<ResourceKind, FieldSet> s_kinds = new[]
    {
        ResourceKind.Namespace, ResourceKind.Node, ResourceKind.Pod, ResourceKind.ConfigMap, ResourceKind.Secret, ResourceKind.Service,
        ResourceKind.Endpoints, ResourceKind.EndpointSlice, ResourceKind.Event, ResourceKind.ServiceAccount, ResourceKind.Lease, ResourceKind.CustomResourceDefinition,
        ResourceKind.PersistentVolume, ResourceKind.PersistentVolumeClaim, ResourceKind.StorageClass,
        ResourceKind.Deployment, ResourceKind.ReplicaSet, ResourceKind.DaemonSet, ResourceKind.StatefulSet, ResourceKind.ControllerRevision,
        ResourceKind.Job, ResourceKind.CronJob, ResourceKind.PodDisruptionBudget, ResourceKind.PriorityClass, ResourceKind.RuntimeClass,
        ResourceKind.Role, ResourceKind.ClusterRole, ResourceKind.RoleBinding, ResourceKind.ClusterRoleBinding, ResourceKind.CertificateSigningRequest,
        ResourceKind.ResourceQuota, ResourceKind.LimitRange,
    }.ToDictionary(kind => kind, kind => s_types[kind.Kind]);

    /// <summary>Every type, by name.</summary>
    public static IReadOnlyDictionary<string, FieldSet> Types => s_types;

    /// <summary>The fields of a built-in kind, <c>apiVersion</c> and <c>kind</c> among them; null for any other kind.</summary>
    public static FieldSet? Of(ResourceKind kind) => s_kinds.GetValueOrDefault(kind);

    public static FieldSet ObjectMeta => s_types["ObjectMeta"];

    /// <summary>The type of a field's (or its elements') objects; null when they are not objects of a known type.</summary>
    public static FieldSet? TypeOf(Field? field) => field is { Form: FieldForm.Object } ? s_types[field.TypeName] : null;

    /// <summary>Paths of the fields that the type does not have.</summary>
    public static List<string> Unknown(FieldSet type, JsonObject obj)
    {
        var paths = new List<string>();
        if (!HasUnknown(type, obj))
            return paths;
        Walk(type, obj, "", (path, field, _) =>
        {
            if (field is null)
                paths.Add(path);
        });
        return paths;
    }

    /// <summary>Removes the fields that the type does not have, as Kubernetes' typed decoding does.</summary>
    /// <returns>Their paths.</returns>
    public static List<string> DropUnknown(FieldSet type, JsonObject obj)
    {
        var paths = Unknown(type, obj);
        if (paths.Count > 0)
            Prune(type, obj);
        return paths;
    }

    /// <summary>A fault for every value that the field's type cannot hold; null members count as absent.</summary>
    public static void CheckTypes(FieldSet type, JsonObject obj, string at, List<FieldError> errors)
    {
        // Nearly all objects are right, and then nobody asks for paths.
        if (IsRight(type, obj))
            return;
        Walk(type, obj, at, (path, field, node) =>
        {
            if (field is null || node is null)
                return;
            if (Expected(field, node) is { } expected)
            {
                errors.Add(Errors.WrongType(path, expected, node));
                return;
            }

            var single = field.Element;
            switch (field.Shape)
            {
                case FieldShape.List:
                    var array = node.AsArray();
                    for (var i = 0; i < array.Count; i++)
                        CheckOne(single, $"{path}[{i}]", array[i], errors);
                    break;
                case FieldShape.Map:
                    foreach (var (key, element) in node.AsObject())
                        CheckOne(single, $"{path}.{key}", element, errors);
                    break;
                default:
                    CheckOne(single, path, node, errors);
                    break;
            }
        });
    }

    private static void Prune(FieldSet type, JsonObject obj)
    {
        foreach (var key in obj.Select(pair => pair.Key).Where(key => !type.Fields.ContainsKey(key)).ToList())
            obj.Remove(key);
        foreach (var (key, value) in obj)
        {
            var field = type.Fields[key];
            if (TypeOf(field) is not { } inner)
                continue;
            foreach (var (_, child) in Objects(field, value))
                Prune(inner, child);
        }
    }

    private static bool HasUnknown(FieldSet type, JsonObject obj)
    {
        foreach (var (key, value) in obj)
        {
            if (type.Fields.GetValueOrDefault(key) is not { } field)
                return true;
            if (TypeOf(field) is not { } inner)
                continue;
            switch (field.Shape, value)
            {
                case (FieldShape.Single, JsonObject single) when HasUnknown(inner, single):
                    return true;
                case (FieldShape.List, JsonArray array):
                    foreach (var item in array)
                    {
                        if (item is JsonObject one && HasUnknown(inner, one))
                            return true;
                    }

                    break;
                case (FieldShape.Map, JsonObject map):
                    foreach (var (_, item) in map)
                    {
                        if (item is JsonObject one && HasUnknown(inner, one))
                            return true;
                    }

                    break;
            }
        }

        return false;
    }

    private static bool IsRight(FieldSet type, JsonObject obj)
    {
        foreach (var (key, value) in obj)
        {
            if (value is null || type.Fields.GetValueOrDefault(key) is not { } field)
                continue;
            if (Expected(field, value) is not null)
                return false;
            var (element, inner) = (field.Element, TypeOf(field));
            switch (field.Shape)
            {
                case FieldShape.List:
                    foreach (var item in value.AsArray())
                    {
                        if (!IsRight(element, inner, item))
                            return false;
                    }

                    break;
                case FieldShape.Map:
                    foreach (var (_, item) in value.AsObject())
                    {
                        if (!IsRight(element, inner, item))
                            return false;
                    }

                    break;
                default:
                    if (!IsRight(element, inner, value))
                        return false;
                    break;
            }
        }

        return true;
    }

    private static bool IsRight(Field element, FieldSet? type, JsonNode? node)
        => Expected(element, node) is null && (element.Form switch
        {
            FieldForm.Quantity => Quantity.TryParse(node, out _),
            FieldForm.Time => IsTime(node),
            FieldForm.Bytes => Base64.IsValid(Text(node)),
            _ => true,
        }) && (type is null || node is not JsonObject child || IsRight(type, child));

    private static string? Text(JsonNode? node) => node is JsonValue value && value.TryGetValue<string>(out var found) ? found : null;

    private static bool IsTime(JsonNode? node) => DateTimeOffset.TryParse(Text(node), CultureInfo.InvariantCulture, DateTimeStyles.None, out _);

    private static void CheckOne(Field single, string path, JsonNode? node, List<FieldError> errors)
    {
        if (Expected(single, node) is { } expected)
        {
            errors.Add(Errors.WrongType(path, expected, node));
            return;
        }

        if (single.Form == FieldForm.Quantity && !Quantity.TryParse(node, out _))
            errors.Add(Errors.Invalid(path, node, Quantity.Rule));
        else if (single.Form == FieldForm.Time && !IsTime(node))
            errors.Add(Errors.Invalid(path, node, "must be a time as in RFC 3339, e.g. 2006-01-02T15:04:05Z"));
        else if (single.Form == FieldForm.Bytes && !Base64.IsValid(Text(node)))
            errors.Add(Errors.Invalid(path, "***", "must be base64"));
    }

    /// <summary>Removes null members of typed objects: to Kubernetes' typed decoding null is the same as absent.</summary>
    public static void DropNulls(FieldSet type, JsonObject obj)
    {
        List<string>? nulls = null;
        foreach (var (key, value) in obj)
        {
            if (value is null)
                (nulls ??= []).Add(key);
        }

        nulls?.ForEach(key => obj.Remove(key));
        foreach (var (key, value) in obj)
        {
            if (value is not (JsonObject or JsonArray) || !type.Fields.TryGetValue(key, out var field) || TypeOf(field) is not { } inner)
                continue;
            foreach (var child in Objects(field, value))
                DropNulls(inner, child.Object);
        }
    }

    private static void Walk(FieldSet type, JsonObject obj, string at, Action<string, Field?, JsonNode?> visit)
    {
        foreach (var (key, value) in obj)
        {
            var path = at.Length == 0 ? key : $"{at}.{key}";
            var field = type.Fields.GetValueOrDefault(key);
            visit(path, field, value);
            if (field is null || TypeOf(field) is not { } inner)
                continue;
            foreach (var (suffix, child) in Objects(field, value))
                Walk(inner, child, path + suffix, visit);
        }
    }

    private static IEnumerable<(string Suffix, JsonObject Object)> Objects(Field field, JsonNode? value)
    {
        if (field.Shape == FieldShape.Single && value is JsonObject single)
            yield return ("", single);
        if (field.Shape == FieldShape.List && value is JsonArray array)
        {
            for (var i = 0; i < array.Count; i++)
            {
                if (array[i] is JsonObject item)
                    yield return ($"[{i}]", item);
            }
        }

        if (field.Shape == FieldShape.Map && value is JsonObject map)
        {
            foreach (var (key, child) in map)
            {
                if (child is JsonObject item)
                    yield return ($".{key}", item);
            }
        }
    }

    /// <summary>The JSON type that the value should have had; null when it is right.</summary>
    private static string? Expected(Field field, JsonNode? node)
    {
        if (field.Shape == FieldShape.List)
            return node is JsonArray ? null : "array";
        if (field.Shape == FieldShape.Map)
            return node is JsonObject ? null : "object";
        var kind = node?.GetValueKind();
        return field.Form switch
        {
            FieldForm.Text or FieldForm.Time or FieldForm.Bytes => kind == JsonValueKind.String ? null : "string",
            FieldForm.Whole => kind == JsonValueKind.Number && node.TryWhole(out _) ? null : "integer",
            FieldForm.Number => kind == JsonValueKind.Number ? null : "number",
            FieldForm.Flag => kind is JsonValueKind.True or JsonValueKind.False ? null : "boolean",
            FieldForm.Quantity => kind is JsonValueKind.Number or JsonValueKind.String ? null : "string",
            FieldForm.IntOrString => kind == JsonValueKind.String || (kind == JsonValueKind.Number && node.TryWhole(out _)) ? null : "integer or string",
            FieldForm.Object => node is JsonObject ? null : "object",
            _ => null,
        };
    }

    private static Dictionary<string, FieldSet> Parse(params (string Package, string Text)[] sections)
    {
        var types = new Dictionary<string, FieldSet>();
        foreach (var (package, text) in sections)
        {
            var words = text.Split([' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries);
            for (var i = 0; i < words.Length;)
            {
                var name = words[i++];
                var fields = new Dictionary<string, Field>();
                for (; i < words.Length && words[i].IndexOf(':', StringComparison.Ordinal) is > 0 and var colon; i++)
                {
                    var field = ParseField(words[i][..colon], words[i][(colon + 1)..]);
                    fields.Add(field.Name, field);
                }

                if (fields.TryGetValue("metadata", out var metadata) && metadata.TypeName == "ObjectMeta" && !name.EndsWith("TemplateSpec", StringComparison.Ordinal))
                {
                    fields.TryAdd("apiVersion", ParseField("apiVersion", "s"));
                    fields.TryAdd("kind", ParseField("kind", "s"));
                }

                types.Add(name, new FieldSet(name, package, fields));
            }
        }

        return types;
    }

    private static Field ParseField(string name, string form)
    {
        var shape = FieldShape.Single;
        string? mergeKey = null;
        var retainKeys = false;
        if (form[0] == '[')
        {
            var end = form.IndexOf(']', StringComparison.Ordinal);
            var key = form[1..end];
            retainKeys = key.EndsWith('~');
            mergeKey = key.TrimEnd('~') is { Length: > 0 } set ? set : null;
            form = form[(end + 1)..];
            shape = FieldShape.List;
        }
        else if (form[0] == '{')
        {
            form = form[2..];
            shape = FieldShape.Map;
        }

        var kind = form switch
        {
            "s" => FieldForm.Text,
            "i" => FieldForm.Whole,
            "n" => FieldForm.Number,
            "b" => FieldForm.Flag,
            "q" => FieldForm.Quantity,
            "x" => FieldForm.IntOrString,
            "t" => FieldForm.Time,
            "B" => FieldForm.Bytes,
            "*" => FieldForm.Any,
            _ => FieldForm.Object,
        };
        return new Field(name.TrimEnd('!'), kind, shape, kind == FieldForm.Object ? form : "", mergeKey, retainKeys, name.EndsWith('!'));
    }
}
