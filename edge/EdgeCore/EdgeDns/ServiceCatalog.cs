using System.Collections.Immutable;
using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Core.MetaManager;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Core.EdgeDns;

/// <summary>Where a Service's clients are sent.</summary>
internal enum ServiceScope
{
    Cluster,

    /// <summary>The client's NodeGroup: annotation <c>apps.kubeedge.io/service-topology: range-nodegroup</c>.</summary>
    NodeGroup,

    /// <summary>The client's node: annotation <c>range-node</c>, or internalTrafficPolicy Local.</summary>
    Node,
}

/// <summary>One port of a Service or slice. <paramref name="Protocol"/> in lower case.</summary>
internal sealed record PortEntry(string Name, string Protocol, int Port);

/// <summary>A Service as the resolver sees it.</summary>
internal sealed record ServiceEntry(
    string Namespace, string Name, bool IsHeadless, string ExternalName, ImmutableArray<IPAddress> ClusterAddresses, ImmutableArray<PortEntry> Ports, ServiceScope Scope, bool PublishNotReady);

/// <summary>One address behind a Service. <paramref name="Group"/> is its node's NodeGroup, empty for none.</summary>
internal sealed record EndpointEntry(IPAddress Address, bool IsReady, string Hostname, string Node, string Group, ImmutableArray<PortEntry> Ports);

/// <summary>Services and endpoints of the cluster, from the objects in the edge's store; immutable.</summary>
internal sealed record ServiceCatalog
{
    private const string TopologyAnnotation = "apps.kubeedge.io/service-topology";
    private const string ServiceLabel = "kubernetes.io/service-name";
    private const string GroupLabel = "apps.kubeedge.io/belonging-to";

    private ImmutableDictionary<(string Namespace, string Name), ServiceEntry> _services = ImmutableDictionary<(string, string), ServiceEntry>.Empty;
    private ImmutableDictionary<(string Namespace, string Service), ImmutableDictionary<string, ImmutableArray<EndpointEntry>>> _slices
        = ImmutableDictionary<(string, string), ImmutableDictionary<string, ImmutableArray<EndpointEntry>>>.Empty;
    private ImmutableDictionary<(string Namespace, string Slice), string> _serviceOfSlice = ImmutableDictionary<(string, string), string>.Empty;
    private ImmutableDictionary<string, int> _namespaces = ImmutableDictionary<string, int>.Empty;
    private ImmutableDictionary<IPAddress, ImmutableHashSet<(string Namespace, string Service)>> _byAddress = ImmutableDictionary<IPAddress, ImmutableHashSet<(string, string)>>.Empty;

    public static ServiceCatalog Empty { get; } = new();

    /// <summary>This node.</summary>
    public string Node { get; init; } = "";

    /// <summary>This node's NodeGroup; empty for none.</summary>
    public string Group { get; init; } = "";

    /// <summary>False until the cloud has told anything: then nothing can be said about the cluster's names.</summary>
    public bool IsFilled { get; init; }

    public int Services => _services.Count;

    public bool HasNamespace(string name) => _namespaces.ContainsKey(name);

    public ServiceEntry? Service(string @namespace, string name) => _services.GetValueOrDefault((@namespace, name));

    public IEnumerable<EndpointEntry> Endpoints(string @namespace, string service)
        => _slices.TryGetValue((@namespace, service), out var slices) ? slices.Values.SelectMany(entries => entries) : [];

    /// <summary>The Services that have this address as their clusterIP or behind them.</summary>
    public IEnumerable<ServiceEntry> ServicesAt(IPAddress address)
        => _byAddress.TryGetValue(address, out var keys) ? keys.Order().Select(key => Service(key.Namespace, key.Service)).OfType<ServiceEntry>() : [];

    /// <summary>The catalog after a change of the store. What cannot be read is as if it were not there.</summary>
    public ServiceCatalog With(MetaChange change)
    {
        var (obj, deleted) = change;
        JsonObject? json = null;
        if (!deleted)
        {
            try
            {
                json = JsonNode.Parse(obj.Json.Span) as JsonObject;
            }
            catch (JsonException)
            {
                // Stored by this house from the cloud's message, which was JSON: nothing is known of a damaged one.
                json = null;
            }
        }

        return obj.Type switch
        {
            ResourceTypes.Service => WithService((obj.Namespace, obj.Name), json),
            ResourceTypes.EndpointSlice => WithSlice((obj.Namespace, obj.Name), json),
            ResourceTypes.Node when obj.Name == Node => this with { IsFilled = true, Group = json?.Label(GroupLabel) ?? "" },
            _ => this,
        };
    }

    private ServiceCatalog WithService((string Namespace, string Name) id, JsonObject? json)
    {
        var before = _services.GetValueOrDefault(id);
        var now = json is null ? null : Read(id, json);
        var count = _namespaces.GetValueOrDefault(id.Namespace) + (now is null ? 0 : 1) - (before is null ? 0 : 1);
        var next = this with
        {
            IsFilled = true,
            _services = now is null ? _services.Remove(id) : _services.SetItem(id, now),
            _namespaces = count > 0 ? _namespaces.SetItem(id.Namespace, count) : _namespaces.Remove(id.Namespace),
        };
        next._byAddress = Index(next._byAddress, id, before?.ClusterAddresses ?? [], now?.ClusterAddresses ?? [], address => Endpoints(id.Namespace, id.Name).Any(entry => entry.Address.Equals(address)));
        return next;
    }

