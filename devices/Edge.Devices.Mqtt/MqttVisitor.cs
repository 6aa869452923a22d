using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Devices.Mqtt;

/// <summary>How a payload carries a value.</summary>
internal enum PayloadFormat
{
    /// <summary>JSON; a pointer says where.</summary>
    Json,

    /// <summary>UTF-8 text, the whole of it.</summary>
    Text,

    /// <summary>Bytes, as base64.</summary>
    Raw,
}

/// <summary>The way to one property: <c>visitors.configData</c> of an MQTT device (docs/mqtt-mapper.md). Pure.</summary>
internal sealed partial record MqttVisitor
{
    /// <summary>Bytes of a payload that are looked at; a longer one is the property's error.</summary>
    public const int PayloadMax = 256 * 1024;

    /// <summary>The filter of the topics that carry the value; empty for a property that is only written.</summary>
    public string Topic { get; init; } = "";

    public PayloadFormat Format { get; init; }

    /// <summary>Where in the JSON (RFC 6901); empty for all of it.</summary>
    public string Pointer { get; init; } = "";

    /// <summary>Where desired values go; empty for a property that is only read.</summary>
    public string CommandTopic { get; init; } = "";

    /// <summary>The command's payload: <c>${value}</c> stands for the value, <c>${json}</c> for it as a JSON literal.</summary>
    public string CommandTemplate { get; init; } = "${value}";

    public MqttQos Qos { get; init; } = MqttQos.AtLeastOnce;

    public bool Retain { get; init; }

    /// <exception cref="DeviceConfigException">A key is missing or cannot be used.</exception>
    public static MqttVisitor Read(PropertyInfo property)
    {
        var config = property.Visitor;
        var visitor = new MqttVisitor
        {
            Topic = Text(config, "topic"),
            Pointer = Text(config, "pointer"),
            CommandTopic = Text(config, "commandTopic"),
            CommandTemplate = config.ContainsKey("commandTemplate") ? Text(config, "commandTemplate") : "${value}",
            Format = Text(config, "format").ToUpperInvariant() switch
            {
                "" => config.ContainsKey("pointer") ? PayloadFormat.Json : PayloadFormat.Text,
                "JSON" => PayloadFormat.Json,
                "TEXT" => PayloadFormat.Text,
                "RAW" => PayloadFormat.Raw,
                var other => throw new DeviceConfigException($"visitors.configData.format is '{other}', must be json, text or raw"),
            },
            Qos = Text(config, "qos") switch
            {
                "" or "1" => MqttQos.AtLeastOnce,
                "0" => MqttQos.AtMostOnce,
                "2" => MqttQos.ExactlyOnce,
                var other => throw new DeviceConfigException($"visitors.configData.qos is {other}, must be 0, 1 or 2"),
            },
            Retain = Text(config, "retain") is "true",
        };
        if (visitor.Topic.Length == 0 && visitor.CommandTopic.Length == 0)
            throw new DeviceConfigException("visitors.configData.topic is missing: the topic on which the device publishes the value, e.g. plant/oven1/state");
        if (visitor.Topic.Length > 0 && MqttTopic.ProblemOfFilter(visitor.Topic) is { } filter)
            throw new DeviceConfigException($"visitors.configData.topic: {filter}");
        if (visitor.CommandTopic.Length > 0 && MqttTopic.ProblemOfName(visitor.CommandTopic) is { } name)
            throw new DeviceConfigException($"visitors.configData.commandTopic: {name}");
        if (visitor.Pointer.Length > 0 && visitor.Pointer[0] != '/')
            throw new DeviceConfigException($"visitors.configData.pointer is '{visitor.Pointer}', must be a JSON pointer like /sensors/0/temperature");
        return visitor;
    }

    /// <summary>The value that a payload carries.</summary>
    /// <exception cref="DeviceRefusedException">It carries none; the message says why.</exception>
    public string ValueOf(ReadOnlyMemory<byte> payload)
    {
        if (payload.Length > PayloadMax)
            throw new DeviceRefusedException($"the payload on {Topic} has {payload.Length} bytes, the limit is {PayloadMax}");
        try
        {
            switch (Format)
            {
                case PayloadFormat.Raw:
                    return Convert.ToBase64String(payload.Span);
                case PayloadFormat.Text:
                    return new UTF8Encoding(false, true).GetString(payload.Span).Trim();
                default:
                    using (var document = JsonDocument.Parse(payload))
                        return Find(document.RootElement);
            }
        }
        catch (DecoderFallbackException e)
        {
            throw new DeviceRefusedException($"the payload on {Topic} is not UTF-8 text; is it format: raw?", e);
        }
        catch (JsonException e)
        {
            throw new DeviceRefusedException($"the payload on {Topic} is not JSON: {e.Message}", e);
        }
    }

    /// <summary>The payload of a command. The template is looked at once: what the value itself holds, <c>${value}</c> too, goes out as it stands.</summary>
    public byte[] Command(string value, string type)
        => Format == PayloadFormat.Raw && CommandTemplate == "${value}" && TryBase64(value, out var bytes)
            ? bytes
            : Encoding.UTF8.GetBytes(Placeholder().Replace(CommandTemplate, found => found.Value == "${json}" ? Literal(value, type) : value));

    // A value that is none of its type goes as a string, so that the command stays JSON whatever the value is.
    private static string Literal(string value, string type)
    {
        switch (type)
        {
            case "boolean" when value is "true" or "false":
                return value;
            case "int" or "float" or "double" when double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number):
                // "+5", ".5" and "007" are numbers, but no JSON (RFC 8259 §6).
                return JsonNumber().IsMatch(value) ? value : number.ToString("R", CultureInfo.InvariantCulture);
            default:
                return $"\"{JsonEncodedText.Encode(value)}\"";
        }
    }

    [GeneratedRegex(@"\$\{(?:value|json)\}")]
    private static partial Regex Placeholder();

    [GeneratedRegex(@"\A-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\z")]
    private static partial Regex JsonNumber();

    private static bool TryBase64(string value, out byte[] bytes)
    {
        bytes = new byte[value.Length];
        var isBase64 = Convert.TryFromBase64String(value, bytes, out var written);
        bytes = bytes[..written];
        return isBase64;
    }

    private string Find(JsonElement element)
    {
        if (Pointer.Length > 0)
        {
            foreach (var part in Pointer[1..].Split('/'))
            {
                // RFC 6901 §4: ~1 is a slash, ~0 a tilde.
                var name = part.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal);
                var found = element.ValueKind switch
                {
                    JsonValueKind.Object => element.TryGetProperty(name, out var member) ? member : (JsonElement?)null,
                    JsonValueKind.Array => int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out var index) && index < element.GetArrayLength() ? element[index] : null,
                    _ => null,
                };
                element = found ?? throw new DeviceRefusedException($"the payload on {Topic} has nothing at {Pointer}");
            }
        }

        return element.ValueKind switch
        {
            JsonValueKind.String => element.GetString()!,
            JsonValueKind.Null => throw new DeviceRefusedException($"the payload on {Topic} has null at {Pointer}"),
            _ => element.GetRawText(),
        };
    }

    private static string Text(JsonObject config, string key) => config[key] switch
    {
        null => "",
        JsonValue value when value.GetValueKind() == JsonValueKind.String => value.GetValue<string>(),
        var other => other.ToJsonString(),
    };
}
