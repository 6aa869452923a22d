using System.Text.Json;
using Edge.ApiServer.Rest;
using Edge.ApiServer.Schema;
using Edge.ApiServer.Storage;
using Edge.Common.Text;

namespace Edge.ApiServer.Resources;

/// <summary>A merge patch of a custom resource's status, where its schema has nothing to do: on a state that it has judged, with a patch that it would take as it is. What is not status stays as it is
/// stored, text for text. Everything else goes the general way (<see cref="ObjectStrategy.PrepareUpdate"/>), which comes to the same. Pure.</summary>
internal static class StatusMerge
{
    /// <summary>The patch; null when it is not one of this kind, or no JSON, which the general way then says.</summary>
    /// <returns>To be disposed before the text changes.</returns>
    public static JsonDocument? TryRead(ReadOnlyMemory<byte> patch)
    {
        JsonDocument? document = null;
        try
        {
            document = StrictJson.ParseDocument(patch, RequestBody.DepthMax);
            if (IsPlain(document.RootElement))
                return document;
        }
        catch (JsonException)
        {
            return null;
        }

        document.Dispose();
        return null;
    }

    /// <summary>Whether a state's status can be patched so at all.</summary>
    public static bool Serves(ServedResource resource, StoredObject current, WriteOptions options)
        => !options.DryRun && ObjectStrategy.IsStatusAlone(resource, current, "status")
            && resource.Custom!.Schema is { HasStatusRules: false } schema && schema.Root.Member("status") is { HasDefaults: false }
            && current.Json.AsSpan().IndexOf("\"managedFields\""u8) < 0
            && current.Json.AsSpan().IndexOf("\"deletionTimestamp\""u8) < 0; // this write may be what a deletion waits for

    /// <summary>The next state of one that is <see cref="Serves">served</see>; null when the schema has something to do.</summary>
    public static ObjectJson? Apply(ServedResource resource, StoredObject current, JsonElement patch)
    {
        if (!patch.TryGetProperty("status"u8, out var status))
            return null;
        using var old = ObjectJson.StatusOf(current);
        var before = old?.RootElement ?? default;
        return PlainValue.MayMerge(resource.Custom!.Schema.Root.Member("status")!, status, before) ? ObjectJson.WithStatus(current, before, status) : null;
    }

    // Of the metadata only what says which state is meant, and of the rest nothing that is no text.
    private static bool IsPlain(JsonElement patch)
    {
        if (patch.ValueKind != JsonValueKind.Object)
            return false;
        foreach (var member in patch.EnumerateObject())
        {
            if (member.NameEquals("status"u8))
                continue;
            if (member.NameEquals("apiVersion"u8) || member.NameEquals("kind"u8))
            {
                if (member.Value.ValueKind != JsonValueKind.String)
                    return false;
            }
            else if (!member.NameEquals("metadata"u8) || !IsIdentity(member.Value))
            {
                return false;
            }
        }

        return true;
    }

    private static bool IsIdentity(JsonElement metadata)
    {
        if (metadata.ValueKind != JsonValueKind.Object)
            return false;
        foreach (var member in metadata.EnumerateObject())
        {
            if (member.Value.ValueKind != JsonValueKind.String || member.Value.ValueEquals(""u8) || !(member.NameEquals("name"u8) || member.NameEquals("uid"u8) || member.NameEquals("resourceVersion"u8)))
                return false;
        }

        return true;
    }
}
