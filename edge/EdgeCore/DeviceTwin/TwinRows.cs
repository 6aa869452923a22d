using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Common.Text;
using Edge.Protocol.Dmi.V1Beta1;
using Google.Protobuf;

namespace Edge.Core.DeviceTwin;

/// <summary>What survives a restart of one device's twin.</summary>
internal sealed class DeviceRow
{
    /// <summary>online, offline …; empty before the first report.</summary>
    public string State { get; set; } = "";

    public long LastOnlineMs { get; set; }

    /// <summary>Of the Device that these values are of; empty in rows of earlier versions.</summary>
    public string Uid { get; set; } = "";

    /// <summary>The state that the mapper said last; empty when it said none.</summary>
    public string MapperState { get; set; } = "";

    /// <summary>By name, in order.</summary>
    public SortedList<string, PropertyTwin> Properties { get; } = new(StringComparer.Ordinal);
}

/// <summary>JSON of the room's local rows. Rows of another form are refused, not guessed.</summary>
internal static class TwinRows
{
    public const string DevicePrefix = "device/";
    public const string MapperPrefix = "mapper/";

    public static string DeviceKey(string @namespace, string name) => $"{DevicePrefix}{@namespace}/{name}";

    public static byte[] WriteDevice(DeviceRow row) => JsonBuffer.Bytes(row, static (json, row) =>
    {
        json.WriteStartObject();
        json.WriteString("state"u8, row.State);
        json.WriteNumber("lastOnline"u8, row.LastOnlineMs);
        json.WriteString("uid"u8, row.Uid);
        json.WriteString("mapperState"u8, row.MapperState);
        json.WriteStartObject("properties"u8);
        for (var i = 0; i < row.Properties.Count; i++)
        {
            json.WritePropertyName(row.Properties.GetKeyAtIndex(i));
            WriteProperty(json, row.Properties.GetValueAtIndex(i));
        }

        json.WriteEndObject();
        json.WriteEndObject();
    });

    private static void WriteProperty(Utf8JsonWriter json, PropertyTwin property)
    {
        json.WriteStartObject();
        if (property.Value is not null)
            json.WriteString("value"u8, property.Value);
        json.WriteNumber("timestamp"u8, property.TimestampMs);
        json.WriteString("type"u8, property.Type);
        json.WriteString("error"u8, property.Error);
        if (property.Expected is not null)
            json.WriteString("expected"u8, property.Expected);
        json.WriteNumber("expectedTimestamp"u8, property.ExpectedTimestampMs);
        json.WriteNumber("edgeVersion"u8, property.EdgeVersion);
        WriteDesired(json, property);
        json.WriteEndObject();
    }

    // What is as without any desired value is left out: the row of each report is written to the disk.
    private static void WriteDesired(Utf8JsonWriter json, PropertyTwin property)
    {
        if (property.Desired is not null)
            json.WriteString("desired"u8, property.Desired);
        if (property.CloudDesired is not null)
            json.WriteString("cloudDesired"u8, property.CloudDesired);
        if (property.IsDesiredHere)
            json.WriteBoolean("desiredHere"u8, true);
        WriteNumber(json, "desiredCloudVersion"u8, property.DesiredCloudVersion);
        WriteNumber(json, "desiredEdgeVersion"u8, property.DesiredEdgeVersion);
        WriteNumber(json, "desiredTimestamp"u8, property.DesiredTimestampMs);
        WriteNumber(json, "cloudTimestamp"u8, property.CloudTimestampMs);
        if (property.Conflict.Length > 0)
            json.WriteString("conflict"u8, property.Conflict);
    }

    private static void WriteNumber(Utf8JsonWriter json, ReadOnlySpan<byte> name, long number)
    {
        if (number != 0)
            json.WriteNumber(name, number);
    }

    public static bool TryReadDevice(ReadOnlyMemory<byte> json, out DeviceRow row)
    {
        row = new DeviceRow();
        try
        {
            var node = StrictJson.Parse(json.Span)!.AsObject();
            row.State = node["state"]!.GetValue<string>();
            row.LastOnlineMs = node["lastOnline"]!.GetValue<long>();
            row.Uid = node["uid"]?.GetValue<string>() ?? "";
            row.MapperState = node["mapperState"]?.GetValue<string>() ?? "";
            foreach (var (name, property) in node["properties"]!.AsObject())
            {
                row.Properties[name] = new PropertyTwin
                {
                    Value = property!["value"]?.GetValue<string>(),
                    TimestampMs = property["timestamp"]!.GetValue<long>(),
                    Type = property["type"]!.GetValue<string>(),
                    Error = property["error"]!.GetValue<string>(),
                    Expected = property["expected"]?.GetValue<string>(),
                    ExpectedTimestampMs = property["expectedTimestamp"]!.GetValue<long>(),
                    EdgeVersion = property["edgeVersion"]!.GetValue<long>(),
                    Desired = property["desired"]?.GetValue<string>(),
                    CloudDesired = property["cloudDesired"]?.GetValue<string>(),
                    IsDesiredHere = property["desiredHere"]?.GetValue<bool>() ?? false,
                    DesiredCloudVersion = property["desiredCloudVersion"]?.GetValue<long>() ?? 0,
                    DesiredEdgeVersion = property["desiredEdgeVersion"]?.GetValue<long>() ?? 0,
                    DesiredTimestampMs = property["desiredTimestamp"]?.GetValue<long>() ?? 0,
                    CloudTimestampMs = property["cloudTimestamp"]?.GetValue<long>() ?? 0,
                    Conflict = property["conflict"]?.GetValue<string>() ?? "",
                };
            }

            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or NullReferenceException or FormatException)
        {
            return false;
        }
    }

    public static byte[] WriteMapper(MapperInfo mapper)
    {
        var node = new JsonObject
        {
            ["name"] = mapper.Name,
            ["version"] = mapper.Version,
            ["apiVersion"] = mapper.ApiVersion,
            ["protocol"] = mapper.Protocol,
            ["address"] = mapper.Address.ToBase64(),
        };
        return System.Text.Encoding.UTF8.GetBytes(node.ToJsonString());
    }

    public static bool TryReadMapper(ReadOnlyMemory<byte> json, out MapperInfo mapper)
    {
        mapper = new MapperInfo();
        try
        {
            var node = StrictJson.Parse(json.Span)!.AsObject();
            mapper.Name = node["name"]!.GetValue<string>();
            mapper.Version = node["version"]!.GetValue<string>();
            mapper.ApiVersion = node["apiVersion"]!.GetValue<string>();
            mapper.Protocol = node["protocol"]!.GetValue<string>();
            mapper.Address = ByteString.FromBase64(node["address"]!.GetValue<string>());
            return mapper.Name.Length > 0;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or NullReferenceException or FormatException)
        {
            return false;
        }
    }
}
