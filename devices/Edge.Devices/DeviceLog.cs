using Microsoft.Extensions.Logging;

namespace Edge.Devices;

internal static partial class DeviceLog
{
    [LoggerMessage(6000, LogLevel.Information, "Mapper {Name} serves {Socket}, EdgeCore is expected on {EdgeCore}.")]
    public static partial void Serving(ILogger logger, string name, string socket, string edgeCore);

    [LoggerMessage(6001, LogLevel.Information, "Registered with EdgeCore: {Devices} devices, {Models} models.")]
    public static partial void Registered(ILogger logger, int devices, int models);

    [LoggerMessage(6002, LogLevel.Warning, "EdgeCore on {Socket} cannot be reached: {Reason}; trying again, devices go on.")]
    public static partial void EdgeCoreAway(ILogger logger, string socket, string reason);

    [LoggerMessage(6003, LogLevel.Information, "Device {Device} is {State}{Reason}.")]
    public static partial void State(ILogger logger, string device, string state, string reason);

    [LoggerMessage(6004, LogLevel.Warning, "Property {Device}/{Property}: {Reason}.")]
    public static partial void PropertyRefused(ILogger logger, string device, string property, string reason);

    [LoggerMessage(6005, LogLevel.Information, "Wrote {Value} to {Device}/{Property}.")]
    public static partial void Wrote(ILogger logger, string device, string property, string value);

    [LoggerMessage(6006, LogLevel.Warning, "EdgeCore refused a report about {Device}: {Reason}.")]
    public static partial void ReportRefused(ILogger logger, string device, string reason);

    [LoggerMessage(6007, LogLevel.Error, "The worker of device {Device} failed; it starts again in 5 s.")]
    public static partial void WorkerFailed(ILogger logger, string device, Exception exception);

    [LoggerMessage(6008, LogLevel.Information, "Device {Device} was {Change}.")]
    public static partial void DeviceChanged(ILogger logger, string device, string change);

    [LoggerMessage(6009, LogLevel.Warning, "Property {Device}/{Property}: samples of its history are lost, the oldest first; {Max} of them wait for EdgeCore, or 1 MiB. Said once until EdgeCore takes a report.")]
    public static partial void SamplesLost(ILogger logger, string device, string property, int max);
}
