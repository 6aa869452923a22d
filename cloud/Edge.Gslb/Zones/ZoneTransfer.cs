using Edge.GlobalServices;
using Edge.GlobalServices.Zones;
using Edge.Protocol.Dns;

namespace Edge.Cloud.Gslb.Zones;

/// <summary>A whole zone in messages (RFC 5936 §2.2): SOA, everything else, SOA. Names of global services go with the addresses that a client of unknown place gets
/// now: secondaries without this server's knowledge answer that, and a change of health makes no new serial.</summary>
internal sealed class ZoneTransfer : IDnsTransfer
{
    // Compression reaches 16 KB; larger messages gain little.
    private const int MessageSize = 16 * 1024;
    private readonly IEnumerator<(DnsName Owner, RecordType Type, uint Ttl, byte[] Data)> _records;
    private readonly ushort _id;
    private readonly ushort _flags;
    private readonly byte[] _question;
    private bool _started;
    private bool _pending;

    public ZoneTransfer(Zone zone, IAddressSelector? selector, ushort id, ushort queryFlags, byte[] question)
    {
        _records = Records(zone, selector).GetEnumerator();
        _pending = _records.MoveNext();
        _id = id;
        _flags = (ushort)(DnsFlags.Response | DnsFlags.Authoritative | (queryFlags & DnsFlags.RecursionDesired));
        _question = question;
    }

    public int Next(Span<byte> message)
    {
        if (!_pending)
            return 0;
        var writer = new DnsWriter(message, MessageSize, _id, _flags);
        if (!_started)
            writer.TryWriteQuestion(_question); // RFC 5936 §2.2.1: the first message has it
        _started = true;
        while (_pending)
        {
            var (owner, type, ttl, data) = _records.Current;
            if (!writer.TryWriteRecord(Section.Answer, owner.Wire, type, RecordClass.IN, ttl, data))
            {
                if (writer.Count(Section.Answer) > 0)
                    break;
                // One record larger than that: a message of its own.
                writer.Limit = message.Length;
                continue;
            }

            _pending = _records.MoveNext();
        }

        return writer.Finish();
    }

    private static IEnumerable<(DnsName, RecordType, uint, byte[])> Records(Zone zone, IAddressSelector? selector)
    {
        yield return (zone.Apex, RecordType.SOA, zone.Soa.Ttl, zone.Soa.Data[0]);
        foreach (var node in zone.Nodes)
        {
            foreach (var set in node.Sets.Where(set => set.Type != RecordType.SOA))
            {
                foreach (var data in set.Data)
                    yield return (node.Name, set.Type, set.Ttl, data);
            }

            if (node.Service < 0 || selector is null)
                continue;
            foreach (var ipv6 in new[] { false, true })
            {
                foreach (var (ttl, data) in Chosen(selector, node.Service, ipv6))
                    yield return (node.Name, ipv6 ? RecordType.AAAA : RecordType.A, ttl, data);
            }
        }

        yield return (zone.Apex, RecordType.SOA, zone.Soa.Ttl, zone.Soa.Data[0]);
    }

    private static List<(uint Ttl, byte[] Data)> Chosen(IAddressSelector selector, int service, bool ipv6)
    {
        var addresses = new UInt128[64];
        var selection = selector.Select(service, ipv6, new ClientSubnet(DnsRequest.Map(0), 0, IsIPv6: false, FromEcs: false), addresses);
        return [.. addresses.Take(selection.Count).Select(address => (selection.TtlSeconds, DnsRequest.ToAddress(ipv6 ? address : DnsRequest.Map((uint)address)).GetAddressBytes()))];
    }
}

/// <summary>The transfer of a zone that was removed between its announcement and its start.</summary>
internal sealed class RefusedTransfer(ushort id) : IDnsTransfer
{
    private bool _said;

    public int Next(Span<byte> message)
    {
        if (_said)
            return 0;
        _said = true;
        return new DnsWriter(message, DnsLimits.Header, id, DnsFlags.Response | (int)ResponseCode.NotAuthoritative).Finish();
    }
}
