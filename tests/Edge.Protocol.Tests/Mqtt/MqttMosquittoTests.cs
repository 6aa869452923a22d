using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Edge.Local.Processes;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Broker;
using Edge.Protocol.Mqtt.Codec;
using Edge.Testing;

namespace Edge.Protocol.Tests;

/// <summary>Our client against the mosquitto broker, and mosquitto's clients against our broker.</summary>
[Trait("Category", "Devices")]
public sealed class MqttMosquittoTests
{
    public static TheoryData<MqttVersion> Versions => [MqttVersion.V311, MqttVersion.V5];

    [SkippableTheory]
    [MemberData(nameof(Versions))]
    public async Task The_client_does_all_qos_retained_and_large_messages_with_mosquitto(MqttVersion version)
    {
        Mosquitto.RequireBroker();
        await using var mosquitto = await Mosquitto.StartAsync();
        await using var client = await MqttHouse.Client(MqttHouse.To(mosquitto.Port, version)).ConnectedAsync();
        await client.PublishAsync("kept", "retained", MqttQos.AtLeastOnce, retain: true);
        await client.SubscribeAsync("kept", MqttQos.AtLeastOnce);
        await client.WaitForAsync(1);
        Assert.True(client.Got.First().Retain);
        await client.SubscribeAsync("t/#", MqttQos.ExactlyOnce);
        // In batches: mosquitto drops what goes beyond its own window and queue.
        for (var i = 0; i < 300; i += 15)
        {
            await Task.WhenAll(Enumerable.Range(i, 15).Select(n => client.PublishAsync($"t/{n % 5}", $"{n}", (MqttQos)(n % 3))));
            await client.WaitForAsync(1 + i + 15);
        }

        Assert.Equal(Enumerable.Range(0, 300).Select(i => $"{i}").Order(), client.Payloads[1..].Order());
        Assert.All(client.Got.Skip(1), one => Assert.Equal(int.Parse(Encoding.UTF8.GetString(one.Payload.Span)) % 3, (int)one.Qos));
        await client.PublishAsync("t/large", new string('x', 1_000_000), MqttQos.ExactlyOnce);
        await client.WaitForAsync(302);
        Assert.Equal(1_000_000, client.Got.Last().Payload.Length);
        await client.Mqtt.UnsubscribeAsync("t/#").WaitAsync(MqttHouse.Patience);
        await client.PublishAsync("t/1", "nobody's", MqttQos.AtLeastOnce);
        await client.PublishAsync("kept", "last", MqttQos.AtLeastOnce);
        await client.WaitForAsync(303);
        Assert.Equal("last", client.Payloads[^1]);
    }

    [SkippableFact]
    public async Task The_client_speaks_version_5s_properties_aliases_and_shared_subscriptions_with_mosquitto()
    {
        Mosquitto.RequireBroker();
        await using var mosquitto = await Mosquitto.StartAsync();
        await using var one = await MqttHouse.Client(MqttHouse.To(mosquitto.Port)).ConnectedAsync();
        await using var two = await MqttHouse.Client(MqttHouse.To(mosquitto.Port)).ConnectedAsync();
        Assert.StartsWith("auto-", one.Mqtt.ClientId, StringComparison.OrdinalIgnoreCase);
        await one.Mqtt.SubscribeAsync(new MqttTopicFilter("request/+", new(MqttQos.AtLeastOnce)), identifier: 42).WaitAsync(MqttHouse.Patience);
        var properties = new MqttProperties { ResponseTopic = "answer/1", CorrelationData = "id"u8.ToArray(), ContentType = "text/plain", PayloadFormatIndicator = 1, MessageExpiryInterval = 100, UserProperties = [new("a", "1"), new("a", "2")] };
        // The second and third go by alias where mosquitto allows one (ten by default).
        for (var i = 0; i < 3; i++)
            await two.PublishAsync("request/long-name", $"{i}", MqttQos.AtLeastOnce, properties: properties);
        await one.WaitForAsync(3);
        Assert.Equal(["0", "1", "2"], one.Payloads);
        Assert.All(one.Got, message =>
        {
            Assert.Equal("request/long-name", message.Topic);
            Assert.Equal(("answer/1", "text/plain", (byte?)1), (message.Properties.ResponseTopic, message.Properties.ContentType, message.Properties.PayloadFormatIndicator));
            Assert.Equal(properties.UserProperties, message.Properties.UserProperties);
            Assert.Equal([42u], message.Properties.SubscriptionIdentifiers);
        });
        foreach (var client in (TestClient[])[one, two])
            await client.SubscribeAsync("$share/g/work", MqttQos.AtLeastOnce);
        for (var i = 0; i < 10; i++)
            await one.PublishAsync("work", $"w{i}", MqttQos.AtLeastOnce);
        await MqttHouse.WaitAsync(() => one.Got.Count + two.Got.Count >= 13, "ten pieces of work");
        Assert.Equal(Enumerable.Range(0, 10).Select(i => $"w{i}"), one.Payloads[3..].Concat(two.Payloads).Order());
    }

