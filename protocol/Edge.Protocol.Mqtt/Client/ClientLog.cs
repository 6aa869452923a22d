using Microsoft.Extensions.Logging;

namespace Edge.Protocol.Mqtt.Client;

/// <summary>What the client logs; docs/events.md has the list.</summary>
internal static partial class ClientLog
{
    [LoggerMessage(5120, LogLevel.Information, "connected to MQTT server {Server} as {Client}; session present: {Present}")]
    public static partial void Connected(ILogger logger, string server, string client, bool present);

    [LoggerMessage(5121, LogLevel.Warning, "no connection to MQTT server {Server}: {Reason}; next try in {DelayMs} ms")]
    public static partial void Ended(ILogger logger, string server, string reason, long delayMs);

    [LoggerMessage(5122, LogLevel.Error, "the handler of an MQTT message for {Topic} failed; the message is lost")]
    public static partial void HandlerFailed(ILogger logger, string topic, Exception error);

    [LoggerMessage(5123, LogLevel.Warning, "MQTT server {Server} refused the subscription to {Filter}: {Reason}; it is not tried again")]
    public static partial void SubscriptionRefused(ILogger logger, string server, string filter, string reason);
}
