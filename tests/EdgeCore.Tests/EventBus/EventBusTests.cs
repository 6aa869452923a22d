using System.Diagnostics;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.DeviceTwin;
using Edge.Core.EdgeHub;
using Edge.Core.EventBus;
using Edge.Protocol.Messages;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests.EventBus;

/// <summary>Applications at this edge with the real mosquitto clients, on the embedded broker and on a mosquitto.</summary>
[Trait("Category", "Devices")]
public sealed partial class EventBusTests : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly TempDirectory _directory = new();
    private readonly FakeMetaStore _meta = new();
    private readonly FakeUplink _uplink = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _running = [];

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        foreach (var task in _running)
            await task.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
        _certificates.Dispose();
        _directory.Dispose();
    }

    [Theory]
    [InlineData("$hw/events/device/default/thermo/twin/update", nameof(EventBusRoute.Twin))]
    [InlineData("$hw/events/device/default/thermo/twin/get", nameof(EventBusRoute.Twin))]
    [InlineData("$hw/events/device/default/thermo/state/update", nameof(EventBusRoute.Twin))]
    [InlineData("$hw/events/node/n/membership/get", nameof(EventBusRoute.Twin))]
    [InlineData("$hw/events/device/default/thermo/twin/update/result", nameof(EventBusRoute.None))]
    [InlineData("$hw/events/device/default/thermo/twin/cloud_updated", nameof(EventBusRoute.None))]
    [InlineData("$hw/events/upload/a/b", nameof(EventBusRoute.Cloud))]
    [InlineData("SYS/dis/upload_records", nameof(EventBusRoute.Cloud))]
    [InlineData("factory/user/alarm", nameof(EventBusRoute.Cloud))]
    [InlineData("$SYS/user/x", nameof(EventBusRoute.None))]
    [InlineData("factory/alarm", nameof(EventBusRoute.None))]
    public void A_topic_has_one_way(string topic, string route) => Assert.Equal(route, EventBusTopics.RouteOf(topic).ToString());

    [Fact]
    public async Task A_broker_whose_port_is_in_use_says_so_and_closes_its_file()
    {
        using var busy = new System.Net.Sockets.Socket(System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp);
        busy.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        busy.Listen();
        var options = new EdgeCoreOptions { NodeName = "edge-1", DataDirectory = _directory.Path, EventBus = Parse($"mqttMode: 0\n    mqttServerInternal: tcp://{busy.LocalEndPoint}").EventBus };
        var bus = new EventBusService(new EdgeServices(options, _meta, _uplink, TimeProvider.System, new Random(1), NullLoggerFactory.Instance), twins: null);
        await Assert.ThrowsAsync<System.Net.Sockets.SocketException>(() => bus.RunAsync(_stop.Token)).WaitAsync(s_patience);
        Assert.True(File.Exists(_directory.File("mqtt.db")));
        Assert.False(File.Exists(_directory.File("mqtt.db-wal"))); // the last one to close it removes this
    }

    [Theory]
    [InlineData("mqttMode: 3", "mqttMode")]
    [InlineData("mqttMode: 0\n    mqttServerInternal: 127.0.0.1:1884", "must be tcp://IP:PORT")]
    [InlineData("mqttMode: 0\n    mqttServerInternal: tcp://0.0.0.0:1884", "serves nobody without users")]
    [InlineData("mqttServerExternal: nonsense", "must be tcp://HOST:PORT")]
    [InlineData("acl: [\"press1 line/#\"]", "must be 'USER FILTER")]
    [InlineData("mqttWhatever: 1", "mqttWhatever")]
    [InlineData("mqttMode: 0\n    mqttServerInternalTLS: ssl://127.0.0.1:8883", "needs certFile and keyFile")]
    [InlineData("mqttMode: 0\n    mqttServerInternalWebSocket: http://127.0.0.1", "must be ws://IP:PORT")]
    [InlineData("mqttMode: 0\n    mqttServerInternalWebSocketTLS: wss://127.0.0.1:9443", "needs certFile and keyFile for mqttServerInternalWebSocketTLS")]
    [InlineData("mqttMode: 0\n    mqttServerInternalWebSocketTLS: ws://127.0.0.1:9443", "must be wss://IP:PORT")]
    [InlineData("serverTLS: {clientCertificateOptional: true}", "without clientCAFile")]
    [InlineData("mqttPassword: secret", "no password without a user name")]
    [InlineData("users: {press1: secret}", "has no hash for 'press1', must be one that 'edgectl mqtt hash' makes")]
    [InlineData("acl: [\"* line/#/x read\"]", "with a filter that fits no topic")]
    [InlineData("acl: [\"press 1 line/# read\"]", "with spaces stands in double quotes")]
    [InlineData("broker: {retainedMax: -1}", "modules.eventBus.broker.retainedMax: is -1, must be from 0")]
    [InlineData("broker: {packetSizeMax: 64}", "broker.packetSizeMax: is 64, must be from 128")]
    [InlineData("broker: {keepAliveMaxSeconds: 65536}", "must be from 0 to 65535")]
    [InlineData("broker: {retainMax: 1}", "did you mean 'retainedMax'")]
    public void A_wrong_setting_is_refused_with_the_fix(string yaml, string reason)
    {
        var e = Assert.ThrowsAny<Exception>(() => Parse(yaml));
        Assert.Contains(reason, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Settings_are_KubeEdges_with_its_defaults()
    {
        Assert.False(EdgeCoreConfig.Parse("edgecore.yaml", Head, [], null, "h").EventBus.Enable);
        var plain = Parse("enable: true").EventBus;
        Assert.Equal((true, 2, "127.0.0.1", 1883, false), (plain.Enable, plain.Mode, plain.External.Host, plain.External.Port, plain.External.IsTls));
        var own = Parse("mqttMode: 0\n    mqttServerInternal: tcp://0.0.0.0:1885\n    users: {press1: HASH}\n    acl: [\"press1 line/%u/# readwrite\", \"* secret/# deny\"]".Replace("HASH", MqttPassword.Hash("x", 1), StringComparison.Ordinal)).EventBus;
        Assert.Equal((new IPEndPoint(IPAddress.Any, 1885), false, "press1"), (own.Internal, own.AllowAnonymous, own.Users.Single().Name));
        Assert.Equal([true, false], own.Acl.Select(rule => rule.Allow));
        Assert.Equal(new MqttAclRule("Press 1", "hall 1/#", MqttAccess.Write), Parse("acl: ['\"Press 1\"  \"hall 1/#\" write']").EventBus.Acl.Single());
        var limits = Parse("""
            broker: {connectionsMax: 1, sessionsMax: 2, packetSizeMax: 1024, receiveMaximum: 4, inFlightMax: 5, topicAliasMaximum: 0, keepAliveMaxSeconds: 7, sessionExpiryMaxSeconds: 8,
                      queuedBytesMax: 9, outgoingBytesMax: 5000, subscriptionsPerSessionMax: 11, retainedMax: 12, sysPeriodSeconds: 0, hideDenials: true}
            """).EventBus.Broker;
        Assert.Equal(
            (1, 2, 1024, (ushort)4, (ushort)5, (ushort)0, (ushort)7, 8u, 9, 5000, 11, 12, TimeSpan.Zero, true),
            (limits.ConnectionsMax, limits.SessionsMax, limits.PacketSizeMax, limits.ReceiveMaximum, limits.InFlightMax, limits.TopicAliasMaximum, limits.KeepAliveMaxSeconds, limits.SessionExpiryMaxSeconds,
             limits.QueuedBytesMax, limits.OutgoingBytesMax, limits.SubscriptionsPerSessionMax, limits.RetainedMax, limits.SysPeriod, limits.HideDenials));
        Assert.True(Parse("mqttServerExternal: ssl://broker").EventBus.External is { Host: "broker", Port: 8883, IsTls: true });
    }

    [SkippableFact]
    public async Task Applications_read_and_set_twins_on_the_embedded_broker()
    {
        Mosquitto.RequireClients();
        var bus = await StartAsync(new EventBusOptions { Enable = true, Mode = 0, Internal = new IPEndPoint(IPAddress.Loopback, 0) });
        await TalkAsync(bus.EndPoint!.Port);
    }

    [SkippableFact]
    public async Task Applications_read_and_set_twins_on_a_broker_of_their_own_that_restarts()
    {
        Mosquitto.RequireClients();
        Mosquitto.RequireBroker();
        await using var mosquitto = await Mosquitto.StartAsync();
        await StartAsync(new EventBusOptions { Enable = true, Mode = 2, External = new MqttAddress("127.0.0.1", mosquitto.Port, false) });
        await TalkAsync(mosquitto.Port);
        await mosquitto.RestartAsync();
        await TalkAsync(mosquitto.Port);
    }

    [SkippableFact]
    public async Task What_applications_upload_is_queued_for_the_cloud()
    {
        Mosquitto.RequireClients();
        var bus = await StartAsync(new EventBusOptions { Enable = true, Mode = 0, Internal = new IPEndPoint(IPAddress.Loopback, 0) });
        await PublishAsync(bus.EndPoint!.Port, "factory/user/alarm", "über 90 °C", "-q", "1");
        var entry = await _uplink.WaitAsync("the upload", one => one.Key.StartsWith("user/", StringComparison.Ordinal));
        Assert.Equal((UplinkRule.Every, Sources.Bus, Groups.User, Operations.Upload), (entry.Rule, entry.Source, entry.Group, entry.Operation));
        Assert.Equal("factory/user/alarm", entry.Resource);
        Assert.Equal("über 90 °C", JsonNode.Parse(entry.Content.Span)!.GetValue<string>());
    }

    [Theory]
    [InlineData("SYS/dis/upload_records")]
    [InlineData("factory/user/alarm")]
    [InlineData("$hw/events/upload/a/b")]
    public async Task An_upload_is_acknowledged_only_when_it_is_in_the_durable_queue(string topic)
    {
        var disk = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _uplink.Disk = disk.Task;
        var bus = await StartAsync(new EventBusOptions { Enable = true, Mode = 0, Internal = new IPEndPoint(IPAddress.Loopback, 0) });
        await using var client = Client(bus.EndPoint!.Port);
        var uploads = new[] { MqttQos.AtLeastOnce, MqttQos.ExactlyOnce }.Select(qos => client.PublishAsync(new MqttMessage(topic, "x"u8.ToArray(), qos))).ToArray();
        await UntilAsync(() => _uplink.WaitingForDisk == 2, "both uploads at the queue");
        Assert.DoesNotContain(uploads, one => one.IsCompleted);
        Assert.Empty(_uplink.Entries);
        disk.SetResult();
        Assert.Equal([MqttReasonCode.Success, MqttReasonCode.Success], await Task.WhenAll(uploads).WaitAsync(s_patience));
        Assert.Equal(2, _uplink.Entries.Count);
    }

    [Fact]
    public async Task Where_the_queue_is_full_a_publisher_of_version_5_hears_it_and_one_of_3_1_1_takes_the_place_of_the_oldest()
    {
        _uplink.IsFull = true;
        var bus = await StartAsync(new EventBusOptions { Enable = true, Mode = 0, Internal = new IPEndPoint(IPAddress.Loopback, 0) });
        await using var client = Client(bus.EndPoint!.Port);
        var refused = await Assert.ThrowsAsync<MqttClientException>(() => client.PublishAsync(new MqttMessage("a/user/b", "x"u8.ToArray(), MqttQos.AtLeastOnce)).WaitAsync(s_patience));
        Assert.Equal(MqttReasonCode.QuotaExceeded, refused.Code);
        Assert.Empty(_uplink.Entries);
        await using var old = Client(bus.EndPoint!.Port, MqttVersion.V311);
        await old.PublishAsync(new MqttMessage("a/user/b", "y"u8.ToArray(), MqttQos.AtLeastOnce)).WaitAsync(s_patience);
        Assert.Single(_uplink.Entries);
        _uplink.IsFull = false;
        await client.PublishAsync(new MqttMessage("a/user/b", "z"u8.ToArray(), MqttQos.ExactlyOnce)).WaitAsync(s_patience);
        Assert.Equal(2, _uplink.Entries.Count);
    }

    [Fact]
    public async Task A_disk_that_refuses_is_told_too()
    {
        _uplink.Failure = new Edge.Common.Storage.StoreException("no space left");
        var bus = await StartAsync(new EventBusOptions { Enable = true, Mode = 0, Internal = new IPEndPoint(IPAddress.Loopback, 0) });
        await using var client = Client(bus.EndPoint!.Port);
        var refused = await Assert.ThrowsAsync<MqttClientException>(() => client.PublishAsync(new MqttMessage("a/user/b", "x"u8.ToArray(), MqttQos.AtLeastOnce)).WaitAsync(s_patience));
        Assert.Equal(MqttReasonCode.ImplementationSpecificError, refused.Code);
    }

    [Fact]
    public async Task Applications_hear_when_the_link_to_the_cloud_stands_and_when_it_is_gone()
    {
        var bus = await StartAsync(new EventBusOptions { Enable = true, Mode = 0, Internal = new IPEndPoint(IPAddress.Loopback, 0), Retain = true });
        var heard = new System.Collections.Concurrent.ConcurrentQueue<MqttMessage>();
        await using var client = Client(bus.EndPoint!.Port, heard: heard);
        await client.SubscribeAsync(new MqttTopicFilter("$hw/events/connected/+", new(MqttQos.AtLeastOnce))).WaitAsync(s_patience);
        await UntilAsync(() => heard.Any(one => one.Topic == "$hw/events/connected/edge-1"), "what it was at the start");
        await client.SubscribeAsync(new MqttTopicFilter("$hw/events/disconnected/+", new(MqttQos.AtLeastOnce))).WaitAsync(s_patience);
        _uplink.Change(isConnected: false);
        await UntilAsync(() => heard.Any(one => one.Topic == "$hw/events/disconnected/edge-1"), "the link's end");
        var payload = (JsonObject)JsonNode.Parse(heard.Last().Payload.Span)!;
        Assert.Equal(["event_id", "timestamp"], payload.Select(one => one.Key));
        Assert.True(payload["timestamp"]!.GetValue<long>() > 1_700_000_000_000);
    }

    [SkippableFact]
    public async Task Clients_of_the_TLS_port_are_who_their_certificate_says_and_may_what_the_rules_say()
    {
        Mosquitto.RequireClients();
        using var others = new CertificateFiles();
        var (server, press, other) = (_certificates.Issue("broker"), _certificates.Issue("press1"), others.Issue("press1"));
        var bus = await StartAsync(Parse($"""
            mqttMode: 0
                mqttServerInternal: tcp://127.0.0.1:0
                mqttServerInternalTLS: ssl://127.0.0.1:0
                serverTLS: {"{"}certFile: {server.Certificate}, keyFile: {server.Key}, clientCAFile: {_certificates.Ca}{"}"}
                acl: ["press1 press1/user/# write"]
            """).EventBus);
        string[] Tls((string Certificate, string Key) who) => ["-q", "1", "-V", "mqttv5", "--cafile", _certificates.Ca, "--cert", who.Certificate, "--key", who.Key];

        await PublishAsync(bus.TlsEndPoint!.Port, "press1/user/alarm", "hot", Tls(press));
        await _uplink.WaitAsync("the upload", one => one.Key.StartsWith("user/", StringComparison.Ordinal));
        var entries = _uplink.Entries.Count;
        Assert.Contains("not authorized", (await TryPublishAsync(bus.TlsEndPoint.Port, "press2/user/alarm", "hot", Tls(press))).Error, StringComparison.OrdinalIgnoreCase);
        Assert.NotEqual(0, (await TryPublishAsync(bus.TlsEndPoint.Port, "press1/user/alarm", "hot", Tls(other))).Code);
        Assert.NotEqual(0, (await TryPublishAsync(bus.TlsEndPoint.Port, "press1/user/alarm", "hot", "-q", "1", "--cafile", _certificates.Ca)).Code);
        Assert.Equal(entries, _uplink.Entries.Count);
    }

    private static MqttClient Client(int port, MqttVersion version = MqttVersion.V5, System.Collections.Concurrent.ConcurrentQueue<MqttMessage>? heard = null)
        => MqttClient.Start(
            new MqttClientOptions { Host = "127.0.0.1", Port = port, Version = version },
            message =>
            {
                heard?.Enqueue(message);
                return ValueTask.CompletedTask;
            },
            TimeProvider.System, new Random(3), NullLoggerFactory.Instance);

    private static async Task UntilAsync(Func<bool> condition, string what)
    {
        var clock = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(clock.Elapsed < s_patience, $"not seen: {what}");
            await Task.Delay(10);
        }
    }

    private const string Head = "apiVersion: edgecore.config.kubeedge.io/v1alpha2\nkind: EdgeCore\n";

    private static EdgeCoreOptions Parse(string bus) => EdgeCoreConfig.Parse("edgecore.yaml", $"{Head}modules:\n  eventBus:\n    {bus}\n", [], null, "h");

    // A report of an application reaches the cloud and is seen by others; a desired value comes back as a difference; what is asked is answered.
    private async Task TalkAsync(int port)
    {
        await using var results = await MosquittoSub.StartAsync(port, "-v", "-t", "$hw/events/device/default/thermo/twin/#", "-t", "$hw/events/node/edge-1/membership/get/result");
        var value = $"{_uplink.Entries.Count + 10}";
        await UntilAnsweredAsync(results, port, "$hw/events/device/default/thermo/twin/update", """{"event_id":"1","twin":{"t":{"actual":{"value":"VALUE"},"metadata":{"type":"int"}}}}""".Replace("VALUE", value, StringComparison.Ordinal), "twin/update/result");
        await _uplink.WaitAsync("the report", one => one.Resource == "device/default/thermo/twin/edge_updated" && FakeUplink.Content(one)["twin"]?["t"]?["actual"]?["value"]?.GetValue<string>() == value);
        await UntilAnsweredAsync(results, port, "$hw/events/device/default/thermo/twin/update", """{"event_id":"2","twin":{"t":{"expected":{"value":"77"}}}}""", "\"delta\":{\"t\":\"77\"}");
        await UntilAnsweredAsync(results, port, "$hw/events/device/default/thermo/twin/get", """{"event_id":"3"}""", $"\"actual\":{{\"value\":\"{value}\"");
        await UntilAnsweredAsync(results, port, "$hw/events/node/edge-1/membership/get", """{"event_id":"4"}""", "\"id\":\"default/thermo\"");
    }

    // EdgeCore may still be connecting to a broker that has just started; an application would ask again too.
    private async Task UntilAnsweredAsync(MosquittoSub results, int port, string topic, string payload, string answer)
    {
        var clock = Stopwatch.StartNew();
        while (true)
        {
            await PublishAsync(port, topic, payload);
            foreach (var ended in _running.Where(one => one.IsCompleted))
                await ended; // says why
            for (var i = 0; i < 100; i++)
            {
                if (results.Lines.Any(line => line.Contains(answer, StringComparison.Ordinal)))
                    return;
                await Task.Delay(10);
            }

            Assert.True(clock.Elapsed < s_patience, $"no {answer} among: {string.Join("\n", results.Lines.Distinct())}");
        }
    }

    private static async Task PublishAsync(int port, string topic, string payload, params string[] more)
    {
        var (code, error) = await TryPublishAsync(port, topic, payload, more);
        Assert.True(code == 0, error);
    }

    private static async Task<(int Code, string Error)> TryPublishAsync(int port, string topic, string payload, params string[] more)
    {
        using var process = Process.Start(new ProcessStartInfo("mosquitto_pub", ["-h", "127.0.0.1", "-p", $"{port}", "-t", topic, "-m", payload, .. more]) { RedirectStandardError = true })!;
        var error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, error);
    }

    private async Task<EventBusService> StartAsync(EventBusOptions options)
    {
        _meta.Put("devicemodel", (JsonObject)JsonNode.Parse("""
            {"metadata":{"name":"model","namespace":"default"},"spec":{"protocol":"modbus","properties":[{"name":"t","type":"INT","accessMode":"ReadWrite"}]}}
            """)!);
        _meta.Put("device", (JsonObject)JsonNode.Parse("""
            {"metadata":{"name":"thermo","namespace":"default"},"spec":{"deviceModelRef":{"name":"model"},"protocol":{"protocolName":"modbus"},"properties":[{"name":"t"}]}}
            """)!);
        var services = new EdgeServices(
            new EdgeCoreOptions
            {
                NodeName = "edge-1", DataDirectory = _directory.Path, DeviceTwin = new DeviceTwinOptions { DmiSockPath = _directory.File("dmi.sock"), ReportWindowMs = 0 }, EventBus = options,
            },
            _meta, _uplink, TimeProvider.System, new Random(1), NullLoggerFactory.Instance);
        var twins = new TwinService(services);
        var listening = new TaskCompletionSource();
        var bus = new EventBusService(services, twins) { Listening = listening.SetResult };
        _running.Add(twins.RunAsync(_stop.Token));
        _running.Add(bus.RunAsync(_stop.Token));
        if (options.HasInternal)
            await await Task.WhenAny(listening.Task, _running[^1]).WaitAsync(s_patience);
        return bus;
    }
}
