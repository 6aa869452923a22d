using Edge.GlobalServices;
using Edge.GlobalServices.Zones;
using Edge.Protocol.Dns;

namespace Edge.Cloud.Gslb.Zones;

/// <summary>What an answer came to.</summary>
/// <param name="ScopePrefix">For how much of the client's address it holds (RFC 7871 §7.2.1); 0 when it does not depend on it.</param>
/// <param name="RateKind">Equal for answers that count as equal when the rate is limited: names that do not exist count by their zone.</param>
internal readonly record struct AnswerOutcome(ResponseCode Rcode, byte ScopePrefix, uint RateKind);

/// <summary>The algorithm of RFC 1034 §4.3.2 over compiled zones: a pure function that allocates nothing. Answers are minimal: nothing that was not asked for,
/// but SOA where RFC 2308 wants it and a referral's glue.</summary>
/// <remarks>For DNSSEC online signing later: each record set goes through <see cref="WriteSet"/>, where its RRSIG would follow, and each negative answer through
/// <see cref="Negative"/> with the closest name that exists, where NSEC would.</remarks>
internal static class ZoneAnswer
{
    private const int AliasesMax = 16;
    private const int AddressesMax = 64;

    /// <param name="type">The question's type, or SOA for IXFR over UDP.</param>
    public static AnswerOutcome Write(ZoneSet zones, IAddressSelector? selector, in DnsQuery query, RecordType type, in ClientSubnet client, ref DnsWriter writer)
    {
        Span<byte> buffer = stackalloc byte[DnsLimits.Name];
        WireName.ToLower(query.Name, buffer);
        ReadOnlySpan<byte> name = buffer[..query.Name.Length];
        if (!zones.TryFindClosest(name, out var node, out var exact))
        {
            writer.Flags = (ushort)(writer.Flags & ~DnsFlags.Authoritative);
            return new AnswerOutcome(ResponseCode.Refused, 0, (uint)ResponseCode.Refused);
        }

        if (type == RecordType.DS && exact && node.ParentSide is { } parentSide)
            node = parentSide;
        var zone = node.Zone;
        byte scope = 0;
        var owner = query.Name;
        var kind = WireName.Hash(name) ^ ((uint)type << 16);
        for (var aliases = 0; ; aliases++)
        {
            // DS of a delegation is the parent's, everything else at or below it the child's.
            if (node.Cut is { } cut && !(type == RecordType.DS && exact && cut == node))
            {
                Refer(cut, aliases, ref writer);
                return new AnswerOutcome(ResponseCode.NoError, scope, kind);
            }

            if (!exact)
            {
                if (node.Wildcard is null)
                {
                    // RFC 8020, RFC 6604 §3: also when an alias led here.
                    Negative(node, ref writer);
                    return new AnswerOutcome(ResponseCode.NameError, scope, (uint)zone.Apex.GetHashCode());
                }

                node = node.Wildcard;
                if (node.Cut is not null)
                    throw new System.Diagnostics.UnreachableException("a wildcard with NS passed the compiler");
            }

            if (node.Find(RecordType.CNAME) is not { } alias || type is RecordType.CNAME or RecordType.ANY)
            {
                Final(node, selector, type, client, owner, aliases == 0, ref writer, ref scope);
                return new AnswerOutcome(ResponseCode.NoError, scope, kind);
            }

            if (!WriteSet(alias, owner, aliases == 0, Section.Answer, ref writer))
                return Truncated(ref writer, scope, kind);
            // The chain goes on within the zone; where it leaves, or turns in circles, the resolver goes on.
            owner = alias.Data[0];
            WireName.ToLower(owner, buffer);
            name = buffer[..owner.Length];
            if (aliases == AliasesMax || !zones.TryFindClosest(name, out var next, out exact) || next.Zone != zone)
                return new AnswerOutcome(ResponseCode.NoError, scope, kind);
            // To its own apex is out of the zone, too, when it is DS that is asked for and the parent is here (RFC 4035 §3.1.4.1).
            if (type == RecordType.DS && exact && next.ParentSide is not null)
                return new AnswerOutcome(ResponseCode.NoError, scope, kind);
            node = next;
        }
    }

    private static AnswerOutcome Truncated(ref DnsWriter writer, byte scope, uint kind)
    {
        writer.Flags |= DnsFlags.Truncated;
        return new AnswerOutcome(ResponseCode.NoError, scope, kind);
    }

