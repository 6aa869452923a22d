using System.Text;
using System.Text.Json.Nodes;
using Edge.Devices.Mqtt;
using Edge.Protocol.Mqtt.Codec;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace Edge.Devices.Tests;

/// <summary>Payloads of MQTT devices, without a broker.</summary>
[Trait("Category", "Devices")]
public sealed class MqttVisitorTests
{
    [Theory]
    [InlineData("""{"topic":"t"}""", " 21.5\n", "21.5")]
    [InlineData("""{"topic":"t","pointer":"/a"}""", """{"a":21.50}""", "21.50")]
    [InlineData("""{"topic":"t","pointer":"/a/1/b~1c~0d"}""", """{"a":[0,{"b/c~d":true}]}""", "true")]
    [InlineData("""{"topic":"t","pointer":"/a"}""", """{"a":"wärme"}""", "wärme")]
    [InlineData("""{"topic":"t","pointer":"/a"}""", """{"a":{"b":[1]}}""", """{"b":[1]}""")]
    [InlineData("""{"topic":"t","pointer":""}""", "7", "7")]
    [InlineData("""{"topic":"t","format":"json"}""", "\"x\"", "x")]
    [InlineData("""{"topic":"t","format":"raw"}""", "hello", "aGVsbG8=")]
    public void A_payload_gives_its_value(string visitor, string payload, string value) => Assert.Equal(value, Read(visitor).ValueOf(Encoding.UTF8.GetBytes(payload)));

    [Theory]
    [InlineData("""{"topic":"t","pointer":"/a"}""", "nonsense", "is not JSON")]
    [InlineData("""{"topic":"t","pointer":"/a/b"}""", """{"a":1}""", "has nothing at /a/b")]
    [InlineData("""{"topic":"t","pointer":"/3"}""", "[1]", "has nothing at /3")]
    [InlineData("""{"topic":"t","pointer":"/a"}""", """{"a":null}""", "has null at /a")]
    public void A_payload_without_the_value_says_why(string visitor, string payload, string reason)
        => Assert.Contains(reason, Assert.Throws<DeviceRefusedException>(() => Read(visitor).ValueOf(Encoding.UTF8.GetBytes(payload))).Message, StringComparison.Ordinal);

    [Fact]
    public void Bytes_that_are_no_text_and_payloads_without_end_are_refused()
    {
        Assert.Contains("format: raw", Assert.Throws<DeviceRefusedException>(() => Read("""{"topic":"t"}""").ValueOf(new byte[] { 0xff, 0xfe })).Message, StringComparison.Ordinal);
        Assert.Contains("the limit is", Assert.Throws<DeviceRefusedException>(() => Read("""{"topic":"t"}""").ValueOf(new byte[MqttVisitor.PayloadMax + 1])).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"commandTopic":"c"}""", "21.5", "float", "21.5")]
    [InlineData("""{"commandTopic":"c","commandTemplate":"SET ${value};"}""", "on", "string", "SET on;")]
    [InlineData("""{"commandTopic":"c","commandTemplate":"{\"set\":${json}}"}""", "21.5", "float", """{"set":21.5}""")]
    [InlineData("""{"commandTopic":"c","commandTemplate":"{\"set\":${json}}"}""", "21.5", "string", """{"set":"21.5"}""")]
    [InlineData("""{"commandTopic":"c","commandTemplate":"{\"set\":${json}}"}""", "say \"${value}\"", "string", """{"set":"say \u0022${value}\u0022"}""")]
    [InlineData("""{"commandTopic":"c","commandTemplate":"${value}=${json}${Value}"}""", "${json}", "string", "${json}=\"${json}\"${Value}")]
    [InlineData("""{"commandTopic":"c","commandTemplate":"{\"set\":${json}}"}""", "+007.50", "float", """{"set":7.5}""")]
    [InlineData("""{"commandTopic":"c","commandTemplate":"{\"set\":${json}}"}""", "1e3", "double", """{"set":1e3}""")]
    [InlineData("""{"commandTopic":"c","commandTemplate":"{\"set\":${json}}"}""", "1,\"x\":2", "int", """{"set":"1,\u0022x\u0022:2"}""")]
    [InlineData("""{"commandTopic":"c","commandTemplate":"{\"on\":${json}}"}""", "true", "boolean", """{"on":true}""")]
    [InlineData("""{"commandTopic":"c","format":"raw"}""", "aGVsbG8=", "bytes", "hello")]
    public void A_desired_value_makes_a_command(string visitor, string value, string type, string command)
        => Assert.Equal(command, Encoding.UTF8.GetString(Read(visitor).Command(value, type)));

    [Theory]
    [InlineData("{}", "topic is missing")]
    [InlineData("""{"topic":"a/#/b"}""", "visitors.configData.topic")]
    [InlineData("""{"commandTopic":"a/+"}""", "visitors.configData.commandTopic")]
    [InlineData("""{"topic":"a","pointer":"x"}""", "must be a JSON pointer")]
    [InlineData("""{"topic":"a","format":"xml"}""", "must be json, text or raw")]
    [InlineData("""{"topic":"a","qos":3}""", "must be 0, 1 or 2")]
    public void A_wrong_visitor_is_refused_with_the_fix(string visitor, string reason)
        => Assert.Contains(reason, Assert.Throws<DeviceConfigException>(() => Read(visitor)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("""{"broker":"http://x"}""", "must be tcp://HOST:PORT")]
    [InlineData("""{"version":"3.1"}""", "must be 3.1.1 or 5")]
    [InlineData("""{"silenceMs":-1}""", "must be a number of milliseconds")]
    [InlineData("""{"statusTopic":"a/#/b"}""", "statusTopic")]
    [InlineData("""{"broker":"ssl://b","certFile":"c"}""", "protocol.configData.keyFile is missing")]
    [InlineData("""{"certFile":"c","keyFile":"k"}""", "must be ssl://HOST:PORT")]
    [InlineData("""{"url":"x"}""", "protocol.configData.url is no key")]
    public void A_wrong_device_is_refused_with_the_fix(string config, string reason)
        => Assert.Contains(reason, Assert.Throws<DeviceConfigException>(() => MqttDeviceConfig.Read((JsonObject)JsonNode.Parse(config)!)).Message, StringComparison.Ordinal);

    [Fact]
    public void The_example_can_be_bound()
        => Assert.Equal(3, Examples.Bind("mqtt", new MqttDriver(TimeProvider.System, new Random(1), NullLoggerFactory.Instance), property => Assert.NotEqual("", MqttVisitor.Read(property).Topic)));

    [Fact]
    public void Devices_of_one_broker_share_its_connection()
    {
        Assert.Equal(MqttDeviceConfig.Read([]).Broker, MqttDeviceConfig.Read(new JsonObject { ["broker"] = "tcp://127.0.0.1:1884", ["statusTopic"] = "x" }).Broker);
        Assert.NotEqual(MqttDeviceConfig.Read([]).Broker, MqttDeviceConfig.Read(new JsonObject { ["version"] = 5 }).Broker);
        Assert.Equal(MqttVersion.V5, MqttDeviceConfig.Read(new JsonObject { ["version"] = 5 }).Broker.Version);
    }

    private static MqttVisitor Read(string visitor)
        => MqttVisitor.Read(new PropertyInfo("p", "string", true, "", "", "mqtt", (JsonObject)JsonNode.Parse(visitor)!));
}
