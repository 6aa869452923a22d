using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;

namespace Edge.Protocol.Dmi;

/// <summary>Free config values (<c>configData</c>) between JSON and <c>google.protobuf.Any</c> (kubeedge-wire §4.4).</summary>
/// <remarks>Written as KubeEdge's wrappers: text StringValue, whole numbers Int64Value, flags BoolValue. A fraction is a FloatValue when
/// its shortest text as float is its text as double (0.1), as stock peers expect, else a DoubleValue, so nothing is lost. Objects and
/// lists, which stock KubeEdge refuses, are Struct and ListValue. All wrappers are read.</remarks>
public static class DmiAny
{
    private const string Prefix = "type.googleapis.com/google.protobuf.";

    /// <summary>Wraps a JSON value; null becomes an empty text.</summary>
    public static Any Wrap(JsonNode? node)
    {
        switch (node)
        {
            case null:
                return Pack("StringValue", new StringValue());
            case JsonObject or JsonArray:
                return node is JsonObject ? Pack("Struct", ToStruct((JsonObject)node)) : Pack("ListValue", ToList((JsonArray)node));
        }

        switch (node.GetValueKind())
        {
            case JsonValueKind.True:
            case JsonValueKind.False:
                return Pack("BoolValue", new BoolValue { Value = node.GetValueKind() == JsonValueKind.True });
            case JsonValueKind.Number:
                var text = node.ToJsonString();
                if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole))
                    return Pack("Int64Value", new Int64Value { Value = whole });
                var real = double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture);
                var single = (float)real;
                return single.ToString("R", CultureInfo.InvariantCulture) == real.ToString("R", CultureInfo.InvariantCulture)
                    ? Pack("FloatValue", new FloatValue { Value = single })
                    : Pack("DoubleValue", new DoubleValue { Value = real });
            case JsonValueKind.String:
                return Pack("StringValue", new StringValue { Value = node.GetValue<string>() });
            default:
                return Pack("StringValue", new StringValue());
        }
    }

    /// <summary>Unwraps; a type that is no wrapper, or damaged bytes, give null with the reason.</summary>
    public static bool TryUnwrap(Any any, out JsonNode? node, out string error)
    {
        node = null;
        error = "";
        var type = any.TypeUrl[(any.TypeUrl.LastIndexOf('/') + 1)..];
        try
        {
            switch (type)
            {
                case "google.protobuf.StringValue": node = JsonValue.Create(StringValue.Parser.ParseFrom(any.Value).Value); break;
                case "google.protobuf.BytesValue": node = JsonValue.Create(BytesValue.Parser.ParseFrom(any.Value).Value.ToBase64()); break;
                case "google.protobuf.BoolValue": node = JsonValue.Create(BoolValue.Parser.ParseFrom(any.Value).Value); break;
                case "google.protobuf.Int32Value": node = JsonValue.Create((long)Int32Value.Parser.ParseFrom(any.Value).Value); break;
                case "google.protobuf.UInt32Value": node = JsonValue.Create((long)UInt32Value.Parser.ParseFrom(any.Value).Value); break;
                case "google.protobuf.Int64Value": node = JsonValue.Create(Int64Value.Parser.ParseFrom(any.Value).Value); break;
                case "google.protobuf.UInt64Value": node = JsonValue.Create(UInt64Value.Parser.ParseFrom(any.Value).Value); break;
                case "google.protobuf.FloatValue":
                    var text = FloatValue.Parser.ParseFrom(any.Value).Value.ToString("R", CultureInfo.InvariantCulture);
                    node = Number(double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture));
                    break;
                case "google.protobuf.DoubleValue": node = Number(DoubleValue.Parser.ParseFrom(any.Value).Value); break;
                case "google.protobuf.Struct": node = FromStruct(Struct.Parser.ParseFrom(any.Value)); break;
                case "google.protobuf.ListValue": node = FromList(ListValue.Parser.ParseFrom(any.Value)); break;
                case "google.protobuf.Value": node = FromValue(Value.Parser.ParseFrom(any.Value)); break;
                default: error = $"unknown value type '{any.TypeUrl}'"; break;
            }
        }
        catch (InvalidProtocolBufferException e)
        {
            error = $"malformed {type}: {e.Message}";
        }

        return error.Length == 0;
    }

    private static Any Pack(string type, IMessage message) => new() { TypeUrl = Prefix + type, Value = message.ToByteString() };

    // JSON has no NaN or infinity; they stay readable as text.
    private static JsonValue Number(double value)
        => double.IsFinite(value) ? JsonValue.Create(value) : JsonValue.Create(value.ToString(CultureInfo.InvariantCulture));

    private static Struct ToStruct(JsonObject node)
    {
        var result = new Struct();
        foreach (var (key, value) in node)
            result.Fields[key] = ToValue(value);
        return result;
    }

    private static ListValue ToList(JsonArray node)
    {
        var result = new ListValue();
        foreach (var one in node)
            result.Values.Add(ToValue(one));
        return result;
    }

    private static Value ToValue(JsonNode? node) => node switch
    {
        null => Value.ForNull(),
        JsonObject one => new Value { StructValue = ToStruct(one) },
        JsonArray list => new Value { ListValue = ToList(list) },
        _ => node.GetValueKind() switch
        {
            JsonValueKind.True => Value.ForBool(true),
            JsonValueKind.False => Value.ForBool(false),
            JsonValueKind.Number => Value.ForNumber(double.Parse(node.ToJsonString(), NumberStyles.Float, CultureInfo.InvariantCulture)),
            JsonValueKind.String => Value.ForString(node.GetValue<string>()),
            _ => Value.ForNull(),
        },
    };

    private static JsonObject FromStruct(Struct value)
    {
        var result = new JsonObject();
        foreach (var (key, one) in value.Fields)
            result[key] = FromValue(one);
        return result;
    }

    private static JsonArray FromList(ListValue value)
    {
        var result = new JsonArray();
        foreach (var one in value.Values)
            result.Add(FromValue(one));
        return result;
    }

    private static JsonNode? FromValue(Value value) => value.KindCase switch
    {
        Value.KindOneofCase.BoolValue => JsonValue.Create(value.BoolValue),
        // A Struct knows only doubles; a whole one was a whole number.
        Value.KindOneofCase.NumberValue when value.NumberValue == Math.Floor(value.NumberValue) && Math.Abs(value.NumberValue) < 1L << 53
            => JsonValue.Create((long)value.NumberValue),
        Value.KindOneofCase.NumberValue => Number(value.NumberValue),
        Value.KindOneofCase.StringValue => JsonValue.Create(value.StringValue),
        Value.KindOneofCase.StructValue => FromStruct(value.StructValue),
        Value.KindOneofCase.ListValue => FromList(value.ListValue),
        _ => null,
    };
}
