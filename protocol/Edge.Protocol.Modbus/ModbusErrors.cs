namespace Edge.Protocol.Modbus;

/// <summary>The slave answered with an exception code. The connection stays usable.</summary>
public sealed class ModbusPeerException(ModbusExceptionCode code, string request)
    : Exception($"the slave refused {request}: {Describe(code)} (exception {(byte)code})")
{
    public ModbusExceptionCode Code { get; } = code;

    private static string Describe(ModbusExceptionCode code) => code switch
    {
        ModbusExceptionCode.IllegalFunction => "it does not have this function",
        ModbusExceptionCode.IllegalDataAddress => "it has no such address",
        ModbusExceptionCode.IllegalDataValue => "it does not take this value or count",
        ModbusExceptionCode.SlaveDeviceFailure => "device failure",
        ModbusExceptionCode.SlaveDeviceBusy => "busy",
        ModbusExceptionCode.GatewayPathUnavailable => "the gateway has no path to it",
        ModbusExceptionCode.GatewayTargetFailedToRespond => "it did not answer the gateway",
        _ => code.ToString(),
    };
}

/// <summary>The connection could not be made, broke, timed out, or carried something that is no Modbus. It is closed; connect again.</summary>
public sealed class ModbusLinkException : Exception
{
    public ModbusLinkException(string message)
        : base(message)
    {
    }

    public ModbusLinkException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
