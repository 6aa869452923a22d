using System.Net;

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
        Key = serial is null ? $"{Canonical(host)}:{port}" : Canonical(serial);
    }

    public ModbusTransport Transport { get; }

    public string Host { get; }

    public int Port { get; }

    /// <summary>Set for <see cref="ModbusTransport.Serial"/> alone.</summary>
    public SerialSettings? SerialLine { get; }

    /// <summary>What there can be one of: an address, a device file (what its link leads to, when these settings were made).</summary>
    public string Key { get; }

    public static ModbusLineSettings Tcp(string host, int port) => new(ModbusTransport.Tcp, host, port, null);

    public static ModbusLineSettings RtuOverTcp(string host, int port) => new(ModbusTransport.RtuOverTcp, host, port, null);

    public static ModbusLineSettings Serial(SerialSettings serial) => new(ModbusTransport.Serial, "", 0, serial);

    /// <summary>True when both have the same <see cref="Key"/> and use the line in the same way.</summary>
    public bool IsSameLine(ModbusLineSettings other)
        => Key == other.Key && Transport == other.Transport && SerialLine?.BaudRate == other.SerialLine?.BaudRate && SerialLine?.Parity == other.SerialLine?.Parity
            && SerialLine?.DataBits == other.SerialLine?.DataBits && SerialLine?.StopBits == other.SerialLine?.StopBits;

    /// <summary>Opens the line.</summary>
    /// <exception cref="IOException">It cannot be.</exception>
    public async ValueTask<IModbusLine> OpenAsync(CancellationToken cancellationToken)
        => SerialLine is { } serial ? Lines.SerialLine.Open(serial) : await TcpLine.OpenAsync(Host, Port, cancellationToken);

    private static string Canonical(string host)
        => host.Equals("localhost", StringComparison.OrdinalIgnoreCase) ? "127.0.0.1" : IPAddress.TryParse(host, out var address) ? $"{address}" : host.ToLowerInvariant();

    // A device file that is not there yet is its own.
    private static string Canonical(SerialSettings serial)
    {
        try
        {
            return File.ResolveLinkTarget(serial.Path, returnFinalTarget: true)?.FullName ?? Path.GetFullPath(serial.Path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Path.GetFullPath(serial.Path);
        }
    }

    public override string ToString() => SerialLine?.ToString() ?? $"{Host}:{Port}{(Transport == ModbusTransport.RtuOverTcp ? " (RTU)" : "")}";
}
