using System.Text.Json.Nodes;
using Edge.Devices.Mqtt;
using Edge.Protocol.Mqtt.Codec;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Devices.Tests;

/// <summary>Devices behind a real mosquitto that asks for TLS, a client certificate, and a password.</summary>
[Trait("Category", "Devices")]
public sealed class MqttTlsTests : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly CertificateFiles _certificates = new();
    private readonly TempDirectory _directory = new();

    public void Dispose()
    {
        _certificates.Dispose();
        _directory.Dispose();
    }

    [SkippableFact]
    public async Task A_device_behind_TLS_is_served_with_the_mappers_certificate_and_password()
    {
        Mosquitto.RequireBroker();
        await using var broker = await Mosquitto.StartAsync(_certificates.Mosquitto("plant", "sesame"));
        await using var link = new MqttLink(MqttDeviceConfig.Read(Config(broker.Port, "sesame")).Broker, TimeProvider.System, new Random(1), NullLoggerFactory.Instance);
        await link.WaitConnectedAsync(s_patience, TimeProvider.System, default);
        var reports = new Reports();
        await using var worker = Start(Config(broker.Port, "sesame"), reports);
        await reports.StateAsync("oven", "online");
        await link.PublishAsync(new("plant/t", "21.5"u8.ToArray(), MqttQos.AtLeastOnce, Retain: true), s_patience, TimeProvider.System, default);
        await reports.TwinAsync("the value", "oven", "temperature", twin => twin.Reported.Value == "21.5");
    }

    [SkippableTheory]
    [InlineData("wrong", true, "the user name or password is wrong|not authorized")]
    [InlineData("sesame", false, "")] // TLS 1.3 tells a client only later that its certificate is missed; the text is the system's
    public async Task Without_the_password_or_the_certificate_it_is_offline_with_the_reason(string password, bool hasCertificate, string reason)
    {
        Mosquitto.RequireBroker();
        await using var broker = await Mosquitto.StartAsync(_certificates.Mosquitto("plant", "sesame"));
        var config = Config(broker.Port, password);
        if (!hasCertificate)
        {
            config.Remove("certFile");
            config.Remove("keyFile");
        }

        await using var device = new MqttDevice(MqttDeviceConfig.Read(config), new MqttLinks(TimeProvider.System, new Random(1), NullLoggerFactory.Instance), TimeProvider.System);
        var refused = await Assert.ThrowsAsync<DeviceUnreachableException>(() => device.ConnectAsync(default));
        Assert.Contains("is not reached", refused.Message, StringComparison.Ordinal);
        Assert.Contains(reason.Split('|'), one => refused.Message.Contains(one, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_file_that_is_not_there_is_the_devices_reason_and_tried_again()
    {
        var config = Config(8883, "sesame");
        config["certFile"] = "/nowhere/mapper.crt";
        await using var device = new MqttDevice(MqttDeviceConfig.Read(config), new MqttLinks(TimeProvider.System, new Random(1), NullLoggerFactory.Instance), TimeProvider.System);
        Assert.Contains("protocol.configData.certFile", (await Assert.ThrowsAsync<DeviceUnreachableException>(() => device.ConnectAsync(default))).Message, StringComparison.Ordinal);
    }

    private JsonObject Config(int port, string password)
    {
        var (certificate, key) = _certificates.Issue("mapper");
        File.WriteAllText(_directory.File("password"), password + "\n");
        return new JsonObject
        {
            ["broker"] = $"ssl://127.0.0.1:{port}", ["caFile"] = _certificates.Ca, ["certFile"] = certificate, ["keyFile"] = key, ["username"] = "plant", ["passwordFile"] = _directory.File("password"),
        };
    }

    private static DeviceWorker Start(JsonObject config, Reports reports)
    {
        var device = (JsonObject)JsonNode.Parse("""
            {"metadata":{"name":"oven","namespace":"default"},"spec":{"protocol":{"protocolName":"mqtt"},"properties":[
             {"name":"temperature","collectCycle":50,"reportCycle":50,"reportToCloud":true,"visitors":{"configData":{"topic":"plant/t"}}}]}}
            """)!;
        device["spec"]!["protocol"]!["configData"] = config;
        return Workers.Start(device, DeviceHouse.Model(), new MqttDriver(TimeProvider.System, new Random(4), NullLoggerFactory.Instance), reports);
    }
}
