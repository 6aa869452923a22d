using Microsoft.Extensions.Logging;

namespace Edge.Core.DeviceTwin;

internal static partial class TwinLog
{
    [LoggerMessage(3000, LogLevel.Information, "DMI is served on {Socket}: {Devices} devices, {Mappers} mappers known.")]
    public static partial void Serving(ILogger logger, string socket, int devices, int mappers);

    [LoggerMessage(3001, LogLevel.Information, "Mapper {Mapper} (protocol {Protocol}, version {Version}, socket {Address}) registered; it has {Count} objects.")]
    public static partial void MapperRegistered(ILogger logger, string mapper, string protocol, string version, string address, int count);

    [LoggerMessage(3002, LogLevel.Debug, "Told mapper {Mapper} about {Object}.")]
    public static partial void Told(ILogger logger, string mapper, string @object);

    [LoggerMessage(3003, LogLevel.Warning, "Mapper {Mapper} cannot be told about {Object}: {Reason}; trying again until it answers.")]
    public static partial void MapperUnreachable(ILogger logger, string mapper, string @object, string reason);

    [LoggerMessage(3004, LogLevel.Warning, "Mapper {Mapper} refused {Object}: {Reason}.")]
    public static partial void MapperRefused(ILogger logger, string mapper, string @object, string reason);

    [LoggerMessage(3005, LogLevel.Warning, "Dropped the reported value of {Device}/{Property}: {Reason} ({Count} dropped so far).")]
    public static partial void Dropped(ILogger logger, string device, string property, string reason, long count);

    [LoggerMessage(3006, LogLevel.Warning, "Device {Device} waits for its model {Model}, which is not on this node.")]
    public static partial void WaitsForModel(ILogger logger, string device, string model);

    [LoggerMessage(3007, LogLevel.Warning, "Ignored {Key}: {Reason}.")]
    public static partial void BadObject(ILogger logger, string key, string reason);

    [LoggerMessage(3008, LogLevel.Information, "Device {Device} is {State}.")]
    public static partial void State(ILogger logger, string device, string state);

    [LoggerMessage(3009, LogLevel.Information, "Mapper {Mapper} answers again.")]
    public static partial void MapperReachable(ILogger logger, string mapper);

    [LoggerMessage(3010, LogLevel.Warning, "Device {Device}, property {Property}: {Conflict}.")]
    public static partial void Conflict(ILogger logger, string device, string property, string conflict);

    [LoggerMessage(3011, LogLevel.Error, "What devices reported cannot be stored: {Reason}; the mappers are told to try again.")]
    public static partial void NotStored(ILogger logger, string reason);

    [LoggerMessage(3012, LogLevel.Warning, "Mapper {Mapper} has not answered for {Seconds} s; the state of its devices is unknown.")]
    public static partial void MapperDead(ILogger logger, string mapper, double seconds);

    [LoggerMessage(3013, LogLevel.Information, "Mapper {Mapper} (protocol {Protocol}) is forgotten: it does not answer any more.")]
    public static partial void MapperForgotten(ILogger logger, string mapper, string protocol);
}
