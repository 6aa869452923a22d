using System.Net;
using System.Text;
using Edge.Protocol.Dns;

namespace Edge.Core.EdgeDns;

/// <summary>A record of an answer; its data is uncompressed.</summary>
internal sealed record DnsRow(DnsName Owner, RecordType Type, uint Ttl, ReadOnlyMemory<byte> Data)
{
    public static DnsRow Address(DnsName owner, uint ttl, IPAddress address)
        => new(owner, address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? RecordType.AAAA : RecordType.A, ttl, address.GetAddressBytes());

    public static DnsRow Name(DnsName owner, RecordType type, uint ttl, DnsName target) => new(owner, type, ttl, target.Wire.ToArray());

    /// <summary>RFC 2782.</summary>
    public static DnsRow Srv(DnsName owner, uint ttl, ushort priority, ushort weight, ushort port, DnsName target)
    {
        byte[] data = [(byte)(priority >> 8), (byte)priority, (byte)(weight >> 8), (byte)weight, (byte)(port >> 8), (byte)port, .. target.Wire];
        return new DnsRow(owner, RecordType.SRV, ttl, data);
    }

    /// <summary>One string of at most 255 bytes.</summary>
    public static DnsRow Text(DnsName owner, uint ttl, string text)
    {
        byte[] data = [(byte)Encoding.UTF8.GetByteCount(text), .. Encoding.UTF8.GetBytes(text)];
        return new DnsRow(owner, RecordType.TXT, ttl, data);
    }

    public override string ToString() => $"{Owner} {Ttl} {RecordData.TypeName(Type)} {RecordData.ToText(Type, Data.Span)}";
}

/// <summary>What a question is answered with.</summary>
internal sealed record DnsAnswer(ResponseCode Code, IReadOnlyList<DnsRow> Answers, IReadOnlyList<DnsRow> Authority, bool IsAuthoritative = false)
{
    public static readonly DnsAnswer Refused = new(ResponseCode.Refused, [], []);
    public static readonly DnsAnswer Failed = new(ResponseCode.ServerFailure, [], []);

    public IReadOnlyList<DnsRow> Additional { get; init; } = [];
}

/// <summary>What is asked, class IN.</summary>
internal readonly record struct DnsQuestion(DnsName Name, RecordType Type);
