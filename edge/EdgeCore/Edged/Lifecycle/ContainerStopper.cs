using Edge.Kubernetes;

namespace Edge.Core.Edged.Lifecycle;

/// <summary>Ends a running container: preStop, its turn, SIGTERM, SIGKILL; all within one grace.</summary>
internal sealed class ContainerStopper(PodContext context, HookRunner hooks, ReportEvent report)
{
    /// <summary>What a container gets between SIGTERM and SIGKILL at least, however short its grace and however long its hook.</summary>
    public static readonly TimeSpan GraceLeast = TimeSpan.FromSeconds(2);

    /// <summary>Stops it; returns when it has ended.</summary>
    /// <param name="before">Ends when the containers that go first have gone; the container does not wait for it beyond its grace.</param>
    /// <param name="podIp">Where an httpGet of the hook goes.</param>
    /// <exception cref="Protocol.Grpc.GrpcException">The runtime could not stop it.</exception>
    public async Task StopAsync(PodDescription pod, PodAction.StopContainer stop, Task before, string podIp, CancellationToken cancellationToken)
    {
        var started = context.Time.GetTimestamp();
        var (view, grace) = (stop.Container, stop.Grace);
        var container = pod.Containers.Concat(pod.InitContainers).FirstOrDefault(item => item.Name == view.Name);
        await report(
            false, "Killing", stop.Message.Length > 0 ? stop.Message : $"Stopping container {view.Name}", container?.FieldPath ?? "", cancellationToken);
        if (container is not null && grace > TimeSpan.Zero && view.Phase == ContainerPhase.Running)
            await PreStopAsync(pod, container, view.Id, grace, podIp, cancellationToken);
        var left = grace - context.Time.GetElapsedTime(started);
        if (!before.IsCompleted && left > TimeSpan.Zero)
        {
            using var timer = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            await Task.WhenAny(before, Task.Delay(left, context.Time, timer.Token));
            await timer.CancelAsync();
            cancellationToken.ThrowIfCancellationRequested();
            left = grace - context.Time.GetElapsedTime(started);
        }

        await context.Cri.StopContainerAsync(view.Id, left > GraceLeast ? left : GraceLeast, cancellationToken);
    }

    private async Task PreStopAsync(
        PodDescription pod, ContainerDescription container, string id, TimeSpan grace, string podIp, CancellationToken cancellationToken)
    {
        if (container.Json.At("lifecycle", "preStop") is not { } hook)
            return;
        using var timer = new CancellationTokenSource(grace, context.Time);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, timer.Token);
        string? error;
        try
        {
            error = await hooks.RunAsync(container, id, hook, podIp, limit.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            error = $"it did not end within the grace of {grace.TotalSeconds:0} s";
        }

        if (error is null)
            return;
        EdgedLog.HookFailed(context.Log, "preStop", container.Name, $"{pod.Namespace}/{pod.Name}", error);
        await report(true, "FailedPreStopHook", "PreStopHook failed", container.FieldPath, cancellationToken);
    }
}
