using Edge.Devices;
using Edge.Devices.Mqtt;

return await MapperHost.RunAsync(args, "mqtt-mapper", "mqtt", loggers => new MqttDriver(TimeProvider.System, new Random(), loggers));
