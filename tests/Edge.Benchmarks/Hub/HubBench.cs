using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Benchmarks.Hub;

/// <param name="Nodes">Hollow nodes of the large run; the small one has a tenth.</param>
/// <param name="Changes">Above 0: only connecting, and so many rounds of one pod change to each node, with the processor time of each process.</param>
internal sealed record HubBenchOptions(int Nodes, string CloudCore, string Fleet, int IdleSeconds, int Changes = 0);

/// <summary>CloudCore's hub under a fleet: one run with all nodes, one with a tenth, one with a single node. The Kubernetes API is another
/// process, so that CPU and memory of the CloudCore measured are its own.</summary>
internal static class HubBench
{
    private const string Peer = "KubeEdge v1.23.1 (figures of issue 3)";
    private const int Writers = 16;
    private const int ConfigMaps = 200;
    private const int StepSeconds = 120;

    public static async Task<int> RunAsync(HubBenchOptions options, CancellationToken cancellationToken)
    {
        var report = new Report(options.Changes > 0 ? "hub-changes" : "hub");
        var failed = 0;
        if (options.Changes > 0)
        {
            await using (var house = await House.StartAsync(options, options.Nodes, cancellationToken))
                failed = await RunChangesAsync(house, options, report, cancellationToken);
            report.Write();
            return failed == 0 ? 0 : 1;
        }

        foreach (var nodes in (int[])[options.Nodes, Math.Max(1, options.Nodes / 10)])
        {
            await using var house = await House.StartAsync(options, nodes, cancellationToken);
            failed += await RunFleetAsync(house, nodes, nodes == options.Nodes, options.IdleSeconds, report, cancellationToken);
        }

        await using (var house = await House.StartAsync(options, 1, cancellationToken))
            failed += await RunOneAsync(house, report, cancellationToken);
        report.Write();
        if (failed > 0)
            Console.Error.WriteLine($"hub: {failed} steps could not be measured, or the fleet's check failed; see above");
        return failed == 0 ? 0 : 1;
    }

    // The two figures in which most of the work is the hub's, and who of the three processes worked for them.
    private static async Task<int> RunChangesAsync(House house, HubBenchOptions options, Report report, CancellationToken cancellationToken)
    {
        var (fleet, kube, nodes) = (house.Fleet, house.Kube, options.Nodes);
        await Task.Delay(TimeSpan.FromSeconds(3), cancellationToken);
        await MeasureAsync("connecting, until in sync", 1, async () =>
        {
            await fleet.DoAsync("start", null, cancellationToken);
            await fleet.WaitAsync("wait-connected", [], 2 * StepSeconds, cancellationToken);
            report.Plain($"all connected ({nodes} nodes)", "s", (double)(await fleet.DoAsync("snapshot", null, cancellationToken))["allConnectedSeconds"]!);
            await fleet.WaitAsync("wait-in-sync", [], StepSeconds, cancellationToken);
        });
        await SettleAsync(house.Cloud, cancellationToken);
        await MeasureAsync("idle, a second", options.IdleSeconds, () => Task.Delay(TimeSpan.FromSeconds(options.IdleSeconds), cancellationToken));
        var stored = await StoredAsync(fleet, "pod", cancellationToken);
        await EachAsync(nodes, i => kube.CreateAsync(ResourceKind.Pod, "default", PodOf(i), cancellationToken), cancellationToken);
        await fleet.WaitAsync("wait-stored", new() { ["type"] = "pod", ["count"] = stored + nodes }, StepSeconds, cancellationToken);
        for (var run = 0; run < options.Changes; run++)
        {
            stored = await StoredAsync(fleet, "pod", cancellationToken);
            var seconds = 0.0;
            var cpu = await MeasureAsync($"one pod change to each node, round {run + 1}", 1, async () =>
            {
                var clock = Stopwatch.StartNew();
                await EachAsync(nodes, i => ChangePodAsync(kube, i, $"{run}", cancellationToken), cancellationToken);
                await fleet.WaitAsync("wait-stored", new() { ["type"] = "pod", ["count"] = stored + nodes }, StepSeconds, cancellationToken);
                seconds = clock.Elapsed.TotalSeconds;
            });
            report.Plain($"round {run + 1}: stored and acked", "s", seconds);
            report.AtLeast($"round {run + 1}: pod changes acked by CPU of CloudCore", "changes/CPU-s", nodes / Math.Max(0.01, cpu), 10_000, 294, Peer);
        }

        return await fleet.StopAsync(cancellationToken) ? 0 : 1;

        // Processor seconds of CloudCore for what is done; all three are reported.
        async Task<double> MeasureAsync(string what, double units, Func<Task> act)
        {
            var before = house.CpuSeconds();
            await act();
            var after = house.CpuSeconds();
            report.Plain($"{what}: CloudCore", "CPU-s", (after.Cloud - before.Cloud) / units);
            report.Plain($"{what}: the API", "CPU-s", (after.Api - before.Api) / units);
            report.Plain($"{what}: the fleet", "CPU-s", (after.Fleet - before.Fleet) / units);
            return after.Cloud - before.Cloud;
        }
    }

