using System.Diagnostics.Metrics;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>The broker's figures for <c>System.Diagnostics.Metrics</c>. Read without the lock: each is one number.</summary>
internal sealed class MqttMetrics : IDisposable
{
    private readonly Meter _meter = new("Edge.Protocol.Mqtt");

    public MqttMetrics(BrokerCore core)
    {
        var counters = core.Counters;
        _meter.CreateObservableGauge("edge_mqtt_clients", () => core.ConnectedCount, description: "Clients that are connected");
        _meter.CreateObservableGauge("edge_mqtt_sessions", () => core.SessionCount, description: "Sessions, connected or not");
        _meter.CreateObservableGauge("edge_mqtt_subscriptions", () => core.SubscriptionCount, description: "Subscriptions");
        _meter.CreateObservableGauge("edge_mqtt_retained", () => core.RetainedCount, description: "Retained messages");
        _meter.CreateObservableGauge("edge_mqtt_store_changes_waiting", () => core.Changes.Count, description: "Changes that wait for the store");
        _meter.CreateObservableCounter("edge_mqtt_publishes_received", () => counters.PublishesReceived, description: "PUBLISH packets from clients");
        _meter.CreateObservableCounter("edge_mqtt_publishes_sent", () => counters.PublishesSent, description: "PUBLISH packets to clients");
        _meter.CreateObservableCounter("edge_mqtt_publishes_refused", () => counters.PublishesRefused, description: "QoS 1 and 2 messages that were not taken, and whose client was told");
        _meter.CreateObservableGauge("edge_mqtt_publishes_held", () => core.HeldCount, description: "QoS 1 and 2 messages whose acknowledgement waits until they are kept");
        _meter.CreateObservableCounter("edge_mqtt_bytes_received", () => counters.BytesReceived, "By", "Bytes of packets from clients");
        _meter.CreateObservableCounter("edge_mqtt_bytes_sent", () => counters.BytesSent, "By", "Bytes of packets to clients");
        _meter.CreateObservableCounter("edge_mqtt_expired", () => counters.Expired, description: "Messages whose time was over before they were sent");
        _meter.CreateObservableCounter("edge_mqtt_protocol_errors", () => counters.ProtocolErrors, description: "Connections ended because the client broke the protocol");
        _meter.CreateObservableCounter("edge_mqtt_refused", () => counters.Refused, description: "Refused CONNECTs");
        _meter.CreateObservableCounter("edge_mqtt_dropped", () => Dropped(counters), description: "Messages dropped, by reason");
    }

    public void Dispose() => _meter.Dispose();

    private static Measurement<long>[] Dropped(BrokerCounters counters) =>
    [
        new(counters.DroppedSlow, new KeyValuePair<string, object?>("reason", "slow_client")),
        new(counters.DroppedQueueFull, new KeyValuePair<string, object?>("reason", "queue_full")),
        new(counters.DroppedTooLarge, new KeyValuePair<string, object?>("reason", "too_large")),
        new(counters.DroppedLocal, new KeyValuePair<string, object?>("reason", "slow_local_subscriber")),
        new(counters.DroppedRefused, new KeyValuePair<string, object?>("reason", "refused")),
        new(counters.DroppedRetained, new KeyValuePair<string, object?>("reason", "retained_full")),
    ];
}
