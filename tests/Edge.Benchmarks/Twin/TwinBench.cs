using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;

namespace Edge.Benchmarks.Twin;

/// <summary>Twins of many devices on one node, with the shipped executables: a mapper in this process on DMI below, a watch of the API above.</summary>
internal static class TwinBench
{
    private const string Peer = "KubeEdge v1.23.1 (figures of issue 5, 8 devices)";
    private const int Properties = 10;
    private const int HistoryDevices = 10;
    private const int InFlightMax = 256;
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(2);
    private static readonly TimeSpan s_window = TimeSpan.FromSeconds(1);

    public static async Task<int> RunAsync(int devices, int seconds, CancellationToken cancellationToken)
    {
        var report = new Report("twin");
        await TogetherAsync(devices, seconds, report, cancellationToken);
        await ApartAsync(devices, seconds, report, cancellationToken);
        report.Write();
        return 0;
    }

    // cloudcore as it is shipped, hub and API in one process.
    private static async Task TogetherAsync(int devices, int seconds, Report report, CancellationToken cancellationToken)
    {
        await using var edge = await StartAsync(false, cancellationToken);
        var node = edge.Nodes[0];
        var (cloud, core) = (new ProcessFigures(edge.CloudCore!.Id), new ProcessFigures(node.Process!.Id));
        await using var mapper = new BenchMapper(node.DmiSocket);
        await using var watch = new StatusWatch(edge.Client);
        var values = await PrepareAsync(edge, mapper, watch, devices, cancellationToken);
        foreach (var (rate, properties) in ((int, int)[])[(10, 1), (100, 1), (400, 1), (1000, 1), (1000, Properties)])
        {
            // Reports of one device within its window go together: the last ones of the former rate would hold up the first ones of this.
            await Task.Delay(s_window, cancellationToken);
            var (before, coreBefore) = (cloud.CpuSeconds(), core.CpuSeconds());
            var began = Stopwatch.GetTimestamp();
            await ReportAsync(mapper, watch, values, rate * seconds, properties, TimeSpan.FromSeconds(1.0 / rate), cancellationToken);
            var took = Stopwatch.GetElapsedTime(began).TotalSeconds;
            var (cloudCpu, coreCpu) = (cloud.CpuSeconds() - before, core.CpuSeconds() - coreBefore);
            await SettledAsync(watch, values, cancellationToken);
            var latencies = watch.TakeLatencies();
            var what = properties == 1 ? $"report to watch at {rate}/s" : $"report of {properties} properties to watch at {rate}/s";
            report.AtMost($"{what}, p50", "ms", Machine.Share(latencies, 0.5), null, rate == 10 ? 9 : null, rate == 10 ? Peer : null);
            report.AtMost($"{what}, p99", "ms", Machine.Share(latencies, 0.99), rate == 1000 && properties == 1 ? 15 : null, rate == 10 ? 16 : null, rate == 10 ? Peer : null);
            if (rate < 1000)
                continue;
            var thousands = rate * seconds / 1000.0;
            report.AtMost($"{properties} properties at {rate}/s, cloudcore with the API", "cores", cloudCpu / took, properties == Properties ? 0.5 : null);
            report.AtMost($"{properties} properties at {rate}/s, cloudcore with the API, 1,000 reports", "CPU-s", cloudCpu / thousands, null, properties == 1 ? 11.3 : null, properties == 1 ? Peer : null);
            report.AtMost($"{properties} properties at {rate}/s, edgecore, 1,000 reports", "CPU-s", coreCpu / thousands, null, properties == 1 ? 4.5 : null, properties == 1 ? Peer : null);
        }

        await DesiredAsync(edge.Client, mapper, devices, report, cancellationToken);
        await FloodAsync(mapper, watch, values, seconds, report, cancellationToken);
        report.Plain("edgecore, resident memory at the end", "MB", core.ResidentKb() / 1024);
        report.Plain("cloudcore with the API, resident memory at the end", "MB", cloud.ResidentKb() / 1024);
    }

