using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Validation;

/// <summary>Defaults and rules of EndpointSlices (discovery.k8s.io/v1).</summary>
internal static class EndpointSliceRules
{
    private const int EndpointsMax = 1000;
    private const int PortsMax = 20_000;
    private const int AddressesMax = 100;

    public static void Default(JsonObject slice)
    {
        foreach (var port in slice.Items("ports"))
        {
            BuiltinObjects.Set(port, "name", "");
            BuiltinObjects.Set(port, "protocol", "TCP");
        }
    }

    public static void Check(JsonObject slice, JsonObject? old, List<FieldError> errors)
    {
        var type = slice.Text("addressType");
        if (type is not ("IPv4" or "IPv6" or "FQDN"))
            errors.Add(Errors.NotSupported("addressType", type, "FQDN", "IPv4", "IPv6"));
        else if (old is not null && old.Text("addressType") != type)
            errors.Add(Errors.Invalid("addressType", type, "field is immutable"));
        if (slice.Items("endpoints").Count() is > EndpointsMax and var endpoints)
            errors.Add(Errors.Invalid("endpoints", JsonValue.Create((long)endpoints), $"must have at most {EndpointsMax} items"));
        if (slice.Items("ports").Count() is > PortsMax and var ports)
            errors.Add(Errors.Invalid("ports", JsonValue.Create((long)ports), $"must have at most {PortsMax} items"));
        var i = 0;
        foreach (var endpoint in slice.Items("endpoints"))
        {
            var at = $"endpoints[{i++}]";
            var addresses = endpoint.Texts("addresses").ToList();
            if (addresses.Count is 0 or > AddressesMax)
                errors.Add(addresses.Count == 0 ? Errors.Required($"{at}.addresses", "must contain at least 1 address") : Errors.Invalid($"{at}.addresses", JsonValue.Create((long)addresses.Count), $"must have at most {AddressesMax} items"));
            for (var j = 0; j < addresses.Count; j++)
            {
                if (type != "FQDN" && !IsOf(type, addresses[j]))
                    errors.Add(Errors.Invalid($"{at}.addresses[{j}]", addresses[j], $"must be a valid {type} address"));
            }

            if (endpoint.Text("hostname") is { Length: > 0 } hostname && Names.DnsLabel(hostname) is { } fault)
                errors.Add(Errors.Invalid($"{at}.hostname", hostname, fault));
        }

        var names = new HashSet<string>(StringComparer.Ordinal);
        i = 0;
        foreach (var port in slice.Items("ports"))
        {
            var at = $"ports[{i++}]";
            if (!names.Add(port.Text("name")))
                errors.Add(Errors.Duplicate($"{at}.name", port.Text("name")));
            if (port["port"] is not null && Names.PortNumber(port.Number(0, "port")) is { } fault)
                errors.Add(Errors.Invalid($"{at}.port", port["port"], fault));
            if (port.Text("protocol") is not ("TCP" or "UDP" or "SCTP"))
                errors.Add(Errors.NotSupported($"{at}.protocol", port.Text("protocol"), "SCTP", "TCP", "UDP"));
        }
    }

    private static bool IsOf(string type, string text)
        => IPAddress.TryParse(text, out var address) && address.AddressFamily == (type == "IPv6" ? AddressFamily.InterNetworkV6 : AddressFamily.InterNetwork);
}
