using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Core.Configuration;
using Edge.Core.MetaManager;
using Edge.Kubernetes;
using Edge.Protocol.Cri;
using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;

namespace Edge.Core.Edged.LocalApi;

/// <summary>Measures the node and its pods when somebody asks, at most once a second; who asks at the same time shares the answer.
/// Containers come from CRI ListContainerStats, pods from their cgroups, networks from /proc: containerd 1.6 has no more.</summary>
internal sealed class UsageSampler(EdgedOptions options, string nodeName, IMetaStore meta, CriClient cri, TimeProvider time) : IDisposable
{
    private static readonly TimeSpan s_age = TimeSpan.FromSeconds(1);

    private readonly SemaphoreSlim _gate = new(1);
    private readonly CpuRates _rates = new();
    private readonly Dictionary<string, int> _processes = new(StringComparer.Ordinal);
    private UsageReport? _last;

    /// <summary>The newest figures; not older than a second.</summary>
    public async Task<UsageReport> SampleAsync(CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            var now = time.GetUtcNow();
            if (_last is { } last && (now - last.Time).Duration() < s_age)
                return last;
            var node = UsageFiles.Node(nodeName, options, now);
            node = node with { Cpu = _rates.Rate("", node.Cpu) };
            try
            {
                var images = (await cri.ImageFsInfoAsync(cancellationToken)).ImageFilesystems.FirstOrDefault();
                var imageDisk = images?.FsId is { } id ? UsageFiles.Disk(id.Mountpoint, now) : null;
                node = node with { Images = images is null || imageDisk is null ? null : imageDisk with { Used = images.UsedBytes?.Value, InodesUsed = images.InodesUsed?.Value } };
                _last = new UsageReport(now, node, await PodsAsync(imageDisk, now, cancellationToken), "");
            }
            catch (GrpcException e)
            {
                _last = new UsageReport(now, node, [], e.Detail);
            }

            _rates.Forget(now);
            return _last;
        }
        finally
        {
            _gate.Release();
        }
    }

    public void Dispose() => _gate.Dispose();

    /// <summary>The process id in what containerd says of a sandbox under <c>info</c>, or null.</summary>
    internal static int? ProcessOf(string info)
    {
        try
        {
            return JsonNode.Parse(info).Number(0, "pid") is > 0 and <= int.MaxValue and var pid ? (int)pid : null;
        }
        catch (JsonException)
        {
            return null; // another runtime's own way to say it
        }
    }

    private async Task<IReadOnlyList<PodUse>> PodsAsync(DiskUse? imageDisk, DateTimeOffset now, CancellationToken cancellationToken)
    {
        var podFilter = new PodSandboxFilter { State = new PodSandboxStateValue { State = PodSandboxState.SandboxReady } };
        podFilter.LabelSelector[CriConfigs.NodeLabel] = nodeName;
        var filter = new ContainerFilter { State = new ContainerStateValue { State = ContainerState.ContainerRunning } };
        filter.LabelSelector[CriConfigs.NodeLabel] = nodeName;
        var statsFilter = new ContainerStatsFilter();
        statsFilter.LabelSelector[CriConfigs.NodeLabel] = nodeName;
        var sandboxes = await cri.ListPodSandboxAsync(podFilter, cancellationToken);
        var containers = await cri.ListContainersAsync(filter, cancellationToken);
        var stats = (await cri.ListContainerStatsAsync(statsFilter, cancellationToken)).Where(one => one.Attributes is not null).ToLookup(one => one.Attributes.Id, StringComparer.Ordinal);
        var pods = new List<PodUse>();
        foreach (var sandbox in sandboxes.OrderBy(one => one.Metadata.Namespace, StringComparer.Ordinal).ThenBy(one => one.Metadata.Name, StringComparer.Ordinal))
        {
            var pod = Describe(sandbox.Metadata);
            var cgroup = pod is null ? "" : CriConfigs.CgroupParent(options, pod);
            var own = containers.Where(one => one.PodSandboxId == sandbox.Id).OrderBy(one => one.Metadata.Name, StringComparer.Ordinal)
                .Select(one => Container(one, stats[one.Id].FirstOrDefault(), pod, sandbox.Metadata, cgroup, imageDisk, now)).ToList();
            var (cpu, memory, processes) = UsageFiles.Cgroup(CriConfigs.CgroupPath(cgroup), now);
            pods.Add(new PodUse
            {
                Namespace = sandbox.Metadata.Namespace,
                Name = sandbox.Metadata.Name,
                Uid = sandbox.Metadata.Uid,
                SandboxId = sandbox.Id,
                Cgroup = CriConfigs.CgroupPath(cgroup),
                Started = Time(sandbox.CreatedAt),
                Cpu = _rates.Rate(sandbox.Id, cpu ?? UsageSums.Cpu(own)),
                Memory = memory ?? UsageSums.Memory(own),
                Network = pod is { HostNetwork: false } && await ProcessAsync(sandbox.Id, cancellationToken) is { } process ? UsageFiles.Network(process) : [],
                Processes = processes,
                Containers = own,
            });
        }

        foreach (var id in _processes.Keys.Where(id => sandboxes.All(sandbox => sandbox.Id != id)).ToList())
            _processes.Remove(id);
        return pods;
    }

    private ContainerUse Container(
        Container container, ContainerStats? stats, PodDescription? wanted, PodSandboxMetadata pod, string cgroup, DiskUse? imageDisk, DateTimeOffset now)
    {
        // The runtime may say no more of memory than the working set; the container's own cgroup lies below the pod's.
        var (_, measured, processes) = UsageFiles.Cgroup(cgroup.Length == 0 ? "" : CriConfigs.ContainerCgroup(cgroup, container.Id), now);
        CpuUse? cpu = stats?.Cpu?.UsageCoreNanoSeconds is { } used ? new CpuUse(Time(stats.Cpu.Timestamp), used.Value, stats.Cpu.UsageNanoCores?.Value) : null;
        var memory = stats?.Memory;
        var logs = Path.Combine(options.PodLogsDirectory, $"{pod.Namespace}_{pod.Name}_{pod.Uid}", container.Metadata.Name);
        return new ContainerUse
        {
            Name = container.Metadata.Name,
            Id = container.Id,
            // containerd 1.6 lists the image by its id.
            Image = wanted?.AllContainers.FirstOrDefault(one => one.Name == container.Metadata.Name)?.Image ?? container.Image?.Image ?? "",
            Started = Time(container.CreatedAt),
            Cpu = cpu is { NanoCores: null } ? _rates.Rate(container.Id, cpu) : cpu,
            Memory = memory?.WorkingSetBytes is { } working
                ? new MemoryUse(
                    Time(memory.Timestamp), memory.UsageBytes?.Value ?? measured?.Usage, working.Value, memory.AvailableBytes?.Value, memory.RssBytes?.Value ?? measured?.Rss,
                    memory.PageFaults?.Value ?? measured?.PageFaults, memory.MajorPageFaults?.Value ?? measured?.MajorPageFaults)
                : measured,
            Processes = processes,
            SwapBytes = stats?.Swap?.SwapUsageBytes?.Value,
            Rootfs = stats?.WritableLayer is { } layer
                ? new DiskUse(
                    Time(layer.Timestamp), imageDisk?.Capacity, imageDisk?.Available, layer.UsedBytes?.Value, imageDisk?.Inodes, imageDisk?.InodesFree, layer.InodesUsed?.Value)
                : null,
            Logs = UsageFiles.FileBytes(logs) is { } bytes && UsageFiles.Disk(logs, now) is { } disk ? disk with { Used = bytes, InodesUsed = null } : null,
        };
    }

    // The pod as the store has it, for its class and network; null while it is on its way out.
    private PodDescription? Describe(PodSandboxMetadata metadata)
    {
        if (meta.Get("pod", metadata.Namespace, metadata.Name) is not { } stored || stored.Uid != metadata.Uid)
            return null;
        try
        {
            return JsonNode.Parse(stored.Json.Span) is JsonObject json && PodDescription.TryRead(json, out var pod, out _) ? pod : null;
        }
        catch (JsonException)
        {
            return null; // Edged has said so (event 4004)
        }
    }

    // A sandbox that is ready keeps its process.
    private async Task<int?> ProcessAsync(string sandboxId, CancellationToken cancellationToken)
    {
        if (_processes.TryGetValue(sandboxId, out var known))
            return known;
        try
        {
            var details = await cri.PodSandboxDetailsAsync(sandboxId, cancellationToken);
            if (details.Info.TryGetValue("info", out var info) && ProcessOf(info) is { } process)
                return _processes[sandboxId] = process;
        }
        catch (GrpcException e) when (e.Code == GrpcStatusCode.NotFound)
        {
            // Gone since it was listed.
        }

        return null;
    }

    private static DateTimeOffset Time(long nanoseconds) => DateTimeOffset.UnixEpoch.AddTicks(nanoseconds / TimeSpan.NanosecondsPerTick);
}

