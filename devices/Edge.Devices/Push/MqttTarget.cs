using System.Buffers;
using System.Globalization;
using System.Net.Security;
using System.Text.Json;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Devices.Push;

/// <summary>Samples as MQTT messages, one for each: <c>{"event_id","timestamp","data":{PROPERTY:{"value","metadata":{"timestamp","type"}}}}</c>, the form of KubeEdge's
/// <c>$ke/events/device/NAME/data/update</c> (kubeedge-wire §4.6).</summary>
internal sealed class MqttTarget : IPushTarget
{
    private readonly MqttClient _client;
    private readonly string _topic;
    private readonly MqttQos _qos;
    private readonly bool _retained;
    private string _reason = "not connected yet";

    /// <param name="topic">A topic name; <c>${namespace}</c>, <c>${device}</c> and <c>${property}</c> stand for the sample's own.</param>
    public MqttTarget(MqttAddress address, string topic, int qos, bool retained, TimeProvider time, Random random)
    {
        Name = $"mqtt {address} {topic}";
        _topic = topic;
        _qos = (MqttQos)qos;
        _retained = retained;

        // What waits is the queue's before; here only one batch is on its way.
        var options = new MqttClientOptions
        {
            Host = address.Host,
            Port = address.Port,
            Version = MqttVersion.V311,
            Tls = address.IsTls ? new SslClientAuthenticationOptions { TargetHost = address.Host } : null,
            QueueMax = PushQueue.BatchMax,
        };
        _client = MqttClient.Start(options, _ => ValueTask.CompletedTask, time, random, NullLoggerFactory.Instance);
        _client.Changed += state => _reason = state.Reason;
    }

    public string Name { get; }

    public async Task PushAsync(IReadOnlyList<Sample> batch, CancellationToken cancellationToken)
    {
        if (!_client.IsConnected)
            throw new PushException(_reason, isFinal: false);
        try
        {
            await Task.WhenAll(batch.Select(sample => _client.PublishAsync(new MqttMessage(Topic(sample), Write(sample), _qos, _retained), cancellationToken)));
        }
        catch (MqttClientException e)
        {
            throw new PushException(e.Message, isFinal: false, e);
        }
        catch (ArgumentException e)
        {
            throw new PushException(e.Message, isFinal: true, e);
        }
    }

    public ValueTask DisposeAsync() => _client.DisposeAsync();

    private string Topic(in Sample sample)
        => _topic.Replace("${namespace}", sample.Namespace, StringComparison.Ordinal).Replace("${device}", sample.Device, StringComparison.Ordinal)
            .Replace("${property}", sample.Property, StringComparison.Ordinal);

    private static byte[] Write(in Sample sample)
    {
        var buffer = new ArrayBufferWriter<byte>(256);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("event_id"u8, "");
            json.WriteNumber("timestamp"u8, sample.TimestampMs);
            json.WriteStartObject("data"u8);
            json.WriteStartObject(sample.Property);
            json.WriteString("value"u8, sample.Value);
            json.WriteStartObject("metadata"u8);
            json.WriteString("timestamp"u8, sample.TimestampMs.ToString(CultureInfo.InvariantCulture));
            json.WriteString("type"u8, sample.Type);
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteEndObject();
            json.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }
}
