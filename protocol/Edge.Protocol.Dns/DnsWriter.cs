using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace Edge.Protocol.Dns;

/// <summary>Writes one message with name compression into a caller's buffer: header first, then the sections in their order. What does not fit is refused by the
/// method that was asked and leaves the message as it was before that record; <see cref="Mark"/> and <see cref="Rollback"/> take back a whole RR set.</summary>
public ref struct DnsWriter
{
    private const int NamesMax = 32;
    private readonly Span<byte> _buffer;
    private Names _names;
    private int _nameCount;
    private int _limit;
    private int _length;
    private int _opt;
    private ushort _flags;
    private Counts _counts;
    private bool _questionRegistered;

    /// <param name="buffer">Where to; at least a header long.</param>
    /// <param name="limit">The size that the message must not pass; at most the buffer's.</param>
    public DnsWriter(Span<byte> buffer, int limit, ushort id, ushort flags)
    {
        _buffer = buffer;
        _limit = Math.Min(limit, buffer.Length);
        BinaryPrimitives.WriteUInt16BigEndian(buffer, id);
        _flags = flags;
        _length = DnsLimits.Header;
    }

    public ushort Flags
    {
        readonly get => _flags;
        set => _flags = value;
    }

    /// <summary>Bytes written.</summary>
    public readonly int Length => _length;

    /// <summary>Raises or lowers the limit: what was kept free for the OPT record is given to it at the end.</summary>
    public int Limit
    {
        readonly get => _limit;
        set => _limit = Math.Min(value, _buffer.Length);
    }

    public readonly int Count(Section section) => _counts[(int)section];

    /// <summary>The state to go back to.</summary>
    public readonly WriterMark Mark() => new(_length, _counts[0], _counts[1], _counts[2], _counts[3]);

    /// <summary>Takes back everything written after the mark.</summary>
    public void Rollback(in WriterMark mark)
    {
        _length = mark.Length;
        // Offsets only grow, and names before the mark stay: those of the question were noted late, not written late.
        while (_nameCount > 0 && _names[_nameCount - 1] >> 8 >= mark.Length)
            _nameCount--;
        (_counts[0], _counts[1], _counts[2], _counts[3]) = (mark.Questions, mark.Answers, mark.Authorities, mark.Additionals);
    }

    /// <summary>Copies a question as it came, so that its case stays (0x20).</summary>
    public bool TryWriteQuestion(ReadOnlySpan<byte> question)
    {
        if (!TryTake(question.Length, out var target))
            return false;
        question.CopyTo(target);
        _counts[0]++;
        return true;
    }

    /// <summary>Writes a question.</summary>
    public bool TryWriteQuestion(ReadOnlySpan<byte> name, RecordType type, RecordClass recordClass)
    {
        if (!TryTake(name.Length + 4, out var target))
            return false;
        name.CopyTo(target);
        BinaryPrimitives.WriteUInt16BigEndian(target[name.Length..], (ushort)type);
        BinaryPrimitives.WriteUInt16BigEndian(target[(name.Length + 2)..], (ushort)recordClass);
        _counts[0]++;
        return true;
    }

    /// <summary>Appends records that are on the wire already; names in them may only point to the question (offset 12).</summary>
    public bool TryWriteImage(Section section, ReadOnlySpan<byte> image, int count)
    {
        if (!TryTake(image.Length, out var target))
            return false;
        image.CopyTo(target);
        _counts[(int)section] += (ushort)count;
        return true;
    }

    /// <summary>Writes a record, its owner and the names in the data of RFC 1035's types compressed.</summary>
    /// <param name="owner">Uncompressed.</param>
    /// <param name="data">Uncompressed and well formed for its type.</param>
    public bool TryWriteRecord(Section section, ReadOnlySpan<byte> owner, RecordType type, RecordClass recordClass, uint ttl, ReadOnlySpan<byte> data)
    {
        var mark = Mark();
        if (TryWriteName(owner) && TryWriteRest(type, recordClass, ttl, data))
        {
            _counts[(int)section]++;
            return true;
        }

        Rollback(mark);
        return false;
    }

    /// <summary>Writes the fixed part and the address of an A or AAAA record whose owner is the question's name.</summary>
    public bool TryWriteQuestionAddress(bool ipv6, UInt128 address, uint ttl)
    {
        var size = ipv6 ? 16 : 4;
        if (!TryTake(12 + size, out var target))
            return false;
        BinaryPrimitives.WriteUInt16BigEndian(target, 0xc000 | DnsLimits.Header);
        BinaryPrimitives.WriteUInt16BigEndian(target[2..], (ushort)(ipv6 ? RecordType.AAAA : RecordType.A));
        BinaryPrimitives.WriteUInt16BigEndian(target[4..], (ushort)RecordClass.IN);
        BinaryPrimitives.WriteUInt32BigEndian(target[6..], ttl);
        BinaryPrimitives.WriteUInt16BigEndian(target[10..], (ushort)size);
        if (ipv6)
            BinaryPrimitives.WriteUInt128BigEndian(target[12..], address);
        else
            BinaryPrimitives.WriteUInt32BigEndian(target[12..], (uint)address);
        _counts[(int)Section.Answer]++;
        return true;
    }

    /// <summary>Writes an OPT record without options (RFC 6891 §6.1.2); options follow by <see cref="TryWriteOption"/>.</summary>
    /// <param name="payloadSize">What this side takes over UDP.</param>
    /// <param name="rcode">The whole response code; its low four bits go to the header, replacing those there.</param>
    public bool TryBeginOpt(ushort payloadSize, ResponseCode rcode, bool dnssecOk)
    {
        if (!TryTake(11, out var target))
            return false;
        _flags = (ushort)((_flags & ~DnsFlags.RcodeMask) | ((int)rcode & DnsFlags.RcodeMask));
        target[0] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(target[1..], (ushort)RecordType.OPT);
        BinaryPrimitives.WriteUInt16BigEndian(target[3..], payloadSize);
        BinaryPrimitives.WriteUInt32BigEndian(target[5..], ((uint)rcode >> 4 << 24) | (dnssecOk ? 0x8000u : 0));
        BinaryPrimitives.WriteUInt16BigEndian(target[9..], 0);
        _opt = _length - 2;
        _counts[(int)Section.Additional]++;
        return true;
    }

    /// <summary>Adds an option of so many bytes to the OPT record just begun; nothing else may be written between.</summary>
    public bool TryWriteOption(EdnsOption code, int length, out Span<byte> data)
    {
        if (!TryTake(4 + length, out var target))
        {
            data = default;
            return false;
        }

        BinaryPrimitives.WriteUInt16BigEndian(target, (ushort)code);
        BinaryPrimitives.WriteUInt16BigEndian(target[2..], (ushort)length);
        BinaryPrimitives.WriteUInt16BigEndian(_buffer[_opt..], (ushort)(_length - _opt - 2));
        data = target[4..];
        return true;
    }

    /// <summary>Completes the header.</summary>
    /// <returns>The message's length.</returns>
    public readonly int Finish()
    {
        BinaryPrimitives.WriteUInt16BigEndian(_buffer[2..], _flags);
        for (var i = 0; i < 4; i++)
            BinaryPrimitives.WriteUInt16BigEndian(_buffer[(4 + (2 * i))..], _counts[i]);
        return _length;
    }

    private bool TryWriteRest(RecordType type, RecordClass recordClass, uint ttl, ReadOnlySpan<byte> data)
    {
        if (!TryTake(10, out var target))
            return false;
        BinaryPrimitives.WriteUInt16BigEndian(target, (ushort)type);
        BinaryPrimitives.WriteUInt16BigEndian(target[2..], (ushort)recordClass);
        BinaryPrimitives.WriteUInt32BigEndian(target[4..], ttl);
        var dataAt = _length;
        var names = RecordData.IsCompressible(type) ? RecordData.Shape(type).Names : 0;
        if (names > 0)
        {
            var head = RecordData.Shape(type).Head;
            if (!TryCopy(data[..head]))
                return false;
            data = data[head..];
            for (; names > 0; names--)
            {
                var length = WireName.Measure(data);
                if (length == 0 || !TryWriteName(data[..length]))
                    return false;
                data = data[length..];
            }
        }

        if (!TryCopy(data))
            return false;
        BinaryPrimitives.WriteUInt16BigEndian(_buffer[(dataAt - 2)..], (ushort)(_length - dataAt));
        return true;
    }

    private bool TryWriteName(ReadOnlySpan<byte> name)
    {
        if (!_questionRegistered)
        {
            // Late, because most answers need no name but the pointer to the question.
            _questionRegistered = true;
            if (_counts[0] > 0)
                Register(_buffer.Slice(DnsLimits.Header, WireName.Measure(_buffer[DnsLimits.Header.._length])), DnsLimits.Header, 0);
        }

        var at = 0;
        while (name[at] != 0)
        {
            var suffix = name[at..];
            for (var i = 0; i < _nameCount; i++)
            {
                if ((_names[i] & 0xff) != suffix.Length || !EqualAt((int)(_names[i] >> 8), suffix))
                    continue;
                if (!TryTake(at + 2, out var target))
                    return false;
                name[..at].CopyTo(target);
                BinaryPrimitives.WriteUInt16BigEndian(target[at..], (ushort)(0xc000 | (_names[i] >> 8)));
                Register(name, _length - at - 2, suffix.Length);
                return true;
            }

            at += name[at] + 1;
        }

        if (!TryCopy(name))
            return false;
        Register(name, _length - name.Length, 1);
        return true;
    }

    // Notes the suffixes of a name at this offset that are longer than the part known already.
    private void Register(ReadOnlySpan<byte> name, int offset, int known)
    {
        for (var at = 0; name[at] != 0 && name.Length - at > known && _nameCount < NamesMax && offset + at < 0x4000; at += name[at] + 1)
            _names[_nameCount++] = ((uint)(offset + at) << 8) | (uint)(name.Length - at);
    }

    // Compares with a name in the message, which this writer made: pointers in it are sound.
    private readonly bool EqualAt(int offset, ReadOnlySpan<byte> name)
    {
        while (true)
        {
            int label = _buffer[offset];
            if ((label & 0xc0) == 0xc0)
            {
                offset = ((label & 0x3f) << 8) | _buffer[offset + 1];
                continue;
            }

            if (label != name[0])
                return false;
            if (label == 0)
                return true;
            for (var i = 1; i <= label; i++)
            {
                if (WireName.Lower(_buffer[offset + i]) != WireName.Lower(name[i]))
                    return false;
            }

            offset += label + 1;
            name = name[(label + 1)..];
        }
    }

    private bool TryCopy(ReadOnlySpan<byte> bytes)
    {
        if (!TryTake(bytes.Length, out var target))
            return false;
        bytes.CopyTo(target);
        return true;
    }

    private bool TryTake(int count, out Span<byte> target)
    {
        if (count > _limit - _length)
        {
            target = default;
            return false;
        }

        target = _buffer.Slice(_length, count);
        _length += count;
        return true;
    }

    [InlineArray(NamesMax)]
    private struct Names
    {
        private uint _offsetAndLength;
    }

    [InlineArray(4)]
    private struct Counts
    {
        private ushort _count;
    }
}

/// <summary>Where a writer stood: opaque.</summary>
public readonly record struct WriterMark(int Length, ushort Questions, ushort Answers, ushort Authorities, ushort Additionals);
