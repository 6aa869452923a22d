using System.Diagnostics;
using System.Text.Json.Nodes;
using Edge.Benchmarks.Hub;
using Edge.Kubernetes;

namespace Edge.Benchmarks.Scale;

/// <summary>The model of docs/scale.md beside a fleet: each figure as it is measured and as it was predicted.</summary>
internal static class ScaleBench
{
    private const string Model = "the model of docs/scale.md";
    private const int StepSeconds = 180;

    public static async Task<int> RunAsync(HubBenchOptions options, CancellationToken cancellationToken)
    {
        var nodes = options.Nodes;
        var report = new Report("scale");
        await using var house = await House.StartAsync(options, nodes, cancellationToken);
        var (cloud, fleet) = (house.Cloud, house.Fleet);
        await Task.Delay(TimeSpan.FromSeconds(3), cancellationToken);
        var empty = cloud.ResidentKb();
        var predicted = ScaleModel.Predict(new FleetShape(nodes, 0, 0, 0, 10, 1));

        var cpu = cloud.CpuSeconds();
        await fleet.DoAsync("start", null, cancellationToken);
        await fleet.WaitAsync("wait-connected", [], 2 * StepSeconds, cancellationToken);
        await fleet.WaitAsync("wait-in-sync", [], StepSeconds, cancellationToken);
        Compare("all connected and in sync, CloudCore", "CPU-s", cloud.CpuSeconds() - cpu, predicted.ReconnectCoreSeconds);

        await HubBench.SettleAsync(cloud, cancellationToken);
        var before = await fleet.DoAsync("snapshot", null, cancellationToken);
        cpu = cloud.CpuSeconds();
        await Task.Delay(TimeSpan.FromSeconds(options.IdleSeconds), cancellationToken);
        var after = await fleet.DoAsync("snapshot", null, cancellationToken);
        double Grown(string key) => (double)after[key]! - (double)before[key]!;
        Compare("idle, CloudCore", "cores", (cloud.CpuSeconds() - cpu) / options.IdleSeconds, predicted.HubCores);
        Compare("idle, both ways below TLS", "bytes/s", (Grown("bytesIn") + Grown("bytesOut")) / options.IdleSeconds, predicted.HubBytesPerSecond);
        Compare("memory of a connected node", "KB", (cloud.ResidentKb() - empty) / nodes, ScaleModel.ConnectedNodeKb);

        var stored = await HubBench.StoredAsync(fleet, "pod", cancellationToken);
        await HubBench.EachAsync(nodes, i => house.Kube.CreateAsync(ResourceKind.Pod, "default", HubBench.PodOf(i), cancellationToken), cancellationToken);
        await WaitStoredAsync(stored + nodes);
        cpu = cloud.CpuSeconds();
        var clock = Stopwatch.StartNew();
        await HubBench.EachAsync(nodes, i => HubBench.ChangePodAsync(house.Kube, i, "scale", cancellationToken), cancellationToken);
        await WaitStoredAsync(stored + (2 * nodes));
        var rate = nodes / clock.Elapsed.TotalSeconds;
        report.Plain($"changes of pods that the API took ({nodes} nodes)", "changes/s", rate);
        Compare("changes of pods acked by processor time", "changes/CPU-s", nodes / Math.Max(0.01, cloud.CpuSeconds() - cpu), ScaleModel.ChangesPerCoreSecond(nodes, rate));

        // Nobody dials this one: what it holds is the cluster's objects alone.
        var another = await house.StartAnotherAsync(cancellationToken);
        await HubBench.SettleAsync(another, cancellationToken);
        Compare("memory of a node and a pod in a CloudCore that does not have the node", "KB", (another.ResidentKb() - empty) / nodes, ScaleModel.ForeignNodeKb + ScaleModel.PodKb);
        report.Write();
        return await fleet.StopAsync(cancellationToken) ? 0 : 1;

        void Compare(string figure, string unit, double measured, double model) => report.AtMost($"{figure} ({nodes} nodes)", unit, measured, null, model, Model);

        Task WaitStoredAsync(long count) => fleet.WaitAsync("wait-stored", new JsonObject { ["type"] = "pod", ["count"] = count }, StepSeconds, cancellationToken);
    }
}
