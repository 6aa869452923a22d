using System.Buffers.Binary;
using System.Text;

namespace Edge.GlobalServices.Locations;

/// <summary>An .mmdb file that cannot be read: what is wrong, and where in the file.</summary>
internal sealed class MaxMindException(string message) : Exception(message);

/// <summary>The types of the data section (MaxMind DB specification 2.0, "Data Field Format").</summary>
internal enum MaxMindType
{
    Extended = 0,
    Pointer = 1,
    Text = 2,
    Double = 3,
    Bytes = 4,
    UInt16 = 5,
    UInt32 = 6,
    Map = 7,
    Int32 = 8,
    UInt64 = 9,
    UInt128 = 10,
    Array = 11,
    Container = 12,
    EndMarker = 13,
    Boolean = 14,
    Float = 15,
}

/// <summary>Reads one section of values of an .mmdb file. Every length is checked against the section before it is used; a damaged section throws
/// <see cref="MaxMindException"/>.</summary>
/// <param name="section">The data section, or the metadata.</param>
/// <param name="at">Where the section begins in the file, for errors.</param>
internal readonly struct MaxMindData(ReadOnlyMemory<byte> section, long at)
{
    private const int DepthMax = 32;

    // Pointers let a small file stand for a huge value.
    private const int ValuesMax = 100_000;

    /// <summary>The whole value: string, double, float, byte[], ushort, uint, ulong, UInt128, int, bool, object[] or Dictionary&lt;string, object&gt;.</summary>
    public object Read(int offset)
    {
        var values = 0;
        return Read(ref offset, 0, ref values);
    }

    /// <summary>The place of the value under a path of map keys, <c>0</c> to <c>9</c> being an index into an array; -1 when it is not there.</summary>
    public int Find(int offset, params ReadOnlySpan<string> path)
    {
        foreach (var key in path)
        {
            offset = Follow(offset);
            var inside = offset;
            var (type, size) = Control(ref inside);
            if (type == MaxMindType.Array && key is [>= '0' and <= '9'])
            {
                var index = key[0] - '0';
                if (index >= size)
                    return -1;
                for (var i = 0; i < index; i++)
                    Skip(ref inside, 0);
                offset = inside;
                continue;
            }

            if (type != MaxMindType.Map)
                return -1;
            offset = -1;
            for (var i = 0; i < size && offset < 0; i++)
            {
                if (IsText(ref inside, key))
                    offset = inside;
                else
                    Skip(ref inside, 0);
            }

            if (offset < 0)
                return -1;
        }

        return offset;
    }

    /// <summary>The text there; empty when the offset is -1 or something else stands there.</summary>
    public string Text(int offset)
    {
        if (offset < 0)
            return "";
        offset = Follow(offset);
        var (type, size) = Control(ref offset);
        return type == MaxMindType.Text ? Encoding.UTF8.GetString(Take(ref offset, size)) : "";
    }

    /// <summary>The number there (double or float), or null.</summary>
    public double? Number(int offset) => offset < 0 ? null : Read(offset) switch
    {
        double number => number,
        float number => number,
        _ => null,
    };

    private object Read(ref int offset, int depth, ref int values)
    {
        if (depth > DepthMax || ++values > ValuesMax)
            throw Bad(offset, depth > DepthMax ? $"values are nested more than {DepthMax} deep" : $"a record has more than {ValuesMax} values");
        var (type, size) = Control(ref offset);
        switch (type)
        {
            case MaxMindType.Pointer:
                // Control has left the target in size.
                var target = size;
                var inside = target;
                if (Control(ref inside).Type == MaxMindType.Pointer)
                    throw Bad(target, "a pointer points to a pointer");
                return Read(ref target, depth + 1, ref values);
            case MaxMindType.Text:
                return Encoding.UTF8.GetString(Take(ref offset, size));
            case MaxMindType.Bytes:
                return Take(ref offset, size).ToArray();
            case MaxMindType.Double:
                return BinaryPrimitives.ReadDoubleBigEndian(Exactly(ref offset, size, 8));
            case MaxMindType.Float:
                return BinaryPrimitives.ReadSingleBigEndian(Exactly(ref offset, size, 4));
            case MaxMindType.UInt16:
                return (ushort)Whole(ref offset, size, 2);
            case MaxMindType.UInt32:
                return (uint)Whole(ref offset, size, 4);
            case MaxMindType.Int32:
                return (int)(uint)Whole(ref offset, size, 4);
            case MaxMindType.UInt64:
                return (ulong)Whole(ref offset, size, 8);
            case MaxMindType.UInt128:
                return Whole(ref offset, size, 16);
            case MaxMindType.Boolean:
                return size switch { 0 => false, 1 => true, _ => throw Bad(offset, $"a boolean is {size}, must be 0 or 1") };
            case MaxMindType.Array:
                Fits(offset, size, 1);
                var array = new object[size];
                for (var i = 0; i < size; i++)
                    array[i] = Read(ref offset, depth + 1, ref values);
                return array;
            case MaxMindType.Map:
                Fits(offset, size, 2);
                var map = new Dictionary<string, object>(size);
                for (var i = 0; i < size; i++)
                {
                    if (Read(ref offset, depth + 1, ref values) is not string key)
                        throw Bad(offset, "a key of a map is not text");
                    map[key] = Read(ref offset, depth + 1, ref values);
                }

                return map;
            default:
                throw Bad(offset, $"a value has the type {(int)type}, which does not hold data");
        }
    }

    private void Skip(ref int offset, int depth)
    {
        if (depth > DepthMax)
            throw Bad(offset, $"values are nested more than {DepthMax} deep");
        var (type, size) = Control(ref offset);
        switch (type)
        {
            case MaxMindType.Pointer or MaxMindType.Boolean:
                return;
            case MaxMindType.Map or MaxMindType.Array:
                var count = type == MaxMindType.Map ? 2L * size : size;
                for (var i = 0L; i < count; i++)
                    Skip(ref offset, depth + 1);
                return;
            default:
                Take(ref offset, size);
                return;
        }
    }

    // Whether the key there is this text; moves behind the key.
    private bool IsText(ref int offset, string text)
    {
        var (type, size) = Control(ref offset);
        if (type == MaxMindType.Pointer)
        {
            var target = size;
            (type, size) = Control(ref target);
            return type == MaxMindType.Text && Is(Take(ref target, size), text);
        }

        return type == MaxMindType.Text ? Is(Take(ref offset, size), text) : throw Bad(offset, "a key of a map is not text");

        static bool Is(ReadOnlySpan<byte> bytes, string text)
        {
            if (bytes.Length != text.Length)
                return false;
            for (var i = 0; i < bytes.Length; i++)
            {
                if (bytes[i] != text[i])
                    return false;
            }

            return true;
        }
    }

    private int Follow(int offset)
    {
        var inside = offset;
        var (type, target) = Control(ref inside);
        return type == MaxMindType.Pointer ? target : offset;
    }

    // The control byte with its size; of a pointer, the size is the target.
    private (MaxMindType Type, int Size) Control(ref int offset)
    {
        int control = Take(ref offset, 1)[0];
        var type = (MaxMindType)(control >> 5);
        if (type == MaxMindType.Pointer)
        {
            var extra = (control >> 3) & 3;
            var bytes = Take(ref offset, extra + 1);
            long value = extra == 3 ? 0 : control & 7;
            foreach (var one in bytes)
                value = (value << 8) | one;
            value += extra switch { 1 => 2048, 2 => 526_336, _ => 0 };
            return value < section.Length ? (type, (int)value) : throw Bad(offset, $"a pointer leads to {value}, behind the end of the section ({section.Length} bytes)");
        }

        if (type == MaxMindType.Extended)
        {
            var extended = Take(ref offset, 1)[0] + 7;
            if (extended is < 8 or > 15)
                throw Bad(offset, $"a value has the unknown type {extended}");
            type = (MaxMindType)extended;
        }

        var size = control & 31;
        if (size >= 29)
        {
            var bytes = Take(ref offset, size - 28);
            var longer = 0;
            foreach (var one in bytes)
                longer = (longer << 8) | one;
            size = longer + size switch { 29 => 29, 30 => 285, _ => 65_821 };
        }

        return (type, size);
    }

    private UInt128 Whole(ref int offset, int size, int most)
    {
        if (size > most)
            throw Bad(offset, $"a whole number has {size} bytes, at most {most} fit its type");
        UInt128 value = 0;
        foreach (var one in Take(ref offset, size))
            value = (value << 8) | one;
        return value;
    }

    private ReadOnlySpan<byte> Exactly(ref int offset, int size, int wanted)
        => size == wanted ? Take(ref offset, size) : throw Bad(offset, $"a number has {size} bytes, must have {wanted}");

    private void Fits(int offset, int count, int each)
    {
        if ((long)count * each > section.Length - offset)
            throw Bad(offset, $"a list of {count} does not fit into the {section.Length - offset} bytes that are left");
    }

    private ReadOnlySpan<byte> Take(ref int offset, int size)
    {
        if (offset < 0 || size > section.Length - offset)
            throw Bad(offset, $"the file ends inside a value of {size} bytes");
        var span = section.Span.Slice(offset, size);
        offset += size;
        return span;
    }

    private MaxMindException Bad(int offset, string what) => new($"{what} (at byte {at + offset})");
}
