using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.SyncController;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.EdgeController;

/// <summary>Objects of one kind that are the same for every node with EdgeDns, so each is written once; pure, one caller at a time.</summary>
/// <param name="kind">Whose changes are taken.</param>
/// <param name="type">Its name in resource paths.</param>
/// <param name="trim">What of an object travels; a change of anything else is no change. It must not keep parts of its argument.</param>
/// <param name="isWanted">Whether edges are to have the object now; all by default.</param>
/// <param name="bytesMax">A larger one, bytes of JSON, does not go down.</param>
internal sealed class SharedPlacement(ResourceKind kind, string type, Func<JsonObject, JsonObject> trim, Func<JsonObject, bool>? isWanted = null, int bytesMax = int.MaxValue)
{
    private readonly Dictionary<(string Namespace, string Name), ObjectBody> _held = [];

    /// <summary>Everything that a node with EdgeDns should have.</summary>
    public IEnumerable<DownObject> All() => [.. _held.Values.Select(body => Of(body, Operations.Update))];

    /// <summary>The object as nodes should have it; null where they should not, or where it is of another kind.</summary>
    public DownObject? Find(ResourcePath path)
        => path.Type == type && _held.TryGetValue((kind.Namespaced ? path.Namespace : "", path.Name), out var body) ? Of(body, Operations.Update) : null;

    /// <summary>Takes a change of the kind.</summary>
    public void Changed(ObjectChange change, List<PlacementOutput> outputs)
    {
        var id = (kind.Namespaced ? change.Object.Namespace() : "", change.Object.Name());
        var before = _held.GetValueOrDefault(id);
        var isGone = change.Type == ChangeType.Deleted;
        var body = isGone || isWanted?.Invoke(change.Object) == false ? null : new ObjectBody(trim(change.Object));
        if (body is null || body.Content.Utf8.Length > bytesMax)
        {
            if (_held.Remove(id))
                outputs.Add(new PlacementOutput.DeliverToAll(Of(new ObjectBody(trim(change.Object)), Operations.Delete, isFinal: isGone)));
            return;
        }

        // What was not sent is not remembered either: the edge has the version before, with the same content.
        if (before is not null && before.Uid == body.Uid && before.Fingerprint == body.Fingerprint)
            return;
        _held[id] = body;
        if (before is not null && before.Uid != body.Uid)
            outputs.Add(new PlacementOutput.DeliverToAll(Of(before, Operations.Delete, isFinal: true)));
        outputs.Add(new PlacementOutput.DeliverToAll(Of(body, before is null ? Operations.Insert : Operations.Update)));
    }

    private DownObject Of(ObjectBody body, string operation, bool isFinal = false) => DownObject.Of(kind, type, operation, Sources.EdgeController, body, isFinal);
}
