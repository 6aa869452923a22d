using Edge.Core.Configuration;
using Edge.Core.Edged.GarbageCollection;
using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;

namespace Edge.Core.Edged.Eviction;

/// <summary>Looks at the node every 10 s, makes room while a threshold is not met, and tells the pressures. At most one pod goes at a look.</summary>
/// <param name="read">Reads the node.</param>
/// <param name="workers">The pods' workers now.</param>
internal sealed class EvictionManager(
    PodContext context, Func<CancellationToken, Task<NodeReadings>> read, Func<IReadOnlyCollection<PodWorker>> workers, ImageCollector images, Action<IReadOnlySet<string>> pressures)
{
    private static readonly TimeSpan s_period = TimeSpan.FromSeconds(10);

    // How long a pod that is evicted may take beyond its grace before another goes.
    private static readonly TimeSpan s_stopTime = TimeSpan.FromSeconds(30);

    private static readonly ILookup<string, LayerUse> s_noLayers = Array.Empty<LayerUse>().ToLookup(_ => "");

    private readonly EvictionCore _core = new(context.Options.Resources);
    private readonly PodUsageReader _usage = new(context.Options);
    private string _lowOn = "";
    private PodWorker? _evicted;
    private DateTimeOffset _evictedUntil;
    private IReadOnlySet<string> _said = new HashSet<string>();

    /// <summary>Looks until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(s_period, context.Time);
        do
        {
            try
            {
                await LookAsync(cancellationToken);
                await LookAtLimitsAsync(cancellationToken);
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested)
            {
                EdgedLog.KeeperFailed(context.Log, "eviction", e); // the loop's outermost frame; the next look tries again
            }
        }
        while (await timer.WaitForNextTickAsync(cancellationToken));
    }

    /// <summary>One look, with what follows from it.</summary>
    internal async Task LookAsync(CancellationToken cancellationToken)
    {
        var decision = _core.Step(await read(cancellationToken), context.Time.GetUtcNow());
        if (!decision.Pressures.SetEquals(_said))
            EdgedLog.Pressures(context.Log, string.Join(", ", decision.Pressures.Order(StringComparer.Ordinal)));
        _said = decision.Pressures;
        pressures(decision.Pressures);
        if (decision.Reclaim is not { } met)
        {
            _lowOn = "";
            return;
        }

        if (met.Threshold.Signal != _lowOn)
            EdgedLog.LowOn(context.Log, met.Threshold.Signal, met.Reading.Available, met.Threshold.Amount.Of(met.Reading.Capacity));
        _lowOn = met.Threshold.Signal;

        // What the last one held counts as soon as it is gone; its containers go last.
        if (_evicted is { HasContainers: true, IsFinished: false } && context.Time.GetUtcNow() < _evictedUntil)
            return;

        // As a kubelet: what pods that have ended left at the runtime and images that nobody uses go before any pod.
        Func<string, PodDisk>? disk = null;
        if (EvictionCore.Pressure(met.Threshold.Signal) == EvictionCore.DiskPressure)
        {
            var shared = (await read(cancellationToken)).ImagesOnNodeFs;
            var onImages = met.Threshold.Signal is EvictionSignals.ImageFs or EvictionSignals.ImageFsInodes;
            if (onImages || shared)
            {
                if (workers().Where(worker => worker.Discard()).ToList() is not [])
                    return; // the next look sees what came free
                if (await images.RemoveUnusedAsync(cancellationToken) > 0 && EvictionCore.IsResolved(met.Threshold, await read(cancellationToken)))
                    return;
            }

            var layers = onImages || shared ? await LayersAsync(cancellationToken) : s_noLayers;
            disk = uid => new PodDisk(!onImages || shared, [.. layers[uid]]);
        }

        var active = Active().ToDictionary(worker => worker.Pod.Uid, StringComparer.Ordinal);
        var candidates = await CandidatesAsync(active.Values, disk, cancellationToken);
        if (EvictionRanking.Choose(candidates, met, context.Options.Resources.EvictionPodGraceMax) is { } eviction)
        {
            _evicted = active[eviction.Uid];
            _evictedUntil = context.Time.GetUtcNow() + eviction.Grace + s_stopTime;
            _evicted.End(new PodEnd("Evicted", eviction.Message, eviction.Message, eviction.Grace) { Disrupted = true });
        }
        else
        {
            EdgedLog.NobodyToEvict(context.Log, met.Threshold.Signal);
        }
    }

    /// <summary>Ends the pods that hold more of the disk than they set themselves as limit, whatever the node has left.</summary>
    internal async Task LookAtLimitsAsync(CancellationToken cancellationToken)
    {
        var limited = Active().Where(worker => LocalStorageLimits.Any(worker.Pod)).ToList();
        var layers = limited.Exists(worker => LocalStorageLimits.HasContainerLimit(worker.Pod)) ? await LayersAsync(cancellationToken) : s_noLayers;
        foreach (var worker in limited)
        {
            var pod = worker.Pod;
            var message = LocalStorageLimits.Exceeded(
                pod, volume => PodUsageReader.Walk(LocalStorageLimits.Folder(context.Options.RootDirectory, pod.Uid, volume)).Bytes, container => _usage.ContainerBytes(pod, container, layers[pod.Uid]));
            if (message is not null)
                worker.End(new PodEnd("Evicted", message, message, TimeSpan.Zero));
        }
    }

    private IEnumerable<PodWorker> Active() => workers().Where(worker => !worker.HasEnded && !worker.IsFinished && !worker.IsRemoved && !worker.Pod.IsDeleting);

    // What containers wrote to their file systems, by their pods' uid, as the runtime measured it last.
    private async Task<ILookup<string, LayerUse>> LayersAsync(CancellationToken cancellationToken)
    {
        try
        {
            var filter = new ContainerStatsFilter();
            filter.LabelSelector[CriConfigs.NodeLabel] = context.NodeName;
            return (await context.Cri.ListContainerStatsAsync(filter, cancellationToken)).Where(stats => stats is { Attributes: not null, WritableLayer: not null }).ToLookup(
                stats => stats.Attributes.Labels.TryGetValue(CriConfigs.UidLabel, out var uid) ? uid : "",
                stats => new LayerUse(stats.Attributes.Metadata.Name, (long)(stats.WritableLayer.UsedBytes?.Value ?? 0), (long)(stats.WritableLayer.InodesUsed?.Value ?? 0)),
                StringComparer.Ordinal);
        }
        catch (GrpcException e)
        {
            // Without it volumes and logs decide alone.
            EdgedLog.RuntimeMissing(context.Log, context.Cri.SocketPath, e.Detail);
            return s_noLayers;
        }
    }

    private async Task<List<EvictionCandidate>> CandidatesAsync(IEnumerable<PodWorker> active, Func<string, PodDisk>? disk, CancellationToken cancellationToken)
    {
        var running = new Dictionary<string, Dictionary<string, string>>(StringComparer.Ordinal);
        try
        {
            var filter = new ContainerFilter { State = new ContainerStateValue { State = ContainerState.ContainerRunning } };
            filter.LabelSelector[CriConfigs.NodeLabel] = context.NodeName;
            foreach (var container in await context.Cri.ListContainersAsync(filter, cancellationToken))
            {
                if (!container.Labels.TryGetValue(CriConfigs.UidLabel, out var uid))
                    continue;
                if (!running.TryGetValue(uid, out var ids))
                    running.Add(uid, ids = new Dictionary<string, string>(StringComparer.Ordinal));
                ids[container.Metadata.Name] = container.Id;
            }
        }
        catch (GrpcException e)
        {
            // Without it the message names no containers; who goes is decided by the pods' own cgroups.
            EdgedLog.RuntimeMissing(context.Log, context.Cri.SocketPath, e.Detail);
        }

        return [.. active.Select(worker => worker.Pod).Select(pod => new EvictionCandidate(pod.Json, _usage.Read(pod, running.GetValueOrDefault(pod.Uid) ?? [], disk?.Invoke(pod.Uid))))];
    }
}
