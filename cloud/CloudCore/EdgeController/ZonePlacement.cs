using System.Text.Json.Nodes;
using Edge.GlobalServices.Resources;
using Edge.GlobalServices.Zones;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.EdgeController;

/// <summary>Zones as every node with EdgeDns should have them: those that the GSLB module serves (condition Ready), with what a resolver needs of them.</summary>
/// <remarks>Who may transfer a zone and who is told of changes stays here. The serial travels in <c>spec.soa</c>, also where the object's generation is the serial: edges compare
/// objects without their generation, so one that moved with nothing else would never reach them. The names of GlobalServices, from the status, go under <c>resolved</c>, as in
/// <see cref="GlobalServicePlacement"/>. A zone over <see cref="ZoneBytesMax"/> does not go down: edges ask their upstreams for it.</remarks>
internal static class ZonePlacement
{
    /// <summary>The largest zone that goes down, bytes of JSON: some 10,000 records. What an API server takes is little more.</summary>
    public const int ZoneBytesMax = 1024 * 1024;

    private static readonly string[] s_spec = ["apex", "soa", "nameServers", "ttl", "records"];

    public static SharedPlacement Create() => new(GslbKinds.Zone, ResourceTypes.Zone, Trim, IsServed, ZoneBytesMax);

    // Two zones of one apex, a zone that cannot be used: those that the cloud does not answer for are not the edge's to answer for either.
    private static bool IsServed(JsonObject zone) => zone.Items("status", "conditions").Any(one => one.Text("type") == "Ready" && one.Text("status") == "True");

    private static JsonObject Trim(JsonObject zone)
    {
        var spec = new JsonObject();
        ServiceTrim.Copy(zone["spec"], spec, s_spec);
        spec.Child("soa")["serial"] = ZoneSerial.Of(zone);
        var trimmed = new JsonObject { ["apiVersion"] = GslbKinds.Zone.ApiVersion, ["kind"] = GslbKinds.Zone.Kind, ["metadata"] = ServiceTrim.Metadata(zone), ["spec"] = spec };
        if (zone.At("status", "hosts") is { } hosts)
            trimmed[GlobalServicePlacement.ResolvedField] = new JsonObject { ["hosts"] = hosts.DeepClone() };
        return trimmed;
    }
}
