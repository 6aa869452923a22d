using System.Collections.Concurrent;
using System.Net;
using Edge.Cloud.CloudHub;
using Edge.Cloud.Configuration;
using Edge.Cloud.Observability;
using Edge.Cloud.Router;
using Edge.Cloud.Tests.Support;
using Edge.Kubernetes;
using Edge.Testing;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Cloud.Tests.Observability;

[Trait("Category", "Sync")]
public sealed class ReadyzTests : IDisposable
{
    private readonly TempDirectory _data = new();

    public void Dispose() => _data.Dispose();

    [Fact]
    public async Task Store_that_cannot_write_makes_it_unready_by_name_and_alive_all_the_same()
    {
        await using var cloud = await WholeCloud.StartAsync(_data.Path);
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{cloud.Ports.Metrics}"), Timeout = TimeSpan.FromSeconds(60) };
        Assert.Equal("[+]informers ok\n[+]hub ok\n[+]store ok\n", await http.GetStringAsync("/readyz?verbose"));

        // Somebody else holds the file, as a backup gone wrong would.
        using (var other = new SqliteConnection($"Data Source={_data.File("apiserver.db")};Pooling=False"))
        {
            await other.OpenAsync();
            Execute(other, "PRAGMA busy_timeout=20000; BEGIN IMMEDIATE");
            using var answer = await http.GetAsync("/readyz");
            Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
            Assert.StartsWith("[-]store: ", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
            Assert.Equal("ok\n", await http.GetStringAsync("/healthz"));
            Execute(other, "ROLLBACK");
        }

        await Eventually.HoldsAsync("it is ready again", async () =>
        {
            using var answer = await http.GetAsync("/readyz");
            return answer.IsSuccessStatusCode;
        });
    }

    [Fact]
    public async Task Modules_whose_kinds_cannot_be_read_hold_up_no_start_and_are_named()
    {
        // The definitions are the administrator's work.
        await using (await WholeCloud.StartAsync(_data.Path))
        {
        }

        // The first of these looks whether the definitions are served.
        var asked = new ConcurrentDictionary<string, int>();
        var roles = new RoleCheckedKube { Withholds = request => request is "list ruleendpoints" or "list imageprepulljobs" && asked.AddOrUpdate(request, 1, (_, times) => times + 1) > 1 };
        await using var cloud = await WholeCloud.StartAsync(_data.Path, WholeCloud.Options with
        {
            IsTaskManagerEnabled = true, Router = new RouterOptions { Listen = new ListenOn(true, "127.0.0.1", 0, "modules.router.port"), IsInsecure = true },
            SecretRefresh = TimeSpan.FromSeconds(30),
        }, roles);
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{cloud.Ports.Metrics}"), Timeout = TimeSpan.FromSeconds(60) };
        using var unready = await http.GetAsync("/readyz?verbose");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, unready.StatusCode);
        var text = await unready.Content.ReadAsStringAsync();
        Assert.Contains("[+]hub ok\n", text, StringComparison.Ordinal);
        Assert.Contains("[-]router: the Kubernetes API has not listed yet: ruleendpoints", text, StringComparison.Ordinal);
        Assert.Contains("[-]nodetasks: the Kubernetes API has not listed yet: imageprepulljobs", text, StringComparison.Ordinal);
        using var refused = await http.GetAsync($"http://127.0.0.1:{cloud.RouterPort}/edge-1/default/a");
        Assert.Equal((HttpStatusCode.ServiceUnavailable, RouterService.NotRead), (refused.StatusCode, await refused.Content.ReadAsStringAsync()));

        roles.Withholds = _ => false;
        await Eventually.HoldsAsync("it is ready", async () =>
        {
            using var answer = await http.GetAsync("/readyz");
            return answer.IsSuccessStatusCode;
        });
        using var unruled = await http.GetAsync($"http://127.0.0.1:{cloud.RouterPort}/edge-1/default/a");
        Assert.Equal(HttpStatusCode.NotFound, unruled.StatusCode);
    }

    [Fact]
    public async Task First_lists_may_take_minutes_but_not_where_the_API_refuses_them()
    {
        var time = new ManualTimeProvider(DateTimeOffset.UnixEpoch);
        var kube = new FakeKube();
        var slow = new TaskCompletionSource();
        kube.OnList = kind => kind == ResourceKind.Secret ? slow.Task : Task.CompletedTask;
        await using var secrets = Informer(ResourceKind.Secret);
        await using var pods = Informer(ResourceKind.Pod);
        var waiting = CloudCoreHost.WaitForCachesAsync([secrets, pods], time, CancellationToken.None);
        await pods.Synced.WaitAsync(TimeSpan.FromSeconds(30));
        for (var i = 0; i < 30; i++)
            time.Advance(TimeSpan.FromSeconds(10));
        Assert.False(waiting.IsCompleted);
        Assert.Equal("the Kubernetes API has not listed yet: secrets", CloudCoreHost.InformerProblem([secrets, pods]));
        slow.SetResult();
        await waiting.WaitAsync(TimeSpan.FromSeconds(30));
        Assert.Null(CloudCoreHost.InformerProblem([secrets, pods]));

        kube.OnList = _ => throw new KubeException(404, "NotFound", "there is no such kind");
        await using var devices = Informer(ResourceKind.Device);
        waiting = CloudCoreHost.WaitForCachesAsync([secrets, devices], time, CancellationToken.None);
        await Eventually.HoldsAsync("it gave up", () =>
        {
            time.Advance(TimeSpan.FromSeconds(10));
            return Task.FromResult(waiting.IsCompleted);
        });
        var given = await Assert.ThrowsAsync<CloudCoreException>(() => waiting);
        Assert.Contains("did not list devices (there is no such kind) within", given.Message, StringComparison.Ordinal);

        Informer Informer(ResourceKind kind)
        {
            var informer = new Informer(kube, kind, null, new ListOptions(), time, new Random(1), NullLogger.Instance);
            informer.Start((_, _) => ValueTask.CompletedTask);
            return informer;
        }
    }

    [Fact]
    public async Task Hub_that_does_not_listen_is_a_problem()
    {
        var time = TimeProvider.System;
        var listener = HubListener.Open(
            new ListenOn(true, "127.0.0.1", 0, "x"), () => throw new InvalidOperationException(), _ => Task.CompletedTask, new AdmissionLimits(), new AdmissionRate(10, time), time, new HubMetrics(),
            NullLogger.Instance);
        listener.Serve();
        Assert.Null(listener.Problem);
        await listener.StopAsync();
        Assert.Equal("the hub's port has been closed", listener.Problem);
        await listener.DisposeAsync();
    }

    private static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }
}
