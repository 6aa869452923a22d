using System.Collections.Concurrent;
using System.Net;
using Edge.Core.EdgeDns;
using Edge.Protocol.Dns;
using Edge.Testing;
using Xunit;
using static Edge.Core.Tests.AnswerCacheTests;

namespace Edge.Core.Tests;

/// <summary>The forwarder with upstreams that do as they are told, in time that the test moves.</summary>
[Trait("Category", "Dns")]
public sealed class ForwarderTests : IDisposable
{
    private static readonly IPEndPoint s_first = new(IPAddress.Parse("192.0.2.1"), 53);
    private static readonly IPEndPoint s_second = new(IPAddress.Parse("192.0.2.2"), 53);
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(60);

    private readonly ManualTimeProvider _time = new(DateTimeOffset.UnixEpoch.AddYears(50));
    private readonly EdgeDnsCounters _counters = new();
    private readonly FakeUpstreams _upstreams = new();
    private readonly ConcurrentQueue<string> _failed = new();
    private readonly CancellationTokenSource _stop = new();

    public void Dispose() => _stop.Dispose();

    [Fact]
    public async Task The_first_upstream_is_asked_and_its_answer_kept()
    {
        var forwarder = Make();
        _upstreams.Does[s_first] = _ => Task.FromResult(Positive(60));
        Assert.Equal(ResponseCode.NoError, (await forwarder.AnswerAsync(Question("a"))).Code);
        Assert.Equal(ResponseCode.NoError, (await forwarder.AnswerAsync(Question("a"))).Code);
        Assert.Equal([s_first], _upstreams.Asked);
        Assert.Equal((1, 1), ((int)_counters.CacheHits, (int)_counters.CacheMisses));
    }

    [Fact]
    public async Task One_that_fails_is_passed_over_until_its_rest_is_over()
    {
        var forwarder = Make();
        _upstreams.Does[s_first] = _ => throw new UpstreamException("nobody listens there");
        _upstreams.Does[s_second] = _ => Task.FromResult(Positive(60));
        Assert.Equal(ResponseCode.NoError, (await forwarder.AnswerAsync(Question("a"))).Code);
        Assert.Equal(ResponseCode.NoError, (await forwarder.AnswerAsync(Question("b"))).Code);
        Assert.Equal([s_first, s_second, s_second], _upstreams.Asked);
        Assert.Equal(["192.0.2.1:53 nobody listens there"], _failed);
        Assert.True(forwarder.IsResting(0));
        _time.Advance(TimeSpan.FromSeconds(2));
        _upstreams.Does[s_first] = _ => Task.FromResult(Positive(60));
        await forwarder.AnswerAsync(Question("c"));
        Assert.Equal(s_first, _upstreams.Asked.Last());
        Assert.False(forwarder.IsResting(0));
    }

    [Fact]
    public async Task One_that_hangs_is_left_after_the_time_it_has()
    {
        var forwarder = Make();
        _upstreams.Does[s_first] = Hang;
        _upstreams.Does[s_second] = _ => Task.FromResult(Positive(60));
        var answer = forwarder.AnswerAsync(Question("a"));
        Assert.False(answer.IsCompleted);
        _time.Advance(TimeSpan.FromMilliseconds(1500));
        Assert.Equal(ResponseCode.NoError, (await answer.WaitAsync(s_soon)).Code);
        Assert.Contains("no answer within 1500 ms", Assert.Single(_failed));
    }

    [Fact]
    public async Task Servfail_of_one_makes_the_next_one_asked_and_counts_as_no_failure()
    {
        var forwarder = Make();
        _upstreams.Does[s_first] = _ => Task.FromResult(DnsAnswer.Failed);
        _upstreams.Does[s_second] = _ => Task.FromResult(new DnsAnswer(ResponseCode.NameError, [], [Soa(60, 60)]));
        Assert.Equal(ResponseCode.NameError, (await forwarder.AnswerAsync(Question("a"))).Code);
        Assert.False(forwarder.IsResting(0));
        Assert.Equal(ResponseCode.NameError, (await forwarder.AnswerAsync(Question("a"))).Code);
        Assert.Equal(2, _upstreams.Asked.Count);
    }

