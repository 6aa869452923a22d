using System.Text.Json.Nodes;
using Edge.Cloud.CloudHub.Sessions;
using Edge.Cloud.SyncController;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.EdgeController;

/// <summary>Zones as every node with EdgeDns should have them: those that the GSLB module serves (condition Ready), with what a resolver needs of them; pure, one caller at a time.</summary>
/// <remarks>The same for all nodes, so each is written once. Who may transfer a zone and who is told of changes stays here. The names of GlobalServices, from the status, go under
/// <c>resolved</c>, as in <see cref="GlobalServicePlacement"/>. A zone over <see cref="ZoneBytesMax"/> does not go down: edges ask their upstreams for it.</remarks>
internal sealed class ZonePlacement
{
    /// <summary>The largest zone that goes down, bytes of JSON: some 10,000 records. What an API server takes is little more.</summary>
    public const int ZoneBytesMax = 1024 * 1024;

    private readonly Dictionary<string, ObjectBody> _zones = new(StringComparer.Ordinal);

    public IEnumerable<DownObject> All() => [.. _zones.Values.Select(zone => Of(zone, Operations.Update))];

    public DownObject? Find(ResourcePath path)
        => path.Type == ResourceTypes.Zone && _zones.TryGetValue(path.Name, out var zone) ? Of(zone, Operations.Update) : null;

    public void Changed(ObjectChange change, List<PlacementOutput> outputs)
    {
        var name = change.Object.Name();
        var before = _zones.GetValueOrDefault(name);
        var zone = change.Type != ChangeType.Deleted && IsServed(change.Object) && new ObjectBody(Trim(change.Object)) is { Content.Utf8.Length: <= ZoneBytesMax } body ? body : null;
        if (zone is null)
        {
            if (_zones.Remove(name))
                outputs.Add(new PlacementOutput.DeliverToAll(Of(new ObjectBody(Trim(change.Object)), Operations.Delete, isFinal: change.Type == ChangeType.Deleted)));
            return;
        }

        // What was not sent is not remembered either: the edge has the version before, with the same content.
        if (before is not null && before.Uid == zone.Uid && before.Fingerprint == zone.Fingerprint)
            return;
        _zones[name] = zone;
        if (before is not null && before.Uid != zone.Uid)
            outputs.Add(new PlacementOutput.DeliverToAll(Of(before, Operations.Delete, isFinal: true)));
        outputs.Add(new PlacementOutput.DeliverToAll(Of(zone, before is null ? Operations.Insert : Operations.Update)));
    }

    // Two zones of one apex, a zone that cannot be used: those that the cloud does not answer for are not the edge's to answer for either.
    private static bool IsServed(JsonObject zone) => zone.Items("status", "conditions").Any(one => one.Text("type") == "Ready" && one.Text("status") == "True");

    private static JsonObject Trim(JsonObject zone)
    {
        var metadata = new JsonObject();
        // The generation is the serial, where the spec has none.
        foreach (var field in (string[])["name", "uid", "resourceVersion", "generation"])
        {
            if (zone.At("metadata", field) is { } value)
                metadata[field] = value.DeepClone();
        }

        var spec = new JsonObject();
        foreach (var field in (string[])["apex", "soa", "nameServers", "ttl", "records"])
        {
            if (zone.At("spec", field) is { } value)
                spec[field] = value.DeepClone();
        }

        var trimmed = new JsonObject { ["apiVersion"] = GslbKinds.Zone.ApiVersion, ["kind"] = GslbKinds.Zone.Kind, ["metadata"] = metadata, ["spec"] = spec };
        if (zone.At("status", "hosts") is { } hosts)
            trimmed["resolved"] = new JsonObject { ["hosts"] = hosts.DeepClone() };
        return trimmed;
    }

    private static DownObject Of(ObjectBody zone, string operation, bool isFinal = false)
        => DownObject.Of(GslbKinds.Zone, ResourceTypes.Zone, operation, Sources.EdgeController, zone, isFinal);
}
