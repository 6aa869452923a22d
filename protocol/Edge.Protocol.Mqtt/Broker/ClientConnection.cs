using System.Buffers;

namespace Edge.Protocol.Mqtt.Broker;

/// <summary>What the shell does after it has read.</summary>
internal enum FeedResult
{
    /// <summary>Read on.</summary>
    Continue,

    /// <summary>CONNECT is being checked; the broker calls <see cref="ClientConnection.Resume"/>.</summary>
    Paused,

    /// <summary>The connection is over.</summary>
    Ended,
}

/// <summary>A connection with its socket. Reading happens on one thread at a time, and so does writing; which one changes.</summary>
internal abstract class ClientConnection(MqttBroker broker) : Connection
{
    private const int BufferSize = 64 * 1024;

    protected MqttBroker Broker { get; } = broker;

    /// <summary>The user's name by the client's certificate.</summary>
    public string? CertificateUser { get; protected set; }

    /// <summary>CONNECT has come, and is being checked or was accepted.</summary>
    public bool HasConnect { get; set; }

    public bool IsAuthenticating { get; set; }

    /// <summary>An exchange of AUTH packets that is not at its end.</summary>
    public Authentication.ScramServer? Scram { get; set; }

    /// <summary>The CONNECT that waits for that end; null when the client is connected and shows anew who it is.</summary>
    public Codec.MqttConnect? ConnectWithScram { get; set; }

    /// <summary>Taken from <see cref="Connection.Out"/>, being written; belongs to the writer while <see cref="IsSending"/>.</summary>
    public List<OutSegment> Sending { get; set; } = s_none;

    public bool IsSending { get; set; }

    /// <summary>What is queued promises something that is not on disk yet.</summary>
    public bool IsWaitingForStore { get; set; }

    /// <summary>All is written, and the peer knows that no more will come.</summary>
    public bool IsShut { get; set; }

    /// <summary>When a connection that was shut is closed even though the peer has not.</summary>
    public long CloseAtMs { get; set; } = long.MaxValue;

    /// <summary>The socket is disposed, or about to be.</summary>
    public bool IsEnded { get; set; }

    /// <summary>The client's name for the log.</summary>
    public string Client { get; set; } = "";

    /// <summary>Bytes that were read and not consumed.</summary>
    protected byte[]? Buffer { get; private set; }

    protected int Filled { get; private set; }

    private static readonly List<OutSegment> s_none = new(0);

    /// <summary>Reads on after a pause; does not block.</summary>
    public abstract void Resume();

    /// <summary>Writes <see cref="Sending"/>, then asks the broker for more until there is none. Does not block.</summary>
    public abstract void Send();

    /// <summary>Tells the peer that no more comes; what it still sends is read and dropped.</summary>
    public abstract void Shut();

    /// <summary>Ends the socket at once. May be called often.</summary>
    public abstract void Close();

    /// <summary>A list of its own to put segments into; quiet connections have none.</summary>
    public void TakeOut()
    {
        if (ReferenceEquals(Sending, s_none))
            Sending = [];
        Out.TakeAll(Sending);
    }

    /// <summary>Everything is written.</summary>
    public void SentAll()
    {
        if (Sending.Capacity > 8)
            Sending = s_none;
        else
            Sending.Clear();
    }

    /// <summary>Room to read into.</summary>
    protected Memory<byte> Room()
    {
        if (Buffer is null)
        {
            Buffer = ArrayPool<byte>.Shared.Rent(BufferSize);
        }
        else if (Buffer.Length - Filled < 512 || Buffer.Length < BufferSize)
        {
            // A packet that is longer than the buffer: the buffer grows as its bytes really come, not by what its header says.
            var larger = ArrayPool<byte>.Shared.Rent(Math.Max(BufferSize, Filled * 2));
            Buffer.AsSpan(0, Filled).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(Buffer);
            Buffer = larger;
        }

        return Buffer.AsMemory(Filled);
    }

    /// <summary>So many bytes came into <see cref="Room"/>; they are given to the broker.</summary>
    protected FeedResult Read(int count)
    {
        Filled += count;
        var result = Broker.Feed(this, Buffer.AsSpan(0, Filled), out var consumed);
        Filled -= consumed;
        if (Filled > 0 && consumed > 0)
            Buffer.AsSpan(consumed, Filled).CopyTo(Buffer);
        return result;
    }

    /// <summary>Nothing is there to read: only what is needed is kept.</summary>
    protected void Rest()
    {
        if (Buffer is null)
            return;
        if (Filled == 0)
        {
            ReleaseBuffer();
        }
        else if (Filled * 4 < Buffer.Length)
        {
            var smaller = ArrayPool<byte>.Shared.Rent(Filled);
            Buffer.AsSpan(0, Filled).CopyTo(smaller);
            ArrayPool<byte>.Shared.Return(Buffer);
            Buffer = smaller;
        }
    }

    /// <summary>Only for who reads.</summary>
    protected void ReleaseBuffer()
    {
        if (Buffer is null)
            return;
        ArrayPool<byte>.Shared.Return(Buffer);
        Buffer = null;
        Filled = 0;
    }
}
