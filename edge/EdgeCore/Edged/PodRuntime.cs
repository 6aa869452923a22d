using System.Globalization;
using Edge.Core.Edged.Lifecycle;
using Edge.Kubernetes;
using Edge.Protocol.Cri;
using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;

namespace Edge.Core.Edged;

/// <summary>Reads what the runtime has of one pod. Answers that cannot change any more are kept.</summary>
/// <param name="oomKills">How many processes of the pod the kernel has killed for memory, or null.</param>
internal sealed class PodRuntime(CriClient cri, string nodeName, PodVolumes volumes, string logDirectory, Func<PodDescription, long?> oomKills, TimeProvider time)
{
    private const int KilledExitCode = 137;
    private const string OutOfMemory = "OOMKilled";
    private const int CauseTries = 10;
    private static readonly TimeSpan s_causePause = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan s_causeWithin = TimeSpan.FromSeconds(10);

    private readonly Dictionary<string, ContainerView> _exited = new(StringComparer.Ordinal);
    private readonly Dictionary<string, IReadOnlyList<string>> _ips = new(StringComparer.Ordinal);
    private readonly OomLedger _ooms = new();
    private bool _looked;

    /// <summary>The pod's sandboxes and containers now.</summary>
    public async Task<PodSnapshot> ReadAsync(PodDescription pod, CancellationToken cancellationToken)
    {
        if (!_looked)
            _ooms.Look(oomKills(pod));
        _looked = true;
        var podFilter = new PodSandboxFilter();
        podFilter.LabelSelector[CriConfigs.UidLabel] = pod.Uid;
        podFilter.LabelSelector[CriConfigs.NodeLabel] = nodeName;
        var sandboxes = new List<SandboxView>();
        foreach (var item in await cri.ListPodSandboxAsync(podFilter, cancellationToken))
        {
            var ready = item.State == PodSandboxState.SandboxReady;
            if (ready && !pod.HostNetwork && !_ips.ContainsKey(item.Id))
            {
                try
                {
                    var network = (await cri.PodSandboxStatusAsync(item.Id, cancellationToken)).Network;
                    _ips[item.Id] = network is null || network.Ip.Length == 0 ? [] : [network.Ip, .. network.AdditionalIps.Select(ip => ip.Ip)];
                }
                catch (GrpcException e) when (e.Code == GrpcStatusCode.NotFound)
                {
                    continue;
                }
            }

            sandboxes.Add(new SandboxView(item.Id, item.Metadata.Attempt, ready, Time(item.CreatedAt), ready ? _ips.GetValueOrDefault(item.Id) ?? [] : []));
        }

        var filter = new ContainerFilter();
        filter.LabelSelector[CriConfigs.UidLabel] = pod.Uid;
        filter.LabelSelector[CriConfigs.NodeLabel] = nodeName;
        var containers = new List<ContainerView>();
        var wasOutOfMemory = false;
        foreach (var item in await cri.ListContainersAsync(filter, cancellationToken))
        {
            if (_exited.TryGetValue(item.Id, out var known))
            {
                containers.Add(known);
                continue;
            }

            try
            {
                var view = View(pod, item.PodSandboxId, await WithCauseAsync(pod, await cri.ContainerStatusAsync(item.Id, cancellationToken), cancellationToken));
                if (view.Phase == ContainerPhase.Exited)
                    _exited[item.Id] = view;
                wasOutOfMemory |= view.Reason == OutOfMemory;
                containers.Add(view);
            }
            catch (GrpcException e) when (e.Code == GrpcStatusCode.NotFound)
            {
                // Removed between the list and the question.
            }
        }

        // All at once: several may have been killed since the last look.
        if (wasOutOfMemory)
        {
            _ooms.Look(oomKills(pod));
            _ooms.Settle();
        }

        foreach (var id in _exited.Keys.Where(id => !containers.Exists(container => container.Id == id)).ToList())
            _exited.Remove(id);
        return new PodSnapshot(sandboxes, containers);
    }

    // containerd learns of an exit and of its cause by two events, in no certain order: one that was killed at its memory limit may be an "Error" for a moment before it is "OOMKilled".
    // It may also never learn it; the kernel's own count tells.
    private async Task<ContainerStatus> WithCauseAsync(PodDescription pod, ContainerStatus status, CancellationToken cancellationToken)
    {
        if (status is not { State: ContainerState.ContainerExited, ExitCode: KilledExitCode, Reason: "" or "Error" })
            return status;
        if (IsOutOfMemory(pod, status))
        {
            status.Reason = OutOfMemory;
            return status;
        }

        var isUnsure = !_ooms.IsCounted && !pod.Json.IsDeleting() && (time.GetUtcNow() - Time(status.FinishedAt)).Duration() < s_causeWithin
            && pod.AllContainers.FirstOrDefault(container => container.Name == status.Metadata.Name)?.Json.Text("resources", "limits", "memory") is { Length: > 0 };
        for (var tries = 0; isUnsure && tries < CauseTries && status.Reason is ("" or "Error"); tries++)
        {
            await Task.Delay(s_causePause, time, cancellationToken);
            status = await cri.ContainerStatusAsync(status.Id, cancellationToken);
        }

        return status;
    }

    private bool IsOutOfMemory(PodDescription pod, ContainerStatus status)
    {
        var (name, attempt) = (status.Metadata.Name, status.Metadata.Attempt);
        if (volumes.WasOutOfMemory(name, attempt))
            return true;
        _ooms.Look(oomKills(pod));
        if (!_ooms.HasKilled)
            return false;
        try
        {
            volumes.MarkOutOfMemory(name, attempt);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Without it the cause is forgotten at the next start of EdgeCore; a full disk is told by others.
        }

        return true;
    }

    private static DateTimeOffset Time(long nanoseconds) => DateTimeOffset.UnixEpoch.AddTicks(nanoseconds / TimeSpan.NanosecondsPerTick);

    private ContainerView View(PodDescription pod, string sandboxId, ContainerStatus status)
    {
        var phase = status.State switch
        {
            ContainerState.ContainerCreated => ContainerPhase.Created,
            ContainerState.ContainerRunning => ContainerPhase.Running,
            ContainerState.ContainerExited => ContainerPhase.Exited,
            _ => ContainerPhase.Unknown,
        };
        var message = status.Message;
        if (phase == ContainerPhase.Exited)
        {
            var (name, attempt) = (status.Metadata.Name, status.Metadata.Attempt);
            var container = pod.AllContainers.FirstOrDefault(item => item.Name == name);
            var log = Path.Combine(logDirectory, name, string.Create(CultureInfo.InvariantCulture, $"{attempt}.log"));
            if (TerminationMessages.Of(container, status.ExitCode, volumes.TerminationMessage(name, attempt), log) is { Length: > 0 } words)
                message = words;
        }

        return new ContainerView(
            status.Id, sandboxId, status.Metadata.Name, status.Metadata.Attempt, phase, Time(status.CreatedAt), Time(status.StartedAt),
            Time(status.FinishedAt), status.ExitCode, status.Reason, message, status.Image?.UserSpecifiedImage is { Length: > 0 } asked ? asked : status.Image?.Image ?? "",
            status.ImageRef)
        {
            Hash = status.Annotations.TryGetValue(CriConfigs.HashAnnotation, out var hash) ? hash : "",
        };
    }
}
