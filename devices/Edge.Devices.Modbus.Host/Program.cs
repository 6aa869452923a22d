using Edge.Devices;
using Edge.Devices.Modbus;

return await MapperHost.RunAsync(args, "modbus-mapper", "modbus", loggers => new ModbusDriver(TimeProvider.System, new Random(), loggers));
