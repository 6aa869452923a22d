using Edge.Protocol.Cri;
using Edge.Protocol.Grpc;
using Microsoft.Extensions.Logging;

namespace Edge.Core.Edged;

/// <summary>Asks the runtime every 10 s (every second while it does not answer) what it is and whether it is ready.</summary>
internal sealed class CriRuntimeState(CriClient cri, TimeProvider time, ILogger log) : IRuntimeState
{
    private static readonly TimeSpan s_period = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);

    private volatile RuntimeState _current = new(false, $"container runtime on {cri.SocketPath} has not been asked yet", "", "", []);
    private string _lastReason = "";
    private volatile IReadOnlySet<string>? _pressures;

    public RuntimeState Current => _current with { Pressures = _pressures };

    /// <summary>The node's pressures as eviction sees them; one writer.</summary>
    public void SetPressures(IReadOnlySet<string> pressures) => _pressures = pressures;

    /// <summary>Refreshes <see cref="Current"/> until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            await RefreshAsync(cancellationToken);
            await Task.Delay(_current.Ready ? s_period : s_retry, time, cancellationToken);
        }
    }

    /// <summary>Asks once.</summary>
    public async Task RefreshAsync(CancellationToken cancellationToken)
    {
        try
        {
            var version = await cri.VersionAsync(cancellationToken);
            var status = await cri.StatusAsync(cancellationToken);
            var images = await cri.ListImagesAsync(cancellationToken);
            var bad = status.Status?.Conditions.FirstOrDefault(condition => !condition.Status);
            var was = _current;
            _current = new RuntimeState(
                bad is null, bad is null ? "" : $"{bad.Type} is not ready: {bad.Reason} {bad.Message}".Trim(), version.RuntimeName, version.RuntimeVersion,
                [.. images.Select(image => new RuntimeImage([.. image.RepoDigests, .. image.RepoTags], (long)image.Size))])
            {
                NetworkReady = status.Status?.Conditions.FirstOrDefault(condition => condition.Type == "NetworkReady")?.Status,
            };
            if (bad is not null)
                Missing(_current.Message);
            else if (!was.Ready)
            {
                EdgedLog.RuntimeReady(log, version.RuntimeName, version.RuntimeVersion, cri.SocketPath);
                _lastReason = "";
            }
        }
        catch (GrpcException e)
        {
            _current = _current with { Ready = false, Message = e.Detail };
            Missing(e.Detail);
        }
    }

    private void Missing(string reason)
    {
        if (reason == _lastReason)
            return;
        _lastReason = reason;
        EdgedLog.RuntimeMissing(log, cri.SocketPath, reason);
    }
}
