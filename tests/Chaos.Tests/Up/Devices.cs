using System.Text.Json.Nodes;

namespace Edge.Chaos.Tests;

/// <summary>The devices of the tests: each with one property that has a desired value, and some that are only reported.</summary>
internal static class Devices
{
    public const int Count = 6;
    public const string Protocol = "chaos";

    /// <summary>The property with the desired value; the first of each device.</summary>
    public const string Desired = "desired";

    private const int ReportedCount = 4;

    /// <summary>The properties that the mapper reports.</summary>
    public static IReadOnlyList<string> Reported { get; } = [.. Enumerable.Range(0, ReportedCount).Select(i => $"r{i}")];

    public static string Name(int number) => $"d{number}";

    public static JsonObject Model() => new()
    {
        ["apiVersion"] = "devices.kubeedge.io/v1beta1",
        ["kind"] = "DeviceModel",
        ["metadata"] = new JsonObject { ["name"] = "chaos" },
        ["spec"] = new JsonObject
        {
            ["protocol"] = Protocol,
            ["properties"] = new JsonArray(
            [
                new JsonObject { ["name"] = Desired, ["type"] = "INT", ["accessMode"] = "ReadWrite" },
                .. Reported.Select(name => new JsonObject { ["name"] = name, ["type"] = "INT", ["accessMode"] = "ReadOnly" }),
            ]),
        },
    };

    public static JsonObject Device(string name, long desired) => new()
    {
        ["apiVersion"] = "devices.kubeedge.io/v1beta1",
        ["kind"] = "Device",
        ["metadata"] = new JsonObject { ["name"] = name },
        ["spec"] = new JsonObject
        {
            ["deviceModelRef"] = new JsonObject { ["name"] = "chaos" },
            ["nodeName"] = ChaosEdge.Node,
            ["protocol"] = new JsonObject { ["protocolName"] = Protocol },
            ["properties"] = new JsonArray(
            [
                new JsonObject { ["name"] = Desired, ["reportToCloud"] = true, ["desired"] = new JsonObject { ["value"] = $"{desired}" } },
                .. Reported.Select(one => new JsonObject { ["name"] = one, ["reportToCloud"] = true }),
            ]),
        },
    };
}
