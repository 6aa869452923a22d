using System.Collections.Concurrent;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Devices.Push;
using Edge.Devices.Tests.Modbus;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Simulators.Modbus;
using Edge.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Devices.Tests;

/// <summary>Samples pushed to endpoints over real HTTP.</summary>
[Trait("Category", "Devices")]
public sealed class PushTests
{
    private static readonly Sample s_one = new("default", "plant 1", "temp,c", "float", "21.5", 1_700_000_000_123);
    private static readonly Sample s_two = new("default", "plant 1", "fan", "boolean", "true", 1_700_000_000_124);
    private static readonly Sample s_text = new("default", "plant 1", "name", "string", "say \"hi\" \\", 1_700_000_000_125);

    [Fact]
    public async Task Influx_lines_are_those_of_its_line_protocol()
    {
        await using var target = new InfluxTarget(
            new Uri("http://x/api/v2/write"), "b", "room temp", "", new Dictionary<string, string> { ["site"] = "a=b", ["empty"] = "" }, "", TimeSpan.FromSeconds(1));
        Assert.Equal(
            """
            room\ temp,site=a\=b,device=plant\ 1,namespace=default temp\,c=21.5 1700000000123
            room\ temp,site=a\=b,device=plant\ 1,namespace=default fan=true 1700000000124
            room\ temp,site=a\=b,device=plant\ 1,namespace=default name="say \"hi\" \\" 1700000000125

            """.ReplaceLineEndings("\n"),
            Encoding.UTF8.GetString(target.Write([s_one, s_one with { Value = "NaN" }, s_two, s_text])));
    }

    [Fact]
    public async Task Otlp_has_a_gauge_for_each_property_and_leaves_texts_out()
    {
        await using var target = new OtlpTarget(new Uri("http://x/v1/metrics"), TimeSpan.FromSeconds(1));
        var json = JsonNode.Parse(target.Write([s_one, s_two, s_text]))!;
        var metrics = json["resourceMetrics"]![0]!["scopeMetrics"]![0]!["metrics"]!.AsArray();
        Assert.Equal(["temp,c", "fan"], metrics.Select(metric => (string?)metric!["name"]));
        var point = metrics[0]!["gauge"]!["dataPoints"]![0]!;
        Assert.Equal(("1700000000123000000", 21.5), ((string?)point["timeUnixNano"], (double)point["asDouble"]!));
        Assert.Equal("plant 1", (string?)point["attributes"]![1]!["value"]!["stringValue"]);
        Assert.Equal(1, (double)metrics[1]!["gauge"]!["dataPoints"]![0]!["asDouble"]!);
        Assert.Empty(target.Write([s_text]));
    }

