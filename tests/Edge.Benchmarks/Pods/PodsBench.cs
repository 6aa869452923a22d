using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Protocol.Cri;
using Edge.Protocol.Cri.V1;

namespace Edge.Benchmarks.Pods;

/// <summary>Pods on one node, from <c>kubectl apply</c> to Running, against the same sandboxes and containers made by plain CRI calls on the same containerd; and what edgecore
/// costs while its pods are quiet.</summary>
internal static class PodsBench
{
    private const string Peer = "KubeEdge v1.23.1 (figures of issue 4)";
    private const int SingleRuns = 10;
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(3);

    public static async Task<int> RunAsync(int idleSeconds, CancellationToken cancellationToken)
    {
        var report = new Report("pods");
        await using var edge = await LocalEdge.StartAsync(
            new LocalEdgeOptions
            {
                Directory = Directory.CreateTempSubdirectory("edge-bench-").FullName, Simulator = false, Mapper = false, Examples = false, ExamplePods = false, RemoveDirectory = true,
            },
            new Steps(), cancellationToken);
        if (!edge.HasPods)
            throw new BenchException("pods cannot run here: root and containerd are needed");
        var node = edge.Nodes[0];
        using var cri = new CriClient(node.Containerd!.Socket, TimeProvider.System, TimeSpan.FromMinutes(2));
        var plain = new PlainPods(cri, Path.Combine(edge.Directory, "plain"));
        await using var watch = new PodWatch(edge.Client);
        await watch.StartAsync(cancellationToken);

        await IdleAsync("with no pod", edge, idleSeconds, report, null, null, cancellationToken);

        // In turns, so that what else the machine does meets both.
        var (single, created, bare) = (new List<double>(), new List<double>(), new List<double>());
        var (gone, kubectl, there) = (new List<double>(), new List<double>(), new List<double>());
        for (var run = 0; run < SingleRuns; run++)
        {
            bare.Add(await plain.StartAsync(1, cancellationToken));
            await plain.RemoveAsync(cancellationToken);

            var name = $"one-{run}";
            var began = Stopwatch.GetTimestamp();
            await edge.Kubectl.RunAsync(["apply", "-f", "-"], cancellationToken, Manifest(node.Name, [name]));
            kubectl.Add(Stopwatch.GetElapsedTime(began).TotalSeconds);
            single.Add((await watch.RunningAsync(name, began)).TotalSeconds);
            there.Add((await watch.ThereAsync(name, began)).TotalSeconds);
            gone.Add(await DeleteAsync(edge, watch, [name], cancellationToken));

            name = $"api-{run}";
            began = Stopwatch.GetTimestamp();
            await edge.ApplyAsync(Manifest(node.Name, [name]), cancellationToken);
            created.Add((await watch.RunningAsync(name, began)).TotalSeconds);
            await DeleteAsync(edge, watch, [name], cancellationToken);
        }

        var baseline = Machine.Median(bare);
        report.Plain("one pod by plain CRI calls, p50", "s", baseline);
        report.Plain("kubectl apply of one pod, the command alone, p50", "s", Machine.Median(kubectl));
        report.Plain("kubectl apply of one pod, until it is at the API, p50", "s", Machine.Median(there));
        report.AtMost("one pod, kubectl apply to Running, p50", "s", Machine.Median(single), baseline * 1.3, 0.70, Peer);
        report.AtMost("one pod, kubectl apply to Running, of kubectl until it is at the API and plain CRI calls, p50", "times", Machine.Median(single) / (Machine.Median(there) + baseline), 1.3);
        report.Plain("one pod, kubectl apply to Running, p99", "s", Machine.Share(single, 0.99));
        report.AtMost("one pod, created at the API to Running, p50", "s", Machine.Median(created), baseline * 1.3, baseline, "plain CRI calls in the same run");
        report.Plain("one pod, kubectl delete to gone, p50", "s", Machine.Median(gone));

        foreach (var count in (int[])[10, 50])
        {
            var all = await plain.StartAsync(count, cancellationToken);
            await plain.RemoveAsync(cancellationToken);
            var names = Enumerable.Range(0, count).Select(i => $"many-{count}-{i}").ToList();
            var began = Stopwatch.GetTimestamp();
            await edge.Kubectl.RunAsync(["apply", "-f", "-"], cancellationToken, Manifest(node.Name, names));
            var times = new List<double>();
            foreach (var name in names)
                times.Add((await watch.RunningAsync(name, began)).TotalSeconds);
            report.Plain($"{count} pods by plain CRI calls, 8 at a time, until all run", "s", all);
            report.AtMost($"{count} pods, kubectl apply until all run", "s", times.Max(), null, count == 10 ? 2.2 : null, count == 10 ? Peer : null);
            report.Plain($"{count} pods, kubectl apply to Running, p50", "s", Machine.Median(times));
            report.Plain($"{count} pods, kubectl apply to Running, p99", "s", Machine.Share(times, 0.99));
            await IdleAsync($"with {count} pods", edge, idleSeconds, report, count == 10 ? (60, 1) : null, count == 10 ? (92, 1.3) : null, cancellationToken);
            report.Plain($"{count} pods, kubectl delete until all are gone", "s", await DeleteAsync(edge, watch, names, cancellationToken));
        }

        report.Write();
        return 0;
    }

