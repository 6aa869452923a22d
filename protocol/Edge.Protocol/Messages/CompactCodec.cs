using System.Buffers;
using System.IO.Compression;
using System.Text;

namespace Edge.Protocol.Messages;

/// <summary>The frame between two Edge peers (<see cref="EdgeWire"/>): one or more records, each one message without JSON's envelope.</summary>
/// <remarks>
/// <para><c>frame = 1*record</c>; <c>record = %x01</c> (keepalive) or <c>%x02 flags id [parent] timestamp [version] source group operation resource [destination sync] content</c>.
/// An id is 16 bytes where it is a UUID in canonical text, else a text; a text is a varint length and UTF-8; a timestamp is a varint of zigzag milliseconds;
/// source, group and operation are one byte, an index into a table of the wire's words, or 0 and a text. A content is a varint length and that many bytes; compressed, the varint of its
/// whole length stands before.</para>
/// <para>Every length is checked against what is there, and against <see cref="MessageLimits.MessageSizeMax"/>, before memory is taken.</para>
/// </remarks>
public static class CompactCodec
{
    private const byte BeatKind = 1;
    private const byte MessageKind = 2;
    private const string TracePrefix = "trace:";

    [Flags]
    private enum Has : byte
    {
        None = 0,
        UuidId = 1,
        Parent = 2,
        UuidParent = 4,
        Version = 8,
        Compressed = 16,
        OkContent = 32,
        NoContent = 64,
        Rare = 128,
    }

    // Fixed for version 1 of the wire: add at the end only, and never more than 255.
    private static readonly string[] s_words =
    [
        "", Sources.EdgeController, Sources.DeviceController, Sources.CloudHub, Sources.Edged, Sources.Twin, Sources.Meta, Sources.MetaManager, Sources.WebSocket, Sources.Bus,
        Groups.Resource, Groups.Meta, Groups.Twin, Groups.User, Operations.Insert, Operations.Update, Operations.Delete, Operations.Query, Operations.Patch, Operations.Upload,
        Operations.Response, Operations.Error, Operations.Keepalive, Operations.Get,
    ];

    // "meta" and "twin" are words of sources and of groups: the first place is written, both are read.
    private static readonly Dictionary<string, byte> s_codes = s_words.Select((word, i) => (word, i)).Where(one => one.i > 0).DistinctBy(one => one.word).ToDictionary(one => one.word, one => (byte)one.i);

    /// <summary>Appends one message to <paramref name="output"/>. Contents of <see cref="SharedContent.CompressFrom"/> bytes and more are compressed where that helps.</summary>
    public static void Write(Message message, IBufferWriter<byte> output)
    {
        if (message is { Operation: Operations.Keepalive, ParentId.Length: 0 })
        {
            output.GetSpan(1)[0] = BeatKind;
            output.Advance(1);
            return;
        }

        var flags = Has.None;
        if (IsUuid(message.Id, out var id))
            flags |= Has.UuidId;
        var parent = Guid.Empty;
        if (message.ParentId.Length > 0)
            flags |= Has.Parent | (IsUuid(message.ParentId, out parent) ? Has.UuidParent : 0);
        if (message.ResourceVersion.Length > 0)
            flags |= Has.Version;
        var destination = message.Destination.Length > 0 || message.Trace is null ? message.Destination : TracePrefix + message.Trace;
        if (message.Sync || destination.Length > 0)
            flags |= Has.Rare;
        ReadOnlyMemory<byte> compressed = default;
        if (message.Content.IsEmpty)
            flags |= Has.NoContent;
        else if (message.Content.Span.SequenceEqual(MessageCodec.Ok.Span))
            flags |= Has.OkContent;
        else if (message.Content.Length >= SharedContent.CompressFrom)
        {
            compressed = message.Shared?.Compressed ?? SharedContent.Compress(message.Content);
            if (!compressed.IsEmpty)
                flags |= Has.Compressed;
        }

        var head = output.GetSpan(2);
        head[0] = MessageKind;
        head[1] = (byte)flags;
        output.Advance(2);
        WriteId(output, message.Id, id, (flags & Has.UuidId) != 0);
        if ((flags & Has.Parent) != 0)
            WriteId(output, message.ParentId, parent, (flags & Has.UuidParent) != 0);
        WriteNumber(output, (ulong)((message.TimestampMs << 1) ^ (message.TimestampMs >> 63)));
        if ((flags & Has.Version) != 0)
            WriteText(output, message.ResourceVersion);
        WriteWord(output, message.Source);
        WriteWord(output, message.Group);
        WriteWord(output, message.Operation);
        WriteText(output, message.Resource);
        if ((flags & Has.Rare) != 0)
        {
            WriteText(output, destination);
            WriteNumber(output, message.Sync ? 1UL : 0);
        }

        if ((flags & (Has.NoContent | Has.OkContent)) != 0)
            return;
        if ((flags & Has.Compressed) != 0)
            WriteNumber(output, (ulong)message.Content.Length);
        var content = (flags & Has.Compressed) != 0 ? compressed : message.Content;
        WriteNumber(output, (ulong)content.Length);
        output.Write(content.Span);
    }