    private ServiceCatalog WithSlice((string Namespace, string Name) id, JsonObject? json)
    {
        var next = this with { IsFilled = true };
        var service = json?.Label(ServiceLabel) ?? "";
        if (_serviceOfSlice.TryGetValue(id, out var former) && former != service)
            next = next.PutSlice(id, former, []);
        return service.Length == 0 ? next : next.PutSlice(id, service, [.. ReadEndpoints(json!)]);
    }

    private ServiceCatalog PutSlice((string Namespace, string Name) id, string service, ImmutableArray<EndpointEntry> entries)
    {
        var key = (id.Namespace, service);
        var slices = _slices.GetValueOrDefault(key) ?? ImmutableDictionary<string, ImmutableArray<EndpointEntry>>.Empty;
        var before = slices.TryGetValue(id.Name, out var had) ? had : [];
        slices = entries.IsEmpty ? slices.Remove(id.Name) : slices.SetItem(id.Name, entries);
        var next = this with
        {
            _slices = slices.IsEmpty ? _slices.Remove(key) : _slices.SetItem(key, slices),
            _serviceOfSlice = entries.IsEmpty ? _serviceOfSlice.Remove(id) : _serviceOfSlice.SetItem(id, service),
        };
        next._byAddress = Index(
            _byAddress, key, [.. before.Select(entry => entry.Address)], [.. entries.Select(entry => entry.Address)],
            address => Service(id.Namespace, service)?.ClusterAddresses.Contains(address) == true || next.Endpoints(id.Namespace, service).Any(entry => entry.Address.Equals(address)));
        return next;
    }

    private static ImmutableDictionary<IPAddress, ImmutableHashSet<(string, string)>> Index(
        ImmutableDictionary<IPAddress, ImmutableHashSet<(string, string)>> index, (string, string) key, ImmutableArray<IPAddress> before, ImmutableArray<IPAddress> now, Func<IPAddress, bool> isHeld)
    {
        foreach (var gone in before.Where(address => !now.Contains(address) && !isHeld(address)))
        {
            if (index.TryGetValue(gone, out var keys))
                index = keys.Remove(key) is { IsEmpty: false } left ? index.SetItem(gone, left) : index.Remove(gone);
        }

        foreach (var address in now)
            index = index.SetItem(address, (index.GetValueOrDefault(address) ?? ImmutableHashSet<(string, string)>.Empty).Add(key));
        return index;
    }

    private static ServiceEntry Read((string Namespace, string Name) id, JsonObject json)
    {
        var spec = json["spec"];
        var texts = spec.Texts("clusterIPs").ToList();
        if (texts.Count == 0)
            texts.Add(spec.Text("clusterIP"));
        var addresses = texts.Select(text => IPAddress.TryParse(text, out var address) ? address : null).OfType<IPAddress>().ToImmutableArray();
        var external = spec.Text("type") == "ExternalName";
        var scope = json.Annotation(TopologyAnnotation) switch
        {
            "range-nodegroup" => ServiceScope.NodeGroup,
            "range-node" => ServiceScope.Node,
            _ => spec.Text("internalTrafficPolicy") == "Local" ? ServiceScope.Node : ServiceScope.Cluster,
        };
        // Without any clusterIP (older Services of the embedded API) it is resolved as a headless one is.
        return new ServiceEntry(
            id.Namespace, id.Name, !external && addresses.IsEmpty, external ? spec.Text("externalName").Trim('.') : "", external ? [] : addresses, ReadPorts(json.Items("spec", "ports")), scope,
            spec.Flag(false, "publishNotReadyAddresses"));
    }

    private static IEnumerable<EndpointEntry> ReadEndpoints(JsonObject slice)
    {
        var ports = ReadPorts(slice.Items("ports"));
        foreach (var endpoint in slice.Items("endpoints"))
        {
            // Of several addresses only the first counts (discovery.k8s.io/v1, Endpoint.addresses).
            if (!IPAddress.TryParse(endpoint.Texts("addresses").FirstOrDefault(), out var address))
                continue;
            var group = endpoint.At("deprecatedTopology", GroupLabel) is JsonValue value && value.TryGetValue<string>(out var text) ? text : "";
            yield return new EndpointEntry(
                address, endpoint.At("conditions").Flag(true, "ready"), endpoint.Text("hostname").ToLowerInvariant(), endpoint.Text("nodeName"), group, ports);
        }
    }

    private static ImmutableArray<PortEntry> ReadPorts(IEnumerable<JsonObject> ports)
        => [.. ports.Select(port => new PortEntry(
            port.Text("name").ToLowerInvariant(), port.Text("protocol") is { Length: > 0 } protocol ? protocol.ToLowerInvariant() : "tcp", (int)Math.Clamp(port.Number(0, "port"), 0, 65535)))];
}
