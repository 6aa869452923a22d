using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Edge.ApiServer.OpenApi;

/// <summary>Writes protobuf fields: <c>tag = number shifted left by 3, plus wire type</c> (0 varint, 1 eight bytes, 2 length-delimited).</summary>
internal sealed class ProtoWriter
{
    private readonly ArrayBufferWriter<byte> _bytes = new();

    public byte[] ToArray() => _bytes.WrittenSpan.ToArray();

    /// <summary>Empty text is proto3's default and not written.</summary>
    public void Text(int field, string text)
    {
        if (text.Length > 0)
            Bytes(field, Encoding.UTF8.GetBytes(text));
    }

    /// <summary>An element of a repeated field, written even when empty.</summary>
    public void Bytes(int field, ReadOnlySpan<byte> bytes)
    {
        Varint((ulong)((field << 3) | 2));
        Varint((ulong)bytes.Length);
        _bytes.Write(bytes);
    }

    public void Message(int field, Action<ProtoWriter> write)
    {
        var inner = new ProtoWriter();
        write(inner);
        Bytes(field, inner._bytes.WrittenSpan);
    }

    public void Whole(int field, long value)
    {
        if (value == 0)
            return;
        Varint((ulong)(field << 3));
        Varint((ulong)value);
    }

    public void Flag(int field, bool value) => Whole(field, value ? 1 : 0);

    public void Double(int field, double value)
    {
        if (value == 0)
            return;
        Varint((ulong)((field << 3) | 1));
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteDoubleLittleEndian(bytes, value);
        _bytes.Write(bytes);
    }

    private void Varint(ulong value)
    {
        for (; value >= 0x80; value >>= 7)
            _bytes.Write([(byte)(value | 0x80)]);
        _bytes.Write([(byte)value]);
    }
}
