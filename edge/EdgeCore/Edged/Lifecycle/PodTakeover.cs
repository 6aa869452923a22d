using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;

namespace Edge.Core.Edged.Lifecycle;

/// <summary>Ends what another agent has left of a pod that is now this node's to run: KubeEdge's edgecore, in whose place EdgeCore was started, or a kubelet. Its sandboxes and
/// containers bear the pod's uid and no <see cref="CriConfigs.NodeLabel"/>. They hold their names at the runtime, so that no others could be made, and nothing else looks at them.</summary>
internal sealed class PodTakeover(PodContext context, ContainerStopper stopper)
{
    private bool _isDone;

    /// <summary>Looks once, and returns when nothing of the kind is left. Containers are stopped as with the pod's own deletion: preStop, SIGTERM, the pod's grace.</summary>
    /// <exception cref="GrpcException">The runtime failed; what was not done is done with the next call.</exception>
    public async Task RunAsync(PodDescription pod, CancellationToken cancellationToken)
    {
        if (_isDone)
            return;
        // Containers first: after a way back and forth there may be others' in a sandbox of this node's.
        var filter = new ContainerFilter();
        filter.LabelSelector[CriConfigs.UidLabel] = pod.Uid;
        var containers = (await context.Cri.ListContainersAsync(filter, cancellationToken)).Where(one => !one.Labels.ContainsKey(CriConfigs.NodeLabel)).ToList();
        var podFilter = new PodSandboxFilter();
        podFilter.LabelSelector[CriConfigs.UidLabel] = pod.Uid;
        var sandboxes = (await context.Cri.ListPodSandboxAsync(podFilter, cancellationToken)).Where(one => !one.Labels.ContainsKey(CriConfigs.NodeLabel)).ToList();
        if (containers.Count + sandboxes.Count > 0)
            EdgedLog.TakenOver(context.Log, $"{pod.Namespace}/{pod.Name}", sandboxes.Count, containers.Count);
        await Task.WhenAll(containers.Where(one => one.State == ContainerState.ContainerRunning).Select(one => IfThereAsync(() => StopAsync(pod, one, cancellationToken))));
        foreach (var container in containers)
            await IfThereAsync(() => context.Cri.RemoveContainerAsync(container.Id, cancellationToken));
        foreach (var sandbox in sandboxes)
        {
            await IfThereAsync(() => context.Cri.StopPodSandboxAsync(sandbox.Id, cancellationToken));
            await IfThereAsync(() => context.Cri.RemovePodSandboxAsync(sandbox.Id, cancellationToken));
        }

        _isDone = true;
    }

    private Task StopAsync(PodDescription pod, Container container, CancellationToken cancellationToken)
    {
        var name = container.Metadata.Name;
        var view = new ContainerView(
            container.Id, container.PodSandboxId, name, container.Metadata.Attempt, ContainerPhase.Running, default, default, default, 0, "", "", "", container.ImageRef);
        var stop = new PodAction.StopContainer(view, pod.Grace, $"Stopping container {name}, which another agent of this node has started");
        return stopper.StopAsync(pod, stop, Task.CompletedTask, "", cancellationToken);
    }

    private static async Task IfThereAsync(Func<Task> call)
    {
        try
        {
            await call();
        }
        catch (GrpcException e) when (e.Code == GrpcStatusCode.NotFound)
        {
            // Ended by itself.
        }
    }
}
