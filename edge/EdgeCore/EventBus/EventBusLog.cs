using Microsoft.Extensions.Logging;

namespace Edge.Core.EventBus;

/// <summary>Ids 3400-3410.</summary>
internal static partial class EventBusLog
{
    [LoggerMessage(3400, LogLevel.Information, "The MQTT broker listens on {Address}.")]
    public static partial void Listening(ILogger logger, string address);

    [LoggerMessage(3401, LogLevel.Information, "Connected to the MQTT broker {Broker}.")]
    public static partial void Connected(ILogger logger, string broker);

    [LoggerMessage(3402, LogLevel.Warning, "The MQTT broker {Broker} is not reached: {Reason}; trying again for ever.")]
    public static partial void NotConnected(ILogger logger, string broker, string reason);

    [LoggerMessage(3403, LogLevel.Warning, "A message for applications on {Topic} is dropped: {Waiting} wait to be published ({Count} dropped so far).")]
    public static partial void Dropped(ILogger logger, string topic, int waiting, long count);

    [LoggerMessage(3404, LogLevel.Error, "A message of an application on {Topic} was not kept: {Reason}; a publisher of QoS 1 or 2 on the embedded broker is told, and what an external broker sent is tried again.")]
    public static partial void NotKept(ILogger logger, string topic, string reason);

    [LoggerMessage(3407, LogLevel.Warning, "An upload on {Topic} is refused: the queue to the cloud is full ({Count} refused so far); its publisher was told (0x97).")]
    public static partial void Refused(ILogger logger, string topic, long count);

    [LoggerMessage(3408, LogLevel.Information, "The cloud's rules take {Count} topics of this node: {Topics}.")]
    public static partial void RuleTopicsChanged(ILogger logger, int count, string topics);

    [LoggerMessage(3409, LogLevel.Warning, "The rule topic {Topic} is not listened to: {Reason}.")]
    public static partial void BadRuleTopic(ILogger logger, string topic, string reason);

    [LoggerMessage(3410, LogLevel.Warning, "An upload on {Topic} has bytes that are no UTF-8; {What} ({Count} so far). Bytes go up as base64, say.")]
    public static partial void NotText(ILogger logger, string topic, string what, long count);

    [LoggerMessage(3405, LogLevel.Warning, "Publishing to applications on {Topic} failed: {Reason}.")]
    public static partial void NotPublished(ILogger logger, string topic, string reason);

    [LoggerMessage(3406, LogLevel.Error, "The MQTT broker's store {Path} was damaged; it was kept as {Backup}, and sessions and retained messages begin anew.")]
    public static partial void StoreReplaced(ILogger logger, string path, string backup);
}
