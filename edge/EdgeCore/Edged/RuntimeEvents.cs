using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;

namespace Edge.Core.Edged;

/// <summary>Follows what the runtime itself says of changes (CRI GetContainerEvents), where it has that, and tells which pods they are about.</summary>
/// <remarks>An event says where to look, not what is: it may be late, and runtimes drop events when they have many. So the runtime is listed all the same, less often while
/// <see cref="IsFollowing"/>.</remarks>
/// <param name="changed">Called with a pod's uid; from any thread.</param>
internal sealed class RuntimeEvents(PodContext context, Action<string> changed)
{
    private static readonly TimeSpan s_retry = TimeSpan.FromSeconds(1);

    // A runtime that has none may be replaced by one that has.
    private static readonly TimeSpan s_absent = TimeSpan.FromMinutes(1);

    private volatile bool _isFollowing;

    /// <summary>Whether the runtime has said something and goes on.</summary>
    public bool IsFollowing => _isFollowing;

    /// <summary>Follows until cancelled.</summary>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            var pause = s_retry;
            try
            {
                await foreach (var change in context.Cri.ContainerEventsAsync(cancellationToken))
                {
                    if (!_isFollowing)
                        EdgedLog.EventsFollowed(context.Log, context.Cri.SocketPath);
                    _isFollowing = true;
                    if (UidOf(change) is { } uid)
                        changed(uid);
                }
            }
            catch (GrpcException e)
            {
                // That the runtime is away, its own question says.
                if (e.Code == GrpcStatusCode.Unimplemented)
                    pause = s_absent;
            }
            finally
            {
                _isFollowing = false;
            }

            await Task.Delay(pause, context.Time, cancellationToken);
        }
    }

    // The sandbox is named but for one that is gone already; then its containers, if any, name the pod.
    internal static string? UidOf(ContainerEventResponse change)
        => change.PodSandboxStatus?.Metadata?.Uid is { Length: > 0 } uid ? uid
            : change.ContainersStatuses.Select(container => container.Labels.TryGetValue(CriConfigs.UidLabel, out var label) ? label : "").FirstOrDefault(label => label.Length > 0);
}
