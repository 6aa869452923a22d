using Edge.Core.EdgeDns.Global;
using Edge.Protocol.Dns;

namespace Edge.Core.EdgeDns;

/// <summary>One query, from bytes to bytes: the cluster's names from the catalog, hosts of GlobalServices and the zones they are in from theirs, the rest from the forwarder.</summary>
internal sealed class Resolver(
    ClusterZone zone, Func<ServiceCatalog> catalog, GlobalServiceCatalog globalServices, ZoneCatalog zones, Forwarder forwarder, Random random, EdgeDnsCounters counters)
{
    // An alias may lead to another one here, or back here from elsewhere; as many as the cloud follows.
    private const int ChainMax = 16;

    // Kept free for the OPT record.
    private const int OptSize = 11;

    /// <summary>The answer's bytes where nobody has to be asked. Empty: silence; null: the other method has to be awaited.</summary>
    public byte[]? TryResolve(ReadOnlySpan<byte> packet, bool isTcp, out DnsQuestion question)
    {
        question = default;
        Interlocked.Increment(ref counters.Queries);
        var status = DnsQuery.TryRead(packet, out var query);
        if (status == QueryStatus.Ignore)
        {
            Interlocked.Increment(ref counters.Malformed);
            return [];
        }

        if (status == QueryStatus.Malformed)
        {
            Interlocked.Increment(ref counters.Malformed);
            return Write(query, new DnsAnswer(ResponseCode.FormatError, [], []), isTcp);
        }

        if (query.Opcode != Opcode.Query)
            return Write(query, new DnsAnswer(ResponseCode.NotImplemented, [], []), isTcp);
        if (query.HasEdns && query.EdnsVersion != 0)
            return Write(query, new DnsAnswer(ResponseCode.BadVersion, [], []), isTcp);
        if (!query.HasQuestion)
            return Write(query, new DnsAnswer(ResponseCode.NoError, [], []), isTcp);
        if (query.Class != RecordClass.IN || query.Type is RecordType.None or RecordType.AXFR or RecordType.IXFR or RecordType.TKEY or RecordType.TSIG or RecordType.OPT or (RecordType)253 or (RecordType)254)
            return Write(query, DnsAnswer.Refused, isTcp);
        question = new DnsQuestion(DnsName.FromWire(query.Name), query.Type);
        var (answer, rows, next) = OwnAnswer(question);
        if (answer is not null)
            return Write(query, answer, isTcp);
        if (rows.Count == 0 && query.Type == RecordType.ANY)
            return Write(query, new DnsAnswer(ResponseCode.NotImplemented, [], []), isTcp); // RFC 8482 §4: an amplifier is of no use to pods
        return forwarder.TryCached(next, out var cached) ? Write(query, cached with { Answers = [.. rows, .. cached.Answers] }, isTcp) : null;
    }

    /// <summary>The answer's bytes of a query that <see cref="TryResolve"/> could not answer at once.</summary>
    public async Task<byte[]> ResolveAsync(ReadOnlyMemory<byte> packet, bool isTcp, DnsQuestion question)
    {
        var answer = await ResolveAsync(question);
        DnsQuery.TryRead(packet.Span, out var query);
        return Write(query, answer, isTcp);
    }

    private async Task<DnsAnswer> ResolveAsync(DnsQuestion question)
    {
        var (answer, rows, next) = OwnAnswer(question);
        if (answer is not null)
            return answer;
        var asked = await forwarder.AnswerAsync(next);
        return rows.Count == 0 ? asked : asked with { Answers = [.. rows, .. asked.Answers] };
    }

    // The whole answer; or null where somebody else has to be asked: for what, and the aliases on the way there.
    private (DnsAnswer? Answer, IReadOnlyList<DnsRow> Rows, DnsQuestion Next) OwnAnswer(DnsQuestion question)
    {
        var next = question;
        List<DnsRow>? rows = null;
        for (var i = 0; i <= ChainMax; i++)
        {
            if (Own(next) is not { } answer)
                return (null, rows ?? [], next);
            var target = Leads(next, answer);
            if (target is null && rows is null)
                return (answer, [], next);
            (rows ??= []).AddRange(answer.Answers);
            if (target is null)
                return (answer with { Answers = rows }, [], next);
            next = new DnsQuestion(target, question.Type);
        }

        return (DnsAnswer.Failed, [], next); // aliases that lead in a circle
    }

    // What nobody need be asked for; null where others may know.
    private DnsAnswer? Own(DnsQuestion question)
    {
        if (zone.Answer(question, catalog()) is { } answer)
        {
            Interlocked.Increment(ref counters.ClusterAnswers);
            return answer;
        }

        if (globalServices.Answer(question) is { } global)
        {
            Interlocked.Increment(ref counters.GlobalAnswers);
            return global.Answers.Count == 0 && zones.SoaOf(question.Name) is { } soa ? global with { Authority = [soa] } : global;
        }

        if (zones.Answer(question, globalServices.AnswerOf) is not { } known)
            return null;
        Interlocked.Increment(ref counters.ZoneAnswers);
        // A service may be here a moment before the zone that tells its name.
        return known.Code == ResponseCode.NameError && globalServices.Has(question.Name) ? known with { Code = ResponseCode.NoError } : known;
    }

    // Where a CNAME that is not itself what was asked for leads.
    private static DnsName? Leads(DnsQuestion question, DnsAnswer answer)
        => question.Type is RecordType.CNAME or RecordType.ANY || answer.Answers is not [.., { Type: RecordType.CNAME } last] ? null : DnsName.FromWire(last.Data.Span);

    private byte[] Write(in DnsQuery query, DnsAnswer answer, bool isTcp)
    {
        var limit = isTcp ? DnsLimits.Message : Math.Min(query.HasEdns ? query.UdpPayloadSize : DnsLimits.PlainUdp, DnsLimits.SafeUdp);
        var buffer = new byte[limit];
        var flags = (ushort)(DnsFlags.Response | (query.Opcode == Opcode.Query ? DnsFlags.RecursionAvailable : 0) | DnsFlags.Copied(query.Flags)
            | (answer.IsAuthoritative ? DnsFlags.Authoritative : 0) | ((int)answer.Code & DnsFlags.RcodeMask));
        var writer = new DnsWriter(buffer, query.HasEdns ? limit - OptSize : limit, query.Id, flags);
        if (query.HasQuestion)
            writer.TryWriteQuestion(query.Question);
        if (TryWrite(ref writer, Section.Answer, Turned(answer.Answers)) && TryWrite(ref writer, Section.Authority, answer.Authority))
        {
            // What is only of help is left out without TC (RFC 2181 §9).
            var mark = writer.Mark();
            if (!TryWrite(ref writer, Section.Additional, answer.Additional))
                writer.Rollback(mark);
        }
        else
        {
            writer.Flags |= DnsFlags.Truncated;
        }

        if (query.HasEdns)
        {
            writer.Limit = limit;
            writer.TryBeginOpt(DnsLimits.SafeUdp, answer.Code, query.DnssecOk);
        }

        return buffer[..writer.Finish()];
    }

    private static bool TryWrite(ref DnsWriter writer, Section section, IReadOnlyList<DnsRow> rows)
    {
        foreach (var row in rows)
        {
            if (!writer.TryWriteRecord(section, row.Owner.Wire, row.Type, RecordClass.IN, row.Ttl, row.Data.Span))
                return false;
        }

        return true;
    }

    // Most clients take the first address: each answer begins with another one. CNAMEs stay in front of what they lead to.
    private IReadOnlyList<DnsRow> Turned(IReadOnlyList<DnsRow> rows)
    {
        var start = 0;
        while (start < rows.Count && rows[start].Type == RecordType.CNAME)
            start++;
        var count = rows.Count - start;
        if (count < 2)
            return rows;
        int by;
        lock (random)
            by = random.Next(count);
        return by == 0 ? rows : [.. rows.Take(start), .. rows.Skip(start + by), .. rows.Skip(start).Take(by)];
    }
}
