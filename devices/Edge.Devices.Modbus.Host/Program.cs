using System.CommandLine;
using Edge.Common.Configuration;
using Edge.Devices;
using Edge.Devices.Modbus;
using Edge.Devices.Push;
using Microsoft.Extensions.Logging;

var config = new Option<string>("--config")
{
    Description = "the mapper's config file",
    DefaultValueFactory = _ => "/etc/kubeedge/modbus-mapper.yaml",
};
var set = new Option<string[]>("--set") { Description = "overrides one key, e.g. common.edgecore_sock=/tmp/dmi.sock; may be repeated" };
var verbose = new Option<bool>("--verbose") { Description = "logs every message, not only changes and warnings" };
var root = new RootCommand(
    """
    modbus-mapper serves Modbus devices: it registers with EdgeCore over DMI, polls, reports, and writes desired values.

    Examples:
      modbus-mapper --config /etc/kubeedge/modbus-mapper.yaml
      modbus-mapper --config mapper.yaml --set common.edgecore_sock=/run/edge/dmi.sock --set grpc_server.socket_path=/run/edge/modbus.sock

    A config file:
      grpc_server:
        socket_path: /etc/kubeedge/modbus.sock   # where EdgeCore calls this mapper
      common:
        name: modbus-mapper
        protocol: modbus
        edgecore_sock: /etc/kubeedge/dmi.sock    # EdgeCore's DMI socket
        http_port: 7777                          # the local API and /metrics on 127.0.0.1; left out, there is none
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
        var options = MapperOptions.Load(parse.GetValue(config)!, parse.GetValue(set) ?? [], "modbus");
        // InfluxDB's token comes as KubeEdge's mappers have it: in the environment, not in a manifest.
        await using var push = new PushHub(TimeProvider.System, new Random(), loggers.CreateLogger<PushHub>(), Environment.GetEnvironmentVariable("TOKEN") ?? "");
        using var mapper = new MapperService(options, new ModbusDriver(TimeProvider.System, new Random(), loggers), TimeProvider.System, new Random(), loggers, push);
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
        await Console.Error.WriteLineAsync($"modbus-mapper: {e.Message}");
        return 1;
    }
});
return await root.Parse(args).InvokeAsync();
