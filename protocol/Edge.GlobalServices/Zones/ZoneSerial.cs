using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.GlobalServices.Zones;

/// <summary>The serial of a Zone object, as cloud and edges count it.</summary>
public static class ZoneSerial
{
    /// <summary><c>spec.soa.serial</c>, or where it has none the object's generation: that grows with each change of the spec, and RFC 1982 wants no more. At least 1.</summary>
    public static long Of(JsonObject zone)
        => zone.Number(0, "spec", "soa", "serial") is > 0 and <= uint.MaxValue and var given ? given : Math.Max(1, zone.Number(1, "metadata", "generation"));
}
