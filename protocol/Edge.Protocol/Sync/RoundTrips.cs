using System.Buffers;
using System.Text.Json;
using Edge.Protocol.Messages;

namespace Edge.Protocol.Sync;

/// <summary>How long the way from a node to the endpoints of one GlobalService takes, as the node measured it.</summary>
/// <remarks>An extension of Edge: source <c>edgedns</c>, group <c>resource</c>, operation <c>update</c>, resource <see cref="Resource"/>, content
/// <c>{"service":"namespace/name","milliseconds":{"endpoint":12.3}}</c>. It goes through the durable queue, the newest of a service alone, and all again whenever the link comes up.
/// An endpoint that is missing could not be reached.</remarks>
/// <param name="Service"><c>namespace/name</c>.</param>
/// <param name="Milliseconds">By endpoint.</param>
public sealed record RoundTrips(string Service, IReadOnlyDictionary<string, double> Milliseconds)
{
    /// <summary>Most endpoints of one report.</summary>
    public const int EndpointsMax = 4_096;

    /// <summary>The longest way that is believed, ms.</summary>
    public const double MillisecondsMax = 60_000;

    private const int BytesMax = 1024 * 1024;
    private static readonly JsonReaderOptions s_reader = new() { MaxDepth = 8 };

    /// <summary><c>namespace/roundtrips/name</c></summary>
    public string Resource
    {
        get
        {
            var slash = Service.IndexOf('/', StringComparison.Ordinal);
            return new ResourcePath(Service[..slash], ResourceTypes.RoundTrips, Service[(slash + 1)..]).ToString();
        }
    }

    public ReadOnlyMemory<byte> Write()
    {
        var buffer = new ArrayBufferWriter<byte>(128);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("service"u8, Service);
            json.WriteStartObject("milliseconds"u8);
            foreach (var (endpoint, milliseconds) in Milliseconds)
                json.WriteNumber(endpoint, Math.Round(milliseconds, 2));
            json.WriteEndObject();
            json.WriteEndObject();
        }

        return buffer.WrittenMemory;
    }

    /// <summary>Null, with the reason, when the content is no report.</summary>
    public static RoundTrips? Read(ReadOnlyMemory<byte> content, out string error)
    {
        error = content.Length > BytesMax ? $"{content.Length} bytes, the limit is {BytesMax}" : "";
        if (error.Length > 0)
            return null;
        var service = "";
        var milliseconds = new Dictionary<string, double>(StringComparer.Ordinal);
        try
        {
            var reader = new Utf8JsonReader(content.Span, s_reader);
            error = "is not a JSON object";
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
                return null;
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var name = reader.GetString();
                reader.Read();
                if (name == "service")
                    service = reader.GetString() ?? "";
                else if (name == "milliseconds")
                    ReadEndpoints(ref reader, milliseconds);
                else
                    reader.Skip();
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            error = $"is malformed: {e.Message}";
            return null;
        }

        error = service.Split('/') is not [{ Length: > 0 }, { Length: > 0 }] ? "'service' must be namespace/name"
            : milliseconds.Count > EndpointsMax ? $"'milliseconds' has {milliseconds.Count} endpoints, the limit is {EndpointsMax}"
            : milliseconds.FirstOrDefault(one => one.Key.Length is 0 or > EndpointHealth.EndpointMax || one.Value is not (>= 0 and <= MillisecondsMax)) is { Key: { } endpoint } bad
                ? $"'milliseconds' of '{endpoint}' is {bad.Value}, must be 0 to {MillisecondsMax}" : "";
        return error.Length > 0 ? null : new RoundTrips(service, milliseconds);
    }

    private static void ReadEndpoints(ref Utf8JsonReader reader, Dictionary<string, double> milliseconds)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException("'milliseconds' is not an object");
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var endpoint = reader.GetString()!;
            reader.Read();
            milliseconds[endpoint] = reader.GetDouble();
        }
    }
}