    [Fact]
    public async Task Queries_for_one_name_are_asked_once_at_a_time()
    {
        var forwarder = Make();
        var first = new TaskCompletionSource<DnsAnswer>();
        _upstreams.Does[s_first] = _ => first.Task;
        var waiting = Enumerable.Range(0, 50).Select(_ => forwarder.AnswerAsync(Question("a"))).ToList();
        Assert.Equal(1, forwarder.InFlight);
        first.SetResult(Positive(60));
        Assert.All(await Task.WhenAll(waiting).WaitAsync(s_soon), answer => Assert.Equal(ResponseCode.NoError, answer.Code));
        Assert.Single(_upstreams.Asked);
        Assert.Equal(49, _counters.Joined);
        Assert.Equal(0, forwarder.InFlight);
    }

    [Fact]
    public async Task While_nobody_answers_what_is_over_is_served_and_then_fresh_again()
    {
        var forwarder = Make();
        _upstreams.Does[s_first] = _ => Task.FromResult(Positive(60));
        await forwarder.AnswerAsync(Question("a"));
        _time.Advance(TimeSpan.FromSeconds(61));
        _upstreams.Does[s_first] = _upstreams.Does[s_second] = _ => throw new UpstreamException("no route");
        var stale = await forwarder.AnswerAsync(Question("a"));
        Assert.Equal([AnswerCache.StaleTtl], stale.Answers.Select(row => row.Ttl));
        var asked = _upstreams.Asked.Count;
        // Nobody is asked again at once.
        Assert.True(forwarder.TryCached(Question("a"), out stale));
        Assert.Equal(asked, _upstreams.Asked.Count);
        Assert.Equal(2, _counters.StaleAnswers);
        // What was never known fails.
        Assert.Equal(ResponseCode.ServerFailure, (await forwarder.AnswerAsync(Question("b"))).Code);
        _time.Advance(TimeSpan.FromSeconds(40));
        _upstreams.Does[s_first] = _ => Task.FromResult(Positive(60));
        Assert.Equal([60u], (await forwarder.AnswerAsync(Question("a"))).Answers.Select(row => row.Ttl));
        Assert.Equal(ResponseCode.NoError, (await forwarder.AnswerAsync(Question("b"))).Code);
    }

    [Fact]
    public async Task A_client_waits_for_a_slow_upstream_only_a_while_when_there_is_an_old_answer()
    {
        var forwarder = Make(timeoutMs: 10_000);
        _upstreams.Does[s_first] = _ => Task.FromResult(Positive(60));
        await forwarder.AnswerAsync(Question("a"));
        _time.Advance(TimeSpan.FromSeconds(61));
        var slow = new TaskCompletionSource<DnsAnswer>();
        _upstreams.Does[s_first] = _ => slow.Task;
        var answer = forwarder.AnswerAsync(Question("a"));
        Assert.False(answer.IsCompleted);
        _time.Advance(TimeSpan.FromMilliseconds(1800));
        Assert.Equal([AnswerCache.StaleTtl], (await answer.WaitAsync(s_soon)).Answers.Select(row => row.Ttl));
        slow.SetResult(Positive(60));
        Assert.Equal(ResponseCode.NoError, (await forwarder.AnswerAsync(Question("a"))).Code);
    }

