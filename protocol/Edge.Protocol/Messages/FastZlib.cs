using System.Buffers;
using System.Buffers.Binary;
using System.Numerics;

namespace Edge.Protocol.Messages;

/// <summary>Makes a zlib stream (RFC 1950) of a small content in one pass: one block with DEFLATE's fixed codes (RFC 1951 §3.2.6), the newest earlier place of the same four bytes as match.</summary>
/// <remarks>What zlib's fastest level does, without its state: setting that up costs several times what compressing an object of 1 KB does, and a stream of System.IO.Compression cannot be used twice.
/// Any reader of zlib reads the result.</remarks>
internal static class FastZlib
{
    /// <summary>The largest input, bytes: DEFLATE's window, so that every earlier byte can be pointed to.</summary>
    public const int InputMax = 32 * 1024;

    private const int MatchMin = 4;
    private const int MatchMax = 258;
    private const int HashBits = 11;

    // All places in a match of this length are remembered; in a longer one they are a repetition mostly.
    private const int IndexedMatchMax = 32;

    // One symbol and its extra bits have 31 bits at most, the end of the block 7, the checksum is 4 bytes.
    private const int TailMax = 20;

    private const uint AdlerModulus = 65_521;

    // So many bytes can be summed before a sum of 32 bits overflows (RFC 1950 §8).
    private const int AdlerRun = 5_552;

    // A symbol as it is written: bits from the lowest on, and how many in the highest byte.
    private static readonly uint[] s_literals = [.. Enumerable.Range(0, 256).Select(value => Reversed(value < 144 ? 0x30 + value : 0x190 + value - 144, value < 144 ? 8 : 9))];
    private static readonly uint[] s_lengths = [.. Enumerable.Range(0, MatchMax + 1).Select(LengthOf)];
    private static readonly uint[] s_distances = [.. Enumerable.Range(0, 30).Select(code => Reversed(code, 5))];

    /// <summary>The zlib stream, or empty when it would be longer than <paramref name="lengthMax"/> or the input is over <see cref="InputMax"/>.</summary>
    public static byte[] Compress(ReadOnlySpan<byte> input, int lengthMax)
    {
        if (input.Length > InputMax || lengthMax <= TailMax)
            return [];
        var rented = ArrayPool<byte>.Shared.Rent(lengthMax);
        try
        {
            return TryWrite(input, rented.AsSpan(0, lengthMax), out var length) ? rented[..length] : [];
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(rented, clearArray: true); // it may have been a Secret
        }
    }

    private static bool TryWrite(ReadOnlySpan<byte> input, Span<byte> output, out int length)
    {
        length = 0;
        // Window of 32 KB, fastest level; the two bytes as one number are a multiple of 31.
        output[0] = 0x78;
        output[1] = 0x01;
        var written = 2;
        ulong bits = 0b011; // the last block, fixed codes
        var count = 3;
        // By the hash of four bytes: where they were last, plus one.
        Span<ushort> places = stackalloc ushort[1 << HashBits];
        var at = 0;
        while (at < input.Length)
        {
            if (written > output.Length - TailMax)
                return false;
            uint symbol;
            var taken = 1;
            if (at + MatchMin <= input.Length && Remember(input, at, places) is var before and >= 0
                && BinaryPrimitives.ReadUInt32LittleEndian(input[before..]) == BinaryPrimitives.ReadUInt32LittleEndian(input[at..]))
            {
                taken = input.Slice(at, Math.Min(MatchMax, input.Length - at)).CommonPrefixLength(input[before..]);
                symbol = s_lengths[taken];
                bits |= (ulong)(symbol & 0xFF_FFFF) << count;
                count += (int)(symbol >> 24);
                symbol = DistanceOf(at - before);
                for (var inside = at + 1; taken <= IndexedMatchMax && inside < at + taken && inside + MatchMin <= input.Length; inside++)
                    Remember(input, inside, places);
            }
            else
            {
                symbol = s_literals[input[at]];
            }

            bits |= (ulong)(symbol & 0xFF_FFFF) << count;
            count += (int)(symbol >> 24);
            at += taken;
            if (count >= 32)
            {
                BinaryPrimitives.WriteUInt32LittleEndian(output[written..], (uint)bits);
                written += 4;
                bits >>= 32;
                count -= 32;
            }
        }

        // The end of the block is seven bits of zero.
        for (count += 7; count > 0; count -= 8)
        {
            output[written++] = (byte)bits;
            bits >>= 8;
        }

        BinaryPrimitives.WriteUInt32BigEndian(output[written..], Adler(input));
        length = written + 4;
        return true;
    }

    // Where the four bytes were before, perhaps, or -1.
    private static int Remember(ReadOnlySpan<byte> input, int at, Span<ushort> places)
    {
        ref var place = ref places[(int)((BinaryPrimitives.ReadUInt32LittleEndian(input[at..]) * 0x9E37_79B1) >> (32 - HashBits))];
        var before = place - 1;
        place = (ushort)(at + 1);
        return before;
    }

    // RFC 1951 §3.2.5: from 5 on there are two codes for each further extra bit.
    private static uint DistanceOf(int distance)
    {
        var value = (uint)(distance - 1);
        if (value < 4)
            return s_distances[value];
        var extra = BitOperations.Log2(value) - 1;
        return (s_distances[(2 * extra) + (int)(value >> extra)] | ((value & ((1u << extra) - 1)) << 5)) + ((uint)extra << 24);
    }

    // RFC 1951 §3.2.5: from 11 on there are four codes for each further extra bit; 258 has one of its own.
    private static uint LengthOf(int length)
    {
        if (length < 3)
            return 0;
        var value = (uint)(length - 3);
        var extra = value < 8 ? 0 : BitOperations.Log2(value) - 2;
        var code = length == MatchMax ? 285 : 257 + (4 * extra) + (int)(value >> extra);
        if (length == MatchMax)
            extra = 0;
        return code < 280 ? Reversed(code - 256, 7, value & ((1u << extra) - 1), extra) : Reversed(0xC0 + code - 280, 8, value & ((1u << extra) - 1), extra);
    }

    // Codes are written from their highest bit on, extra bits from the lowest.
    private static uint Reversed(int code, int length, uint extra = 0, int extraLength = 0)
    {
        uint bits = 0;
        for (var i = 0; i < length; i++)
            bits |= (uint)((code >> i) & 1) << (length - 1 - i);
        return bits | (extra << length) | ((uint)(length + extraLength) << 24);
    }

    private static uint Adler(ReadOnlySpan<byte> input)
    {
        var (sum, sums) = (1u, 0u);
        while (!input.IsEmpty)
        {
            var run = input[..Math.Min(AdlerRun, input.Length)];
            foreach (var one in run)
            {
                sum += one;
                sums += sum;
            }

            (sum, sums) = (sum % AdlerModulus, sums % AdlerModulus);
            input = input[run.Length..];
        }

        return (sums << 16) | sum;
    }
}
