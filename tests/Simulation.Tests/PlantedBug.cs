namespace Edge.Simulation.Tests;

/// <summary>Defects that tests plant to see that the simulation finds them. They live in the models and adapters, never in the cores.</summary>
internal enum PlantedBug
{
    None,

    /// <summary>The edge acks an object when its write is queued.</summary>
    AckBeforeCommit,

    /// <summary>A delete that meets an unanswered older state of its object is dropped together with it.</summary>
    CoalescingDropsDelete,

    /// <summary>An ack is taken for whatever is in flight of its object, whichever message it answers.</summary>
    LateAckClearsNewer,

    /// <summary>The edge stores what comes, whatever its version.</summary>
    StaleVersionOverwrites,

    /// <summary>The edge does not look at its tombstones.</summary>
    TombstoneIgnored,

    /// <summary>The edge deletes an uplink entry once it is sent.</summary>
    UplinkForgottenWhenSent,

    /// <summary>The end of an old connection removes the node's session, whichever that is.</summary>
    OldEndClearsNewSession,

    /// <summary>The cloud applies every uplink message that comes.</summary>
    GuardMissing,

    /// <summary>The cloud notes an entry as applied before the write has succeeded.</summary>
    GuardNotesTooEarly,

    /// <summary>The edge counts its uplink versions from what is queued, so they start again after a restart with an empty queue.</summary>
    UplinkVersionsStartAgain,

    /// <summary>The cloud never takes away what the edge has beyond what it should have.</summary>
    SurplusIsKept,

    /// <summary>While an object is refused, the session sends nothing else.</summary>
    RefusedBlocksAll,

    /// <summary>The session sends twice as many objects at once as its limit says.</summary>
    WindowIgnored,

    /// <summary>When the last pod that used a Secret goes, the Secret stays at the node.</summary>
    SecretOutlivesPods,

    /// <summary>Neither side counts Secrets in the digest, nor does the edge tell them.</summary>
    InventorySkipsSecrets,

    /// <summary>What the watch cannot judge is decided without the API.</summary>
    DoubtNotAsked,

    /// <summary>Of what a tombstone holds back, only pods make the two sides compare.</summary>
    OnlyPodsAreDoubted,

    /// <summary>A Secret goes to every node that is connected to the same CloudCore.</summary>
    SecretToNeighbours,

    /// <summary>A status is written without the version of its report, onto whatever the API has: one that a CloudCore had in hand when the node went to another lands late.</summary>
    LateStatusLands,

    /// <summary>An edge is told of a device once, not again when that is sent again, as KubeEdge does it.</summary>
    MembershipOnce,
}
