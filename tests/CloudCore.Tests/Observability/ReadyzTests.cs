using System.Net;
using Edge.Cloud.CloudHub;
using Edge.Cloud.Configuration;
using Edge.Cloud.Observability;
using Edge.Cloud.Tests.Support;
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
