using System.Diagnostics;
using System.Text;
using Edge.Benchmarks.Hub;
using Edge.Kubernetes;

namespace Edge.Benchmarks.Api;

/// <summary>cloudcore with the embedded Kubernetes API, published and with all its controllers: memory, durable creates, lists and watches.</summary>
internal static class ApiBench
{
    private const string Kube = "kube-apiserver 1.32 with etcd (figures of issue 7)";
    private const string Running = "the kube-apiserver of EDGE_TEST_KUBECONFIG with etcd and kube-controller-manager, in the same run";
    private const string Etcd = "etcd 3.4, put of the same bytes through its JSON gateway, in the clear";
    private const int Clients = 8;
    private const int Runs = 3;

    public static async Task<int> RunAsync(string cloudcore, double seconds, int watchers, bool isCreatesOnly, CancellationToken cancellationToken)
    {
        var directory = Directory.CreateTempSubdirectory("edge-bench-api-").FullName;
        var report = new Report("api");
        try
        {
            await using var etcd = await EtcdProcess.StartAsync(Path.Combine(directory, "etcd"), cancellationToken);
            await using var cloud = await CloudProcess.StartAsync(
                cloudcore, Path.Combine(directory, "cloud"),
                [
                    "modules.apiServer.port=0", "modules.cloudHub.websocket.address=127.0.0.1", "modules.cloudHub.https.address=127.0.0.1",
                    "modules.cloudHub.https.port=0", "commonConfig.monitorServer.bindAddress=127.0.0.1:0", "modules.cloudHub.advertiseAddress=[\"127.0.0.1\"]",
                ],
                cancellationToken);
            var options = Kubeconfig.Load(cloud.Kubeconfig);
            report.Plain("load of the machine before, 1 minute", "", double.Parse(File.ReadAllText("/proc/loadavg").Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture));
            if (isCreatesOnly)
            {
                Creates(cloud, etcd, options, seconds, report);
                report.Write();
                return 0;
            }

            await MemoryAsync(cloud, options, report, cancellationToken);
            Creates(cloud, etcd, options, seconds, report);
            Lists(cloud, options, report);
            await WatchBench.RunAsync(cloud, options, watchers, seconds, report, cancellationToken);
            report.Write();
            return 0;
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>A pod that waits for a gate: no controller has anything to do with it.</summary>
    private static byte[] Pod(string name) => Encoding.UTF8.GetBytes($$$$$$"""
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{{{{{name}}}}}}","labels":{"app":"bench"}},"spec":{"schedulingGates":[{"name":"bench/gate"}],
         "containers":[{"name":"c","image":"registry.example/app:1","env":[{"name":"A","value":"1"}],"resources":{"requests":{"cpu":"10m","memory":"16Mi"}}}]}}
        """);

    // About 700 bytes.
    private static byte[] Settings(string name) => Encoding.UTF8.GetBytes($$$"""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{{name}}}","labels":{"app":"bench"}},"data":{"config":"{{{new string('x', 550)}}}"}}""");

    private static async Task MemoryAsync(CloudProcess cloud, KubeClientOptions options, Report report, CancellationToken cancellationToken)
    {
        report.Plain("memory of cloudcore without pods", "MB", cloud.ResidentKb() / 1024);
        Each(options, 1000, (client, i) => client.Post("/api/v1/namespaces/default/pods", Pod($"small-{i}")));
        await SettleAsync(cloud, cancellationToken);
        report.AtMost("memory of cloudcore with 1,000 pods", "MB", cloud.ResidentKb() / 1024, 150, 675, Kube);
    }

    private static void Creates(CloudProcess cloud, EtcdProcess? etcd, KubeClientOptions options, double seconds, Report report)
    {
        var (ours, peers, kubes) = (new List<Load>(), new List<Load>(), new List<Load>());
        var kube = KubeProcesses.OfEnvironment();
        for (var run = -1; run < Runs; run++)
        {
            var prefix = run < 0 ? "warm" : $"run{run}";
            var each = run < 0 ? Math.Min(2, seconds) : seconds;
            var load = Load.Run(Clients, each, () => WireClient.Connect(options), cloud.CpuSeconds, (client, name) => client.Post("/api/v1/namespaces/default/configmaps", Settings($"{prefix}-{name}")));
            var peer = etcd is null ? null : Load.Run(Clients, each, () => WireClient.Connect(etcd.Port), etcd.CpuSeconds, (client, name) => client.Post(
                "/v3/kv/put", Encoding.ASCII.GetBytes($$"""{"key":"{{Base64(Encoding.ASCII.GetBytes($"{prefix}-{name}"))}}","value":"{{Base64(Settings($"{prefix}-{name}"))}}"}""")));
            var theirs = kube is null ? null : Load.Run(Clients, each, () => WireClient.Connect(kube.Options), kube.CpuSeconds, (client, name) => client.Post("/api/v1/namespaces/default/configmaps", Settings($"{prefix}-{name}")));
            if (run < 0)
                continue;
            ours.Add(load);
            if (theirs is not null)
                kubes.Add(theirs);
            if (peer is not null)
                peers.Add(peer);
            Console.Error.WriteLine($"run {run + 1}: {load.Rate:0}/s, etcd {peer?.Rate:0}/s, kube-apiserver {theirs?.Rate:0}/s");
        }

        double? Peer(Func<Load, double> figure) => peers.Count == 0 ? null : Machine.Median(peers.Select(figure));
        double Ours(Func<Load, double> figure) => Machine.Median(ours.Select(figure));
        report.AtLeast($"durable creates by {Clients} clients", "creates/s", Ours(load => load.Rate), 5000, 770, Kube);
        report.AtMost($"processor time of 1,000 creates", "CPU-s", Ours(load => load.CpuPerThousand), 0.2, 1.6, Kube);
        report.AtMost($"one create, p50", "ms", Ours(load => load.MedianMs), null, 9, Kube);
        report.AtLeast("durable creates through the API beside etcd's puts alone", "writes/s", Ours(load => load.Rate), null, Peer(load => load.Rate), Etcd);
        report.AtMost("processor time of 1,000 creates beside etcd's puts alone", "CPU-s", Ours(load => load.CpuPerThousand), null, Peer(load => load.CpuPerThousand), Etcd);
        report.AtMost("one create beside etcd's put alone, p50", "ms", Ours(load => load.MedianMs), null, Peer(load => load.MedianMs), Etcd);
        if (kube is null)
            return;
        double Theirs(Func<Load, double> figure) => Machine.Median(kubes.Select(figure));
        report.AtLeast("durable creates beside a kube-apiserver that runs", "creates/s", Ours(load => load.Rate), null, Theirs(load => load.Rate), Running);
        report.AtMost("processor time of 1,000 creates beside it", "CPU-s", Ours(load => load.CpuPerThousand), null, Theirs(load => load.CpuPerThousand), Running);
        report.AtMost("one create beside it, p50", "ms", Ours(load => load.MedianMs), null, Theirs(load => load.MedianMs), Running);
        report.AtMost("memory after the creates beside it", "MB", cloud.ResidentKb() / 1024, null, kube.ResidentKb() / 1024, Running);
    }

    private static void Lists(CloudProcess cloud, KubeClientOptions options, Report report)
    {
        Each(options, 9000, (client, i) => client.Post("/api/v1/namespaces/default/pods", Pod($"large-{i}")));
        using var reader = WireClient.Connect(options);
        var (times, cpus, bytes) = (new List<double>(), new List<double>(), 0L);
        for (var run = 0; run < Runs + 2; run++)
        {
            var (clock, cpu) = (Stopwatch.StartNew(), cloud.CpuSeconds());
            bytes = reader.Get("/api/v1/namespaces/default/pods");
            times.Add(clock.Elapsed.TotalMilliseconds);
            cpus.Add(cloud.CpuSeconds() - cpu);
        }

        report.Plain("list of 10,000 pods, whole", "ms", Machine.Median(times));
        report.Plain("its processor time", "CPU-ms", Machine.Median(cpus) * 1000);
        report.Plain("its size", "MB", bytes / 1e6);
    }

    private static string Base64(byte[] bytes) => Convert.ToBase64String(bytes);

    private static void Each(KubeClientOptions options, int count, Action<WireClient, int> act)
    {
        var next = -1;
        Parallel(Clients, () =>
        {
            using var client = WireClient.Connect(options);
            for (var i = Interlocked.Increment(ref next); i < count; i = Interlocked.Increment(ref next))
                act(client, i);
        });
    }

    /// <summary>Runs it on threads of their own; what one throws ends all.</summary>
    internal static void Parallel(int count, Action act)
    {
        var failures = new List<Exception>();
        var threads = Enumerable.Range(0, count).Select(_ => new Thread(() =>
        {
            try
            {
                act();
            }
            catch (Exception e)
            {
                lock (failures)
                    failures.Add(e);
            }
        })).ToList();
        threads.ForEach(thread => thread.Start());
        threads.ForEach(thread => thread.Join());
        if (failures.Count > 0)
            throw new BenchException($"a client failed: {failures[0].Message}");
    }

    // Until the controllers have looked at everything.
    private static async Task SettleAsync(CloudProcess cloud, CancellationToken cancellationToken)
    {
        using var second = new PeriodicTimer(TimeSpan.FromSeconds(1));
        var before = cloud.CpuSeconds();
        for (var calm = 0; calm < 3;)
        {
            await second.WaitForNextTickAsync(cancellationToken);
            var now = cloud.CpuSeconds();
            calm = now - before < 0.05 ? calm + 1 : 0;
            before = now;
        }
    }
}

/// <summary>What clients that write without pause got done.</summary>
/// <param name="Rate">Writes a second.</param>
/// <param name="CpuPerThousand">Processor time of the server for 1,000 writes, seconds.</param>
/// <param name="MedianMs">Of one write, as the client sees it.</param>
internal sealed record Load(double Rate, double CpuPerThousand, double MedianMs)
{
    public static Load Run(int clients, double seconds, Func<WireClient> connect, Func<double> cpu, Action<WireClient, string> write)
    {
        var times = new List<double>();
        var number = 0;
        var before = cpu();
        var clock = Stopwatch.StartNew();
        ApiBench.Parallel(clients, () =>
        {
            var own = new List<double>();
            var id = Interlocked.Increment(ref number);
            using var client = connect();
            for (var i = 0; clock.Elapsed.TotalSeconds < seconds; i++)
            {
                var began = Stopwatch.GetTimestamp();
                write(client, $"{id}-{i}");
                own.Add(Stopwatch.GetElapsedTime(began).TotalMilliseconds);
            }

            lock (times)
                times.AddRange(own);
        });
        return new Load(times.Count / clock.Elapsed.TotalSeconds, (cpu() - before) * 1000 / times.Count, Machine.Median(times));
    }
}
