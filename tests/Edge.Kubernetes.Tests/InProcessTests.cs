using System.Text.Json.Nodes;
using Edge.ApiServer;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Kubernetes.Tests;

/// <summary>The client on a connection inside the process, which is what cloudcore itself uses.</summary>
[Collection("api")]
[Trait("Category", "Kubernetes")]
public sealed class InProcessTests(ApiFixture api)
{
    private static readonly CancellationToken s_none = CancellationToken.None;

    [Fact]
    public async Task Writes_are_read_listed_and_watched_more_than_the_pipes_hold_included()
    {
        using var client = new KubeClient(api.Inside, TimeProvider.System);
        var space = await ApiFixture.NamespaceAsync(client);
        var value = new string('v', 700_000); // six of them are above what one side may send unread
        for (var i = 0; i < 6; i++)
            await client.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap($"m{i}", value), s_none);
        var list = await client.ListAsync(ResourceKind.ConfigMap, space, new ListOptions("", "metadata.name!=kube-root-ca.crt"), s_none);
        Assert.Equal(6, list.Items.Count);
        Assert.All(list.Items, item => Assert.Equal(value, item.Text("data", "key")));

        using var deadline = new CancellationTokenSource(Wait.Net);
        await using var watch = client.WatchAsync(ResourceKind.ConfigMap, space, list.ResourceVersion, new ListOptions(), deadline.Token).GetAsyncEnumerator(deadline.Token);
        var next = watch.MoveNextAsync();
        using var outside = api.Client();
        await outside.CreateAsync(ResourceKind.ConfigMap, space, ApiFixture.ConfigMap("late", value), s_none);
        Assert.True(await next);
        Assert.Equal("late", watch.Current.Object.Name());
    }

    [Fact]
    public async Task Being_inside_the_process_is_no_right_a_request_without_the_token_is_refused()
    {
        using var client = new KubeClient(api.Inside with { Token = null }, TimeProvider.System);
        var refused = await Assert.ThrowsAsync<KubeException>(() => client.GetAsync(ResourceKind.Namespace, null, "default", s_none));
        Assert.Equal(401, refused.Code);
    }

    [Fact]
    public async Task Once_the_API_has_ended_its_watches_end_and_requests_fail_with_the_reason()
    {
        var directory = Directory.CreateTempSubdirectory("edge-inside-");
        try
        {
            var server = await EmbeddedApiServer.StartAsync(new ApiServerOptions { DataDirectory = directory.FullName, Port = 0 }, TimeProvider.System, NullLoggerFactory.Instance, s_none);
            using var client = new KubeClient(server.Inside, TimeProvider.System);
            var list = await client.ListAsync(ResourceKind.Namespace, null, new ListOptions(), s_none);
            await using var watch = client.WatchAsync(ResourceKind.Namespace, null, list.ResourceVersion, new ListOptions(), s_none).GetAsyncEnumerator(s_none);
            var next = watch.MoveNextAsync().AsTask();
            await server.DisposeAsync();
            Assert.False(await next.WaitAsync(Wait.Net));
            var failed = await Assert.ThrowsAsync<KubeException>(() => client.GetAsync(ResourceKind.Namespace, null, "default", s_none).WaitAsync(Wait.Net));
            Assert.Contains("the embedded API has ended", failed.ToString(), StringComparison.Ordinal);
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }
}
