using System.Globalization;
using System.Net;
using Edge.Protocol.Dns;

namespace Edge.Core.EdgeDns;

/// <summary>Names of addresses: <c>4.3.2.1.in-addr.arpa</c> (RFC 1035 §3.5), nibbles below <c>ip6.arpa</c> (RFC 3596 §2.5). Pure.</summary>
internal static class ReverseName
{
    private static readonly DnsName s_four = DnsName.Parse("in-addr.arpa");
    private static readonly DnsName s_six = DnsName.Parse("ip6.arpa");

    /// <summary>The whole address that the name stands for; false for any other name, that of a network too.</summary>
    public static bool TryRead(DnsName name, out IPAddress address)
    {
        address = IPAddress.None;
        if (name.IsAtOrBelow(s_four))
        {
            var labels = name.ToString().Split('.');
            Span<byte> bytes = stackalloc byte[4];
            if (labels.Length != 7)
                return false;
            for (var i = 0; i < 4; i++)
            {
                if (!byte.TryParse(labels[3 - i], NumberStyles.None, CultureInfo.InvariantCulture, out bytes[i]))
                    return false;
            }

            address = new IPAddress(bytes);
            return true;
        }

        if (!name.IsAtOrBelow(s_six))
            return false;
        var nibbles = name.ToString().Split('.');
        if (nibbles.Length != 35 || nibbles.Take(32).Any(nibble => nibble.Length != 1 || !char.IsAsciiHexDigit(nibble[0])))
            return false;
        address = new IPAddress(Convert.FromHexString(string.Concat(nibbles.Take(32).Reverse())));
        return true;
    }
}
