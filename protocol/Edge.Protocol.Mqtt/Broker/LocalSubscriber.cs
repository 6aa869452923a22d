using System.Threading.Channels;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>A subscriber in this process: a bounded queue that its own task reads.</summary>
internal sealed class LocalSubscriber(int capacity) : Subscriber
{
    // Full: Offer says so, and the message is dropped and counted; the broker never waits for a handler.
    private readonly Channel<MqttMessage> _queue = Channel.CreateBounded<MqttMessage>(new BoundedChannelOptions(capacity) { SingleReader = true, SingleWriter = true });

    public ChannelReader<MqttMessage> Reader => _queue.Reader;

    public override bool MayRead(string topic) => true;

    public bool Offer(StoredMessage message, Codec.MqttQos qos, bool retain)
    {
        var properties = Codec.MqttProperties.None;
        if (message.Forwarded.Length > 0)
        {
            var bytes = new Codec.MqttWriter();
            bytes.VarInt((uint)message.Forwarded.Length);
            bytes.Bytes(message.Forwarded);
            var reader = new Codec.MqttReader(bytes.Written, Codec.MqttPacketType.Publish);
            properties = Codec.MqttPropertyCodec.Read(ref reader, Codec.MqttPacketType.Publish);
        }

        return _queue.Writer.TryWrite(new MqttMessage(message.Topic, message.Payload, qos, retain) { Properties = properties });
    }

    public void Complete() => _queue.Writer.TryComplete();
}
