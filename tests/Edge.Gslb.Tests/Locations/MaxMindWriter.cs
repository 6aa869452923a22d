using System.Buffers.Binary;
using System.Text;
using Edge.GlobalServices.Locations;

namespace Edge.Cloud.Gslb.Tests;

/// <summary>Writes small .mmdb files by the specification, for tests of the reader: every type, pointers for texts seen before, each record size.</summary>
internal static class MaxMindWriter
{
    public static byte[] Write(IEnumerable<(Network Network, object Record)> networks, int recordBits = 28, int ipVersion = 6, bool alias = false)
    {
        var data = new MemoryStream();
        var nodes = new List<(long Left, long Right)> { (-1, -1) };
        var texts = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var (network, record) in networks)
        {
            var at = (int)data.Position;
            WriteValue(data, record, texts);
            var (own, length) = ipVersion == 6 && !network.IsIPv6 ? (network.Own, network.PrefixLength + 96) : (network.Own, network.PrefixLength);
            Insert(nodes, own, length, ipVersion == 6 ? 128 : 32, -2 - at);
        }

        if (alias)
            Insert(nodes, (UInt128)0xffff << 32, 96, 128, IPv4Root(nodes));
        var file = new MemoryStream();
        foreach (var (left, right) in nodes)
            WriteNode(file, Value(left, nodes.Count), Value(right, nodes.Count), recordBits);
        file.Write(new byte[16]);
        data.WriteTo(file);
        file.Write([0xAB, 0xCD, 0xEF, .. "MaxMind.com"u8]);
        // Pointers count from where the metadata begins.
        var metadata = new MemoryStream();
        WriteValue(
            metadata,
            new Dictionary<string, object>
            {
                ["node_count"] = (uint)nodes.Count, ["record_size"] = (ushort)recordBits, ["ip_version"] = (ushort)ipVersion, ["database_type"] = "Test",
                ["languages"] = new object[] { "en" }, ["binary_format_major_version"] = (ushort)2, ["binary_format_minor_version"] = (ushort)0, ["build_epoch"] = 1_700_000_000UL,
                ["description"] = new Dictionary<string, object> { ["en"] = "made by a test" },
            },
            []);
        metadata.WriteTo(file);
        return file.ToArray();
    }

    public static void WriteValue(MemoryStream to, object value, Dictionary<string, int> texts)
    {
        switch (value)
        {
            case string text when texts.TryGetValue(text, out var there):
                Pointer(to, there);
                break;
            case string text:
                texts[text] = (int)to.Position;
                var bytes = Encoding.UTF8.GetBytes(text);
                Control(to, 2, bytes.Length);
                to.Write(bytes);
                break;
            case double number:
                Control(to, 3, 8);
                Span<byte> eight = stackalloc byte[8];
                BinaryPrimitives.WriteDoubleBigEndian(eight, number);
                to.Write(eight);
                break;
            case float number:
                Control(to, 15, 4);
                Span<byte> four = stackalloc byte[4];
                BinaryPrimitives.WriteSingleBigEndian(four, number);
                to.Write(four);
                break;
            case byte[] raw:
                Control(to, 4, raw.Length);
                to.Write(raw);
                break;
            case ushort number:
                Whole(to, 5, number);
                break;
            case uint number:
                Whole(to, 6, number);
                break;
            case int number:
                Whole(to, 8, (uint)number);
                break;
            case ulong number:
                Whole(to, 9, number);
                break;
            case UInt128 number:
                Whole(to, 10, number);
                break;
            case bool flag:
                Control(to, 14, flag ? 1 : 0);
                break;
            case object[] array:
                Control(to, 11, array.Length);
                foreach (var one in array)
                    WriteValue(to, one, texts);
                break;
            case Dictionary<string, object> map:
                Control(to, 7, map.Count);
                foreach (var (key, one) in map)
                {
                    WriteValue(to, key, texts);
                    WriteValue(to, one, texts);
                }

                break;
            default:
                throw new ArgumentException($"{value.GetType()} is not a type of the format", nameof(value));
        }
    }

    private static void Insert(List<(long Left, long Right)> nodes, UInt128 address, int length, int bits, long leaf)
    {
        var node = 0;
        for (var depth = 0; ; depth++)
        {
            var isRight = (address >> (bits - 1 - depth) & 1) == 1;
            var (left, right) = nodes[node];
            if (depth == length - 1)
            {
                nodes[node] = isRight ? (left, leaf) : (leaf, right);
                return;
            }

            var next = isRight ? right : left;
            if (next < 0)
            {
                // What stood above holds for what is not said below.
                next = nodes.Count;
                var above = isRight ? right : left;
                nodes.Add((above, above));
                nodes[node] = isRight ? (left, next) : (next, right);
            }

            node = (int)next;
        }
    }

    private static long IPv4Root(List<(long Left, long Right)> nodes)
    {
        var node = 0L;
        for (var i = 0; i < 96; i++)
            node = nodes[(int)node].Left;
        return node;
    }

    // -1: nothing; -2 and below: a record.
    private static uint Value(long value, int nodes) => (uint)(value >= 0 ? value : value == -1 ? nodes : nodes + 16 + (-2 - value));

    private static void WriteNode(MemoryStream to, uint left, uint right, int bits)
    {
        Span<byte> bytes = stackalloc byte[8];
        switch (bits)
        {
            case 24:
                BinaryPrimitives.WriteUInt64BigEndian(bytes, ((ulong)left << 40) | ((ulong)right << 16));
                break;
            case 28:
                BinaryPrimitives.WriteUInt64BigEndian(bytes, ((ulong)(left & 0xFF_FFFF) << 40) | ((ulong)(left >> 24) << 36) | ((ulong)(right >> 24) << 32) | ((ulong)(right & 0xFF_FFFF) << 8));
                break;
            default:
                BinaryPrimitives.WriteUInt64BigEndian(bytes, ((ulong)left << 32) | right);
                break;
        }

        to.Write(bytes[..(bits / 4)]);
    }

    private static void Whole(MemoryStream to, int type, UInt128 value)
    {
        var bytes = new List<byte>();
        for (; value > 0; value >>= 8)
            bytes.Insert(0, (byte)(value & 0xFF));
        Control(to, type, bytes.Count);
        to.Write([.. bytes]);
    }

    private static void Pointer(MemoryStream to, int target)
    {
        if (target < 2048)
            to.Write([(byte)(0x20 | (target >> 8)), (byte)target]);
        else if (target < 526_336)
            to.Write([(byte)(0x28 | ((target - 2048) >> 16)), (byte)((target - 2048) >> 8), (byte)(target - 2048)]);
        else
            to.Write([0x38, (byte)(target >> 24), (byte)(target >> 16), (byte)(target >> 8), (byte)target]);
    }

    private static void Control(MemoryStream to, int type, int size)
    {
        var (low, extra) = size switch
        {
            < 29 => (size, Array.Empty<byte>()),
            < 285 => (29, [(byte)(size - 29)]),
            < 65_821 => (30, [(byte)((size - 285) >> 8), (byte)(size - 285)]),
            _ => (31, [(byte)((size - 65_821) >> 16), (byte)((size - 65_821) >> 8), (byte)(size - 65_821)]),
        };
        if (type > 7)
            to.Write([(byte)low, (byte)(type - 7)]);
        else
            to.WriteByte((byte)((type << 5) | low));
        to.Write(extra);
    }
}
