using Edge.Core.Edged.Eviction;
using Edge.Core.Edged.GarbageCollection;
using Edge.Core.Edged.Logs;
using Edge.Core.NodeStatus;
using Edge.Protocol.Grpc;

namespace Edge.Core.Edged;

/// <summary>Keeps room on the node: eviction, garbage of images and pods, log rotation; each in a loop of its own.</summary>
internal sealed class NodeKeeper : IDisposable
{
    // Kubelet's periods.
    private static readonly TimeSpan s_imagePeriod = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan s_leftoverPeriod = TimeSpan.FromMinutes(1);

    private readonly PodContext _context;
    private readonly EvictionManager _eviction;
    private readonly ImageCollector _images;
    private readonly LeftoverCollector _leftovers;
    private readonly LogRotator _logs;
    private string _imageDirectory = "";

    /// <param name="read">Reads the node; null reads this machine.</param>
    /// <param name="workers">The pods' workers now; from any thread.</param>
    /// <param name="pressures">Told the pressures at each look.</param>
    public NodeKeeper(
        PodContext context, Func<CancellationToken, Task<NodeReadings>>? read, Func<IReadOnlyCollection<PodWorker>> workers, Action<IReadOnlySet<string>> pressures)
    {
        _context = context;
        read ??= ReadMachineAsync;
        _images = new ImageCollector(context, read, () => Active(workers()));
        _eviction = new EvictionManager(context, read, workers, _images, pressures);
        _leftovers = new LeftoverCollector(context, () => workers().Select(worker => worker.Pod.Uid).Concat(context.Meta.List("pod").Select(pod => pod.Uid)).Concat(context.Meta.UnreadableUids("pod")).ToHashSet(StringComparer.Ordinal));
        _logs = new LogRotator(context, () => workers().Select(worker => worker.Pod));
    }

    /// <summary>Runs until cancelled.</summary>
    public Task RunAsync(CancellationToken cancellationToken) => Task.WhenAll(
        _eviction.RunAsync(cancellationToken),
        RepeatAsync("image garbage collection", s_imagePeriod, _images.CollectAsync, cancellationToken),
        RepeatAsync("garbage collection", s_leftoverPeriod, _leftovers.CollectAsync, cancellationToken),
        RepeatAsync("log rotation", _context.Options.Resources.LogPeriod, _logs.RotateAsync, cancellationToken));

    public void Dispose() => _images.Dispose();

    // The store's pods that have not ended: at a start some have no worker yet, and no containers after a power cut.
    private IEnumerable<PodDescription> Active(IReadOnlyCollection<PodWorker> workers)
    {
        var ended = workers.Where(worker => worker.HasEnded || worker.IsFinished).Select(worker => worker.Pod.Uid).ToHashSet(StringComparer.Ordinal);
        foreach (var pod in _context.Meta.List("pod").Where(pod => !ended.Contains(pod.Uid)))
        {
            if (PodManager.TryRead(pod, out var description, out _))
                yield return description;
        }
    }

    private async Task RepeatAsync(string what, TimeSpan period, Func<CancellationToken, Task> pass, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(period, _context.Time);
        do
        {
            try
            {
                await pass(cancellationToken);
            }
            catch (GrpcException e) when (e.Code == GrpcStatusCode.Unavailable)
            {
                // The runtime's own question says that it is away.
            }
            catch (Exception e) when (!cancellationToken.IsCancellationRequested)
            {
                EdgedLog.KeeperFailed(_context.Log, what, e); // the loop's outermost frame; the next pass tries again
            }
        }
        while (await timer.WaitForNextTickAsync(cancellationToken));
    }

    private async Task<NodeReadings> ReadMachineAsync(CancellationToken cancellationToken)
    {
        if (_imageDirectory.Length == 0)
        {
            try
            {
                var info = await _context.Cri.ImageFsInfoAsync(cancellationToken);
                _imageDirectory = info.ImageFilesystems.Select(one => one.FsId?.Mountpoint ?? "").FirstOrDefault(path => path.Length > 0) ?? "";
            }
            catch (GrpcException)
            {
                // Without the runtime nothing is known of its disk; memory and the node's own disk still are. Asked again at the next look.
            }
        }

        return NodeResources.Readings(NodeFacts.Read(_context.Options), _imageDirectory.Length > 0 ? FileSystemFacts.Of(_imageDirectory) : null);
    }
}
