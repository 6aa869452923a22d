using Edge.Common.Storage;
using Edge.Protocol.Messages;

namespace Edge.Core.EdgeHub;

/// <summary>Where the entries of one node's <see cref="UplinkQueue"/> lie. Safe for concurrent calls.</summary>
internal interface IUplinkStore
{
    /// <summary>Every entry kept, oldest first. Called once, before anything else.</summary>
    /// <remarks>Versions of one node's entries never go back, whatever was answered and deleted meanwhile: an Edge cloud takes a lower one for an old message.</remarks>
    IReadOnlyList<UplinkSlot> ReadSlots();

    /// <summary>Writes entries, each over the one of the same key where <see cref="UplinkRule.Newest"/> says so; completes when they are on disk. The slots are in the order of the entries.</summary>
    /// <exception cref="StoreException">The write failed; nothing was kept.</exception>
    ValueTask<IReadOnlyList<UplinkSlot>> StoreAsync(IReadOnlyList<UplinkEntry> entries, CancellationToken cancellationToken);

    /// <summary>Entries by row id, in one read; those whose row is gone are left out. Each as a message without an id of its own, with the row's version (decimal) in
    /// <see cref="Message.ResourceVersion"/>.</summary>
    IReadOnlyDictionary<long, Message> Load(IReadOnlyList<long> ids);

    /// <summary>Deletes those of the rows that still have the version given.</summary>
    /// <param name="canWait">Completes at once, and the rows go a moment later or when the store is closed; a process that is killed meanwhile finds them again. For rows that may be
    /// sent once more.</param>
    /// <exception cref="StoreException">The write failed; all of them stay.</exception>
    ValueTask DeleteAsync(IReadOnlyList<UplinkRow> rows, bool canWait);
}
