namespace Edge.Protocol.Modbus.Lines;

/// <summary>How frames travel.</summary>
public enum ModbusTransport
{
    /// <summary>Modbus TCP: MBAP frames on a TCP connection.</summary>
    Tcp,

    /// <summary>RTU frames on a TCP connection, as terminal servers carry them.</summary>
    RtuOverTcp,

    /// <summary>RTU frames on a serial line.</summary>
    Serial,
}

/// <summary>Where a line is. Two devices with the same <see cref="Key"/> share it.</summary>
public sealed record ModbusLineSettings
{
    private ModbusLineSettings(ModbusTransport transport, string host, int port, SerialSettings? serial)
    {
        Transport = transport;
        Host = host;
        Port = port;
        SerialLine = serial;
    }

    public ModbusTransport Transport { get; }

    public string Host { get; }

    public int Port { get; }

    /// <summary>Set for <see cref="ModbusTransport.Serial"/> alone.</summary>
    public SerialSettings? SerialLine { get; }

    /// <summary>What there can be one of: an address, a device file.</summary>
    public string Key => SerialLine?.Path ?? $"{Host}:{Port}";

    public static ModbusLineSettings Tcp(string host, int port) => new(ModbusTransport.Tcp, host, port, null);

    public static ModbusLineSettings RtuOverTcp(string host, int port) => new(ModbusTransport.RtuOverTcp, host, port, null);

    public static ModbusLineSettings Serial(SerialSettings serial) => new(ModbusTransport.Serial, "", 0, serial);

    /// <summary>Opens the line.</summary>
    /// <exception cref="IOException">It cannot be.</exception>
    public async ValueTask<IModbusLine> OpenAsync(CancellationToken cancellationToken)
        => SerialLine is { } serial ? Lines.SerialLine.Open(serial) : await TcpLine.OpenAsync(Host, Port, cancellationToken);

    public override string ToString() => SerialLine?.ToString() ?? $"{Host}:{Port}{(Transport == ModbusTransport.RtuOverTcp ? " (RTU)" : "")}";
}
