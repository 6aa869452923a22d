using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Nodes;
using Edge.ApiServer.Tables;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;

namespace Edge.ApiServer.Schema;

/// <summary>A column of <c>kubectl get</c>; <paramref name="Type"/> is integer, number, string, boolean or date, priority 0 shows without <c>-o wide</c>.</summary>
internal sealed record PrinterColumn(string Name, string Type, string Format, string Description, int Priority, string JsonPath);

/// <summary>The JSON paths of the scale subresource, e.g. <c>.spec.replicas</c>; <paramref name="LabelSelectorPath"/> may be empty.</summary>
internal sealed record ScalePaths(string SpecReplicasPath, string StatusReplicasPath, string LabelSelectorPath);

/// <summary>One version of a custom resource. <paramref name="SelectableFields"/> are JSON paths, e.g. <c>.spec.color</c>.</summary>
internal sealed record CustomResourceVersion(
    string Name,
    bool Served,
    bool Storage,
    StructuralSchema Schema,
    bool HasStatus,
    ScalePaths? Scale,
    IReadOnlyList<PrinterColumn> PrinterColumns,
    IReadOnlyList<string> SelectableFields);

/// <summary>A valid CustomResourceDefinition, compiled. Immutable.</summary>
internal sealed class CustomResource
{
    public required string Group { get; init; }

    public required string Plural { get; init; }

    public required string Singular { get; init; }

    public required string Kind { get; init; }

    public required string ListKind { get; init; }

    public required IReadOnlyList<string> ShortNames { get; init; }

    public required IReadOnlyList<string> Categories { get; init; }

    public required bool Namespaced { get; init; }

    public required IReadOnlyList<CustomResourceVersion> Versions { get; init; }

    /// <summary>Compiles a CustomResourceDefinition; false with every fault found when it is not valid.</summary>
    public static bool TryParse(JsonObject crd, [NotNullWhen(true)] out CustomResource? definition, out List<FieldError> errors)
    {
        definition = null;
        errors = BuiltinObjects.Validate(ResourceKind.CustomResourceDefinition, crd, null);
        if (errors.Count > 0)
            return false;
        if (crd["spec"] is not JsonObject spec || spec["names"] is not JsonObject names)
        {
            errors.Add(Errors.Required(crd["spec"] is JsonObject ? "spec.names" : "spec"));
            return false;
        }

        CheckNames(crd, spec, names, errors);
        var versions = new List<CustomResourceVersion>();
        var i = 0;
        foreach (var version in spec.Items("versions"))
            versions.Add(ParseVersion(version, $"spec.versions[{i++}]", errors));
        CheckVersions(versions, errors);
        if (spec.At("conversion", "strategy") is { } strategy && spec.Text("conversion", "strategy") != "None")
            errors.Add(Errors.NotSupported("spec.conversion.strategy", strategy.ToString(), "None"));
        if (spec.Flag(false, "preserveUnknownFields"))
            errors.Add(Errors.Invalid("spec.preserveUnknownFields", JsonValue.Create(true), "must be false in order to use defaults in the schema"));
        if (errors.Count > 0)
            return false;
        var kind = names.Text("kind");
        definition = new CustomResource
        {
            Group = spec.Text("group"),
            Plural = names.Text("plural"),
            Singular = names.Text("singular") is { Length: > 0 } singular ? singular : kind.ToLowerInvariant(),
            Kind = kind,
            ListKind = names.Text("listKind") is { Length: > 0 } listKind ? listKind : kind + "List",
            ShortNames = [.. names.Texts("shortNames")],
            Categories = [.. names.Texts("categories")],
            Namespaced = spec.Text("scope") == "Namespaced",
            Versions = versions,
        };
        return true;
    }

    private static void CheckNames(JsonObject crd, JsonObject spec, JsonObject names, List<FieldError> errors)
    {
        var (group, plural, scope) = (spec.Text("group"), names.Text("plural"), spec.Text("scope"));
        if (group.Length == 0)
            errors.Add(Errors.Required("spec.group"));
        else if (Names.DnsSubdomain(group) is { } groupFault)
            errors.Add(Errors.Invalid("spec.group", group, groupFault));
        else if (!group.Contains('.', StringComparison.Ordinal))
            errors.Add(Errors.Invalid("spec.group", group, "should be a domain with at least one dot"));
        if (crd.Name() != $"{plural}.{group}")
            errors.Add(Errors.Invalid("metadata.name", crd.Name(), "must be spec.names.plural+\".\"+spec.group"));
        if (scope is not ("Namespaced" or "Cluster"))
            errors.Add(scope.Length == 0 ? Errors.Required("spec.scope") : Errors.NotSupported("spec.scope", scope, "Cluster", "Namespaced"));
        Label("plural", required: true, lower: false);
        Label("singular", required: false, lower: false);
        Label("kind", required: true, lower: true);
        Label("listKind", required: false, lower: true);
        if (names.Text("kind") is { Length: > 0 } kind && kind == names.Text("listKind"))
            errors.Add(Errors.Invalid("spec.names.listKind", kind, "kind and listKind may not be the same"));
        foreach (var list in (string[])["shortNames", "categories"])
        {
            var i = 0;
            foreach (var name in names.Texts(list))
            {
                if (Names.Dns1035Label(name) is { } fault)
                    errors.Add(Errors.Invalid($"spec.names.{list}[{i}]", name, fault));
                i++;
            }
        }

        void Label(string key, bool required, bool lower)
        {
            var text = names.Text(key);
            if (text.Length == 0 && required)
                errors.Add(Errors.Required($"spec.names.{key}"));
            else if (text.Length > 0 && Names.Dns1035Label(lower ? text.ToLowerInvariant() : text) is { } fault)
                errors.Add(Errors.Invalid($"spec.names.{key}", text, fault));
        }
    }

