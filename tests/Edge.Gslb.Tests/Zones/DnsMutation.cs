using Edge.Cloud.Gslb.Zones;
using Edge.Protocol.Dns;
using Edge.Testing.Dns;

namespace Edge.Gslb.Tests.Zones;

/// <summary>Mutated packets into a responder with the example's zone; what comes out is checked each time.</summary>
internal sealed class DnsMutation
{
    private readonly Random _random;
    private readonly AuthoritativeResponder _responder;
    private readonly byte[][] _corpus = Corpus();
    private readonly byte[] _packet = new byte[8192];
    private readonly byte[] _response = new byte[DnsLimits.Message];
    private readonly byte[] _name = new byte[DnsLimits.Name];
    private readonly byte[] _data = new byte[DnsLimits.Message];

    public DnsMutation(int seed, AuthoritativeOptions options)
    {
        _random = new Random(seed);
        _responder = TestZones.Responder(TestZones.Compile(TestZones.Source("example.com", TestZones.Example)), options);
    }

    public Dictionary<ResponseCode, long> Answers { get; } = [];

    public long Silent { get; private set; }

    public long Truncated { get; private set; }

    /// <summary>One packet. Throws for what must not be, with the packet in hex.</summary>
    public void Step()
    {
        var length = DnsMutator.Mutate(_random, _corpus, _packet);
        var packet = _packet.AsSpan(0, length);
        var tcp = _random.Next(8) == 0;
        try
        {
            var request = new DnsRequest(DnsRequest.Map(0xc6336407), 5353, tcp, 1_700_000_000_000);
            var answer = _responder.Respond(packet, request, tcp ? _response : _response.AsSpan(0, 4096));
            if (answer == IDnsResponder.Transfer)
                answer = _responder.BeginTransfer(packet, request).Next(_response);
            Check(packet, _response.AsSpan(0, answer), tcp);
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"packet {Convert.ToHexString(packet)}: {e.Message}", e);
        }
    }

    private static byte[][] Corpus()
    {
        byte[] edns =
        [
            .. DnsPackets.Option(3), .. DnsPackets.Option(10, 1, 2, 3, 4, 5, 6, 7, 8), .. DnsPackets.Option(8, 0, 1, 24, 0, 10, 1, 2), .. DnsPackets.Option(8, 0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 1),
            .. DnsPackets.Option(12, 0, 0, 0),
        ];
        string[] names = ["www.example.com", "alias2.example.com", "x.wild.example.com", "h.deleg.example.com", "big.example.com", "missing.example.com", "example.com", "example.net", "q.cwild.example.com"];
        var packets = new List<byte[]>();
        foreach (var name in names)
        {
            foreach (var type in new[] { RecordType.A, RecordType.TXT, RecordType.ANY, RecordType.DS })
            {
                packets.Add(DnsPackets.Query(name, type));
                packets.Add(DnsPackets.Query(name, type, edns: 1232, options: edns[..20], dnssecOk: true));
            }
        }

        packets.Add(DnsPackets.Query("example.com", RecordType.SOA, flags: (int)Opcode.Notify << 11));
        packets.Add(DnsPackets.Query("example.com", RecordType.AXFR));
        packets.Add(DnsPackets.Query("www.example.com", RecordType.A, edns: 4096, options: edns));
        packets.Add(DnsPackets.Query("www.example.com", RecordType.A, edns: 4096, version: 1));
        packets.Add(DnsPackets.Query("version.bind", RecordType.TXT, recordClass: RecordClass.CH));
        packets.Add([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 12, .. DnsPackets.Option(10, 1, 2, 3, 4, 5, 6, 7, 8)]);
        return [.. packets];
    }

    private static void Require(bool holds, string rule)
    {
        if (!holds)
            throw new InvalidOperationException(rule);
    }

    private void Check(ReadOnlySpan<byte> packet, ReadOnlySpan<byte> answer, bool tcp)
    {
        var answerable = packet.Length >= 12 && (packet[2] & 0x80) == 0;
        Require(answerable == answer.Length > 0, answerable ? "no answer" : "an answer to a response or a fragment");
        if (!answerable)
        {
            Silent++;
            return;
        }

        DnsHeader.TryRead(packet, out var asked);
        DnsHeader.TryRead(answer, out var header);
        Require(header.IsResponse && header.Id == asked.Id && header.Opcode == asked.Opcode, "header");
        var plain = DnsQuery.TryRead(packet, out var query) == QueryStatus.Malformed;
        Require(tcp || answer.Length <= Math.Clamp(query.UdpPayloadSize, 512, 1232), "larger than the client takes");
        Require(!plain || header.Rcode == ResponseCode.FormatError, "malformed, and no FORMERR");
        Require(header.Questions == 0 || answer[12..].StartsWith(query.Question), "another question");

        // The answer is sound to the last byte.
        var reader = new DnsReader(answer);
        var opts = 0;
        var upper = 0;
        while (reader.TryReadRecord(out var record))
        {
            Require(reader.TryReadName(record, _name, out _) && reader.TryReadData(record, _data, out var dataLength) && RecordData.IsWellFormed(record.Type, _data.AsSpan(0, dataLength)), "an unsound record");
            if (record.Type == RecordType.OPT)
            {
                opts++;
                upper = (int)(record.Ttl >> 24) << 4;
            }
        }

        Require(!reader.IsMalformed && reader.Offset == answer.Length, "an unsound answer");
        Require(opts == (query.HasEdns ? 1 : 0), "EDNS in one direction only");
        if (header.IsTruncated)
            Truncated++;
        var code = (ResponseCode)((int)header.Rcode | upper);
        Answers[code] = Answers.GetValueOrDefault(code) + 1;
    }
}
