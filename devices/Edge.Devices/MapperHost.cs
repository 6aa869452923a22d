using System.CommandLine;
using Edge.Common.Configuration;
using Edge.Devices.Push;
using Microsoft.Extensions.Logging;

namespace Edge.Devices;

/// <summary>The main method of a mapper: its command line, config file, logs and end. Runs as a process or as a pod's container alike.</summary>
public static class MapperHost
{
    /// <summary>Runs until SIGINT or SIGTERM.</summary>
    /// <param name="name">The executable, e.g. <c>modbus-mapper</c>; its config file is /etc/kubeedge/NAME.yaml unless --config says otherwise.</param>
    /// <param name="driver">Makes the protocol's driver.</param>
    /// <returns>0 when asked to stop, 1 when a file or socket cannot be used, 2 for a bad configuration.</returns>
    public static async Task<int> RunAsync(string[] args, string name, string protocol, Func<ILoggerFactory, IDeviceDriver> driver)
    {
        var config = new Option<string>("--config") { Description = "the mapper's config file", DefaultValueFactory = _ => $"/etc/kubeedge/{name}.yaml" };
        var set = new Option<string[]>("--set") { Description = "overrides one key, e.g. common.edgecore_sock=/tmp/dmi.sock; may be repeated" };
        var verbose = new Option<bool>("--verbose") { Description = "logs every message, not only changes and warnings" };
        var root = new RootCommand(
            $"""
            {name} serves devices of protocol {protocol}: it registers with EdgeCore over DMI, polls, reports, pushes, and writes desired values.

            Examples:
              {name} --config /etc/kubeedge/{name}.yaml
              {name} --config mapper.yaml --set common.edgecore_sock=/run/edge/dmi.sock --set grpc_server.socket_path=/run/edge/{protocol}.sock

            A config file:
              grpc_server:
                socket_path: /etc/kubeedge/{protocol}.sock   # where EdgeCore calls this mapper
              common:
                name: {name}
                protocol: {protocol}
                edgecore_sock: /etc/kubeedge/dmi.sock    # EdgeCore's DMI socket
                http_port: 7777                          # the local API and /metrics on 127.0.0.1; left out, there is none

            Environment, for properties with pushMethod.dbMethod: TOKEN (InfluxDB), PASSWORD (Redis, MySQL), USERNAME and PASSWORD (TDengine).
            """)
        {
            config,
            set,
            verbose,
        };
        root.SetAction(async (parse, cancellationToken) =>
        {
            using var loggers = LoggerFactory.Create(builder => builder
                .SetMinimumLevel(parse.GetValue(verbose) ? LogLevel.Debug : LogLevel.Information)
                .AddFilter("Microsoft", LogLevel.Warning)
                .AddSimpleConsole(options =>
                {
                    options.SingleLine = true;
                    options.UseUtcTimestamp = true;
                    options.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ ";
                }));
            try
            {
                var options = MapperOptions.Load(parse.GetValue(config)!, parse.GetValue(set) ?? [], protocol);

                await using var push = new PushHub(TimeProvider.System, new Random(), loggers.CreateLogger<PushHub>(), PushCredentials.OfEnvironment());
                using var mapper = new MapperService(options, driver(loggers), TimeProvider.System, new Random(), loggers, push);
                await mapper.RunAsync(cancellationToken);
                return 0;
            }
            catch (ConfigException e)
            {
                await Console.Error.WriteLineAsync(e.Message);
                return 2;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                await Console.Error.WriteLineAsync($"{name}: {e.Message}");
                return 1;
            }
        });
        return await root.Parse(args).InvokeAsync();
    }
}
