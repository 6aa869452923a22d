using Edge.Protocol.Messages;

namespace Edge.Cloud.CloudHub.Sessions;

/// <summary>Something that happened to a session.</summary>
internal abstract record SessionInput
{
    /// <summary>The node should have this state of an object.</summary>
    public sealed record Deliver(DownObject Object) : SessionInput;

    /// <summary>The node told that it has this version of an object: a state that waits and is not newer need not go.</summary>
    public sealed record Known(string Uid, long Version) : SessionInput;

    /// <summary>A message that is sent once and not waited for: an answer.</summary>
    public sealed record Send(Message Message, bool IsUrgent) : SessionInput;

    /// <summary>The edge has these devices already, by their paths. A stock edge is told before any object goes; of a device that is delivered it is told without this.</summary>
    public sealed record Members(IReadOnlyList<string> Present) : SessionInput;

    /// <summary>Objects may flow from now on; before, they only queue.</summary>
    public sealed record Open : SessionInput;

    /// <summary>The edge stored what was sent under this id.</summary>
    public sealed record Ack(string ParentId) : SessionInput;

    /// <summary>The edge could not store what was sent under this id.</summary>
    public sealed record Refused(string ParentId, string Reason) : SessionInput;

    /// <summary>The link takes up to <paramref name="SendMax"/> more messages; one or two more where a device is among them, which takes a <c>membership</c> along.</summary>
    /// <param name="NowMs">Milliseconds of a clock that never goes back.</param>
    /// <param name="Part">What of it is asked for.</param>
    public sealed record Tick(long NowMs, int SendMax, SendPart Part = SendPart.All) : SessionInput;
}

/// <summary>What a sender takes. A link whose lanes do not hold each other up has a sender for the urgent messages and one for the rest.</summary>
internal enum SendPart
{
    All,
    Urgent,
    Rest,
}

/// <summary>What the shell of a session must do.</summary>
internal abstract record SessionOutput
{
    /// <summary>Send this object under this id.</summary>
    public sealed record SendObject(string MessageId, DownObject Object, int Attempt) : SessionOutput;

    public sealed record SendMessage(Message Message) : SessionOutput;

    /// <summary>Send <c>membership</c> about these devices, by their paths. None is in both.</summary>
    public sealed record SendMembers(List<string> Added, List<string> Removed) : SessionOutput;

    /// <summary>The edge has stored the object; <paramref name="Object"/> is what it has now.</summary>
    public sealed record Stored(DownObject Object) : SessionOutput;

    /// <summary>The edge refused the object; it is sent again at <paramref name="RetryAtMs"/>.</summary>
    public sealed record Delayed(DownObject Object, string Reason, long RetryAtMs) : SessionOutput;

    /// <summary>A bound was reached and this is lost to the session.</summary>
    public sealed record Drop(string What, DropReason Reason) : SessionOutput;
}

internal enum DropReason
{
    /// <summary>Too many once-only messages wait; the oldest went.</summary>
    MessageQueueFull,

    /// <summary>Too many objects wait. The session must end, so that the next one starts from the whole picture.</summary>
    ObjectQueueFull,
}