    [SkippableTheory]
    [MemberData(nameof(Versions))]
    public async Task The_client_survives_a_kill_of_mosquitto(MqttVersion version)
    {
        Mosquitto.RequireBroker();
        await using var mosquitto = await Mosquitto.StartAsync();
        await using var client = await MqttHouse.Client(MqttHouse.To(mosquitto.Port, version) with { ClientId = "c", SessionExpirySeconds = 100 }).ConnectedAsync();
        await client.SubscribeAsync("t", MqttQos.ExactlyOnce);
        await mosquitto.KillAsync();
        await MqttHouse.WaitAsync(() => !client.Mqtt.IsConnected, "the end of the connection");
        var offline = Enumerable.Range(0, 20).Select(i => client.PublishAsync("t", $"{i}", (MqttQos)(1 + (i % 2)))).ToArray();
        await mosquitto.RestartAsync();
        await Task.WhenAll(offline);
        // mosquitto forgot the session: the client subscribes anew, though what it had queued may be faster than that.
        await client.PublishAsync("t", "after", MqttQos.AtLeastOnce);
        await MqttHouse.WaitAsync(() => client.Payloads.Contains("after") || client.PublishAsync("t", "after", MqttQos.AtLeastOnce).GetAwaiter().GetResult() > MqttReasonCode.PacketTooLarge, "a message over the new subscription");
    }

    [SkippableTheory]
    [MemberData(nameof(Versions))]
    public async Task Mosquittos_will_and_password_refusal_reach_the_client(MqttVersion version)
    {
        Mosquitto.RequireBroker();
        await using var mosquitto = await Mosquitto.StartAsync();
        await using var watcher = await MqttHouse.Client(MqttHouse.To(mosquitto.Port, version)).ConnectedAsync();
        await watcher.SubscribeAsync("will");
        using (var dying = await RawClient.OpenAsync(mosquitto.Port, version))
        {
            await dying.SendAsync(MqttEncoder.Connect(new MqttConnect { Version = version, ClientId = "d", CleanStart = true, Will = new MqttWill("will", "gone"u8.ToArray(), MqttQos.AtLeastOnce, false) }));
            Assert.Equal(MqttReasonCode.Success, MqttDecoder.ConnAck((await dying.ReadAsync()).Body, version).Code);
        }

        await watcher.WaitForAsync(1);
        Assert.Equal("gone", watcher.Payloads[0]);

        await using var strict = await Mosquitto.StartAsync("allow_anonymous false");
        var reasons = new System.Collections.Concurrent.ConcurrentQueue<string>();
        await using var refused = MqttHouse.Client(MqttHouse.To(strict.Port, version));
        refused.Mqtt.Changed += state => reasons.Enqueue(state.Reason);
        await MqttHouse.WaitAsync(() => reasons.Any(one => one.Contains("refused the connection", StringComparison.Ordinal)), "a refusal");
    }

    [SkippableTheory]
    [InlineData("31")]
    [InlineData("311")]
    [InlineData("5")]
    public async Task Mosquittos_clients_publish_and_subscribe_at_every_qos_here(string v)
    {
        Mosquitto.RequireClients();
        await using var broker = MqttHouse.Start();
        var port = broker.EndPoints[0].Port;
        await PublishAsync(port, "-V", v, "-t", "kept", "-m", "retained", "-r", "-q", "1");
        await using var sub = await MosquittoSub.StartAsync(port, "-V", v, "-t", "a/+", "-t", "kept", "-q", "2", "-F", "%t %q %r %p");
        for (var qos = 0; qos < 3; qos++)
            await PublishAsync(port, "-V", v, "-t", $"a/{qos}", "-m", $"hello {qos}", "-q", $"{qos}");
        await sub.WaitForAsync(4);
        Assert.Equal(["kept 1 1 retained", "a/0 0 0 hello 0", "a/1 1 0 hello 1", "a/2 2 0 hello 2"], sub.Lines);

        // A line a message, all QoS 2, through one connection.
        var lines = string.Join('\n', Enumerable.Range(0, 200).Select(i => $"line {i}"));
        await Tool.RunAsync("mosquitto_pub", ["-h", "127.0.0.1", "-p", $"{port}", "-V", v, "-t", "a/x", "-q", "2", "-l"], new ToolOptions(TimeProvider.System) { Input = lines }, CancellationToken.None);
        await sub.WaitForAsync(204);
        Assert.Equal(Enumerable.Range(0, 200).Select(i => $"a/x 2 0 line {i}"), sub.Lines[4..]);
    }

