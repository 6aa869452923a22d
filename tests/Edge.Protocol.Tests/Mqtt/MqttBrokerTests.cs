using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Edge.Testing;

namespace Edge.Protocol.Tests;

/// <summary>The broker on real sockets.</summary>
[Trait("Category", "Devices")]
public sealed class MqttBrokerTests
{
    [Fact]
    public async Task A_client_that_sends_byte_by_byte_and_one_that_sends_all_at_once_are_both_served()
    {
        await using var broker = MqttHouse.Start();
        var port = broker.EndPoints[0].Port;
        using var slow = await RawClient.OpenAsync(port);
        var session = new List<byte>();
        session.AddRange(MqttEncoder.Connect(new MqttConnect { Version = MqttVersion.V5, ClientId = "slow", CleanStart = true }));
        session.AddRange(MqttEncoder.Subscribe(new MqttSubscribe(1, [new("t", new(0))], MqttProperties.None), MqttVersion.V5));
        session.AddRange(MqttPublishWriter.ToPacket(new MqttPublishOut { Version = MqttVersion.V5, Topic = "t"u8, Payload = new byte[2000] }));
        foreach (var one in session)
            await slow.SendAsync([one]);
        await ServedAsync(slow);
        using var fast = await RawClient.OpenAsync(port);
        await fast.SendAsync([.. session.Select((one, i) => i == 15 ? (byte)'f' : one)]);
        await ServedAsync(fast);
        Assert.Equal(2004, (await slow.ReadAsync()).Body.Length);

        static async Task ServedAsync(RawClient raw)
        {
            Assert.Equal(MqttPacketType.ConnAck, (await raw.ReadAsync()).Type);
            Assert.Equal(MqttPacketType.SubAck, (await raw.ReadAsync()).Type);
            Assert.Equal(2004, (await raw.ReadAsync()).Body.Length);
        }
    }

    [Fact]
    public async Task A_packet_that_is_too_large_or_malformed_is_answered_with_its_reason_before_the_close()
    {
        await using var broker = MqttHouse.Start(MqttHouse.Options() with { PacketSizeMax = 10_000 });
        foreach (var (bytes, code) in ((byte[], MqttReasonCode)[])[([0x30, 0xFF, 0xFF, 0x7F, .. new byte[200_000]], MqttReasonCode.PacketTooLarge), ([0x36, 0x05, 0, 1, 97, 0, 1], MqttReasonCode.MalformedPacket)])
        {
            using var raw = await MqttHouse.RawAsync(broker.EndPoints[0].Port, "bad");
            await raw.SendAsync(bytes);
            var (type, _, body) = await raw.ReadAsync();
            var bye = MqttDecoder.Disconnect(type, body, MqttVersion.V5);
            Assert.Equal(code, bye.Code);
            Assert.NotEmpty(bye.Properties.ReasonString!);
            await raw.ExpectEndAsync();
        }
    }

    [Fact]
    public async Task A_client_that_does_not_read_holds_up_nobody_and_takes_bounded_memory()
    {
        const int Count = 20_000;
        await using var broker = MqttHouse.Start(MqttHouse.Options() with { OutgoingBytesMax = 200_000 });
        var port = broker.EndPoints[0].Port;
        using var stuck = await MqttHouse.RawAsync(port, "stuck", receiveBuffer: 4096);
        await stuck.SendAsync(MqttEncoder.Subscribe(new MqttSubscribe(1, [new("t", new(0))], MqttProperties.None), MqttVersion.V5));
        Assert.Equal(MqttPacketType.SubAck, (await stuck.ReadAsync()).Type);
        await using var good = await MqttHouse.Client(MqttHouse.To(port)).ConnectedAsync();
        await good.SubscribeAsync("t");
        await using var publisher = await MqttHouse.Client(MqttHouse.To(port)).ConnectedAsync();
        var payload = new string('x', 1000);
        for (var i = 0; i < Count; i += 100)
        {
            await Task.WhenAll(Enumerable.Range(0, 100).Select(_ => publisher.PublishAsync("t", payload)));
            await good.WaitForAsync(i + 100); // so that the good one is never slow
        }

        Assert.InRange(broker.Counters.DroppedSlow, 1, Count);
        await good.WaitForAsync(Count);
        Assert.True(good.Mqtt.IsConnected);
    }

