using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Schema;

internal enum CelKind
{
    Dyn,
    Null,
    Bool,
    Int,
    Double,
    String,
    List,

    /// <summary>An object with named fields, or a map.</summary>
    Map,
}

/// <summary>The static type of an expression; <paramref name="Node"/> is the schema of lists and maps that come from the object,
/// <paramref name="Element"/> the type of a list's elements where there is no schema.</summary>
internal sealed record CelType(CelKind Kind, SchemaNode? Node = null, CelType? Element = null)
{
    public static readonly CelType Dyn = new(CelKind.Dyn);
    public static readonly CelType Bool = new(CelKind.Bool);
    public static readonly CelType Int = new(CelKind.Int);
    public static readonly CelType Double = new(CelKind.Double);
    public static readonly CelType String = new(CelKind.String);
    public static readonly CelType Null = new(CelKind.Null);

    /// <summary>The type of values under a schema; null where the subset has no type for them (times, durations, bytes).</summary>
    public static CelType? Of(SchemaNode node) => node switch
    {
        { IntOrString: true } => Dyn,
        { Type: "boolean" } => Bool,
        { Type: "integer" } => Int,
        { Type: "number" } => Double,
        { Type: "string", Format: "date-time" or "date" or "duration" or "byte" } => null,
        { Type: "string" } => String,
        { Type: "array" } => new CelType(CelKind.List, node),
        { Type: "object" } => new CelType(CelKind.Map, node),
        _ => Dyn,
    };

    public string Name => Kind switch
    {
        CelKind.Bool => "bool",
        CelKind.Int => "int",
        CelKind.Double => "double",
        CelKind.String => "string",
        CelKind.List => "list",
        CelKind.Map => "map",
        CelKind.Null => "null_type",
        _ => "dyn",
    };
}

/// <summary>A value of the object under check, with its schema: a list or a map. Scalars are long, double, string, bool or null.</summary>
internal readonly record struct CelNode(JsonNode Json, SchemaNode? Schema)
{
    public static object? Wrap(JsonNode? node, SchemaNode? schema) => node switch
    {
        null => null,
        JsonObject or JsonArray => new CelNode(node, schema),
        _ => Scalar((JsonValue)node, schema),
    };

    private static object Scalar(JsonValue value, SchemaNode? schema) => value.GetValueKind() switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        JsonValueKind.String => value.GetValue<string>(),
        JsonValueKind.Number when schema?.Type != "number" && value.TryWhole(out var whole) => whole,
        JsonValueKind.Number => value.GetDouble(),
        _ => throw new CelException("unsupported value"),
    };
}

/// <summary>An expression that cannot be compiled, or a rule that cannot be evaluated.</summary>
internal sealed class CelException(string message) : Exception(message);

/// <summary>The variables in sight while a rule runs, and the steps it may still take.</summary>
internal sealed class CelScope(CelScope? parent, string name, object? value)
{
    /// <summary>Steps for all the rules of one object; a rule over nested lists could otherwise take quadratic time.</summary>
    public const int StepsMax = 1_000_000;

    private readonly CelScope? _root = parent?.Root;
    private int _steps;

    private CelScope Root => _root ?? this;

    public object? Find(string wanted)
    {
        for (var scope = this; scope is not null; scope = scope.Parent)
        {
            if (scope.Name == wanted)
                return scope.Value;
        }

        throw new CelException($"no such variable: {wanted}");
    }

    public void Step()
    {
        if (++Root._steps > StepsMax)
            throw new CelException("the rules take too many steps on this object");
    }

    private CelScope? Parent { get; } = parent;

    private string Name { get; } = name;

    private object? Value { get; } = value;
}

internal static class JsonNumbers
{
    /// <summary>The number, however the value was made.</summary>
    public static double GetDouble(this JsonValue value)
        => double.Parse(value.ToJsonString(), System.Globalization.NumberStyles.Float, System.Globalization.CultureInfo.InvariantCulture);
}