/// <summary>Use per second from two samples of a counter. One caller at a time.</summary>
internal sealed class CpuRates
{
    private static readonly TimeSpan s_shortest = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_kept = TimeSpan.FromMinutes(10);

    private readonly Dictionary<string, CpuUse> _samples = new(StringComparer.Ordinal);

    /// <summary>The sample with its rate since the one before; without one the first time, after the counter went back, and for null.</summary>
    public CpuUse? Rate(string key, CpuUse? sample)
    {
        if (sample is null)
            return null;
        if (_samples.TryGetValue(key, out var before))
        {
            var passed = sample.Time - before.Time;
            if (passed >= TimeSpan.Zero && passed < s_shortest)
                return sample with { NanoCores = before.NanoCores };
            if (passed > TimeSpan.Zero && sample.CoreNanoseconds >= before.CoreNanoseconds)
                sample = sample with { NanoCores = (ulong)((sample.CoreNanoseconds - before.CoreNanoseconds) / passed.TotalSeconds) };
        }

        _samples[key] = sample;
        return sample;
    }

    /// <summary>Drops what was not seen for ten minutes.</summary>
    public void Forget(DateTimeOffset now)
    {
        foreach (var key in _samples.Where(pair => now - pair.Value.Time > s_kept).Select(pair => pair.Key).ToList())
            _samples.Remove(key);
    }
}

/// <summary>Sums of containers, for pods whose cgroup cannot be read. Pure.</summary>
internal static class UsageSums
{
    public static CpuUse? Cpu(IReadOnlyList<ContainerUse> containers)
        => containers.Select(one => one.Cpu).OfType<CpuUse>().ToList() is { Count: > 0 } all
            ? new CpuUse(all.Max(one => one.Time), all.Aggregate(0UL, (sum, one) => sum + one.CoreNanoseconds), null)
            : null;

    public static MemoryUse? Memory(IReadOnlyList<ContainerUse> containers)
        => containers.Select(one => one.Memory).OfType<MemoryUse>().ToList() is { Count: > 0 } all
            ? new MemoryUse(
                all.Max(one => one.Time), Sum(all, one => one.Usage), all.Aggregate(0UL, (sum, one) => sum + one.WorkingSet), null, Sum(all, one => one.Rss),
                Sum(all, one => one.PageFaults), Sum(all, one => one.MajorPageFaults))
            : null;

    private static ulong? Sum(List<MemoryUse> all, Func<MemoryUse, ulong?> value)
        => all.TrueForAll(one => value(one) is not null) ? all.Aggregate(0UL, (sum, one) => sum + value(one)!.Value) : null;
}
