using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>Defaults and rules of Services.</summary>
internal static class ServiceRules
{
    public static void Default(JsonObject service)
    {
        if (service["spec"] is null)
            service["spec"] = new JsonObject();
        if (service["spec"] is not JsonObject spec)
            return;
        BuiltinObjects.Set(spec, "type", "ClusterIP");
        BuiltinObjects.Set(spec, "sessionAffinity", "None");
        if (spec.Text("sessionAffinity") == "ClientIP" && !spec.ContainsKey("sessionAffinityConfig"))
            spec["sessionAffinityConfig"] = new JsonObject { ["clientIP"] = new JsonObject { ["timeoutSeconds"] = 10_800L } };
        if (spec.Text("type") != "ExternalName")
            BuiltinObjects.Set(spec, "internalTrafficPolicy", "Cluster");
        if (spec.Text("type") is "NodePort" or "LoadBalancer")
            BuiltinObjects.Set(spec, "externalTrafficPolicy", "Cluster");
        foreach (var port in spec.Items("ports"))
        {
            BuiltinObjects.Set(port, "protocol", "TCP");
            if (port["port"] is JsonValue number)
                BuiltinObjects.Set(port, "targetPort", number.DeepClone());
        }

        if (service.Child("status") is { } status && !status.ContainsKey("loadBalancer"))
            status["loadBalancer"] = new JsonObject();
    }

    public static void Check(JsonObject service, JsonObject? old, List<FieldError> errors)
    {
        var spec = service["spec"] as JsonObject ?? [];
        var type = spec.Text("type");
        if (type is not ("ClusterIP" or "NodePort" or "LoadBalancer" or "ExternalName"))
            errors.Add(Errors.NotSupported("spec.type", type, "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"));
        if (spec.Text("sessionAffinity") is not ("None" or "ClientIP"))
            errors.Add(Errors.NotSupported("spec.sessionAffinity", spec.Text("sessionAffinity"), "ClientIP", "None"));
        var clusterIp = spec.Text("clusterIP");
        if (clusterIp is not ("" or "None") && !System.Net.IPAddress.TryParse(clusterIp, out _))
            errors.Add(Errors.Invalid("spec.clusterIP", clusterIp, "must be empty, 'None', or a valid IP address"));
        if (type == "ExternalName")
        {
            if (spec.Text("externalName").Length == 0)
                errors.Add(Errors.Required("spec.externalName"));
            else if (Names.DnsSubdomain(spec.Text("externalName").TrimEnd('.')) is { } fault)
                errors.Add(Errors.Invalid("spec.externalName", spec.Text("externalName"), fault));
        }
        else if (!spec.Items("ports").Any() && clusterIp != "None")
        {
            errors.Add(Errors.Required("spec.ports"));
        }

        if (spec["selector"] is JsonObject selector)
            Names.Labels(selector, "spec.selector", errors);
        CheckPorts(spec, errors);
        var before = old?["spec"].Text("clusterIP") ?? "";
        if (before.Length > 0 && before != clusterIp && type != "ExternalName")
            errors.Add(Errors.Invalid("spec.clusterIP", clusterIp, "field is immutable"));
    }

    private static void CheckPorts(JsonObject spec, List<FieldError> errors)
    {
        var names = new HashSet<string>();
        var numbers = new HashSet<(long, string)>();
        var several = spec.Items("ports").Count() > 1;
        var i = 0;
        foreach (var port in spec.Items("ports"))
        {
            var at = $"spec.ports[{i++}]";
            var name = port.Text("name");
            if (name.Length == 0 && several)
                errors.Add(Errors.Required($"{at}.name"));
            else if (name.Length > 0 && Names.DnsLabel(name) is { } nameFault)
                errors.Add(Errors.Invalid($"{at}.name", name, nameFault));
            else if (name.Length > 0 && !names.Add(name))
                errors.Add(Errors.Duplicate($"{at}.name", name));
            if (Names.PortNumber(port.Number(0, "port")) is { } fault)
                errors.Add(Errors.Invalid($"{at}.port", port["port"], fault));
            if (port.Text("protocol") is not ("TCP" or "UDP" or "SCTP"))
                errors.Add(Errors.NotSupported($"{at}.protocol", port.Text("protocol"), "SCTP", "TCP", "UDP"));
            if (!numbers.Add((port.Number(0, "port"), port.Text("protocol"))))
                errors.Add(Errors.Duplicate(at, $"{port.Number(0, "port")}/{port.Text("protocol")}"));
            var target = port["targetPort"] is JsonValue value && value.TryGetValue<string>(out var text)
                ? Names.PortName(text)
                : port["targetPort"] is null ? null : Names.PortNumber(port.Number(0, "targetPort"));
            if (target is not null)
                errors.Add(Errors.Invalid($"{at}.targetPort", port["targetPort"], target));
            if (port.Number(0, "nodePort") is not 0 and var nodePort && (spec.Text("type") is "ClusterIP" || Names.PortNumber(nodePort) is not null))
            {
                errors.Add(spec.Text("type") is "ClusterIP"
                    ? Errors.Forbidden($"{at}.nodePort", "may not be used when `type` is 'ClusterIP'")
                    : Errors.Invalid($"{at}.nodePort", port["nodePort"], Names.PortNumber(nodePort)!));
            }
        }
    }
}
