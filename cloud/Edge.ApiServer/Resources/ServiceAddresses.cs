using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Resources;

/// <summary>Families and cluster addresses of a Service, before they are assigned. Pure.</summary>
internal static class ServiceAddresses
{
    /// <summary>Fills in the families of a new Service, and keeps <c>clusterIP</c> and <c>clusterIPs</c> the same.</summary>
    public static void OnCreate(JsonObject service)
    {
        if (service["spec"] is not JsonObject spec)
            return;
        Join(spec);
        if (spec.Text("type") == "ExternalName")
            return;
        if (spec.Text("ipFamilyPolicy").Length == 0)
            spec["ipFamilyPolicy"] = spec.Texts("ipFamilies").Count() > 1 ? "RequireDualStack" : "SingleStack";
        var families = spec.Texts("ipFamilies").ToList();
        if (families.Count == 0)
            families.Add(spec.Text("clusterIP").Contains(':', StringComparison.Ordinal) ? "IPv6" : "IPv4");
        if (families.Count == 1 && spec.Text("ipFamilyPolicy") is "PreferDualStack" or "RequireDualStack")
            families.Add(families[0] == "IPv4" ? "IPv6" : "IPv4");
        spec["ipFamilies"] = new JsonArray([.. families.Select(family => (JsonNode)family)]);
    }

    /// <summary>An update that leaves out what was assigned keeps it, as in Kubernetes; a change to ExternalName gives it back.</summary>
    public static void OnUpdate(JsonObject service, JsonObject old)
    {
        if (service["spec"] is not JsonObject spec || old["spec"] is not JsonObject before)
            return;
        if (spec.Text("type") == "ExternalName")
        {
            if (before.Text("type") != "ExternalName" && spec.Text("clusterIP") == before.Text("clusterIP"))
            {
                foreach (var field in (string[])["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"])
                    spec.Remove(field);
            }

            return;
        }

        foreach (var field in (string[])["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"])
        {
            var isMissing = spec[field] is JsonArray list ? list.Count == 0 : spec.Text(field).Length == 0;
            if (isMissing && before[field] is { } kept)
                spec[field] = kept.DeepClone();
        }

        if (before.Text("type") == "ExternalName")
            OnCreate(service);
        else
            Join(spec);
    }

    private static void Join(JsonObject spec)
    {
        if (spec.Text("clusterIP") is { Length: > 0 } first && !spec.Texts("clusterIPs").Any())
            spec["clusterIPs"] = new JsonArray((JsonNode)first);
        else if (spec.Text("clusterIP").Length == 0 && spec.Texts("clusterIPs").FirstOrDefault() is { } of)
            spec["clusterIP"] = of;
    }
}
