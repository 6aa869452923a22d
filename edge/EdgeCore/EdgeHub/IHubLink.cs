using Edge.Protocol.Messages;
using Edge.Protocol.Sync;

namespace Edge.Core.EdgeHub;

/// <summary>What rooms of this folder's neighbourhood (MetaManager, NodeStatus) need of the hub beyond <see cref="IUplink"/>.</summary>
internal interface IHubLink : IUplink
{
    /// <summary>Raised when the cloud refused a queued entry for good.</summary>
    event Action<UplinkRejection>? EntryRejected;

    /// <summary>The number of the present connection (the first is 1), or 0 while there is none.</summary>
    long Generation { get; }

    /// <summary>True while connected to an Edge CloudCore (<see cref="EdgeWire"/>); false offline and at a stock cloud.</summary>
    bool IsEdgeWire { get; }

    /// <summary>Completes when a connection newer than <paramref name="generation"/> stands; returns its number (the first is 1).</summary>
    Task<long> ConnectedAfterAsync(long generation, CancellationToken cancellationToken);

    /// <summary>As <see cref="IUplink.RequestAsync"/>, but the answer is not acknowledged: the caller does that with
    /// <see cref="AcknowledgeAsync"/> once it has stored it.</summary>
    Task<Message> RequestUnacknowledgedAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken);

    /// <summary>Sends a message once, where there is a link; what waits for an answer has its own time-out.</summary>
    ValueTask SendAsync(Message message, CancellationToken cancellationToken);

    /// <summary>Sends "OK" for an answer. Does nothing when the link is down: the cloud then sends the object again.</summary>
    ValueTask AcknowledgeAsync(Message answer, CancellationToken cancellationToken);
}

/// <summary>Takes the messages of group <c>resource</c>; implemented by MetaManager.</summary>
internal interface IMetaMessages
{
    /// <summary>Applies one message and returns the answer to send, after the commit. Calls may overlap: commits happen in call order.</summary>
    Task<Message?> HandleAsync(Message message);

    /// <summary>How often an object came in an older version that says something else than the one held. It may be late; or the cloud was restored from an older backup, and then
    /// its versions are ignored here until the two sides compare (<see cref="InventoryMessages"/>).</summary>
    long Doubts { get; }

    /// <summary>How many objects are held of the types that the cloud keeps in step here, and their digest.</summary>
    (int Count, InventoryDigest Digest) InventoryDigest();

    /// <summary>What those buckets hold now.</summary>
    /// <param name="of">How many buckets the digest had.</param>
    InventoryPart InventoryPart(int of, IReadOnlyList<int> buckets);
}