    [Fact]
    public async Task A_subscriber_that_is_not_slow_gets_all_retained_messages_and_all_of_a_burst_with_a_queue_of_100()
    {
        const int Count = 2_500;
        await using var broker = MqttHouse.Start(MqttHouse.Options() with { QueuedMessagesMax = 100 });
        var port = broker.EndPoints[0].Port;
        for (var i = 0; i < Count; i++)
            await broker.PublishAsync(new MqttMessage($"r/{i}", Encoding.UTF8.GetBytes($"{i}"), MqttQos.AtLeastOnce, Retain: true));
        await using var client = await MqttHouse.Client(MqttHouse.To(port)).ConnectedAsync();
        await client.SubscribeAsync("r/#", MqttQos.AtLeastOnce);
        await client.WaitForAsync(Count);
        Assert.Equal(Count, client.Payloads.Distinct().Count());

        // One read of the broker brings some thousand of them.
        using var burst = await MqttHouse.RawAsync(port, "burst");
        await burst.SendAsync([.. Enumerable.Range(1, Count).SelectMany(i => MqttPublishWriter.ToPacket(new MqttPublishOut
        {
            Version = MqttVersion.V5, Topic = "r/x"u8, Payload = Encoding.UTF8.GetBytes($"b{i}"), Qos = MqttQos.AtLeastOnce, PacketId = (ushort)i,
        }))]);
        await client.WaitForAsync(2 * Count);
        Assert.Equal(Enumerable.Range(1, Count).Select(i => $"b{i}"), client.Payloads[Count..]);
        Assert.Equal(0, broker.Counters.Dropped);
    }

    [Fact]
    public async Task Passwords_are_checked_and_wrong_ones_hear_so()
    {
        await using var broker = MqttHouse.Start(MqttHouse.Options() with { AllowAnonymous = false, Users = [new MqttUser("ann", MqttPassword.Hash("right", 1000))] });
        var port = broker.EndPoints[0].Port;
        foreach (var (user, password, code5, code3) in ((string?, string?, byte, byte)[])[("ann", "right", 0, 0), ("ann", "right", 0, 0), ("ann", "wrong", 0x86, 4), ("bob", "right", 0x86, 4), (null, null, 0x87, 5), ("ann", null, 0x86, 4)])
        {
            foreach (var version in (MqttVersion[])[MqttVersion.V5, MqttVersion.V311])
            {
                using var raw = await RawClient.OpenAsync(port, version);
                await raw.SendAsync([.. MqttEncoder.Connect(new MqttConnect
                {
                    Version = version, ClientId = "c", CleanStart = true, UserName = user, Password = password is null ? (ReadOnlyMemory<byte>?)null : Encoding.UTF8.GetBytes(password),
                }), .. MqttEncoder.PingReq]);
                Assert.Equal(version == MqttVersion.V5 ? code5 : code3, (byte)MqttDecoder.ConnAck((await raw.ReadAsync()).Body, version).Code);
                if (code5 == 0)
                    Assert.Equal(MqttPacketType.PingResp, (await raw.ReadAsync()).Type); // what was sent behind CONNECT is not lost
                else
                    await raw.ExpectEndAsync();
            }
        }
    }

