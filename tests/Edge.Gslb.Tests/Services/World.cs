using Edge.GlobalServices;
using Edge.GlobalServices.Locations;
using Edge.GlobalServices.Services;

namespace Edge.Cloud.Gslb.Tests;

/// <summary>Places, services and clients for tests of the choice.</summary>
internal static class World
{
    public static readonly Location Frankfurt = new("DE", "eu", "fra", new GeoPoint(50.11, 8.68));
    public static readonly Location Amsterdam = new("NL", "eu", "ams", new GeoPoint(52.37, 4.9));
    public static readonly Location Virginia = new("US", "us-east", "iad", new GeoPoint(38.9, -77.4));
    public static readonly Location Tokyo = new("JP", "asia", "tyo", new GeoPoint(35.68, 139.69));

    public static ServiceEndpoint Endpoint(
        string name, string address, Location? at = null, int weight = 1, int priority = 0, bool drained = false, string notReady = "", string node = "")
        => new(name, [.. address.Split(',').Select(Address)], 80, weight, priority, drained, at ?? Location.Unknown, node, notReady);

    public static ServiceDefinition Service(Policy policy, params ServiceEndpoint[] endpoints) => new("default/shop", 30, policy, null, 1, endpoints, []);

    public static Policy Leaf(PolicyKind kind, int maxAnswers = 1) => new(kind, PolicyBy.Endpoint, null, maxAnswers);

    public static Policy Group(PolicyKind kind, PolicyBy by, Policy then) => new(kind, by, then, 1);

    public static UInt128 Address(string text) => Network.TryParseAddress(text, out var address, out _) ? address : throw new ArgumentException(text);

    public static ClientSubnet Client(string network)
        => Network.TryParse(network, out var parsed, out var error) ? new ClientSubnet(parsed.Address, parsed.PrefixLength, parsed.IsIPv6, true) : throw new ArgumentException(error);

    public static LocationTable Map(params (string Network, Location Location)[] networks)
        => LocationTable.Build(networks.Select(one => (MaxMindFileTests.Net(one.Network), one.Location)), []);
}

/// <summary>A service with its map, asked as zones ask it.</summary>
internal sealed class Asked
{
    private readonly AddressSelector _selector;

    public Asked(ServiceDefinition definition, LocationTable? map = null, Func<ServiceEndpoint, EndpointHealth>? healthOf = null)
    {
        var compiled = CompiledService.Compile(definition, i => healthOf?.Invoke(definition.Endpoints[i]) ?? EndpointHealth.Up);
        _selector = new AddressSelector([compiled], map ?? LocationTable.Empty, [new TurnState()]);
    }

    public AddressSelector Selector => _selector;

    /// <summary>The addresses, parted by blanks.</summary>
    public string Ask(string client, bool isIPv6 = false) => Ask(client, isIPv6, out _);

    public string Ask(string client, bool isIPv6, out Selection selection)
    {
        Span<UInt128> addresses = stackalloc UInt128[16];
        selection = _selector.Select(0, isIPv6, World.Client(client), addresses);
        return string.Join(' ', addresses[..selection.Count].ToArray().Select(address => Network.ToIPAddress(address).ToString()));
    }

    public string Explain(string client, bool isIPv6 = false) => _selector.Explain(0, isIPv6, World.Client(client)).ToString();
}
