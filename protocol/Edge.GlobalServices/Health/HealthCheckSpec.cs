using System.Text.Json.Nodes;
using Edge.GlobalServices.Resources;
using Edge.Kubernetes;

namespace Edge.GlobalServices.Health;

internal enum CheckKind
{
    None,
    Tcp,
    Http,
    Https,
}

/// <summary>How endpoints are checked.</summary>
/// <param name="Port">0: the endpoint's.</param>
/// <param name="Host">The Host header; of https also the name for SNI, where <paramref name="ServerName"/> is empty. Empty: the address.</param>
/// <param name="StatusMin">The lowest status code that is well, 200.</param>
/// <param name="Body">What the first 4 KiB of the body must contain; empty for anything.</param>
/// <param name="Rise">Successes in a row that make an ill endpoint well.</param>
/// <param name="Fall">Failures in a row that make a well one ill.</param>
/// <param name="IsVerified">Whether an https certificate must be valid for the name.</param>
/// <param name="ChecksPerConnection">Checks over one connection of http before a new one is made, 1 for a new one each time: a server that serves the
/// connections it has but takes no new one is found that much later.</param>
/// <param name="FromEdge">EdgeCore checks it, as CloudCore cannot reach it; its reports count.</param>
internal sealed record HealthCheckSpec(
    CheckKind Kind, int Port, string Path, string Host, string ServerName, int StatusMin, int StatusMax, string Body, int IntervalMs, int TimeoutMs, int Rise, int Fall, bool IsVerified,
    int ChecksPerConnection, bool FromEdge)
{
    public static HealthCheckSpec None { get; } = new(CheckKind.None, 0, "/", "", "", 200, 399, "", 10_000, 2_000, 2, 3, false, 4, false);

    public static HealthCheckSpec Read(SpecReader reader, JsonNode? node, string path)
    {
        if (node is null)
            return None;
        var check = new HealthCheckSpec(
            reader.Choice(node, path, "type", CheckKind.None), reader.Int(node, path, "port", 0, 0, 65_535), reader.Text(node, path, "path", "/"), reader.Text(node, path, "host"),
            reader.Text(node, path, "serverName"), reader.Int(node, path, "statusMin", 200, 100, 599), reader.Int(node, path, "statusMax", 399, 100, 599), reader.Text(node, path, "body"),
            reader.Milliseconds(node, path, "interval", 10_000, 100, 3_600_000), reader.Milliseconds(node, path, "timeout", 2_000, 10, 60_000), reader.Int(node, path, "rise", 2, 1, 100),
            reader.Int(node, path, "fall", 3, 1, 100), reader.Flag(node, path, "verify", false), reader.Int(node, path, "checksPerConnection", 4, 1, 1_000),
            reader.Text(node, path, "from", "cloud") == "edge");
        if (!check.Path.StartsWith('/') || check.Path.Any(c => c is <= ' ' or > '~'))
            reader.Problem($"{path}.path", $"'{check.Path}' is not a path, e.g. /healthz");
        if (check.Host.Any(c => c is <= ' ' or > '~') || check.ServerName.Any(c => c is <= ' ' or > '~'))
            reader.Problem($"{path}.host", "and serverName must be names without blanks");
        if (check.StatusMin > check.StatusMax)
            reader.Problem($"{path}.statusMin", $"is {check.StatusMin}, above statusMax {check.StatusMax}");
        if (check.TimeoutMs > check.IntervalMs)
            reader.Problem($"{path}.timeout", $"is longer than the interval ({check.IntervalMs} ms); make it shorter, so that checks do not pile up");
        if (reader.Text(node, path, "from", "cloud") is not ("cloud" or "edge"))
            reader.Problem($"{path}.from", $"is '{node.Text("from")}', must be cloud or edge");
        return check;
    }
}
