using Edge.Protocol.Sync;

namespace Edge.Cloud.SyncController;

/// <summary>A connected node. No record per object: what an Edge peer has is known from the edge.</summary>
internal sealed class SyncMember(ISyncSession session)
{
    public ISyncSession Session { get; } = session;

    /// <summary>A digest was compared: changes of what did not differ go to the session from then on.</summary>
    public bool IsCompared { get; set; }

    public bool IsOpen { get; set; }

    /// <summary>The buckets that the node was asked for and has not told; null when there are none.</summary>
    public HashSet<int>? Asked { get; set; }

    public int AskedOf { get; set; }

    /// <summary>Uids sent as repairs in this session; null when there are none, as nearly always.</summary>
    public HashSet<string>? Repaired { get; set; }

    /// <summary>Whether the node's EdgeDns is on: it gets Services, EndpointSlices, GlobalServices and Zones. Told with the digest.</summary>
    public bool WantsServices { get; set; }

    public NodeClaim? Claim { get; set; }

    /// <summary>True when a comparison that is still to come will find what changes at this path.</summary>
    public bool IsOwed(string resource)
        => !IsCompared || (Asked is { } asked && asked.Contains(InventoryDigest.BucketOf(resource, AskedOf)));

    /// <summary>The end of the session has been told.</summary>
    public bool HasEnded { get; set; }
}
