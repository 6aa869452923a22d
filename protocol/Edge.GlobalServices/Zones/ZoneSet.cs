using System.Diagnostics.CodeAnalysis;
using Edge.Protocol.Dns;

namespace Edge.GlobalServices.Zones;

/// <summary>All zones, compiled: immutable, so readers need no lock and a change swaps the whole. A lookup is one hash of the name in lower case.</summary>
public sealed class ZoneSet
{
    private readonly ZoneNode?[] _table;
    private readonly uint[] _hashes;
    private readonly byte[][] _lowerNames;
    private readonly Zone[] _zones;

    private ZoneSet(Zone[] zones, List<ZoneNode> nodes)
    {
        _zones = zones;
        // Less than half full, so that a miss ends soon.
        var size = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, nodes.Count * 2 + 1));
        _table = new ZoneNode?[size];
        _hashes = new uint[size];
        _lowerNames = new byte[size][];
        foreach (var node in nodes)
        {
            var lower = new byte[node.Name.Wire.Length];
            WireName.ToLower(node.Name.Wire, lower);
            var hash = WireName.Hash(lower);
            var slot = hash & (uint)(size - 1);
            while (_table[slot] is not null)
                slot = (slot + 1) & (uint)(size - 1);
            (_table[slot], _hashes[slot], _lowerNames[slot]) = (node, hash, lower);
        }
    }

    /// <summary>No zone at all: everything is REFUSED.</summary>
    public static ZoneSet Empty { get; } = new([], []);

    public int ZoneCount => _zones.Length;

    /// <summary>Compiles zones. One with errors is left out, the others are served.</summary>
    public static ZoneSet Compile(IReadOnlyList<ZoneSource> sources, out IReadOnlyList<ZoneError> errors)
    {
        var found = new List<ZoneError>();
        var zones = new Dictionary<DnsName, Zone>();
        foreach (var source in sources)
        {
            if (zones.ContainsKey(source.Apex))
                found.Add(new ZoneError(source.Apex, "another zone has the same apex; merge the two or remove one"));
            else if (ZoneCompiler.TryCompile(source, found, out var zone))
                zones.Add(source.Apex, zone);
        }

        errors = found;
        return new ZoneSet([.. zones.Values], ZoneCompiler.Join(zones));
    }

    /// <summary>The serial of a zone served here.</summary>
    public bool TryGetSerial(DnsName apex, out uint serial)
    {
        var zone = Array.Find(_zones, zone => zone.Apex.Equals(apex));
        serial = zone?.Serial ?? 0;
        return zone is not null;
    }

    /// <summary>The zones here whose serial is newer than in <paramref name="before"/>, or that were not there: those whose secondaries are to be told.</summary>
    public IEnumerable<ZoneSource> NewerThan(ZoneSet before)
        => _zones.Where(zone => !before.TryGetSerial(zone.Apex, out var old) || (int)(zone.Serial - old) > 0).Select(zone => zone.Source);

    /// <summary>The node of exactly this name.</summary>
    internal bool TryFind(ReadOnlySpan<byte> lowerName, [NotNullWhen(true)] out ZoneNode? node)
    {
        var hash = WireName.Hash(lowerName);
        var mask = (uint)(_table.Length - 1);
        for (var slot = hash & mask; ; slot = (slot + 1) & mask)
        {
            node = _table[slot];
            if (node is null)
                return false;
            if (_hashes[slot] == hash && lowerName.SequenceEqual(_lowerNames[slot]))
                return true;
        }
    }

    /// <summary>The node of this name, or else of its closest ancestor that exists (RFC 4592 §3.3.1); false when the name is in no zone here.</summary>
    /// <param name="isExact">Whether it is the name itself.</param>
    internal bool TryFindClosest(ReadOnlySpan<byte> lowerName, [NotNullWhen(true)] out ZoneNode? node, out bool isExact)
    {
        isExact = true;
        while (!TryFind(lowerName, out node))
        {
            isExact = false;
            if (lowerName.Length <= 1)
                return false;
            lowerName = lowerName[(lowerName[0] + 1)..];
        }

        return true;
    }
}
