using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.EventBus;
using Edge.Protocol.Messages;
using Edge.Protocol.Mqtt.Client;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests.EventBus;

/// <summary>Topics of Rules at this edge, with the real mosquitto clients, on the embedded broker and on a mosquitto.</summary>
[Trait("Category", "Devices")]
public sealed class RuleTopicsTests : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly TempDirectory _directory = new();
    private readonly FakeMetaStore _meta = new();
    private readonly FakeUplink _uplink = new();
    private readonly ConcurrentQueue<Message> _answers = new();
    private readonly List<(CancellationTokenSource Stop, Task Task)> _running = [];

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _directory.Dispose();
    }

    [SkippableFact]
    public async Task Message_on_a_rules_topic_goes_up_once_and_others_stay_here()
    {
        Mosquitto.RequireClients();
        var bus = await StartAsync(new EventBusOptions { Enable = true, Mode = 0, Internal = new IPEndPoint(IPAddress.Loopback, 0) });
        Set(bus, "default/line/+", "default/#", "factory/user/#");
        await PublishUntilAsync(bus.EndPoint!.Port, "default/probe", "x", "default/probe");

        await PublishAsync(bus.EndPoint.Port, "other/line", "stays");
        await PublishAsync(bus.EndPoint.Port, "factory/user/a", "user");
        await PublishAsync(bus.EndPoint.Port, "default/line/1", "both filters");
        await UntilAsync("the upload", () => Uploads("default/line/1").Count > 0);

        // Each was acknowledged, so all that goes up has.
        Assert.Equal("both filters", Uploads("default/line/1").Single());
        Assert.Equal("user", Uploads("factory/user/a").Single());
        Assert.Empty(Uploads("other/line"));
    }

    [SkippableFact]
    public async Task Topics_outlive_a_restart_without_the_cloud_and_go_when_the_cloud_takes_them_back()
    {
        Mosquitto.RequireClients();
        var options = new EventBusOptions { Enable = true, Mode = 0, Internal = new IPEndPoint(IPAddress.Loopback, 0) };
        var bus = await StartAsync(options);
        Set(bus, "default/a", "default/b");
        await PublishUntilAsync(bus.EndPoint!.Port, "default/a", "1", "default/a");
        await StopAsync();

        bus = await StartAsync(options);
        await PublishAsync(bus.EndPoint!.Port, "default/b", "after the restart");
        await UntilAsync("the upload", () => Uploads("default/b").Contains("after the restart"));

        Assert.True(bus.TryTake(new Message { Id = "u", Source = Sources.RouterEventBus, Group = Groups.User, Operation = Operations.Unsubscribe, Resource = "default/b" }));
        Set(bus, "default/a", "default/c");
        await PublishUntilAsync(bus.EndPoint.Port, "default/c", "1", "default/c");
        await PublishAsync(bus.EndPoint.Port, "default/b", "too late");
        Assert.DoesNotContain("too late", Uploads("default/b"));
        Assert.Equal(["default/a", "default/c"], _meta.ListLocal("rules-topics").Keys.Order(StringComparer.Ordinal));
    }

    [SkippableFact]
    public async Task Topics_are_subscribed_at_an_external_broker_too()
    {
        Mosquitto.RequireBroker();
        Mosquitto.RequireClients();
        await using var mosquitto = await Mosquitto.StartAsync();
        var bus = await StartAsync(new EventBusOptions { Enable = true, Mode = 2, External = new MqttAddress("127.0.0.1", mosquitto.Port, false) });

        // As a stock cloud tells it.
        Assert.True(bus.TryTake(new Message { Id = "s", Source = Sources.RouterEventBus, Group = Groups.User, Operation = Operations.Subscribe, Resource = "default/sensors" }));

        await PublishUntilAsync(mosquitto.Port, "default/sensors", "21", "default/sensors");
        Assert.Contains("21", Uploads("default/sensors"));
    }

    [SkippableFact]
    public async Task Message_of_the_cloud_is_published_and_answered()
    {
        Mosquitto.RequireClients();
        var bus = await StartAsync(new EventBusOptions { Enable = true, Mode = 0, Internal = new IPEndPoint(IPAddress.Loopback, 0) });
        await using var sub = await MosquittoSub.StartAsync(bus.EndPoint!.Port, "-t", "cmd/#", "-v");

        Assert.True(bus.TryTake(Publish("1", "cmd/press", "on")));
        Assert.True(bus.TryTake(Publish("2", "cmd/#", "bad topic")));

        await sub.WaitForAsync(1);
        Assert.Equal("cmd/press on", sub.Lines.Single());
        await UntilAsync("two answers", () => _answers.Count == 2);
        Assert.Equal(["1 200", "2 400"], _answers.Select(one => $"{one.ParentId} {JsonNode.Parse(one.Content.Span)!["status_code"]}"));
        Assert.All(_answers, one => Assert.Equal(("user", "upload"), (one.Group, one.Operation)));
    }

    private static Message Publish(string id, string topic, string payload)
        => new() { Id = id, Source = Sources.RouterEventBus, Group = Groups.User, Operation = Operations.Publish, Resource = topic, Content = MessageCodec.JsonString(payload) };

    private static void Set(EventBusService bus, params string[] topics) => Assert.True(bus.TryTake(new Message
    {
        Id = "set", Source = Sources.RouterEventBus, Group = Groups.User, Operation = Operations.Update, Resource = RouterResources.Topics,
        Content = Encoding.UTF8.GetBytes(new JsonArray([.. topics.Select(one => (JsonNode)one)]).ToJsonString()),
    }));

    private List<string> Uploads(string topic)
        => [.. _uplink.Entries.Where(entry => entry.Resource == topic).Select(entry => Encoding.UTF8.GetString(MessageCodec.Unwrap(entry.Content).Span))];

    private async Task PublishUntilAsync(int port, string topic, string payload, string expected)
    {
        var clock = Stopwatch.StartNew();
        while (Uploads(expected).Count == 0)
        {
            Assert.True(clock.Elapsed < s_patience, $"{topic} does not go up; up went: {string.Join(", ", _uplink.Entries.Select(entry => entry.Resource))}");
            await PublishAsync(port, topic, payload);
        }
    }

    private static async Task PublishAsync(int port, string topic, string payload)
    {
        using var process = Process.Start(new ProcessStartInfo("mosquitto_pub", ["-h", "127.0.0.1", "-p", $"{port}", "-q", "1", "-t", topic, "-m", payload]))!;
        await process.WaitForExitAsync();
        Assert.Equal(0, process.ExitCode);
    }

    private static async Task UntilAsync(string what, Func<bool> isTrue)
    {
        var clock = Stopwatch.StartNew();
        while (!isTrue())
        {
            Assert.True(clock.Elapsed < s_patience, $"not seen: {what}");
            await Task.Delay(5);
        }
    }

    private async Task<EventBusService> StartAsync(EventBusOptions options)
    {
        var services = new EdgeServices(
            new EdgeCoreOptions { NodeName = "edge-1", DataDirectory = _directory.Path, EventBus = options }, _meta, _uplink, TimeProvider.System, new Random(1), NullLoggerFactory.Instance)
        {
            Answer = (message, _) =>
            {
                _answers.Enqueue(message);
                return ValueTask.CompletedTask;
            },
        };
        var listening = new TaskCompletionSource();
        var bus = new EventBusService(services, twins: null) { Listening = listening.SetResult };
        var stop = new CancellationTokenSource();
        _running.Add((stop, bus.RunAsync(stop.Token)));
        if (options.HasInternal)
            await listening.Task.WaitAsync(s_patience);
        return bus;
    }

    private async Task StopAsync()
    {
        foreach (var (stop, task) in _running)
        {
            await stop.CancelAsync();
            await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            stop.Dispose();
        }

        _running.Clear();
    }
}
