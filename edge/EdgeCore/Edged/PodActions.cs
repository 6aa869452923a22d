namespace Edge.Core.Edged;

/// <summary>What the core asks its shell to do. The shell does one batch, answers with results, and asks again.</summary>
internal abstract record PodAction
{
    /// <summary>Make volumes and directories, then run a sandbox.</summary>
    public sealed record RunSandbox(uint Attempt) : PodAction;

    /// <summary>Stop a sandbox with what is left in it.</summary>
    public sealed record StopSandbox(string Id) : PodAction;

    /// <summary>Remove a stopped sandbox.</summary>
    public sealed record RemoveSandbox(string Id) : PodAction;

    /// <summary>Get the image, create and start a container in the sandbox.</summary>
    /// <remarks>An ephemeral one that names a target sees the processes of the container of that name that runs.</remarks>
    public sealed record StartContainer(ContainerDescription Container, string SandboxId, uint Attempt) : PodAction;

    /// <summary>Run preStop, send SIGTERM, after <paramref name="Grace"/> SIGKILL.</summary>
    /// <param name="Message">Why, for the event; empty for a kubelet's usual words.</param>
    /// <param name="Order">All stops of a batch begin at once, but a container gets its SIGTERM only when those of a lower order have ended or its grace is over.</param>
    public sealed record StopContainer(ContainerView Container, TimeSpan Grace, string Message = "", int Order = 0) : PodAction;

    /// <summary>Record an event of the pod.</summary>
    public sealed record Report(string Reason, string Message) : PodAction;

    /// <summary>Remove a container that has ended.</summary>
    public sealed record RemoveContainer(string Id) : PodAction;

    /// <summary>All containers have ended for good: remove the volumes that are the pod's own.</summary>
    public sealed record RemoveVolumes : PodAction;

    /// <summary>Everything at the runtime is gone: remove the pod's directories, report, and for a deleted object tell the cloud.</summary>
    public sealed record Finish : PodAction;

    /// <summary>Ask again at this time, or when something changes.</summary>
    public sealed record WaitUntil(DateTimeOffset Time) : PodAction;
}

/// <summary>How starting a container, or a sandbox, went wrong.</summary>
/// <param name="Reason">Kubelet's word: <c>ErrImagePull</c>, <c>CreateContainerConfigError</c> …</param>
internal sealed record StartFailure(string Reason, string Message);

/// <summary>Why a node ends a pod itself.</summary>
/// <param name="Reason">Kubelet's word: <c>DeadlineExceeded</c> …</param>
internal sealed record PodFailure(string Reason, string Message);
