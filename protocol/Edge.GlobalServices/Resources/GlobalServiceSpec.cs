using System.Text.Json.Nodes;
using Edge.GlobalServices.Health;
using Edge.GlobalServices.Locations;
using Edge.GlobalServices.Services;
using Edge.Kubernetes;
using Edge.Kubernetes.Selectors;

namespace Edge.GlobalServices.Resources;

/// <summary>Where endpoints come from; exactly one of these.</summary>
internal abstract record EndpointSource
{
    private EndpointSource()
    {
    }

    public sealed record Addresses(IReadOnlyList<UInt128> List) : EndpointSource;

    /// <summary>A Service's external addresses.</summary>
    public sealed record Service(string Namespace, string Name) : EndpointSource;

    /// <summary>Every node of a NodeGroup.</summary>
    public sealed record NodeGroup(string Name) : EndpointSource;

    /// <summary>Every edge node that runs a pod with the labels.</summary>
    public sealed record Pods(string Namespace, LabelSelector Selector, string SelectorText) : EndpointSource;
}

/// <summary>One item of <c>spec.endpoints</c>: a source, and what holds for all endpoints from it.</summary>
/// <param name="Location">What is given here; what is not, a node's labels may say.</param>
internal sealed record EndpointItem(string Name, EndpointSource Source, int Port, int Weight, int Priority, bool IsDrained, Location Location);