    [Fact]
    public async Task What_is_much_asked_for_is_asked_again_before_it_is_over()
    {
        var forwarder = Make();
        _upstreams.Does[s_first] = _ => Task.FromResult(Positive(100));
        await forwarder.AnswerAsync(Question("a"));
        await forwarder.AnswerAsync(Question("a"));
        _time.Advance(TimeSpan.FromSeconds(95));
        Assert.True(forwarder.TryCached(Question("a"), out _));
        Assert.Equal(1, _counters.Prefetches);
        _time.Advance(TimeSpan.FromSeconds(50));
        Assert.True(forwarder.TryCached(Question("a"), out var answer));
        Assert.Equal([50u], answer.Answers.Select(row => row.Ttl));
    }

    [Fact]
    public async Task Too_many_questions_at_once_fail_and_are_counted()
    {
        var forwarder = Make();
        _upstreams.Does[s_first] = Hang;
        var waiting = Enumerable.Range(0, Forwarder.InFlightMax).Select(i => forwarder.AnswerAsync(Question($"n{i}"))).ToList();
        Assert.Equal(ResponseCode.ServerFailure, (await forwarder.AnswerAsync(Question("more"))).Code);
        Assert.Equal(1, _counters.Overloaded);
        await _stop.CancelAsync();
        Assert.All(await Task.WhenAll(waiting).WaitAsync(s_soon), answer => Assert.Equal(ResponseCode.ServerFailure, answer.Code));
    }

    [Fact]
    public async Task A_defect_met_while_asking_is_told_and_the_question_is_answered_all_the_same()
    {
        var forwarder = Make();
        _upstreams.Does[s_first] = _ => throw new InvalidOperationException("a defect");
        Assert.Equal(ResponseCode.ServerFailure, (await forwarder.AnswerAsync(Question("a")).WaitAsync(s_soon)).Code);
        Assert.Equal(["a defect"], _failed);
        Assert.Equal(0, forwarder.InFlight);
    }

    [Fact]
    public async Task Without_upstreams_it_refuses()
    {
        var forwarder = new Forwarder(new EdgeDnsOptions(), _upstreams, _time, new Random(1), _counters, (_, _) => { }, _ => { }, _stop.Token);
        Assert.Equal(ResponseCode.Refused, (await forwarder.AnswerAsync(Question("a"))).Code);
    }

    [Fact]
    public void Rests_grow_and_end()
    {
        var health = new UpstreamHealth([s_first, s_second], new Random(1));
        Assert.Equal([0, 1], health.Order(0));
        var rests = new List<long>();
        for (long now = 0, i = 0; i < 8; i++)
        {
            health.Failed(0, now);
            Assert.Equal([1, 0], health.Order(now));
            var rest = 0L;
            while (health.IsResting(0, now + rest))
                rest++;
            rests.Add(rest);
            now += rest;
        }

        Assert.InRange(rests[0], 750, 1000);
        Assert.InRange(rests[3], 6000, 8000);
        Assert.All(rests, rest => Assert.InRange(rest, 750, 30_000));
        health.Answered(0);
        Assert.Equal([0, 1], health.Order(0));
    }

    private static async Task<DnsAnswer> Hang(CancellationToken cancellationToken)
    {
        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
        return DnsAnswer.Failed;
    }

    private Forwarder Make(int timeoutMs = 1500)
        => new(
            new EdgeDnsOptions { Upstreams = [s_first, s_second], UpstreamTimeoutMs = timeoutMs }, _upstreams, _time, new Random(1), _counters,
            (upstream, reason) => _failed.Enqueue($"{upstream} {reason}"), e => _failed.Enqueue(e.Message), _stop.Token);

    private sealed class FakeUpstreams : IUpstreamClient
    {
        public ConcurrentDictionary<IPEndPoint, Func<CancellationToken, Task<DnsAnswer>>> Does { get; } = new();

        public ConcurrentQueue<IPEndPoint> Asked { get; } = new();

        public Task<DnsAnswer> AskAsync(IPEndPoint upstream, DnsQuestion question, CancellationToken cancellationToken)
        {
            Asked.Enqueue(upstream);
            return Does[upstream](cancellationToken);
        }
    }
}
