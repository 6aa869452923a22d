namespace Edge.Protocol.Dns;

/// <summary>RR types by their IANA numbers; any other number is an opaque type (RFC 3597).</summary>
public enum RecordType : ushort
{
    None = 0,
    A = 1,
    NS = 2,
    CNAME = 5,
    SOA = 6,
    PTR = 12,
    HINFO = 13,
    MX = 15,
    TXT = 16,
    AAAA = 28,
    SRV = 33,
    DNAME = 39,
    OPT = 41,
    DS = 43,
    RRSIG = 46,
    TKEY = 249,
    TSIG = 250,
    IXFR = 251,
    AXFR = 252,
    ANY = 255,
    CAA = 257,
}

/// <summary>Classes (RFC 1035 §3.2.4, RFC 2136 §2.4).</summary>
public enum RecordClass : ushort
{
    Reserved = 0,
    IN = 1,
    CH = 3,
    HS = 4,
    None = 254,
    Any = 255,
}

/// <summary>Opcodes; the numbers between are unassigned.</summary>
public enum Opcode : byte
{
    Query = 0,
    InverseQuery = 1,
    Status = 2,
    Notify = 4,
    Update = 5,
    Stateful = 6,
}

/// <summary>Response codes; those above 15 need EDNS (RFC 6891 §6.1.3).</summary>
public enum ResponseCode : ushort
{
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NameError = 3,
    NotImplemented = 4,
    Refused = 5,
    NotAuthoritative = 9,
    BadVersion = 16,
    BadCookie = 23,
}

/// <summary>EDNS option codes.</summary>
public enum EdnsOption : ushort
{
    Nsid = 3,
    ClientSubnet = 8,
    Cookie = 10,
    TcpKeepalive = 11,
    Padding = 12,
}

/// <summary>The sections of a message.</summary>
public enum Section
{
    Question = 0,
    Answer = 1,
    Authority = 2,
    Additional = 3,
}

/// <summary>Bits of the header's second word (RFC 1035 §4.1.1, RFC 4035 §3.1).</summary>
public static class DnsFlags
{
    public const ushort Response = 0x8000;
    public const ushort Authoritative = 0x0400;
    public const ushort Truncated = 0x0200;
    public const ushort RecursionDesired = 0x0100;
    public const ushort RecursionAvailable = 0x0080;
    public const ushort AuthenticData = 0x0020;
    public const ushort CheckingDisabled = 0x0010;
    public const ushort OpcodeMask = 0x7800;
    public const ushort RcodeMask = 0x000f;

    /// <summary>The flags of a query that its answer has: opcode, and of a QUERY RD and CD (RFC 1035 §4.1.1, RFC 4035 §3.1.6). What they mean for other opcodes is that opcode's own (RFC 8906 §8.1.4).</summary>
    public static int Copied(int query) => query & ((query & OpcodeMask) == 0 ? OpcodeMask | RecursionDesired | CheckingDisabled : OpcodeMask);
}

/// <summary>Sizes in bytes.</summary>
public static class DnsLimits
{
    public const int Header = 12;

    /// <summary>A label without its length byte (RFC 1035 §2.3.4).</summary>
    public const int Label = 63;

    /// <summary>A name on the wire, root label included (RFC 1035 §2.3.4).</summary>
    public const int Name = 255;

    /// <summary>UDP without EDNS (RFC 1035 §4.2.1).</summary>
    public const int PlainUdp = 512;

    /// <summary>What passes unfragmented practically everywhere (DNS flag day 2020, RFC 9715 §3.1).</summary>
    public const int SafeUdp = 1232;

    /// <summary>A message over TCP: its length is 16 bits.</summary>
    public const int Message = 65535;
}
