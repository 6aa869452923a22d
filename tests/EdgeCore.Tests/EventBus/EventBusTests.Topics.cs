using System.Net;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Protocol.Mqtt;
using Edge.Protocol.Mqtt.Client;
using Edge.Protocol.Mqtt.Codec;
using Edge.Testing;
using Xunit;

namespace Edge.Core.Tests.EventBus;

/// <content>Each of KubeEdge's topics on a real broker, in each mode.</content>
public sealed partial class EventBusTests
{
    private const string Thermo = "$hw/events/device/default/thermo/";

    [SkippableFact]
    public async Task In_mode_1_applications_of_both_brokers_are_served_and_hear_of_each_other()
    {
        Mosquitto.RequireClients();
        Mosquitto.RequireBroker();
        await using var mosquitto = await Mosquitto.StartAsync();
        var bus = await StartAsync(new EventBusOptions
        {
            Enable = true, Mode = 1, Internal = new IPEndPoint(IPAddress.Loopback, 0), External = new MqttAddress("127.0.0.1", mosquitto.Port, false),
        });
        await TalkAsync(bus.EndPoint!.Port);
        await TalkAsync(mosquitto.Port);
        await using var outside = await MosquittoSub.StartAsync(mosquitto.Port, "-v", "-t", Thermo + "twin/update/document");
        await using var inside = await MosquittoSub.StartAsync(bus.EndPoint.Port, "-v", "-t", Thermo + "twin/update/document");
        await ReportAsync(bus.EndPoint.Port, "4001");
        await ReportAsync(mosquitto.Port, "4002");
        foreach (var value in (string[])["4001", "4002"])
        {
            await UntilAsync(() => outside.Lines.Any(line => line.Contains(value, StringComparison.Ordinal)), $"{value} at the external broker");
            await UntilAsync(() => inside.Lines.Any(line => line.Contains(value, StringComparison.Ordinal)), $"{value} at the embedded broker");
        }

        await PublishAsync(mosquitto.Port, "outside/user/x", "up", "-q", "1");
        await PublishAsync(bus.EndPoint.Port, "inside/user/x", "up", "-q", "1");
        await UploadedAsync("outside/user/x");
        await UploadedAsync("inside/user/x");

        // The external one may go: the embedded one goes on.
        await mosquitto.KillAsync();
        await PublishAsync(bus.EndPoint.Port, "inside/user/y", "up", "-q", "1");
        await UploadedAsync("inside/user/y");
    }

    [SkippableFact]
    public async Task An_external_broker_with_TLS_a_certificate_and_a_password_is_spoken_to()
    {
        Mosquitto.RequireBroker();
        await using var mosquitto = await Mosquitto.StartAsync(_certificates.Mosquitto("edge", "sesame"));
        var mine = _certificates.Issue("edge-1");
        await StartAsync(Parse($"""
            mqttMode: 2
                mqttServerExternal: ssl://127.0.0.1:{mosquitto.Port}
                mqttUsername: edge
                mqttPassword: sesame
                tls: {"{"}enable: true, tlsMqttCAFile: {_certificates.Ca}, tlsMqttCertFile: {mine.Certificate}, tlsMqttPrivateKeyFile: {mine.Key}{"}"}
            """).EventBus);

        var heard = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        var chain = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        chain.CustomTrustStore.ImportFromPemFile(_certificates.Ca);
        var (certificate, key) = _certificates.Issue("application");
        using var own = X509Certificate2.CreateFromPemFile(certificate, key);
        await using var application = MqttClient.Start(
            new MqttClientOptions
            {
                Host = "127.0.0.1", Port = mosquitto.Port, UserName = "edge", Password = "sesame"u8.ToArray(),
                Tls = new SslClientAuthenticationOptions { TargetHost = "127.0.0.1", CertificateChainPolicy = chain, ClientCertificates = [own] },
            },
            message =>
            {
                heard.TrySetResult(Encoding.UTF8.GetString(message.Payload.Span));
                return ValueTask.CompletedTask;
            },
            TimeProvider.System, new Random(3), Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance);
        await application.SubscribeAsync(new MqttTopicFilter(Thermo + "twin/get/result", new(MqttQos.AtLeastOnce))).WaitAsync(s_patience);

        // Retained: EdgeCore may still be connecting, and gets it with its subscription then.
        await application.PublishAsync(new MqttMessage(Thermo + "twin/get", """{"event_id":"tls"}"""u8.ToArray(), MqttQos.AtLeastOnce, Retain: true)).WaitAsync(s_patience);
        Assert.Contains("\"event_id\":\"tls\"", await heard.Task.WaitAsync(s_patience), StringComparison.Ordinal);
    }

