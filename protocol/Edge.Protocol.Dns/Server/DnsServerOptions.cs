namespace Edge.Protocol.Dns.Server;

/// <summary>Bounds of a DNS server.</summary>
public sealed class DnsServerOptions
{
    /// <summary>UDP sockets with a thread each, among which the kernel spreads the clients (SO_REUSEPORT); 0: one for each processor. More than processors gains nothing.</summary>
    public int UdpSockets { get; init; }

    /// <summary>Datagrams taken with one system call at most. Each takes 8 KB a socket.</summary>
    public int UdpBatch { get; init; } = 64;

    /// <summary>The kernel's queue of a UDP socket, bytes; what does not fit in a burst is lost there. The kernel may grant less (net.core.rmem_max).</summary>
    public int UdpReceiveBuffer { get; init; } = 4 * 1024 * 1024;

    /// <summary>Whether many datagrams go in and out with one system call, where Linux has that; else one at a time.</summary>
    public bool UdpBatching { get; init; } = true;

    /// <summary>TCP connections at once; a further one is closed at once.</summary>
    public int TcpConnectionsMax { get; init; } = 1000;

    /// <summary>TCP connections of one client address (an IPv6 client is its /64); a further one is closed at once.</summary>
    public int TcpConnectionsPerClientMax { get; init; } = 100;

    /// <summary>How long a TCP connection may be without a whole query (RFC 7766 §6.2.3), milliseconds. A query that comes in drops does not prolong it.</summary>
    public int TcpIdleMs { get; init; } = 10_000;

    /// <summary>How long a client may take to accept what was written to it, milliseconds; then the connection is closed.</summary>
    public int TcpWriteMs { get; init; } = 5_000;

    /// <summary>Zone transfers at once; further ones wait for their turn within the idle time.</summary>
    public int TransfersMax { get; init; } = 4;
}
