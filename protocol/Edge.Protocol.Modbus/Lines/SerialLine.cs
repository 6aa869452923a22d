using System.Runtime.InteropServices;

namespace Edge.Protocol.Modbus.Lines;

/// <summary>A serial line through termios: raw, non-blocking, no flow control. No thread of its own (<see cref="SerialPoller"/>).</summary>
public sealed class SerialLine : IModbusLine
{
    private readonly Lock _gate = new();
    private readonly int _fd;
    private bool _closed;

    private SerialLine(int fd, string name)
    {
        _fd = fd;
        Name = name;
    }

    public string Name { get; }

    /// <summary>Opens and sets up the line; what waits in its input is dropped.</summary>
    /// <exception cref="IOException">No such device, no right to it, or it does not take the settings.</exception>
    public static SerialLine Open(SerialSettings settings)
    {
        if (!SerialNative.Speeds.ContainsKey(settings.BaudRate))
            throw new IOException($"{settings.Path}: {settings.BaudRate} baud is no rate of a serial line; there are {string.Join(", ", SerialNative.Speeds.Keys.Order())}");
        var fd = SerialNative.Open(settings.Path, SerialNative.ReadWrite | SerialNative.NoControl | SerialNative.NonBlocking | SerialNative.CloseOnExec);
        if (fd < 0)
            throw new IOException($"{settings.Path}: {Marshal.GetLastPInvokeErrorMessage()}");
        try
        {
            // Two masters on one line would take each other's answers. The lock is for programs that look at it, and holds for root too; TIOCEXCL is for all others.
            if (SerialNative.FileLock(fd, SerialNative.LockExclusive | SerialNative.LockNoWait) != 0)
                throw new IOException($"{settings.Path} is in use by another program (or by this one, under another name)");
            if (SerialNative.Configure(fd, settings) is { Length: > 0 } problem)
                throw new IOException($"{settings.Path} {problem}");
            _ = SerialNative.Control(fd, SerialNative.ExclusiveOn);
            _ = SerialNative.Flush(fd, SerialNative.FlushInput);
            SerialPoller.Instance.Add(fd);
            return new SerialLine(fd, settings.Path);
        }
        catch
        {
            _ = SerialNative.Close(fd);
            throw;
        }
    }

    public async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        while (true)
        {
            if (TryRead(buffer.Span) is { } read)
                return read;
            await SerialPoller.Instance.WaitAsync(_fd, write: false, cancellationToken);
        }
    }

    public async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken)
    {
        while (bytes.Length > 0)
        {
            var written = TryWrite(bytes.Span);
            bytes = bytes[written..];
            if (bytes.Length > 0)
                await SerialPoller.Instance.WaitAsync(_fd, write: true, cancellationToken);
        }
    }

    public int ExchangeBriefly(ReadOnlySpan<byte> bytes, Span<byte> buffer, TimeSpan most) => -1;

    public int DiscardInput(ModbusTrace? trace)
    {
        Span<byte> rubbish = stackalloc byte[512];
        var dropped = 0;

        // Bounded: a line that talks without end is read on by the request that follows.
        for (var i = 0; i < 16 && TryRead(rubbish) is > 0 and var read; i++)
        {
            trace?.Add(sent: false, rubbish[..read]);
            dropped += read;
        }

        return dropped;
    }

    public void Dispose()
    {
        lock (_gate)
        {
            if (_closed)
                return;
            _closed = true;
            SerialPoller.Instance.Remove(_fd);
            _ = SerialNative.Control(_fd, SerialNative.ExclusiveOff);
            _ = SerialNative.Close(_fd);
        }
    }

    // Null when nothing is there. Under the gate, so that no closed (and maybe reused) descriptor is read.
    private unsafe int? TryRead(Span<byte> buffer)
    {
        lock (_gate)
        {
            ThrowIfClosed();
            while (true)
            {
                nint read;
                fixed (byte* start = buffer)
                    read = SerialNative.Read(_fd, start, buffer.Length);
                if (read >= 0)
                    return (int)read;
                switch (Marshal.GetLastPInvokeError())
                {
                    case SerialNative.Again: return null;
                    case SerialNative.Interrupted: continue;
                    default: throw new IOException($"{Name}: {Marshal.GetLastPInvokeErrorMessage()}");
                }
            }
        }
    }

    private unsafe int TryWrite(ReadOnlySpan<byte> bytes)
    {
        lock (_gate)
        {
            ThrowIfClosed();
            while (true)
            {
                nint written;
                fixed (byte* start = bytes)
                    written = SerialNative.Write(_fd, start, bytes.Length);
                if (written >= 0)
                    return (int)written;
                switch (Marshal.GetLastPInvokeError())
                {
                    case SerialNative.Again: return 0;
                    case SerialNative.Interrupted: continue;
                    default: throw new IOException($"{Name}: {Marshal.GetLastPInvokeErrorMessage()}");
                }
            }
        }
    }

    private void ThrowIfClosed()
    {
        if (_closed)
            throw new IOException($"{Name} is closed");
    }
}
