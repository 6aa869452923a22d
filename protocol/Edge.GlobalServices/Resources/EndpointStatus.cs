using System.Text.Json.Nodes;
using Edge.GlobalServices.Health;
using Edge.GlobalServices.Locations;
using Edge.GlobalServices.Services;
using Edge.Kubernetes;

namespace Edge.GlobalServices.Resources;

/// <summary>One item of a GlobalService's <c>status.endpoints</c>: what an item of the spec came to, and its health. CloudCore writes it; users and edges read it.</summary>
/// <param name="State"><see cref="Drained"/>, <see cref="NotReady"/>, or a <see cref="HealthStatus"/>: Up, Unknown (not checked yet), Down, NodeGone.</param>
/// <param name="Reason">Why it is not up.</param>
internal sealed record EndpointStatus(ServiceEndpoint Endpoint, string State, string Reason)
{
    public const string Drained = "Drained";
    public const string NotReady = "NotReady";

    /// <summary>Whether the cloud counts it as healthy. A drained one is: it is left out for another reason.</summary>
    public bool IsUp => State is Drained || (Enum.TryParse<HealthStatus>(State, out var status) && status is HealthStatus.Up or HealthStatus.Unknown);

    public static EndpointStatus Of(ServiceEndpoint endpoint, HealthState health) => endpoint switch
    {
        { IsDrained: true } => new EndpointStatus(endpoint, Drained, ""),
        { NotReady.Length: > 0 } => new EndpointStatus(endpoint, NotReady, endpoint.NotReady),
        _ => new EndpointStatus(endpoint, health.Status.ToString(), health.Reason ?? ""),
    };

    public bool IsSame(EndpointStatus other)
        => (State, Reason) == (other.State, other.Reason) && Endpoint with { Addresses = [] } == other.Endpoint with { Addresses = [] } && Endpoint.Addresses.SequenceEqual(other.Endpoint.Addresses);

    public JsonObject ToJson()
    {
        var json = new JsonObject
        {
            ["name"] = Endpoint.Name, ["addresses"] = string.Join(',', Endpoint.Addresses.Select(address => Network.ToIPAddress(address).ToString())), ["node"] = Endpoint.Node, ["state"] = State,
            ["reason"] = Reason,
        };
        if (Endpoint.Port > 0)
            json["port"] = Endpoint.Port;
        if (Endpoint.Weight != 1)
            json["weight"] = Endpoint.Weight;
        if (Endpoint.Priority != 0)
            json["priority"] = Endpoint.Priority;
        if (Endpoint.Group.Length > 0)
            json["nodeGroup"] = Endpoint.Group;
        if (Endpoint.Location != Location.Unknown)
            json["location"] = WriteLocation(Endpoint.Location);
        return json;
    }

    /// <summary>Null where it has no name or no address that can be read: then there is nothing to answer with.</summary>
    public static EndpointStatus? Read(JsonObject json)
    {
        var addresses = new List<UInt128>();
        foreach (var text in json.Text("addresses").Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            if (Network.TryParseAddress(text, out var address, out _))
                addresses.Add(address);
        }

        if (addresses.Count == 0 || json.Text("name").Length == 0)
            return null;
        var state = json.Text("state");
        var endpoint = new ServiceEndpoint(
            json.Text("name"), addresses, Whole("port", 0), Whole("weight", 1), Whole("priority", 0), state == Drained, GlobalServiceSpec.ReadLocation(new SpecReader(), json.At("location"), "location"),
            json.Text("node"), state == NotReady ? json.Text("reason") : "") { Group = json.Text("nodeGroup") };
        return new EndpointStatus(endpoint, state, json.Text("reason"));

        int Whole(string key, int absent) => (int)Math.Clamp(json.Number(absent, key), 0, 65_535);
    }

    private static JsonObject WriteLocation(Location location)
    {
        var json = new JsonObject();
        foreach (var (key, text) in (IEnumerable<(string, string)>)[("country", location.Country), ("region", location.Region), ("site", location.Site)])
        {
            if (text.Length > 0)
                json[key] = text;
        }

        if (location.Point is { } point)
            (json["latitude"], json["longitude"]) = (point.Latitude, point.Longitude);
        return json;
    }
}
