using System.Security.Cryptography;

namespace Edge.Protocol.Dns;

/// <summary>What becomes of an answer.</summary>
public enum RateDecision
{
    Send,

    /// <summary>Send it empty with TC: who really asks comes again over TCP; who only borrows an address gains nothing.</summary>
    Slip,

    Drop,
}

/// <summary>Limits equal answers to one network over UDP, so that forged queries do not make this server flood a victim (the technique of ISC-TN-2012-1).
/// A pure core with a table of fixed size; safe from several threads without locks, allocates nothing.</summary>
public sealed class ResponseRateLimiter
{
    private const int TokenBits = 16;
    private const int TimeBits = 24;
    private readonly ulong[] _buckets;
    private readonly ulong _seed;
    private readonly int _perSecond;
    private readonly int _burst;
    private readonly int _slip;
    private long _dropped;
    private long _slipped;
    private long _overruns;

    /// <param name="perSecond">Equal answers a second to one network (an IPv4 /24 or an IPv6 /56), 1 to 10000.</param>
    /// <param name="slip">Each so-many-th answer over the limit goes out truncated instead of being dropped; 0: none, 1: all.</param>
    /// <param name="sizeLog2">The table has 2^this buckets of 8 bytes. Two networks in one bucket share its limit, at worst.</param>
    /// <param name="seed">Chooses who shares; not to be known outside.</param>
    public ResponseRateLimiter(int perSecond, int slip, int sizeLog2, ulong seed)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(perSecond, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(perSecond, 10_000);
        ArgumentOutOfRangeException.ThrowIfNegative(slip);
        _perSecond = perSecond;
        _burst = Math.Min(perSecond * 4, (1 << TokenBits) - 1);
        _slip = slip;
        _seed = seed;
        _buckets = new ulong[1 << sizeLog2];
    }

    public long Dropped => Volatile.Read(ref _dropped);

    public long Slipped => Volatile.Read(ref _slipped);

    /// <summary>A seed nobody can guess.</summary>
    public static ulong NewSeed()
    {
        Span<byte> bytes = stackalloc byte[8];
        RandomNumberGenerator.Fill(bytes);
        return BitConverter.ToUInt64(bytes);
    }

    /// <param name="kind">Which answers are equal: a hash of the name and the kind of answer. For NXDOMAIN and errors the zone's, not the query's, or random names get by.</param>
    public RateDecision Decide(UInt128 address, uint kind, long nowMs)
    {
        var network = DnsRequest.IsMapped(address) ? (ulong)(uint)address >> 8 : (ulong)(address >> 72) | (1UL << 63);
        var hash = Mix(network ^ _seed) ^ Mix(kind + 0x9E3779B97F4A7C15);
        hash = Mix(hash ^ _seed);
        ref var bucket = ref _buckets[hash & (ulong)(_buckets.Length - 1)];
        var tag = hash >> (TokenBits + TimeBits);
        var now = (ulong)nowMs & ((1UL << TimeBits) - 1);
        while (true)
        {
            var old = Volatile.Read(ref bucket);
            ulong tokens = (ulong)_burst;
            if (old >> (TokenBits + TimeBits) == tag && old != 0)
            {
                // Each millisecond earns a thousandth of the rate; the time moves on only by what was earned whole. 24 bits are over four hours.
                var passed = (now - ((old >> TokenBits) & ((1UL << TimeBits) - 1))) & ((1UL << TimeBits) - 1);
                if (passed > (1UL << TimeBits) - 60_000)
                    passed = 0; // another thread's clock was a little ahead
                var earned = passed * (ulong)_perSecond / 1000;
                tokens = Math.Min((old & ((1UL << TokenBits) - 1)) + earned, (ulong)_burst);
                if (tokens < (ulong)_burst)
                    now = (((old >> TokenBits) & ((1UL << TimeBits) - 1)) + (earned * 1000 / (ulong)_perSecond)) & ((1UL << TimeBits) - 1);
            }

            if (tokens == 0)
                return Refuse();
            var value = (tag << (TokenBits + TimeBits)) | (now << TokenBits) | (tokens - 1);
            if (Interlocked.CompareExchange(ref bucket, value, old) == old)
                return RateDecision.Send;
        }
    }

    private RateDecision Refuse()
    {
        if (_slip > 0 && (_slip == 1 || Interlocked.Increment(ref _overruns) % _slip == 0))
        {
            Interlocked.Increment(ref _slipped);
            return RateDecision.Slip;
        }

        Interlocked.Increment(ref _dropped);
        return RateDecision.Drop;
    }

    private static ulong Mix(ulong x)
    {
        x ^= x >> 33;
        x *= 0xff51afd7ed558ccd;
        x ^= x >> 33;
        x *= 0xc4ceb9fe1a85ec53;
        return x ^ (x >> 33);
    }
}
