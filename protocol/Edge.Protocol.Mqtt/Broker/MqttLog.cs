using Microsoft.Extensions.Logging;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>What the broker logs; docs/events.md has the list.</summary>
internal static partial class MqttLog
{
    [LoggerMessage(5100, LogLevel.Information, "MQTT is served on {EndPoint} ({Kind})")]
    public static partial void Listening(ILogger logger, string endPoint, string kind);

    [LoggerMessage(5101, LogLevel.Debug, "MQTT client {Client} connected from {Address}")]
    public static partial void Connected(ILogger logger, string client, string address);

    [LoggerMessage(5102, LogLevel.Debug, "MQTT client {Client} at {Address} ended: {Reason}")]
    public static partial void Ended(ILogger logger, string client, string address, string reason);

    [LoggerMessage(5103, LogLevel.Warning, "MQTT client {Client} at {Address} broke the protocol: {Reason}")]
    public static partial void Broke(ILogger logger, string client, string address, string reason);

    [LoggerMessage(5104, LogLevel.Warning, "MQTT client {Client} at {Address} was refused: {Reason}")]
    public static partial void Refused(ILogger logger, string client, string address, string reason);

    [LoggerMessage(5105, LogLevel.Warning, "an MQTT connection could not be accepted: {Reason}")]
    public static partial void AcceptFailed(ILogger logger, string reason);

    [LoggerMessage(5106, LogLevel.Error, "MQTT sessions and retained messages could not be stored: {Reason}; nothing is acknowledged meanwhile, trying again in {DelayMs} ms")]
    public static partial void StoreFailed(ILogger logger, string reason, long delayMs);

    [LoggerMessage(5107, LogLevel.Error, "the handler of the local subscription {Filter} failed; the message is lost, or its publisher was told")]
    public static partial void HandlerFailed(ILogger logger, string filter, Exception error);

    [LoggerMessage(5108, LogLevel.Error, "an MQTT connection from {Address} met a defect; it is closed")]
    public static partial void Defect(ILogger logger, string address, Exception error);

    [LoggerMessage(5109, LogLevel.Warning, "{Count} further warnings about MQTT clients were not logged")]
    public static partial void Suppressed(ILogger logger, long count);

    [LoggerMessage(5110, LogLevel.Warning, "{Count} MQTT messages were dropped: {Slow} for slow clients, {Full} of full session queues, {Large} too large for the client, {Local} for slow local subscribers, {Refused} of QoS 0 that their publisher may not send, {Retained} not retained because the store of retained messages is full")]
    public static partial void Dropped(ILogger logger, long count, long slow, long full, long large, long local, long refused, long retained);
}
