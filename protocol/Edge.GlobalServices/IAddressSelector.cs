namespace Edge.GlobalServices;

/// <summary>Chooses the addresses of a global service for a client: what the zones ask when a name's answer depends on who asks.
/// Implementations allocate nothing and are safe to call from several threads; a change of state swaps the whole selector.</summary>
public interface IAddressSelector
{
    /// <param name="service">The number of the service in this selector.</param>
    /// <param name="ipv6">Whether AAAA is asked for, else A.</param>
    /// <param name="client">Where the client is, as far as known.</param>
    /// <param name="addresses">Receives the chosen addresses in the order to answer; IPv4 as <c>::ffff:a.b.c.d</c> in the low bits.</param>
    Selection Select(int service, bool ipv6, in ClientSubnet client, Span<UInt128> addresses);
}

/// <summary>The client's network: from EDNS Client Subnet (RFC 7871) where the resolver is trusted with it, else the resolver's own address.</summary>
/// <param name="Address">Big-endian as a number; IPv4 is mapped (<c>::ffff:a.b.c.d</c>).</param>
/// <param name="PrefixLength">In the address's own family: 0 to 32, or 0 to 128.</param>
public readonly record struct ClientSubnet(UInt128 Address, byte PrefixLength, bool IsIPv6, bool FromEcs);

/// <param name="Count">How many addresses were written; 0: the name exists and has no address of this family now (NODATA).</param>
/// <param name="TtlSeconds">The time to live of the answer.</param>
/// <param name="ScopePrefix">The prefix for which the same answer holds, in the client's family (RFC 7871 §7.2.1); at most 32 or 128.</param>
public readonly record struct Selection(int Count, uint TtlSeconds, byte ScopePrefix);
