using System.Buffers;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>Bytes for one socket write.</summary>
/// <param name="IsPooled">It goes back to the pool once written; else it is shared with other connections.</param>
internal readonly record struct OutSegment(byte[] Array, int Length, bool IsPooled)
{
    public void Release()
    {
        if (IsPooled)
            ArrayPool<byte>.Shared.Return(Array);
    }
}

/// <summary>What waits for one connection's socket. Small packets are copied one behind the other, so that many go out in one write; a large payload is there by reference, once for all
/// subscribers. Not safe for concurrent use: it belongs to who holds the broker's lock.</summary>
internal sealed class OutQueue
{
    /// <summary>From this size on a payload is not copied.</summary>
    public const int SharedFrom = 4096;
    private const int ChunkMin = 1024;
    private const int ChunkMax = 64 * 1024;

    private List<OutSegment>? _full;
    private byte[]? _tail;
    private int _tailLength;

    /// <summary>Bytes that are not written to the socket yet, taken ones included.</summary>
    public int Bytes { get; private set; }

    /// <summary>True when there is something to take.</summary>
    public bool HasBytes => _tailLength > 0 || _full is { Count: > 0 };

    public void Append(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(Reserve(bytes.Length));
        Commit(bytes.Length);
    }

    /// <summary>Room for this many bytes; <see cref="Commit"/> says how many were used.</summary>
    public Span<byte> Reserve(int count)
    {
        if (_tail is null || _tail.Length - _tailLength < count)
        {
            // A quiet connection takes a small chunk, a busy one soon the largest.
            var size = _tail is null ? ChunkMin : ChunkMax;
            CloseTail();
            _tail = ArrayPool<byte>.Shared.Rent(Math.Max(size, count));
        }

        return _tail.AsSpan(_tailLength, count);
    }

    public void Commit(int count)
    {
        _tailLength += count;
        Bytes += count;
    }

    /// <summary>Adds bytes by reference; nobody may change them any more.</summary>
    public void AppendShared(byte[] bytes)
    {
        CloseTail();
        (_full ??= []).Add(new OutSegment(bytes, bytes.Length, IsPooled: false));
        Bytes += bytes.Length;
    }

    /// <summary>Moves everything to <paramref name="target"/>; <see cref="Written"/> follows.</summary>
    public void TakeAll(List<OutSegment> target)
    {
        CloseTail();
        if (_full is null)
            return;
        target.AddRange(_full);
        _full.Clear();
        if (_full.Capacity > 8)
            _full = null;
    }

    /// <summary>So many of the taken bytes are out.</summary>
    public void Written(int count) => Bytes -= count;

    /// <summary>Drops everything.</summary>
    public void Clear()
    {
        CloseTail();
        foreach (var segment in _full ?? [])
            segment.Release();
        _full = null;
        Bytes = 0;
    }

    private void CloseTail()
    {
        if (_tail is null)
            return;
        if (_tailLength > 0)
            (_full ??= []).Add(new OutSegment(_tail, _tailLength, IsPooled: true));
        else
            ArrayPool<byte>.Shared.Return(_tail);
        _tail = null;
        _tailLength = 0;
    }
}
