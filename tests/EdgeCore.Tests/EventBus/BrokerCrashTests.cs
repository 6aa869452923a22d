using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.EdgeHub;
using Edge.Protocol.Messages;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests.EventBus;

/// <summary>EdgeCore's broker under kill -9.</summary>
[Trait("Category", "Chaos")]
public sealed class BrokerCrashTests
{
    private const int Rounds = 3;
    private const int AcknowledgedARound = 150;
    private const int AtOnce = 40;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(120);

    [Fact]
    public async Task Kill_9_in_the_middle_of_QoS_1_and_2_traffic_loses_nothing_that_was_acknowledged_and_sessions_and_retained_messages_come_back()
    {
        using var directory = new TempDirectory();
        await File.WriteAllTextAsync(directory.File("edgecore.yaml"), """
            kind: EdgeCore
            commonConfig:
              monitorServer: { bindAddress: '127.0.0.1:0' }
            modules:
              edgeHub: { enable: false }
              edged: { enable: false, hostnameOverride: edge-node }
              deviceTwin: { enable: false }
              eventBus: { mqttMode: 0, mqttServerInternal: 'tcp://127.0.0.1:0', mqttSessionQueueSize: 100000 }
            """);
        await using var door = new Door();
        var process = await StartAsync(directory, door);
        try
        {
            var got = new ConcurrentQueue<string>();
            var sessions = new ConcurrentQueue<bool>();
            await using var subscriber = Client(door.Port, "subscriber", message => got.Enqueue(Encoding.UTF8.GetString(message.Payload.Span)));
            subscriber.Changed += state =>
            {
                if (state.IsConnected)
                    sessions.Enqueue(state.SessionPresent);
            };
            await subscriber.SubscribeAsync(new MqttTopicFilter("line/#", new(MqttQos.ExactlyOnce))).WaitAsync(s_patience);
            await using var publisher = Client(door.Port, "publisher", _ => { });
            var acknowledged = new ConcurrentQueue<(string Topic, string Payload)>();
            using var stop = new CancellationTokenSource();
            var sending = SendAsync(publisher, acknowledged, stop.Token);
            for (var round = 1; round <= Rounds; round++)
            {
                var wanted = round * AcknowledgedARound;
                var starts = round;
                await UntilAsync(
                    () => acknowledged.Count >= wanted && sessions.Count >= starts, // the subscriber too: its retry may come after the publisher's whole share of a round
                    () => $"{wanted} acknowledged messages and {starts} sessions, there are {acknowledged.Count} and {sessions.Count}; edgecore says: {process.Errors}");
                process.Kill();
                await process.ExitAsync();
                door.Target = 0;
                process.Dispose();
                process = await StartAsync(directory, door);
            }

            await UntilAsync(() => acknowledged.Count >= (Rounds + 1) * AcknowledgedARound, () => $"more after the last start, there are {acknowledged.Count}");
            await stop.CancelAsync();
            await sending.WaitAsync(s_patience);

            var routed = acknowledged.Where(one => one.Topic.StartsWith("line/", StringComparison.Ordinal)).Select(one => one.Payload).ToArray();
            Assert.True(routed.Length > 200, $"only {routed.Length}");
            await UntilAsync(() => routed.Except(got).Take(1).ToArray().Length == 0, () => $"acknowledged and not delivered: {string.Join(", ", routed.Except(got).Take(5))}");

            // The subscriber's session was there each time it came back.
            Assert.False(sessions.First());
            await UntilAsync(() => sessions.Count > Rounds, () => $"the subscriber after the last start; it came {sessions.Count} times");
            Assert.DoesNotContain(false, sessions.Skip(1));
            Assert.Equal([], got.Where(payload => payload.StartsWith("2-", StringComparison.Ordinal)).GroupBy(payload => payload).Where(group => group.Count() > 1).Select(group => $"{group.Key} came {group.Count()} times"));

            var kept = new ConcurrentQueue<string>();
            await using var late = Client(door.Port, "late", message => kept.Enqueue(message.Topic));
            await late.SubscribeAsync(new MqttTopicFilter("line/kept/#", new(MqttQos.AtLeastOnce))).WaitAsync(s_patience);
            var retained = acknowledged.Select(one => one.Topic).Where(topic => topic.StartsWith("line/kept/", StringComparison.Ordinal)).Distinct().ToArray();
            Assert.NotEmpty(retained);
            await UntilAsync(() => !retained.Except(kept).Any(), () => $"retained and gone: {string.Join(", ", retained.Except(kept).Take(5))}");

            process.Kill();
            await process.ExitAsync();
            AssertUploads(directory, [.. acknowledged.Where(one => one.Topic == "plant/user/alarm").Select(one => one.Payload)], await UploadsAsync(directory));
        }
        finally
        {
            process.Dispose();
        }
    }

