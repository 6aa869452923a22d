namespace Edge.Protocol.Modbus;

/// <summary>The slave answered with an exception code. The line stays usable.</summary>
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

/// <summary>Why no answer came.</summary>
public enum ModbusLinkFault
{
    /// <summary>The line cannot be opened, or broke. It is opened again with growing delays.</summary>
    Line,

    /// <summary>Nothing came within the time-out.</summary>
    Silence,

    /// <summary>What came was no answer: wrong CRC, length, transaction, or no Modbus at all.</summary>
    Garbage,

    /// <summary>The request was not sent: the unit was silent lately and others share its line, or too many requests wait.</summary>
    Held,
}

/// <summary>A request got no answer. The master goes on: it opens the line again by itself.</summary>
public sealed class ModbusLinkException : Exception
{
    /// <param name="reason">Why there is no answer, where the message says more; empty where it does not.</param>
    public ModbusLinkException(ModbusLinkFault fault, string message, Exception? inner = null, string reason = "")
        : base(message, inner) => (Fault, Reason) = (fault, reason.Length > 0 ? reason : message);

    public ModbusLinkFault Fault { get; }

    /// <summary>What went wrong, without how long it is until the next try: of a request that was not sent, what went wrong with the last that was.</summary>
    public string Reason { get; }
}
