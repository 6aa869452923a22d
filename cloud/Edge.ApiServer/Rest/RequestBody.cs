using System.Buffers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.ApiServer.InProcess;
using Edge.Common.Text;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Rest;

/// <summary>Reads request bodies: JSON or YAML, at most <see cref="BytesMax"/>.</summary>
internal static class RequestBody
{
    /// <summary>As Kubernetes' own limit.</summary>
    public const int BytesMax = 3 * 1024 * 1024;

    /// <summary>Levels of nesting, of a body and of what is stored.</summary>
    public const int DepthMax = 128;

    // What the aliases of a small text can make of it.
    private const int YamlNodesMax = 100_000;

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

    /// <summary>YAML by the rules of kubectl, or JSON; null when the text is empty.</summary>
    public static JsonNode? ParseYaml(byte[] bytes)
    {
        try
        {
            return Manifests.ParseValue(Encoding.UTF8.GetString(bytes), DepthMax, YamlNodesMax);
        }
        catch (ManifestException e)
        {
            throw ApiException.BadRequest($"the object provided is unrecognized: yaml: {e.Message}");
        }
    }
}