    // edgecore's memory and processor while nothing happens.
    private static async Task IdleAsync(
        string what, LocalEdge edge, int seconds, Report report, (double Mb, double Percent)? target, (double Mb, double Percent)? peer, CancellationToken cancellationToken)
    {
        var process = new ProcessFigures(edge.Nodes[0].Process!.Id);
        await Task.Delay(TimeSpan.FromSeconds(10), cancellationToken); // what just started comes to rest
        var cpu = process.CpuSeconds();
        await Task.Delay(TimeSpan.FromSeconds(seconds), cancellationToken);
        report.AtMost($"edgecore {what}, idle, processor", "% of a core", (process.CpuSeconds() - cpu) * 100 / seconds, target?.Percent, peer?.Percent, peer is null ? null : Peer);
        report.AtMost($"edgecore {what}, idle, resident memory", "MB", process.ResidentKb() / 1024, target?.Mb, peer?.Mb, peer is null ? null : Peer);
    }

    private static async Task<double> DeleteAsync(LocalEdge edge, PodWatch watch, IReadOnlyList<string> names, CancellationToken cancellationToken)
    {
        var began = Stopwatch.GetTimestamp();
        await edge.Kubectl.RunAsync(["delete", "pod", "--wait=false", .. names], cancellationToken);
        var last = TimeSpan.Zero;
        foreach (var name in names)
        {
            var at = await watch.GoneAsync(name, began);
            last = at > last ? at : last;
        }

        return last.TotalSeconds;
    }

    private static string Manifest(string node, IReadOnlyList<string> names)
    {
        var text = new StringBuilder();
        foreach (var name in names)
        {
            text.Append(CultureInfo.InvariantCulture, $$"""
                ---
                apiVersion: v1
                kind: Pod
                metadata: {name: {{name}}, namespace: default}
                spec:
                  nodeName: {{node}}
                  containers: [{name: c, image: "{{LocalEdge.BusyboxImage}}", command: [sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]}]

                """);
        }

        return text.ToString();
    }

    private sealed class Steps : IProgress<LocalStep>
    {
        public void Report(LocalStep value)
        {
            if (value.IsNote)
                Console.Error.WriteLine($"  {value.Name}: {value.Detail}");
        }
    }

    /// <summary>When each pod was first seen, when running, and when it was gone.</summary>
    private sealed class PodWatch(KubeClient client) : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly ConcurrentDictionary<string, TaskCompletionSource<long>> _running = new(StringComparer.Ordinal);
        private readonly ConcurrentDictionary<string, TaskCompletionSource<long>> _there = new(StringComparer.Ordinal);
        private readonly ConcurrentDictionary<string, TaskCompletionSource<long>> _gone = new(StringComparer.Ordinal);
        private Task _task = Task.CompletedTask;

        public async Task StartAsync(CancellationToken cancellationToken)
        {
            var list = await client.ListAsync(ResourceKind.Pod, "default", new ListOptions(), cancellationToken);
            _task = RunAsync(list.ResourceVersion);
        }

