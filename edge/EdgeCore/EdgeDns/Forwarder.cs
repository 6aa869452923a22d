using System.Collections.Concurrent;
using System.Net;
using Edge.Protocol.Dns;

namespace Edge.Core.EdgeDns;

/// <summary>Counters of what EdgeDns does.</summary>
internal sealed class EdgeDnsCounters
{
    public long Queries;
    public long Malformed;
    public long Dropped;
    public long ClusterAnswers;
    public long GlobalAnswers;
    public long ZoneAnswers;
    public long CacheHits;
    public long CacheMisses;
    public long StaleAnswers;
    public long Prefetches;
    public long Joined;
    public long Forwarded;
    public long UpstreamFailures;
    public long Overloaded;
}

/// <summary>Asks one upstream.</summary>
internal interface IUpstreamClient
{
    /// <summary>The answer, over TCP where UDP's was cut.</summary>
    /// <exception cref="UpstreamException">No usable answer: not reachable, malformed, or not to this question.</exception>
    Task<DnsAnswer> AskAsync(IPEndPoint upstream, DnsQuestion question, CancellationToken cancellationToken);
}

/// <summary>An upstream gave no usable answer; the text says why.</summary>
internal sealed class UpstreamException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Answers everything that is not the cluster's: from the cache, else from the upstreams, else from what is over (RFC 8767).</summary>
/// <remarks>Queries for the same name and type are joined, so that each is asked once at a time; a query of our own that comes back to us joins itself and makes no other.</remarks>
internal sealed class Forwarder
{
    /// <summary>Questions asked at once; one more is answered SERVFAIL, or stale.</summary>
    public const int InFlightMax = 1024;

    // RFC 8767 §5: a client waits so long for a fresh answer while there is a stale one.
    private static readonly TimeSpan s_staleAfter = TimeSpan.FromMilliseconds(1800);

    // RFC 8767 §5, RFC 9520 §3.2: after a failure nobody is asked again for so long.
    private const long FailureRestMs = 5000;

    private readonly EdgeDnsOptions _options;
    private readonly IUpstreamClient _client;
    private readonly TimeProvider _time;
    private readonly EdgeDnsCounters _counters;
    private readonly Action<IPEndPoint, string> _failed;
    private readonly Action<Exception> _broke;
    private readonly AnswerCache _cache;
    private readonly UpstreamHealth _health; // locked by itself
    private readonly ConcurrentDictionary<DnsQuestion, Task<DnsAnswer>> _inFlight = new();
    private readonly ConcurrentDictionary<DnsQuestion, long> _failures = new();
    private readonly CancellationToken _stopping;

    /// <param name="failed">Told when an upstream begins to rest after a failure.</param>
    /// <param name="broke">Told of a defect met while asking; the question is answered SERVFAIL.</param>
    /// <param name="stopping">Ends what is under way.</param>
    public Forwarder(
        EdgeDnsOptions options, IUpstreamClient client, TimeProvider time, Random random, EdgeDnsCounters counters, Action<IPEndPoint, string> failed, Action<Exception> broke,
        CancellationToken stopping)
    {
        _options = options;
        _client = client;
        _time = time;
        _counters = counters;
        _failed = failed;
        _broke = broke;
        _stopping = stopping;
        _cache = new AnswerCache(options.CacheEntriesMax, options.StaleSeconds * 1000L);
        _health = new UpstreamHealth(options.Upstreams, random);
    }

    public int InFlight => _inFlight.Count;

    public AnswerCache Cache => _cache;

    private long NowMs => (long)_time.GetElapsedTime(0).TotalMilliseconds;

    /// <summary>Whether the upstream is passed over while others answer.</summary>
    public bool IsResting(int upstream)
    {
        lock (_health)
            return _health.IsResting(upstream, NowMs);
    }

    /// <summary>The answer from the cache, where that needs no waiting.</summary>
    public bool TryCached(DnsQuestion question, out DnsAnswer answer)
    {
        switch (_cache.Get(question, NowMs, out answer))
        {
            case CacheState.Fresh:
                Interlocked.Increment(ref _counters.CacheHits);
                return true;
            case CacheState.Due:
                Interlocked.Increment(ref _counters.CacheHits);
                if (TryAsk(question) is not null)
                    Interlocked.Increment(ref _counters.Prefetches);
                return true;
            case CacheState.Stale when HasJustFailed(question):
                Interlocked.Increment(ref _counters.StaleAnswers);
                return true;
            default:
                return false;
        }
    }