    [SkippableTheory]
    [InlineData("SYS/dis/upload_records")]
    [InlineData("$hw/events/upload/a/b")]
    [InlineData("factory/user/alarm")]
    public async Task What_applications_upload_at_an_external_broker_is_queued_for_the_cloud(string topic)
    {
        Mosquitto.RequireClients();
        Mosquitto.RequireBroker();
        await using var mosquitto = await Mosquitto.StartAsync();
        await StartAsync(new EventBusOptions { Enable = true, Mode = 2, External = new MqttAddress("127.0.0.1", mosquitto.Port, false) });
        await TalkAsync(mosquitto.Port); // now it is subscribed
        await PublishAsync(mosquitto.Port, topic, "hot", "-q", "1");
        Assert.Equal("hot", JsonNode.Parse((await UploadedAsync(topic)).Content.Span)!.GetValue<string>());
    }

    [SkippableTheory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Applications_say_states_and_hear_documents_labels_and_members(bool isExternal)
    {
        Mosquitto.RequireClients();
        if (isExternal)
            Mosquitto.RequireBroker();
        await using var mosquitto = isExternal ? await Mosquitto.StartAsync() : null;
        var bus = await StartAsync(
            isExternal
                ? new EventBusOptions { Enable = true, Mode = 2, External = new MqttAddress("127.0.0.1", mosquitto!.Port, false) }
                : new EventBusOptions { Enable = true, Mode = 0, Internal = new IPEndPoint(IPAddress.Loopback, 0) });
        var port = mosquitto?.Port ?? bus.EndPoint!.Port;
        await TalkAsync(port);
        await using var sub = await MosquittoSub.StartAsync(
            port, "-v", "-t", Thermo + "state/update/result", "-t", Thermo + "twin/update/document", "-t", Thermo + "updated", "-t", "$hw/events/node/edge-1/membership/updated");

        await PublishAsync(port, Thermo + "state/update", """{"event_id":"s1","state":"unhealthy"}""", "-q", "1");
        var state = await HeardAsync(sub, Thermo + "state/update/result", payload => (string?)payload["event_id"] == "s1");
        Assert.Equal("unhealthy", (string?)state["device"]!["state"]);
        await _uplink.WaitAsync("the state", one => one.Resource == "device/default/thermo/state/update" && FakeUplink.Content(one)["device"]?["state"]?.GetValue<string>() == "unhealthy");
        await PublishAsync(port, Thermo + "state/update", """{"event_id":"s2","state":"asleep"}""", "-q", "1");
        var refused = await HeardAsync(sub, Thermo + "state/update/result", payload => (string?)payload["event_id"] == "s2");
        Assert.Equal(400, (int?)refused["code"]);

        await ReportAsync(port, "5001");
        await ReportAsync(port, "5002");
        var document = await HeardAsync(sub, Thermo + "twin/update/document", payload => (string?)payload["twin"]?["t"]?["current"]?["actual"]?["value"] == "5002");
        Assert.Equal("5001", (string?)document["twin"]!["t"]!["last"]!["actual"]!["value"]);

        _meta.Put("device", Device("thermo", "hall-1"));
        var updated = await HeardAsync(sub, Thermo + "updated", payload => payload["attributes"] is not null);
        Assert.Equal("hall-1", (string?)updated["attributes"]!["place"]!["value"]);

        _meta.Put("device", Device("second", ""));
        var added = await HeardAsync(sub, "$hw/events/node/edge-1/membership/updated", payload => payload["added_devices"] is JsonArray { Count: > 0 });
        Assert.Equal("default/second", (string?)added["added_devices"]![0]!["id"]);
        _meta.Delete("device", Device("second", ""));
        var removed = await HeardAsync(sub, "$hw/events/node/edge-1/membership/updated", payload => payload["removed_devices"] is JsonArray { Count: > 0 });
        Assert.Equal("default/second", (string?)removed["removed_devices"]![0]!["id"]);
    }

    private static JsonObject Device(string name, string place) => new()
    {
        ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "default", ["labels"] = new JsonObject { ["place"] = place } },
        ["spec"] = JsonNode.Parse("""{"deviceModelRef":{"name":"model"},"protocol":{"protocolName":"modbus"},"properties":[{"name":"t"}]}"""),
    };

    private static Task ReportAsync(int port, string value)
        => PublishAsync(port, Thermo + "twin/update", """{"event_id":"r","twin":{"t":{"actual":{"value":"VALUE"},"metadata":{"type":"int"}}}}""".Replace("VALUE", value, StringComparison.Ordinal), "-q", "1");

    private async Task<UplinkEntry> UploadedAsync(string topic)
        => await _uplink.WaitAsync($"the upload on {topic}", one => one.Key.StartsWith("user/", StringComparison.Ordinal) && one.Resource == topic);

    // The first payload on the topic that is wanted.
    private static async Task<JsonObject> HeardAsync(MosquittoSub sub, string topic, Func<JsonObject, bool> isWanted)
    {
        JsonObject? found = null;
        await UntilAsync(
            () => (found = sub.Lines.Where(line => line.StartsWith(topic + " ", StringComparison.Ordinal)).Select(line => (JsonObject)JsonNode.Parse(line[(topic.Length + 1)..])!).FirstOrDefault(isWanted)) is not null,
            $"what is wanted on {topic}");
        return found!;
    }
}
