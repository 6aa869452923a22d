using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.Dashboard;
using Edge.Protocol.Messages;

namespace Edge.Cloud.SyncController;

/// <summary>A connected node as the sync controller sees it: the hub's <see cref="HubSession"/>, and a fake in tests of the rules.</summary>
/// <remarks>All calls are safe from any thread and under any lock, and none waits.</remarks>
internal interface ISyncSession
{
    string Node { get; }

    /// <summary>False for a stock KubeEdge edge.</summary>
    bool IsEdgeWire { get; }

    /// <summary>Objects and messages that wait or are unanswered.</summary>
    (int Objects, int Messages) Depth { get; }

    /// <summary>Objects sent and not answered.</summary>
    int InFlight { get; }

    /// <summary>Some of the objects that wait or are unanswered, at most <paramref name="max"/>, for the eye of an operator.</summary>
    IReadOnlyList<QueuedObject> Queued(int max);

    /// <summary>The node should have this state; sent until answered, once the session is open.</summary>
    void Deliver(DownObject obj);

    /// <summary>The node has this version already: what waits of the uid and is not newer need not go.</summary>
    void Known(string uid, long version);

    /// <summary>Whether a state of the uid waits to be sent: whatever the node has told by now says nothing about it.</summary>
    bool WillSend(string uid);

    /// <summary>Sends a message once, not waited for; before objects.</summary>
    void Send(Message message, bool isUrgent = false);

    /// <summary>The node has these devices already, by their paths; a stock edge is told of them before objects. Of those that are delivered it is told without this.</summary>
    void Members(IReadOnlyList<string> present);

    /// <summary>Lets the objects flow. True the first time.</summary>
    bool Open();

    /// <summary>Ends the session; the first reason counts.</summary>
    void End(SessionEndReason reason);
}