    private static async Task<int> RunFleetAsync(House house, int nodes, bool isLarge, int idleSeconds, Report report, CancellationToken cancellationToken)
    {
        var (cloud, fleet, kube) = (house.Cloud, house.Fleet, house.Kube);
        var failed = 0;
        string Of(string figure) => $"{figure} ({nodes} nodes)";
        double? Target(double target) => isLarge ? target : null;

        async Task StepAsync(string name, Func<Task> step)
        {
            try
            {
                Console.Error.WriteLine($"{nodes} nodes: {name}");
                await step();
            }
            catch (Exception e) when (e is TimeoutException or KubeException)
            {
                failed++;
                Console.Error.WriteLine($"hub: {name}: {e.Message}");
                report.AtLeast(Of($"{name}: not measured"), "", null, 0);
            }
        }

        await Task.Delay(TimeSpan.FromSeconds(3), cancellationToken);
        var emptyKb = cloud.ResidentKb();

        await StepAsync("connecting", async () =>
        {
            var cpu = cloud.CpuSeconds();
            await fleet.DoAsync("start", null, cancellationToken);
            await fleet.WaitAsync("wait-connected", [], 2 * StepSeconds, cancellationToken);
            var snapshot = await fleet.DoAsync("snapshot", null, cancellationToken);
            report.AtMost(Of("all connected"), "s", (double)snapshot["allConnectedSeconds"]!, Target(60));
            report.Plain(Of("one connection, dial to greeting, p50"), "ms", (double)snapshot["connectMsP50"]!);
            report.Plain(Of("one connection, dial to greeting, p99"), "ms", (double)snapshot["connectMsP99"]!);
            await fleet.WaitAsync("wait-in-sync", [], StepSeconds, cancellationToken);
            report.Plain(Of("CloudCore CPU a connection, until in sync"), "ms", (cloud.CpuSeconds() - cpu) * 1000 / nodes);
        });

        await StepAsync("idle", async () =>
        {
            await SettleAsync(cloud, cancellationToken);
            var seconds = isLarge ? idleSeconds : Math.Max(1, idleSeconds / 2);
            var before = await fleet.DoAsync("snapshot", null, cancellationToken);
            var cpu = cloud.CpuSeconds();
            await Task.Delay(TimeSpan.FromSeconds(seconds), cancellationToken);
            var after = await fleet.DoAsync("snapshot", null, cancellationToken);
            double Rate(string key) => ((double)after[key]! - (double)before[key]!) / nodes / seconds;
            report.AtMost(Of("idle, bytes up a node"), "bytes/s", Rate("bytesOut"), Target(30), 151, Peer);
            report.AtMost(Of("idle, bytes down a node"), "bytes/s", Rate("bytesIn"), Target(30), 107, Peer);
            report.Plain(Of("idle, CloudCore CPU"), "% of a core", (cloud.CpuSeconds() - cpu) * 100 / seconds);
            report.AtMost(Of("CloudCore memory an idle node"), "KB", (cloud.ResidentKb() - emptyKb) / nodes, Target(48), 231, Peer);
        });

        await StepAsync("one pod to each node", async () =>
        {
            var stored = await StoredAsync(fleet, "pod", cancellationToken);
            var clock = Stopwatch.StartNew();
            await EachAsync(nodes, i => kube.CreateAsync(ResourceKind.Pod, "default", PodOf(i), cancellationToken), cancellationToken);
            await fleet.WaitAsync("wait-stored", new() { ["type"] = "pod", ["count"] = stored + nodes }, StepSeconds, cancellationToken);
            report.Plain(Of("a new pod to each node, stored and acked"), "s", clock.Elapsed.TotalSeconds);
        });

        await StepAsync("one pod change to each node", async () =>
        {
            var rates = new List<(double Seconds, double PerCpu)>();
            for (var run = 0; run < (isLarge ? 1 : 3); run++)
            {
                var stored = await StoredAsync(fleet, "pod", cancellationToken);
                var cpu = cloud.CpuSeconds();
                var clock = Stopwatch.StartNew();
                await EachAsync(nodes, i => ChangePodAsync(kube, i, $"{run}", cancellationToken), cancellationToken);
                await fleet.WaitAsync("wait-stored", new() { ["type"] = "pod", ["count"] = stored + nodes }, StepSeconds, cancellationToken);
                rates.Add((clock.Elapsed.TotalSeconds, nodes / Math.Max(0.01, cloud.CpuSeconds() - cpu)));
            }

            var seconds = Machine.Median(rates.Select(rate => rate.Seconds));
            report.Plain(Of("a pod change to each node, stored and acked"), "s", seconds);
            report.Plain(Of("pod changes acked"), "changes/s", nodes / seconds);
            report.AtLeast(Of("pod changes acked by CPU of CloudCore"), "changes/CPU-s", Machine.Median(rates.Select(rate => rate.PerCpu)), Target(10_000), 294, Peer);
        });

        await StepAsync("sustained down", async () =>
        {
            var stored = await StoredAsync(fleet, "pod", cancellationToken);
            var cpu = cloud.CpuSeconds();
            var clock = Stopwatch.StartNew();
            var round = 0;
            // Newest wins: a change that is replaced before it is sent is not counted, for no node stores it.
            await Parallel.ForAsync(0, Writers, cancellationToken, async (writer, token) =>
            {
                while (clock.Elapsed < TimeSpan.FromSeconds(isLarge ? 20 : 10))
                {
                    var i = Interlocked.Increment(ref round);
                    await ChangePodAsync(kube, i % nodes, $"s{i}", token);
                }
            });
            var acked = await StoredAsync(fleet, "pod", cancellationToken) - stored;
            var seconds = clock.Elapsed.TotalSeconds;
            report.AtLeast(Of("sustained down, acked"), "messages/s", acked / seconds, null, 30, Peer);
            report.Plain(Of("sustained down, acked by CPU of CloudCore"), "messages/CPU-s", acked / Math.Max(0.01, cloud.CpuSeconds() - cpu));
        });

        var reporting = Math.Min(nodes, 1000);
        await StepAsync("sustained up", async () =>
        {
            await kube.CreateAsync(ResourceKind.DeviceModel, "default", Model(), cancellationToken);
            await EachAsync(reporting, i => kube.CreateAsync(ResourceKind.Device, "default", DeviceOf(i, "20"), cancellationToken), cancellationToken);
            await fleet.WaitAsync("wait-stored", new() { ["type"] = "device", ["count"] = reporting }, StepSeconds, cancellationToken);
            var acked = (long)(await fleet.DoAsync("snapshot", null, cancellationToken))["upAcked"]!;
            var each = Math.Max(10, 20_000 / reporting);
            var cpu = cloud.CpuSeconds();
            var clock = Stopwatch.StartNew();
            await fleet.DoAsync("report", new() { ["nodes"] = reporting, ["each"] = each }, cancellationToken);
            await fleet.WaitAsync("wait-acked", new() { ["count"] = acked + ((long)reporting * each) }, StepSeconds, cancellationToken);
            report.Plain(Of("device reports up, acked"), "messages/s", reporting * each / clock.Elapsed.TotalSeconds);
            report.Plain(Of("device reports up, acked by CPU of CloudCore"), "messages/CPU-s", reporting * each / Math.Max(0.01, cloud.CpuSeconds() - cpu));
        });

        await StepAsync("twin changes in a storm of reconnects", async () =>
        {
            var latencies = new List<double>();
            await fleet.DoAsync("cut", new() { ["from"] = 1 }, cancellationToken);
            var began = Stopwatch.StartNew();
            // The others dial again after a jittered backoff; node 0 stays, and its device is changed all the while.
            await Task.Delay(TimeSpan.FromMilliseconds(200), cancellationToken);
            var back = fleet.WaitAsync("wait-connected", [], StepSeconds, cancellationToken);
            for (var i = 0; !back.IsCompleted || i < 20; i++)
                latencies.Add(await TwinChangeAsync(kube, fleet, i, cancellationToken));
            await back;
            report.Plain(Of("storm: all but one cut, all connected again"), "s", began.Elapsed.TotalSeconds);
            report.Plain(Of("storm: twin change to a connected node, p50"), "ms", Machine.Share(latencies, 0.50));
            report.Plain(Of("storm: twin change to a connected node, p99"), "ms", Machine.Share(latencies, 0.99));
            report.Plain(Of("storm: twin changes made"), "changes", latencies.Count);
        });

        await StepAsync("restart", async () =>
        {
            await fleet.WaitAsync("wait-in-sync", [], StepSeconds, cancellationToken);
            var before = await fleet.DoAsync("snapshot", null, cancellationToken);
            var stored = await StoredAsync(fleet, "pod", cancellationToken);
            await cloud.KillAsync(cancellationToken);
            // One node in a hundred has something new; all others must find out that they have not.
            var changed = Math.Max(1, nodes / 100);
            await EachAsync(changed, i => ChangePodAsync(kube, i, "while-away", cancellationToken), cancellationToken);
            var clock = Stopwatch.StartNew();
            await cloud.StartAgainAsync(cancellationToken);
            await fleet.WaitAsync("wait-in-sync", [], 2 * StepSeconds, cancellationToken);
            await fleet.WaitAsync("wait-stored", new() { ["type"] = "pod", ["count"] = stored + changed }, StepSeconds, cancellationToken);
            report.AtMost(Of("restart: all back in sync, from the start of the new process"), "s", clock.Elapsed.TotalSeconds, Target(60));
            var after = await fleet.DoAsync("snapshot", null, cancellationToken);
            var syncs = Math.Max(1, (double)after["syncs"]! - (double)before["syncs"]!);
            double Each(string key) => ((double)after[key]! - (double)before[key]!) / syncs;
            report.AtMost(Of("restart: bytes of a resync, both ways, after TLS and upgrade"), "bytes", Each("syncBytesIn") + Each("syncBytesOut"), Target(2048));
            report.Plain(Of("restart: bytes of TLS and upgrade, both ways"), "bytes", Each("handshakeBytes"));
            report.Plain(Of("restart: pods sent that had not changed"), "pods", await StoredAsync(fleet, "pod", cancellationToken) - stored - changed);
        });

        if (!await fleet.StopAsync(cancellationToken))
            failed++;
        return failed;
    }

