using System.Net;
using Edge.Protocol.Modbus;

namespace Edge.Simulators.Modbus;

/// <summary>A Modbus TCP slave whose registers move by themselves. See <see cref="Profiles"/> for what it can be; the layout of
/// <c>thermostat</c>: holding 0 setpoint (0.1 degree, writable 0 to 500), input 0 temperature (0.1 degree), input 1-2 pressure (float),
/// input 3-4 counter (uint32), input 5-8 energy (double), coil 0 fan, coil 1 alarm reset, discrete input 0 alarm.</summary>
public sealed class ModbusSimulator : IAsyncDisposable
{
    private static readonly TimeSpan s_step = TimeSpan.FromMilliseconds(100);
    private readonly Thermostat _device;
    private readonly ModbusTcpServer _server;
    private readonly ITimer _timer;

    private ModbusSimulator(Thermostat device, ModbusTcpServer server, TimeProvider time)
    {
        _device = device;
        _server = server;
        _timer = time.CreateTimer(_ => device.Step(s_step.TotalSeconds), null, s_step, s_step);
        server.ConnectionClosed += (peer, reason) => ConnectionClosed?.Invoke(peer, reason);
    }

    /// <summary>Profiles that exist.</summary>
    public static IReadOnlyList<string> Profiles { get; } = ["thermostat"];

    /// <summary>Peer and reason of each connection that did not end in order.</summary>
    public event Action<string, string>? ConnectionClosed;

    public IPEndPoint EndPoint => _server.EndPoint;

    /// <summary>The setpoint register as it stands, degrees.</summary>
    public double Setpoint => Look(static (coils, inputs, holding, input) => (short)holding[0] / 10.0);

    /// <summary>The temperature register as it stands, degrees.</summary>
    public double Temperature => Look(static (coils, inputs, holding, input) => (short)input[0] / 10.0);

    /// <summary>The fan's coil.</summary>
    public bool Fan => Look(static (coils, inputs, holding, input) => coils[0]);

    /// <summary>Listens and moves until disposed. Port 0 takes a free one, see <see cref="EndPoint"/>.</summary>
    /// <exception cref="System.Net.Sockets.SocketException">The address cannot be used.</exception>
    /// <exception cref="ArgumentException">There is no such profile.</exception>
    public static ModbusSimulator Start(IPEndPoint endPoint, string profile, TimeProvider time, Random random)
    {
        if (!Profiles.Contains(profile, StringComparer.Ordinal))
            throw new ArgumentException($"there is no profile '{profile}'; there are: {string.Join(", ", Profiles)}", nameof(profile));
        var device = new Thermostat(random);
        return new ModbusSimulator(device, ModbusTcpServer.Start(endPoint, device), time);
    }

    public async ValueTask DisposeAsync()
    {
        await _timer.DisposeAsync();
        await _server.DisposeAsync();
    }

    private T Look<T>(Func<bool[], bool[], ushort[], ushort[], T> look)
    {
        T result = default!;
        _device.Access((coils, inputs, holding, input) => result = look(coils, inputs, holding, input));
        return result;
    }
}