    // The API in a process of its own, so that its processor time shows. It costs more than in one process: every call goes through HTTP and TLS.
    private static async Task ApartAsync(int devices, int seconds, Report report, CancellationToken cancellationToken)
    {
        await using var edge = await StartAsync(true, cancellationToken);
        var node = edge.Nodes[0];
        var (api, hub) = (new ProcessFigures(edge.CloudCore!.Id), new ProcessFigures(edge.Hub!.Id));
        await using var mapper = new BenchMapper(node.DmiSocket);
        await using var watch = new StatusWatch(edge.Client);
        var values = await PrepareAsync(edge, mapper, watch, devices, cancellationToken);
        await Task.Delay(s_window, cancellationToken);
        var (apiBefore, hubBefore) = (api.CpuSeconds(), hub.CpuSeconds());
        var began = Stopwatch.GetTimestamp();
        await ReportAsync(mapper, watch, values, devices * seconds, Properties, s_window / devices, cancellationToken);
        var took = Stopwatch.GetElapsedTime(began).TotalSeconds;

        // What is still under way counts, too. Far less than the second between two reports of a device: each was a write of its own, none was left out for a newer one.
        await SettledAsync(watch, values, cancellationToken);
        var what = $"{devices} devices x {Properties} properties x 1 Hz";
        report.AtMost($"{what}, the API in a process of its own", "cores", (api.CpuSeconds() - apiBefore) / took, 0.5);
        report.Plain($"{what}, the hub beside it", "cores", (hub.CpuSeconds() - hubBefore) / took);
        var latencies = watch.TakeLatencies();
        report.Plain($"{what}, both: reports a second", "reports/s", latencies.Count / took);
        report.Plain($"{what}, both: report to watch, p50", "ms", Machine.Share(latencies, 0.5));
        report.Plain($"{what}, both: report to watch, p99", "ms", Machine.Share(latencies, 0.99));
    }

    private static Task<LocalEdge> StartAsync(bool ownHub, CancellationToken cancellationToken)
        => LocalEdge.StartAsync(
            new LocalEdgeOptions
            {
                Directory = Directory.CreateTempSubdirectory("edge-bench-").FullName, OwnHub = ownHub, Pods = false, Simulator = false, Mapper = false, Examples = false, ExamplePods = false,
                RemoveDirectory = true,
            },
            new Progress<LocalStep>(), cancellationToken);

    // The devices with their mapper and one report each, which makes its DeviceStatus; the newest value of each.
    private static async Task<long[]> PrepareAsync(LocalEdge edge, BenchMapper mapper, StatusWatch watch, int devices, CancellationToken cancellationToken)
    {
        var node = edge.Nodes[0];
        await CreateAsync(edge.Client, node.Name, devices, cancellationToken);
        await mapper.StartAsync(Path.Combine(node.DmiDirectory, "bench.sock"), cancellationToken);
        await UntilAsync(() => mapper.Devices == devices, "all devices at the mapper", cancellationToken);
        await watch.StartAsync(cancellationToken);
        var values = new long[devices];
        await ReportAsync(mapper, watch, values, devices, 1, TimeSpan.Zero, cancellationToken);
        await SettledAsync(watch, values, cancellationToken);
        watch.TakeLatencies();
        return values;
    }

    private static string NameOf(int device) => $"d{device}";

    private static async Task CreateAsync(KubeClient client, string node, int devices, CancellationToken cancellationToken)
    {
        var names = Enumerable.Range(0, Properties).Select(i => $"p{i}").ToList();
        await client.CreateAsync(
            ResourceKind.DeviceModel, "default",
            new JsonObject
            {
                ["apiVersion"] = ResourceKind.DeviceModel.ApiVersion,
                ["kind"] = "DeviceModel",
                ["metadata"] = new JsonObject { ["name"] = "bench" },
                ["spec"] = new JsonObject
                {
                    ["protocol"] = BenchMapper.Protocol,
                    ["properties"] = new JsonArray([.. names.Select(name => (JsonNode?)new JsonObject { ["name"] = name, ["type"] = "INT", ["accessMode"] = "ReadWrite" })]),
                },
            },
            cancellationToken);
        await Parallel.ForAsync(0, devices, new ParallelOptions { MaxDegreeOfParallelism = 16, CancellationToken = cancellationToken }, async (i, token) =>
        {
            var metadata = new JsonObject { ["name"] = NameOf(i) };
            if (i < HistoryDevices)
                metadata["annotations"] = new JsonObject { ["devices.edge.io/history"] = "p0=1000" };
            await client.CreateAsync(
                ResourceKind.Device, "default",
                new JsonObject
                {
                    ["apiVersion"] = ResourceKind.Device.ApiVersion,
                    ["kind"] = "Device",
                    ["metadata"] = metadata,
                    ["spec"] = new JsonObject
                    {
                        ["deviceModelRef"] = new JsonObject { ["name"] = "bench" },
                        ["nodeName"] = node,
                        ["protocol"] = new JsonObject { ["protocolName"] = BenchMapper.Protocol },
                        ["properties"] = new JsonArray([.. names.Select(name => (JsonNode?)new JsonObject { ["name"] = name, ["desired"] = new JsonObject { ["value"] = "0" } })]),
                    },
                },
                token);
        });
    }