    private static void CheckVersions(List<CustomResourceVersion> versions, List<FieldError> errors)
    {
        if (versions.Count == 0)
        {
            errors.Add(Errors.Required("spec.versions", "must have at least one version"));
            return;
        }

        foreach (var name in versions.GroupBy(version => version.Name).Where(group => group.Count() > 1).Select(group => group.Key))
            errors.Add(Errors.Duplicate("spec.versions", name));
        if (versions.Count(version => version.Storage) != 1)
            errors.Add(Errors.Invalid("spec.versions", new JsonArray([.. versions.Select(version => (JsonNode)version.Name)]), "must have exactly one version marked as storage version"));
        if (!versions.Any(version => version.Served))
            errors.Add(Errors.Invalid("spec.versions", new JsonArray([.. versions.Select(version => (JsonNode)version.Name)]), "must have at least one version with served set to true"));
    }

    private static CustomResourceVersion ParseVersion(JsonObject version, string at, List<FieldError> errors)
    {
        var name = version.Text("name");
        if (Names.Dns1035Label(name) is { } fault)
            errors.Add(Errors.Invalid($"{at}.name", name, fault));
        StructuralSchema schema;
        if (version.At("schema", "openAPIV3Schema") is JsonObject raw)
        {
            schema = StructuralSchema.Parse(raw, $"{at}.schema.openAPIV3Schema", errors);
        }
        else
        {
            errors.Add(Errors.Required($"{at}.schema.openAPIV3Schema", "schemas are required"));
            schema = StructuralSchema.Parse(new JsonObject { ["type"] = "object" }, at, []);
        }

        return new CustomResourceVersion(
            name,
            version.Flag(false, "served"),
            version.Flag(false, "storage"),
            schema,
            version.At("subresources", "status") is not null,
            ParseScale(version, at, errors),
            ParseColumns(version, at, errors),
            ParseSelectable(version, at, errors));
    }

    private static ScalePaths? ParseScale(JsonObject version, string at, List<FieldError> errors)
    {
        if (version.At("subresources", "scale") is not JsonObject scale)
            return null;
        var paths = new ScalePaths(scale.Text("specReplicasPath"), scale.Text("statusReplicasPath"), scale.Text("labelSelectorPath"));
        Inside("specReplicasPath", paths.SpecReplicasPath, required: true, ".spec.");
        Inside("statusReplicasPath", paths.StatusReplicasPath, required: true, ".status.");
        Inside("labelSelectorPath", paths.LabelSelectorPath, required: false, ".spec.", ".status.");
        return paths;

        void Inside(string key, string path, bool required, params string[] prefixes)
        {
            if (path.Length == 0 && required)
                errors.Add(Errors.Required($"{at}.subresources.scale.{key}"));
            else if (path.Length > 0 && (!prefixes.Any(prefix => path.StartsWith(prefix, StringComparison.Ordinal)) || path.Contains('[', StringComparison.Ordinal)))
                errors.Add(Errors.Invalid($"{at}.subresources.scale.{key}", path, $"should be a json path without the array notation under {string.Join(" or ", prefixes.Select(prefix => prefix.TrimEnd('.')))}"));
        }
    }

    private static List<PrinterColumn> ParseColumns(JsonObject version, string at, List<FieldError> errors)
    {
        var columns = new List<PrinterColumn>();
        foreach (var column in version.Items("additionalPrinterColumns"))
        {
            var columnAt = $"{at}.additionalPrinterColumns[{columns.Count}]";
            var (name, type, path) = (column.Text("name"), column.Text("type"), column.Text("jsonPath"));
            if (name.Length == 0)
                errors.Add(Errors.Required($"{columnAt}.name"));
            if (type is not ("integer" or "number" or "string" or "boolean" or "date"))
                errors.Add(type.Length == 0 ? Errors.Required($"{columnAt}.type") : Errors.NotSupported($"{columnAt}.type", type, "boolean", "date", "integer", "number", "string"));
            if (path.Length == 0)
                errors.Add(Errors.Required($"{columnAt}.jsonPath"));
            else if (!JsonPath.TryParse(path, out _, out var fault))
                errors.Add(Errors.Invalid($"{columnAt}.jsonPath", path, $"is an invalid jsonpath: {fault}"));
            columns.Add(new PrinterColumn(name, type, column.Text("format"), column.Text("description"), (int)column.Number(0, "priority"), path));
        }

        return columns;
    }

    private static List<string> ParseSelectable(JsonObject version, string at, List<FieldError> errors)
    {
        var fields = new List<string>();
        foreach (var field in version.Items("selectableFields"))
        {
            var path = field.Text("jsonPath");
            if (path.Length < 2 || path[0] != '.' || path.AsSpan().ContainsAny("[]*"))
                errors.Add(Errors.Invalid($"{at}.selectableFields[{fields.Count}].jsonPath", path, "is an invalid path: must be a simple path such as .spec.color"));
            fields.Add(path);
        }

        return fields;
    }
}
