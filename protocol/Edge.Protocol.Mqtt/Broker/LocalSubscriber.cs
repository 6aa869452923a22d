using System.Threading.Channels;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>A subscriber in this process: a bounded queue that its own task reads.</summary>
/// <param name="capacity">Messages that may wait.</param>
/// <param name="isTaker">Acknowledgements wait for it.</param>
internal sealed class LocalSubscriber(int capacity, bool isTaker = false) : Subscriber
{
    /// <summary>Payload bytes that may wait for a taker; one message more is let in.</summary>
    public const long TakerBytesMax = 16 * 1024 * 1024;

    // Full: Offer says so, and the message is dropped and counted; the broker never waits for a handler.
    private readonly Channel<LocalMessage> _queue = Channel.CreateBounded<LocalMessage>(new BoundedChannelOptions(capacity) { SingleReader = true, SingleWriter = true });
    private int _waiting;
    private long _waitingBytes;

    public bool IsTaker => isTaker;

    public ChannelReader<LocalMessage> Reader => _queue.Reader;

    /// <summary>Whether <see cref="Offer"/> would take a message.</summary>
    public bool HasRoom => Volatile.Read(ref _waiting) < capacity && (!isTaker || Volatile.Read(ref _waitingBytes) < TakerBytesMax);

    public override bool MayRead(string topic) => true;

    /// <param name="held">The acknowledgement that waits, where there is one and this is a taker.</param>
    /// <returns>False: there is no room.</returns>
    public bool Offer(StoredMessage message, Codec.MqttQos qos, bool retain, HeldPublish? held = null)
    {
        if (!HasRoom)
            return false;
        var properties = Codec.MqttPropertyCodec.ReadBody(message.Forwarded, Codec.MqttPacketType.Publish, Codec.MqttPacketType.Publish);
        var waits = isTaker ? held : null;
        if (!_queue.Writer.TryWrite(new LocalMessage(new MqttMessage(message.Topic, message.Payload, qos, retain) { Properties = properties }, waits)))
            return false;
        Interlocked.Increment(ref _waiting);
        Interlocked.Add(ref _waitingBytes, message.Payload.Length);
        if (waits is not null)
            waits.Open++;
        return true;
    }

    /// <summary>The handler is done with a message.</summary>
    public void Done(MqttMessage message)
    {
        Interlocked.Decrement(ref _waiting);
        Interlocked.Add(ref _waitingBytes, -message.Payload.Length);
    }

    public void Complete() => _queue.Writer.TryComplete();
}

/// <param name="Held">The acknowledgement that waits for the handler; null where none does.</param>
internal readonly record struct LocalMessage(MqttMessage Message, HeldPublish? Held);
