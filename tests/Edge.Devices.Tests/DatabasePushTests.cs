using System.Collections.Concurrent;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Devices.Push;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Devices.Tests;

/// <summary>Samples pushed to databases: the real redis-server and mariadbd, and a peer with TDengine's REST API.</summary>
[Trait("Category", "Devices")]
public sealed class DatabasePushTests
{
    private const string Awkward = "it's \"21\" \\ `µ` 🌡";
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(30);
    private static readonly Sample s_one = new("default", "plant-1", "temp", "float", "21.5", 1_700_000_000_123);
    private static readonly Sample s_text = new("default", "plant-1", "name", "string", Awkward, 1_700_000_000_124);
    private static readonly Sample s_other = new("default", "plant-2", "temp", "float", "22", 1_700_000_000_125);

    [SkippableFact]
    public async Task Redis_has_a_sorted_set_for_each_device_also_of_a_time_when_it_was_away()
    {
        RedisServer.Require();
        await using var server = new RedisServer();
        await server.StartAsync();
        await using var hub = new PushHub(TimeProvider.System, new Random(1), NullLogger.Instance, new PushCredentials(Password: RedisServer.Password));
        var config = new RedisClientConfig { Addr = $"127.0.0.1:{server.Port}", Db = 2, Poolsize = 4 };
        var queue = Assert.Single(hub.Open(new PushMethod { DbMethod = new DBMethod { Redis = new DBMethodRedis { RedisClientConfig = config } } }));
        Assert.Equal($"redis 127.0.0.1:{server.Port}/2", queue.Name);
        foreach (var sample in (Sample[])[s_one, s_text, s_other, s_one])
            queue.Post(sample);
        await Eventually.HoldsAsync(() => queue.Sent == 4);
        var lines = (await server.AskAsync("--raw", "ZRANGE", "plant-1", "0", "-1", "WITHSCORES")).Split('\n');
        Assert.Equal(4, lines.Length); // what is the same twice is there once
        Assert.Equal(("1700000000123", "1700000000124"), (lines[1], lines[3]));
        Assert.True(
            JsonNode.DeepEquals(
                JsonNode.Parse("""{"DeviceName":"plant-1","PropertyName":"temp","Namespace":"default","Value":"21.5","Type":"float","TimeStamp":1700000000123}"""), JsonNode.Parse(lines[0])),
            lines[0]);
        Assert.Equal(Awkward, (string?)JsonNode.Parse(lines[2])!["Value"]);
        Assert.Equal("1", await server.AskAsync("ZCARD", "plant-2"));

        // Not ours to change: the samples are dropped, the others' go on.
        await server.AskAsync("SET", "plant-3", "x");
        queue.Post(s_one with { Device = "plant-3" });
        await Eventually.HoldsAsync(() => queue.Dropped == 1);

        await server.KillAsync();
        queue.Post(s_other with { Value = "23", TimestampMs = 1_700_000_000_126 });
        await Eventually.HoldsAsync(() => queue.Failures > 1);
        await server.StartAsync();
        await Eventually.HoldsAsync(() => queue.Sent == 5);
        Assert.Equal("2", await server.AskAsync("ZCARD", "plant-2"));
    }

