using Microsoft.Extensions.Logging;

namespace Edge.Devices.Modbus;

internal static partial class ModbusLog
{
    [LoggerMessage(5200, LogLevel.Information, "{Line} {Frame}")]
    public static partial void Frame(ILogger logger, string line, string frame);

    [LoggerMessage(5201, LogLevel.Warning, "unit {Unit} on {Line} refused a read of {Count} registers or bits from {Address} that joins several properties ({Reason}); for the next ten minutes {Remedy}")]
    public static partial void JoinRefused(ILogger logger, int unit, string line, int count, int address, string reason, string remedy);
}
