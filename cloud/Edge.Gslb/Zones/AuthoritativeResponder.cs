using Edge.GlobalServices;
using System.Buffers.Binary;
using System.Text;
using Edge.GlobalServices.Zones;
using Edge.Protocol.Dns;

namespace Edge.Cloud.Gslb.Zones;

/// <summary>Answers for the zones: everything about a message but the records, which <see cref="ZoneAnswer"/> finds. No query goes without an answer that could
/// have one (RFC 8906), but responses and what is shorter than a header. Allocates nothing; safe from several threads.</summary>
public sealed class AuthoritativeResponder : IDnsResponder
{
    private readonly AuthoritativeOptions _options;
    private readonly byte[] _nsid;
    private readonly byte[] _version;
    private volatile State _state = new(ZoneSet.Empty, null);

    public AuthoritativeResponder(AuthoritativeOptions options)
    {
        _options = options;
        _nsid = Encoding.UTF8.GetBytes(options.Nsid);
        _version = Encoding.UTF8.GetBytes(options.Version);
        if (options.UdpPayloadMax is < DnsLimits.PlainUdp or > 4096)
            throw new ArgumentException($"UdpPayloadMax is {options.UdpPayloadMax}; it goes from 512 to 4096", nameof(options));
        if (_version.Length > 64)
            throw new ArgumentException("Version has at most 64 bytes", nameof(options));
    }

    /// <summary>What is served now.</summary>
    public ZoneSet Zones => _state.Zones;

    /// <summary>Serves other zones from the next query on. Service numbers in the zones are those of this selector.</summary>
    public void Serve(ZoneSet zones, IAddressSelector? selector) => _state = new State(zones, selector);

    public int Respond(ReadOnlySpan<byte> query, in DnsRequest request, Span<byte> response)
    {
        var status = DnsQuery.TryRead(query, out var parsed);
        if (status == QueryStatus.Ignore)
            return 0;

        var cookieIsValid = !parsed.Cookie.IsEmpty && _options.Cookies is { } cookies && cookies.IsValid(parsed.Cookie, request.Address, request.UnixMs / 1000);
        var reply = new Reply(parsed, request, Trusts(parsed, request));
        var writer = Begin(reply, response);
        AnswerOutcome outcome;
        if (status == QueryStatus.Malformed)
            outcome = Fail(ResponseCode.FormatError, ref writer);
        else if (parsed.EdnsVersion != 0)
            outcome = Fail(ResponseCode.BadVersion, ref writer); // RFC 6891 §6.1.3
        else if (Decide(reply, query, ref writer) is { } decided)
            outcome = decided;
        else
            return IDnsResponder.Transfer;

        var length = Complete(reply, outcome, ref writer);
        if (request.IsTcp || cookieIsValid || _options.RateLimiter is not { } limiter)
            return length;
        switch (limiter.Decide(request.Address, outcome.RateKind, request.UnixMs))
        {
            case RateDecision.Send:
                return length;
            case RateDecision.Drop:
                return 0;
            default:
                writer = Begin(reply, response);
                writer.Flags |= DnsFlags.Truncated;
                return Complete(reply, outcome with { Rcode = ResponseCode.NoError, ScopePrefix = 0 }, ref writer);
        }
    }

    public IDnsTransfer BeginTransfer(ReadOnlySpan<byte> query, in DnsRequest request)
    {
        // Asked right after Respond announced it; the state may have changed since, and with it the zone be gone.
        var state = _state;
        DnsQuery.TryRead(query, out var parsed);
        return FindZone(state.Zones, parsed.Name) is { } zone
            ? new ZoneTransfer(zone, state.Selector, parsed.Id, parsed.Flags, parsed.Question.ToArray())
            : new RefusedTransfer(parsed.Id);
    }

    private static Zone? FindZone(ZoneSet zones, ReadOnlySpan<byte> name)
    {
        Span<byte> lower = stackalloc byte[DnsLimits.Name];
        WireName.ToLower(name, lower);
        return zones.TryFind(lower[..name.Length], out var node) && node == node.Zone.ApexNode ? node.Zone : null;
    }

