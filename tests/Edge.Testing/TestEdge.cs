using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Processes;
using Xunit.Sdk;

namespace Edge.Testing;

/// <summary>What a test wants of its Edge.</summary>
public sealed record TestEdgeOptions
{
    public int Nodes { get; init; } = 1;

    /// <summary>Whether edge-1 runs pods on a containerd of its own; the test says <see cref="Requires.Containerd"/> first.</summary>
    public bool Pods { get; init; }

    /// <summary>Whether every node does.</summary>
    public bool PodsOnEveryNode { get; init; }

    /// <summary>Names under which containerd serves runc besides its own, for RuntimeClasses.</summary>
    public IReadOnlyList<string> RuntimeHandlers { get; init; } = [];

    /// <summary>Whether the Modbus simulator runs, with the mapper beside edge-1 and the device of docs/examples.</summary>
    public bool Simulator { get; init; }

    /// <summary>Whether cloudcore and the nodes answer DNS, with the zone of docs/examples/gslb.</summary>
    public bool Dns { get; init; }

    public IReadOnlyList<string> CloudCoreSettings { get; init; } = [];

    public IReadOnlyList<string> EdgeCoreSettings { get; init; } = [];
}

/// <summary>A whole Edge for one test or one test class, of real processes on free ports in a temporary directory; nothing is left at the end.</summary>
/// <example><code>await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Pods = true });</code></example>
/// <remarks>When an assertion or a wait failed while it ran, its logs are kept in <c>artifacts/test-logs</c> and the path is printed.</remarks>
public sealed class TestEdge : IAsyncDisposable
{
    /// <summary>How long <see cref="WaitForAsync"/> waits at most: a net, long enough for a busy machine.</summary>
    public static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(30);

    private bool _failed;

    private TestEdge(LocalEdge local)
    {
        Local = local;
        AppDomain.CurrentDomain.FirstChanceException += OnException;
    }

    /// <summary>The edge itself: processes, nodes, ports, directory.</summary>
    public LocalEdge Local { get; }

    public KubeClient Client => Local.Client;

    /// <summary>The steps of its start and what went wrong since, for messages.</summary>
    public required IReadOnlyCollection<LocalStep> Steps { get; init; }

    public static async Task<TestEdge> StartAsync(TestEdgeOptions options, CancellationToken cancellationToken = default)
    {
        var directory = Directory.CreateTempSubdirectory("edge-test-").FullName;
        var steps = new StepList();
        var local = await LocalEdge.StartAsync(
            new LocalEdgeOptions
            {
                Directory = directory,
                KeptLogsDirectory = LogsDirectory(directory),
                Nodes = options.Nodes,
                Pods = options.Pods,
                PodsOnEveryNode = options.PodsOnEveryNode,
                RuntimeHandlers = options.RuntimeHandlers,
                Simulator = options.Simulator,
                Mapper = options.Simulator,
                Examples = options.Simulator,
                ExamplePods = false,
                RemoveDirectory = true,
                Dns = options.Dns,
                ReadyDeadline = Patience.Of(TimeSpan.FromSeconds(60)),
                CloudCoreSettings = options.CloudCoreSettings,
                EdgeCoreSettings = options.EdgeCoreSettings,
            },
            steps,
            cancellationToken);
        return new TestEdge(local) { Steps = steps.All };
    }

    /// <summary>Runs kubectl with arguments parted by blanks; fails the test with what kubectl said when it fails.</summary>
    public Task<string> KubectlAsync(string arguments, string input = "")
        => KubectlAsync(arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries), input);

    /// <summary>As <see cref="KubectlAsync(string, string)"/>, for arguments that contain blanks.</summary>
    public Task<string> KubectlAsync(string[] arguments, string input = "") => Local.Kubectl.RunAsync(arguments, CancellationToken.None, input);

    /// <summary>Runs ctr against edge-1's containerd.</summary>
    public Task<string> CtrAsync(params string[] arguments)
        => Tool.RunAsync(
            "ctr",
            ["--address", Local.Nodes[0].Containerd!.Socket, "--namespace", "k8s.io", .. arguments],
            new ToolOptions(TimeProvider.System),
            CancellationToken.None);

    /// <summary>Runs a command in a container of edge-1 and returns what it wrote; fails the test when it ends with another code than 0.</summary>
    public Task<string> ExecAsync(string containerId, params string[] command) => Local.Nodes[0].Containerd!.ExecAsync(containerId, command, CancellationToken.None);

    /// <summary>Waits for a condition that only asking can tell; fails with <paramref name="description"/>, or at once when a process died.</summary>
    public Task WaitForAsync(string description, Func<Task<bool>> condition, TimeSpan? timeout = null)
        => Local.WaitForAsync(description, _ => condition(), Patience.Of(timeout ?? DefaultTimeout), CancellationToken.None);

    public async ValueTask DisposeAsync()
    {
        AppDomain.CurrentDomain.FirstChanceException -= OnException;
        if (_failed)
            Console.Error.WriteLine($"logs of the test's Edge are kept in {Local.KeepLogs()}");
        await Local.DisposeAsync();
    }

    private static string LogsDirectory(string directory)
        => Path.Combine(Executables.SourceTree ?? Path.GetTempPath(), "artifacts", "test-logs", Path.GetFileName(directory));

    // xunit does not tell a test's resources whether it passed; what makes a test fail is thrown while they live.
    private void OnException(object? sender, FirstChanceExceptionEventArgs e)
    {
        if (e.Exception is XunitException or TimeoutException or LocalEdgeException or ToolException)
            _failed = true;
    }

    private sealed class StepList : IProgress<LocalStep>
    {
        public ConcurrentQueue<LocalStep> All { get; } = new();

        public void Report(LocalStep value) => All.Enqueue(value);
    }
}
