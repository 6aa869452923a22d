namespace Edge.ApiServer.Rest;

/// <summary>How long a watch gathers changes between two writes to its client. One change to n watchers costs n writes, and a write costs
/// the same for one event as for ten; so the more watch a resource, the longer each gathers while changes come thick. The first change after a
/// pause is always written at once.</summary>
internal static class WatchPace
{
    /// <summary>Writes a second that all watchers of one resource cause together, at most, once <see cref="GatherMax"/> does not bind.</summary>
    private const int WritesPerSecond = 20_000;

    /// <summary>Below this a timer costs more than the write that it saves.</summary>
    private static readonly TimeSpan s_gatherMin = TimeSpan.FromMilliseconds(2);

    /// <summary>No change is held longer, however many watch.</summary>
    public static readonly TimeSpan GatherMax = TimeSpan.FromMilliseconds(100);

    /// <param name="watchers">Of the same resource.</param>
    /// <returns>The least time between two writes to one of them.</returns>
    public static TimeSpan Gather(int watchers)
    {
        var gather = TimeSpan.FromSeconds((double)watchers / WritesPerSecond);
        return gather < s_gatherMin ? TimeSpan.Zero : gather > GatherMax ? GatherMax : gather;
    }
}