    private static AnswerOutcome Fail(ResponseCode code, ref DnsWriter writer)
    {
        writer.Flags = (ushort)(writer.Flags & ~DnsFlags.Authoritative);
        return new AnswerOutcome(code, 0, (uint)code);
    }

    private bool Trusts(in DnsQuery query, in DnsRequest request) => query.HasSubnet && _options.EcsResolvers.Contains(request.Address);

    // Header and question. AD, RA and Z are not set.
    private DnsWriter Begin(in Reply reply, Span<byte> response)
    {
        ref readonly var query = ref reply.Query;
        var flags = DnsFlags.Response | DnsFlags.Authoritative | DnsFlags.Copied(query.Flags);
        var limit = reply.IsTcp ? DnsLimits.Message : Math.Min(query.UdpPayloadSize, _options.UdpPayloadMax);
        var writer = new DnsWriter(response, limit - OptLength(reply), query.Id, (ushort)flags);
        if (query.HasQuestion)
            writer.TryWriteQuestion(query.Question); // at most 12 + 259 + OPT: fits 512 always
        return writer;
    }

    private AnswerOutcome? Decide(in Reply reply, ReadOnlySpan<byte> packet, ref DnsWriter writer)
    {
        ref readonly var query = ref reply.Query;
        if (query.Opcode == Opcode.Notify)
            return Notified(query, ref writer);
        if (query.Opcode != Opcode.Query)
            return Fail(ResponseCode.NotImplemented, ref writer);
        if (!query.HasQuestion)
        {
            writer.Flags = (ushort)(writer.Flags & ~DnsFlags.Authoritative);
            return new AnswerOutcome(ResponseCode.NoError, 0, 0); // RFC 7873 §5.4: only the cookie was wanted
        }

        if (query.Class == RecordClass.CH)
            return Chaos(query, ref writer);
        if (query.Class != RecordClass.IN)
            return Fail(ResponseCode.Refused, ref writer);
        var state = _state;
        var type = query.Type;
        switch (type)
        {
            case RecordType.AXFR or RecordType.IXFR:
                if (FindZone(state.Zones, query.Name) is not { } zone)
                    return Fail(ResponseCode.NotAuthoritative, ref writer); // RFC 5936 §2.2.1
                if (type == RecordType.IXFR && !reply.IsTcp)
                {
                    type = RecordType.SOA; // RFC 1995 §2: the current SOA says whether TCP is worth it
                    break;
                }

                if (!reply.IsTcp)
                    return Fail(ResponseCode.FormatError, ref writer); // RFC 5936 §4.2: not defined over UDP
                return zone.Source.TransferAcl.Contains(reply.Address) ? null : Fail(ResponseCode.Refused, ref writer);
            case RecordType.None or RecordType.OPT or RecordType.TKEY or RecordType.TSIG:
                return Fail(ResponseCode.FormatError, ref writer); // never a question's type
        }

        return ZoneAnswer.Write(state.Zones, state.Selector, query, type, reply.Client, ref writer);
    }

    // This server has no primaries: it knows what is told already, or the zone is not its own (RFC 1996 §3.10).
    private AnswerOutcome Notified(in DnsQuery query, ref DnsWriter writer)
        => !query.HasQuestion || query.Type != RecordType.SOA ? Fail(ResponseCode.FormatError, ref writer)
            : query.Class == RecordClass.IN && FindZone(_state.Zones, query.Name) is { } zone ? new AnswerOutcome(ResponseCode.NoError, 0, (uint)zone.Apex.GetHashCode())
            : Fail(ResponseCode.NotAuthoritative, ref writer);

