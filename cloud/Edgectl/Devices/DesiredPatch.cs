using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Devices;

/// <summary>The JSON patch (RFC 6902) that sets desired values and nothing else.</summary>
/// <remarks>spec.properties is a list, which a merge patch would replace as a whole, with what somebody else changed meanwhile. Each operation here touches one
/// place, after a test that the place is still what was read: a test that fails changes nothing, and the caller reads again.</remarks>
internal static class DesiredPatch
{
    /// <summary>Null when the Device has all the values already.</summary>
    /// <param name="setAt">When the values were desired: <c>desired.metadata.timestamp</c> in milliseconds since 1970, by which an edge tells the later of two values.</param>
    public static JsonArray? Build(JsonObject device, IEnumerable<Wanted> wanted, DateTimeOffset setAt)
    {
        var timestamp = setAt.ToUnixTimeMilliseconds().ToString(CultureInfo.InvariantCulture);
        var properties = device.At("spec", "properties") as JsonArray;
        var tests = new JsonArray(Operation("test", "/metadata/uid", device.Uid()));
        var changes = new List<JsonObject>();
        var grows = false;
        foreach (var one in wanted)
        {
            var index = IndexOf(properties, one.Property);
            if (index < 0)
            {
                grows = true;
                changes.Add(Operation("add", "/spec/properties/-", new JsonObject { ["name"] = one.Property, ["desired"] = Desired(one.Value) }));
                continue;
            }

            var property = properties![index]!;
            var path = string.Create(CultureInfo.InvariantCulture, $"/spec/properties/{index}");
            if (property.Text("desired", "value") == one.Value)
                continue;
            if (property.At("desired", "metadata") is JsonObject)
            {
                tests.Add((JsonNode)Operation("test", path + "/name", one.Property));
                changes.Add(Operation("add", path + "/desired/value", one.Value));
                changes.Add(Operation("add", path + "/desired/metadata/timestamp", timestamp));
            }
            else
            {
                // Whether there is no "desired" yet, or no metadata in it, cannot be tested; that the whole property is as it was can.
                tests.Add((JsonNode)Operation("test", path, property.DeepClone()));
                changes.Add(Operation("add", path + "/desired", Desired(one.Value)));
            }
        }

        if (changes.Count == 0)
            return null;
        if (grows)
        {
            // Somebody may add the same property at the same moment.
            tests.Add((JsonNode)Operation("test", "/metadata/resourceVersion", device.ResourceVersion()));
            if (properties is null)
                changes.Insert(0, Operation("add", "/spec/properties", new JsonArray()));
        }

        foreach (var change in changes)
            tests.Add((JsonNode)change);
        return tests;

        JsonObject Desired(string value) => new() { ["value"] = value, ["metadata"] = new JsonObject { ["timestamp"] = timestamp } };
    }

    private static int IndexOf(JsonArray? properties, string name)
    {
        for (var i = 0; i < (properties?.Count ?? 0); i++)
        {
            if (properties![i].Text("name") == name)
                return i;
        }

        return -1;
    }

    private static JsonObject Operation(string operation, string path, JsonNode value) => new() { ["op"] = operation, ["path"] = path, ["value"] = value };
}