    // 200 ConfigMaps that a pod of the only node uses.
    private static async Task<int> RunOneAsync(House house, Report report, CancellationToken cancellationToken)
    {
        var (cloud, fleet, kube) = (house.Cloud, house.Fleet, house.Kube);
        try
        {
            Console.Error.WriteLine($"one node: {ConfigMaps} ConfigMaps");
            await fleet.DoAsync("start", null, cancellationToken);
            await fleet.WaitAsync("wait-in-sync", [], StepSeconds, cancellationToken);
            await EachAsync(ConfigMaps, i => kube.CreateAsync(ResourceKind.ConfigMap, "default", ConfigMapOf(i, "first"), cancellationToken), cancellationToken);
            var pod = PodOf(0);
            pod["spec"]!["volumes"] = new JsonArray([.. Enumerable.Range(0, ConfigMaps).Select(i => new JsonObject
            {
                ["name"] = $"v{i}",
                ["configMap"] = new JsonObject { ["name"] = $"settings-{i}" },
            })]);
            await kube.CreateAsync(ResourceKind.Pod, "default", pod, cancellationToken);
            await fleet.WaitAsync("wait-stored", new() { ["type"] = "configmap", ["count"] = ConfigMaps }, StepSeconds, cancellationToken);

            var away = new List<double>();
            var live = new List<double>();
            var livePerCpu = new List<double>();
            for (var run = 0; run < 5; run++)
            {
                await fleet.DoAsync("leave", Node(), cancellationToken);
                await ChangeAllAsync(kube, $"away{run}", cancellationToken);
                await fleet.DoAsync("mark", Marked(), cancellationToken);
                await fleet.DoAsync("return", Node(), cancellationToken);
                away.Add(await RateAsync(fleet, cancellationToken));
                await fleet.DoAsync("mark", Marked(), cancellationToken);
                var cpu = cloud.CpuSeconds();
                await ChangeAllAsync(kube, $"live{run}", cancellationToken);
                live.Add(await RateAsync(fleet, cancellationToken));
                livePerCpu.Add(ConfigMaps / Math.Max(0.01, cloud.CpuSeconds() - cpu));
            }

            report.AtLeast($"to one node, {ConfigMaps} ConfigMaps changed while it was away, first arrival to last commit", "objects/s", Machine.Median(away), 5_000, 42, Peer);
            report.Plain($"to one node, {ConfigMaps} ConfigMaps changed live, as fast as the API takes them", "objects/s", Machine.Median(live));
            report.Plain("to one node, live, by CPU of CloudCore", "objects/CPU-s", Machine.Median(livePerCpu));
            return await fleet.StopAsync(cancellationToken) ? 0 : 1;
        }
        catch (Exception e) when (e is TimeoutException or KubeException)
        {
            Console.Error.WriteLine($"hub: one node: {e.Message}");
            report.AtLeast("to one node: not measured", "", null, 0);
            return 1;
        }

        static JsonObject Node() => new() { ["node"] = 0 };
        static JsonObject Marked() => new() { ["node"] = 0, ["type"] = "configmap" };
    }

