using System.Buffers.Binary;

namespace Edge.GlobalServices.Locations;

/// <summary>A MaxMind DB file (specification 2.0, https://maxmind.github.io/MaxMind-DB/): networks of both IP versions to records.</summary>
internal sealed class MaxMindFile
{
    // "Metadata": the marker stands in the last 128 KiB.
    private const int MetadataMax = 128 << 10;

    private const int Separator = 16;

    private readonly ReadOnlyMemory<byte> _tree;
    private readonly uint _nodes;
    private readonly int _recordBits;

    private MaxMindFile(ReadOnlyMemory<byte> tree, uint nodes, int recordBits, int ipVersion, string type, MaxMindData data, int dataLength)
    {
        _tree = tree;
        _nodes = nodes;
        _recordBits = recordBits;
        IPVersion = ipVersion;
        DatabaseType = type;
        Data = data;
        DataLength = dataLength;
    }

    // \xAB\xCD\xEF, then MaxMind.com.
    private static ReadOnlySpan<byte> Marker => [0xAB, 0xCD, 0xEF, 0x4D, 0x61, 0x78, 0x4D, 0x69, 0x6E, 0x64, 0x2E, 0x63, 0x6F, 0x6D];

    /// <summary>4 or 6; a file of version 6 has IPv4 under <c>::/96</c>.</summary>
    public int IPVersion { get; }

    public string DatabaseType { get; }

    public MaxMindData Data { get; }

    private int DataLength { get; }

    /// <summary>Reads the file's frame. The bytes are kept, and must not change.</summary>
    /// <exception cref="MaxMindException">It is not such a file, is cut off, or is damaged.</exception>
    public static MaxMindFile Open(ReadOnlyMemory<byte> file)
    {
        var from = Math.Max(0, file.Length - MetadataMax);
        var marker = file.Span[from..].LastIndexOf(Marker);
        if (marker < 0)
            throw new MaxMindException($"there is no MaxMind DB metadata in the last {Math.Min(file.Length, MetadataMax)} bytes: it is not an .mmdb file, or it is cut off");
        var start = from + marker + Marker.Length;
        if (new MaxMindData(file[start..], start).Read(0) is not Dictionary<string, object> metadata)
            throw new MaxMindException("the metadata is not a map");
        var major = Whole(metadata, "binary_format_major_version");
        if (major != 2)
            throw new MaxMindException($"the format's version is {major}; 2 is read here");
        var (nodes, bits, version) = (Whole(metadata, "node_count"), Whole(metadata, "record_size"), Whole(metadata, "ip_version"));
        if (bits is not (24 or 28 or 32))
            throw new MaxMindException($"record_size is {bits}, must be 24, 28 or 32");
        if (version is not (4 or 6))
            throw new MaxMindException($"ip_version is {version}, must be 4 or 6");
        var tree = (long)nodes * bits * 2 / 8;
        var end = start - Marker.Length;
        if (tree + Separator > end)
            throw new MaxMindException($"the search tree of {nodes} nodes needs {tree} bytes, and the file has {end} before its metadata: it is cut off");
        if (file.Span.Slice((int)tree, Separator).ContainsAnyExcept((byte)0))
            throw new MaxMindException($"the {Separator} bytes behind the search tree (at byte {tree}) are not zero: the file is damaged");
        var data = file[((int)tree + Separator)..end];
        return new MaxMindFile(
            file[..(int)tree], (uint)nodes, (int)bits, (int)version, metadata.GetValueOrDefault("database_type") as string ?? "", new MaxMindData(data, tree + Separator), data.Length);
    }

