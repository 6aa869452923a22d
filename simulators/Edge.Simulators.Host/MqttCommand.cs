using System.CommandLine;
using System.Text;
using Edge.Protocol.Mqtt.Client;
using Edge.Simulators.Mqtt;
using Microsoft.Extensions.Logging;

namespace Edge.Simulators.Host;

/// <summary><c>edge-simulator mqtt</c>.</summary>
internal static class MqttCommand
{
    public static Command Create()
    {
        var broker = new Option<string>("--broker") { Description = "tcp://HOST:PORT, or ssl://HOST:PORT", DefaultValueFactory = _ => "tcp://127.0.0.1:1884" };
        var profile = new Option<string>("--profile") { Description = $"what it is: {string.Join(", ", MqttSimulator.Profiles)}", DefaultValueFactory = _ => MqttSimulator.Profiles[0] };
        var topic = new Option<string>("--topic") { Description = "its own topic; all others are below it", DefaultValueFactory = _ => "plant/oven1" };
        var interval = new Option<int>("--interval") { Description = "milliseconds between two messages of what it measures", DefaultValueFactory = _ => 1000 };
        var seed = new Option<int?>("--seed") { Description = "seed of its randomness, for a run that can be repeated" };
        var user = new Option<string?>("--username") { Description = "user at the broker" };
        var passwordFile = new Option<string?>("--password-file") { Description = "file with the password" };
        var command = new Command(
            "mqtt",
            """
            A device on an MQTT broker. It says on TOPIC/status (retained, and by its will) whether it is online or offline.

            Profile oven speaks JSON: TOPIC/state {"sensors":[{"t":21.5}],"setpoint":180}, TOPIC/program (text, retained); TOPIC/set takes {"setpoint":180}.
            Profile room speaks plain text: TOPIC/temperature, TOPIC/humidity, TOPIC/led (on or off, retained); TOPIC/led/set takes on or off.

            Examples:
              edge-simulator mqtt --broker tcp://127.0.0.1:1884 --topic plant/oven1        (the device of docs/examples/mqtt)
              edge-simulator mqtt --profile room --topic hall/room1 --interval 5000 --seed 7
              mosquitto_pub -p 1884 -t plant/oven1/set -m '{"setpoint":180}'
            """)
        {
            broker, profile, topic, interval, seed, user, passwordFile,
        };
        command.SetAction(async (parse, cancellationToken) =>
        {
            if (MqttAddress.TryParse(parse.GetValue(broker)!) is not { } address)
                return await FailAsync($"--broker {parse.GetValue(broker)}: must be tcp://HOST:PORT or ssl://HOST:PORT");
            if (parse.GetValue(interval) is < 10 or > 86_400_000)
                return await FailAsync($"--interval {parse.GetValue(interval)}: must be from 10 to 86400000 ms");
            var random = parse.GetValue(seed) is { } given ? new Random(given) : new Random();
            using var loggers = LoggerFactory.Create(builder => builder.SetMinimumLevel(LogLevel.Information).AddSimpleConsole(options => options.SingleLine = true));
            try
            {
                var options = new MqttSimulatorOptions(address, parse.GetValue(profile)!, parse.GetValue(topic)!, TimeSpan.FromMilliseconds(parse.GetValue(interval)))
                {
                    UserName = parse.GetValue(user),
                    Password = parse.GetValue(passwordFile) is { } file ? (ReadOnlyMemory<byte>?)Encoding.UTF8.GetBytes((await File.ReadAllTextAsync(file, cancellationToken)).TrimEnd('\r', '\n')) : null,
                };
                await using var simulator = MqttSimulator.Start(options, TimeProvider.System, random, loggers);
                simulator.Refused += (where, why) => Console.Error.WriteLine($"{where}: {why}");
                Console.WriteLine($"mqtt {options}");
                await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
                return 0;
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                return 0;
            }
            catch (Exception e) when (e is ArgumentException or IOException or UnauthorizedAccessException)
            {
                return await FailAsync(e.Message);
            }
        });
        return command;
    }

    private static async Task<int> FailAsync(string message)
    {
        await Console.Error.WriteLineAsync($"edge-simulator: {message}");
        return 1;
    }
}