    private static Task ChangeAllAsync(KubeClient kube, string value, CancellationToken cancellationToken)
        => EachAsync(ConfigMaps, i => kube.UpdateAsync(ResourceKind.ConfigMap, "default", ConfigMapOf(i, value), null, cancellationToken), cancellationToken);

    private static async Task<double> RateAsync(FleetProcess fleet, CancellationToken cancellationToken)
    {
        await fleet.WaitAsync("wait-measured", new() { ["node"] = 0, ["count"] = ConfigMaps }, StepSeconds, cancellationToken);
        var measured = await fleet.DoAsync("measured", new() { ["node"] = 0 }, cancellationToken);
        return ConfigMaps * 1000 / Math.Max(0.01, (double)measured["lastCommitMs"]! - (double)measured["firstArrivalMs"]!);
    }

    private static async Task<double> TwinChangeAsync(KubeClient kube, FleetProcess fleet, int i, CancellationToken cancellationToken)
    {
        var patch = new JsonObject { ["spec"] = new JsonObject { ["properties"] = Properties((10 + (i % 20)).ToString(CultureInfo.InvariantCulture)) } };
        var began = (DateTimeOffset.UtcNow - DateTimeOffset.UnixEpoch).TotalMilliseconds;
        var changed = await kube.PatchAsync(ResourceKind.Device, "default", "fleet-0", PatchKind.Merge, Bytes(patch), null, cancellationToken);
        var arrived = await fleet.WaitAsync("wait-version", new() { ["node"] = 0, ["key"] = "default/device/fleet-0", ["version"] = changed.Version() }, StepSeconds, cancellationToken);
        return Math.Max(0, arrived - began);
    }

