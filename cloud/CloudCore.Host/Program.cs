using System.CommandLine;
using System.Runtime.InteropServices;
using Edge.ApiServer;
using Edge.Cloud;
using Edge.Cloud.Configuration;
using Edge.Cloud.Host;
using Edge.Common;
using Edge.Common.Configuration;
using Edge.Kubernetes;
using Edge.Telemetry;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

NativeHeap.LimitArenas(2);
var config = new Option<string?>("--config") { Description = "The config file, cloudcore.yaml. Without one, the defaults hold.", HelpName = "FILE" };
var set = new Option<string[]>("--set") { Description = "Sets one key over the file, e.g. modules.cloudHub.websocket.port=10000; may be repeated.", HelpName = "KEY=VALUE", AllowMultipleArgumentsPerToken = false };
var dataDirectory = new Option<string>("--data-dir")
{
    Description = "Where the embedded API's database, keys and admin.kubeconfig live.", HelpName = "DIR", DefaultValueFactory = _ => "/var/lib/edge/cloudcore",
};
var modules = new Option<string?>("--modules") { Description = "Only these modules: gslb, the authoritative DNS server without hub and controllers.", HelpName = "NAMES" };
var kubeconfig = new Option<string?>("--kubeconfig") { Description = "The cluster to serve, in place of the embedded API: sets kubeAPIConfig.kubeConfig.", HelpName = "FILE" };
var context = new Option<string?>("--context") { Description = "The context of the kubeconfig, in place of its current one: sets kubeAPIConfig.context.", HelpName = "NAME" };
var check = new Option<bool>("--check") { Description = "Reads the config, names what is wrong with it, starts nothing." };
var verbose = new Option<bool>("--verbose", "-v") { Description = "Logs every message." };
var minimal = new Option<bool>("--minconfig") { Description = "Prints the settings that are usually changed, as YAML, and ends." };
var full = new Option<bool>("--defaultconfig") { Description = "Prints all settings with their defaults, as YAML, and ends." };

var root = new RootCommand("""
    cloudcore is the cloud side of Edge: edges join and connect here, and get the pods, configuration and devices meant for them.

    Examples:
      cloudcore
          With its own Kubernetes API on 127.0.0.1:6443; use it with
          kubectl --kubeconfig /var/lib/edge/cloudcore/admin.kubeconfig get nodes
      cloudcore --config cloudcore.yaml --kubeconfig /root/.kube/config
          Beside an existing cluster.
      cloudcore --data-dir /tmp/edge --set modules.apiServer.port=0 --set modules.cloudHub.websocket.port=0
          On free ports; /tmp/edge/cloudcore.ports.json tells which.
      cloudcore --modules gslb --config cloudcore.yaml
          Only the DNS server, beside the cluster of the config.
      cloudcore --minconfig > cloudcore.yaml
    """)
{
    config, set, dataDirectory, kubeconfig, context, modules, verbose, minimal, full, check,
};
root.SetAction(async (result, _) =>
{
    if (result.GetValue(minimal) || result.GetValue(full))
    {
        Console.Out.Write(result.GetValue(full) ? DefaultConfig.Full : DefaultConfig.Minimal);
        return 0;
    }

    List<string> sets = [.. result.GetValue(set) ?? []];
    if (result.GetValue(kubeconfig) is { } cluster)
        sets.Add($"kubeAPIConfig.kubeConfig={Path.GetFullPath(cluster)}");
    if (result.GetValue(context) is { } named)
        sets.Add($"kubeAPIConfig.context={named}");
    if (result.GetValue(check))
        return Check(result.GetValue(config), sets);
    return await RunAsync(result.GetValue(config), sets, result.GetValue(dataDirectory)!, result.GetValue(modules), result.GetValue(verbose));
});
// Signals are handled below; the parser's own handling would end the process before the parts are stopped.
return await root.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = null });

static int Check(string? config, IReadOnlyList<string> set)
{
    try
    {
        CloudCoreProcess.ReadConfig(config, set);
        Console.Out.WriteLine($"{config ?? "the default config"} is valid");
        return 0;
    }
    catch (ConfigException e)
    {
        foreach (var problem in e.Problems)
            Console.Error.WriteLine($"cloudcore: {problem}");
        return 1;
    }
}

static async Task<int> RunAsync(string? config, IReadOnlyList<string> set, string dataDirectory, string? modules, bool isVerbose)
{
    using var loggers = LoggerFactory.Create(logging => logging
        .SetMinimumLevel(isVerbose ? LogLevel.Debug : LogLevel.Information)
        .AddFilter("Microsoft", LogLevel.Warning)
        .AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.UseUtcTimestamp = true;
            console.TimestampFormat = "yyyy-MM-dd'T'HH:mm:ss.fff'Z' ";
            console.ColorBehavior = Microsoft.Extensions.Logging.Console.LoggerColorBehavior.Disabled;
        })
        .Services.Configure<Microsoft.Extensions.Logging.Console.ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace));
    using var stop = new CancellationTokenSource();
    void Stop(PosixSignalContext signal)
    {
        signal.Cancel = true;
        stop.Cancel();
    }

    using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
    using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
    try
    {
        if (CloudCoreProcess.Restrict(CloudCoreProcess.ReadConfig(config, set), modules) is not { } options)
            throw new CloudCoreException($"--modules '{modules}' is not known; it can be gslb, or left out for all");
        using var traces = TraceExport.Start(options.TracingEndpoint, "cloudcore", options.InstanceId.Length > 0 ? options.InstanceId : Environment.MachineName);
        Directory.CreateDirectory(dataDirectory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        await using var process = await CloudCoreProcess.StartAsync(options, Path.GetFullPath(dataDirectory), TimeProvider.System, new Random(), loggers, stop.Token);
        using var file = new PortsFile(Path.Combine(dataDirectory, "cloudcore.ports.json"));
        var ports = process.Ports;
        file.Write(ports.Api, ports.WebSocket, ports.Https, ports.Metrics, ports.Kubeconfig, ports.Quic, process.DnsPort, process.RouterPort, process.StreamPort, process.TunnelPort);
        Console.Out.WriteLine(
            $"cloudcore is ready: api {ports.Api}, websocket {ports.WebSocket}, https {ports.Https}, metrics {ports.Metrics}, kubeconfig {ports.Kubeconfig}{(process.DnsPort > 0 ? $", dns {process.DnsPort}" : "")}{(process.RouterPort > 0 ? $", router {process.RouterPort}" : "")}{(process.StreamPort > 0 ? $", stream {process.StreamPort}" : "")}");
        await Console.Out.FlushAsync();
        await HeapTrimmer.RunAsync(process.RestingBytes, TimeProvider.System, stop.Token);
        return 0;
    }
    catch (OperationCanceledException) when (stop.IsCancellationRequested)
    {
        return 0;
    }
    catch (ConfigException e)
    {
        foreach (var problem in e.Problems)
            Console.Error.WriteLine($"cloudcore: {problem}");
    }
    catch (KubeException e)
    {
        Console.Error.WriteLine($"cloudcore: the Kubernetes API: {OneLine(e.Message)}");
    }
    catch (Exception e) when (e is CloudCoreException or Edge.Cloud.Gslb.Module.GslbException or ApiServerException or Edge.Common.Storage.StoreException or IOException or UnauthorizedAccessException)
    {
        Console.Error.WriteLine($"cloudcore: {OneLine(e.Message)}");
    }

    return 1;
}

static string OneLine(string text) => text.ReplaceLineEndings(" ");
