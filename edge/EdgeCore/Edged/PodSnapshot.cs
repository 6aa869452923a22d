namespace Edge.Core.Edged;

/// <summary>State of a container at the runtime.</summary>
internal enum ContainerPhase
{
    Created,
    Running,
    Exited,
    Unknown,
}

/// <summary>A sandbox at the runtime.</summary>
/// <param name="Attempt">How many sandboxes the pod had before.</param>
/// <param name="Ips">The pod's addresses; empty when not ready or on the host's network.</param>
internal sealed record SandboxView(string Id, uint Attempt, bool Ready, DateTimeOffset Created, IReadOnlyList<string> Ips);

/// <summary>A container at the runtime.</summary>
/// <param name="Attempt">How many times the container had been started before: its restart count.</param>
internal sealed record ContainerView(
    string Id, string SandboxId, string Name, uint Attempt, ContainerPhase Phase, DateTimeOffset Created, DateTimeOffset Started,
    DateTimeOffset Finished, int ExitCode, string Reason, string Message, string Image, string ImageId)
{
    /// <summary><see cref="ContainerDescription.Hash"/> of what it was made from; empty when it does not say.</summary>
    public string Hash { get; init; } = "";
}

/// <summary>What the runtime has of one pod.</summary>
internal sealed record PodSnapshot(IReadOnlyList<SandboxView> Sandboxes, IReadOnlyList<ContainerView> Containers)
{
    public static PodSnapshot Empty { get; } = new([], []);

    /// <summary>The newest ready sandbox, or null.</summary>
    public SandboxView? Ready => Sandboxes.Where(sandbox => sandbox.Ready).MaxBy(sandbox => sandbox.Attempt);

    /// <summary>The newest container of the name, in any sandbox, or null.</summary>
    public ContainerView? Newest(string name) => Containers.Where(container => container.Name == name).MaxBy(container => container.Attempt);
}