    /// <summary>Reads the first record of <paramref name="frame"/> and takes it off. Returns false, with the reason, when it is malformed; the rest of the frame is then lost, since
    /// nothing says where the next record begins. The content is a copy. Never throws for bad input.</summary>
    public static bool TryRead(ref ReadOnlySpan<byte> frame, out Message message, out string error)
    {
        message = new Message { Id = "" };
        var reader = new Reader(frame);
        var kind = reader.Byte();
        if (kind == BeatKind)
        {
            frame = reader.Rest;
            error = "";
            message = new Message { Id = "", Source = Sources.WebSocket, Group = Groups.Resource, Operation = Operations.Keepalive, Resource = "node" };
            return true;
        }

        if (kind != MessageKind)
        {
            error = reader.Failed ? "the frame ends where a record should begin" : $"record kind {kind} is not known";
            return false;
        }

        var flags = (Has)reader.Byte();
        var id = reader.Id((flags & Has.UuidId) != 0);
        var parent = (flags & Has.Parent) != 0 ? reader.Id((flags & Has.UuidParent) != 0) : "";
        var zigzag = reader.Number();
        var version = (flags & Has.Version) != 0 ? reader.Text() : "";
        var source = reader.Word();
        var group = reader.Word();
        var operation = reader.Word();
        var resource = reader.Text();
        var destination = "";
        var sync = false;
        if ((flags & Has.Rare) != 0)
        {
            destination = reader.Text();
            sync = reader.Number() == 1;
        }

        ReadOnlyMemory<byte> content = default;
        var problem = "";
        if ((flags & Has.OkContent) != 0)
            content = MessageCodec.Ok;
        else if ((flags & Has.NoContent) == 0)
        {
            var whole = (flags & Has.Compressed) != 0 ? reader.Number() : 0;
            var bytes = reader.Bytes();
            if (whole > MessageLimits.MessageSizeMax)
                problem = $"a content of {whole} bytes is over the limit of {MessageLimits.MessageSizeMax}";
            else if (!reader.Failed)
                content = (flags & Has.Compressed) != 0 ? Inflate(bytes, (int)whole, ref problem) : bytes.ToArray();
        }

        error = reader.Failed ? $"the record ends early, or a length in it is over what is there ({frame.Length} bytes)"
            : problem.Length > 0 ? problem
            : operation.Length == 0 ? "the record has no operation"
            : "";
        if (error.Length > 0)
            return false;
        var isTrace = destination.StartsWith(TracePrefix, StringComparison.Ordinal);
        message = new Message
        {
            Id = id,
            ParentId = parent,
            TimestampMs = (long)(zigzag >> 1) ^ -(long)(zigzag & 1),
            ResourceVersion = version,
            Sync = sync,
            Source = source,
            Destination = isTrace ? "" : destination,
            Trace = isTrace ? destination[TracePrefix.Length..] : null,
            Group = group,
            Operation = operation,
            Resource = resource,
            Content = content,
        };
        frame = reader.Rest;
        return true;
    }