    /// <summary>Every network with the place of its record in <see cref="Data"/>, by address. Aliases of IPv4 (<c>::ffff:0:0/96</c>, <c>2002::/16</c>) are left out.</summary>
    public IEnumerable<(Network Network, int Record)> Networks()
    {
        // Each node is seen once, or the tree is none; that also bounds the walk over a damaged file.
        var seen = new System.Collections.BitArray((int)Math.Min(_nodes, int.MaxValue));
        var pending = new Stack<(uint Record, UInt128 Address, int Depth)>();
        var ipv4Root = IPVersion == 6 ? IPv4Root() : uint.MaxValue;
        pending.Push((0, UInt128.Zero, 0));
        var bits = IPVersion == 6 ? 128 : 32;
        while (pending.TryPop(out var here))
        {
            var (record, address, depth) = here;
            if (record == _nodes)
                continue;
            if (record > _nodes)
            {
                var offset = (long)record - _nodes - Separator;
                if (offset < 0 || offset >= DataLength)
                    throw new MaxMindException($"the search tree points to byte {offset} of a data section of {DataLength}: the file is damaged or cut off");
                yield return (NetworkOf(address, depth), (int)offset);
                continue;
            }

            if (depth >= bits)
                throw new MaxMindException($"the search tree is deeper than {bits} bits: the file is damaged");
            if (seen[(int)record])
            {
                if (record == ipv4Root)
                    continue;
                throw new MaxMindException($"node {record} of the search tree has two parents: the file is damaged");
            }

            seen[(int)record] = true;
            pending.Push((Record(record, right: true), address | (UInt128.One << (bits - 1 - depth)), depth + 1));
            pending.Push((Record(record, right: false), address, depth + 1));
        }
    }

    /// <summary>The locations of the file: country, first subdivision as the region, coordinates.</summary>
    public LocationLayer Locations()
    {
        var locations = new List<Location>();
        var numbers = new Dictionary<int, int>();
        var same = new Dictionary<Location, int>();
        var networks = new List<(Network, int)>();
        foreach (var (network, record) in Networks())
        {
            if (!numbers.TryGetValue(record, out var number))
            {
                var location = LocationOf(record);
                if (!same.TryGetValue(location, out number))
                {
                    number = same[location] = locations.Count;
                    locations.Add(location);
                }

                numbers[record] = number;
            }

            networks.Add((network, number));
        }

        return new LocationLayer(locations, networks);
    }

    private Location LocationOf(int record)
    {
        var country = Data.Text(Data.Find(record, "country", "iso_code"));
        if (country.Length == 0)
            country = Data.Text(Data.Find(record, "registered_country", "iso_code"));
        var subdivision = Data.Text(Data.Find(record, "subdivisions", "0", "iso_code"));
        var (latitude, longitude) = (Data.Number(Data.Find(record, "location", "latitude")), Data.Number(Data.Find(record, "location", "longitude")));
        GeoPoint? point = latitude is { } north && longitude is { } east && GeoPoint.IsValid(north, east) ? new GeoPoint(north, east) : null;
        return new Location(country, subdivision.Length == 0 ? "" : $"{country}-{subdivision}", "", point);
    }

    private Network NetworkOf(UInt128 address, int depth)
        => IPVersion == 4 ? new Network(Network.Mapped((uint)address), (byte)depth, false)
            : depth >= 96 && address >> 32 == 0 ? new Network(Network.Mapped((uint)address), (byte)(depth - 96), false)
            : new Network(address, (byte)depth, true);

    // The node under which a file of version 6 has IPv4: 96 zero bits down.
    private uint IPv4Root()
    {
        var record = 0u;
        for (var depth = 0; depth < 96 && record < _nodes; depth++)
            record = Record(record, right: false);
        return record < _nodes ? record : uint.MaxValue;
    }

    private uint Record(uint node, bool right)
    {
        var bytes = _tree.Span.Slice((int)((long)node * _recordBits / 4), _recordBits / 4);
        return _recordBits switch
        {
            24 => (uint)(right ? (bytes[3] << 16) | (bytes[4] << 8) | bytes[5] : (bytes[0] << 16) | (bytes[1] << 8) | bytes[2]),
            28 => right ? ((uint)(bytes[3] & 0x0f) << 24) | (uint)((bytes[4] << 16) | (bytes[5] << 8) | bytes[6])
                : ((uint)(bytes[3] & 0xf0) << 20) | (uint)((bytes[0] << 16) | (bytes[1] << 8) | bytes[2]),
            _ => BinaryPrimitives.ReadUInt32BigEndian(bytes[(right ? 4 : 0)..]),
        };
    }

    private static long Whole(Dictionary<string, object> metadata, string key) => metadata.GetValueOrDefault(key) switch
    {
        ushort number => number,
        uint number => number,
        ulong number and <= long.MaxValue => (long)number,
        null => throw new MaxMindException($"the metadata has no {key}"),
        _ => throw new MaxMindException($"{key} of the metadata is not a whole number"),
    };
}