    [Fact]
    public async Task Over_tls_the_client_certificate_is_the_user()
    {
        using var server = Certificate("localhost");
        using var client = Certificate("device-7");
        await using var broker = MqttHouse.Start(MqttHouse.Options(new MqttListenerOptions
        {
            EndPoint = new IPEndPoint(IPAddress.Loopback, 0),
            CertificateIsUser = true,
            Tls = () => new SslServerAuthenticationOptions
            {
                ServerCertificate = server,
                ClientCertificateRequired = true,
                RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is null || certificate.GetCertHashString() == client.GetCertHashString(),
            },
        }) with { AllowAnonymous = false, Acl = [new("device-7", "from/%u", MqttAccess.ReadWrite)] });
        MqttClientOptions Options(X509Certificate2? certificate) => MqttHouse.To(broker.EndPoints[0].Port) with
        {
            Tls = new SslClientAuthenticationOptions
            {
                TargetHost = "localhost",
                ClientCertificates = certificate is null ? null : [certificate],
                RemoteCertificateValidationCallback = (_, presented, _, _) => presented?.GetCertHashString() == server.GetCertHashString(),
            },
        };
        await using var good = await MqttHouse.Client(Options(client)).ConnectedAsync();
        await good.SubscribeAsync("from/device-7", MqttQos.AtLeastOnce);
        Assert.Equal(MqttReasonCode.Success, await good.PublishAsync("from/device-7", "x", MqttQos.AtLeastOnce));
        var refused = await Assert.ThrowsAsync<MqttClientException>(() => good.PublishAsync("from/device-8", "x", MqttQos.AtLeastOnce));
        Assert.Equal(MqttReasonCode.NotAuthorized, refused.Code);
        await good.WaitForAsync(1);

        var reasons = new ConcurrentQueue<string>();
        await using var nobody = MqttHouse.Client(Options(null));
        nobody.Mqtt.Changed += state => reasons.Enqueue(state.Reason);
        await MqttHouse.WaitAsync(() => reasons.Any(one => one.Contains("a user name is needed", StringComparison.Ordinal)), "a refusal");
        Assert.Equal(1, broker.ConnectedCount);
    }

    [Fact]
    public async Task Mqtt_over_websocket_is_served_and_other_requests_are_told_what_is_spoken()
    {
        await using var broker = MqttHouse.Start(MqttHouse.Options(new MqttListenerOptions { EndPoint = new IPEndPoint(IPAddress.Loopback, 0), Kind = MqttListenerKind.WebSocket }));
        var port = broker.EndPoints[0].Port;
        using var socket = new ClientWebSocket();
        socket.Options.AddSubProtocol("mqtt");
        await socket.ConnectAsync(new Uri($"ws://127.0.0.1:{port}/mqtt"), CancellationToken.None);
        Assert.Equal("mqtt", socket.SubProtocol);
        byte[] sent =
        [
            .. MqttEncoder.Connect(new MqttConnect { Version = MqttVersion.V311, ClientId = "ws", CleanStart = true }),
            .. MqttEncoder.Subscribe(new MqttSubscribe(1, [new("t", new(0))], MqttProperties.None), MqttVersion.V311),
            .. MqttPublishWriter.ToPacket(new MqttPublishOut { Version = MqttVersion.V311, Topic = "t"u8, Payload = new byte[10_000] }),
        ];
        // Packets and frames need not begin together [MQTT-6.0.0-2].
        for (var at = 0; at < sent.Length; at += 7)
            await socket.SendAsync(sent.AsMemory(at, Math.Min(7, sent.Length - at)), WebSocketMessageType.Binary, true, CancellationToken.None);
        var got = new List<byte>();
        var buffer = new byte[4096];
        while (got.Count < 4 + 5 + 10_006)
        {
            var result = await socket.ReceiveAsync(buffer, CancellationToken.None).WaitAsync(MqttHouse.Patience);
            Assert.Equal(WebSocketMessageType.Binary, result.MessageType);
            got.AddRange(buffer[..result.Count]);
        }

        Assert.Equal([0x20, 2, 0, 0, 0x90, 3, 0, 1, 0, 0x30], got[..10]);
        await socket.SendAsync("text"u8.ToArray(), WebSocketMessageType.Text, true, CancellationToken.None);
        await MqttHouse.WaitAsync(() => broker.ConnectedCount == 0, "the end of who sent text");

        using var http = new HttpClient();
        using var answer = await http.GetAsync(new Uri($"http://127.0.0.1:{port}/"));
        Assert.Equal(HttpStatusCode.UpgradeRequired, answer.StatusCode);
        using var wrong = new ClientWebSocket();
        wrong.Options.AddSubProtocol("chat");
        await Assert.ThrowsAsync<WebSocketException>(() => wrong.ConnectAsync(new Uri($"ws://127.0.0.1:{port}/"), CancellationToken.None));
    }

