using System.Buffers;
using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Devices.Push;

/// <summary>What the targets over HTTP share: one POST for a batch. 4xx but 408 and 429 is final, all else is tried again.</summary>
public abstract class HttpTarget(string name, Uri uri, TimeSpan timeout) : IPushTarget
{
    private readonly HttpClient _client = new(new SocketsHttpHandler { UseProxy = false, ConnectTimeout = timeout }) { Timeout = timeout };

    public string Name => name;

    public Task PushAsync(IReadOnlyList<Sample> batch, CancellationToken cancellationToken) => PushBodiesAsync(batch, body => PostAsync(body, cancellationToken));

    public ValueTask DisposeAsync()
    {
        _client.Dispose();
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }

    /// <summary>The body; empty when none of the samples can be sent this way.</summary>
    protected internal abstract byte[] Write(IReadOnlyList<Sample> batch);

    /// <summary>Posts what the batch takes, one request after the other; mostly it is one.</summary>
    protected virtual async Task PushBodiesAsync(IReadOnlyList<Sample> batch, Func<byte[], Task> post)
    {
        if (Write(batch) is { Length: > 0 } body)
            await post(body);
    }

    /// <summary>Looks at what came with a 2xx.</summary>
    /// <exception cref="PushException">It says that the batch was not taken.</exception>
    protected virtual Task CheckAsync(HttpContent answer, CancellationToken cancellationToken) => Task.CompletedTask;

    protected abstract MediaTypeHeaderValue ContentType { get; }

    protected virtual void Authorize(HttpRequestHeaders headers)
    {
    }

    private async Task PostAsync(byte[] body, CancellationToken cancellationToken)
    {
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, uri) { Content = new ByteArrayContent(body) };
            request.Content.Headers.ContentType = ContentType;
            Authorize(request.Headers);
            using var answer = await _client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
            if (answer.IsSuccessStatusCode)
            {
                await CheckAsync(answer.Content, cancellationToken);
                return;
            }

            var status = (int)answer.StatusCode;
            throw new PushException($"it answered {status} {answer.ReasonPhrase}", isFinal: status is >= 400 and < 500 and not (408 or 429));
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw new PushException(e.Message, isFinal: false, e);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            throw new PushException($"no answer within {timeout.TotalMilliseconds:0} ms", isFinal: false, e);
        }
    }
}

/// <summary>A JSON array: <c>[{"namespace","device","property","type","value","timestamp"}]</c>, values as text, milliseconds.</summary>
public sealed class JsonTarget(Uri uri, TimeSpan timeout) : HttpTarget($"http {uri}", uri, timeout)
{
    protected override MediaTypeHeaderValue ContentType { get; } = new("application/json");

    protected internal override byte[] Write(IReadOnlyList<Sample> batch)
    {
        var bytes = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartArray();
            foreach (var sample in batch)
            {
                json.WriteStartObject();
                json.WriteString("namespace", sample.Namespace);
                json.WriteString("device", sample.Device);
                json.WriteString("property", sample.Property);
                json.WriteString("type", sample.Type);
                json.WriteString("value", sample.Value);
                json.WriteNumber("timestamp", sample.TimestampMs);
                json.WriteEndObject();
            }

            json.WriteEndArray();
        }

        return bytes.WrittenSpan.ToArray();
    }
}

/// <summary>OTLP/HTTP in JSON (opentelemetry.proto.collector.metrics.v1): each property a gauge, with the device as an attribute of the point. Truth values
/// are 1 and 0; texts have no place in a metric and are left out.</summary>
public sealed class OtlpTarget(Uri uri, TimeSpan timeout) : HttpTarget($"otlp {uri}", uri, timeout)
{
    protected override MediaTypeHeaderValue ContentType { get; } = new("application/json");

    protected internal override byte[] Write(IReadOnlyList<Sample> batch)
    {
        var numbers = batch.Select(sample => (Sample: sample, Number: ToNumber(sample.Value))).Where(pair => pair.Number is not null).ToList();
        if (numbers.Count == 0)
            return [];
        var bytes = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            json.WriteStartArray("resourceMetrics");
            json.WriteStartObject();
            json.WriteStartObject("resource");
            json.WriteStartArray("attributes");
            Attribute(json, "service.name", "edge-mapper");
            json.WriteEndArray();
            json.WriteEndObject();
            json.WriteStartArray("scopeMetrics");
            json.WriteStartObject();
            json.WriteStartArray("metrics");
            foreach (var metric in numbers.GroupBy(pair => pair.Sample.Property))
            {
                json.WriteStartObject();
                json.WriteString("name", metric.Key);
                json.WriteStartObject("gauge");
                json.WriteStartArray("dataPoints");
                foreach (var (sample, number) in metric)
                {
                    json.WriteStartObject();

                    // 64-bit integers are texts in protobuf's JSON.
                    json.WriteString("timeUnixNano", (sample.TimestampMs * 1_000_000).ToString(CultureInfo.InvariantCulture));
                    json.WriteNumber("asDouble", number!.Value);
                    json.WriteStartArray("attributes");
                    Attribute(json, "device.namespace", sample.Namespace);
                    Attribute(json, "device.name", sample.Device);
                    json.WriteEndArray();
                    json.WriteEndObject();
                }

                json.WriteEndArray();
                json.WriteEndObject();
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
            json.WriteEndArray();
            json.WriteEndObject();
            json.WriteEndArray();
            json.WriteEndObject();
        }

        return bytes.WrittenSpan.ToArray();
    }

