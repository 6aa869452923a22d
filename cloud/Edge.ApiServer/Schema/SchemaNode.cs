using System.Runtime.CompilerServices;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Edge.ApiServer.Schema;

/// <summary>One compiled CEL rule of <c>x-kubernetes-validations</c>.</summary>
internal sealed record SchemaRule(string Text, CelProgram Program, string Message, CelProgram? MessageProgram, string Reason, string FieldPath, bool OptionalOldSelf);

/// <summary>One level of a compiled schema. Immutable once parsed.</summary>
internal sealed class SchemaNode
{
    private StrongBox<bool>? _hasDefaults;

    /// <summary>object, array, string, integer, number, boolean; empty where any type is allowed.</summary>
    public string Type { get; set; } = "";

    public string Format { get; set; } = "";

    public bool Nullable { get; set; }

    public bool PreserveUnknown { get; set; }

    public bool Embedded { get; set; }

    public bool IntOrString { get; set; }

    /// <summary>atomic, set or map.</summary>
    public string ListType { get; set; } = "atomic";

    public IReadOnlyList<string> MapKeys { get; set; } = [];

    public Dictionary<string, SchemaNode> Properties { get; } = [];

    /// <summary>The schema of members that <see cref="Properties"/> does not name; null when there is none.</summary>
    public SchemaNode? Additional { get; set; }

    public SchemaNode? Items { get; set; }

    public JsonNode? Default { get; set; }

    /// <summary>This level or one below it has a default. Asked for once the schema is parsed.</summary>
    public bool HasDefaults => (_hasDefaults ??= new StrongBox<bool>(FindDefaults())).Value;

    public IReadOnlyList<string> Required { get; set; } = [];

    public IReadOnlyList<JsonNode?>? Enum { get; set; }

    public string Pattern { get; set; } = "";

    public Regex? Regex { get; set; }

    public decimal? Minimum { get; set; }

    public decimal? Maximum { get; set; }

    public bool ExclusiveMinimum { get; set; }

    public bool ExclusiveMaximum { get; set; }

    public decimal? MultipleOf { get; set; }

    public long? MinLength { get; set; }

    public long? MaxLength { get; set; }

    /// <summary>A text is judged by more than its type.</summary>
    public bool HasTextRules => MinLength is not null || MaxLength is not null || Regex is not null || Format.Length > 0;

    public long? MinItems { get; set; }

    public long? MaxItems { get; set; }

    public bool UniqueItems { get; set; }

    public long? MinProperties { get; set; }

    public long? MaxProperties { get; set; }

    public IReadOnlyList<SchemaNode> AllOf { get; set; } = [];

    public IReadOnlyList<SchemaNode> AnyOf { get; set; } = [];

    public IReadOnlyList<SchemaNode> OneOf { get; set; } = [];

    public SchemaNode? Not { get; set; }

    public IReadOnlyList<SchemaRule> Rules { get; set; } = [];

    private bool FindDefaults() => Default is not null || Items is { HasDefaults: true } || Additional is { HasDefaults: true } || Properties.Values.Any(child => child.HasDefaults);

    /// <summary>The schema of a member, by name.</summary>
    public SchemaNode? Member(string key) => Properties.GetValueOrDefault(key) ?? Additional;
}