    // Reports, one device after the other, a step apart whatever the answers take.
    private static async Task ReportAsync(BenchMapper mapper, StatusWatch watch, long[] values, int count, int properties, TimeSpan step, CancellationToken cancellationToken)
    {
        using var slots = new SemaphoreSlim(InFlightMax);
        GrpcException? failure = null;
        var began = Stopwatch.GetTimestamp();
        for (var i = 0; i < count; i++)
        {
            var wait = (i * step) - Stopwatch.GetElapsedTime(began);
            if (wait > TimeSpan.FromMilliseconds(1))
                await Task.Delay(wait, cancellationToken);
            await slots.WaitAsync(cancellationToken);
            _ = OneAsync(i % values.Length); // awaited through the slots
        }

        for (var i = 0; i < InFlightMax; i++)
            await slots.WaitAsync(cancellationToken);
        if (failure is not null)
            throw new BenchException($"a report was not taken: {failure.Message}");

        async Task OneAsync(int device)
        {
            try
            {
                await mapper.Edge.ReportDeviceStatusAsync(Next(watch, values, device, properties), cancellationToken);
            }
            catch (GrpcException e)
            {
                failure ??= e;
            }
            finally
            {
                slots.Release();
            }
        }
    }

    private static ReportDeviceStatusRequest Next(StatusWatch watch, long[] values, int device, int properties)
    {
        var value = ++values[device];
        var text = value.ToString(CultureInfo.InvariantCulture);
        var timestamp = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds().ToString(CultureInfo.InvariantCulture);
        var request = new ReportDeviceStatusRequest { DeviceName = NameOf(device), DeviceNamespace = "default", ReportedDevice = new DeviceStatus() };
        for (var i = 0; i < properties; i++)
        {
            var reported = new TwinProperty { Value = text };
            reported.Metadata["timestamp"] = timestamp;
            reported.Metadata["type"] = "int";
            request.ReportedDevice.Twins.Add(new Protocol.Dmi.V1Beta1.Twin { PropertyName = $"p{i}", Reported = reported });
        }

        watch.Sending(NameOf(device), value);
        return request;
    }

    private static async Task DesiredAsync(KubeClient client, BenchMapper mapper, int devices, Report report, CancellationToken cancellationToken)
    {
        var times = new List<double>();
        for (var i = 0; i < 200; i++)
        {
            var device = NameOf(i * 7 % devices);
            var value = $"{i + 1}";
            var patch = Encoding.UTF8.GetBytes($$"""[{"op":"replace","path":"/spec/properties/0/desired/value","value":"{{value}}"}]""");
            var began = Stopwatch.GetTimestamp();
            await client.PatchAsync(ResourceKind.Device, "default", device, PatchKind.Json, patch, null, cancellationToken);
            times.Add(Stopwatch.GetElapsedTime(began, await mapper.DesiredAsync(device, value).WaitAsync(s_patience, cancellationToken)).TotalMilliseconds);
        }

        report.AtMost("desired value, patch to mapper, p50", "ms", Machine.Share(times, 0.5), null, 16, Peer);
        report.AtMost("desired value, patch to mapper, p99", "ms", Machine.Share(times, 0.99), 20, 85, Peer);
    }

    // As many reports as the node takes, ten a second for each device at most.
    private static async Task FloodAsync(BenchMapper mapper, StatusWatch watch, long[] values, int seconds, Report report, CancellationToken cancellationToken)
    {
        var counts = Enumerable.Range(0, Math.Min(HistoryDevices, values.Length)).Select(device => values[device] - watch.Count(NameOf(device))).ToList();
        var sent = values.Sum();
        var began = Stopwatch.GetTimestamp();
        await ReportAsync(mapper, watch, values, values.Length * 10 * seconds, 1, TimeSpan.FromSeconds(1.0 / (values.Length * 10)), cancellationToken);
        report.Plain($"flood: {values.Length} devices, 10 reports a second each asked for, taken", "reports/s", (values.Sum() - sent) / Stopwatch.GetElapsedTime(began).TotalSeconds);
        began = Stopwatch.GetTimestamp();
        await SettledAsync(watch, values, cancellationToken);
        report.Plain("flood: until the last value of every device is there", "s", Stopwatch.GetElapsedTime(began).TotalSeconds);
        watch.TakeLatencies();
        bool Complete() => counts.Select((offset, device) => values[device] - offset - watch.Count(NameOf(device))).All(missing => missing == 0);
        var deadline = Stopwatch.StartNew();
        while (!Complete() && deadline.Elapsed < s_patience)
            await Task.Delay(50, cancellationToken);
        report.AtMost(
            "flood: samples lost of properties that keep their history", "samples", counts.Select((offset, device) => values[device] - offset - watch.Count(NameOf(device))).Sum(), 0);
    }

    private static Task SettledAsync(StatusWatch watch, long[] values, CancellationToken cancellationToken)
        => UntilAsync(() => Enumerable.Range(0, values.Length).All(device => watch.Newest(NameOf(device)) == values[device]), "the last value of every device", cancellationToken);

    private static async Task UntilAsync(Func<bool> condition, string what, CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        while (!condition())
        {
            if (clock.Elapsed > s_patience)
                throw new BenchException($"waited {s_patience.TotalSeconds} s for {what}");
            await Task.Delay(20, cancellationToken);
        }
    }
}
