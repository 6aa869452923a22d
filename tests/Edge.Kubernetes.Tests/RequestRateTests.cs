using Edge.Testing;
using Microsoft.AspNetCore.Http;

namespace Edge.Kubernetes.Tests;

[Trait("Category", "Kubernetes")]
public sealed class RequestRateTests
{
    private static readonly CancellationToken s_none = CancellationToken.None;
    private static readonly TimeSpan s_long = TimeSpan.FromHours(1);

    [Fact]
    public void A_burst_goes_at_once_and_each_further_request_has_its_turn()
    {
        var bucket = new TokenBucket(perSecond: 10, burst: 3);
        Assert.Equal([0, 0, 0, 100, 200], Reserve(5, 0));
        // 0.2 s later those turns are used up; after a pause no more than the burst has gathered.
        Assert.Equal([100], Reserve(1, 200));
        Assert.Equal([0, 0, 0, 100], Reserve(4, 60_000));

        List<double> Reserve(int count, int now) => [.. Enumerable.Range(0, count).Select(_ => Math.Round(bucket.Reserve(TimeSpan.FromMilliseconds(now), s_long)!.Value.TotalMilliseconds))];
    }

    [Fact]
    public void Who_cannot_wait_so_long_takes_no_turn_and_a_turn_given_back_is_the_next_ones()
    {
        var bucket = new TokenBucket(perSecond: 1, burst: 1);
        Assert.Equal(TimeSpan.Zero, bucket.Reserve(TimeSpan.Zero, TimeSpan.Zero));
        Assert.Null(bucket.Reserve(TimeSpan.Zero, TimeSpan.FromSeconds(0.5)));
        Assert.Equal(TimeSpan.FromSeconds(1), bucket.Reserve(TimeSpan.Zero, s_long));
        bucket.Return();
        Assert.Equal(TimeSpan.FromSeconds(1), bucket.Reserve(TimeSpan.Zero, s_long));
    }

    [Fact]
    public async Task Requests_wait_for_their_turn_watches_do_not_and_too_long_a_queue_is_an_error()
    {
        var arrived = System.Threading.Channels.Channel.CreateUnbounded<string>();
        await using var peer = await KubernetesPeer.StartAsync(async context =>
        {
            arrived.Writer.TryWrite(context.Request.Query.ContainsKey("watch") ? "watch" : context.Request.Path.Value!.Split('/')[^1]);
            await context.Response.WriteAsync(context.Request.Query.ContainsKey("watch") ? "" : "{}");
        });
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        using var client = new KubeClient(peer.Options with { Rate = new RequestRate(1, 1, time), RequestTimeout = TimeSpan.FromSeconds(2.5) }, time);
        await GetAsync("a");
        Assert.Equal("a", await arrived.Reader.NextAsync("the first"));
        using var stop = new CancellationTokenSource();
        var second = GetAsync("b");
        var third = client.GetAsync(ResourceKind.Node, null, "c", stop.Token);
        var error = await Assert.ThrowsAsync<KubeException>(() => GetAsync("d"));
        Assert.Equal((0, "TooManyRequests"), (error.Code, error.Reason));
        Assert.Contains("raise kubeAPIConfig.qps", error.Message, StringComparison.Ordinal);
        await foreach (var _ in client.WatchAsync(ResourceKind.Node, null, "0", new ListOptions(), s_none))
            Assert.Fail("no event was expected");
        Assert.Equal("watch", await arrived.Reader.NextAsync("the watch"));
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => third);
        var fourth = GetAsync("e");
        time.Advance(TimeSpan.FromSeconds(1));
        await second.WaitAsync(Wait.Net);
        time.Advance(TimeSpan.FromSeconds(1));
        await fourth.WaitAsync(Wait.Net);
        Assert.Equal("b", await arrived.Reader.NextAsync("the second"));
        Assert.Equal("e", await arrived.Reader.NextAsync("the fourth"));

        Task GetAsync(string name) => client.GetAsync(ResourceKind.Node, null, name, s_none);
    }
}