    private static byte[] Inflate(ReadOnlySpan<byte> compressed, int whole, ref string problem)
    {
        // zlib packs at most about 1030 to 1: a small record cannot make a large buffer.
        if (whole > (compressed.Length * 1040L) + 64)
        {
            problem = $"{compressed.Length} bytes cannot hold a content of {whole}";
            return [];
        }

        var content = new byte[whole];
        var rented = ArrayPool<byte>.Shared.Rent(compressed.Length);
        try
        {
            compressed.CopyTo(rented);
            using var zlib = new ZLibStream(new MemoryStream(rented, 0, compressed.Length), CompressionMode.Decompress);
            if (zlib.ReadAtLeast(content, whole, throwOnEndOfStream: false) != whole || zlib.ReadByte() >= 0)
                problem = $"the compressed content does not have the {whole} bytes it names";
        }
        catch (Exception e) when (e is InvalidDataException or IOException) // the latter where it asks for a preset dictionary
        {
            problem = $"the compressed content is malformed: {e.Message}";
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(rented, clearArray: true);
        }

        return content;
    }

    // Only the canonical text survives the way through 16 bytes.
    private static bool IsUuid(string text, out Guid uuid)
    {
        if (text.Length != 36 || !Guid.TryParseExact(text, "D", out uuid))
        {
            uuid = default;
            return false;
        }

        foreach (var c in text)
        {
            if (c is >= 'A' and <= 'F')
                return false;
        }

        return true;
    }

    private static void WriteId(IBufferWriter<byte> output, string text, Guid uuid, bool isUuid)
    {
        if (!isUuid)
        {
            WriteText(output, text);
            return;
        }

        uuid.TryWriteBytes(output.GetSpan(16), bigEndian: true, out _);
        output.Advance(16);
    }

    private static void WriteWord(IBufferWriter<byte> output, string word)
    {
        var code = s_codes.GetValueOrDefault(word);
        output.GetSpan(1)[0] = code;
        output.Advance(1);
        if (code == 0)
            WriteText(output, word);
    }

    private static void WriteText(IBufferWriter<byte> output, string text)
    {
        var length = Encoding.UTF8.GetByteCount(text);
        WriteNumber(output, (ulong)length);
        Encoding.UTF8.GetBytes(text, output.GetSpan(length));
        output.Advance(length);
    }

    // LEB128, as protobuf's varint.
    private static void WriteNumber(IBufferWriter<byte> output, ulong value)
    {
        var span = output.GetSpan(10);
        var length = 0;
        while (value >= 0x80)
        {
            span[length++] = (byte)(value | 0x80);
            value >>= 7;
        }

        span[length++] = (byte)value;
        output.Advance(length);
    }

    // Reads on after a failure yield nothing, so that only the end needs to look.
    private ref struct Reader(ReadOnlySpan<byte> bytes)
    {
        private ReadOnlySpan<byte> _bytes = bytes;

        public bool Failed { get; private set; }

        public readonly ReadOnlySpan<byte> Rest => _bytes;

        public byte Byte()
        {
            var one = Take(1);
            return one.IsEmpty ? (byte)0 : one[0];
        }

        public ulong Number()
        {
            ulong value = 0;
            for (var shift = 0; shift < 64; shift += 7)
            {
                var part = Byte();
                if (Failed)
                    return 0;
                value |= (ulong)(part & 0x7F) << shift;
                if (part < 0x80)
                    return value;
            }

            Failed = true;
            return 0;
        }

        public ReadOnlySpan<byte> Bytes()
        {
            var length = Number();
            return Take(length > int.MaxValue ? int.MaxValue : (int)length);
        }

        public string Text()
        {
            var bytes = Bytes();
            return bytes.IsEmpty ? "" : Encoding.UTF8.GetString(bytes);
        }

        public string Word()
        {
            var code = Byte();
            if (code == 0)
                return Text();
            if (code < s_words.Length)
                return s_words[code];
            Failed = true;
            return "";
        }

        public string Id(bool isUuid)
        {
            if (!isUuid)
                return Text();
            var bytes = Take(16);
            return bytes.IsEmpty ? "" : new Guid(bytes, bigEndian: true).ToString();
        }

        private ReadOnlySpan<byte> Take(int length)
        {
            if (Failed || length > _bytes.Length)
            {
                Failed = true;
                return default;
            }

            var taken = _bytes[..length];
            _bytes = _bytes[length..];
            return taken;
        }
    }
}