    private static void Final(
        ZoneNode node, IAddressSelector? selector, RecordType type, in ClientSubnet client, ReadOnlySpan<byte> owner, bool ownerIsQuestion, ref DnsWriter writer, ref byte scope)
    {
        if (node.Service >= 0 && selector is not null && type is RecordType.A or RecordType.AAAA)
        {
            Chosen(node, selector, type == RecordType.AAAA, client, owner, ownerIsQuestion, ref writer, ref scope);
            return;
        }

        // RFC 8482 §4.1: for ANY one set is enough.
        var set = type == RecordType.ANY ? (node.Sets.Length > 0 ? node.Sets[0] : null) : node.Find(type);
        if (set is null)
            Negative(node, ref writer);
        else if (!WriteSet(set, owner, ownerIsQuestion, Section.Answer, ref writer))
            writer.Flags |= DnsFlags.Truncated;
    }

    private static void Chosen(
        ZoneNode node, IAddressSelector selector, bool ipv6, in ClientSubnet client, ReadOnlySpan<byte> owner, bool ownerIsQuestion, ref DnsWriter writer, ref byte scope)
    {
        Span<UInt128> addresses = stackalloc UInt128[AddressesMax];
        var selection = selector.Select(node.Service, ipv6, client, addresses);
        // An IPv4 client's scope never goes over 32, whatever the selector says.
        scope = Math.Max(scope, Math.Min(selection.ScopePrefix, client.IsIPv6 ? (byte)128 : (byte)32));
        if (selection.Count == 0)
        {
            Negative(node, ref writer);
            return;
        }

        var mark = writer.Mark();
        Span<byte> data = stackalloc byte[16];
        foreach (var address in addresses[..Math.Min(selection.Count, AddressesMax)])
        {
            bool written;
            if (ownerIsQuestion)
            {
                written = writer.TryWriteQuestionAddress(ipv6, address, selection.TtlSeconds);
            }
            else
            {
                System.Buffers.Binary.BinaryPrimitives.WriteUInt128BigEndian(data, address);
                written = writer.TryWriteRecord(Section.Answer, owner, ipv6 ? RecordType.AAAA : RecordType.A, RecordClass.IN, selection.TtlSeconds, ipv6 ? data : data[12..]);
            }

            if (written)
                continue;
            writer.Rollback(mark);
            writer.Flags |= DnsFlags.Truncated;
            return;
        }
    }

    // A referral is not authoritative, unless an alias of this zone came before it (RFC 1034 §4.3.2 step 3b).
    private static void Refer(ZoneNode cut, int aliases, ref DnsWriter writer)
    {
        if (aliases == 0)
            writer.Flags = (ushort)(writer.Flags & ~DnsFlags.Authoritative);
        var set = cut.Find(RecordType.NS)!;
        if (!WriteSet(set, cut.Name.Wire, ownerIsQuestion: false, Section.Authority, ref writer))
        {
            writer.Flags |= DnsFlags.Truncated;
            return;
        }

        // First the glue without which the referral is of no use; what else fits is a courtesy.
        foreach (var required in (ReadOnlySpan<bool>)[true, false])
        {
            foreach (var glue in set.Glue)
            {
                if (glue.IsRequired != required)
                    continue;
                var fits = WriteAddresses(glue.Node, RecordType.A, ref writer) & WriteAddresses(glue.Node, RecordType.AAAA, ref writer);
                if (fits)
                    continue;
                if (required)
                    writer.Flags |= DnsFlags.Truncated;
                return;
            }
        }
    }

    private static bool WriteAddresses(ZoneNode node, RecordType type, ref DnsWriter writer)
        => node.Find(type) is not { } set || WriteSet(set, node.Name.Wire, ownerIsQuestion: false, Section.Additional, ref writer);

    private static void Negative(ZoneNode closest, ref DnsWriter writer)
    {
        if (!WriteSet(closest.Zone.NegativeSoa, closest.Zone.Apex.Wire, ownerIsQuestion: false, Section.Authority, ref writer))
            writer.Flags |= DnsFlags.Truncated;
    }

    // The whole set or nothing of it (RFC 2181 §9).
    private static bool WriteSet(RecordSet set, ReadOnlySpan<byte> owner, bool ownerIsQuestion, Section section, ref DnsWriter writer)
    {
        if (ownerIsQuestion && set.Image is { } image)
            return writer.TryWriteImage(section, image, set.Data.Length);
        var mark = writer.Mark();
        foreach (var data in set.Data)
        {
            if (writer.TryWriteRecord(section, owner, set.Type, RecordClass.IN, set.Ttl, data))
                continue;
            writer.Rollback(mark);
            return false;
        }

        return true;
    }
}