    [SkippableFact]
    public async Task Redis_that_does_not_know_the_password_is_asked_again_later()
    {
        RedisServer.Require();
        await using var server = new RedisServer();
        await server.StartAsync();
        await using var target = new RedisTarget("127.0.0.1", server.Port, 2, "wrong", s_timeout, TimeProvider.System);
        var failure = await Assert.ThrowsAsync<PushException>(() => target.PushAsync([s_one], default));
        Assert.False(failure.IsFinal);
        Assert.StartsWith("WRONGPASS", failure.Message, StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task MySQL_has_a_table_for_each_property_and_what_it_refuses_for_good_harms_no_later_batch()
    {
        MariaDbServer.Require();
        await using var server = await MariaDbServer.StartNewAsync();
        await using var hub = new PushHub(TimeProvider.System, new Random(1), NullLogger.Instance, new PushCredentials(Password: MariaDbServer.Password));
        var config = new MySQLClientConfig { Addr = $"127.0.0.1:{server.Port}", Database = "plant", UserName = "mapper" };
        var queue = Assert.Single(hub.Open(new PushMethod { DbMethod = new DBMethod { Mysql = new DBMethodMySQL { MysqlClientConfig = config } } }));
        var far = s_one with { Property = new string('p', 80) };
        foreach (var sample in (Sample[])[s_one, s_text, s_other, s_one with { Value = "21.6", TimestampMs = s_one.TimestampMs + 1000 }, far])
            queue.Post(sample);
        await Eventually.HoldsAsync(() => queue.Sent == 5);
        Assert.Equal("1\t2023-11-14 22:13:20.123\t21.5\n2\t2023-11-14 22:13:21.123\t21.6", await server.AskAsync("SELECT * FROM plant.`default/plant-1/temp` ORDER BY id"));
        Assert.Equal(Convert.ToHexString(Encoding.UTF8.GetBytes(Awkward)), await server.AskAsync("SELECT HEX(field) FROM plant.`default/plant-1/name`"));
        var name = MySqlTarget.TableOf(far);
        Assert.Equal((64, "1"), (name.Length, await server.AskAsync($"SELECT COUNT(*) FROM plant.`{name}`")));

        // A TEXT holds 64 KiB less one byte. What came with it in a batch goes with it, whole.
        queue.Post(s_other with { Value = new string('x', 70_000) });
        await Eventually.HoldsAsync(() => queue.Dropped == 1);
        queue.Post(s_other with { Value = new string('y', 60_000) });
        await Eventually.HoldsAsync(() => queue.Sent == 6);
        Assert.Equal("22\n60000", await server.AskAsync("SELECT IF(LENGTH(field) > 100, LENGTH(field), field) FROM plant.`default/plant-2/temp` ORDER BY id"));

        await server.KillAsync();
        queue.Post(s_other with { Value = "24" });
        await Eventually.HoldsAsync(() => queue.Failures > 2);
        await server.StartAsync();
        await Eventually.HoldsAsync(() => queue.Sent == 7);

        await using var wrong = new MySqlTarget("127.0.0.1", server.Port, "plant", "mapper", "wrong", s_timeout, TimeProvider.System);
        var failure = await Assert.ThrowsAsync<PushException>(() => wrong.PushAsync([s_one], default));
        Assert.Contains("1045 Access denied", failure.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("wrong", wrong.Name, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TDengine_gets_its_super_tables_once_and_a_statement_for_each_batch()
    {
        await using var peer = await Tdengine.StartAsync();
        await using var hub = new PushHub(TimeProvider.System, new Random(1), NullLogger.Instance, new PushCredentials(UserName: "root", Password: "taosdata"));
        var config = new TDEngineClientConfig { Addr = $"127.0.0.1:{peer.Port}", Dbname = "plant" };
        var queue = Assert.Single(hub.Open(new PushMethod { DbMethod = new DBMethod { Tdengine = new DBMethodTDEngine { TdEngineClientConfig = config } } }));
        queue.Post(s_one);
        queue.Post(s_text with { Value = "it's \\" });
        await Eventually.HoldsAsync(() => queue.Sent == 2);
        queue.Post(s_one with { Value = "22" });
        await Eventually.HoldsAsync(() => queue.Sent == 3);
        Assert.Equal(
            [
                "CREATE STABLE IF NOT EXISTS `default/plant-1` (ts TIMESTAMP, deviceid NCHAR(128), propertyname NCHAR(128), data NCHAR(2000), type NCHAR(16)) TAGS (location NCHAR(128))",
                "INSERT INTO `default/plant-1/temp` USING `default/plant-1` TAGS ('temp') VALUES ('2023-11-14T22:13:20.123Z', 'default/plant-1', 'temp', '21.5', 'float')"
                + @" `default/plant-1/name` USING `default/plant-1` TAGS ('name') VALUES ('2023-11-14T22:13:20.124Z', 'default/plant-1', 'name', 'it\'s \\', 'string')",
                "INSERT INTO `default/plant-1/temp` USING `default/plant-1` TAGS ('temp') VALUES ('2023-11-14T22:13:20.123Z', 'default/plant-1', 'temp', '22', 'float')",
            ],
            peer.Requests.Select(one => one.Sql));
        Assert.All(peer.Requests, one => Assert.Equal(("/rest/sql/plant", "Basic cm9vdDp0YW9zZGF0YQ=="), (one.Path, one.Authorization)));

        // A table that was dropped is made again; what the parser refuses is dropped; all else is tried again.
        peer.Answers.Enqueue("""{"code":9730,"desc":"Table does not exist"}""");
        queue.Post(s_one);
        await Eventually.HoldsAsync(() => queue.Sent == 4);
        Assert.Equal(["INSERT", "CREATE", "INSERT"], peer.Requests.Skip(3).Select(one => one.Sql.Split(' ')[0]));
        peer.Answers.Enqueue("""{"code":9728,"desc":"syntax error near 'x'"}""");
        queue.Post(s_one);
        await Eventually.HoldsAsync(() => queue.Dropped == 1);
        peer.Answers.Enqueue("""{"code":11,"desc":"Unable to establish connection"}""");
        peer.Answers.Enqueue("no JSON");
        queue.Post(s_one);
        await Eventually.HoldsAsync(() => queue.Sent == 5);
        Assert.Equal(4, queue.Failures);
    }

    /// <summary>TDengine's REST API as far as it is used: it keeps what it is told and says what it is told to, else that all is well.</summary>
    private sealed class Tdengine(WebApplication app) : IAsyncDisposable
    {
        public ConcurrentQueue<(string Path, string Authorization, string Sql)> Requests { get; } = new();

        public ConcurrentQueue<string> Answers { get; } = new();

        public int Port => new Uri(app.Urls.First()).Port;

        public static async Task<Tdengine> StartAsync()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0));
            var app = builder.Build();
            var peer = new Tdengine(app);
            app.Run(async context =>
            {
                using var reader = new StreamReader(context.Request.Body);
                peer.Requests.Enqueue((context.Request.Path.ToString(), context.Request.Headers.Authorization.ToString(), await reader.ReadToEndAsync()));
                await context.Response.WriteAsync(peer.Answers.TryDequeue(out var answer) ? answer : """{"code":0,"column_meta":[["affected_rows","INT",4]],"data":[[1]],"rows":1}""");
            });
            await app.StartAsync();
            return peer;
        }

        public ValueTask DisposeAsync() => app.DisposeAsync();
    }
}