    // OTLP/HTTP: what was refused of a batch that was taken stands in the answer (partialSuccess), and must not be sent again.
    protected override async Task CheckAsync(HttpContent answer, CancellationToken cancellationToken)
    {
        JsonObject? partial;
        try
        {
            partial = (await JsonNode.ParseAsync(await answer.ReadAsStreamAsync(cancellationToken), cancellationToken: cancellationToken) as JsonObject)?["partialSuccess"] as JsonObject;
        }
        catch (JsonException)
        {
            // No body, or none in JSON: servers that take all answer so.
            return;
        }

        // A 64-bit integer is a text in protobuf's JSON, but not with all servers.
        if (int.TryParse($"{partial?["rejectedDataPoints"]}", NumberStyles.None, CultureInfo.InvariantCulture, out var refused) && refused > 0)
            throw new PushException($"it took the batch but for {refused} points: {partial!["errorMessage"]}", isFinal: true, refused: refused);
    }

    private static double? ToNumber(string value) => value switch
    {
        "true" => 1,
        "false" => 0,
        _ => double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number) ? number : null,
    };

    private static void Attribute(Utf8JsonWriter json, string key, string value)
    {
        json.WriteStartObject();
        json.WriteString("key", key);
        json.WriteStartObject("value");
        json.WriteString("stringValue", value);
        json.WriteEndObject();
        json.WriteEndObject();
    }
}

/// <summary>InfluxDB v2: line protocol to <c>/api/v2/write</c>, precision ms. Tags are the configured ones and <c>namespace</c> and <c>device</c>; the field is
/// <paramref name="fieldKey"/>, or the property's name when that is empty.</summary>
/// <param name="token">Sent as <c>Authorization: Token</c>; empty for none. Never logged.</param>
public sealed class InfluxTarget(
    Uri write, string bucket, string measurement, string fieldKey, IReadOnlyDictionary<string, string> tags, string token, TimeSpan timeout)
    : HttpTarget($"influxdb2 {write.GetLeftPart(UriPartial.Authority)} {bucket} {measurement}", write, timeout)
{
    protected override MediaTypeHeaderValue ContentType { get; } = new("text/plain") { CharSet = "utf-8" };

    protected override void Authorize(HttpRequestHeaders headers)
    {
        if (token.Length > 0)
            headers.Authorization = new AuthenticationHeaderValue("Token", token);
    }

    protected internal override byte[] Write(IReadOnlyList<Sample> batch)
    {
        var text = new StringBuilder();
        foreach (var sample in batch)
        {
            if (Field(sample) is not { } field)
                continue;
            text.Append(Escape(measurement, ", "));
            foreach (var (key, value) in tags.Where(tag => tag.Key is not ("namespace" or "device") && tag.Value.Length > 0).OrderBy(tag => tag.Key, StringComparer.Ordinal)
                .Append(new("device", tags.GetValueOrDefault("device", sample.Device))).Append(new("namespace", tags.GetValueOrDefault("namespace", sample.Namespace))))
            {
                text.Append(',').Append(Escape(key, ",= ")).Append('=').Append(Escape(value, ",= "));
            }

            text.Append(' ').Append(Escape(fieldKey.Length > 0 ? fieldKey : sample.Property, ",= ")).Append('=').Append(field);
            text.Append(' ').Append(sample.TimestampMs).Append('\n');
        }

        return Encoding.UTF8.GetBytes(text.ToString());
    }

    // Numbers are floats: an integer and a float in one field would be a conflict of types, and so would NaN as a text among numbers: line protocol has none, so null.
    private static string? Field(in Sample sample)
    {
        if (sample.Value is "true" or "false")
            return sample.Value;
        if (sample.Type != "string" && double.TryParse(sample.Value, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number))
            return number.ToString("R", CultureInfo.InvariantCulture);
        if (sample.Type is "int" or "float" or "double")
            return null;
        return $"\"{sample.Value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"";
    }

    private static string Escape(string text, string special)
    {
        var result = new StringBuilder(text.Length);
        foreach (var one in text)
        {
            if (special.Contains(one, StringComparison.Ordinal))
                result.Append('\\');
            result.Append(one is '\n' or '\r' ? ' ' : one);
        }

        return result.ToString();
    }
}
