namespace Edge.Core.Edged.StaticPods;

/// <summary>A pod of the API that has the name of a static pod.</summary>
/// <param name="Hash">The annotation config.mirror: of which content it is the mirror; null for a pod that is no mirror.</param>
internal sealed record MirrorView(string Uid, string? Hash, bool IsDeleting);

/// <summary>What is to be done at the API about a static pod's mirror.</summary>
internal enum MirrorAct
{
    Nothing,
    Create,
    Delete,
}

/// <summary>Decides about mirror pods. Pure.</summary>
internal static class MirrorCore
{
    /// <summary>One name's next step; asked again whenever one of the three changes.</summary>
    /// <param name="wanted">The hash of the static pod's content; null when there is no file (any more).</param>
    /// <param name="seen">What the API has under the name, as the cloud said last; null for nothing.</param>
    /// <param name="isHere">Whether anything of the pod is still on this node.</param>
    public static MirrorAct Decide(string? wanted, MirrorView? seen, bool isHere)
        => (wanted, seen) switch
        {
            (null, null) => MirrorAct.Nothing,
            (not null, null) => MirrorAct.Create,
            (_, { Hash: null }) => MirrorAct.Nothing, // a pod of somebody's own
            (null, _) => isHere ? MirrorAct.Nothing : MirrorAct.Delete, // it shows the pod until its end
            _ => seen.IsDeleting || seen.Hash != wanted ? MirrorAct.Delete : MirrorAct.Nothing, // what was deleted is made again once it is gone
        };
}
