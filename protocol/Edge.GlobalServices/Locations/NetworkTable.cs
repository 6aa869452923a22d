using System.Numerics;

namespace Edge.GlobalServices.Locations;

/// <summary>Longest-prefix match over networks of both IP versions, compiled to sorted arrays of disjoint ranges: 8 bytes a range of IPv4 and 20 of IPv6.
/// Immutable; a lookup is a binary search and allocates nothing.</summary>
internal sealed class NetworkTable
{
    /// <summary>No network contains the address.</summary>
    public const int None = -1;

    // From here on the table of the first 16 bits (256 KiB) pays.
    private const int IndexedFrom = 1024;

    private readonly uint[] _starts4;
    private readonly int[] _values4;
    private readonly int[]? _index4;
    private readonly UInt128[] _starts6;
    private readonly int[] _values6;

    private NetworkTable((uint[] Starts, int[] Values) four, (UInt128[] Starts, int[] Values) six)
    {
        (_starts4, _values4) = four;
        (_starts6, _values6) = six;
        if (_starts4.Length < IndexedFrom)
            return;
        _index4 = new int[65_537];
        var range = 0;
        for (var high = 0; high < 65_536; high++)
        {
            while (range + 1 < _starts4.Length && _starts4[range + 1] <= (uint)high << 16)
                range++;
            _index4[high] = range;
        }

        _index4[65_536] = _starts4.Length - 1;
    }

    public static NetworkTable Empty { get; } = Build([]);

    /// <summary>Ranges kept of both versions, for figures.</summary>
    public int Ranges => _starts4.Length + _starts6.Length;

    /// <summary>Compiles the networks; of the same network given twice, the later one counts. Values are 0 and up.</summary>
    public static NetworkTable Build(IEnumerable<(Network Network, int Value)> networks)
    {
        var four = new List<(UInt128 Start, UInt128 Last, int Value)>();
        var six = new List<(UInt128 Start, UInt128 Last, int Value)>();
        foreach (var (network, value) in networks)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value);
            (network.IsIPv6 ? six : four).Add((network.Own, network.OwnLast, value));
        }

        var (starts, values) = Flatten(four, uint.MaxValue);
        return new NetworkTable(([.. starts.Select(start => (uint)start)], [.. values]), Flatten(six, UInt128.MaxValue) is var (starts6, values6) ? ([.. starts6], [.. values6]) : default);
    }

    /// <summary>The value of the longest network that contains the address, or <see cref="None"/>; and the shortest prefix around the address for which that is so, in its family.</summary>
    /// <remarks>The prefixes of all answers are disjoint, which RFC 7871 §7.2.1 wants of scopes.</remarks>
    public int Find(UInt128 address, bool isIPv6, out byte scope) => isIPv6 ? Find6(address, out scope) : Find4((uint)address, out scope);

    private int Find4(uint address, out byte scope)
    {
        var (low, high) = _index4 is null ? (0, _starts4.Length - 1) : (_index4[address >> 16], _index4[(address >> 16) + 1]);
        while (low < high)
        {
            var middle = (int)((uint)(low + high + 1) >> 1);
            if (_starts4[middle] <= address)
                low = middle;
            else
                high = middle - 1;
        }

        // A prefix is inside the range when it parts from the last address before, and from the first one after it.
        var left = low == 0 ? 0 : BitOperations.LeadingZeroCount(address ^ (_starts4[low] - 1)) + 1;
        var right = low + 1 == _starts4.Length ? 0 : BitOperations.LeadingZeroCount(address ^ _starts4[low + 1]) + 1;
        scope = (byte)Math.Max(left, right);
        return _values4[low];
    }

    private int Find6(UInt128 address, out byte scope)
    {
        var (low, high) = (0, _starts6.Length - 1);
        while (low < high)
        {
            var middle = (int)((uint)(low + high + 1) >> 1);
            if (_starts6[middle] <= address)
                low = middle;
            else
                high = middle - 1;
        }

        var left = low == 0 ? 0 : (int)UInt128.LeadingZeroCount(address ^ (_starts6[low] - 1)) + 1;
        var right = low + 1 == _starts6.Length ? 0 : (int)UInt128.LeadingZeroCount(address ^ _starts6[low + 1]) + 1;
        scope = (byte)Math.Max(left, right);
        return _values6[low];
    }

    // Networks nest or are apart; a stack has those around the place, the innermost on top.
    private static (List<UInt128> Starts, List<int> Values) Flatten(List<(UInt128 Start, UInt128 Last, int Value)> networks, UInt128 max)
    {
        var (starts, values) = (new List<UInt128> { UInt128.Zero }, new List<int> { None });
        var around = new Stack<(UInt128 Last, int Value)>();
        foreach (var (start, last, value) in networks.OrderBy(one => one.Start).ThenByDescending(one => one.Last))
        {
            while (around.TryPeek(out var top) && top.Last < start)
                Leave();
            around.Push((last, value));
            From(start, value);
        }

        while (around.TryPeek(out var top) && top.Last < max)
            Leave();
        return (starts, values);

        void Leave()
        {
            var last = around.Pop().Last;
            From(last + 1, around.TryPeek(out var outer) ? outer.Value : None);
        }

        void From(UInt128 start, int value)
        {
            if (starts[^1] == start)
            {
                starts.RemoveAt(starts.Count - 1);
                values.RemoveAt(values.Count - 1);
            }

            if (values.Count > 0 && values[^1] == value)
                return;
            starts.Add(start);
            values.Add(value);
        }
    }
}