    /// <summary>The answer, waited for; never fails but by SERVFAIL or REFUSED.</summary>
    public async Task<DnsAnswer> AnswerAsync(DnsQuestion question)
    {
        if (_options.Upstreams.Count == 0)
            return DnsAnswer.Refused;
        if (TryCached(question, out var cached))
            return cached;
        Interlocked.Increment(ref _counters.CacheMisses);
        var isStale = _cache.Get(question, NowMs, out var stale) == CacheState.Stale;
        if (HasJustFailed(question))
            return DnsAnswer.Failed;
        if (TryAsk(question) is not { } asked)
        {
            Interlocked.Increment(ref _counters.Overloaded);
            return isStale ? Stale(stale) : DnsAnswer.Failed;
        }

        if (!isStale)
            return await asked;
        using var over = CancellationTokenSource.CreateLinkedTokenSource(_stopping);
        var first = await Task.WhenAny(asked, Task.Delay(s_staleAfter, _time, over.Token));
        await over.CancelAsync();
        return first == asked && await asked is { Code: ResponseCode.NoError or ResponseCode.NameError } fresh ? fresh : Stale(stale);
    }

    private DnsAnswer Stale(DnsAnswer answer)
    {
        Interlocked.Increment(ref _counters.StaleAnswers);
        return answer;
    }

    private bool HasJustFailed(DnsQuestion question)
    {
        if (!_failures.TryGetValue(question, out var until))
            return false;
        if (until > NowMs)
            return true;
        _failures.TryRemove(question, out _);
        return false;
    }

    // The task of who asks first; null when too many are under way.
    private Task<DnsAnswer>? TryAsk(DnsQuestion question)
    {
        if (_inFlight.TryGetValue(question, out var running))
        {
            Interlocked.Increment(ref _counters.Joined);
            return running;
        }

        if (_inFlight.Count >= InFlightMax)
            return null;
        var first = new TaskCompletionSource<DnsAnswer>(TaskCreationOptions.RunContinuationsAsynchronously);
        var shared = _inFlight.GetOrAdd(question, first.Task);
        if (shared != first.Task)
        {
            Interlocked.Increment(ref _counters.Joined);
            return shared;
        }

        _ = RunAsync(question, first); // awaited by who holds its task; it ends with the stop at the latest
        return shared;
    }

    private async Task RunAsync(DnsQuestion question, TaskCompletionSource<DnsAnswer> first)
    {
        var answer = DnsAnswer.Failed;
        try
        {
            answer = await AskAllAsync(question);
            if (answer.Code is ResponseCode.NoError or ResponseCode.NameError)
                _cache.Put(question, answer, NowMs);
            else if (!_stopping.IsCancellationRequested)
                RememberFailure(question);
        }
        catch (Exception e) // the outermost frame of a question: nobody awaits it but for its answer
        {
            _broke(e);
        }
        finally
        {
            _inFlight.TryRemove(question, out _);
            first.TrySetResult(answer);
        }
    }

    private void RememberFailure(DnsQuestion question)
    {
        if (_failures.Count >= InFlightMax)
        {
            foreach (var (old, until) in _failures)
            {
                if (until <= NowMs)
                    _failures.TryRemove(old, out _);
            }
        }

        if (_failures.Count < InFlightMax)
            _failures[question] = NowMs + FailureRestMs;
    }

    private async Task<DnsAnswer> AskAllAsync(DnsQuestion question)
    {
        List<int> order;
        lock (_health)
            order = _health.Order(NowMs);
        var last = DnsAnswer.Failed;
        foreach (var i in order)
        {
            var upstream = _options.Upstreams[i];
            Interlocked.Increment(ref _counters.Forwarded);
            using var deadline = new CancellationTokenSource(TimeSpan.FromMilliseconds(_options.UpstreamTimeoutMs), _time);
            using var both = CancellationTokenSource.CreateLinkedTokenSource(deadline.Token, _stopping);
            string reason;
            try
            {
                var answer = await _client.AskAsync(upstream, question, both.Token);
                lock (_health)
                    _health.Answered(i);
                if (answer.Code is ResponseCode.NoError or ResponseCode.NameError)
                    return answer;
                last = answer; // it lives, and perhaps the next one knows
                continue;
            }
            catch (UpstreamException e)
            {
                reason = e.Message;
            }
            catch (OperationCanceledException)
            {
                if (_stopping.IsCancellationRequested)
                    return last;
                reason = $"no answer within {_options.UpstreamTimeoutMs} ms";
            }

            Interlocked.Increment(ref _counters.UpstreamFailures);
            bool wasResting;
            lock (_health)
            {
                wasResting = _health.IsResting(i, NowMs);
                _health.Failed(i, NowMs);
            }

            if (!wasResting)
                _failed(upstream, reason);
        }

        return last;
    }
}
