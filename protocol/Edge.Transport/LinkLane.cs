using Edge.Protocol.Messages;

namespace Edge.Transport;

/// <summary>The streams of a <see cref="QuicLink"/>. Each keeps its own order and has its own flow control; between them there is no order.</summary>
public enum LinkLane
{
    /// <summary>Small and urgent: keepalives, leases, what a node says of itself, and the answers to those.</summary>
    Control,

    /// <summary>Objects down and their acknowledgements up, the inventory, requests about objects and their answers, pod status.</summary>
    Objects,

    /// <summary>Bulk: twins, events, user data, and the answers to those.</summary>
    User,
}

/// <summary>Which lane carries a message; pure. Both ends choose by the same rule, but neither relies on the other's choice.</summary>
/// <remarks>
/// <para>Messages whose order means something share a lane: all states of an object, since down-going objects are on <see cref="LinkLane.Objects"/> whatever their type; an
/// acknowledgement and the inventory, since both say what the edge has; the inventory's answer and the objects that follow because of it; the status, the patch and the delete
/// of a pod, which differ only in their type word; all that is said about a device's twin. An answer copies source, group and resource of its question, and so takes its lane.</para>
/// <para>What may overtake: a node's own answers and the Node object (the higher version wins at the edge, whichever comes first), an event and the status that it tells of.</para>
/// </remarks>
public static class LinkLanes
{
    public const int Count = 3;

    public static LinkLane Of(Message message)
    {
        if (message.Operation is Operations.Keepalive or "ping" or "pong" || message.Resource is "ping" or "pong")
            return LinkLane.Control;
        if (message.Group is Groups.Twin or Groups.User || message.Source is Sources.Twin or Sources.Bus)
            return LinkLane.User;
        var type = ResourcePath.TryParse(message.Resource, out var path) ? path.Type : "";
        if (type == ResourceTypes.Event)
            return LinkLane.User;
        // Of group resource and no answer: an object on its way down, which has its place among the other objects.
        var isObject = message is { Group: Groups.Resource, ParentId.Length: 0 };
        return !isObject && type is ResourceTypes.Lease or ResourceTypes.NodePatch or ResourceTypes.Node ? LinkLane.Control : LinkLane.Objects;
    }
}
