using System.Diagnostics;
using Edge.Protocol.Mqtt.Codec;

namespace Edge.Protocol.Mqtt.Broker;

// What the store kept.
internal sealed partial class BrokerCore
{
    /// <summary>Builds the state of before the restart. Sessions that were connected then count as having lost their connection now. Call once, first.</summary>
    public void Load(IReadOnlyList<MqttStoreChange> changes)
    {
        BeginStep();
        var messages = new Dictionary<long, StoredMessage>();
        foreach (var change in changes)
        {
            switch (change)
            {
                case SessionPut put:
                    var endedAt = put.ConnectedOrEndedAt == 0 ? NowMs : put.ConnectedOrEndedAt - WallOffsetMs;
                    _sessions[put.ClientId] = new Session(put.ClientId, _acl)
                    {
                        UserName = put.UserName,
                        ExpirySeconds = put.ExpirySeconds,
                        ExpiresAtMs = put.ExpirySeconds == uint.MaxValue ? long.MaxValue : endedAt + (put.ExpirySeconds * 1000L),
                        Will = put.Will,
                        WillAtMs = put.Will is { } will ? endedAt + ((will.Properties?.WillDelayInterval ?? 0) * 1000L) : long.MaxValue,
                    };
                    break;
                case MessagePut put:
                    put.Message.StoreId = put.Id;
                    messages[put.Id] = put.Message with { ExpiresAtMs = CoreOf(put.ExpiresAt), StoreId = put.Id };
                    _lastStoreId = Math.Max(_lastStoreId, put.Id);
                    break;
                case SubscriptionPut put:
                    var (share, filter) = MqttTopic.SplitShare(put.Filter);
                    var session = _sessions[put.ClientId];
                    var subscription = new Subscription(session, filter, share, MqttSubscriptionOptions.FromByte(put.Options), put.Id);
                    (session.Subscriptions ??= new(StringComparer.Ordinal))[put.Filter] = subscription;
                    _tree.Add(subscription);
                    break;
                case DeliveryPut put:
                    LoadDelivery(put, messages[put.MessageId]);
                    break;
                case IncomingPut put:
                    (_sessions[put.ClientId].Incoming ??= []).Add(put.PacketId);
                    break;
                case RetainedPut put:
                    _retained.Set(put.Message.Topic, put.Message with { ExpiresAtMs = CoreOf(put.ExpiresAt) });
                    break;
                default:
                    throw new UnreachableException($"a store loads no {change.GetType().Name}");
            }
        }

        foreach (var session in _sessions.Values)
            ScheduleSession(session);
        foreach (var unused in messages.Values.Where(one => one.StoreUses == 0))
            Change(new MessageGone(unused.StoreId), isPromise: false);
        EndStep();
    }

    private void LoadDelivery(DeliveryPut put, StoredMessage message)
    {
        var session = _sessions[put.ClientId];
        message.StoreUses++;
        var delivery = new Delivery(message, put.Qos, put.Retain, put.Ids, put.Sequence) { PacketId = put.PacketId, State = put.State, IsStored = true };
        _sequence = Math.Max(_sequence, put.Sequence);
        if (put.PacketId != 0)
        {
            (session.InFlight ??= [])[put.PacketId] = delivery;
            return;
        }

        // Whether it was a subscription's retained message or a live one with its flag kept is not stored: not counting either drops nothing that was promised.
        if (put.Retain && (session.Replay?.Count ?? 0) < ReplayMax)
        {
            (session.Replay ??= []).Enqueue(delivery);
            return;
        }

        (session.Pending ??= []).Enqueue(delivery);
        session.PendingBytes += message.QueuedSize;
    }

    private long CoreOf(long wallMs) => wallMs == long.MaxValue ? long.MaxValue : wallMs - WallOffsetMs;
}
