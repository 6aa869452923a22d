using System.Threading.Channels;
using Edge.Cloud.Leadership;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests.Leadership;

[Trait("Category", "Sync")]
public sealed class LeaderLeaseTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly FakeKube _kube = new();
    private readonly ManualTimeProvider _time = new(new DateTimeOffset(2026, 7, 1, 0, 0, 0, TimeSpan.Zero));
    private readonly Channel<string> _told = Channel.CreateBounded<string>(100);

    [Fact]
    public async Task One_of_several_runs_the_duty_and_the_next_takes_over_when_it_leaves()
    {
        var first = Lease("first");
        var firstDone = first.RunWhileLeaderAsync("duty", token => TellAsync("first", token));
        Assert.Equal("first begins", await NextAsync());
        await using var second = Lease("second");
        var secondDone = second.RunWhileLeaderAsync("duty", token => TellAsync("second", token));
        Assert.False(second.IsLeader);

        await first.DisposeAsync();
        await firstDone.WaitAsync(s_patience);
        Assert.Equal("first ends", await NextAsync());
        Assert.Equal("", (await _kube.GetAsync(ResourceKind.Lease, "kubeedge", "cloudcore", CancellationToken.None)).Text("spec", "holderIdentity"));
        Assert.Equal("second begins", await NextAsync(TimeSpan.FromSeconds(2)));
        var lease = await _kube.GetAsync(ResourceKind.Lease, "kubeedge", "cloudcore", CancellationToken.None);
        Assert.Equal(("second", 15, 1), (lease.Text("spec", "holderIdentity"), lease.Number(0, "spec", "leaseDurationSeconds"), lease.Number(0, "spec", "leaseTransitions")));
        await second.DisposeAsync();
        await secondDone.WaitAsync(s_patience);
    }

    [Fact]
    public async Task Leader_that_cannot_write_ends_its_duty_before_another_begins()
    {
        await using var first = Lease("first");
        var done = first.RunWhileLeaderAsync("duty", token => TellAsync("first", token));
        Assert.Equal("first begins", await NextAsync());
        await using var second = Lease("second");
        var also = second.RunWhileLeaderAsync("duty", token => TellAsync("second", token));
        _kube.OnWrite = (_, plural, _) => throw new KubeException(0, "", $"{plural} cannot be reached");
        Assert.Equal("first ends", await NextAsync(TimeSpan.FromSeconds(1)));
        // The other one is not cut off.
        _kube.OnWrite = (_, _, _) => { };
        Assert.EndsWith("begins", await NextAsync(TimeSpan.FromSeconds(1)), StringComparison.Ordinal);
        await first.DisposeAsync();
        await second.DisposeAsync();
        await Task.WhenAll(done, also).WaitAsync(s_patience);
    }

    [Fact]
    public async Task Duty_that_fails_is_started_again()
    {
        await using var lease = Lease("one");
        var runs = 0;
        var done = lease.RunWhileLeaderAsync("duty", async token =>
        {
            if (Interlocked.Increment(ref runs) == 1)
                throw new InvalidOperationException("the first time");
            await TellAsync("again", token);
        });
        Assert.Equal("again begins", await NextAsync(TimeSpan.FromSeconds(1)));
        await lease.DisposeAsync();
        await done.WaitAsync(s_patience);
    }

    private LeaderLease Lease(string identity) => new(_kube, identity, LeaseTimes.Default, _time, new Random(1), NullLogger.Instance);

    private async Task TellAsync(string who, CancellationToken cancellationToken)
    {
        await _told.Writer.WriteAsync($"{who} begins", CancellationToken.None);
        try
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, _time, cancellationToken);
        }
        finally
        {
            await _told.Writer.WriteAsync($"{who} ends", CancellationToken.None);
        }
    }

    // The clock moves in steps until the loops, which run on other threads, have come to it.
    private async Task<string> NextAsync(TimeSpan? step = null)
    {
        using var limit = new CancellationTokenSource(s_patience);
        while (true)
        {
            if (_told.Reader.TryRead(out var told))
                return told;
            if (step is { } by)
                _time.Advance(by);
            using var look = CancellationTokenSource.CreateLinkedTokenSource(limit.Token);
            look.CancelAfter(TimeSpan.FromMilliseconds(20));
            try
            {
                await _told.Reader.WaitToReadAsync(look.Token);
            }
            catch (OperationCanceledException) when (!limit.IsCancellationRequested)
            {
                // Another step.
            }
        }
    }
}
