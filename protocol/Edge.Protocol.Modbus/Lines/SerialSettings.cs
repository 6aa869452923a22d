namespace Edge.Protocol.Modbus.Lines;

public enum SerialParity
{
    None,
    Even,
    Odd,
}

/// <summary>A serial line (Modbus over Serial Line V1.02 §2.5.1, §3.3: 19200 baud, even parity and 11 bits a character unless agreed otherwise).</summary>
/// <param name="Path">The device file, e.g. /dev/ttyUSB0.</param>
/// <param name="BaudRate">Bits a second; one of <see cref="BaudRates"/>.</param>
/// <param name="DataBits">7 or 8; RTU wants 8.</param>
/// <param name="StopBits">1 or 2; 2 without parity, by the specification.</param>
public sealed record SerialSettings(string Path, int BaudRate = 19200, SerialParity Parity = SerialParity.Even, int DataBits = 8, int StopBits = 1)
{
    /// <summary>Rates that Linux has a constant for.</summary>
    public static IReadOnlyCollection<int> BaudRates => SerialNative.Speeds.Keys;

    /// <summary>The silence that ends a frame: 3.5 characters, and 1.75 ms above 19200 baud (§2.5.1.1).</summary>
    public TimeSpan FrameSilence => BaudRate > 19200 ? TimeSpan.FromMilliseconds(1.75) : TimeOf(3.5);

    /// <summary>How long so many characters take on the line.</summary>
    public TimeSpan TimeOf(double characters) => TimeSpan.FromSeconds(characters * (1 + DataBits + (Parity == SerialParity.None ? 0 : 1) + StopBits) / BaudRate);

    public override string ToString() => $"{Path} ({BaudRate} {DataBits}{Parity.ToString()[0]}{StopBits})";
}
