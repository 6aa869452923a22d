using System.Net;
using Edge.Protocol.Modbus;
using Edge.Protocol.Modbus.Lines;

namespace Edge.Simulators.Modbus;

/// <summary>A Modbus slave, or several units of it, whose registers move by themselves, on TCP (MBAP or RTU frames) or a serial line. See
/// <see cref="Profiles"/> for what it can be; the layout of
/// <c>thermostat</c>: holding 0 setpoint (0.1 degree, writable 0 to 500), input 0 temperature (0.1 degree), input 1-2 pressure (float),
/// input 3-4 counter (uint32), input 5-8 energy (double), coil 0 fan, coil 1 alarm reset, discrete input 0 alarm.</summary>
public sealed class ModbusSimulator : IAsyncDisposable
{
    private static readonly TimeSpan s_step = TimeSpan.FromMilliseconds(100);
    private readonly Thermostat[] _devices;
    private readonly IAsyncDisposable _server;
    private readonly ITimer _timer;

    private ModbusSimulator(Thermostat[] devices, IAsyncDisposable server, ModbusFaults faults, TimeProvider time)
    {
        _devices = devices;
        _server = server;
        Faults = faults;
        _timer = time.CreateTimer(_ => Step(), null, s_step, s_step);
        if (server is ModbusTcpServer tcp)
            tcp.ConnectionClosed += (peer, reason) => ConnectionClosed?.Invoke(peer, reason);
    }

    /// <summary>Profiles that exist.</summary>
    public static IReadOnlyList<string> Profiles { get; } = ["thermostat"];

    /// <summary>Peer and reason of each connection that did not end in order.</summary>
    public event Action<string, string>? ConnectionClosed;

    /// <summary>What its units do wrong.</summary>
    public ModbusFaults Faults { get; }

    /// <summary>Where it listens; null on a serial line.</summary>
    public IPEndPoint EndPoint => (_server as ModbusTcpServer)?.EndPoint ?? throw new InvalidOperationException("a slave on a serial line has no TCP address");

    /// <summary>The setpoint register of the first unit as it stands, degrees.</summary>
    public double Setpoint => SetpointOf(1);

    /// <summary>The temperature register of the first unit as it stands, degrees.</summary>
    public double Temperature => Look(1, static (coils, inputs, holding, input) => (short)input[0] / 10.0);

    /// <summary>The fan's coil of the first unit.</summary>
    public bool Fan => Look(1, static (coils, inputs, holding, input) => coils[0]);

    /// <summary>The setpoint register of a unit as it stands, degrees.</summary>
    public double SetpointOf(byte unit) => Look(unit, static (coils, inputs, holding, input) => (short)holding[0] / 10.0);

    /// <summary>Listens and moves until disposed. Port 0 takes a free one, see <see cref="EndPoint"/>.</summary>
    /// <param name="units">Units 1 to this many, each a device of its own. With 1, the device answers as whatever unit it is asked.</param>
    /// <param name="rtu">RTU frames on the TCP connections.</param>
    /// <exception cref="System.Net.Sockets.SocketException">The address cannot be used.</exception>
    /// <exception cref="ArgumentException">There is no such profile.</exception>
    public static ModbusSimulator Start(IPEndPoint endPoint, string profile, TimeProvider time, Random random, int units = 1, bool rtu = false)
    {
        var devices = Make(profile, random, units);
        var faults = new ModbusFaults(rtu, random);
        return new ModbusSimulator(devices, ModbusTcpServer.Start(endPoint, Bank(devices), rtu, faults.FilterAsync), faults, time);
    }

    /// <summary>Serves a serial line until disposed.</summary>
    /// <exception cref="IOException">The line cannot be used.</exception>
    /// <exception cref="ArgumentException">There is no such profile.</exception>
    public static ModbusSimulator Start(SerialSettings line, string profile, TimeProvider time, Random random, int units = 1)
    {
        var devices = Make(profile, random, units);
        var faults = new ModbusFaults(rtu: true, random);

        // On a shared line a slave answers as itself alone.
        return new ModbusSimulator(devices, ModbusSerialServer.Start(line, Units(devices), time, faults.FilterAsync), faults, time);
    }

    public async ValueTask DisposeAsync()
    {
        await _timer.DisposeAsync();
        await _server.DisposeAsync();
    }

    private static Thermostat[] Make(string profile, Random random, int units)
    {
        if (!Profiles.Contains(profile, StringComparer.Ordinal))
            throw new ArgumentException($"there is no profile '{profile}'; there are: {string.Join(", ", Profiles)}", nameof(profile));
        if (units is < 1 or > 247)
            throw new ArgumentException($"{units} units: must be 1 to 247", nameof(units));
        return [.. Enumerable.Range(0, units).Select(_ => new Thermostat(random))];
    }

    private static IRegisterBank Bank(Thermostat[] devices) => devices.Length == 1 ? devices[0] : Units(devices);

    private static ModbusUnits Units(Thermostat[] devices)
        => new(devices.Select((device, i) => (device, i)).ToDictionary(pair => (byte)(pair.i + 1), pair => (IRegisterBank)pair.device));

    private void Step()
    {
        foreach (var device in _devices)
            device.Step(s_step.TotalSeconds);
    }

    private T Look<T>(byte unit, Func<bool[], bool[], ushort[], ushort[], T> look)
    {
        T result = default!;
        _devices[unit - 1].Access((coils, inputs, holding, input) => result = look(coils, inputs, holding, input));
        return result;
    }
}
