using System.Buffers.Binary;
using System.Text;

namespace Edge.Protocol.Sync;

/// <summary>A 64-bit hash that is the same in every process and release; both ends of a link compare it. Not cryptographic: it finds
/// differences, it does not prove who wrote what.</summary>
internal static class StableHash
{
    private const ulong Multiplier = 0x9E3779B97F4A7C15;

    public static ulong Of(ReadOnlySpan<byte> bytes, ulong seed)
    {
        var hash = seed ^ ((ulong)bytes.Length * Multiplier);
        while (bytes.Length >= 8)
        {
            hash = Mix(hash ^ BinaryPrimitives.ReadUInt64LittleEndian(bytes));
            bytes = bytes[8..];
        }

        ulong rest = 0;
        for (var i = 0; i < bytes.Length; i++)
            rest |= (ulong)bytes[i] << (8 * i);
        return Mix(hash ^ rest ^ Multiplier);
    }

    public static ulong Of(string text, ulong seed)
    {
        Span<byte> small = stackalloc byte[512];
        var bytes = Encoding.UTF8.GetMaxByteCount(text.Length) <= small.Length ? small : new byte[Encoding.UTF8.GetByteCount(text)];
        return Of(bytes[..Encoding.UTF8.GetBytes(text, bytes)], seed);
    }

    /// <summary>A bijection that spreads every bit (the finalizer of splitmix64).</summary>
    public static ulong Mix(ulong value)
    {
        value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9;
        value = (value ^ (value >> 27)) * 0x94D049BB133111EB;
        return value ^ (value >> 31);
    }
}
