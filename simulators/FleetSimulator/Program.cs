using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Edge.Common;
using Edge.Common.Configuration;
using Edge.Common.Storage;
using Edge.Core.EdgeHub;
using Edge.Fleet;

NativeHeap.LimitArenas(2);
var nodes = new Option<int>("--nodes") { Description = "How many hollow EdgeCores.", DefaultValueFactory = _ => 100 };
var cloudcore = new Option<string>("--cloudcore") { Description = "CloudCore's hub, wss://HOST:PORT or HOST:PORT.", DefaultValueFactory = _ => "127.0.0.1:10000" };
var enrolUrl = new Option<string?>("--enrol-url") { Description = "CloudCore's enrolment server; default https://HOST:10002 of the hub's host.", HelpName = "URL" };
var token = new Option<string>("--token") { Description = "The join token; each node enrols over HTTPS and keeps its certificate below --data-dir.", DefaultValueFactory = _ => "" };
var tokenFile = new Option<string?>("--token-file") { Description = "A file with the join token.", HelpName = "FILE" };
var caFile = new Option<string>("--ca-file") { Description = "PEM of CloudCore's CA; with its key the fleet signs the certificates itself, which is faster.", HelpName = "FILE", DefaultValueFactory = _ => "" };
var caKeyFile = new Option<string>("--ca-key-file") { Description = "PEM of the CA's key.", HelpName = "FILE", DefaultValueFactory = _ => "" };
var seconds = new Option<double?>("--seconds") { Description = "How long to run, counted from the first dial; without it until a signal (or stop, with --control)." };
var check = new Option<bool>("--check") { Description = "Exits 1 with the reasons when a node is not connected at the end, an acknowledged object is not in the store, a version went back, or an answer is missing." };
var json = new Option<bool>("--json") { Description = "Prints the summary as one JSON line." };
var dataDir = new Option<string?>("--data-dir") { Description = "Where the store lies; default a temporary directory that is removed at the end.", HelpName = "DIR" };
var prefix = new Option<string>("--name-prefix") { Description = "Nodes are called PREFIX0, PREFIX1 …", DefaultValueFactory = _ => "fleet-" };
var dials = new Option<int>("--dials") { Description = "Connections being made at once.", DefaultValueFactory = _ => 128 };
var lease = new Option<int>("--lease-seconds") { Description = "Seconds between lease renewals of a node.", DefaultValueFactory = _ => 10 };
var heartbeat = new Option<int>("--heartbeat-seconds") { Description = "Seconds between keepalive messages of a node.", DefaultValueFactory = _ => 15 };
var noStatus = new Option<bool>("--no-status") { Description = "Leaves out the status reports after each connect and every 5 minutes." };
var seed = new Option<int>("--seed") { Description = "Seed of the backoff's jitter.", DefaultValueFactory = _ => 1 };
var control = new Option<bool>("--control") { Description = "Reads commands from stdin, JSON lines, and answers on stdout; nothing dials before {\"do\":\"start\"}. See docs/benchmarks.md." };
var root = new RootCommand("""
    fleet-simulator runs many hollow EdgeCores in one process: the real dialer, session, queue, lease and object rules of EdgeCore, each
    node with a certificate of its own, all on one SQLite store with group commit. No pods, no devices.

    Examples:
      fleet-simulator --nodes 500 --token "$(edgectl gettoken)" --seconds 60 --check
      fleet-simulator --nodes 10000 --cloudcore wss://127.0.0.1:10000 --ca-file ca.crt --ca-key-file ca.key --seconds 120 --json
          CloudCore's nodeLimit must be as high (modules.cloudHub.nodeLimit), and so must ulimit -n on both sides.
      kubectl -n kubeedge get secret casecret -o jsonpath='{.data.cadata}'
          The CA in base64 of DER; `openssl x509 -inform der` makes PEM of it, `openssl ec -inform der` of cakeydata.
    """)
{
    nodes, cloudcore, enrolUrl, token, tokenFile, caFile, caKeyFile, seconds, check, json, dataDir, prefix, dials, lease, heartbeat, noStatus, seed, control,
};
root.SetAction(async (parse, cancellationToken) =>
{
    string? temporary = null;
    try
    {
        var server = parse.GetValue(cloudcore)!;
        server = (server.Contains("://", StringComparison.Ordinal) ? server[(server.IndexOf("://", StringComparison.Ordinal) + 3)..] : server).TrimEnd('/');
        if (!Uri.TryCreate($"wss://{server}", UriKind.Absolute, out var hub) || hub.IsDefaultPort)
            throw new ConfigException([$"--cloudcore {parse.GetValue(cloudcore)}: must be HOST:PORT or wss://HOST:PORT, e.g. wss://127.0.0.1:10000"]);
        foreach (var (name, value) in ((string, int)[])[("--nodes", parse.GetValue(nodes)), ("--dials", parse.GetValue(dials)), ("--lease-seconds", parse.GetValue(lease)), ("--heartbeat-seconds", parse.GetValue(heartbeat))])
        {
            if (value is < 1 or > 1_000_000)
                throw new ConfigException([$"{name} {value}: must be from 1 to 1000000"]);
        }

        var options = new FleetOptions
        {
            Nodes = parse.GetValue(nodes),
            Server = server,
            EnrolUrl = parse.GetValue(enrolUrl) ?? $"https://{hub.Host}:10002",
            Token = parse.GetValue(tokenFile) is { } file ? (await File.ReadAllTextAsync(file, cancellationToken)).Trim() : parse.GetValue(token)!,
            CaFile = parse.GetValue(caFile)!,
            CaKeyFile = parse.GetValue(caKeyFile)!,
            DataDirectory = parse.GetValue(dataDir) ?? (temporary = Directory.CreateTempSubdirectory("fleet-").FullName),
            NamePrefix = parse.GetValue(prefix)!,
            DialsMax = parse.GetValue(dials),
            LeaseSeconds = parse.GetValue(lease),
            HeartbeatSeconds = parse.GetValue(heartbeat),
            Status = !parse.GetValue(noStatus),
            Seed = parse.GetValue(seed),
        };
        return await RunAsync(options, parse.GetValue(seconds), parse.GetValue(check), parse.GetValue(json), parse.GetValue(control), cancellationToken);
    }
    catch (Exception e) when (e is ConfigException or StoreException or EnrolmentException or IOException or UnauthorizedAccessException)
    {
        Console.Error.WriteLine($"fleet-simulator: {e.Message}");
        return 1;
    }
    catch (OperationCanceledException)
    {
        return 1; // stopped while preparing
    }
    finally
    {
        if (temporary is not null)
            Directory.Delete(temporary, recursive: true);
    }
});
return await root.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = null });

