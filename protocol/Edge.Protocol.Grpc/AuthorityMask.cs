using System.Buffers;
using System.Buffers.Binary;

namespace Edge.Protocol.Grpc;

/// <summary>Rewrites what an HTTP/2 client sends so that every <c>:authority</c> is a host name, and copies all else.</summary>
/// <remarks><para>grpc-go sends the path of the unix socket that it dials as <c>:authority</c>. That is no host (RFC 3986 §3.2.2), so Kestrel ends the stream with PROTOCOL_ERROR; yet
/// stock mappers and a stock EdgeCore dial that way. On a unix socket the authority says nothing that the socket does not.</para>
/// <para>The value is replaced by as many letters: an entry of HPACK's dynamic table keeps its size (RFC 7541 §4.1), so both ends go on agreeing on indexes and evictions, and nothing else
/// of a header block has to be understood. One instance per connection.</para></remarks>
internal sealed class AuthorityMask
{
    private const int PrefaceLength = 24; // RFC 9113 §3.4
    private const int HeaderLength = 9;
    private const int FrameMax = 16_384; // SETTINGS_MAX_FRAME_SIZE as Kestrel announces it
    private const int BlockMax = 64 * 1024; // above what Kestrel takes of headers (32 KiB)
    private const byte Headers = 1;
    private const byte Continuation = 9;
    private const byte EndStream = 0x1;
    private const byte EndHeaders = 0x4;
    private const byte Padded = 0x8;
    private const byte Priority = 0x20;

    // How many symbols of HPACK's Huffman code have a code of so many bits (RFC 7541 appendix B). The code is canonical, so this is all that counting symbols takes.
    private static readonly (int Bits, uint Count)[] s_lengths =
    [
        (5, 10), (6, 26), (7, 32), (8, 6), (10, 5), (11, 3), (12, 2), (13, 6), (14, 2), (15, 3), (19, 3), (20, 8), (21, 13), (22, 26), (23, 29), (24, 12), (25, 4), (26, 15), (27, 19),
        (28, 29), (30, 4),
    ];

    private readonly ArrayBufferWriter<byte> _block = new();
    private long _copy = PrefaceLength;
    private bool _inBlock;
    private uint _stream;
    private byte _flags;

    /// <summary>Takes as much of <paramref name="input"/> as is whole, writes what goes on, and returns how far it came.</summary>
    /// <exception cref="InvalidDataException">A frame or a header block is over its limit, or a frame stands inside a header block.</exception>
    public SequencePosition Feed(ReadOnlySequence<byte> input, IBufferWriter<byte> output)
    {
        Span<byte> head = stackalloc byte[HeaderLength];
        while (true)
        {
            if (_copy > 0)
            {
                var part = input.Slice(0, Math.Min(_copy, input.Length));
                foreach (var piece in part)
                    output.Write(piece.Span);
                _copy -= part.Length;
                input = input.Slice(part.End);
            }

            if (_copy > 0 || input.Length < HeaderLength)
                return input.Start;
            input.Slice(0, HeaderLength).CopyTo(head);
            var length = head[0] << 16 | head[1] << 8 | head[2];
            var type = head[3];
            if (_inBlock != (type == Continuation))
                throw new InvalidDataException($"HTTP/2 frame of type {type} {(_inBlock ? "inside" : "outside")} a header block");
            if (type is not (Headers or Continuation))
            {
                _copy = HeaderLength + length;
                continue;
            }

            if (length > FrameMax)
                throw new InvalidDataException($"HTTP/2 header frame of {length} bytes is over the limit of {FrameMax}");
            if (input.Length < HeaderLength + length)
                return input.Start;
            Take(head, input.Slice(HeaderLength, length).ToArray(), output);
            input = input.Slice(HeaderLength + length);
        }
    }

    /// <summary>The block with each authority masked; null when it cannot be read, which is for the server to refuse.</summary>
    internal static byte[]? Mask(ReadOnlySpan<byte> block)
    {
        var masked = new ArrayBufferWriter<byte>(block.Length + 64);
        while (block.Length > 0)
        {
            // RFC 7541 §6: indexed, with incremental indexing, table size update, without indexing, never indexed.
            var first = block[0];
            var prefix = first >= 0x80 ? 7 : first >= 0x40 ? 6 : first >= 0x20 ? 5 : 4;
            if (!TryInteger(block, prefix, out var index, out var used))
                return null;
            var isAuthority = index == 1;
            if (first is < 0x20 or >= 0x40 and < 0x80)
            {
                if (index == 0)
                {
                    if (!TryString(block[used..], out var name, out var symbols, out var taken))
                        return null;
                    isAuthority = symbols == 10 && (block[used] & 0x80) == 0 && name.SequenceEqual(":authority"u8);
                    used += taken;
                }

                if (!TryString(block[used..], out _, out var length, out var size))
                    return null;
                if (isAuthority)
                {
                    masked.Write(block[..used]);
                    WriteLetters(masked, length);
                    block = block[(used + size)..];
                    continue;
                }

                used += size;
            }

            masked.Write(block[..used]);
            block = block[used..];
        }

        return masked.WrittenSpan.ToArray();
    }

