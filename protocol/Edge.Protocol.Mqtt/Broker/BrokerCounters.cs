namespace Edge.Protocol.Mqtt.Broker;

/// <summary>What a broker has done; written under its lock, read by anybody.</summary>
internal sealed class BrokerCounters
{
    public long Received;
    public long Sent;
    public long BytesReceived;
    public long BytesSent;
    public long PublishesReceived;
    public long PublishesSent;
    public long PublishesRefused;
    public long DroppedSlow;
    public long DroppedQueueFull;
    public long DroppedTooLarge;
    public long DroppedLocal;
    public long DroppedRefused;
    public long DroppedRetained;
    public long Expired;
    public long ProtocolErrors;
    public long Refused;

    public long Dropped => DroppedSlow + DroppedQueueFull + DroppedTooLarge + DroppedLocal + DroppedRefused + DroppedRetained;
}