    [Fact]
    public async Task Mqtt_over_websocket_over_tls_is_served()
    {
        using var server = Certificate("localhost");
        await using var broker = MqttHouse.Start(MqttHouse.Options(new MqttListenerOptions
        {
            EndPoint = new IPEndPoint(IPAddress.Loopback, 0), Kind = MqttListenerKind.WebSocket, Tls = () => new SslServerAuthenticationOptions { ServerCertificate = server },
        }));
        using var socket = new ClientWebSocket();
        socket.Options.AddSubProtocol("mqtt");
        socket.Options.RemoteCertificateValidationCallback = (_, presented, _, _) => presented?.GetCertHashString() == server.GetCertHashString();
        await socket.ConnectAsync(new Uri($"wss://localhost:{broker.EndPoints[0].Port}/mqtt"), CancellationToken.None).WaitAsync(MqttHouse.Patience);
        byte[] sent =
        [
            .. MqttEncoder.Connect(new MqttConnect { Version = MqttVersion.V311, ClientId = "wss", CleanStart = true }),
            .. MqttEncoder.Subscribe(new MqttSubscribe(1, [new("t", new(0))], MqttProperties.None), MqttVersion.V311),
            .. MqttPublishWriter.ToPacket(new MqttPublishOut { Version = MqttVersion.V311, Topic = "t"u8, Payload = new byte[100_000] }),
        ];
        await socket.SendAsync(sent, WebSocketMessageType.Binary, true, CancellationToken.None).WaitAsync(MqttHouse.Patience);
        var got = new List<byte>();
        var buffer = new byte[16 * 1024];
        while (got.Count < 4 + 5 + 4 + 3 + 100_000)
            got.AddRange(buffer[..(await socket.ReceiveAsync(buffer, CancellationToken.None).WaitAsync(MqttHouse.Patience)).Count]);
        Assert.Equal([0x20, 2, 0, 0, 0x90, 3, 0, 1, 0, 0x30], got[..10]);
        await socket.SendAsync(new byte[] { 0xE0, 0 }, WebSocketMessageType.Binary, true, CancellationToken.None).WaitAsync(MqttHouse.Patience);
        await MqttHouse.WaitAsync(() => broker.ConnectedCount == 0, "its end");
    }

    [Theory]
    [InlineData(MqttVersion.V5)]
    [InlineData(MqttVersion.V311)]
    public async Task A_packet_that_is_begun_and_not_finished_in_time_ends_its_connection_alone(MqttVersion version)
    {
        await using var broker = MqttHouse.Start(MqttHouse.Options() with { PacketWithin = TimeSpan.FromMilliseconds(300) });
        var port = broker.EndPoints[0].Port;
        using var good = await MqttHouse.RawAsync(port, "good", version);
        using var slow = await MqttHouse.RawAsync(port, "slow", version);
        await slow.SendAsync([0x30, 100, 0, 1, (byte)'t']);
        if (version == MqttVersion.V5)
        {
            var (type, _, body) = await slow.ReadAsync();
            var bye = MqttDecoder.Disconnect(type, body, version);
            Assert.Equal(MqttReasonCode.ImplementationSpecificError, bye.Code);
            Assert.Contains("not finished within 0.3 s", bye.Properties.ReasonString, StringComparison.Ordinal);
        }

        await slow.ExpectEndAsync();
        await good.SendAsync(MqttEncoder.PingReq.ToArray());
        Assert.Equal(MqttPacketType.PingResp, (await good.ReadAsync()).Type);
    }

