using System.CommandLine;
using System.Runtime.InteropServices;
using Edge.Common;
using Edge.Common.Configuration;
using Edge.Common.Storage;
using Edge.Core;
using Edge.Core.Configuration;
using Edge.Core.DeviceTwin;
using Edge.Core.Edged;
using Edge.Core.EdgeDns;
using Edge.Core.EventBus;
using Edge.Core.ServiceBus;
using Edge.Core.TaskManager;
using Edge.Core.Host;
using Edge.Telemetry;
using Microsoft.Extensions.Logging;

NativeHeap.LimitArenas(2);
var config = new Option<string>("--config") { Description = "The config file.", DefaultValueFactory = _ => "/etc/kubeedge/config/edgecore.yaml" };
var set = new Option<string[]>("--set") { Description = "Sets one key over the file, e.g. modules.edgeHub.heartbeat=10; may be given many times.", AllowMultipleArgumentsPerToken = false };
var dataDir = new Option<string?>("--data-dir") { Description = "Puts every default path (store, certificates, DMI socket, pods) below this directory." };
var minConfig = new Option<bool>("--minconfig") { Description = "Prints the shortest useful config and exits." };
var defaultConfig = new Option<bool>("--defaultconfig") { Description = "Prints a config with every key's default and exits." };
var check = new Option<bool>("--check") { Description = "Reads the config, names what is wrong with it, starts nothing." };
var debug = new Option<bool>("--debug") { Description = "Logs every message (never contents)." };
var root = new RootCommand("""
    edgecore runs a node at the edge: it keeps what the cloud sends in its own store, runs pods, serves devices, and goes on without the cloud.

    Examples:
      edgecore --minconfig > edgecore.yaml                    a config to start from ('edgectl join' writes a complete one)
      edgecore --config edgecore.yaml                         paths below /etc/kubeedge and /var/lib/kubeedge
      edgecore --config edgecore.yaml --data-dir ./edge1      everything below ./edge1; several can run side by side
      edgecore --config edgecore.yaml --set modules.edged.enable=false --set commonConfig.monitorServer.bindAddress=127.0.0.1:0
    """)
{
    config, set, dataDir, minConfig, defaultConfig, check, debug,
};
root.SetAction(async (parse, cancellationToken) =>
{
    if (parse.GetValue(minConfig) || parse.GetValue(defaultConfig))
    {
        Console.Write(parse.GetValue(minConfig) ? SampleConfigs.Minimal : SampleConfigs.Default);
        return 0;
    }

    if (parse.GetValue(check))
    {
        try
        {
            EdgeCoreConfig.Load(parse.GetValue(config)!, parse.GetValue(set) ?? [], parse.GetValue(dataDir), Environment.MachineName);
            Console.WriteLine($"{parse.GetValue(config)} is valid");
            return 0;
        }
        catch (ConfigException e)
        {
            foreach (var problem in e.Problems)
                Console.Error.WriteLine($"edgecore: {problem}");
            return 1;
        }
    }

    using var loggers = LoggerFactory.Create(builder => builder
        .SetMinimumLevel(parse.GetValue(debug) ? LogLevel.Debug : LogLevel.Information)
        .AddFilter("Microsoft", LogLevel.Warning)
        .AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.UseUtcTimestamp = true;
            console.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffZ ";
        })
        .AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace));
    using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
    void Stop(PosixSignalContext context)
    {
        context.Cancel = true;
        stop.Cancel();
    }

    using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
    using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
    // Once more after each change of the config by the cloud.
    while (true)
    {
        try
        {
            if (ConfigTrial.Start(parse.GetValue(config)!) is { } takenBack)
                Console.Error.WriteLine($"edgecore: the changed config is taken back: {takenBack}");
            if (!await RunOnceAsync())
                return 0;
        }
        catch (Exception e) when (e is ConfigException or StoreException)
        {
            Console.Error.WriteLine($"edgecore: {e.Message.Replace("\n", "\nedgecore: ", StringComparison.Ordinal)}");
            if (e is not ConfigException || ConfigTrial.TakeBack(parse.GetValue(config)!, e.Message) is null)
                return 1;
            Console.Error.WriteLine("edgecore: the changed config is taken back");
        }
    }

    async Task<bool> RunOnceAsync()
    {
        var options = EdgeCoreConfig.Load(parse.GetValue(config)!, parse.GetValue(set) ?? [], parse.GetValue(dataDir), Environment.MachineName);
        using var traces = TraceExport.Start(options.TracingEndpoint, "edgecore", options.NodeName);
        await using var edge = new EdgeCoreHost(options, TimeProvider.System, new Random(), loggers);
        if (options.Edged.Enable)
            edge.AddPods(services => new PodManager(services));
        TwinService? twins = null;
        if (options.DeviceTwin.Enable)
            edge.AddModule(services => twins = new TwinService(services));
        if (options.EventBus.Enable)
            edge.AddEventBus(services => new EventBusService(services, twins));
        if (options.ServiceBus.Enable)
            edge.AddServiceBus(services => new ServiceBusModule(services));
        if (options.EdgeDns.Enable)
            edge.AddEdgeDns(services => new EdgeDnsModule(services));
        edge.Ready += (node, server) => Console.WriteLine($"edgecore is ready: node {node} connected to {server}");
        using var end = CancellationTokenSource.CreateLinkedTokenSource(stop.Token);
        var trimming = HeapTrimmer.RunAsync(quietBytes: () => 8 << 20, TimeProvider.System, end.Token);
        try
        {
            await edge.RunAsync(end.Token);
            return edge.IsRestartWanted && !stop.IsCancellationRequested;
        }
        finally
        {
            await end.CancelAsync();
            await trimming;
        }
    }
});
return await root.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = null });
