using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Processes;
using Edge.Protocol.Cri;
using Edge.Protocol.Cri.V1;

namespace Edge.Benchmarks.Streams;

/// <summary>What it costs to reach a pod at the edge: kubectl cp, logs -f and exec through CloudStream, with the same commands on the runtime's own streaming server (loopback, in the clear,
/// without Edge) as the peer.</summary>
internal static class StreamBench
{
    private const string Peer = "the same client at containerd's streaming server, without TLS and without Edge between";
    private const string OwnPeer = "the same with no reader stopped";
    private const int Runs = 3;
    private const int ExecRuns = 20;
    private const int EchoRuns = 200;
    private const int PieceSize = 32 * 1024;
    private const int LineLength = 1000;
    private const int Lines = 4000;
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(5);

    public static async Task<int> RunAsync(int megabytes, int readers, CancellationToken cancellationToken)
    {
        var report = new Report("stream");
        await using var edge = await LocalEdge.StartAsync(
            new LocalEdgeOptions
            {
                Directory = Directory.CreateTempSubdirectory("edge-bench-").FullName, Simulator = false, Mapper = false, Examples = false, ExamplePods = false, RemoveDirectory = true,
            },
            new Progress<LocalStep>(), cancellationToken);
        if (!edge.HasPods || Kubectl.Executable is null)
            throw new BenchException("streams cannot be measured here: root, containerd and kubectl are needed");
        var node = edge.Nodes[0];
        await edge.ApplyAsync(Manifest(node.Name), cancellationToken);
        await UntilAsync(async () => await PhaseAsync(edge, "box", cancellationToken) && await PhaseAsync(edge, "talk", cancellationToken), "both pods run", cancellationToken);
        using var cri = new CriClient(node.Containerd!.Socket, TimeProvider.System, TimeSpan.FromMinutes(1));
        var box = (await cri.ListContainersAsync(null, cancellationToken)).First(one => one.Labels.TryGetValue("io.kubernetes.pod.name", out var pod) && pod == "box").Id;
        var bench = new Bench(edge, cri, box, report, new ProcessFigures(edge.CloudCore!.Id), new ProcessFigures(node.Process!.Id));
        await bench.CopyAsync(megabytes, cancellationToken);
        await bench.TransferAsync(megabytes, cancellationToken);
        await bench.ExecAsync(cancellationToken);
        await bench.FollowAsync(readers, cancellationToken);
        report.Plain("cloudcore with the API, resident memory at the end", "MB", bench.Cloud.ResidentKb() / 1024);
        report.Plain("edgecore, resident memory at the end", "MB", bench.Core.ResidentKb() / 1024);
        report.Write();
        return 0;
    }

