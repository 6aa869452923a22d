using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>A change of what survives a restart. Times are milliseconds since 1970.</summary>
public abstract record MqttStoreChange
{
    // Only this library has changes to make.
    private protected MqttStoreChange()
    {
    }
}

/// <param name="ConnectedOrEndedAt">0: connected; else when it lost its connection.</param>
internal sealed record SessionPut(string ClientId, string? UserName, uint ExpirySeconds, long ConnectedOrEndedAt, MqttWill? Will) : MqttStoreChange;

/// <summary>With all that belongs to it.</summary>
internal sealed record SessionGone(string ClientId) : MqttStoreChange;

internal sealed record SubscriptionPut(string ClientId, string Filter, byte Options, uint Id) : MqttStoreChange;

internal sealed record SubscriptionGone(string ClientId, string Filter) : MqttStoreChange;

internal sealed record MessagePut(long Id, StoredMessage Message, long ExpiresAt) : MqttStoreChange;

internal sealed record MessageGone(long Id) : MqttStoreChange;

internal sealed record DeliveryPut(string ClientId, long Sequence, long MessageId, MqttQos Qos, bool Retain, uint[]? Ids, ushort PacketId, DeliveryState State) : MqttStoreChange;

internal sealed record DeliveryGone(string ClientId, long Sequence) : MqttStoreChange;

internal sealed record IncomingPut(string ClientId, ushort PacketId) : MqttStoreChange;

internal sealed record IncomingGone(string ClientId, ushort PacketId) : MqttStoreChange;

internal sealed record RetainedPut(StoredMessage Message, long ExpiresAt) : MqttStoreChange;

internal sealed record RetainedGone(string Topic) : MqttStoreChange;

/// <summary>Keeps sessions and retained messages over a restart.</summary>
public interface IMqttStore : IAsyncDisposable
{
    /// <summary>Everything that is kept, as the changes that make it: sessions and messages first, then what refers to them.</summary>
    IReadOnlyList<MqttStoreChange> Load();

    /// <summary>Completes when all changes are on disk, in this order, or none of them.</summary>
    /// <exception cref="Edge.Common.Storage.StoreException">They could not be written; the broker tries again.</exception>
    ValueTask WriteAsync(IReadOnlyList<MqttStoreChange> changes);
}