        public async Task<TimeSpan> RunningAsync(string name, long since) => Stopwatch.GetElapsedTime(since, await Of(_running, name).Task.WaitAsync(s_patience));

        public async Task<TimeSpan> ThereAsync(string name, long since) => Stopwatch.GetElapsedTime(since, await Of(_there, name).Task.WaitAsync(s_patience));

        public async Task<TimeSpan> GoneAsync(string name, long since) => Stopwatch.GetElapsedTime(since, await Of(_gone, name).Task.WaitAsync(s_patience));

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _task;
            _stop.Dispose();
        }

        private static TaskCompletionSource<long> Of(ConcurrentDictionary<string, TaskCompletionSource<long>> all, string name)
            => all.GetOrAdd(name, _ => new TaskCompletionSource<long>(TaskCreationOptions.RunContinuationsAsynchronously));

        private async Task RunAsync(string version)
        {
            try
            {
                // The server ends a watch every few minutes; the next one goes on from the last version seen.
                while (true)
                {
                    await foreach (var change in client.WatchAsync(ResourceKind.Pod, "default", version, new ListOptions(), _stop.Token))
                    {
                        var now = Stopwatch.GetTimestamp();
                        version = change.Object.ResourceVersion();
                        Of(_there, change.Object.Name()).TrySetResult(now);
                        if (change.Type == WatchEventType.Deleted)
                            Of(_gone, change.Object.Name()).TrySetResult(now);
                        else if (change.Object.Text("status", "phase") == "Running")
                            Of(_running, change.Object.Name()).TrySetResult(now);
                    }
                }
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                // The bench is over.
            }
        }
    }

    /// <summary>Sandboxes with one container each, made by CRI calls alone: what any node agent must at least do.</summary>
    private sealed class PlainPods(CriClient cri, string logs)
    {
        private const int AtOnce = 8; // as edgecore
        private readonly ConcurrentBag<string> _sandboxes = [];
        private int _number;

        /// <summary>Returns the seconds until the last one runs.</summary>
        public async Task<double> StartAsync(int count, CancellationToken cancellationToken)
        {
            var began = Stopwatch.GetTimestamp();
            await Parallel.ForAsync(0, count, new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancellationToken }, async (_, token) =>
            {
                var uid = $"plain-{Interlocked.Increment(ref _number)}";
                var sandbox = new PodSandboxConfig
                {
                    Metadata = new PodSandboxMetadata { Name = uid, Namespace = "plain", Uid = uid },
                    Hostname = uid,
                    LogDirectory = Directory.CreateDirectory(Path.Combine(logs, uid)).FullName,
                    Linux = new LinuxPodSandboxConfig { CgroupParent = $"/kubepods/besteffort/pod{uid}", SecurityContext = new LinuxSandboxSecurityContext { NamespaceOptions = Namespaces() } },
                };
                var id = await cri.RunPodSandboxAsync(sandbox, "", token);
                _sandboxes.Add(id);
                var container = new ContainerConfig
                {
                    Metadata = new ContainerMetadata { Name = "c" },
                    Image = new ImageSpec { Image = LocalEdge.BusyboxImage },
                    LogPath = "0.log",
                    Linux = new LinuxContainerConfig { Resources = new LinuxContainerResources { CpuShares = 2 }, SecurityContext = new LinuxContainerSecurityContext { NamespaceOptions = Namespaces() } },
                };
                container.Command.Add(["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"]);
                await cri.StartContainerAsync(await cri.CreateContainerAsync(id, container, sandbox, token), token);
            });
            return Stopwatch.GetElapsedTime(began).TotalSeconds;
        }

        public async Task RemoveAsync(CancellationToken cancellationToken)
        {
            while (_sandboxes.TryTake(out var id))
            {
                await cri.StopPodSandboxAsync(id, cancellationToken);
                await cri.RemovePodSandboxAsync(id, cancellationToken);
            }
        }

        private static NamespaceOption Namespaces() => new() { Network = NamespaceMode.Pod, Ipc = NamespaceMode.Pod, Pid = NamespaceMode.Container };
    }
}
