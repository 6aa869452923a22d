using System.Buffers;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Protocol.Dmi.V1Beta1;
using Google.Protobuf;

namespace Edge.Core.DeviceTwin;

/// <summary>What survives a restart of one device's twin.</summary>
internal sealed class DeviceRow
{
    /// <summary>online, offline …; empty before the first report.</summary>
    public string State { get; set; } = "";

    public long LastOnlineMs { get; set; }

    public Dictionary<string, PropertyTwin> Properties { get; } = new(StringComparer.Ordinal);
}

/// <summary>JSON of the room's local rows. Rows of another form are refused, not guessed.</summary>
internal static class TwinRows
{
    public const string DevicePrefix = "device/";
    public const string MapperPrefix = "mapper/";

    public static string DeviceKey(string @namespace, string name) => $"{DevicePrefix}{@namespace}/{name}";

    public static byte[] WriteDevice(DeviceRow row)
    {
        var buffer = new ArrayBufferWriter<byte>(256);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("state"u8, row.State);
            json.WriteNumber("lastOnline"u8, row.LastOnlineMs);
            json.WriteStartObject("properties"u8);
            foreach (var (name, property) in row.Properties)
            {
                json.WriteStartObject(name);
                if (property.Value is not null)
                    json.WriteString("value"u8, property.Value);
                json.WriteNumber("timestamp"u8, property.TimestampMs);
                json.WriteString("type"u8, property.Type);
                json.WriteString("error"u8, property.Error);
                if (property.Expected is not null)
                    json.WriteString("expected"u8, property.Expected);
                json.WriteNumber("expectedTimestamp"u8, property.ExpectedTimestampMs);
                json.WriteNumber("edgeVersion"u8, property.EdgeVersion);
                json.WriteEndObject();
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }

    public static bool TryReadDevice(ReadOnlyMemory<byte> json, out DeviceRow row)
    {
        row = new DeviceRow();
        try
        {
            var node = JsonNode.Parse(json.Span)!.AsObject();
            row.State = node["state"]!.GetValue<string>();
            row.LastOnlineMs = node["lastOnline"]!.GetValue<long>();
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
            var node = JsonNode.Parse(json.Span)!.AsObject();
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
