using Edge.Protocol.Cri.Containerd;
using Edge.Protocol.Grpc;

namespace Edge.Protocol.Cri;

/// <summary>What CRI cannot say to containerd: end the task of a container that CRI takes for ended already.</summary>
/// <remarks>A StartContainer that is cut off in the middle (the caller was killed) can leave such a one: CRI then stops nothing, and refuses to remove the container for ever with
/// FailedPrecondition "cannot delete running task" (seen with containerd 1.6.20).</remarks>
public static class ContainerdTasks
{
    private const string Service = "/containerd.services.tasks.v1.Tasks/";

    // Where containerd's CRI plugin keeps its containers.
    private const string Namespace = "k8s.io";
    private const uint Kill = 9;

    /// <summary>Kills what runs in the container, and removes its task once that has ended.</summary>
    /// <param name="endpoint">containerd's socket, the one that serves CRI.</param>
    /// <returns>False while it has not ended yet: to be tried again.</returns>
    /// <exception cref="GrpcException">Unimplemented where the runtime is not containerd, NotFound where there is no task; else as of any call.</exception>
    public static async Task<bool> EndAsync(string endpoint, string containerId, TimeProvider time, TimeSpan callTimeout, CancellationToken cancellationToken)
    {
        using var channel = new GrpcChannel(endpoint, time) { Metadata = new Dictionary<string, string> { ["containerd-namespace"] = Namespace } };
        try
        {
            await channel.UnaryAsync(
                Service + "Kill", new KillTaskRequest { ContainerId = containerId, Signal = Kill, All = true }, KillTaskResponse.Parser, callTimeout, cancellationToken).ConfigureAwait(false);
        }
        catch (GrpcException e) when (e.Code == GrpcStatusCode.NotFound)
        {
            // Its process has ended; the task may still stand, or the next call says that there is none.
        }

        try
        {
            await channel.UnaryAsync(Service + "Delete", new DeleteTaskRequest { ContainerId = containerId }, DeleteTaskResponse.Parser, callTimeout, cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch (GrpcException e) when (e.Code == GrpcStatusCode.FailedPrecondition)
        {
            return false;
        }
    }
}
