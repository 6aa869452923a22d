using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.ApiServer.InProcess;
using Edge.Common.Text;
using Microsoft.AspNetCore.Http;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Edge.ApiServer.Rest;

/// <summary>Reads request bodies: JSON or YAML, at most <see cref="BytesMax"/>.</summary>
internal static class RequestBody
{
    /// <summary>As Kubernetes' own limit.</summary>
    public const int BytesMax = 3 * 1024 * 1024;

    private const int YamlNodesMax = 100_000;
    /// <summary>Levels of nesting.</summary>
    public const int DepthMax = 128;

    /// <summary>The body as it came; not to be changed.</summary>
    public static async Task<byte[]> ReadAsync(HttpRequest request, CancellationToken cancellationToken)
    {
        if (request.ContentLength > BytesMax)
            throw ApiException.TooLarge(BytesMax);
        if (request.HttpContext.Features.Get<IWholeBodyFeature>() is { } whole)
            return whole.Asked.Length <= BytesMax ? whole.Asked : throw ApiException.TooLarge(BytesMax);
        var reader = request.BodyReader;
        while (true)
        {
            var read = await reader.ReadAsync(cancellationToken);
            if (read.Buffer.Length > BytesMax)
                throw ApiException.TooLarge(BytesMax);
            if (read.IsCompleted)
            {
                var bytes = read.Buffer.ToArray();
                reader.AdvanceTo(read.Buffer.End);
                return bytes;
            }

            reader.AdvanceTo(read.Buffer.Start, read.Buffer.End);
        }
    }

    /// <summary>The body as an object; null when it is empty.</summary>
    public static async Task<JsonObject?> ReadObjectAsync(HttpRequest request, CancellationToken cancellationToken)
    {
        var mediaType = MediaType(request);
        var yaml = mediaType is "application/yaml" or "application/x-yaml" or "text/yaml";
        if (!yaml && mediaType is not ("" or "application/json" or "*/*" or ProtobufBody.MediaType))
            throw ApiException.UnsupportedMediaType("application/json, application/yaml");
        var bytes = await ReadAsync(request, cancellationToken);
        if (bytes.Length == 0)
            return null;
        if (mediaType == ProtobufBody.MediaType)
            return ProtobufBody.Parse(bytes);
        var node = yaml ? ParseYaml(bytes) : ParseJson(UnicodeText.Of(bytes));
        return node as JsonObject ?? throw ApiException.BadRequest("the object provided is unrecognized: the body must be an object");
    }

    public static string MediaType(HttpRequest request) => request.ContentType switch
    {
        null => "",
        "application/json" => "application/json",
        "application/merge-patch+json" => "application/merge-patch+json",
        var other => other.Split(';')[0].Trim().ToLowerInvariant(),
    };

    public static JsonNode? ParseJson(byte[] bytes)
    {
        try
        {
            return StrictJson.Parse(bytes, DepthMax);
        }
        catch (JsonException e)
        {
            throw ApiException.BadRequest($"the object provided is unrecognized: {e.Message}");
        }
    }

    /// <summary>YAML 1.1 core scalars as Kubernetes reads them; anchors and aliases are refused by the node limit only.</summary>
    public static JsonNode? ParseYaml(byte[] bytes)
    {
        try
        {
            var stream = new YamlStream();
            stream.Load(new StringReader(Encoding.UTF8.GetString(bytes)));
            var budget = YamlNodesMax;
            return stream.Documents.Count == 0 ? null : Convert(stream.Documents[0].RootNode, ref budget);
        }
        catch (YamlException e)
        {
            throw ApiException.BadRequest($"the object provided is unrecognized: yaml: line {e.Start.Line}: {e.Message}");
        }
    }

    private static JsonNode? Convert(YamlNode node, ref int budget)
    {
        if (--budget < 0)
            throw ApiException.BadRequest($"the object provided is unrecognized: yaml: more than {YamlNodesMax} nodes");
        switch (node)
        {
            case YamlMappingNode map:
                var obj = new JsonObject();
                foreach (var (key, value) in map.Children)
                    obj[((YamlScalarNode)key).Value ?? ""] = Convert(value, ref budget);
                return obj;
            case YamlSequenceNode sequence:
                var array = new JsonArray();
                foreach (var child in sequence.Children)
                    array.Add(Convert(child, ref budget));
                return array;
            case YamlScalarNode { Style: ScalarStyle.Plain } scalar:
                return Scalar(scalar.Value ?? "");
            default:
                return JsonValue.Create(((YamlScalarNode)node).Value);
        }
    }

    private static JsonValue? Scalar(string text) => text switch
    {
        "" or "~" or "null" or "Null" or "NULL" => null,
        "true" or "True" or "TRUE" => JsonValue.Create(true),
        "false" or "False" or "FALSE" => JsonValue.Create(false),
        _ when long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole) => JsonValue.Create(whole),
        _ when (char.IsAsciiDigit(text[0]) || text[0] is '-' or '+' or '.') && double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var real) && double.IsFinite(real)
            => JsonValue.Create(real),
        _ => JsonValue.Create(text),
    };
}
