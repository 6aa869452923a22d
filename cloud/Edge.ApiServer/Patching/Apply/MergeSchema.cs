using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Schema;
using Edge.ApiServer.Validation;

namespace Edge.ApiServer.Patching.Apply;

/// <summary>How a value is owned and merged by server-side apply.</summary>
internal enum MergeForm
{
    /// <summary>As one whole: scalars, atomic lists and maps.</summary>
    Leaf,

    /// <summary>Member by member.</summary>
    Object,

    /// <summary>Element by element, named by key fields.</summary>
    ListMap,

    /// <summary>Element by element, each named by itself.</summary>
    ListSet,
}

/// <summary>The merge rules of one level of a kind: from the field table for built-in kinds, from <c>x-kubernetes-list-type</c> and
/// <c>x-kubernetes-list-map-keys</c> for custom resources. Where nothing is known, objects merge by member and lists are atomic.</summary>
internal sealed class MergeSchema
{
    private static readonly MergeSchema s_leaf = new(MergeForm.Leaf, []);
    private static readonly MergeSchema s_any = new(MergeForm.Object, []) { _isAny = true };

    // x-kubernetes-map-type: atomic in k8s.io/api
    private static readonly HashSet<string> s_atomicTypes =
    [
        "LabelSelector", "NodeSelector", "NodeSelectorTerm", "LocalObjectReference", "ObjectReference", "TypedLocalObjectReference", "OwnerReference", "SecretReference",
        "ObjectFieldSelector", "ResourceFieldSelector", "ConfigMapKeySelector", "SecretKeySelector", "FileKeySelector", "TopologySelectorTerm",
    ];

    // x-kubernetes-list-map-keys where they are more than the strategic merge key
    private static readonly Dictionary<string, string[]> s_keys = new()
    {
        ["ContainerPort"] = ["containerPort", "protocol"],
        ["ServicePort"] = ["port", "protocol"],
        ["TopologySpreadConstraint"] = ["topologyKey", "whenUnsatisfiable"],
    };

    private readonly MergeForm _form;
    private readonly Func<string, MergeSchema>? _member;
    private readonly MergeSchema? _items;
    private bool _isAny;

    private MergeSchema(MergeForm form, IReadOnlyList<string> keys, Func<string, MergeSchema>? member = null, MergeSchema? items = null)
    {
        _form = form;
        Keys = keys;
        _member = member;
        _items = items;
    }

    /// <summary>The key fields of a <see cref="MergeForm.ListMap"/>.</summary>
    public IReadOnlyList<string> Keys { get; }

    public static MergeSchema Of(ServedResource resource)
    {
        if (FieldTable.Of(resource.Kind) is { } type)
            return Typed(type);
        var root = resource.Custom?.Schema.Root;
        return new MergeSchema(MergeForm.Object, [], name => name switch
        {
            "metadata" => Typed(FieldTable.ObjectMeta),
            "apiVersion" or "kind" => s_leaf,
            _ when root?.Member(name) is { } node => Custom(node),
            _ => s_any,
        });
    }

    /// <summary>The form that applies to this value: one of another JSON type than the schema's is a leaf.</summary>
    public MergeForm FormOf(JsonNode? value) => _form switch
    {
        MergeForm.Object when value is JsonObject => MergeForm.Object,
        MergeForm.ListMap when value is JsonArray list && list.All(item => item is JsonObject) => MergeForm.ListMap,
        MergeForm.ListSet when value is JsonArray => MergeForm.ListSet,
        _ => MergeForm.Leaf,
    };

    public MergeSchema Member(string name) => _isAny ? s_any : _member?.Invoke(name) ?? s_any;

    public MergeSchema Items => _items ?? s_any;

    /// <summary>The key of a list's element as in fieldsV1, e.g. <c>k:{"containerPort":80,"protocol":"TCP"}</c>.</summary>
    public string KeyOf(JsonObject item)
    {
        var key = new JsonObject();
        foreach (var name in Keys.Order(StringComparer.Ordinal))
            key[name] = item[name]?.DeepClone() ?? (name == "protocol" ? "TCP" : null);
        return "k:" + key.ToJsonString();
    }

    private static MergeSchema Typed(FieldSet type)
        => new(MergeForm.Object, [], name => type.Fields.TryGetValue(name, out var field) ? Typed(field) : s_any);

    private static MergeSchema Typed(Field field)
    {
        var inner = FieldTable.TypeOf(field);
        var element = field.Form == FieldForm.Any ? s_any : inner is null || s_atomicTypes.Contains(inner.Name) ? s_leaf : Typed(inner);
        return field.Shape switch
        {
            FieldShape.Map when field.Name is "nodeSelector" or "selector" => s_leaf,
            FieldShape.Map => new MergeSchema(MergeForm.Object, [], _ => element),
            FieldShape.List when field.MergeKey is null => s_leaf,
            FieldShape.List when field.MergeKey == "+" => new MergeSchema(MergeForm.ListSet, []),
            FieldShape.List => new MergeSchema(MergeForm.ListMap, s_keys.GetValueOrDefault(field.TypeName) ?? [field.MergeKey!], null, inner is null ? s_any : Typed(inner)),
            _ => element,
        };
    }

    private static MergeSchema Custom(SchemaNode node)
    {
        if (node.Type == "array")
        {
            return node.ListType switch
            {
                "set" => new MergeSchema(MergeForm.ListSet, []),
                "map" => new MergeSchema(MergeForm.ListMap, node.MapKeys, null, node.Items is { } items ? Custom(items) : s_any),
                _ => s_leaf,
            };
        }

        return node.Type == "object" || node.PreserveUnknown
            ? new MergeSchema(MergeForm.Object, [], name => node.Member(name) is { } member ? Custom(member) : s_any)
            : node.Type.Length == 0 && !node.IntOrString ? s_any : s_leaf;
    }
}
