using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Edge.Common.Configuration;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Protocol.Messages;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Core.Tests.EventBus;

/// <content>Ports of the embedded broker, who is let in, and its limits, all by edgecore.yaml.</content>
public sealed partial class EventBusTests
{
    private readonly CertificateFiles _certificates = new();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Applications_read_twins_over_WebSockets_with_TLS_and_without(bool withTls)
    {
        var (certificate, key) = _certificates.Issue("broker");
        var bus = await StartAsync(Parse($"""
            mqttMode: 0
                mqttServerInternal: tcp://127.0.0.1:0
                {(withTls ? "mqttServerInternalWebSocketTLS: wss" : "mqttServerInternalWebSocket: ws")}://127.0.0.1:0
                serverTLS: {"{"}certFile: {certificate}, keyFile: {key}{"}"}
                users: {"{"}ann: {MqttPassword.Hash("sesame", 1)}{"}"}
            """).EventBus);
        Assert.Equal((withTls, !withTls), (bus.WebSocketTlsEndPoint is not null, bus.WebSocketEndPoint is not null));
        var uri = new Uri(withTls ? $"wss://127.0.0.1:{bus.WebSocketTlsEndPoint!.Port}/mqtt" : $"ws://127.0.0.1:{bus.WebSocketEndPoint!.Port}/mqtt");

        using var refused = await OpenAsync(uri);
        await SendAsync(refused, 0x10, Connect("ann", "wrong"));
        Assert.Equal([0x20, 2, 0, 4], await ReceiveAsync(refused, bytes => bytes.Length >= 4)); // 4: bad user name or password

        using var socket = await OpenAsync(uri);
        await SendAsync(socket, 0x10, Connect("ann", "sesame"));
        Assert.Equal([0x20, 2, 0, 0], await ReceiveAsync(socket, bytes => bytes.Length >= 4));
        await SendAsync(socket, 0x82, [0, 1, .. Text("$hw/events/device/default/thermo/twin/get/result"), 0]);
        Assert.Equal([0x90, 3, 0, 1, 0], await ReceiveAsync(socket, bytes => bytes.Length >= 5));
        await SendAsync(socket, 0x30, [.. Text("$hw/events/device/default/thermo/twin/get"), .. """{"event_id":"over-websocket"}"""u8]);
        Assert.Contains("over-websocket", Encoding.UTF8.GetString(await ReceiveAsync(socket, bytes => Encoding.UTF8.GetString(bytes).Contains("over-websocket", StringComparison.Ordinal))), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Users_show_their_password_or_with_SCRAM_that_they_know_it()
    {
        var bus = await StartAsync(Parse($"""
            mqttMode: 0
                mqttServerInternal: tcp://127.0.0.1:0
                users: {"{"}plain: {MqttPassword.Hash("sesame", 1)}, scram: {MqttPassword.HashForScram("sesame")}{"}"}
                acl: ["scram scram/user/# write", "plain plain/user/# write"]
            """).EventBus);
        foreach (var user in (string[])["plain", "scram"])
        {
            await using var client = Start(new MqttClientOptions
            {
                Host = "127.0.0.1", Port = bus.EndPoint!.Port, Version = MqttVersion.V5, UserName = user, Password = "sesame"u8.ToArray(), IsScram = user == "scram",
            });
            await client.PublishAsync(new MqttMessage($"{user}/user/alarm", "hot"u8.ToArray(), MqttQos.AtLeastOnce)).WaitAsync(s_patience);
        }

        Assert.Equal(2, _uplink.Entries.Count(one => one.Key.StartsWith("user/", StringComparison.Ordinal)));
        await Assert.ThrowsAsync<InvalidOperationException>(() => ConnectAsync(bus.EndPoint!.Port, "plain", "wrong", isScram: false));
        await Assert.ThrowsAsync<InvalidOperationException>(() => ConnectAsync(bus.EndPoint!.Port, "scram", "wrong", isScram: true));
        await Assert.ThrowsAsync<InvalidOperationException>(() => ConnectAsync(bus.EndPoint!.Port, null, "", isScram: false)); // users, so nobody is anonymous
    }

    [Fact]
    public async Task Where_anonymous_clients_are_let_in_a_wrong_name_is_not()
    {
        var bus = await StartAsync(Parse($"""
            mqttMode: 0
                mqttServerInternal: tcp://127.0.0.1:0
                users: {"{"}ann: {MqttPassword.Hash("sesame", 1)}{"}"}
                allowAnonymous: true
            """).EventBus);
        await ConnectAsync(bus.EndPoint!.Port, null, "", isScram: false);
        await ConnectAsync(bus.EndPoint.Port, "ann", "sesame", isScram: false);
        await Assert.ThrowsAsync<InvalidOperationException>(() => ConnectAsync(bus.EndPoint.Port, "bob", "sesame", isScram: false));
    }

    [SkippableFact]
    public async Task Where_certificates_are_optional_a_password_serves_too()
    {
        Mosquitto.RequireClients();
        using var others = new CertificateFiles();
        var (server, press, stranger) = (_certificates.Issue("broker"), _certificates.Issue("press1"), others.Issue("press1"));
        var bus = await StartAsync(Parse($"""
            mqttMode: 0
                mqttServerInternal: tcp://127.0.0.1:0
                mqttServerInternalTLS: ssl://127.0.0.1:0
                serverTLS: {"{"}certFile: {server.Certificate}, keyFile: {server.Key}, clientCAFile: {_certificates.Ca}, clientCertificateOptional: true{"}"}
                users: {"{"}ann: {MqttPassword.Hash("sesame", 1)}{"}"}
                acl: ["press1 press1/user/# write", "ann ann/user/# write"]
            """).EventBus);
        var port = bus.TlsEndPoint!.Port;
        string[] tls = ["-q", "1", "-V", "mqttv5", "--cafile", _certificates.Ca];
        await PublishAsync(port, "press1/user/alarm", "hot", [.. tls, "--cert", press.Certificate, "--key", press.Key]);
        await PublishAsync(port, "ann/user/alarm", "hot", [.. tls, "-u", "ann", "-P", "sesame"]);
        Assert.Equal(2, _uplink.Entries.Count(one => one.Key.StartsWith("user/", StringComparison.Ordinal)));
        Assert.NotEqual(0, (await TryPublishAsync(port, "ann/user/alarm", "hot", [.. tls, "-u", "ann", "-P", "wrong"])).Code);
        Assert.NotEqual(0, (await TryPublishAsync(port, "ann/user/alarm", "hot", tls)).Code);
        Assert.NotEqual(0, (await TryPublishAsync(port, "press1/user/alarm", "hot", [.. tls, "--cert", stranger.Certificate, "--key", stranger.Key])).Code);
        Assert.NotEqual(0, (await TryPublishAsync(port, "ann/user/alarm", "hot", [.. tls, "--cert", stranger.Certificate, "--key", stranger.Key, "-u", "ann", "-P", "sesame"])).Code);
        Assert.Equal(2, _uplink.Entries.Count(one => one.Key.StartsWith("user/", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task The_brokers_limits_are_those_of_the_file()
    {
        var bus = await StartAsync(Parse("""
            mqttMode: 0
                mqttServerInternal: tcp://127.0.0.1:0
                broker: {retainedMax: 1, packetSizeMax: 2000, connectionsMax: 1}
            """).EventBus);
        await using var client = Client(bus.EndPoint!.Port);
        await client.PublishAsync(new MqttMessage("kept/1", "x"u8.ToArray(), MqttQos.AtLeastOnce, Retain: true)).WaitAsync(s_patience);
        var full = await Assert.ThrowsAsync<MqttClientException>(() => client.PublishAsync(new MqttMessage("kept/2", "x"u8.ToArray(), MqttQos.AtLeastOnce, Retain: true)).WaitAsync(s_patience));
        Assert.Equal(MqttReasonCode.QuotaExceeded, full.Code);
        await Assert.ThrowsAsync<MqttClientException>(() => client.PublishAsync(new MqttMessage("large", new byte[4000], MqttQos.AtLeastOnce)).WaitAsync(s_patience));
        using var second = new TcpClient();
        await second.ConnectAsync(bus.EndPoint);
        Assert.Equal(0, await second.GetStream().ReadAsync(new byte[1]).AsTask().WaitAsync(s_patience)); // closed at once
    }

    [Fact]
    public async Task A_port_that_is_taken_leaves_no_store_open_and_an_impossible_option_is_the_configs_mistake()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var busy = new EventBusOptions { Enable = true, Mode = 0, Internal = (IPEndPoint)taken.LocalEndpoint };
        for (var i = 0; i < 3; i++)
            await Assert.ThrowsAsync<SocketException>(() => StartAsync(busy));
        Assert.DoesNotContain(OpenFiles(), file => file.StartsWith(_directory.File("mqtt.db"), StringComparison.Ordinal));

        var wrong = busy with { Internal = new IPEndPoint(IPAddress.Loopback, 0), Acl = [new MqttAclRule("*", "a/#/b", MqttAccess.Read)] };
        var e = await Assert.ThrowsAsync<ConfigException>(() => StartAsync(wrong));
        Assert.Contains("modules.eventBus: the ACL pattern 'a/#/b'", e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(OpenFiles(), file => file.StartsWith(_directory.File("mqtt.db"), StringComparison.Ordinal));
    }

    [Fact]
    public async Task An_upload_that_is_no_text_is_refused_where_its_publisher_hears_it_and_has_replacements_else()
    {
        var bus = await StartAsync(new EventBusOptions { Enable = true, Mode = 0, Internal = new IPEndPoint(IPAddress.Loopback, 0) });
        byte[] payload = [(byte)'a', 0xff, (byte)'b'];
        await using var client = Client(bus.EndPoint!.Port);
        var refused = await Assert.ThrowsAsync<MqttClientException>(() => client.PublishAsync(new MqttMessage("a/user/b", payload, MqttQos.AtLeastOnce)).WaitAsync(s_patience));
        Assert.Equal(MqttReasonCode.PayloadFormatInvalid, refused.Code);
        Assert.Empty(_uplink.Entries);
        await using var old = Client(bus.EndPoint!.Port, MqttVersion.V311);
        await old.PublishAsync(new MqttMessage("a/user/b", payload, MqttQos.AtLeastOnce)).WaitAsync(s_patience);
        Assert.Equal("a\ufffdb", System.Text.Json.Nodes.JsonNode.Parse(_uplink.Entries.Single().Content.Span)!.GetValue<string>());
    }

    // Other tests of this process open and close files meanwhile: one that is gone by the time it is asked for has no target.
    private static string[] OpenFiles()
        => [.. Directory.EnumerateFiles("/proc/self/fd").Select(fd => new FileInfo(fd).LinkTarget ?? "")];

    private static MqttClient Start(MqttClientOptions options) => MqttClient.Start(options, _ => ValueTask.CompletedTask, TimeProvider.System, new Random(3), NullLoggerFactory.Instance);

    // Throws InvalidOperationException with the reason where the broker refuses.
    private static async Task ConnectAsync(int port, string? user, string password, bool isScram)
    {
        await using var client = Start(new MqttClientOptions
        {
            Host = "127.0.0.1", Port = port, Version = MqttVersion.V5, UserName = user, Password = user is null ? null : (ReadOnlyMemory<byte>?)Encoding.UTF8.GetBytes(password), IsScram = isScram,
        });
        var refused = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        client.Changed += state =>
        {
            if (!state.IsConnected)
                refused.TrySetException(new InvalidOperationException(state.Reason));
        };
        await await Task.WhenAny(client.WaitConnectedAsync(default), refused.Task).WaitAsync(s_patience);
    }

    private async Task<ClientWebSocket> OpenAsync(Uri uri)
    {
        var socket = new ClientWebSocket();
        socket.Options.AddSubProtocol("mqtt");
        using var ca = X509CertificateLoader.LoadCertificateFromFile(_certificates.Ca);
        var chain = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        chain.CustomTrustStore.Add(ca);
        using var handler = new SocketsHttpHandler { SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = chain } };
        using var invoker = new HttpMessageInvoker(handler, disposeHandler: false);
        await socket.ConnectAsync(uri, invoker, default).WaitAsync(s_patience);
        Assert.Equal("mqtt", socket.SubProtocol);
        return socket;
    }

    private static byte[] Text(string text) => [(byte)(Encoding.UTF8.GetByteCount(text) >> 8), (byte)Encoding.UTF8.GetByteCount(text), .. Encoding.UTF8.GetBytes(text)];

    // MQTT 3.1.1, 3.1: clean session, user name, password, 60 s.
    private static byte[] Connect(string user, string password) => [.. Text("MQTT"), 4, 0b1100_0010, 0, 60, .. Text("browser"), .. Text(user), .. Text(password)];

    private static async Task SendAsync(ClientWebSocket socket, byte type, byte[] body)
    {
        Assert.InRange(body.Length, 0, 127); // one byte of length
        await socket.SendAsync(new[] { type, (byte)body.Length }.Concat(body).ToArray(), WebSocketMessageType.Binary, endOfMessage: true, default).WaitAsync(s_patience);
    }

    private static async Task<byte[]> ReceiveAsync(ClientWebSocket socket, Func<byte[], bool> isWhole)
    {
        byte[] all = [];
        var buffer = new byte[4096];
        while (!isWhole(all))
        {
            var got = await socket.ReceiveAsync(buffer, default).WaitAsync(s_patience);
            Assert.Equal(WebSocketMessageType.Binary, got.MessageType);
            all = [.. all, .. buffer[..got.Count]];
        }

        return all;
    }
}
