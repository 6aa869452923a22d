using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Processes;

namespace Edge.Chaos.Tests;

/// <summary>What a <see cref="ChaosEdge"/> is started with.</summary>
/// <param name="HeartbeatSeconds">edgecore's keepalive; cloudcore ends a session after two of them without a word.</param>
/// <param name="HasSpare">Whether a second cloudcore on the same API stands by (<see cref="ChaosEdge.FailOverAsync"/>).</param>
internal sealed record ChaosEdgeOptions(int HeartbeatSeconds, bool HasSpare = false);

/// <summary>Three real processes: a cloudcore that is only the Kubernetes API (the ledger, never killed), a cloudcore beside it that serves the node, and the node's edgecore,
/// which reaches that one through a <see cref="FaultProxy"/>. The last two may be killed at any time. Where there is a spare cloudcore, the proxy is their load balancer.</summary>
internal sealed class ChaosEdge : IAsyncDisposable
{
    public const string Node = "edge-1";
    private const int LogLines = 15;
    private static readonly TimeSpan s_readyWithin = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_stopGrace = TimeSpan.FromSeconds(10);

    private readonly string _directory;
    private readonly Janitor _janitor;
    private readonly ChaosEdgeOptions _options;
    private readonly TimeProvider _time = TimeProvider.System;
    private readonly ConcurrentQueue<string> _deaths = new();
    private readonly List<ChildProcess> _processes = [];
    private readonly FaultProxy _enrolment;
    private CloudSide _cloud = new("cloud", "chaos");
    private CloudSide _spare = new("spare", "chaos-spare");
    private ChildProcess? _api;
    private ChildProcess? _edge;
    private KubeClient? _client;

    private ChaosEdge(ChaosEdgeOptions options, string directory)
    {
        _options = options;
        _directory = directory;
        _janitor = Janitor.Start(directory, removeDirectory: true);
        Hub = new FaultProxy(_time);
        _enrolment = new FaultProxy(_time);
        Directory.CreateDirectory(DataOf(_cloud));
        Directory.CreateDirectory(DataOf(_spare));
        Directory.CreateDirectory(EdgeData);
        Store = new EdgeStore(Path.Combine(EdgeData, "edgecore.db"));
    }

    /// <summary>Between edgecore and the hub of the cloudcore that serves it.</summary>
    public FaultProxy Hub { get; }

    /// <summary>The Kubernetes API.</summary>
    public KubeClient Client => _client!;

    /// <summary>What the edge has on its disk.</summary>
    public EdgeStore Store { get; }

    public string DmiSocket => Path.Combine(_directory, "dmi.sock");

    public string MapperSocket => Path.Combine(_directory, "mapper.sock");

    /// <summary>How long restarts took until the process was ready, in milliseconds.</summary>
    public ConcurrentQueue<(string Who, double Ms)> Restarts { get; } = new();

    private string EdgeData => Path.Combine(_directory, Node);

    private string ApiData => Path.Combine(_directory, "api");

    public static async Task<ChaosEdge> StartAsync(ChaosEdgeOptions options)
    {
        var edge = new ChaosEdge(options, Directory.CreateTempSubdirectory("edge-chaos-").FullName);
        try
        {
            await edge.StartPartsAsync();
            return edge;
        }
        catch
        {
            edge.KeepLogs();
            await edge.DisposeAsync();
            throw;
        }
    }

    /// <summary>SIGKILLs these processes at the same moment, waits <paramref name="pause"/>, and starts them again; returns once they are ready, connected or not.</summary>
    /// <param name="whileDead">Called while none of them runs; where edgecore is among them it may write to its store.</param>
    public async Task KillAsync(Side sides, TimeSpan pause, Action? whileDead = null)
    {
        // No reader of ours is in the edge's file meanwhile: the next edgecore finds it as a crash leaves it.
        using var closed = await Store.CloseAsync();
        var killed = new List<Task>();
        if (sides.HasFlag(Side.Cloud))
        {
            Hub.Target = _enrolment.Target = 0;
            killed.Add(_cloud.Process!.KillAsync());
        }

        if (sides.HasFlag(Side.Edge))
            killed.Add(_edge!.KillAsync());
        await Task.WhenAll(killed);
        whileDead?.Invoke();
        await Task.Delay(pause, _time);
        await Task.WhenAll(
            sides.HasFlag(Side.Cloud) ? StartServingAsync() : Task.CompletedTask,
            sides.HasFlag(Side.Edge) ? StartEdgeAsync() : Task.CompletedTask);
    }

