using System.IO.Compression;

namespace Edge.Protocol.Messages;

/// <summary>A content that goes to many links or is sent again: its bytes, and their compressed form, kept once it is asked for again. Safe for concurrent calls.</summary>
public sealed class SharedContent(ReadOnlyMemory<byte> utf8)
{
    /// <summary>Below this many bytes compression costs more than it saves.</summary>
    public const int CompressFrom = 512;

    // What a thread keeps to compress the next one into.
    private const int KeptMax = 16 * 1024;

    [ThreadStatic]
    private static MemoryStream? s_output;

    // Weak: it is there while nodes are being sent it, and not for as long as the object lives. Most objects go to one node once, and need none.
    private WeakReference<byte[]>? _compressed;
    private bool _wasAsked;

    /// <summary>The JSON value in UTF-8.</summary>
    public ReadOnlyMemory<byte> Utf8 { get; } = utf8;

    /// <summary>The zlib form (RFC 1950), or empty when it would not be smaller by an eighth.</summary>
    public ReadOnlyMemory<byte> Compressed
    {
        get
        {
            if (_compressed is not null && _compressed.TryGetTarget(out var made))
                return made;
            made = Compress(Utf8);
            if (_wasAsked)
                _compressed = new WeakReference<byte[]>(made);
            _wasAsked = true;
            return made;
        }
    }

    internal static byte[] Compress(ReadOnlyMemory<byte> utf8)
    {
        if (utf8.Length < CompressFrom)
            return [];
        var output = s_output ??= new MemoryStream();
        output.SetLength(0);
        using (var zlib = new ZLibStream(output, CompressionLevel.Fastest, leaveOpen: true))
            zlib.Write(utf8.Span);
        byte[] compressed = output.Length < utf8.Length - (utf8.Length / 8) ? output.ToArray() : [];
        output.GetBuffer().AsSpan(0, (int)output.Length).Clear(); // it may have been a Secret
        if (output.Capacity > KeptMax)
            s_output = null;
        return compressed;
    }
}
