using Edge.Cloud.CloudHub.Sessions;
using Edge.Protocol.Messages;
using Edge.Simulation.Tests.Model;

namespace Edge.Simulation.Tests.Adapters;

/// <summary>The only place that knows <see cref="NodeSession"/>: delivery down one connection.</summary>
internal sealed class Delivery
{
    private readonly NodeSession _core;
    private readonly SessionLimits _limits;
    private readonly PlantedBug _bug;
    private readonly List<SessionOutput> _outputs = [];
    private readonly HashSet<string> _inWindow = [];
    private readonly Dictionary<string, (string Uid, bool IsAnswered)> _sent = [];
    private readonly Dictionary<string, string> _latest = []; // uid -> message id
    private readonly HashSet<string> _refused = [];
    private readonly Dictionary<string, Wire> _messages = [];
    private readonly Dictionary<string, DownObject> _objects = [];
    private long _lastMessage;

    public Delivery(FaultProfile profile, PlantedBug bug, Func<string> newId)
    {
        _bug = bug;
        _limits = new SessionLimits
        {
            Window = profile.Window, ResendMs = profile.ResendMs, ResendMsMax = 60_000, ObjectsMax = profile.ObjectsMax, MessagesMax = 64, TellsMembers = true,
        };
        _core = new NodeSession(bug == PlantedBug.WindowIgnored ? _limits with { Window = _limits.Window * 2 } : _limits, newId);
    }

    public int ObjectDepth => _core.ObjectDepth;

    public long NextDueMs => _core.NextDueMs;

    public bool IsWithinBounds => _inWindow.Count <= _limits.Window && _core.ObjectDepth <= _limits.ObjectsMax;

    public string Figures => $"{_inWindow.Count} objects in a window of {_limits.Window}, {_core.ObjectDepth} of at most {_limits.ObjectsMax} waiting";

    /// <summary>What was sent in this message; null when none was.</summary>
    public DownObject? Sent(string messageId) => _objects.GetValueOrDefault(messageId);

    public void Open() => Step(new SessionInput.Open());

    public void Known(string uid, long version) => Step(new SessionInput.Known(uid, version));

    public bool WillSend(string uid) => _core.WillSend(uid);

    /// <summary>False when the session must end, since it has no room.</summary>
    public bool Deliver(DownObject obj)
    {
        if (_bug == PlantedBug.CoalescingDropsDelete && obj.IsDelete && _latest.TryGetValue(obj.Uid, out var id) && !_sent[id].IsAnswered)
            return true;
        foreach (var output in Step(new SessionInput.Deliver(obj)))
        {
            if (output is SessionOutput.Drop { Reason: DropReason.ObjectQueueFull })
                return false;
        }

        return true;
    }

    /// <summary>Sends something once, before objects.</summary>
    public void Send(Wire message, bool isUrgent)
    {
        var id = (++_lastMessage).ToString(System.Globalization.CultureInfo.InvariantCulture);
        _messages[id] = message;
        Step(new SessionInput.Send(new Message { Id = id, Source = "", Group = "", Operation = "", Resource = "" }, isUrgent));
    }

    /// <summary>What was given to <see cref="Send"/>.</summary>
    public Wire Unwrap(Message message) => _messages.Remove(message.Id, out var wire) ? wire : throw new InvalidOperationException($"message {message.Id} was sent twice");

    /// <summary>The edge answered; returns what it has stored by that, or null.</summary>
    public DownObject? Answered(string parentId, bool isRefusal)
    {
        if (_sent.TryGetValue(parentId, out var sent))
        {
            _sent[parentId] = (sent.Uid, true);
            _inWindow.Remove(parentId);
            if (isRefusal)
                _refused.Add(sent.Uid);
            else
                _refused.Remove(sent.Uid);
            if (_bug == PlantedBug.LateAckClearsNewer)
                parentId = _latest[sent.Uid];
        }

        foreach (var output in Step(isRefusal ? new SessionInput.Refused(parentId, "refused") : new SessionInput.Ack(parentId)))
        {
            if (output is SessionOutput.Stored stored)
                return stored.Object;
        }

        return null;
    }

    /// <summary>What is to be sent now.</summary>
    public IReadOnlyList<SessionOutput> Tick(long nowMs, int sendMax)
    {
        if (_bug == PlantedBug.RefusedBlocksAll && _refused.Count > 0 && NextDueMs > nowMs)
            return [];
        Step(new SessionInput.Tick(nowMs, sendMax));
        foreach (var output in _outputs)
        {
            if (output is not SessionOutput.SendObject send)
                continue;
            if (_latest.TryGetValue(send.Object.Uid, out var before))
                _inWindow.Remove(before);
            _latest[send.Object.Uid] = send.MessageId;
            _objects[send.MessageId] = send.Object;
            _sent[send.MessageId] = (send.Object.Uid, false);
            if (send.Attempt == 1)
                _inWindow.Add(send.MessageId);
        }

        return _outputs;
    }

    private List<SessionOutput> Step(SessionInput input)
    {
        _outputs.Clear();
        _core.Step(input, _outputs);
        return _outputs;
    }
}
