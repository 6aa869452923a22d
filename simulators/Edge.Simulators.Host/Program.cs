using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Edge.Protocol.Modbus.Lines;
using Edge.Simulators.Host;
using Edge.Simulators.Modbus;

var bind = new Option<string>("--bind") { Description = "address to listen on", DefaultValueFactory = _ => "127.0.0.1" };
var port = new Option<int>("--port") { Description = "TCP port; 0 takes a free one", DefaultValueFactory = _ => 0 };
var portFile = new Option<string?>("--port-file") { Description = "file that gets the port's number once it listens" };
var profile = new Option<string>("--profile")
{
    Description = $"what it is: {string.Join(", ", ModbusSimulator.Profiles)}",
    DefaultValueFactory = _ => ModbusSimulator.Profiles[0],
};
var seed = new Option<int?>("--seed") { Description = "seed of its randomness, for a run that can be repeated" };
var units = new Option<int>("--units") { Description = "units 1 to N, each a device of its own; with 1 it answers as any unit", DefaultValueFactory = _ => 1 };
var rtu = new Option<bool>("--rtu") { Description = "RTU frames on the TCP connections" };
var serial = new Option<string?>("--serial") { Description = "serve this serial line instead of TCP" };
var baud = new Option<int>("--baud") { Description = "of the serial line", DefaultValueFactory = _ => 19200 };
var parity = new Option<SerialParity>("--parity") { Description = "of the serial line: none, even, odd", DefaultValueFactory = _ => SerialParity.Even };
var fault = new Option<string[]>("--fault")
{
    Description = $"UNIT:FAULT, what a unit does wrong: {string.Join(", ", Enum.GetNames<ModbusFault>()[1..]).ToLowerInvariant()}; may be repeated",
};
var modbus = new Command(
    "modbus",
    """
    A Modbus slave whose registers move by themselves.

    Profile thermostat: holding 0 setpoint (0.1 degree, int16, writable 0 to 500), input 0 temperature (0.1 degree, follows the setpoint),
    input 1-2 pressure (float), input 3-4 counter (uint32), input 5-8 energy (double), coil 0 fan, coil 1 alarm reset, discrete input 0 alarm.

    Examples:
      edge-simulator modbus --port 1502
      edge-simulator modbus --port 0 --port-file /tmp/modbus.port --seed 7
      edge-simulator modbus --serial /dev/ttyUSB0 --baud 9600 --units 3 --fault 2:silence
      mbpoll -m tcp -p 1502 -a 1 -t 3 -r 1 -c 1 -1 127.0.0.1        (reads the temperature)
      mbpoll -m tcp -p 1502 -a 1 -t 4 -r 1 127.0.0.1 235            (writes the setpoint 23.5)
    """)
{
    bind,
    port,
    portFile,
    profile,
    seed,
    units,
    rtu,
    serial,
    baud,
    parity,
    fault,
};
modbus.SetAction(async (parse, cancellationToken) =>
{
    if (!IPAddress.TryParse(parse.GetValue(bind), out var address))
        return await FailAsync($"--bind {parse.GetValue(bind)}: must be an IP address");
    if (parse.GetValue(port) is < 0 or > 65535)
        return await FailAsync($"--port {parse.GetValue(port)}: must be from 0 to 65535");
    var random = parse.GetValue(seed) is { } given ? new Random(given) : new Random();
    try
    {
        await using var simulator = parse.GetValue(serial) is { } path
            ? ModbusSimulator.Start(new SerialSettings(path, parse.GetValue(baud), parse.GetValue(parity)), parse.GetValue(profile)!, TimeProvider.System, random, parse.GetValue(units))
            : ModbusSimulator.Start(
                new IPEndPoint(address, parse.GetValue(port)), parse.GetValue(profile)!, TimeProvider.System, random, parse.GetValue(units), parse.GetValue(rtu));
        foreach (var one in parse.GetValue(fault) ?? [])
        {
            if (one.Split(':') is not [var unit, var what] || !byte.TryParse(unit, CultureInfo.InvariantCulture, out var number) || !Enum.TryParse<ModbusFault>(what, ignoreCase: true, out var kind))
                return await FailAsync($"--fault {one}: must be a unit's number, a colon, and one of {string.Join(", ", Enum.GetNames<ModbusFault>()[1..]).ToLowerInvariant()}");
            simulator.Faults.Set(number, kind);
        }

        simulator.ConnectionClosed += (peer, reason) => Console.Error.WriteLine($"closed the connection of {peer}: {reason}");
        if (parse.GetValue(serial) is null && parse.GetValue(portFile) is { } file)
        {
            // Written aside and renamed: a reader sees the whole number or no file.
            var temporary = file + ".new";
            await File.WriteAllTextAsync(temporary, simulator.EndPoint.Port.ToString(CultureInfo.InvariantCulture), cancellationToken);
            File.Move(temporary, file, overwrite: true);
        }

        Console.WriteLine($"modbus {parse.GetValue(profile)} listens on {parse.GetValue(serial) ?? $"{simulator.EndPoint}"}");
        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
        return 0;
    }
    catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
    {
        return 0;
    }
    catch (SocketException e)
    {
        return await FailAsync($"cannot listen on {address}:{parse.GetValue(port)}: {e.Message}");
    }
    catch (Exception e) when (e is ArgumentException or IOException or UnauthorizedAccessException)
    {
        return await FailAsync(e.Message);
    }

    static async Task<int> FailAsync(string message)
    {
        await Console.Error.WriteLineAsync($"edge-simulator: {message}");
        return 1;
    }
});
var root = new RootCommand("edge-simulator plays devices on real sockets.") { modbus, MqttCommand.Create() };
return await root.Parse(args).InvokeAsync();
