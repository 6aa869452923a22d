using Edge.Protocol.Dns;

namespace Edge.Core.EdgeDns;

/// <summary>What the cache has for a question.</summary>
internal enum CacheState
{
    Missing,

    Fresh,

    /// <summary>Fresh, asked for more than once and soon over: it is to be asked for again now, so that nobody waits later.</summary>
    Due,

    /// <summary>Over, and kept for the time when nobody answers (RFC 8767).</summary>
    Stale,
}

/// <summary>Answers of others, with their times to live. Safe for concurrent calls; the time is a parameter, milliseconds.</summary>
/// <param name="entriesMax">The one not asked for longest goes when it is full.</param>
/// <param name="staleMs">How long an answer is kept beyond its time.</param>
internal sealed class AnswerCache(int entriesMax, long staleMs)
{
    /// <summary>Of a stale answer (RFC 8767 §4 advises 30).</summary>
    public const uint StaleTtl = 30;

    // RFC 8767 §4: longer ones are not believed.
    private const uint PositiveTtlMax = 86_400;

    // RFC 2308 §5: one to three hours.
    private const uint NegativeTtlMax = 3600;

    private const int HitsForPrefetch = 2;

    private readonly Lock _gate = new();
    private readonly Dictionary<DnsQuestion, LinkedListNode<Entry>> _entries = [];
    private readonly LinkedList<Entry> _byUse = new(); // the last one goes first

    private sealed class Entry(DnsQuestion question, DnsAnswer answer, long storedMs, uint ttl)
    {
        public DnsQuestion Question { get; } = question;

        public DnsAnswer Answer { get; } = answer;

        public long StoredMs { get; } = storedMs;

        public long ExpiresMs { get; } = storedMs + (ttl * 1000L);

        public int Hits { get; set; }

        public bool IsPrefetched { get; set; }
    }

    public int Count
    {
        get
        {
            lock (_gate)
                return _entries.Count;
        }
    }

    /// <summary>Entries that went because it was full.</summary>
    public long Evicted { get; private set; }

    /// <summary>How long an answer may be kept, seconds; 0: not at all. Absence only as its SOA says (RFC 2308 §5), a failure never.</summary>
    public static uint TtlOf(DnsAnswer answer)
    {
        if (answer.Code is not (ResponseCode.NoError or ResponseCode.NameError))
            return 0;
        // A CNAME that leads nowhere is absence as well.
        var soa = answer.Authority.FirstOrDefault(row => row.Type == RecordType.SOA);
        if (answer.Answers.Count > 0 && (soa is null || answer.Code == ResponseCode.NoError))
            return Math.Min(answer.Answers.Min(row => row.Ttl), PositiveTtlMax);
        if (soa is null || soa.Data.Length < 4)
            return 0;
        var minimum = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(soa.Data.Span[^4..]);
        var ttl = Math.Min(Math.Min(soa.Ttl, minimum), NegativeTtlMax);
        return answer.Answers.Count > 0 ? Math.Min(ttl, answer.Answers.Min(row => row.Ttl)) : ttl;
    }

    public void Put(DnsQuestion question, DnsAnswer answer, long nowMs)
    {
        var ttl = TtlOf(answer);
        if (ttl == 0 || entriesMax == 0)
            return;
        lock (_gate)
        {
            if (_entries.Remove(question, out var before))
                _byUse.Remove(before);
            var entry = new Entry(question, answer, nowMs, ttl) { Hits = before?.Value.Hits > 0 ? 1 : 0 };
            _entries[question] = _byUse.AddFirst(entry);
            while (_entries.Count > entriesMax)
            {
                _entries.Remove(_byUse.Last!.Value.Question);
                _byUse.RemoveLast();
                Evicted++;
            }
        }
    }

    /// <summary>The answer with its times to live as they are now.</summary>
    public CacheState Get(DnsQuestion question, long nowMs, out DnsAnswer answer)
    {
        answer = DnsAnswer.Failed;
        lock (_gate)
        {
            if (!_entries.TryGetValue(question, out var node))
                return CacheState.Missing;
            var entry = node.Value;
            if (nowMs >= entry.ExpiresMs + staleMs)
            {
                _entries.Remove(question);
                _byUse.Remove(node);
                return CacheState.Missing;
            }

            _byUse.Remove(node);
            _byUse.AddFirst(node);
            if (nowMs >= entry.ExpiresMs)
            {
                answer = Aged(entry.Answer, _ => StaleTtl);
                return CacheState.Stale;
            }

            entry.Hits++;
            var age = (uint)((nowMs - entry.StoredMs) / 1000);
            answer = Aged(entry.Answer, ttl => ttl > age ? ttl - age : 0);
            var isSoonOver = (entry.ExpiresMs - nowMs) * 10 <= entry.ExpiresMs - entry.StoredMs;
            if (!isSoonOver || entry.IsPrefetched || entry.Hits < HitsForPrefetch)
                return CacheState.Fresh;
            entry.IsPrefetched = true;
            return CacheState.Due;
        }
    }

    private static DnsAnswer Aged(DnsAnswer answer, Func<uint, uint> ttl) => answer with
    {
        Answers = [.. answer.Answers.Select(row => row with { Ttl = ttl(row.Ttl) })],
        Authority = [.. answer.Authority.Select(row => row with { Ttl = ttl(row.Ttl) })],
    };
}