/// <summary>A GlobalService as its manifest says.</summary>
internal sealed record GlobalServiceSpec(
    string Namespace, string Name, IReadOnlyList<string> Hosts, uint TtlSeconds, Policy Policy, Sticky? Sticky, int MinimumHealthyPercent, HealthCheckSpec Check,
    IReadOnlyList<EndpointItem> Endpoints, IReadOnlyList<Latency> Latencies)
{
    public string Key => $"{Namespace}/{Name}";

    /// <summary>Reads the object; null with problems where it cannot be used.</summary>
    public static GlobalServiceSpec? Read(JsonObject obj, out IReadOnlyList<string> problems)
    {
        var reader = new SpecReader();
        var spec = obj.At("spec");
        var hosts = new List<string>();
        foreach (var (host, i) in spec.Texts("hosts").Select((host, i) => (host, i)))
        {
            if (HostName.Problem(host, allowWildcard: false) is { } problem)
                reader.Problem($"spec.hosts[{i}]", problem);
            else
                hosts.Add(HostName.Canonical(host));
        }

        if (hosts.Count == 0 && reader.Problems.Count == 0)
            reader.Problem("spec.hosts", "is empty; name at least one host, e.g. shop.example.com");
        var policy = ReadPolicy(reader, spec.At("policy"), "spec.policy", depth: 0);
        var sticky = spec.At("sticky") is { } given
            ? new Sticky((byte)reader.Int(given, "spec.sticky", "ipv4Prefix", 24, 0, 32), (byte)reader.Int(given, "spec.sticky", "ipv6Prefix", 56, 0, 128)) : null;
        var endpoints = new List<EndpointItem>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (item, i) in spec.Items("endpoints").Select((item, i) => (item, i)))
        {
            if (ReadEndpoint(reader, obj.Namespace(), item, $"spec.endpoints[{i}]") is not { } endpoint)
                continue;
            if (!names.Add(endpoint.Name))
                reader.Problem($"spec.endpoints[{i}].name", $"'{endpoint.Name}' is there twice; names tell endpoints apart");
            endpoints.Add(endpoint);
        }

        if (endpoints.Count == 0 && reader.Problems.Count == 0)
            reader.Problem("spec.endpoints", "is empty; give at least one with addresses, service, nodeGroup or pods");
        var latencies = new List<Latency>();
        foreach (var (item, i) in spec.Items("latencies").Select((item, i) => (item, i)))
        {
            var path = $"spec.latencies[{i}]";
            var (from, to) = (reader.Text(item, path, "from"), reader.Text(item, path, "to"));
            if (from.Length == 0 || to.Length == 0)
                reader.Problem(path, "needs from (a site, region or country), to (an endpoint's name) and milliseconds");
            else
                latencies.Add(new Latency(from, to, reader.Number(item, path, "milliseconds", 0, 60_000) ?? double.PositiveInfinity));
        }

        var result = new GlobalServiceSpec(
            obj.Namespace(), obj.Name(), hosts, (uint)reader.Int(spec, "spec", "ttl", 30, 0, 86_400), policy, sticky,
            reader.Int(spec, "spec", "minimumHealthyPercent", 1, 0, 100), HealthCheckSpec.Read(reader, spec.At("healthCheck"), "spec.healthCheck"), endpoints, latencies);
        problems = reader.Problems;
        return problems.Count == 0 ? result : null;
    }

    private static Policy ReadPolicy(SpecReader reader, JsonNode? node, string path, int depth)
    {
        var kind = reader.Choice(node, path, "type", PolicyKind.Nearest);
        if (node is null || node.At("then") is null)
        {
            if (node.At("by") is not null)
                reader.Problem($"{path}.by", "chooses groups and needs a policy inside them: add then, e.g. then: {type: weighted}");
            return new Policy(kind, PolicyBy.Endpoint, null, reader.Int(node, path, "maxAnswers", kind == PolicyKind.Multivalue ? 8 : 1, 1, Explanation.AddressesMax));
        }

        if (depth == 3)
        {
            reader.Problem($"{path}.then", "policies nest at most four deep");
            return new Policy(kind, PolicyBy.Endpoint, null, 1);
        }

        if (kind == PolicyKind.Multivalue)
            reader.Problem($"{path}.type", "multivalue answers several endpoints, so nothing can come after it: leave then out, or take another policy here");
        var by = reader.Choice(node, path, "by", kind == PolicyKind.Failover ? PolicyBy.Priority : PolicyBy.Endpoint);
        if (by == PolicyBy.Endpoint)
            reader.Problem($"{path}.by", "must say what then is inside of: site, region, country or priority");
        if (node.At("maxAnswers") is not null)
            reader.Problem($"{path}.maxAnswers", "belongs to the last policy, inside then");
        return new Policy(kind, by, ReadPolicy(reader, node.At("then"), $"{path}.then", depth + 1), 1);
    }

    private static EndpointItem? ReadEndpoint(SpecReader reader, string @namespace, JsonObject item, string path)
    {
        var sources = new List<EndpointSource>();
        if (item.At("addresses") is not null)
            sources.Add(new EndpointSource.Addresses(ReadAddresses(reader, item, path)));
        if (item.At("service") is { } service)
            sources.Add(new EndpointSource.Service(reader.Text(service, $"{path}.service", "namespace", @namespace), Needed(reader, service, $"{path}.service", "name")));
        if (item.At("nodeGroup") is { } group)
            sources.Add(new EndpointSource.NodeGroup(Needed(reader, group, $"{path}.nodeGroup", "name")));
        if (item.At("pods") is { } pods)
            sources.Add(ReadPods(reader, @namespace, pods, $"{path}.pods"));
        if (sources.Count != 1)
        {
            reader.Problem(path, $"has {sources.Count} of addresses, service, nodeGroup and pods; must have exactly one");
            return null;
        }

        var name = reader.Text(item, path, "name", sources[0] switch
        {
            EndpointSource.Service one => one.Name,
            EndpointSource.NodeGroup one => one.Name,
            _ => "",
        });
        if (name.Length is 0 or > 253)
            reader.Problem($"{path}.name", "must be 1 to 253 characters long, e.g. fra-1");
        return new EndpointItem(
            name, sources[0], reader.Int(item, path, "port", 0, 0, 65_535), reader.Int(item, path, "weight", 1, 0, 65_535), reader.Int(item, path, "priority", 0, 0, 65_535),
            reader.Flag(item, path, "drain", false), ReadLocation(reader, item.At("location"), $"{path}.location"));
    }

    private static EndpointSource.Pods ReadPods(SpecReader reader, string @namespace, JsonNode pods, string path)
    {
        var labels = pods.Map("matchLabels").OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}={pair.Value}").ToList();
        var text = string.Join(',', labels);
        if (labels.Count == 0)
            reader.Problem($"{path}.matchLabels", "is empty; give the labels of the pods, e.g. {app: shop}");
        try
        {
            return new EndpointSource.Pods(reader.Text(pods, path, "namespace", @namespace), LabelSelector.Parse(text), text);
        }
        catch (SelectorException e)
        {
            reader.Problem($"{path}.matchLabels", e.Message);
            return new EndpointSource.Pods(@namespace, LabelSelector.Parse(""), "");
        }
    }

    private static List<UInt128> ReadAddresses(SpecReader reader, JsonObject item, string path)
    {
        var addresses = new List<UInt128>();
        foreach (var (text, i) in item.Texts("addresses").Select((text, i) => (text, i)))
        {
            if (Network.TryParseAddress(text, out var address, out _))
                addresses.Add(address);
            else
                reader.Problem($"{path}.addresses[{i}]", $"'{text}' is not an IP address, e.g. 192.0.2.1 or 2001:db8::1");
        }

        if (addresses.Count is 0 or > 16)
            reader.Problem($"{path}.addresses", $"has {addresses.Count} usable addresses, must have 1 to 16");
        return addresses;
    }

    internal static Location ReadLocation(SpecReader reader, JsonNode? node, string path)
    {
        var (latitude, longitude) = (reader.Number(node, path, "latitude", -90, 90), reader.Number(node, path, "longitude", -180, 180));
        if (latitude is null != longitude is null)
            reader.Problem(path, "has only one of latitude and longitude; give both, in degrees");
        return new Location(
            reader.Text(node, path, "country"), reader.Text(node, path, "region"), reader.Text(node, path, "site"),
            latitude is { } north && longitude is { } east ? new GeoPoint(north, east) : null);
    }

    private static string Needed(SpecReader reader, JsonNode node, string path, string key)
    {
        var text = reader.Text(node, path, key);
        if (text.Length == 0)
            reader.Problem($"{path}.{key}", "is empty; it must be given");
        return text;
    }
}
