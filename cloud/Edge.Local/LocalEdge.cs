using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local.Processes;

namespace Edge.Local;

/// <summary>A whole Edge on this machine as real processes: CloudCore with the embedded API, EdgeCores that joined it, a containerd for their pods,
/// the Modbus simulator and the mapper. Everything is under one directory and gone after <see cref="DisposeAsync"/>, or, when this process
/// is killed, by the work of a <see cref="Janitor"/>.</summary>
/// <remarks>Not for concurrent calls; the properties may be read at any time.</remarks>
public sealed partial class LocalEdge : IAsyncDisposable
{
    private readonly LocalEdgeOptions _options;
    private readonly IProgress<LocalStep> _progress;
    private readonly string _directory;
    private readonly FileStream _lock;
    private readonly Janitor _janitor;
    private readonly ConcurrentQueue<string> _deaths = new();
    private readonly List<ChildProcess> _processes = [];
    private readonly List<PortLease> _leases = [];
    private KubeClient? _client;
    private LocalPorts? _ports;

    private LocalEdge(LocalEdgeOptions options, IProgress<LocalStep> progress, string directory, FileStream lockFile, Janitor janitor)
    {
        _options = options;
        _progress = progress;
        _directory = directory;
        _lock = lockFile;
        _janitor = janitor;
        Nodes = [.. Enumerable.Range(1, options.Nodes).Select(number => new LocalNode(directory, $"edge-{number}"))];
    }

    /// <summary>The full path of the directory everything is under.</summary>
    public string Directory => _directory;

    public string LogsDirectory => Path.Combine(_directory, "logs");

    public IReadOnlyList<LocalNode> Nodes { get; }

    public LocalPorts Ports => _ports ?? throw new InvalidOperationException("cloudcore is not ready");

    /// <summary>The kubeconfig of the administrator, for kubectl.</summary>
    public string Kubeconfig => Ports.Kubeconfig;

    /// <summary>The API as the administrator.</summary>
    public KubeClient Client => _client ?? throw new InvalidOperationException("cloudcore is not ready");

    public Kubectl Kubectl => new(Kubeconfig, ToolOptions);

    /// <summary>How tools are run for this Edge: marked as its own, so that the janitor ends them too.</summary>
    public ToolOptions ToolOptions => new(_options.Time) { Environment = new Dictionary<string, string> { [ProcessTable.Marker] = _directory } };

    public ChildProcess? CloudCore { get; private set; }

    /// <summary>The cloudcore that the nodes connect to where it is not <see cref="CloudCore"/> (<see cref="LocalEdgeOptions.OwnHub"/>), else null. It is not started again when that one is.</summary>
    public ChildProcess? Hub { get; private set; }

    public ChildProcess? Simulator { get; private set; }

    /// <summary>The mapper when it runs as a process; null when it runs as a pod or not at all.</summary>
    public ChildProcess? MapperProcess { get; private set; }

    /// <summary>The TCP port of the Modbus simulator on 127.0.0.1; 0 when it does not run.</summary>
    public int ModbusPort { get; private set; }

    /// <summary>Whether edge-1 runs pods.</summary>
    public bool HasPods => Nodes.Count > 0 && Nodes[0].Containerd is not null;

    /// <summary>Whether the mapper runs as a pod.</summary>
    public bool HasMapperPod { get; private set; }

    /// <summary>The processes that ended unasked, each with the end of its log; empty when all are well.</summary>
    public IReadOnlyCollection<string> Deaths => _deaths;

    /// <summary>Starts everything. Reports each step; throws <see cref="LocalEdgeException"/> when a part does not start, after stopping the rest.</summary>
    public static async Task<LocalEdge> StartAsync(LocalEdgeOptions options, IProgress<LocalStep> progress, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Nodes, 1);
        var directory = Path.GetFullPath(options.Directory);
        if (directory.Length > DirectoryLengthMax)
            throw new LocalEdgeException($"the directory {directory} is too long: at most {DirectoryLengthMax} characters, because paths of unix sockets below it end at 107; choose a shorter one with --data-dir");
        System.IO.Directory.CreateDirectory(directory);
        File.SetUnixFileMode(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);

        var lockFile = TakeLock(directory);
        LocalEdge edge;
        try
        {
            await Leftovers.CleanAsync(directory, options.Time);
            edge = new LocalEdge(options, progress, directory, lockFile, Janitor.Start(directory, options.RemoveDirectory));
        }
        catch
        {
            await lockFile.DisposeAsync();
            throw;
        }

