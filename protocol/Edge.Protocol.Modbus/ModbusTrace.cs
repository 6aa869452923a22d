using System.Globalization;

namespace Edge.Protocol.Modbus;

/// <summary>One frame as it went over a line.</summary>
/// <param name="Sent">True for what this side sent.</param>
public readonly record struct ModbusTraceEntry(DateTimeOffset Time, bool Sent, string Hex)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Time:HH:mm:ss.fff} {(Sent ? '>' : '<')} {Hex}");
}

/// <summary>The last frames of a line as hex, for somebody who looks. Safe for many threads.</summary>
/// <param name="capacity">Frames kept; the oldest go first and are counted in <see cref="Dropped"/>. A frame takes at most 260 bytes, 520 characters.</param>
public sealed class ModbusTrace(int capacity, TimeProvider time)
{
    private readonly Lock _gate = new();
    private readonly Queue<ModbusTraceEntry> _entries = new();
    private long _dropped;

    /// <summary>Called with each entry, on the task that talks.</summary>
    public event Action<ModbusTraceEntry>? Added;

    /// <summary>Entries that made room for newer ones.</summary>
    public long Dropped => Interlocked.Read(ref _dropped);

    /// <summary>Oldest first; a snapshot.</summary>
    public IReadOnlyList<ModbusTraceEntry> Entries
    {
        get
        {
            lock (_gate)
                return [.. _entries];
        }
    }

    public void Add(bool sent, ReadOnlySpan<byte> bytes)
    {
        var entry = new ModbusTraceEntry(time.GetUtcNow(), sent, Convert.ToHexString(bytes[..Math.Min(bytes.Length, 2 * MbapFrame.SizeMax)]));
        lock (_gate)
        {
            while (_entries.Count >= capacity)
            {
                _entries.Dequeue();
                _dropped++;
            }

            _entries.Enqueue(entry);
        }

        Added?.Invoke(entry);
    }
}
