namespace Edge.Core.Edged.Lifecycle;

/// <summary>Tells by the kernel's count of the processes that it killed for memory in a pod's cgroup (v2: oom_kill in memory.events, which counts what lies below, too) whether one of
/// the pod's containers ended so. A runtime may not learn it: systemd removes a container's own cgroup with its last process. Pure: counts come in.</summary>
/// <remarks>On v2 all processes of a container end together (memory.oom.group), so that a kill is always an end.</remarks>
internal sealed class OomLedger
{
    private long? _count;
    private long? _settled;

    /// <summary>Whether the kernel counts, so that what it did not count did not happen.</summary>
    public bool IsCounted => _count is not null;

    /// <summary>Whether more were killed than ends are known for.</summary>
    public bool HasKilled => _count > _settled;

    /// <summary>Takes the count of now.</summary>
    /// <param name="count">Null where the pod has no cgroup yet, or the kernel does not count for the whole of it.</param>
    public void Look(long? count)
    {
        // What was killed before the first look is nobody's; a count that became smaller is a new cgroup's.
        _settled = _settled is null ? count ?? 0 : count < _settled ? 0 : _settled;
        _count = count;
    }

    /// <summary>The kills up to the last look are explained.</summary>
    public void Settle() => _settled = _count ?? _settled;
}
