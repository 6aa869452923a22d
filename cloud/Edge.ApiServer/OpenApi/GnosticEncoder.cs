using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.ApiServer.Schema;
using Edge.Kubernetes;

namespace Edge.ApiServer.OpenApi;

/// <summary>Encodes a Swagger 2.0 document as gnostic's protobuf. The numbers are the field numbers of gnostic-models'
/// openapiv2/OpenAPIv2.proto. Extensions (<c>x-…</c>) become NamedAny with YAML text; JSON is YAML.</summary>
internal static class GnosticEncoder
{
    private static readonly (string Verb, int Field)[] s_verbs = [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)];

    public static byte[] Document(JsonObject document)
    {
        var writer = new ProtoWriter();
        writer.Text(1, document.Text("swagger"));
        writer.Message(2, info =>
        {
            info.Text(1, document.Text("info", "title"));
            info.Text(2, document.Text("info", "version"));
        });
        writer.Message(8, paths => Named(paths, 2, document["paths"], PathItem));
        writer.Message(9, definitions => Named(definitions, 1, document["definitions"], Schema));
        return writer.ToArray();
    }

    private static void PathItem(ProtoWriter writer, JsonObject item)
    {
        foreach (var (verb, field) in s_verbs)
        {
            if (item[verb] is JsonObject operation)
                writer.Message(field, inner => Operation(inner, operation));
        }

        Parameters(writer, 9, item);
    }

    private static void Operation(ProtoWriter writer, JsonObject operation)
    {
        writer.Text(5, operation.Text("operationId"));
        Parameters(writer, 8, operation);
        writer.Message(9, responses => Named(responses, 1, operation["responses"], (value, response) => value.Message(1, inner =>
        {
            inner.Text(1, response.Text("description"));
            if (response["schema"] is JsonObject schema)
                inner.Message(2, item => item.Message(1, target => Schema(target, schema)));
        })));
        Extensions(writer, 13, operation);
    }

    private static void Parameters(ProtoWriter writer, int field, JsonObject owner)
    {
        foreach (var parameter in owner.Items("parameters"))
        {
            // ParametersItem.parameter, then Parameter's body_parameter (1) or non_body_parameter (2).
            writer.Message(field, item => item.Message(1, choice =>
            {
                if (parameter.Text("in") == "body")
                    choice.Message(1, body => Body(body, parameter));
                else
                    choice.Message(2, other => other.Message(parameter.Text("in") == "query" ? 3 : 4, sub => NonBody(sub, parameter)));
            }));
        }
    }

    private static void Body(ProtoWriter writer, JsonObject parameter)
    {
        writer.Text(2, parameter.Text("name"));
        writer.Text(3, "body");
        writer.Flag(4, parameter.Flag(false, "required"));
        writer.Message(5, schema => Schema(schema, parameter["schema"] as JsonObject ?? []));
    }

    private static void NonBody(ProtoWriter writer, JsonObject parameter)
    {
        writer.Flag(1, parameter.Flag(false, "required"));
        writer.Text(2, parameter.Text("in"));
        writer.Text(3, parameter.Text("description"));
        writer.Text(4, parameter.Text("name"));
        // A query parameter has allow_empty_value in between.
        writer.Text(parameter.Text("in") == "query" ? 6 : 5, parameter.Text("type"));
    }

    private static void Schema(ProtoWriter writer, JsonObject schema)
    {
        writer.Text(1, schema.Text("$ref"));
        writer.Text(2, schema.Text("format"));
        writer.Text(3, schema.Text("title"));
        writer.Text(4, schema.Text("description"));
        if (schema["default"] is { } value)
            writer.Message(5, any => any.Text(2, value.ToJsonString()));
        Number(6, "multipleOf");
        Number(7, "maximum");
        writer.Flag(8, schema.Flag(false, "exclusiveMaximum"));
        Number(9, "minimum");
        writer.Flag(10, schema.Flag(false, "exclusiveMinimum"));
        writer.Whole(11, schema.Number(0, "maxLength"));
        writer.Whole(12, schema.Number(0, "minLength"));
        writer.Text(13, schema.Text("pattern"));
        writer.Whole(14, schema.Number(0, "maxItems"));
        writer.Whole(15, schema.Number(0, "minItems"));
        writer.Flag(16, schema.Flag(false, "uniqueItems"));
        writer.Whole(17, schema.Number(0, "maxProperties"));
        writer.Whole(18, schema.Number(0, "minProperties"));
        foreach (var name in schema.Texts("required"))
            writer.Text(19, name);
        foreach (var allowed in schema["enum"] as JsonArray ?? [])
            writer.Message(20, any => any.Text(2, allowed?.ToJsonString() ?? "null"));
        if (schema["additionalProperties"] is JsonObject additional)
            writer.Message(21, item => item.Message(1, inner => Schema(inner, additional)));
        else if (schema["additionalProperties"]?.GetValueKind() == JsonValueKind.True)
            writer.Message(21, item => item.Flag(2, true));
        if (schema.Text("type") is { Length: > 0 } type)
            writer.Message(22, item => item.Text(1, type));
        if (schema["items"] is JsonObject items)
            writer.Message(23, item => item.Message(1, inner => Schema(inner, items)));
        foreach (var part in schema.Items("allOf"))
            writer.Message(24, inner => Schema(inner, part));
        if (schema["properties"] is JsonObject properties)
            writer.Message(25, inner => Named(inner, 1, properties, Schema));
        Extensions(writer, 31, schema);

        void Number(int field, string key)
        {
            if (schema[key] is JsonValue number && number.GetValueKind() == JsonValueKind.Number)
                writer.Double(field, number.GetDouble());
        }
    }

    /// <summary>A repeated message {1: name, 2: value}.</summary>
    private static void Named(ProtoWriter writer, int field, JsonNode? map, Action<ProtoWriter, JsonObject> write)
    {
        foreach (var (name, value) in map as JsonObject ?? [])
        {
            writer.Message(field, pair =>
            {
                pair.Text(1, name);
                pair.Message(2, inner => write(inner, value as JsonObject ?? []));
            });
        }
    }

    private static void Extensions(ProtoWriter writer, int field, JsonObject owner)
    {
        foreach (var (name, value) in owner)
        {
            if (name.StartsWith("x-", StringComparison.Ordinal) && value is not null)
            {
                writer.Message(field, pair =>
                {
                    pair.Text(1, name);
                    pair.Message(2, any => any.Text(2, value.ToJsonString()));
                });
            }
        }
    }
}