        try
        {
            await edge.StartPartsAsync(cancellationToken);
            return edge;
        }
        catch (Exception e)
        {
            if (e is not OperationCanceledException)
                edge.KeepLogs();
            await edge.DisposeAsync();
            throw;
        }
    }

    /// <summary>SIGKILLs cloudcore and starts it again on the same ports and data.</summary>
    public async Task KillAndRestartCloudCoreAsync(CancellationToken cancellationToken)
    {
        await KillCloudCoreAsync();
        await RestartCloudCoreAsync(cancellationToken);
    }

    /// <summary>SIGKILLs cloudcore.</summary>
    public Task KillCloudCoreAsync() => CloudCore!.KillAsync();

    /// <summary>Starts a cloudcore that was killed on the same ports and data.</summary>
    public Task RestartCloudCoreAsync(CancellationToken cancellationToken)
        => StartCloudCoreAsync([$"modules.apiServer.port={Ports.Api}", $"modules.cloudHub.websocket.port={Ports.WebSocket}", $"modules.cloudHub.https.port={Ports.Https}", .. DnsSettings(Ports.Dns)], cancellationToken);

    /// <summary>SIGKILLs a node's edgecore and starts it again on the same data.</summary>
    public async Task KillAndRestartEdgeCoreAsync(LocalNode node)
    {
        await node.Process!.KillAsync();
        StartEdgeCore(node);
    }

    /// <summary>SIGKILLs a node's edgecore.</summary>
    public static Task KillEdgeCoreAsync(LocalNode node) => node.Process!.KillAsync();

    /// <summary>Starts an edgecore that was killed on the same data.</summary>
    public void RestartEdgeCore(LocalNode node) => StartEdgeCore(node);

    /// <summary>Cuts the power of a node: its edgecore, containerd and all that its containers run is killed at once, and what does not outlive a reboot (mounts, tmpfs,
    /// network namespaces, run state) is gone.</summary>
    public static async Task CutPowerAsync(LocalNode node)
    {
        await node.Process!.KillAsync();
        if (node.Containerd is { } containerd)
            await containerd.CutPowerAsync();
        Leftovers.Unmount(node.DataDirectory);
    }

    /// <summary>Starts a node's containerd and edgecore after <see cref="CutPowerAsync"/>. Does not wait for the node to be ready: the cloud may be away.</summary>
    public async Task BootAsync(LocalNode node, CancellationToken cancellationToken)
    {
        if (node.Containerd is { } containerd)
            await containerd.StartAgainAsync(cancellationToken);
        StartEdgeCore(node);
    }

    /// <summary>Waits until <paramref name="condition"/> holds; fails early when a process died, with the end of its log.</summary>
    public Task WaitForAsync(string description, Func<CancellationToken, Task<bool>> condition, TimeSpan timeout, CancellationToken cancellationToken)
        => Wait.UntilAsync(
            description,
            token =>
            {
                ThrowIfDead(description);
                return condition(token);
            },
            timeout,
            _options.Time,
            cancellationToken);

    /// <summary>Applies Kubernetes objects (YAML, several documents) to the API: creates what is not there, merges into what is.</summary>
    public Task ApplyAsync(string yaml, CancellationToken cancellationToken) => ApplyAsync(Manifests.Parse(yaml), cancellationToken);

    /// <summary>As <see cref="ApplyAsync(string, CancellationToken)"/>.</summary>
    public async Task ApplyAsync(IEnumerable<JsonObject> objects, CancellationToken cancellationToken)
    {
        foreach (var obj in objects)
            await Applying.ApplyAsync(Client, obj, cancellationToken);
    }

    public async Task<bool> IsNodeReadyAsync(string name, CancellationToken cancellationToken)
        => await Client.TryGetAsync(ResourceKind.Node, null, name, cancellationToken) is { } node && IsConditionTrue(node, "Ready");

    public async Task<bool> IsPodReadyAsync(string @namespace, string name, CancellationToken cancellationToken)
        => await Client.TryGetAsync(ResourceKind.Pod, @namespace, name, cancellationToken) is { } pod
            && pod.Text("status", "phase") == "Running" && IsConditionTrue(pod, "Ready");

    /// <summary>Copies the logs to a directory beside this one that stays, and returns its path.</summary>
    public string KeepLogs()
    {
        var target = KeptLogsDirectory(_options);
        if (!_options.RemoveDirectory)
            return target;
        System.IO.Directory.CreateDirectory(target);
        foreach (var file in System.IO.Directory.EnumerateFiles(LogsDirectory))
            File.Copy(file, Path.Combine(target, Path.GetFileName(file)), overwrite: true);
        foreach (var containerd in Leftovers.ContainerdDirectories(_directory))
        {
            var log = Path.Combine(containerd, "containerd.log");
            if (File.Exists(log))
                File.Copy(log, Path.Combine(target, $"{Path.GetFileName(containerd)}.log"), overwrite: true);
        }

        return target;
    }

    /// <summary>Where <see cref="KeepLogs"/> puts them.</summary>
    public static string KeptLogsDirectory(LocalEdgeOptions options)
        => !options.RemoveDirectory ? Path.Combine(Path.GetFullPath(options.Directory), "logs")
            : options.KeptLogsDirectory ?? Path.GetFullPath(options.Directory) + "-logs";

    /// <summary>Stops everything in order: edgecores, so that nobody restarts pods; pods; containerd; the mapper and the simulator; cloudcore.</summary>
    public async ValueTask DisposeAsync()
    {
        await StepAsync("stop edgecore", async () =>
        {
            await Task.WhenAll(Nodes.Select(node => StopAsync(node.Process)).Append(StopAsync(MapperProcess)).Append(StopAsync(Simulator)));
            return "";
        });
        if (Nodes.Any(node => node.Containerd is not null))
        {
            await StepAsync("stop pods and containerd", async () =>
            {
                await Task.WhenAll(Nodes.Where(node => node.Containerd is not null).Select(node => node.Containerd!.DisposeAsync().AsTask()));
                return "";
            });
        }

        await StepAsync("stop cloudcore", async () =>
        {
            _client?.Dispose();
            await StopAsync(Hub);
            await StopAsync(CloudCore);
            await Leftovers.CleanAsync(_directory, _options.Time);
            return "";
        });

        if (_options.RemoveDirectory)
            System.IO.Directory.Delete(_directory, recursive: true);
        foreach (var process in _processes)
            process.Dispose();
        foreach (var lease in _leases)
            lease.Dispose();
        _janitor.Dismiss();
        _janitor.Dispose();
        await _lock.DisposeAsync();
    }

    private static FileStream TakeLock(string directory)
    {
        try
        {
            return new FileStream(Path.Combine(directory, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e)
        {
            throw new LocalEdgeException($"the directory {directory} is in use by another 'edgectl up'; stop that one, or choose another with --data-dir", e);
        }
    }

    private static bool IsConditionTrue(JsonObject obj, string type)
        => obj.Items("status", "conditions").Any(condition => condition.Text("type") == type && condition.Text("status") == "True");

    private static async Task StopAsync(ChildProcess? process)
    {
        if (process is not null)
            await process.StopAsync(s_stopGrace);
    }

    private void ThrowIfDead(string waitingFor)
    {
        if (!_deaths.IsEmpty)
            throw new LocalEdgeException($"{waitingFor}: {string.Join('\n', _deaths)}");
    }

    private ChildProcess StartChild(string name, string executable, params IEnumerable<string> arguments)
    {
        var process = ChildProcess.Start(name, _directory, Executables.Find(executable), arguments, _options.Time);
        _processes.Add(process);
        _ = ReportDeathAsync(process);
        return process;
    }

    // Never fails: it only waits and reports.
    private async Task ReportDeathAsync(ChildProcess process)
    {
        await process.Exited;
        if (!process.Died)
            return;
        var text = $"{process.Name} ended by itself with exit code {process.ExitCode}; the end of {process.LogPath}:\n{process.LogTail(LogLines)}";
        _deaths.Enqueue(text);
        _progress.Report(new LocalStep(process.Name, null, text) { IsNote = true });
    }

    private async Task StepAsync(string name, Func<Task<string>> action)
    {
        var started = _options.Time.GetTimestamp();
        _progress.Report(new LocalStep(name, null, ""));
        var detail = await action();
        _progress.Report(new LocalStep(name, _options.Time.GetElapsedTime(started), detail));
    }

    private void Note(string name, string text) => _progress.Report(new LocalStep(name, null, text) { IsNote = true });
}
