using System.Text;
using Edge.GlobalServices.Zones;
using Edge.Protocol.Dns;

namespace Edge.Cloud.Gslb.Zones;

/// <summary>How the authoritative server presents itself.</summary>
public sealed class AuthoritativeOptions
{
    private string _nsid = "";

    /// <summary>The largest answer over UDP, bytes, 512 to 4096; 1232 passes everywhere unfragmented. Larger ones are lost on some paths.</summary>
    public int UdpPayloadMax { get; init; } = DnsLimits.SafeUdp;

    /// <summary>The answer to NSID (RFC 5001) and to <c>id.server.</c> and <c>hostname.bind.</c> in class CH (RFC 4892); empty: none. At most 64 bytes.</summary>
    public string Nsid
    {
        get => _nsid;
        init
        {
            if (Encoding.UTF8.GetByteCount(value) > 64)
                throw new ArgumentException("an NSID has at most 64 bytes", nameof(value));
            _nsid = value;
        }
    }

    /// <summary>The answer to <c>version.bind.</c> and <c>version.server.</c> in class CH; empty: REFUSED. At most 64 bytes.</summary>
    public string Version { get; init; } = "";

    /// <summary>Makes and checks cookies (RFC 7873); null: the option is ignored.</summary>
    public DnsCookies? Cookies { get; init; }

    /// <summary>Resolvers whose client subnets are believed (RFC 7871 §7.2.1 wants a list); those of others are ignored.</summary>
    public NetworkList EcsResolvers { get; init; } = NetworkList.None;

    /// <summary>Limits equal answers over UDP to clients without a valid cookie; null: no limit.</summary>
    public ResponseRateLimiter? RateLimiter { get; init; }

    /// <summary>What is said to <c>edns-tcp-keepalive</c> (RFC 7828), milliseconds: the server's idle time.</summary>
    public int TcpIdleMs { get; init; } = 10_000;
}