static async Task<int> RunAsync(FleetOptions options, double? seconds, bool isChecked, bool isJson, bool isControlled, CancellationToken cancellationToken)
{
    using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
    void Stop(PosixSignalContext signal)
    {
        signal.Cancel = true;
        stop.Cancel();
    }

    using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
    using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
    var time = TimeProvider.System;
    await using var fleet = await Fleet.PrepareAsync(options, time, stop.Token);
    using var until = seconds is { } limit ? new CancellationTokenSource(TimeSpan.FromSeconds(limit), time) : new CancellationTokenSource();
    using var both = CancellationTokenSource.CreateLinkedTokenSource(stop.Token, until.Token);
    try
    {
        if (isControlled)
        {
            using var control = new Control(fleet, Console.In, Console.Out);
            await control.RunAsync(both.Token);
        }
        else
        {
            fleet.Start();
            await WatchAsync(fleet, time, isLive: !Console.IsErrorRedirected && !isJson, both.Token);
        }
    }
    catch (OperationCanceledException) when (both.IsCancellationRequested)
    {
        // The time is over, or a signal came.
    }

    await fleet.StopAsync();
    var summary = fleet.Snapshot();
    var problems = isChecked ? fleet.Check() : [];
    if (isChecked)
        summary["problems"] = new JsonArray([.. problems.Select(problem => JsonValue.Create(problem))]);
    if (isJson)
        Console.WriteLine(summary.ToJsonString());
    else if (!isControlled)
        Print(summary);
    foreach (var problem in problems.Take(20))
        Console.Error.WriteLine($"fleet-simulator: {problem}");
    return problems.Count == 0 ? 0 : 1;
}

static async Task WatchAsync(Fleet fleet, TimeProvider time, bool isLive, CancellationToken cancellationToken)
{
    while (true)
    {
        await Task.Delay(TimeSpan.FromSeconds(1), time, cancellationToken);
        if (!isLive)
            continue;
        var now = fleet.Snapshot();
        Console.Error.Write($"\r{now["connected"]} of {now["nodes"]} connected, {now["objectsStored"]} objects stored, {now["upAcked"]} entries answered, {Megabytes(now["bytesIn"])} MB in, {Megabytes(now["bytesOut"])} MB out \u001b[K");
    }
}

static string Megabytes(JsonNode? bytes) => ((long)bytes! / 1e6).ToString("0.0", CultureInfo.InvariantCulture);

static void Print(JsonObject summary)
{
    Console.Error.WriteLine();
    foreach (var (name, value) in summary)
        Console.WriteLine($"{name,-22} {value?.ToJsonString() ?? "-"}");
}
