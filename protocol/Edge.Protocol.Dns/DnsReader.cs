using System.Buffers.Binary;

namespace Edge.Protocol.Dns;

/// <summary>A record in a message: where its parts are.</summary>
/// <param name="NameOffset">Where the owner is in the message; it may be compressed.</param>
/// <param name="DataOffset">Where the data is in the message; names in it may be compressed.</param>
/// <param name="Ttl">Seconds; a value with the top bit set counts as 0 (RFC 2181 §8).</param>
public readonly record struct DnsRecord(Section Section, int NameOffset, RecordType Type, RecordClass Class, uint Ttl, int DataOffset, int DataLength);

/// <summary>Reads a message from front to back: a client's side. Allocates nothing and throws nothing for bad bytes.</summary>
public ref struct DnsReader
{
    private readonly ReadOnlySpan<byte> _message;
    private int _offset;
    private int _answers;
    private int _authorities;
    private int _additionals;
    private int _questions;

    /// <summary>Check <see cref="IsMalformed"/> first.</summary>
    public DnsReader(ReadOnlySpan<byte> message)
    {
        _message = message;
        IsMalformed = !DnsHeader.TryRead(message, out var header);
        Header = header;
        _offset = DnsLimits.Header;
        (_questions, _answers, _authorities, _additionals) = (header.Questions, header.Answers, header.Authorities, header.Additionals);
    }

    public DnsHeader Header { get; }

    /// <summary>Whether reading stopped because the message is malformed; else it came to the end of the counts.</summary>
    public bool IsMalformed { get; private set; }

    /// <summary>Where reading stands.</summary>
    public readonly int Offset => _offset;

    /// <summary>Reads the next question; call it until false, then the records.</summary>
    /// <param name="name">255 bytes for the uncompressed name.</param>
    public bool TryReadQuestion(scoped Span<byte> name, out int nameLength, out RecordType type, out RecordClass recordClass)
    {
        (nameLength, type, recordClass) = (0, default, default);
        if (IsMalformed || _questions == 0)
            return false;
        if (!WireName.TryRead(_message, ref _offset, name, out nameLength) || _offset + 4 > _message.Length)
        {
            IsMalformed = true;
            return false;
        }

        type = (RecordType)BinaryPrimitives.ReadUInt16BigEndian(_message[_offset..]);
        recordClass = (RecordClass)BinaryPrimitives.ReadUInt16BigEndian(_message[(_offset + 2)..]);
        _offset += 4;
        _questions--;
        return true;
    }

    /// <summary>Reads the next record of whichever section; questions left are skipped.</summary>
    public bool TryReadRecord(out DnsRecord record)
    {
        record = default;
        if (_questions > 0)
        {
            Span<byte> skipped = stackalloc byte[DnsLimits.Name];
            while (TryReadQuestion(skipped, out _, out _, out _))
            {
            }
        }

        if (IsMalformed)
            return false;
        Section section;
        if (_answers > 0)
            (section, _answers) = (Section.Answer, _answers - 1);
        else if (_authorities > 0)
            (section, _authorities) = (Section.Authority, _authorities - 1);
        else if (_additionals > 0)
            (section, _additionals) = (Section.Additional, _additionals - 1);
        else
            return false;

        var nameOffset = _offset;
        IsMalformed = true;
        if (!WireName.TrySkip(_message, ref _offset) || _offset + 10 > _message.Length)
            return false;
        var type = (RecordType)BinaryPrimitives.ReadUInt16BigEndian(_message[_offset..]);
        var recordClass = (RecordClass)BinaryPrimitives.ReadUInt16BigEndian(_message[(_offset + 2)..]);
        var ttl = BinaryPrimitives.ReadUInt32BigEndian(_message[(_offset + 4)..]);
        int length = BinaryPrimitives.ReadUInt16BigEndian(_message[(_offset + 8)..]);
        if (length > _message.Length - _offset - 10)
            return false;
        record = new DnsRecord(section, nameOffset, type, recordClass, type != RecordType.OPT && ttl > int.MaxValue ? 0 : ttl, _offset + 10, length);
        _offset += 10 + length;
        IsMalformed = false;
        return true;
    }

    /// <summary>The uncompressed owner of a record of this message.</summary>
    public readonly bool TryReadName(in DnsRecord record, Span<byte> destination, out int length)
    {
        var offset = record.NameOffset;
        return WireName.TryRead(_message, ref offset, destination, out length);
    }

    /// <summary>Copies a record's data with the names in it uncompressed; only the types of RFC 1035 may have compressed ones (RFC 3597 §4).</summary>
    /// <returns>False when the data is malformed or longer than the destination.</returns>
    public readonly bool TryReadData(in DnsRecord record, Span<byte> destination, out int length)
    {
        length = 0;
        var end = record.DataOffset + record.DataLength;
        var offset = record.DataOffset;
        var (head, names, tail) = RecordData.Shape(record.Type);
        if (names == 0)
        {
            if (record.DataLength > destination.Length)
                return false;
            _message.Slice(offset, record.DataLength).CopyTo(destination);
            length = record.DataLength;
            return true;
        }

        if (offset + head > end || head > destination.Length)
            return false;
        _message.Slice(offset, head).CopyTo(destination);
        offset += head;
        length = head;
        Span<byte> name = stackalloc byte[DnsLimits.Name];
        for (var i = 0; i < names; i++)
        {
            if (!WireName.TryRead(_message[..end], ref offset, name, out var nameLength) || nameLength > destination.Length - length)
                return false;
            name[..nameLength].CopyTo(destination[length..]);
            length += nameLength;
        }

        if (end - offset != tail || tail > destination.Length - length)
            return false;
        _message.Slice(offset, tail).CopyTo(destination[length..]);
        length += tail;
        return true;
    }
}
