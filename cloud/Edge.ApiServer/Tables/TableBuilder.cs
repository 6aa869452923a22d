using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.ApiServer.Schema;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tables;

/// <summary>Builds meta.k8s.io/v1 tables, which is what <c>kubectl get</c> shows.</summary>
internal static class TableBuilder
{
    private static readonly PrinterColumn s_age = new("Age", "date", "", "", 0, ".metadata.creationTimestamp");

    /// <summary>The table with empty list metadata (the caller adds resourceVersion and continue). <paramref name="crdColumns"/> is null for
    /// built-in kinds; an empty list gives the name and the age. <paramref name="includeObject"/> is Metadata (also when empty), Object or None.</summary>
    public static JsonObject Build(
        ResourceKind kind, IReadOnlyList<PrinterColumn>? crdColumns, IEnumerable<JsonObject> objects, DateTimeOffset now, string includeObject)
    {
        var (columns, cells) = BuiltinTables.Of(kind) ?? Custom(crdColumns is { Count: > 0 } ? crdColumns : [s_age]);
        var definitions = new JsonArray();
        foreach (var column in columns)
        {
            definitions.Add((JsonNode)new JsonObject
            {
                ["name"] = column.Name, ["type"] = column.Type, ["format"] = column.Format, ["description"] = column.Description, ["priority"] = (long)column.Priority,
            });
        }

        var rows = new JsonArray();
        foreach (var obj in objects)
        {
            var row = new JsonObject { ["cells"] = new JsonArray(cells(obj, now)) };
            if (kind == ResourceKind.Pod && obj.Text("status", "phase") is "Succeeded" or "Failed")
                row["conditions"] = new JsonArray(Completed(obj.Text("status", "phase")));
            if (Include(obj, includeObject) is { } included)
                row["object"] = included;
            rows.Add((JsonNode)row);
        }

        return new JsonObject
        {
            ["kind"] = "Table", ["apiVersion"] = "meta.k8s.io/v1", ["metadata"] = new JsonObject(), ["columnDefinitions"] = definitions, ["rows"] = rows,
        };
    }

    private static JsonObject Completed(string phase) => new()
    {
        ["type"] = "Completed", ["status"] = "True", ["reason"] = phase, ["message"] = phase == "Succeeded" ? "The pod has completed successfully." : "The pod failed.",
    };

    private static JsonObject? Include(JsonObject obj, string includeObject) => includeObject switch
    {
        "None" => null,
        "Object" => (JsonObject)obj.DeepClone(),
        _ => new JsonObject { ["kind"] = "PartialObjectMetadata", ["apiVersion"] = "meta.k8s.io/v1", ["metadata"] = obj["metadata"]?.DeepClone() ?? new JsonObject() },
    };

    private static (TableColumn[] Columns, Func<JsonObject, DateTimeOffset, JsonNode?[]> Cells) Custom(IReadOnlyList<PrinterColumn> columns)
    {
        var paths = columns.Select(column => JsonPath.TryParse(column.JsonPath, out var path, out _) ? path : null).ToList();
        return (
            [new TableColumn("Name", "string", 0, "name", "Name must be unique within a namespace."), .. columns.Select(column => new TableColumn(column.Name, column.Type, column.Priority, column.Format, column.Description))],
            (obj, now) =>
            {
                var cells = new JsonNode?[columns.Count + 1];
                cells[0] = obj.Name();
                for (var i = 0; i < columns.Count; i++)
                    cells[i + 1] = paths[i]?.Find(obj).FirstOrDefault() is { } value ? Cell(columns[i].Type, value, now) : null;
                return cells;
            });
    }

    /// <summary>The cell, or null (shown as &lt;none&gt;) where the value does not have the column's type.</summary>
    private static JsonNode? Cell(string type, JsonNode value, DateTimeOffset now)
    {
        var kind = value.GetValueKind();
        return type switch
        {
            "date" => kind != JsonValueKind.String ? null : HumanDuration.Since(value.GetValue<string>(), now) is var age && age == "<unknown>" ? "<invalid>" : age,
            "integer" => value.TryWhole(out var whole) ? whole : null,
            "number" => kind == JsonValueKind.Number ? value.DeepClone() : null,
            "boolean" => kind is JsonValueKind.True or JsonValueKind.False ? value.DeepClone() : null,
            _ => kind == JsonValueKind.String ? value.DeepClone() : value.ToJsonString(),
        };
    }
}
