using System.Net;

namespace Edge.Cloud.Router;

/// <summary>Where Rules may have cloudcore send: everywhere but to its own machine and link, where what listens trusts whoever gets there (the dashboard, a cloud's metadata). Immutable, pure.</summary>
internal sealed class TargetAccess
{
    private readonly HashSet<string> _hosts = new(StringComparer.OrdinalIgnoreCase);
    private readonly List<IPNetwork> _networks = [];

    /// <summary>Nothing of it is allowed.</summary>
    public static TargetAccess Default { get; } = new();

    /// <summary>Reads <c>modules.router.allowTargets</c>: host names, addresses, and networks as 127.0.0.0/8.</summary>
    /// <param name="entries">The setting's.</param>
    /// <param name="access">What they allow.</param>
    /// <param name="error">Names the entry that is none of these; else empty.</param>
    public static bool TryParse(IEnumerable<string> entries, out TargetAccess access, out string error)
    {
        access = new TargetAccess();
        error = "";
        foreach (var entry in entries)
        {
            if (IPAddress.TryParse(entry, out var address))
                access._networks.Add(new IPNetwork(address, address.GetAddressBytes().Length * 8));
            else if (IPNetwork.TryParse(entry, out var network))
                access._networks.Add(network);
            else if (Uri.CheckHostName(entry) == UriHostNameType.Dns)
                access._hosts.Add(entry);
            else if (error.Length == 0)
                error = $"'{entry}' is no host name, no address and no network like 127.0.0.0/8";
        }

        return error.Length == 0;
    }

    /// <summary>Whether a Rule's URL with this host may lead to this address.</summary>
    public bool Allows(string host, IPAddress address)
    {
        var one = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        var bytes = one.GetAddressBytes();
        // 0.0.0.0/8 and :: are this machine, too (RFC 1122 §3.2.1.3; Linux connects to itself).
        var isNear = IPAddress.IsLoopback(one) || one.IsIPv6LinkLocal || one.Equals(IPAddress.IPv6Any) || (bytes.Length == 4 && (bytes[0] == 0 || (bytes[0] == 169 && bytes[1] == 254)));
        return !isNear || _hosts.Contains(host) || _networks.Exists(network => network.Contains(one));
    }
}
