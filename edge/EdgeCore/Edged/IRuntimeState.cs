namespace Edge.Core.Edged;

/// <summary>What the container runtime is and whether it answers; for the Node's Ready condition and nodeInfo.</summary>
public sealed record RuntimeState(bool Ready, string Message, string Name, string Version, IReadOnlyList<RuntimeImage> Images)
{
    /// <summary>Whether the runtime's pod network is ready; null while that is not known.</summary>
    public bool? NetworkReady { get; init; }

    /// <summary>The node's pressure conditions that are True; null while Edged has not looked.</summary>
    public IReadOnlySet<string>? Pressures { get; init; }
}

/// <summary>An image on the node, as <c>status.images</c> shows it.</summary>
public sealed record RuntimeImage(IReadOnlyList<string> Names, long SizeBytes);

/// <summary>The newest state, refreshed by Edged (written by the pod manager, read by the node reporter).</summary>
public interface IRuntimeState
{
    RuntimeState Current { get; }
}
