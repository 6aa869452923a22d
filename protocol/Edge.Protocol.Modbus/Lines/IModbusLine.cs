namespace Edge.Protocol.Modbus.Lines;

/// <summary>Bytes to and from the other end: a TCP connection or a serial line. One reader and one writer at a time.</summary>
public interface IModbusLine : IDisposable
{
    /// <summary>For messages, e.g. <c>10.0.0.7:502</c> or <c>/dev/ttyUSB0</c>.</summary>
    string Name { get; }

    /// <summary>Waits for bytes; 0 when the other end closed.</summary>
    /// <exception cref="IOException">The line broke.</exception>
    ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken);

    /// <summary>Sends all bytes.</summary>
    /// <exception cref="IOException">The line broke.</exception>
    ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken);

    /// <summary>Sends, and blocks the thread until there is input, at most this long: for a peer that answers sooner than a thread pool can be woken.</summary>
    /// <returns>Bytes that came; 0 when none have yet; -1 when the line has no such way and nothing was sent.</returns>
    /// <exception cref="IOException">The line broke, or the other end closed.</exception>
    int ExchangeBriefly(ReadOnlySpan<byte> bytes, Span<byte> buffer, TimeSpan most);

    /// <summary>True when the other end is known to have closed, and nothing is left to read.</summary>
    bool HasEnded => false;

    /// <summary>Drops what has come and was not read; returns how many bytes.</summary>
    /// <param name="trace">Gets the bytes; null for nobody.</param>
    int DiscardInput(ModbusTrace? trace);
}
