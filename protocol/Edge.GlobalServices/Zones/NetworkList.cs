using System.Globalization;
using System.Net;
using Edge.Protocol.Dns;

namespace Edge.GlobalServices.Zones;

/// <summary>A short list of networks, such as an access list. Immutable.</summary>
public sealed class NetworkList
{
    private readonly (UInt128 Network, UInt128 Mask)[] _networks;

    private NetworkList((UInt128 Network, UInt128 Mask)[] networks) => _networks = networks;

    /// <summary>Contains nobody.</summary>
    public static NetworkList None { get; } = new([]);

    public bool IsEmpty => _networks.Length == 0;

    /// <summary>Reads networks <c>192.0.2.0/24</c>, <c>2001:db8::/32</c> or single addresses.</summary>
    /// <param name="error">Names the entry that is none, with the form expected.</param>
    public static bool TryParse(IEnumerable<string> entries, out NetworkList list, out string error)
    {
        list = None;
        error = "";
        var networks = new List<(UInt128, UInt128)>();
        foreach (var entry in entries)
        {
            var slash = entry.IndexOf('/', StringComparison.Ordinal);
            if (!IPAddress.TryParse(slash < 0 ? entry : entry.AsSpan(0, slash), out var address))
            {
                error = $"'{entry}' is no address and no network like 192.0.2.0/24 or 2001:db8::/32";
                return false;
            }

            var number = DnsRequest.ToNumber(address);
            var bits = address.GetAddressBytes().Length * 8;
            var prefix = bits;
            if (slash >= 0 && (!int.TryParse(entry.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out prefix) || prefix > bits))
            {
                error = $"'{entry}': the prefix goes from 0 to {bits}";
                return false;
            }

            var mask = prefix + 128 - bits == 0 ? UInt128.Zero : UInt128.MaxValue << (bits - prefix);
            if ((number & ~mask) != 0)
            {
                error = $"'{entry}' has bits behind its prefix; the network is {DnsRequest.ToAddress(number & mask)}/{prefix}";
                return false;
            }

            networks.Add((number, mask));
        }

        list = new NetworkList([.. networks]);
        return true;
    }

    /// <param name="address">As in <see cref="DnsRequest.Address"/>.</param>
    public bool Contains(UInt128 address)
    {
        foreach (var (network, mask) in _networks)
        {
            if ((address & mask) == network)
                return true;
        }

        return false;
    }
}
