using Edge.Protocol.Messages;

namespace Edge.Transport;

/// <summary>One established connection between CloudCore and EdgeCore that carries whole messages in order.</summary>
/// <remarks>One reader and any number of writers at a time. Once any call has thrown <see cref="LinkException"/> the link is dead.</remarks>
public interface ILink : IAsyncDisposable
{
    /// <summary>Sends one message; completes when the bytes were handed to the socket.</summary>
    /// <exception cref="LinkException">The link is down, or the write did not finish in time.</exception>
    ValueTask SendAsync(Message message, CancellationToken cancellationToken);

    /// <summary>The next message, or null when the peer closed the link in order. Malformed frames are reported through
    /// <paramref name="onMalformed"/> and skipped.</summary>
    /// <exception cref="LinkException">The link broke, or a frame was over the size limit.</exception>
    ValueTask<Message?> ReceiveAsync(Action<string> onMalformed, CancellationToken cancellationToken);

    /// <summary>Tells the peer why and closes; never throws.</summary>
    ValueTask CloseAsync(string reason);
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
