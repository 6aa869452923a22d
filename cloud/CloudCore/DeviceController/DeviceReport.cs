using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.DeviceController;

/// <summary>One report of an edge about one device: twins, or state.</summary>
internal sealed record DeviceReport(string Namespace, string Name, IReadOnlyDictionary<string, JsonObject> Twins, string State, string LastOnlineTime)
{
    /// <summary>Properties that one report may carry, and that one DeviceStatus may hold.</summary>
    public const int TwinsMax = 1024;

    /// <summary>Reads <c>device/&lt;ns&gt;/&lt;name&gt;/twin/edge_updated</c> and <c>device/&lt;ns&gt;/&lt;name&gt;/state/update</c> (kubeedge-wire §4.3).
    /// Returns null with the reason when the message is neither.</summary>
    public static DeviceReport? TryRead(Message message, out string error)
    {
        var parts = message.Resource.Split('/');
        var isTwin = parts is ["device", _, _, "twin", "edge_updated"];
        if (!isTwin && parts is not ["device", _, _, "state", "update"])
        {
            error = $"resource '{message.Resource}' is no device report";
            return null;
        }

        if (JsonBytes.TryObject(MessageCodec.Unwrap(message.Content), out error) is not { } body)
            return null;
        if (!isTwin)
        {
            var device = body.Get("device");
            return new DeviceReport(parts[1], parts[2], new Dictionary<string, JsonObject>(), Scalar(device.Get("state")), Scalar(device.Get("lastOnlineTime")));
        }

        var twins = new Dictionary<string, JsonObject>();
        if (body.Get("twin") is JsonObject all)
        {
            if (all.Count > TwinsMax)
            {
                error = $"{all.Count} properties, the limit is {TwinsMax}";
                return null;
            }

            foreach (var (property, value) in all)
            {
                if (value is JsonObject twin)
                    twins[property] = twin;
            }
        }

        return new DeviceReport(parts[1], parts[2], twins, "", "");
    }

    /// <summary>Lays the reported parts of <paramref name="twin"/> (MsgTwin, kubeedge-wire §4.6) over <paramref name="entry"/> of status.twins[].</summary>
    public static void Merge(JsonObject entry, JsonObject twin)
    {
        var type = Scalar(twin.Get("metadata").Get("type"));
        Put("reported", twin.Get("actual"));
        Put("observedDesired", twin.Get("expected"));
        return;

        void Put(string key, JsonNode? side)
        {
            if (side.Get("value") is not { } value)
                return;
            var metadata = new JsonObject();
            if (Scalar(side.Get("metadata").Get("timestamp")) is { Length: > 0 } timestamp)
                metadata["timestamp"] = timestamp;
            if ((Scalar(side.Get("metadata").Get("type")) is { Length: > 0 } own ? own : type) is { Length: > 0 } kind)
                metadata["type"] = kind;
            // Why the mapper could not read the property; the next report without one clears it.
            if (Scalar(side.Get("metadata").Get("error")) is { Length: > 0 } error)
                metadata["error"] = error;
            entry[key] = new JsonObject { ["value"] = Scalar(value), ["metadata"] = metadata };
        }
    }

    // Values and metadata are strings in the CRD; an edge may send numbers.
    private static string Scalar(JsonNode? node)
        => node switch
        {
            null => "",
            JsonValue value when value.GetValueKind() == JsonValueKind.String => value.GetValue<string>(),
            _ => node.ToJsonString(),
        };
}

/// <summary>Reading as Go peers do: keys in any casing (kubeedge-wire §1.3).</summary>
internal static class AnyCase
{
    public static JsonNode? Get(this JsonNode? node, string key)
    {
        if (node is not JsonObject obj)
            return null;
        if (obj.TryGetPropertyValue(key, out var exact))
            return exact;
        foreach (var (name, value) in obj)
        {
            if (name.Equals(key, StringComparison.OrdinalIgnoreCase))
                return value;
        }

        return null;
    }
}
