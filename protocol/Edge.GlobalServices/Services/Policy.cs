using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.GlobalServices.Services;

/// <summary>How endpoints, or groups of them, are chosen.</summary>
internal enum PolicyKind
{
    /// <summary>The smallest great-circle distance to the client; by weight where the client's location is not known.</summary>
    Nearest,

    /// <summary>The smallest round trip measured from the client's site, region or country; nearest where nothing was measured.</summary>
    Latency,

    /// <summary>In proportion to the weights.</summary>
    Weighted,

    /// <summary>The lowest priority number that has an eligible endpoint.</summary>
    Failover,

    /// <summary>One after the other.</summary>
    RoundRobin,

    /// <summary>Several at once, up to <see cref="Policy.MaxAnswers"/>.</summary>
    Multivalue,
}

/// <summary>What a step of a policy chooses among.</summary>
internal enum PolicyBy
{
    Endpoint,
    Site,
    Region,
    Country,
    Priority,
}

/// <summary>One step: choose an endpoint, or choose a group and go on inside with <see cref="Then"/>.</summary>
/// <param name="Then">Null exactly when <paramref name="By"/> is Endpoint.</param>
/// <param name="MaxAnswers">Endpoints in the answer, of the last step.</param>
internal sealed record Policy(PolicyKind Kind, PolicyBy By, Policy? Then, int MaxAnswers)
{
    public int Depth => 1 + (Then?.Depth ?? 0);

    /// <summary>Whether any step goes by this kind.</summary>
    public bool Uses(PolicyKind kind) => Kind == kind || Then?.Uses(kind) == true;

    public override string ToString() => Then is null ? Name(Kind) : $"{Name(Kind)} by {Name(By)}, then {Then}";

    /// <summary>As it stands in manifests.</summary>
    public static string Name<T>(T value)
        where T : struct, Enum
    {
        var name = value.ToString();
        return char.ToLowerInvariant(name[0]) + name[1..];
    }
}

/// <summary>Keeps a client at an endpoint as long as that is eligible: clients of one subnet get the same answer, and a change of the endpoints moves as few as can be.</summary>
/// <param name="IPv4Prefix">Length of the subnet, bits.</param>
internal sealed record Sticky(byte IPv4Prefix, byte IPv6Prefix);

/// <summary>A measured round trip.</summary>
/// <param name="From">A client's site, region or country.</param>
/// <param name="To">An endpoint's name.</param>
internal sealed record Latency(string From, string To, double Milliseconds)
{
    /// <summary>An item of a GlobalService's <c>status.latencies</c>.</summary>
    public static Latency Read(JsonObject json)
        => new(json.Text("from"), json.Text("to"), json["milliseconds"] is JsonValue value && value.TryGetValue<double>(out var number) ? number : double.PositiveInfinity);

    public JsonObject ToJson() => new() { ["from"] = From, ["to"] = To, ["milliseconds"] = Milliseconds };
}
