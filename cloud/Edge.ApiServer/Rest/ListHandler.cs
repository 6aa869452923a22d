using System.Buffers;
using System.Buffers.Text;
using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;
using Microsoft.AspNetCore.Http;

namespace Edge.ApiServer.Rest;

/// <summary>GET of a collection. Pages of one list are all of the version of its first page.</summary>
internal sealed class ListHandler(ObjectStore store, TimeProvider time)
{
    private sealed record Page(IReadOnlyList<StoredObject> Items, long Version, string Continue, long? Remaining);

    public async Task HandleAsync(HttpContext context, ServedResource resource, string @namespace, ObjectShape shape)
    {
        var request = context.Request;
        var page = Select(request, resource, ObjectFilter.Read(request, resource, @namespace));
        if (shape == ObjectShape.Table)
        {
            var table = ApiResponse.Table(resource, page.Items, ApiResponse.IncludeObject(request), page.Version, time.GetUtcNow());
            SetContinue(table.Child("metadata"), page);
            await ApiResponse.WriteAsync(context, 200, table);
            return;
        }

        var metadata = new JsonObject { ["resourceVersion"] = page.Version.ToString(CultureInfo.InvariantCulture) };
        SetContinue(metadata, page);
        await ApiResponse.WriteAsync(context, 200, Render(resource, page, metadata, shape));
    }

    private ReadOnlyMemory<byte> Render(ServedResource resource, Page page, JsonObject metadata, ObjectShape shape)
    {
        var (kind, apiVersion) = shape == ObjectShape.Metadata ? ("PartialObjectMetadataList", "meta.k8s.io/v1") : (resource.ListKind, resource.Kind.ApiVersion);
        var buffer = new ArrayBufferWriter<byte>(256 + page.Items.Sum(item => item.Json.Length + 1));
        buffer.Write(Encoding.UTF8.GetBytes($$"""{"kind":"{{kind}}","apiVersion":"{{apiVersion}}","metadata":{{metadata.ToJsonString()}},"items":["""));
        var first = true;
        foreach (var item in page.Items)
        {
            if (!first)
                buffer.Write(","u8);
            first = false;
            buffer.Write(shape == ObjectShape.Metadata ? ObjectJson.Bytes(ApiResponse.Shaped(resource, item, shape, "", time.GetUtcNow()))
                : resource.Custom is null ? item.Json : item.JsonAs(resource.Kind.ApiVersion));
        }

        buffer.Write("]}"u8);
        return buffer.WrittenMemory;
    }

    private static void SetContinue(JsonObject metadata, Page page)
    {
        if (page.Continue.Length > 0)
            metadata["continue"] = page.Continue;
        if (page.Remaining is { } remaining)
            metadata["remainingItemCount"] = remaining;
    }

    private Page Select(HttpRequest request, ServedResource resource, ObjectFilter filter)
    {
        var limit = Number(request, "limit");
        var (items, version, after) = Source(request, resource);
        if (filter.Name is { } name && filter.Namespace.Length > 0 == resource.Kind.Namespaced)
        {
            // One object: no scan.
            var index = ResourceTable.IndexOf(items, StoredObject.Key(filter.Namespace, name));
            return new Page(index >= 0 && filter.Matches(items[index]) ? [items[index]] : [], version, "", null);
        }

        var start = after is not null ? Next(items, after) : filter.Namespace.Length > 0 ? Lower(items, filter.Namespace + "/") : 0;
        var end = filter.Namespace.Length > 0 ? Lower(items, filter.Namespace + "0") : items.Count; // '0' follows '/'
        var selected = new List<StoredObject>();
        var at = start;
        foreach (var item in start == 0 && end == items.Count ? items : Range(items, start, end))
        {
            if (limit > 0 && selected.Count == limit)
                break;
            at++;
            if (filter.Matches(item))
                selected.Add(item);
        }

        if (at >= end)
            return new Page(selected, version, "", null);
        return new Page(selected, version, Token(version, items[at - 1].SortKey), filter.HasSelectors ? null : end - at);
    }

    /// <summary>The objects to choose from: of the continued list's version, of an exact version, or the newest.</summary>
    private (ImmutableList<StoredObject> Items, long Version, string? After) Source(HttpRequest request, ServedResource resource)
    {
        var token = request.Query["continue"].ToString();
        if (token.Length > 0)
        {
            var (version, after) = ReadToken(token);
            return (store.SnapshotAt(resource.Id, version) ?? throw ApiException.Expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter."), version, after);
        }

        var asked = Number(request, "resourceVersion");
        var (items, newest) = store.Snapshot(resource.Id);
        if (asked > newest)
            throw new ApiException(504, "Timeout", $"Too large resource version: {asked}, current: {newest}", new JsonObject
            {
                ["causes"] = new JsonArray(new JsonObject { ["reason"] = "ResourceVersionTooLarge", ["message"] = "Too large resource version" }),
                ["retryAfterSeconds"] = 1,
            });
        if (request.Query["resourceVersionMatch"].ToString() != "Exact")
            return (items, newest, null);
        if (asked == 0)
            throw ApiException.BadRequest("resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"");
        return (store.SnapshotAt(resource.Id, asked) ?? throw ApiException.Expired($"The resourceVersion for the provided list is too old: {asked}."), asked, null);
    }

    private static int Lower(ImmutableList<StoredObject> items, string key)
    {
        var index = ResourceTable.IndexOf(items, key);
        return index >= 0 ? index : ~index;
    }

    private static int Next(ImmutableList<StoredObject> items, string key)
    {
        var index = ResourceTable.IndexOf(items, key);
        return index >= 0 ? index + 1 : ~index;
    }

    private static IEnumerable<StoredObject> Range(ImmutableList<StoredObject> items, int start, int end)
    {
        for (var i = start; i < end; i++)
            yield return items[i];
    }

    private static long Number(HttpRequest request, string name)
    {
        var text = request.Query[name].ToString();
        if (text.Length == 0)
            return 0;
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw ApiException.BadRequest($"{name}: Invalid value: \"{text}\": must be a whole number");
    }

    private static string Token(long version, string key)
        => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(new JsonObject { ["v"] = "edge/v1", ["rv"] = version, ["after"] = key }.ToJsonString()));

    private static (long Version, string After) ReadToken(string token)
    {
        try
        {
            if (Base64Url.IsValid(token) && JsonNode.Parse(Base64Url.DecodeFromChars(token)) is JsonObject read && read.Text("v") == "edge/v1")
                return (read.Number(0, "rv"), read.Text("after"));
        }
        catch (JsonException)
        {
            // answered below: not a token of this server
        }

        throw ApiException.BadRequest("continue key is not valid");
    }
}
