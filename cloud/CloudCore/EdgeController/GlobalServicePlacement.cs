using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.SyncController;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.EdgeController;

/// <summary>GlobalServices as every node with EdgeDns should have them: the spec, and the hosts and endpoints with their health as the GSLB module wrote them on the status; pure, one caller at a
/// time.</summary>
/// <remarks>The same for all nodes, so each is written once. What the status says of hosts and endpoints goes under <c>resolved</c>: for edges it is what they are to have, and
/// an object's <c>status</c> is left out when the two sides compare what they have (<see cref="Protocol.Sync.ObjectFingerprint"/>). Conditions and the rest of the metadata stay here: a change of these is no change.</remarks>
internal sealed class GlobalServicePlacement
{
    private const string ResolvedField = "resolved";

    private readonly Dictionary<(string Namespace, string Name), ObjectBody> _services = [];

    public IEnumerable<DownObject> All() => [.. _services.Values.Select(service => Of(service, Operations.Update))];

    public DownObject? Find(ResourcePath path)
        => path.Type == ResourceTypes.GlobalService && _services.TryGetValue((path.Namespace, path.Name), out var service) ? Of(service, Operations.Update) : null;

    public void Changed(ObjectChange change, List<PlacementOutput> outputs)
    {
        var id = (change.Object.Namespace(), change.Object.Name());
        var before = _services.GetValueOrDefault(id);
        if (change.Type == ChangeType.Deleted)
        {
            if (_services.Remove(id))
                outputs.Add(new PlacementOutput.DeliverToAll(Of(new ObjectBody(Trim(change.Object)), Operations.Delete, isFinal: true)));
            return;
        }

        var service = new ObjectBody(Trim(change.Object));
        // What was not sent is not remembered either: the edge has the version before, with the same content.
        if (before is not null && before.Uid == service.Uid && before.Fingerprint == service.Fingerprint)
            return;
        _services[id] = service;
        if (before is not null && before.Uid != service.Uid)
            outputs.Add(new PlacementOutput.DeliverToAll(Of(before, Operations.Delete, isFinal: true)));
        outputs.Add(new PlacementOutput.DeliverToAll(Of(service, before is null ? Operations.Insert : Operations.Update)));
    }

    private static JsonObject Trim(JsonObject service)
    {
        var metadata = new JsonObject();
        foreach (var field in (string[])["name", "namespace", "uid", "resourceVersion"])
        {
            if (service.At("metadata", field) is { } value)
                metadata[field] = value.DeepClone();
        }

        var trimmed = new JsonObject { ["apiVersion"] = GslbKinds.GlobalService.ApiVersion, ["kind"] = GslbKinds.GlobalService.Kind, ["metadata"] = metadata, ["spec"] = service["spec"]?.DeepClone() };
        if (service.At("status", "endpoints") is { } endpoints)
            trimmed[ResolvedField] = new JsonObject { ["hosts"] = service.At("status", "hosts")?.DeepClone(), ["endpoints"] = endpoints.DeepClone() };
        return trimmed;
    }

    private static DownObject Of(ObjectBody service, string operation, bool isFinal = false)
        => DownObject.Of(GslbKinds.GlobalService, ResourceTypes.GlobalService, operation, Sources.EdgeController, service, isFinal);
}