    /// <summary>SIGKILLs the cloudcore that serves the node, and leads new connections to the spare one, which was up all the while. The killed one stays away until
    /// <see cref="StartSpareAsync"/>.</summary>
    public async Task FailOverAsync()
    {
        (_cloud, _spare) = (_spare, _cloud);
        await _spare.Process!.KillAsync();
        Lead();
    }

    /// <summary>Starts the cloudcore that was killed last, as the spare one; returns once it is ready.</summary>
    public Task StartSpareAsync() => StartCloudAsync(_spare);

    /// <summary>Waits until the Node says that the cloudcore serves it to which new connections are led; returns that one's instance.</summary>
    public async Task<string> ServedAsync(TimeSpan patience)
    {
        await Wait.UntilAsync(
            $"the Node names {_cloud.InstanceId}",
            async token =>
            {
                ThrowIfDead();
                return (await Client.GetAsync(ResourceKind.Node, null, Node, token)).Annotation("edge.kubeedge.io/cloudcore") == _cloud.InstanceId;
            },
            patience,
            _time,
            CancellationToken.None);
        return _cloud.InstanceId;
    }

    /// <summary>Asks until it is so; fails with <paramref name="what"/>, and at once when a process ended by itself.</summary>
    public Task WaitAsync(string what, Func<bool> isSo, TimeSpan patience)
        => Wait.UntilAsync(
            what,
            _ =>
            {
                ThrowIfDead();
                return Task.FromResult(isSo());
            },
            patience,
            _time,
            CancellationToken.None);

    /// <exception cref="LocalEdgeException">A process ended that nobody killed.</exception>
    public void ThrowIfDead()
    {
        if (!_deaths.IsEmpty)
            throw new LocalEdgeException(string.Join('\n', _deaths));
    }

    /// <summary>Copies the logs to where they stay; returns the path.</summary>
    public string KeepLogs()
    {
        var target = Path.Combine(Executables.SourceTree ?? Path.GetTempPath(), "artifacts", "test-logs", Path.GetFileName(_directory));
        Directory.CreateDirectory(target);
        foreach (var file in Directory.EnumerateFiles(Path.Combine(_directory, "logs")))
            File.Copy(file, Path.Combine(target, Path.GetFileName(file)), overwrite: true);
        return target;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var process in (ChildProcess?[])[_edge, _cloud.Process, _spare.Process, _api])
        {
            if (process is not null)
                await process.StopAsync(s_stopGrace);
        }

