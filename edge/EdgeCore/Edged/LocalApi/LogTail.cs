using System.Buffers;
using Microsoft.Win32.SafeHandles;

namespace Edge.Core.Edged.LocalApi;

/// <summary>Finds where the last lines of a CRI log file begin, reading backwards in blocks: memory does not grow with the file.</summary>
internal static class LogTail
{
    private const int BlockSize = 64 * 1024;

    /// <summary>The offset at which the last <paramref name="lines"/> lines begin, of those that end before <paramref name="length"/>. A line is what the
    /// container wrote as one, however many pieces the file has it in; one that has not ended yet counts.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static long FindStart(SafeFileHandle file, long length, long lines)
    {
        if (lines <= 0)
            return length;
        var block = ArrayPool<byte>.Shared.Rent(BlockSize);
        try
        {
            long counted = 0;
            var isLast = true;
            var end = length; // of the line looked at, its newline included
            var blockEnd = length;
            while (blockEnd > 0)
            {
                var blockStart = Math.Max(0, blockEnd - BlockSize);
                var bytes = block.AsSpan(0, Read(file, block.AsSpan(0, (int)(blockEnd - blockStart)), blockStart));
                var unseen = bytes;
                while (true)
                {
                    // The newline that ends the line looked at is not the one before it.
                    var before = (int)Math.Min(unseen.Length, Math.Max(0, end - 1 - blockStart));
                    var newline = unseen[..before].LastIndexOf((byte)'\n');
                    if (newline < 0 && blockStart > 0)
                        break;
                    var start = newline < 0 ? 0 : blockStart + newline + 1;
                    if (EndsLine(file, bytes, blockStart, start, end, isLast) && ++counted > lines)
                        return end;
                    if (newline < 0)
                        return 0;
                    isLast = false;
                    end = start;
                    unseen = unseen[..newline];
                }

                blockEnd = blockStart;
            }

            return 0;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(block);
        }
    }

    private static bool EndsLine(SafeFileHandle file, ReadOnlySpan<byte> block, long blockStart, long start, long end, bool isLast)
    {
        Span<byte> own = stackalloc byte[LogLine.HeadMax];
        var wanted = (int)Math.Min(LogLine.HeadMax, end - start);
        scoped ReadOnlySpan<byte> head;
        if (start + wanted <= blockStart + block.Length)
            head = block.Slice((int)(start - blockStart), wanted);
        else
            head = own[..Read(file, own[..wanted], start)];
        var newline = head.IndexOf((byte)'\n');
        var kind = LogLine.Read(newline >= 0 ? head[..newline] : head, out _, out _);
        return kind == LogLineKind.Full || isLast && kind == LogLineKind.Partial;
    }

    private static int Read(SafeFileHandle file, Span<byte> buffer, long offset)
    {
        var total = 0;
        while (total < buffer.Length && RandomAccess.Read(file, buffer[total..], offset + total) is > 0 and var read)
            total += read;
        return total;
    }
}
