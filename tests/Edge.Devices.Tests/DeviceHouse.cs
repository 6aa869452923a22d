using System.Globalization;
using System.Net;
using System.Text.Json.Nodes;
using Edge.Core.DeviceTwin;
using Edge.Devices.Modbus;
using Edge.Simulators.Modbus;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.Devices.Tests;

/// <summary>The device path in one process on real sockets: simulator, mapper, DeviceTwin; MetaManager and the uplink are fakes.</summary>
/// <param name="time">EdgeCore's clock; the system's when absent.</param>
internal sealed class DeviceHouse(TimeProvider? time = null) : IAsyncDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("edge-devices-").FullName;
    private ModbusSimulator? _simulator;
    private Running? _edgeCore;
    private Running? _mapper;

    public FakeMetaStore Meta { get; } = new();

    public FakeUplink Uplink { get; } = new();

    public ModbusSimulator Simulator => _simulator!;

    public TwinService Twins { get; private set; } = null!;

    public int Port { get; private set; }

    public string DmiSocket => Path.Combine(_directory, "dmi.sock");

    public string Socket(string name) => Path.Combine(_directory, name + ".sock");

    public string MapperSocket => Path.Combine(_directory, "modbus.sock");

    public void StartSimulator()
    {
        _simulator = ModbusSimulator.Start(new IPEndPoint(IPAddress.Loopback, Port), "thermostat", TimeProvider.System, new Random(1));
        Port = _simulator.EndPoint.Port;
    }

    public async Task StopSimulatorAsync()
    {
        await _simulator!.DisposeAsync();
        _simulator = null;
    }

    public void StartEdgeCore()
    {
        Twins = new TwinService(DmiSocket, "edge-1", Meta, Uplink, time ?? TimeProvider.System, new Random(2), NullLoggerFactory.Instance);
        _edgeCore = new Running(Twins.RunAsync);
    }

    public async Task StopEdgeCoreAsync()
    {
        await _edgeCore!.DisposeAsync();
        _edgeCore = null;
    }

    public void StartMapper(int registerPeriodSeconds = 3600, IDeviceDriver? driver = null)
    {
        var protocol = driver?.Protocol ?? "modbus";
        var options = new MapperOptions
        {
            Name = protocol + "-mapper",
            Protocol = protocol,
            SocketPath = MapperSocket,
            EdgeCoreSocket = DmiSocket,
            RegisterPeriodSeconds = registerPeriodSeconds,
        };
        _mapper = new Running(async token =>
        {
            using var mapper = new MapperService(options, driver ?? new ModbusDriver(TimeProvider.System, new Random(4), NullLoggerFactory.Instance), TimeProvider.System, new Random(3), NullLoggerFactory.Instance);
            await mapper.RunAsync(token);
        });
    }

    public async Task StopMapperAsync()
    {
        await _mapper!.DisposeAsync();
        _mapper = null;
    }

    public void PutModel() => Meta.Put("devicemodel", Model());

    public void PutDevice(string setpoint, params JsonObject[] more) => Meta.Put("device", Device(Port, setpoint, more));

    public static JsonObject Model() => (JsonObject)JsonNode.Parse("""
        {"kind":"DeviceModel","metadata":{"name":"thermostat","namespace":"default"},"spec":{"protocol":"modbus","properties":[
          {"name":"temperature","type":"FLOAT","accessMode":"ReadOnly"},
          {"name":"setpoint","type":"FLOAT","accessMode":"ReadWrite","minimum":"5","maximum":"35"},
          {"name":"pressure","type":"FLOAT","accessMode":"ReadOnly"},
          {"name":"fan","type":"BOOLEAN","accessMode":"ReadWrite"},
          {"name":"broken","type":"INT","accessMode":"ReadOnly"}]}}
        """)!;

    public static JsonObject Device(int port, string setpoint, params JsonObject[] more)
    {
        var device = (JsonObject)JsonNode.Parse("""
            {"kind":"Device","metadata":{"name":"thermostat-1","namespace":"default"},"spec":{"deviceModelRef":{"name":"thermostat"},"nodeName":"edge-1",
             "protocol":{"protocolName":"modbus","configData":{"ip":"127.0.0.1","port":0,"slaveID":1,"timeout":1000}},"properties":[
              {"name":"temperature","collectCycle":50,"reportCycle":50,"reportToCloud":true,
               "visitors":{"protocolName":"modbus","configData":{"register":"InputRegister","offset":0,"limit":1,"scale":0.1,"dataType":"int16"}}},
              {"name":"setpoint","desired":{"value":""},"collectCycle":50,"reportCycle":50,"reportToCloud":true,
               "visitors":{"protocolName":"modbus","configData":{"register":"HoldingRegister","offset":0,"limit":1,"scale":0.1}}},
              {"name":"pressure","collectCycle":100,"reportCycle":100,"reportToCloud":true,
               "visitors":{"protocolName":"modbus","configData":{"register":"InputRegister","offset":1,"limit":2}}},
              {"name":"fan","collectCycle":50,"reportCycle":50,"reportToCloud":true,
               "visitors":{"protocolName":"modbus","configData":{"register":"CoilRegister","offset":0}}}]}}
            """)!;
        device["spec"]!["protocol"]!["configData"]!["port"] = port;
        device["spec"]!["properties"]![1]!["desired"]!["value"] = setpoint;
        foreach (var one in more)
            device["spec"]!["properties"]!.AsArray().Add(one);
        return device;
    }

    /// <summary>The number in a twin's reported value; NaN without one.</summary>
    public static double Actual(JsonNode twin)
        => double.TryParse((string?)twin["actual"]?["value"], NumberStyles.Float, CultureInfo.InvariantCulture, out var value) ? value : double.NaN;

    public async ValueTask DisposeAsync()
    {
        if (_mapper is not null)
            await _mapper.DisposeAsync();
        if (_edgeCore is not null)
            await _edgeCore.DisposeAsync();
        if (_simulator is not null)
            await _simulator.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    private sealed class Running : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _task;

        public Running(Func<CancellationToken, Task> run) => _task = Task.Run(() => run(_stop.Token));

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _task.WaitAsync(TimeSpan.FromSeconds(10));
            _stop.Dispose();
        }
    }
}
