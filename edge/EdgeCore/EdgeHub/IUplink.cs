using Edge.Protocol.Messages;

namespace Edge.Core.EdgeHub;

/// <summary>Order in which the queue drains after a reconnect (architecture, promise 2).</summary>
public enum UplinkPriority
{
    Lease,
    NodeStatus,
    PodStatus,
    Twin,
    Event,
    User,
}

/// <summary>What a newer entry does to an older one of the same key that has not been answered yet.</summary>
public enum UplinkRule
{
    /// <summary>Replaces it: status, twin values.</summary>
    Newest,

    /// <summary>Is queued behind it: events, user messages; the oldest goes when the bound is reached, with a counter, and before any <see cref="Newest"/> of its priority.</summary>
    Every,
}

/// <summary>One durable entry for the cloud.</summary>
/// <param name="Key">What it is about, e.g. <c>podstatus/default/web</c>.</param>
/// <param name="Content">Raw JSON content of the message.</param>
public sealed record UplinkEntry(
    string Key, UplinkPriority Priority, UplinkRule Rule, string Source, string Group, string Operation, string Resource, ReadOnlyMemory<byte> Content)
{
    /// <summary>The place in a trace, or null. It is kept in memory alone: what a restart brings back is in no trace.</summary>
    public string? Trace { get; init; }
}

/// <summary>The way to the cloud.</summary>
public interface IUplink
{
    bool IsConnected { get; }

    /// <summary>Raised when <see cref="IsConnected"/> has changed, with its new value; handlers must be quick and must not throw.</summary>
    event Action<bool>? LinkChanged;

    /// <summary>Puts an entry in the durable queue; completes when it is on disk. It is sent in priority order and forgotten once the cloud has answered.</summary>
    ValueTask PostAsync(UplinkEntry entry, CancellationToken cancellationToken);

    /// <summary>As above, of several at once: all of them or none.</summary>
    ValueTask PostAsync(IReadOnlyList<UplinkEntry> entries, CancellationToken cancellationToken);

    /// <summary>As <see cref="PostAsync(UplinkEntry, CancellationToken)"/>, for an entry whose sender can be told no. False: the queue of its priority is full, and nothing was kept or pushed out.</summary>
    ValueTask<bool> TryPostAsync(UplinkEntry entry, CancellationToken cancellationToken);

    /// <summary>Sends at once and waits for the answer with this message as parent; nothing is stored.</summary>
    /// <exception cref="UplinkException">Not connected, the link went down meanwhile, or no answer within <paramref name="timeout"/>.</exception>
    Task<Message> RequestAsync(Message request, TimeSpan timeout, CancellationToken cancellationToken);
}

/// <summary>A request to the cloud got no answer.</summary>
public sealed class UplinkException(string message) : Exception(message);
