using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Edge.ApiServer.InProcess;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Storage;
using Edge.ApiServer.Tables;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Rest;

/// <summary>Writes answers, objects in the shape that was asked for.</summary>
internal static class ApiResponse
{
    public static Task WriteAsync(HttpContext context, int code, JsonNode body) => WriteAsync(context, code, ObjectJson.Bytes(body));

    /// <param name="body">Not to be changed afterwards.</param>
    public static async Task WriteAsync(HttpContext context, int code, ReadOnlyMemory<byte> body, string contentType = "application/json")
    {
        context.Response.StatusCode = code;
        context.Response.ContentType = contentType;
        context.Response.ContentLength = body.Length;
        if (HttpMethods.IsHead(context.Request.Method))
            return;
        if (MemoryMarshal.TryGetArray(body, out var array) && array.Array is { } all && all.Length == body.Length && context.Features.Get<IWholeBodyFeature>() is { } whole)
            whole.Answer(all);
        else
            await context.Response.BodyWriter.WriteAsync(body, context.RequestAborted);
    }

    public static Task WriteObjectAsync(HttpContext context, int code, ServedResource resource, StoredObject obj, ObjectShape shape, DateTimeOffset now)
        => shape == ObjectShape.Full
            ? WriteAsync(context, code, resource.Custom is null ? obj.Json : obj.JsonAs(resource.Kind.ApiVersion))
            : WriteAsync(context, code, Shaped(resource, obj, shape, IncludeObject(context.Request), now));

    /// <summary>The object as a one-row Table or as PartialObjectMetadata.</summary>
    public static JsonObject Shaped(ServedResource resource, StoredObject obj, ObjectShape shape, string includeObject, DateTimeOffset now)
        => shape == ObjectShape.Table
            ? Table(resource, [obj], includeObject, obj.Version, now)
            : obj.ParseMetadata();

    public static JsonObject Table(ServedResource resource, IEnumerable<StoredObject> objects, string includeObject, long version, DateTimeOffset now)
    {
        var table = TableBuilder.Build(resource.Kind, resource.Custom?.PrinterColumns, objects.Select(o => Tree(resource, o)), now, includeObject);
        table.Child("metadata")["resourceVersion"] = version.ToString(System.Globalization.CultureInfo.InvariantCulture);
        return table;
    }

    /// <summary>Which part of the objects a Table carries.</summary>
    public static string IncludeObject(HttpRequest request) => request.Query["includeObject"].ToString() switch
    {
        "None" => "None",
        "Object" => "Object",
        _ => "Metadata",
    };

    private static JsonObject Tree(ServedResource resource, StoredObject obj)
    {
        var tree = obj.Parse();
        if (resource.Custom is not null)
            tree["apiVersion"] = resource.Kind.ApiVersion;
        return tree;
    }
}