    private static string Manifest(string node) => $$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: box, namespace: default}
        spec:
          nodeName: {{node}}
          containers: [{name: c, image: "{{LocalEdge.BusyboxImage}}", command: [sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]}]
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: talk, namespace: default}
        spec:
          nodeName: {{node}}
          containers:
          - name: c
            image: "{{LocalEdge.BusyboxImage}}"
            command:
            - sh
            - -c
            - |
              trap 'exit 0' TERM
              line=$(head -c {{LineLength - 1}} /dev/zero | tr '\0' x)
              echo ready
              for round in 1 2; do
                while [ ! -f /tmp/go$round ]; do sleep 0.1; done
                i=0
                while [ $i -lt {{Lines}} ]; do echo $line; i=$((i+1)); done
              done
              sleep 100000 & wait
        """;

    private static async Task<bool> PhaseAsync(LocalEdge edge, string pod, CancellationToken cancellationToken)
        => (await edge.Client.TryGetAsync(ResourceKind.Pod, "default", pod, cancellationToken)).Text("status", "phase") == "Running";

    private static async Task UntilAsync(Func<Task<bool>> condition, string what, CancellationToken cancellationToken)
    {
        var began = Stopwatch.GetTimestamp();
        while (!await condition())
        {
            if (Stopwatch.GetElapsedTime(began) > s_patience)
                throw new BenchException($"not within {s_patience.TotalMinutes:0} minutes: {what}");
            await Task.Delay(TimeSpan.FromMilliseconds(10), cancellationToken);
        }
    }

    private sealed record Bench(LocalEdge Edge, CriClient Cri, string Box, Report Report, ProcessFigures Cloud, ProcessFigures Core)
    {
        private readonly KubeClientOptions _options = Kubeconfig.Load(Edge.Kubeconfig);
        private readonly HttpMessageInvoker _http = RemoteCommand.Http(Kubeconfig.Load(Edge.Kubeconfig));

        /// <summary>kubectl cp both ways; what arrives is compared.</summary>
        public async Task CopyAsync(int megabytes, CancellationToken cancellationToken)
        {
            var (file, back) = (Path.Combine(Edge.Directory, "there"), Path.Combine(Edge.Directory, "back"));
            var bytes = new byte[megabytes << 20];
            new Random(1).NextBytes(bytes);
            await File.WriteAllBytesAsync(file, bytes, cancellationToken);
            var hash = Convert.ToHexStringLower(SHA256.HashData(bytes));
            var (up, down) = (new List<double>(), new List<double>());
            var (upCpu, downCpu) = (new List<(double Cloud, double Core)>(), new List<(double Cloud, double Core)>());
            for (var run = 0; run < Runs; run++)
            {
                up.Add(await TimedAsync(() => Edge.Kubectl.RunAsync(["cp", file, "box:/tmp/file"], cancellationToken), upCpu));
                if (!(await Edge.Kubectl.RunAsync(["exec", "box", "--", "sha256sum", "/tmp/file"], cancellationToken)).StartsWith(hash, StringComparison.Ordinal))
                    throw new BenchException("kubectl cp brought another file to the pod");
                down.Add(await TimedAsync(() => Edge.Kubectl.RunAsync(["cp", "box:/tmp/file", back], cancellationToken), downCpu));
                await using (var copy = File.OpenRead(back))
                {
                    if (Convert.ToHexStringLower(await SHA256.HashDataAsync(copy, cancellationToken)) != hash)
                        throw new BenchException("kubectl cp brought another file back");
                }

                File.Delete(back);
            }

            foreach (var (way, times, cpu) in new[] { ("to the pod", up, upCpu), ("from the pod", down, downCpu) })
            {
                Report.Plain($"kubectl cp of {megabytes} MB {way}", "s", Machine.Median(times));
                Cpu($"kubectl cp {way}, by 100 MB", cpu, megabytes / 100.0);
            }
        }

        /// <summary>Standard input and output of a command by our own client, and the same at the runtime.</summary>
        public async Task TransferAsync(int megabytes, CancellationToken cancellationToken)
        {
            var bytes = (long)megabytes << 20;
            string[] sink = ["sh", "-c", string.Create(CultureInfo.InvariantCulture, $"head -c {bytes} >/dev/null; echo")];
            string[] source = ["head", "-c", bytes.ToString(CultureInfo.InvariantCulture), "/dev/zero"];
            foreach (var (way, command) in new[] { ("to a command", sink), ("from a command", source) })
            {
                var (own, peer) = (new List<double>(), new List<double>());
                var cpu = new List<(double Cloud, double Core)>();
                for (var run = 0; run < Runs; run++)
                {
                    own.Add(await TimedAsync(async () => await MoveAsync(await OpenAsync(command, cancellationToken), ReferenceEquals(command, sink) ? bytes : 0, cancellationToken), cpu));
                    peer.Add(await TimedAsync(async () => await MoveAsync(await OpenPeerAsync(command, cancellationToken), ReferenceEquals(command, sink) ? bytes : 0, cancellationToken)));
                }

                Report.AtMost($"exec, {megabytes} MB {way}", "s", Machine.Median(own), null, Machine.Median(peer), Peer);
                Cpu($"exec, {way}, by 100 MB", cpu, megabytes / 100.0);
            }
        }

        /// <summary>The start of a command, and a byte's way there and back in one that runs.</summary>
        public async Task ExecAsync(CancellationToken cancellationToken)
        {
            var (own, peer, kubectl) = (new List<double>(), new List<double>(), new List<double>());
            for (var run = 0; run < ExecRuns; run++)
            {
                own.Add(await TimedAsync(async () => await MoveAsync(await OpenAsync(["true"], cancellationToken), 0, cancellationToken)) * 1000);
                peer.Add(await TimedAsync(async () => await MoveAsync(await OpenPeerAsync(["true"], cancellationToken), 0, cancellationToken)) * 1000);
                if (run < ExecRuns / 4)
                    kubectl.Add(await TimedAsync(() => Edge.Kubectl.RunAsync(["exec", "box", "--", "true"], cancellationToken)) * 1000);
            }

            Report.AtMost("exec of true, dial to exit code, p50", "ms", Machine.Median(own), null, Machine.Median(peer), Peer);
            Report.AtMost("exec of true, dial to exit code, p95", "ms", Machine.Share(own, 0.95), null, Machine.Share(peer, 0.95), Peer);
            Report.Plain("kubectl exec of true, the whole command, p50", "ms", Machine.Median(kubectl));
            var echo = await EchoAsync(await OpenAsync(["cat"], cancellationToken), cancellationToken);
            var bare = await EchoAsync(await OpenPeerAsync(["cat"], cancellationToken), cancellationToken);
            Report.AtMost("a byte to a running cat and back, p50", "ms", Machine.Median(echo), null, Machine.Median(bare), Peer);
            Report.AtMost("a byte to a running cat and back, p99", "ms", Machine.Share(echo, 0.99), null, Machine.Share(bare, 0.99), Peer);
        }

        /// <summary>Many kubectl logs -f of one pod; then again with one of them and an endless exec stopped (SIGSTOP), whose buffers are full by then.</summary>
        public async Task FollowAsync(int readers, CancellationToken cancellationToken)
        {
            var began = Stopwatch.GetTimestamp();
            var all = Enumerable.Range(0, readers).Select(i => Start($"follow-{i}", ["logs", "-f", "talk"])).ToList();
            var endless = (ChildProcess?)null;
            try
            {
                const long first = 6; // "ready\n"
                const long round = (long)Lines * LineLength;
                await UntilAsync(() => Task.FromResult(all.All(one => Length(one) >= first)), "every kubectl logs -f has its first line", cancellationToken);
                Report.Plain($"{readers} kubectl logs -f, start until all have their first line", "s", Stopwatch.GetElapsedTime(began).TotalSeconds);
                var cpu = new List<(double Cloud, double Core)>();
                var together = await RoundAsync(1, all, first + round, cpu, cancellationToken);
                Report.Plain($"{readers} kubectl logs -f, {round / 1_000_000} MB each, written until all have it", "s", together);
                Cpu($"{readers} kubectl logs -f, by 100 MB in all", cpu, round * readers / 1e8);

                // What it said by then fills every buffer between it and the pod: without flow control of each stream the others would wait behind it.
                endless = Start("endless", ["exec", "box", "--", "cat", "/dev/zero"]);
                await UntilAsync(() => Task.FromResult(Length(endless) > 1_000_000), "kubectl exec shows output", cancellationToken);
                Signal(endless, "STOP");
                Signal(all[0], "STOP");
                var stopped = Length(all[0]);
                var others = await RoundAsync(2, all[1..], first + (2 * round), [], cancellationToken);
                Report.AtMost($"the same for the other {readers - 1} while one kubectl logs -f and one endless exec are stopped", "s", others, null, together, OwnPeer);
                if (Length(all[0]) != stopped)
                    throw new BenchException("the stopped kubectl went on");
                Signal(all[0], "CONT");
                await UntilAsync(() => Task.FromResult(Length(all[0]) >= first + (2 * round)), "the stopped kubectl has the rest once it goes on", cancellationToken);
            }
            finally
            {
                foreach (var one in endless is null ? all : [.. all, endless])
                {
                    await one.KillAsync();
                    one.Dispose();
                }
            }
        }

        private static long Length(ChildProcess one) => new FileInfo(one.LogPath) is { Exists: true } file ? file.Length : 0;

        private static void Signal(ChildProcess process, string signal)
        {
            using var kill = Process.Start("kill", [$"-{signal}", process.Id.ToString(CultureInfo.InvariantCulture)]);
            kill.WaitForExit();
        }

        private static async Task MoveAsync(RemoteCommand command, long bytes, CancellationToken cancellationToken)
        {
            using (command)
            {
                var piece = new byte[PieceSize + 1];
                for (; bytes > 0; bytes -= PieceSize)
                    await command.SendAsync(piece.AsMemory(0, (int)Math.Min(bytes, PieceSize) + 1), cancellationToken);
                await command.EndAsync(cancellationToken);
            }
        }

        private static async Task<List<double>> EchoAsync(RemoteCommand command, CancellationToken cancellationToken)
        {
            using (command)
            {
                var times = new List<double>();
                var piece = new byte[] { 0, (byte)'x' };
                for (var run = 0; run < EchoRuns; run++)
                {
                    times.Add(1000 * await TimedAsync(async () =>
                    {
                        await command.SendAsync(piece, cancellationToken);
                        await command.ReadAsync(1, cancellationToken);
                    }));
                }

                return times;
            }
        }

        private static async Task<double> TimedAsync(Func<Task> what)
        {
            var began = Stopwatch.GetTimestamp();
            await what();
            return Stopwatch.GetElapsedTime(began).TotalSeconds;
        }

        private async Task<double> TimedAsync(Func<Task> what, List<(double Cloud, double Core)> cpu)
        {
            var (cloud, core) = (Cloud.CpuSeconds(), Core.CpuSeconds());
            var took = await TimedAsync(what);
            cpu.Add((Cloud.CpuSeconds() - cloud, Core.CpuSeconds() - core));
            return took;
        }

        private Task<double> RoundAsync(int number, IReadOnlyList<ChildProcess> readers, long length, List<(double Cloud, double Core)> cpu, CancellationToken cancellationToken)
            => TimedAsync(
                async () =>
                {
                    await Cri.ExecSyncAsync(await ContainerAsync("talk", cancellationToken), ["touch", $"/tmp/go{number}"], TimeSpan.FromSeconds(10), cancellationToken);
                    await UntilAsync(() => Task.FromResult(readers.All(one => Length(one) >= length)), $"every kubectl logs -f has round {number}", cancellationToken);
                },
                cpu);

        private async Task<string> ContainerAsync(string pod, CancellationToken cancellationToken)
            => (await Cri.ListContainersAsync(null, cancellationToken)).First(one => one.Labels.TryGetValue("io.kubernetes.pod.name", out var name) && name == pod).Id;

        private ChildProcess Start(string name, string[] arguments)
            => ChildProcess.Start(name, Edge.Directory, Kubectl.Executable!, [$"--kubeconfig={Edge.Kubeconfig}", .. arguments], TimeProvider.System);

        private Task<RemoteCommand> OpenAsync(string[] command, CancellationToken cancellationToken) => RemoteCommand.OpenAsync(_options, _http, "box", "c", command, cancellationToken);

        private async Task<RemoteCommand> OpenPeerAsync(string[] command, CancellationToken cancellationToken)
        {
            var request = new ExecRequest { ContainerId = Box, Stdin = true, Stdout = true };
            request.Cmd.Add(command);
            return await RemoteCommand.OpenAsync(await Cri.ExecAsync(request, cancellationToken), _http, cancellationToken);
        }

        private void Cpu(string what, List<(double Cloud, double Core)> cpu, double units)
        {
            Report.Plain($"{what}, cloudcore with the API", "CPU-s", Machine.Median(cpu.Select(one => one.Cloud)) / units);
            Report.Plain($"{what}, edgecore", "CPU-s", Machine.Median(cpu.Select(one => one.Core)) / units);
        }
    }
}