    [SkippableTheory]
    [MemberData(nameof(Versions))]
    public async Task A_session_keeps_messages_for_mosquitto_sub_while_it_is_away(MqttVersion version)
    {
        Mosquitto.RequireClients();
        await using var broker = MqttHouse.Start();
        var port = broker.EndPoints[0].Port;
        string[] arguments = version == MqttVersion.V5 ? ["-V", "5", "-c", "-x", "1000", "-i", "away"] : ["-V", "311", "-c", "-i", "away"];
        await using (await MosquittoSub.StartAsync(port, [.. arguments, "-t", "t", "-q", "1"]))
        {
            // It only subscribes; the session stays.
        }

        await MqttHouse.WaitAsync(() => broker.ConnectedCount == 0, "its end");
        await PublishAsync(port, "-t", "t", "-m", "while away", "-q", "1");
        await using var back = await MosquittoSub.StartAsync(port, [.. arguments, "-t", "t", "-q", "1"]);
        await back.WaitForAsync(1);
        Assert.Equal(["while away"], back.Lines);
    }

    [SkippableFact]
    public async Task Mosquittos_clients_use_version_5_here_wills_properties_expiry_and_shares()
    {
        Mosquitto.RequireClients();
        await using var broker = MqttHouse.Start();
        var port = broker.EndPoints[0].Port;
        await using var sub = await MosquittoSub.StartAsync(port, "-V", "5", "-t", "p/#", "-q", "2", "-F", "%t|%p|%C|%R|%D|%P|%S|%E", "-D", "subscribe", "subscription-identifier", "9");
        foreach (var payload in (string[])["x", "y"])
        {
            await PublishAsync(port, "-V", "5", "-t", "p/1", "-m", payload, "-q", "1", "-D", "publish", "content-type", "text", "-D", "publish", "response-topic", "back", "-D", "publish", "correlation-data", "id",
                "-D", "publish", "user-property", "k", "v", "-D", "publish", "message-expiry-interval", "50");
        }

        await sub.WaitForAsync(2);
        Assert.Equal(["p/1|x|text|back|id|k:v|9|50", "p/1|y|text|back|id|k:v|9|50"], sub.Lines);
        await using (var dying = await MosquittoSub.StartAsync(port, "-V", "5", "-t", "nothing", "--will-topic", "p/will", "--will-payload", "gone", "--will-qos", "1"))
        {
            // Killed at the end of this block: its socket closes without DISCONNECT.
        }

        await sub.WaitForAsync(3);
        Assert.StartsWith("p/will|gone|", sub.Lines[2], StringComparison.Ordinal);
        await using var left = await MosquittoSub.StartAsync(port, "-V", "5", "-t", "$share/g/s", "-q", "1");
        await using var right = await MosquittoSub.StartAsync(port, "-V", "5", "-t", "$share/g/s", "-q", "1");
        for (var i = 0; i < 6; i++)
            await PublishAsync(port, "-V", "5", "-t", "s", "-m", $"{i}", "-q", "1");
        await MqttHouse.WaitAsync(() => left.Lines.Length + right.Lines.Length == 6, "six messages between the two");
        Assert.Equal((3, 3), (left.Lines.Length, right.Lines.Length));
    }

    [SkippableFact]
    public async Task Mosquitto_pub_connects_over_tls_with_a_password()
    {
        Mosquitto.RequireClients();
        using var directory = new TempDirectory();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        await File.WriteAllTextAsync(directory.File("ca.pem"), certificate.ExportCertificatePem());
        await using var broker = MqttHouse.Start(MqttHouse.Options(new MqttListenerOptions
        {
            EndPoint = new IPEndPoint(IPAddress.Loopback, 0),
            Tls = () => new SslServerAuthenticationOptions { ServerCertificate = certificate },
        }) with { AllowAnonymous = false, Users = [new MqttUser("ann", MqttPassword.Hash("pass", 1000))] });
        var heard = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var local = broker.SubscribeLocal("t", message =>
        {
            heard.TrySetResult(Encoding.UTF8.GetString(message.Payload.Span));
            return ValueTask.CompletedTask;
        });
        string[] arguments = ["-h", "localhost", "-p", $"{broker.EndPoints[0].Port}", "--cafile", directory.File("ca.pem"), "-u", "ann", "-t", "t", "-q", "1", "-m", "secret"];
        await Tool.RunAsync("mosquitto_pub", [.. arguments, "-P", "pass"], new ToolOptions(TimeProvider.System), CancellationToken.None);
        Assert.Equal("secret", await heard.Task.WaitAsync(MqttHouse.Patience));
        var refused = await Assert.ThrowsAsync<ToolException>(() => Tool.RunAsync("mosquitto_pub", [.. arguments, "-P", "wrong"], new ToolOptions(TimeProvider.System), CancellationToken.None));
        Assert.Contains("refused: bad user name or password", refused.Message, StringComparison.OrdinalIgnoreCase);
    }