    private void Take(ReadOnlySpan<byte> head, ReadOnlySpan<byte> payload, IBufferWriter<byte> output)
    {
        var flags = head[4];
        if (head[3] == Headers)
        {
            _stream = BinaryPrimitives.ReadUInt32BigEndian(head[5..]) & int.MaxValue;
            _flags = (byte)(flags & EndStream);
            var padding = (flags & Padded) != 0 && payload.Length > 0 ? payload[0] : 0;
            var skip = ((flags & Padded) != 0 ? 1 : 0) + ((flags & Priority) != 0 ? 5 : 0);
            if (skip + padding > payload.Length)
                throw new InvalidDataException("HTTP/2 header frame is shorter than its padding");
            payload = payload[skip..^padding];
        }
        else if ((BinaryPrimitives.ReadUInt32BigEndian(head[5..]) & int.MaxValue) != _stream)
            throw new InvalidDataException("HTTP/2 CONTINUATION of another stream");

        if (_block.WrittenCount + payload.Length > BlockMax)
            throw new InvalidDataException($"HTTP/2 header block is over the limit of {BlockMax} bytes");
        _block.Write(payload);
        _inBlock = (flags & EndHeaders) == 0;
        if (_inBlock)
            return;
        Write(Mask(_block.WrittenSpan) ?? _block.WrittenSpan, output);
        _block.ResetWrittenCount();
    }

    private void Write(ReadOnlySpan<byte> block, IBufferWriter<byte> output)
    {
        var type = Headers;
        do
        {
            var part = block[..Math.Min(block.Length, FrameMax)];
            block = block[part.Length..];
            var head = output.GetSpan(HeaderLength);
            (head[0], head[1], head[2], head[3]) = ((byte)(part.Length >> 16), (byte)(part.Length >> 8), (byte)part.Length, type);
            head[4] = (byte)((type == Headers ? _flags : 0) | (block.IsEmpty ? EndHeaders : 0));
            BinaryPrimitives.WriteUInt32BigEndian(head[5..], _stream);
            output.Advance(HeaderLength);
            output.Write(part);
            type = Continuation;
        }
        while (!block.IsEmpty);
    }

    private static void WriteLetters(ArrayBufferWriter<byte> output, int count)
    {
        var span = output.GetSpan(count + 6);
        var at = 0;
        if (count < 127)
            span[at++] = (byte)count;
        else
        {
            span[at++] = 127;
            var rest = count - 127;
            for (; rest >= 128; rest >>= 7)
                span[at++] = (byte)(rest & 127 | 128);
            span[at++] = (byte)rest;
        }

        span.Slice(at, count).Fill((byte)'a');
        output.Advance(at + count);
    }

    // RFC 7541 §5.1.
    private static bool TryInteger(ReadOnlySpan<byte> bytes, int prefix, out int value, out int used)
    {
        (value, used) = (0, 1);
        if (bytes.IsEmpty)
            return false;
        var mask = (1 << prefix) - 1;
        value = bytes[0] & mask;
        if (value < mask)
            return true;
        for (var shift = 0; shift <= 21; shift += 7)
        {
            if (used >= bytes.Length)
                return false;
            var next = bytes[used++];
            value += (next & 127) << shift;
            if (next < 128)
                return true;
        }

        return false;
    }

    // RFC 7541 §5.2: the bytes as they stand, and how many they are when decoded.
    private static bool TryString(ReadOnlySpan<byte> bytes, out ReadOnlySpan<byte> text, out int symbols, out int used)
    {
        text = default;
        symbols = 0;
        if (!TryInteger(bytes, 7, out var length, out used) || length > bytes.Length - used)
            return false;
        text = bytes.Slice(used, length);
        symbols = length;
        if ((bytes[0] & 0x80) != 0)
            symbols = CountSymbols(text);
        used += length;
        return symbols >= 0;
    }

    // -1 when it is no Huffman code.
    private static int CountSymbols(ReadOnlySpan<byte> coded)
    {
        var count = 0;
        var bits = coded.Length * 8;
        var at = 0;
        while (true)
        {
            uint code = 0, first = 0;
            int read = 0, start = at;
            var found = false;
            foreach (var (length, many) in s_lengths)
            {
                first <<= length - read;
                for (; read < length && at < bits; read++, at++)
                    code = code << 1 | (uint)(coded[at >> 3] >> (7 - (at & 7)) & 1);
                if (read < length)
                    break;
                if (code - first < many)
                {
                    found = true;
                    break;
                }

                first += many;
            }

            if (found)
            {
                count++;
                continue;
            }

            // What is left is padding: fewer than eight bits, all ones.
            return bits - start < 8 && code == (1u << (bits - start)) - 1 ? count : -1;
        }
    }
}
