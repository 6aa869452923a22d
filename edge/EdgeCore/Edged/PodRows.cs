using Edge.Core.MetaManager;

namespace Edge.Core.Edged;

/// <summary>What Edged keeps on the disk.</summary>
internal static class PodRows
{
    /// <summary>The status that each pod here said last, by uid. The cloud does not send a pod again for its status alone, so without these a restart of EdgeCore
    /// would forget that a pod had ended, and since when its conditions hold.</summary>
    public static LocalRows Statuses { get; } = new("podstatus");

    /// <summary>The static pods of this node by file: what a file that turned bad was, and what the local API shows.</summary>
    public static LocalRows Statics { get; } = new("staticpod");
}
