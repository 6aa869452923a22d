namespace Edge.Protocol.Dns.Server;

/// <summary>What a server counted since its start.</summary>
/// <param name="Queries">Datagrams and TCP messages that came in.</param>
/// <param name="Silent">Those that got no answer: responses, fragments of headers, rate limited ones.</param>
/// <param name="Truncated">Answers with TC.</param>
/// <param name="SendFailures">Answers that the kernel did not take.</param>
/// <param name="Failures">Exceptions of the responder: a fault of this program each.</param>
/// <param name="TcpRefused">Connections closed because too many were open.</param>
/// <param name="TcpTimedOut">Connections closed because nothing came or went in time.</param>
/// <param name="Rcodes">Answers by the header's response code, 0 to 15.</param>
public readonly record struct DnsServerFigures(
    long Queries, long Answers, long Silent, long Truncated, long SendFailures, long Failures, long TcpConnections, long TcpRefused, long TcpTimedOut, IReadOnlyList<long> Rcodes)
{
    internal static DnsServerFigures Sum(IEnumerable<DnsServerCounters> counters)
    {
        var sum = new DnsServerCounters();
        foreach (var one in counters)
            one.AddTo(sum);
        return new DnsServerFigures(
            sum.Queries, sum.Answers, sum.Silent, sum.Truncated, sum.SendFailures, sum.Failures, sum.TcpConnections, sum.TcpRefused, sum.TcpTimedOut, sum.Rcodes);
    }
}

/// <summary>Counters with one writer each: a UDP thread's own, or TCP's under its lock. Readers may see a sum that is a few queries old.</summary>
internal sealed class DnsServerCounters
{
    public long Queries;
    public long Answers;
    public long Silent;
    public long Truncated;
    public long SendFailures;
    public long Failures;
    public long TcpConnections;
    public long TcpRefused;
    public long TcpTimedOut;

    public long[] Rcodes { get; } = new long[16];

    /// <summary>Counts one query and what it got.</summary>
    public void Count(ReadOnlySpan<byte> answer)
    {
        Queries++;
        if (answer.Length < DnsLimits.Header)
        {
            Silent++;
            return;
        }

        Answers++;
        Rcodes[answer[3] & 15]++;
        if ((answer[2] & (DnsFlags.Truncated >> 8)) != 0)
            Truncated++;
    }

    public void AddTo(DnsServerCounters sum)
    {
        sum.Queries += Volatile.Read(ref Queries);
        sum.Answers += Volatile.Read(ref Answers);
        sum.Silent += Volatile.Read(ref Silent);
        sum.Truncated += Volatile.Read(ref Truncated);
        sum.SendFailures += Volatile.Read(ref SendFailures);
        sum.Failures += Volatile.Read(ref Failures);
        sum.TcpConnections += Volatile.Read(ref TcpConnections);
        sum.TcpRefused += Volatile.Read(ref TcpRefused);
        sum.TcpTimedOut += Volatile.Read(ref TcpTimedOut);
        for (var i = 0; i < Rcodes.Length; i++)
            sum.Rcodes[i] += Volatile.Read(ref Rcodes[i]);
    }
}
