using System.Text.Json.Nodes;
using Microsoft.Extensions.Logging;

namespace Edge.Devices.Mqtt;

/// <summary>Devices that publish their values on topics, and take desired ones from others (docs/mqtt-mapper.md).</summary>
public sealed class MqttDriver(TimeProvider time, Random random, ILoggerFactory loggers) : IDeviceDriver
{
    private readonly MqttLinks _links = new(time, random, loggers);

    public string Protocol => "mqtt";

    public IDeviceConnection Create(JsonObject protocolConfig) => new MqttDevice(MqttDeviceConfig.Read(protocolConfig), _links, time);
}