    internal static async Task<long> StoredAsync(FleetProcess fleet, string type, CancellationToken cancellationToken)
        => (long)(await fleet.DoAsync("stored", new() { ["type"] = type }, cancellationToken))["count"]!;

    /// <summary>Until CloudCore has nothing left to do of the connecting: three seconds in a row below a tenth of a core, or 30 s.</summary>
    internal static async Task SettleAsync(CloudProcess cloud, CancellationToken cancellationToken)
    {
        var quiet = 0;
        for (var second = 0; second < 30 && quiet < 3; second++)
        {
            var before = cloud.CpuSeconds();
            await Task.Delay(TimeSpan.FromSeconds(1), cancellationToken);
            quiet = cloud.CpuSeconds() - before < 0.1 ? quiet + 1 : 0;
        }
    }

    internal static Task EachAsync(int count, Func<int, Task> one, CancellationToken cancellationToken)
        => Parallel.ForAsync(0, count, new ParallelOptions { MaxDegreeOfParallelism = Writers, CancellationToken = cancellationToken }, async (i, _) => await one(i));

    internal static Task ChangePodAsync(KubeClient kube, int node, string value, CancellationToken cancellationToken)
        => kube.PatchAsync(
            ResourceKind.Pod, "default", $"pod-{node}", PatchKind.Merge,
            Bytes(new JsonObject { ["metadata"] = new JsonObject { ["annotations"] = new JsonObject { ["bench"] = value } } }), null, cancellationToken);