    private AnswerOutcome Chaos(in DnsQuery query, ref DnsWriter writer)
    {
        var text = WireName.Equal(query.Name, "\u0007version\u0004bind\0"u8) || WireName.Equal(query.Name, "\u0007version\u0006server\0"u8) ? _version
            : WireName.Equal(query.Name, "\u0002id\u0006server\0"u8) || WireName.Equal(query.Name, "\u0008hostname\u0004bind\0"u8) ? _nsid
            : [];
        if (text.Length == 0)
            return Fail(ResponseCode.Refused, ref writer);
        if (query.Type is RecordType.TXT or RecordType.ANY)
        {
            Span<byte> data = stackalloc byte[1 + text.Length];
            data[0] = (byte)text.Length;
            text.CopyTo(data[1..]);
            writer.TryWriteRecord(Section.Answer, query.Name, RecordType.TXT, RecordClass.CH, 0, data);
        }

        return new AnswerOutcome(ResponseCode.NoError, 0, 0);
    }

    private int OptLength(in Reply reply)
    {
        ref readonly var query = ref reply.Query;
        if (!query.HasEdns)
            return 0;
        var length = 11;
        if (query.WantsNsid && _nsid.Length > 0)
            length += 4 + _nsid.Length;
        if (!query.Cookie.IsEmpty && _options.Cookies is not null)
            length += 4 + DnsCookies.Length;
        if (reply.EchoesSubnet)
            length += query.Subnet.WireLength;
        if (query.HasKeepalive && reply.IsTcp)
            length += 6;
        return length;
    }

    private int Complete(in Reply reply, in AnswerOutcome outcome, ref DnsWriter writer)
    {
        ref readonly var query = ref reply.Query;
        if (!query.HasEdns)
        {
            writer.Flags = (ushort)((writer.Flags & ~DnsFlags.RcodeMask) | ((int)outcome.Rcode & DnsFlags.RcodeMask));
            return writer.Finish();
        }

        // RFC 6891 §6.1.1: an OPT in the query brings one in the answer, also beside an error.
        writer.Limit = DnsLimits.Message;
        writer.TryBeginOpt((ushort)_options.UdpPayloadMax, outcome.Rcode, query.DnssecOk);
        if (query.WantsNsid && _nsid.Length > 0 && writer.TryWriteOption(EdnsOption.Nsid, _nsid.Length, out var data))
            _nsid.CopyTo(data);
        if (!query.Cookie.IsEmpty && _options.Cookies is { } cookies && writer.TryWriteOption(EdnsOption.Cookie, DnsCookies.Length, out data))
            cookies.Write(query.Cookie, reply.Address, reply.UnixMs / 1000, data);
        if (reply.EchoesSubnet && writer.TryWriteOption(EdnsOption.ClientSubnet, query.Subnet.WireLength - 4, out data))
        {
            // RFC 7871 §7.2.1: of a client that gave no bits the answer cannot depend.
            var scope = query.Subnet.SourcePrefix == 0 ? (byte)0 : outcome.ScopePrefix;
            (query.Subnet with { ScopePrefix = scope }).Write(data);
        }

        if (query.HasKeepalive && reply.IsTcp && writer.TryWriteOption(EdnsOption.TcpKeepalive, 2, out data))
            BinaryPrimitives.WriteUInt16BigEndian(data, (ushort)Math.Min(_options.TcpIdleMs / 100, ushort.MaxValue));
        return writer.Finish();
    }

    private sealed record State(ZoneSet Zones, IAddressSelector? Selector);

    /// <summary>A query with what of its sender the answer depends on.</summary>
    private readonly ref struct Reply(DnsQuery query, in DnsRequest request, bool trusted)
    {
        public readonly DnsQuery Query = query;

        public readonly UInt128 Address = request.Address;

        public readonly long UnixMs = request.UnixMs;

        public readonly bool IsTcp = request.IsTcp;

        public readonly bool EchoesSubnet = trusted;

        // A subnet without bits says "do not locate me": then the resolver's own address serves.
        public ClientSubnet Client => EchoesSubnet && Query.Subnet.SourcePrefix > 0
            ? new ClientSubnet(Query.Subnet.Address, Query.Subnet.SourcePrefix, Query.Subnet.IsIPv6, FromEcs: true)
            : DnsRequest.IsMapped(Address) ? new ClientSubnet(Address, 32, IsIPv6: false, FromEcs: false) : new ClientSubnet(Address, 128, IsIPv6: true, FromEcs: false);
    }
}