    [Fact]
    public async Task A_property_is_pushed_to_all_its_targets_with_the_paths_and_headers_they_want()
    {
        await using var sink = await Sink.StartAsync();
        await using var simulator = ModbusSimulator.Start(new IPEndPoint(IPAddress.Loopback, 0), "thermostat", TimeProvider.System, new Random(1));
        await using var hub = new PushHub(TimeProvider.System, new Random(1), NullLogger.Instance, new PushCredentials("secret-token"));
        var device = DeviceHouse.Device(simulator.EndPoint.Port, "20");
        device["spec"]!["properties"]![1]!["pushMethod"] = JsonNode.Parse($$"""
            {"http":{"hostName":"http://127.0.0.1","port":{{sink.Port}},"requestPath":"/samples?from=edge","timeout":5000},
             "otel":{"endpointURL":"http://127.0.0.1:{{sink.Port}}"},
             "dbMethod":{"influxdb2":{"influxdb2ClientConfig":{"url":"http://127.0.0.1:{{sink.Port}}","org":"my org","bucket":"plant"},
              "influxdb2DataConfig":{"measurement":"climate","fieldKey":"degrees","tag":{"site":"north"} } } } }
            """);
        var reports = new Reports();
        await using var worker = new DeviceWorker(
            Edge.Protocol.Dmi.DmiConvert.ToDevice(device, DeviceHouse.Model()), Edge.Protocol.Dmi.DmiConvert.ToModel(DeviceHouse.Model()),
            ModbusConnectionTests.Driver(), reports, TimeProvider.System, new Random(6), NullLogger.Instance, hub);
        var http = await sink.NextAsync(request => request.Path.StartsWith("/samples", StringComparison.Ordinal));
        Assert.Equal("/samples?from=edge", http.Path);
        var sample = JsonNode.Parse(http.Body)![0]!;
        Assert.Equal(("thermostat-1", "setpoint", "20"), ((string?)sample["device"], (string?)sample["property"], (string?)sample["value"]));
        var otel = await sink.NextAsync(request => request.Path == "/v1/metrics");
        Assert.Contains("\"asDouble\":20", otel.Body, StringComparison.Ordinal);
        var influx = await sink.NextAsync(request => request.Path.StartsWith("/api/v2/write", StringComparison.Ordinal));
        Assert.Equal("/api/v2/write?org=my%20org&bucket=plant&precision=ms", influx.Path);
        Assert.Equal("Token secret-token", influx.Authorization);
        Assert.StartsWith("climate,site=north,device=thermostat-1,namespace=default degrees=20 1", influx.Body, StringComparison.Ordinal);
        Assert.All(hub.Queues, queue => Assert.DoesNotContain("secret", queue.Name, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_batch_is_repeated_until_it_is_taken_and_what_the_target_refuses_is_dropped_and_counted()
    {
        await using var sink = await Sink.StartAsync();
        sink.Answers.Enqueue(503);
        sink.Answers.Enqueue(429);
        await using var queue = new PushQueue(new JsonTarget(new Uri($"http://127.0.0.1:{sink.Port}/"), TimeSpan.FromSeconds(20)), TimeProvider.System, new Random(1), NullLogger.Instance);
        queue.Post(s_one);
        queue.Post(s_two);
        var bodies = new List<string>();
        for (var i = 0; i < 3; i++)
            bodies.Add((await sink.NextAsync(_ => true)).Body);
        Assert.Single(bodies.Distinct());
        await Eventually.HoldsAsync(() => queue.Sent == 2);
        Assert.Equal((2, 0), (queue.Failures, queue.Dropped));

        sink.Answers.Enqueue(400);
        queue.Post(s_one);
        await Eventually.HoldsAsync(() => queue.Dropped == 1);
        queue.Post(s_two);
        await Eventually.HoldsAsync(() => queue.Sent == 3);
    }

    [Fact]
    public async Task What_an_OTLP_server_refuses_of_a_batch_that_it_takes_is_counted_as_dropped_and_not_sent_again()
    {
        await using var sink = await Sink.StartAsync();
        sink.Answers.Enqueue(200);
        sink.Bodies.Enqueue("""{"partialSuccess":{"rejectedDataPoints":"1","errorMessage":"too old"}}""");
        await using var queue = new PushQueue(new OtlpTarget(new Uri($"http://127.0.0.1:{sink.Port}/"), TimeSpan.FromSeconds(20)), TimeProvider.System, new Random(1), NullLogger.Instance);
        queue.Post(s_one);
        queue.Post(s_two);
        await Eventually.HoldsAsync(() => queue.Sent + queue.Dropped == 2);
        Assert.Equal((1, 1), (queue.Sent, queue.Dropped));
        queue.Post(s_one);
        await Eventually.HoldsAsync(() => queue.Sent == 2);
    }

    [Fact]
    public async Task A_defect_of_a_target_costs_its_batch_and_no_other()
    {
        var target = new BlockedTarget { Defects = 1 };
        target.Open.SetResult();
        await using var queue = new PushQueue(target, TimeProvider.System, new Random(1), NullLogger.Instance);
        queue.Post(s_one);
        await Eventually.HoldsAsync(() => queue.Dropped == 1);
        queue.Post(s_two);
        await Eventually.HoldsAsync(() => queue.Sent == 1);
        Assert.Equal(1, queue.Failures);
    }

    [Fact]
    public async Task While_the_target_is_away_the_newest_samples_wait_and_the_oldest_are_counted_as_dropped()
    {
        var target = new BlockedTarget();
        await using var queue = new PushQueue(target, TimeProvider.System, new Random(1), NullLogger.Instance);
        queue.Post(s_one);
        await target.Entered.Task.WaitAsync(TimeSpan.FromSeconds(60));
        for (var i = 0; i < PushQueue.WaitingMax + 100; i++)
            queue.Post(s_one with { TimestampMs = i });
        Assert.Equal(PushQueue.WaitingMax, queue.Waiting);
        Assert.Equal(100, queue.Dropped);
        target.Open.SetResult();
        await Eventually.HoldsAsync(() => queue.Sent == PushQueue.WaitingMax + 1);
        Assert.Equal(100, target.Batches[1][0].TimestampMs);
        Assert.All(target.Batches, batch => Assert.InRange(batch.Count, 1, PushQueue.BatchMax));
    }

    [Theory]
    [InlineData("""{"mqtt":{"address":"http://127.0.0.1","topic":"x"}}""", "must be tcp://HOST:PORT")]
    [InlineData("""{"mqtt":{"address":"tcp://127.0.0.1:1883","topic":"plant/#"}}""", "must be a topic without wildcards")]
    [InlineData("""{"mqtt":{"address":"tcp://127.0.0.1:1883","topic":"x","qos":3}}""", "must be 0, 1 or 2")]
    [InlineData("""{"http":{"hostName":"ftp://x","port":80}}""", "must make an address like")]
    [InlineData("""{"otel":{"endpointURL":"x"}}""", "must be a URL like")]
    [InlineData("""{"dbMethod":{"redis":{"redisClientConfig":{"addr":"redis://x:1/"}}}}""", "redisClientConfig.addr is 'redis://x:1/', must be HOST:PORT")]
    [InlineData("""{"dbMethod":{"other":{}}}""", "names no database that is served")]
    [InlineData("""{"dbMethod":{"TDEngine":{"TDEngineClientConfig":{"addr":"x:6041"}}}}""", "dbName is missing")]
    [InlineData("""{"dbMethod":{"mysql":{"mysqlClientConfig":{"addr":"x","database":"plant"}}}}""", "userName is missing")]
    [InlineData("""{"dbMethod":{"influxdb2":{"influxdb2ClientConfig":{"url":"http://x"}}}}""", "bucket is missing")]
    public async Task A_push_method_that_cannot_be_used_is_told_at_the_property_whose_value_goes_up_all_the_same(string method, string reason)
    {
        await using var simulator = ModbusSimulator.Start(new IPEndPoint(IPAddress.Loopback, 0), "thermostat", TimeProvider.System, new Random(1));
        await using var hub = new PushHub(TimeProvider.System, new Random(1), NullLogger.Instance);
        var device = DeviceHouse.Device(simulator.EndPoint.Port, "20");
        device["spec"]!["properties"]![1]!["pushMethod"] = JsonNode.Parse(method);
        var reports = new Reports();
        await using var worker = new DeviceWorker(
            Edge.Protocol.Dmi.DmiConvert.ToDevice(device, DeviceHouse.Model()), Edge.Protocol.Dmi.DmiConvert.ToModel(DeviceHouse.Model()),
            ModbusConnectionTests.Driver(), reports, TimeProvider.System, new Random(6), NullLogger.Instance, hub);
        var twin = await reports.TwinAsync("setpoint", "thermostat-1", "setpoint", twin => twin.Reported.Value == "20");
        Assert.Contains(reason, twin.Reported.Metadata["error"], StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task A_broker_gets_a_message_for_each_sample_also_those_of_a_time_when_it_was_away()
    {
        Mosquitto.RequireBroker();
        Mosquitto.RequireClients();
        await using var mosquitto = await Mosquitto.StartAsync();
        await using var hub = new PushHub(TimeProvider.System, new Random(1), NullLogger.Instance);
        var method = new PushMethod { Mqtt = new PushMethodMQTT { Address = $"tcp://127.0.0.1:{mosquitto.Port}", Topic = "plant/${device}/${property}", Qos = 1 } };
        var queue = Assert.Single(hub.Open(method));
        Assert.Same(queue, Assert.Single(hub.Open(method)));
        await using (var first = await MosquittoSub.StartAsync(mosquitto.Port, "-v", "-t", "plant/#"))
        {
            queue.Post(s_one);
            await first.WaitForAsync(1);
            Assert.Equal(
                $"plant/{s_one.Device}/{s_one.Property} {{\"event_id\":\"\",\"timestamp\":{s_one.TimestampMs},\"data\":{{\"{s_one.Property}\":{{\"value\":\"{s_one.Value}\","
                + $"\"metadata\":{{\"timestamp\":\"{s_one.TimestampMs}\",\"type\":\"{s_one.Type}\"}}}}}}}}",
                first.Lines[0]);
        }

        await mosquitto.KillAsync();
        queue.Post(s_one with { Value = "2" });
        await Eventually.HoldsAsync(() => queue.Failures > 0);
        await mosquitto.RestartAsync();
        await Eventually.HoldsAsync(() => queue.Sent == 2);
    }

    private sealed class BlockedTarget : IPushTarget
    {
        public TaskCompletionSource Entered { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TaskCompletionSource Open { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public List<IReadOnlyList<Sample>> Batches { get; } = [];

        public int Defects { get; set; }

        public string Name => "blocked";

        public async Task PushAsync(IReadOnlyList<Sample> batch, CancellationToken cancellationToken)
        {
            Entered.TrySetResult();
            await Open.Task.WaitAsync(cancellationToken);
            if (Defects-- > 0)
                throw new InvalidOperationException("a defect");
            Batches.Add([.. batch]);
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

    private sealed record Request(string Path, string Authorization, string Body);

    /// <summary>An HTTP server that keeps what it gets and answers what it is told, else 204.</summary>
    private sealed class Sink(WebApplication app) : IAsyncDisposable
    {
        private readonly Channel<Request> _requests = Channel.CreateUnbounded<Request>();
        private readonly List<Request> _passed = [];

        public ConcurrentQueue<int> Answers { get; } = new();

        public ConcurrentQueue<string> Bodies { get; } = new();

        public int Port => new Uri(app.Urls.First()).Port;

        public static async Task<Sink> StartAsync()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0));
            var app = builder.Build();
            var sink = new Sink(app);
            app.Run(async context =>
            {
                using var reader = new StreamReader(context.Request.Body);
                var body = await reader.ReadToEndAsync();
                context.Response.StatusCode = sink.Answers.TryDequeue(out var status) ? status : 204;
                if (sink.Bodies.TryDequeue(out var answer))
                    await context.Response.WriteAsync(answer);
                sink._requests.Writer.TryWrite(new Request(context.Request.Path + context.Request.QueryString.ToString(), context.Request.Headers.Authorization.ToString(), body));
            });
            await app.StartAsync();
            return sink;
        }

        public async Task<Request> NextAsync(Func<Request, bool> want)
        {
            if (_passed.Find(one => want(one)) is { } passed)
            {
                _passed.Remove(passed);
                return passed;
            }

            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            while (true)
            {
                var one = await _requests.Reader.ReadAsync(limit.Token);
                if (want(one))
                    return one;
                _passed.Add(one);
            }
        }

        public ValueTask DisposeAsync() => app.DisposeAsync();
    }
}