    private static void AssertUploads(TempDirectory directory, string[] acknowledged, HashSet<string> queued)
    {
        Assert.NotEmpty(acknowledged);
        Assert.True(acknowledged.All(queued.Contains), $"acknowledged and not in the queue of {directory.Path}: {string.Join(", ", acknowledged.Where(one => !queued.Contains(one)).Take(5))}");
    }

    private static async Task<HashSet<string>> UploadsAsync(TempDirectory directory)
    {
        await using var database = EdgeDatabase.Open(directory.File("edgecore.db"), TimeProvider.System);
        Assert.Null(database.CorruptBackup);
        var store = new SqliteUplinkStore(database, TimeProvider.System, NullLogger.Instance);
        var ids = store.ReadSlots().Select(slot => slot.Id).ToList();
        return [.. store.Load(ids).Values.Where(message => message.Operation == Operations.Upload).Select(message => JsonNode.Parse(message.Content.Span)!.GetValue<string>())];
    }

    // One message after the other, some open at once: half QoS 1, half QoS 2; of five four are routed (one of them retained) and one is an upload.
    private static async Task SendAsync(MqttClient publisher, ConcurrentQueue<(string Topic, string Payload)> acknowledged, CancellationToken stop)
    {
        using var turns = new SemaphoreSlim(AtOnce);
        for (var i = 0; !stop.IsCancellationRequested; i++)
        {
            await turns.WaitAsync(CancellationToken.None);
            var qos = (MqttQos)(1 + (i % 2));
            var topic = (i % 5) switch { 0 => "plant/user/alarm", 1 => $"line/kept/{i % 50}", _ => $"line/{i % 7}" };
            _ = OneAsync(new MqttMessage(topic, Encoding.UTF8.GetBytes($"{(int)qos}-{i}"), qos, i % 5 == 1)); // the turns at the end wait for it
        }

        for (var i = 0; i < AtOnce; i++)
            await turns.WaitAsync(CancellationToken.None);

        async Task OneAsync(MqttMessage message)
        {
            await publisher.PublishAsync(message, CancellationToken.None);
            acknowledged.Enqueue((message.Topic, Encoding.UTF8.GetString(message.Payload.Span)));
            turns.Release();
        }
    }

    private static MqttClient Client(int port, string id, Action<MqttMessage> handler) => MqttClient.Start(
        new MqttClientOptions
        {
            Host = "127.0.0.1", Port = port, ClientId = id, SessionExpirySeconds = 3600, KeepAliveSeconds = 20, RetryFirst = TimeSpan.FromMilliseconds(50), RetryMost = TimeSpan.FromMilliseconds(500),
        },
        message =>
        {
            handler(message);
            return ValueTask.CompletedTask;
        },
        TimeProvider.System, new Random(1), NullLoggerFactory.Instance);

    private static async Task<EdgeProcess> StartAsync(TempDirectory directory, Door door)
    {
        var ports = directory.File("edgecore.ports.json");
        File.Delete(ports);
        var process = new EdgeProcess(directory);
        var port = 0;
        await UntilAsync(() => (port = ReadPort(ports)) > 0, () => $"edgecore's MQTT port; it says: {process.Errors}{process.Output}");
        door.Target = port;
        return process;
    }

    private static int ReadPort(string path) => File.Exists(path) ? JsonNode.Parse(File.ReadAllText(path))?["mqtt"]?.GetValue<int>() ?? 0 : 0;

    private static async Task UntilAsync(Func<bool> condition, Func<string> what)
    {
        var clock = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(clock.Elapsed < s_patience, $"not seen: {what()}");
            await Task.Delay(20);
        }
    }

    /// <summary>A port that stays the same while the broker's own changes with each start.</summary>
    private sealed class Door : IAsyncDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly Task _loop;
        private int _target;

        public Door()
        {
            _listener.Start();
            _loop = RunAsync();
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        /// <summary>Where it leads; 0: nowhere.</summary>
        public int Target
        {
            get => Volatile.Read(ref _target);
            set => Volatile.Write(ref _target, value);
        }

        public async ValueTask DisposeAsync()
        {
            _listener.Stop();
            await _loop;
        }

        private async Task RunAsync()
        {
            try
            {
                while (true)
                    _ = ServeAsync(await _listener.AcceptSocketAsync()); // ends with its sockets
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Closed.
            }
        }

        private async Task ServeAsync(Socket client)
        {
            using var near = client;
            using var far = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            near.NoDelay = true;
            try
            {
                await far.ConnectAsync(new IPEndPoint(IPAddress.Loopback, Target));
                await using var one = new NetworkStream(near);
                await using var other = new NetworkStream(far);
                await Task.WhenAny(one.CopyToAsync(other), other.CopyToAsync(one));
            }
            catch (Exception e) when (e is SocketException or IOException or ArgumentException)
            {
                // Nobody is behind the door, or somebody went: the client sees its connection end.
            }
        }
    }
}