    private static byte[] Bytes(JsonObject value) => Encoding.UTF8.GetBytes(value.ToJsonString());

    internal static JsonObject PodOf(int node) => new()
    {
        ["metadata"] = new JsonObject { ["name"] = $"pod-{node}", ["namespace"] = "default" },
        ["spec"] = new JsonObject
        {
            ["nodeName"] = $"fleet-{node}",
            ["containers"] = new JsonArray(new JsonObject { ["name"] = "web", ["image"] = "example.com/web:1", ["env"] = new JsonArray(new JsonObject { ["name"] = "MODE", ["value"] = "edge" }) }),
        },
    };

    private static JsonObject ConfigMapOf(int i, string value) => new()
    {
        ["metadata"] = new JsonObject { ["name"] = $"settings-{i}", ["namespace"] = "default" },
        ["data"] = new JsonObject { ["value"] = value, ["config"] = new string('x', 500) },
    };

    private static JsonObject Model() => new()
    {
        ["metadata"] = new JsonObject { ["name"] = "sensor", ["namespace"] = "default" },
        ["spec"] = new JsonObject
        {
            ["protocol"] = "bench",
            ["properties"] = new JsonArray(new JsonObject { ["name"] = "temperature", ["type"] = "FLOAT", ["accessMode"] = "ReadWrite" }),
        },
    };

    private static JsonArray Properties(string desired) => new(new JsonObject
    {
        ["name"] = "temperature",
        ["desired"] = new JsonObject { ["value"] = desired },
        ["reportToCloud"] = true,
        ["visitors"] = new JsonObject { ["protocolName"] = "bench", ["configData"] = new JsonObject() },
    });

    private static JsonObject DeviceOf(int node, string desired) => new()
    {
        ["metadata"] = new JsonObject { ["name"] = $"fleet-{node}", ["namespace"] = "default" },
        ["spec"] = new JsonObject
        {
            ["deviceModelRef"] = new JsonObject { ["name"] = "sensor" },
            ["nodeName"] = $"fleet-{node}",
            ["protocol"] = new JsonObject { ["protocolName"] = "bench", ["configData"] = new JsonObject() },
            ["properties"] = Properties(desired),
        },
    };
}
