using Edge.Protocol.Messages;

namespace Edge.Transport;

/// <summary>One established connection between CloudCore and EdgeCore that carries whole messages in order.</summary>
/// <remarks>One reader (or, of a link with lanes, one for each) and any number of writers at a time. Once any call has thrown <see cref="LinkException"/> the link is dead.</remarks>
public interface ILink : IAsyncDisposable
{
    /// <summary>True between two Edge peers (<see cref="EdgeWire"/>); false when the other side is a stock KubeEdge.</summary>
    bool IsEdgeWire { get; }

    /// <summary>True when messages travel in <see cref="LinkLane"/>s, each in its own order and none held up by another; false when all of them are in one order.</summary>
    bool HasLanes => false;

    /// <summary>What the peer said when it closed the link in order; empty while it did not.</summary>
    string ClosedBecause => "";

    /// <summary>When bytes last came, in the middle of a message too: <see cref="TimeProvider.GetTimestamp"/> of the link's clock. Before the first: when the link was made.</summary>
    long HeardAt { get; }

    /// <summary>When a write last made progress, in the middle of a message too; 0 where the link does not tell.</summary>
    long WroteAt => 0;

    /// <summary>Sends one message; completes when the bytes were handed to the socket.</summary>
    /// <exception cref="LinkException">The link is down, or the write did not finish in time.</exception>
    ValueTask SendAsync(Message message, CancellationToken cancellationToken);

    /// <summary>Sends messages in order; between Edge peers several go in one frame.</summary>
    /// <exception cref="LinkException">As above; some of them may have gone out.</exception>
    ValueTask SendAsync(IReadOnlyList<Message> messages, CancellationToken cancellationToken);

    /// <summary>The next message, or null when the peer closed the link in order. Malformed frames are reported through
    /// <paramref name="onMalformed"/> and skipped. Holds no buffer while nothing comes.</summary>
    /// <exception cref="LinkException">The link broke, or a frame was over the size limit.</exception>
    ValueTask<Message?> ReceiveAsync(Action<string> onMalformed, CancellationToken cancellationToken);

    /// <summary>The next message of one lane, or null when the peer ended that lane; as <see cref="ReceiveAsync(Action{string}, CancellationToken)"/>, which is not to be used beside this one.
    /// Without lanes: the next message of all.</summary>
    ValueTask<Message?> ReceiveAsync(LinkLane lane, Action<string> onMalformed, CancellationToken cancellationToken) => ReceiveAsync(onMalformed, cancellationToken);

    /// <summary>Tells the peer why and closes; never throws.</summary>
    ValueTask CloseAsync(string reason);

    /// <summary>Cuts the connection at once, from any thread: what sends or receives fails with <see cref="LinkException"/>. Never throws.</summary>
    void Abort();
}

/// <summary>The link failed; the message says what was being done.</summary>
public sealed class LinkException : Exception
{
    public LinkException(string message)
        : base(message)
    {
    }

    public LinkException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
