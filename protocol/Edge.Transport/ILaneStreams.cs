namespace Edge.Transport;

/// <summary>The duplex streams of one connection, one for each <see cref="LinkLane"/>, and what ends them together. They fail with <see cref="IOException"/>.</summary>
public interface ILaneStreams : IAsyncDisposable
{
    Stream this[LinkLane lane] { get; }

    /// <summary>Ends the writing side of all lanes in order, and waits until the peer has what was written.</summary>
    Task CompleteWritesAsync(CancellationToken cancellationToken);

    /// <summary>Cuts all lanes at once, from any thread: what reads or writes fails. Never throws.</summary>
    void Abort();
}
