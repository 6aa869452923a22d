using System.Net;
using Edge.Protocol.Dns;

namespace Edge.GlobalServices.Zones;

/// <summary>One record of a zone; its data uncompressed on the wire (<see cref="RecordData.TryParse"/>).</summary>
/// <param name="Ttl">Seconds, at most 2147483647 (RFC 2181 §8).</param>
public sealed record ZoneRecord(DnsName Name, RecordType Type, uint Ttl, byte[] Data);

/// <summary>A name whose addresses are chosen for each client: A and AAAA come from the service of this number in the selector.</summary>
public sealed record ZoneService(DnsName Name, int Service);

/// <summary>What a zone is made of.</summary>
public sealed class ZoneSource
{
    public required DnsName Apex { get; init; }

    /// <summary>All records with SOA and NS, in any order; equal ones count once (RFC 2181 §5).</summary>
    public IReadOnlyList<ZoneRecord> Records { get; init; } = [];

    public IReadOnlyList<ZoneService> Services { get; init; } = [];

    /// <summary>Who may transfer the zone.</summary>
    public NetworkList TransferAcl { get; init; } = NetworkList.None;

    /// <summary>Who is told of a new serial (RFC 1996).</summary>
    public IReadOnlyList<IPEndPoint> NotifyTargets { get; init; } = [];
}

/// <summary>What is wrong with a zone, and what would mend it. The zone is left out; the others serve.</summary>
public sealed record ZoneError(DnsName Apex, string Message);