    [SkippableTheory]
    [InlineData("")] // as installed: version 3.1.1, and the bridge's private bit of the protocol level
    [InlineData("bridge_protocol_version mqttv31")]
    [InlineData("bridge_protocol_version mqttv50")]
    public async Task A_mosquitto_bridge_carries_messages_both_ways_and_none_back(string setting)
    {
        Mosquitto.RequireBroker();
        await using var broker = MqttHouse.Start();
        var port = broker.EndPoints[0].Port;
        // A shorter wait than the default of 5 s, should it need a second try.
        await using var mosquitto = await Mosquitto.StartAsync($"connection edge\naddress 127.0.0.1:{port}\ntopic up/# out 2\ntopic down/# in 2\ntopic both/# both 1\nrestart_timeout 1\n{setting}");
        await using var here = await MqttHouse.Client(MqttHouse.To(port)).ConnectedAsync();
        await using var there = await MqttHouse.Client(MqttHouse.To(mosquitto.Port)).ConnectedAsync();
        await here.SubscribeAsync("$SYS/broker/connection/+/state", MqttQos.AtLeastOnce);
        await here.WaitForAsync(1);
        await MqttHouse.WaitAsync(() => here.Payloads[^1] == "1", "the bridge to say that it stands");
        foreach (var topic in (string[])["down/probe", "both/probe"])
        {
            // Its subscriptions follow: until then nobody takes this.
            while (await here.PublishAsync(topic, "probe", MqttQos.AtLeastOnce) == MqttReasonCode.NoMatchingSubscribers)
                await Task.Yield();
        }

        await here.SubscribeAsync("up/#", MqttQos.ExactlyOnce);
        await here.SubscribeAsync("both/#", MqttQos.ExactlyOnce);
        await there.SubscribeAsync("down/#", MqttQos.ExactlyOnce);
        await there.SubscribeAsync("both/#", MqttQos.ExactlyOnce);
        var before = here.Got.Count;
        for (var i = 0; i < 3; i++)
        {
            await there.PublishAsync("up/a", $"up {i}", (MqttQos)i);
            await here.PublishAsync("down/a", $"down {i}", (MqttQos)i);
        }

        await here.PublishAsync("down/kept", "kept", MqttQos.AtLeastOnce, retain: true);
        await here.PublishAsync("both/a", "from here", MqttQos.AtLeastOnce);
        await there.PublishAsync("both/b", "from there", MqttQos.AtLeastOnce);
        await MqttHouse.WaitAsync(() => here.Got.Count >= before + 5 && there.Payloads.Count(one => one != "probe") >= 6, "five and six messages");
        // Were one sent back it would have been before these.
        await there.PublishAsync("up/end", "end", MqttQos.AtLeastOnce);
        await here.PublishAsync("down/end", "end", MqttQos.AtLeastOnce);
        await MqttHouse.WaitAsync(() => here.Payloads[^1] == "end" && there.Payloads[^1] == "end", "the last of both");
        Assert.Equal(["end", "from here", "from there", "up 0", "up 1", "up 2"], here.Payloads[before..].Order());
        Assert.Equal(["down 0", "down 1", "down 2", "end", "from here", "from there", "kept"], there.Payloads.Where(one => one != "probe").Order());
        await using var late = await MqttHouse.Client(MqttHouse.To(mosquitto.Port)).ConnectedAsync();
        await late.SubscribeAsync("down/kept", MqttQos.AtLeastOnce);
        await late.WaitForAsync(1); // the flag went with it
        await mosquitto.KillAsync();
        await MqttHouse.WaitAsync(() => here.Payloads[^1] == "0", "the bridge's will");
    }

    private static Task PublishAsync(int port, params string[] arguments)
        => Tool.RunAsync("mosquitto_pub", ["-h", "127.0.0.1", "-p", $"{port}", .. arguments], new ToolOptions(TimeProvider.System), CancellationToken.None);
}