    [Theory]
    [InlineData("POST / HTTP/1.1", "400")]
    [InlineData("GET / HTTP/1.1\r\nHost: x", "426")]
    [InlineData("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 8", "426")]
    [InlineData("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short", "400")]
    [InlineData("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "400")]
    [InlineData("GET / HTTP/1.1\r\n: x", "400")]
    public void A_bad_upgrade_request_is_refused_with_a_reason(string head, string status)
    {
        var (answer, problem) = WebSocketUpgrade.Answer(head, isAlone: true);
        Assert.StartsWith($"HTTP/1.1 {status} ", answer, StringComparison.Ordinal);
        Assert.NotNull(problem);
    }

    [Fact]
    public void The_upgrade_is_answered_as_in_the_rfcs_example()
    {
        // RFC 6455, 1.3.
        var (answer, problem) = WebSocketUpgrade.Answer("GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqttv3.1, mqtt", isAlone: true);
        Assert.Null(problem);
        Assert.Contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", answer, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("100E 0006 4D5149736470 03 02 0000 0000", "20020002", "no empty client identifier in 3.1")]
    [InlineData("100C 0004 4D515454 03 02 0000 0000", "20020001", "level 3 has another name")]
    [InlineData("100E 0006 4D5149736470 04 02 0000 0000", "", "level 4 has another name")]
    [InlineData("100F 0006 4D5149736470 03 00 0000 000161", "20020000", "a session that is there already has no flag in 3.1")]
    public async Task Version_3_1_is_served_as_it_is(string connect, string answer, string why)
    {
        await using var broker = MqttHouse.Start();
        var port = broker.EndPoints[0].Port;
        using (var before = await RawClient.OpenAsync(port, MqttVersion.V311))
        {
            await before.SendAsync(Convert.FromHexString("100F00064D514973647003000000000161"));
            Assert.Equal(MqttPacketType.ConnAck, (await before.ReadAsync()).Type);
        }

        using var raw = await RawClient.OpenAsync(port, MqttVersion.V311);
        await raw.SendAsync(Convert.FromHexString(connect.Replace(" ", "", StringComparison.Ordinal)));
        if (answer.Length == 0)
        {
            await raw.ExpectEndAsync();
            return;
        }

        var (_, first, body) = await raw.ReadAsync();
        Assert.True(answer == Convert.ToHexString([first, (byte)body.Length, .. body]), why);
    }

    [Fact]
    public async Task This_process_publishes_and_subscribes_without_a_socket()
    {
        await using var broker = MqttHouse.Start();
        await using var client = await MqttHouse.Client(MqttHouse.To(broker.EndPoints[0].Port)).ConnectedAsync();
        await client.SubscribeAsync("$hw/events/device/+/twin/update", MqttQos.AtLeastOnce);
        var heard = new ConcurrentQueue<MqttMessage>();
        await using (broker.SubscribeLocal("$hw/events/#", message =>
        {
            heard.Enqueue(message);
            return heard.Count == 1 ? throw new InvalidOperationException("a handler that fails is no end") : ValueTask.CompletedTask;
        }))
        {
            Assert.Equal(2, await broker.PublishAsync(new MqttMessage("$hw/events/device/d/twin/update", "{}"u8.ToArray(), MqttQos.AtLeastOnce)));
            await client.PublishAsync("$hw/events/node/connection", "1", MqttQos.ExactlyOnce, properties: new MqttProperties { UserProperties = [new("k", "v")] });
            await client.WaitForAsync(1);
            await MqttHouse.WaitAsync(() => heard.Count == 2, "both messages");
            Assert.Equal("v", heard.Last().Properties.UserProperties[0].Value);
        }

        Assert.Equal(0, await broker.PublishAsync(new MqttMessage("$hw/events/other", default)));
        await Assert.ThrowsAsync<ArgumentException>(async () => await broker.PublishAsync(new MqttMessage("a/+", default)));
    }

    [Fact]
    public async Task What_was_acknowledged_is_there_after_a_crash()
    {
        using var directory = new TempDirectory();
        var file = directory.File("mqtt.db");
        await using (var broker = MqttHouse.Start(store: SqliteMqttStore.Open(file, TimeProvider.System)))
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
            var port = broker.EndPoints[0].Port;
            await using var away = await MqttHouse.Client(MqttHouse.To(port) with { ClientId = "away", SessionExpirySeconds = 1000 }).ConnectedAsync();
            await away.SubscribeAsync("jobs/#", MqttQos.ExactlyOnce);
            await away.DisposeAsync();
            await using var publisher = await MqttHouse.Client(MqttHouse.To(port)).ConnectedAsync();
            await Task.WhenAll(Enumerable.Range(0, 300).Select(i => publisher.PublishAsync($"jobs/{i % 7}", $"{i}", (MqttQos)(1 + (i % 2)))));
            await publisher.PublishAsync("state", "kept", MqttQos.AtLeastOnce, retain: true);
            await broker.PublishAsync(new MqttMessage("local", "kept too"u8.ToArray(), MqttQos.AtLeastOnce, Retain: true));

            // What a crash at this moment leaves: the files as they are, with nothing closed.
            File.Copy(file, directory.File("crashed.db"));
            File.Copy(file + "-wal", directory.File("crashed.db-wal"));
        }

        await using var again = MqttHouse.Start(store: SqliteMqttStore.Open(directory.File("crashed.db"), TimeProvider.System));
        await using var back = await MqttHouse.Client(MqttHouse.To(again.EndPoints[0].Port) with { ClientId = "away", SessionExpirySeconds = 1000, CleanStart = false }).ConnectedAsync();
        await back.WaitForAsync(300);
        Assert.Equal(Enumerable.Range(0, 300).Select(i => $"{i}"), back.Payloads);
        await back.SubscribeAsync("#");
        await back.WaitForAsync(302);
        Assert.Equal(["kept", "kept too"], back.Payloads[300..].Order());
    }

    [Fact]
    public async Task A_broker_that_is_stopped_while_its_store_is_busy_stores_what_waits_and_stops()
    {
        var store = new HeldStore();
        var broker = MqttHouse.Start(store: store);
        var first = broker.PublishAsync(Kept("first")).AsTask();
        await store.Began.WaitAsync(MqttHouse.Patience);
        // Two things to do come while the store is busy, and one signal stands for both: a change, and the stop.
        var second = broker.PublishAsync(Kept("second")).AsTask();
        var stop = broker.DisposeAsync().AsTask();
        await MqttHouse.WaitAsync(() => broker.IsStoreStopping, "the stop to reach the store");
        store.Release();
        await stop.WaitAsync(MqttHouse.Patience);
        await Task.WhenAll(first, second);
        Assert.Equal(["first", "second"], store.Retained);

        static MqttMessage Kept(string topic) => new(topic, "kept"u8.ToArray(), MqttQos.AtLeastOnce, Retain: true);
    }

    /// <summary>A store whose writes wait for a word.</summary>
    private sealed class HeldStore : IMqttStore
    {
        private readonly TaskCompletionSource _began = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Began => _began.Task;

        public List<string> Retained { get; } = [];

        public void Release() => _released.TrySetResult();

        public IReadOnlyList<MqttStoreChange> Load() => [];

        public async ValueTask WriteAsync(IReadOnlyList<MqttStoreChange> changes)
        {
            _began.TrySetResult();
            await _released.Task;
            Retained.AddRange(changes.OfType<RetainedPut>().Select(put => put.Message.Topic));
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

    [Fact]
    public async Task A_client_goes_on_when_the_broker_is_back_and_loses_nothing_it_was_given()
    {
        using var directory = new TempDirectory();
        var options = MqttHouse.Options();
        var broker = MqttHouse.Start(options, SqliteMqttStore.Open(directory.File("mqtt.db"), TimeProvider.System));
        var port = broker.EndPoints[0].Port;
        var states = new ConcurrentQueue<MqttClientState>();
        await using var subscriber = MqttHouse.Client(MqttHouse.To(port) with { ClientId = "sub", SessionExpirySeconds = 1000 });
        subscriber.Mqtt.Changed += states.Enqueue;
        await subscriber.ConnectedAsync();
        await subscriber.SubscribeAsync("t", MqttQos.ExactlyOnce);
        await using var publisher = await MqttHouse.Client(MqttHouse.To(port, MqttVersion.V311)).ConnectedAsync();
        await publisher.PublishAsync("t", "before", MqttQos.ExactlyOnce);
        await subscriber.WaitForAsync(1);
        await broker.DisposeAsync();
        await MqttHouse.WaitAsync(() => !publisher.Mqtt.IsConnected, "the end of the connection");
        var offline = Enumerable.Range(0, 50).Select(i => publisher.PublishAsync("t", $"{i}", (MqttQos)(i % 3))).ToArray();
        Assert.Equal(50, publisher.Mqtt.PendingCount);
        await using var second = MqttHouse.Start(options with { Listeners = [new MqttListenerOptions { EndPoint = new IPEndPoint(IPAddress.Loopback, port) }] }, SqliteMqttStore.Open(directory.File("mqtt.db"), TimeProvider.System));
        await Task.WhenAll(offline);
        // QoS 0 may come before the subscriber is back, and is then nobody's.
        var wanted = Enumerable.Range(0, 50).Where(i => i % 3 != 0).Select(i => $"{i}").ToArray();
        await MqttHouse.WaitAsync(() => !wanted.Except(subscriber.Payloads).Any(), "all of QoS 1 and 2");
        Assert.Equal(wanted, subscriber.Payloads[1..].Where(wanted.Contains));
        Assert.Contains(states, one => one.Reason.Contains("the broker stops", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_full_queue_follows_its_rule_and_calls_end()
    {
        using var nobody = new Socket(SocketType.Stream, ProtocolType.Tcp);
        nobody.Bind(new IPEndPoint(IPAddress.Loopback, 0)); // not listening: refused
        var port = ((IPEndPoint)nobody.LocalEndPoint!).Port;
        var oldest = MqttHouse.Client(MqttHouse.To(port) with { QueueMax = 2 });
        var first = oldest.PublishAsync("t", "1");
        var second = oldest.PublishAsync("t", "2");
        var third = oldest.PublishAsync("t", "3");
        Assert.Equal(MqttReasonCode.QuotaExceeded, (await Assert.ThrowsAsync<MqttClientException>(() => first)).Code);
        Assert.Equal((1, 2), (oldest.Mqtt.DroppedCount, oldest.Mqtt.PendingCount));
        await oldest.DisposeAsync();
        await Assert.ThrowsAsync<MqttClientException>(() => second);
        await Assert.ThrowsAsync<MqttClientException>(() => third);

        await using var refuse = MqttHouse.Client(MqttHouse.To(port) with { QueueMax = 1, QueueFull = MqttQueueFullRule.RefuseNew });
        _ = refuse.PublishAsync("t", "1");
        await Assert.ThrowsAsync<MqttClientException>(() => refuse.PublishAsync("t", "2"));
    }

    [Fact]
    public async Task Connections_beyond_the_bound_are_closed_and_the_others_go_on()
    {
        await using var broker = MqttHouse.Start(MqttHouse.Options() with { ConnectionsMax = 2 });
        var port = broker.EndPoints[0].Port;
        using var one = await MqttHouse.RawAsync(port, "1");
        using var two = await MqttHouse.RawAsync(port, "2");
        using var three = await RawClient.OpenAsync(port);
        await three.ExpectEndAsync();
        await one.SendAsync(MqttEncoder.PingReq.ToArray());
        Assert.Equal(MqttPacketType.PingResp, (await one.ReadAsync()).Type);
        two.Dispose();
        await MqttHouse.WaitAsync(() => broker.ConnectedCount == 1, "the end of the second");
        using var four = await MqttHouse.RawAsync(port, "4");
    }

    [Fact]
    public async Task A_broker_that_cannot_start_leaves_the_store_to_its_caller_and_no_taker_running()
    {
        using var busy = new Socket(SocketType.Stream, ProtocolType.Tcp);
        busy.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        busy.Listen();
        using var directory = new TempDirectory();
        var store = SqliteMqttStore.Open(directory.File("mqtt.db"), TimeProvider.System);
        var free = new MqttListenerOptions { EndPoint = new IPEndPoint(IPAddress.Loopback, 0) };
        Assert.Throws<SocketException>(() => MqttHouse.Start(MqttHouse.Options(free, free with { EndPoint = (IPEndPoint)busy.LocalEndPoint! }), store));
        Assert.Throws<ArgumentException>(() => MqttHouse.Start(MqttHouse.Options(free) with { PacketSizeMax = 1 }, store));
        // It serves still, and is closed by who opened it.
        await store.WriteAsync([new SessionPut("c", null, 100, 0, null)]);
        Assert.Single(store.Load());
        await store.DisposeAsync();
        Assert.False(File.Exists(directory.File("mqtt.db-wal")));
    }

    [Fact]
    public void Options_that_cannot_work_are_refused_with_their_name()
    {
        foreach (var (options, name) in ((MqttBrokerOptions, string)[])[
            (MqttHouse.Options() with { AllowAnonymous = false }, nameof(MqttBrokerOptions.AllowAnonymous)), (MqttHouse.Options() with { PacketSizeMax = 1 }, nameof(MqttBrokerOptions.PacketSizeMax)),
            (MqttHouse.Options() with { Acl = [new("*", "a/#/b", MqttAccess.Read)] }, "a/#/b"), (MqttHouse.Options() with { Users = [new("ann", "plain")] }, "ann")])
        {
            Assert.Contains(name, Assert.Throws<ArgumentException>(() => MqttHouse.Start(options)).Message, StringComparison.Ordinal);
        }
    }

    private static X509Certificate2 Certificate(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        using var made = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        // SslStream wants a key that is not ephemeral on some systems; through PKCS#12 it is the same everywhere.
        return X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
    }
}