        _client?.Dispose();
        await Hub.DisposeAsync();
        await _enrolment.DisposeAsync();
        foreach (var process in _processes)
            process.Dispose();
        Directory.Delete(_directory, recursive: true);
        _janitor.Dismiss();
        _janitor.Dispose();
    }

    private async Task StartPartsAsync()
    {
        var config = Path.Combine(_directory, "cloudcore.yaml");
        await File.WriteAllTextAsync(config, "apiVersion: cloudcore.config.kubeedge.io/v1alpha1\nkind: CloudCore\n");
        _api = Start("api", "cloudcore", ["--config", config, "--data-dir", ApiData], [
            "modules.apiServer.port=0", "modules.cloudHub.websocket.enable=false", "modules.cloudHub.https.enable=false", "commonConfig.monitorServer.bindAddress=127.0.0.1:0",
        ]);
        var ports = await ReadyAsync(_api, Path.Combine(ApiData, "cloudcore.ports.json"));
        var kubeconfig = ports.Text("kubeconfig");
        _client = KubeClient.FromKubeconfig(kubeconfig, _time);

        await StartServingAsync();
        if (_options.HasSpare)
            await StartSpareAsync();
        var token = (await EdgectlAsync(["gettoken", "--kubeconfig", kubeconfig])).Trim();
        await EdgectlAsync([
            "join", "-e", $"127.0.0.1:{Hub.Port}", "--certport", $"{_enrolment.Port}", "--token", token, "-i", Node, "--data-dir", EdgeData,
            "--config-out", Path.Combine(_directory, "edgecore.yaml"),
        ]);
        await StartEdgeAsync();
        await Wait.UntilAsync(
            $"node {Node} registers",
            async token =>
            {
                ThrowIfDead();
                return await Client.TryGetAsync(ResourceKind.Node, null, Node, token) is not null;
            },
            s_readyWithin,
            _time,
            CancellationToken.None);
    }

    private async Task StartServingAsync()
    {
        await StartCloudAsync(_cloud);
        Lead();
    }

    // Its ports are other ones each time.
    private async Task StartCloudAsync(CloudSide side)
    {
        var data = DataOf(side);
        var file = Path.Combine(data, "cloudcore.ports.json");
        File.Delete(file);
        var began = _time.GetTimestamp();
        side.Process = Start(side.Name, "cloudcore", ["--config", Path.Combine(_directory, "cloudcore.yaml"), "--data-dir", data], [
            $"kubeAPIConfig.kubeConfig={Path.Combine(ApiData, "admin.kubeconfig")}", "modules.cloudHub.websocket.port=0", "modules.cloudHub.https.port=0",
            $"modules.cloudHub.instanceId={side.InstanceId}", $"modules.cloudHub.keepaliveInterval={2 * _options.HeartbeatSeconds}", "commonConfig.monitorServer.bindAddress=127.0.0.1:0",
        ]);
        var ports = await ReadyAsync(side.Process, file);
        Restarts.Enqueue(("cloudcore", _time.GetElapsedTime(began).TotalMilliseconds));
        (side.HttpsPort, side.HubPort) = ((int)ports.Number(0, "https"), (int)ports.Number(0, "websocket"));
    }

    // New connections go to the cloudcore that serves.
    private void Lead()
    {
        _enrolment.Target = _cloud.HttpsPort;
        Hub.Target = _cloud.HubPort;
    }

    private string DataOf(CloudSide side) => Path.Combine(_directory, side.Name);

    private async Task StartEdgeAsync()
    {
        var file = Path.Combine(EdgeData, "edgecore.ports.json");
        File.Delete(file);
        var began = _time.GetTimestamp();
        _edge = Start(Node, "edgecore", ["--config", Path.Combine(_directory, "edgecore.yaml"), "--data-dir", EdgeData], [
            "modules.edged.enable=false", $"modules.deviceTwin.dmiSockPath={DmiSocket}", $"modules.edgeHub.heartbeat={_options.HeartbeatSeconds}",
            "commonConfig.monitorServer.bindAddress=127.0.0.1:0",
        ]);
        await ReadyAsync(_edge, file);
        Restarts.Enqueue(("edgecore", _time.GetElapsedTime(began).TotalMilliseconds));
    }

    private ChildProcess Start(string name, string executable, string[] arguments, string[] settings)
    {
        var process = ChildProcess.Start(
            name, _directory, Executables.Find(executable), [.. arguments, .. settings.SelectMany(setting => (string[])["--set", setting])], _time);
        _processes.Add(process);
        _ = ReportDeathAsync(process);
        return process;
    }

    // Never fails: it only waits and notes.
    private async Task ReportDeathAsync(ChildProcess process)
    {
        await process.Exited;
        if (process.Died)
            _deaths.Enqueue($"{process.Name} ended by itself with exit code {process.ExitCode}; the end of its log:\n{process.LogTail(LogLines)}");
    }

    private async Task<JsonObject> ReadyAsync(ChildProcess process, string portsFile)
    {
        await WaitAsync($"{process.Name} gets ready", () => File.Exists(portsFile), s_readyWithin);
        return JsonNode.Parse(await File.ReadAllTextAsync(portsFile))!.AsObject();
    }

    private Task<string> EdgectlAsync(string[] arguments)
        => Tool.RunAsync(
            Executables.Find("edgectl"),
            arguments,
            new ToolOptions(_time) { Environment = new Dictionary<string, string> { [ProcessTable.Marker] = _directory } },
            CancellationToken.None);

    // A cloudcore that serves nodes, through its restarts.
    private sealed class CloudSide(string name, string instanceId)
    {
        public string Name => name;

        public string InstanceId => instanceId;

        public ChildProcess? Process { get; set; }

        public int HttpsPort { get; set; }

        public int HubPort { get; set; }
    }
}

/// <summary>Who is killed.</summary>
[Flags]
internal enum Side
{
    None = 0,
    Cloud = 1,
    Edge = 2,
    Both = Cloud | Edge,
}
