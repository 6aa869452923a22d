using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Devices;

/// <summary>The API's objects of one moment.</summary>
/// <param name="Nodes">Null where they may not be read: then nothing is said of nodes.</param>
internal sealed record DeviceObjects(
    IReadOnlyCollection<JsonObject> Devices,
    IReadOnlyCollection<JsonObject> Models,
    IReadOnlyCollection<JsonObject> Statuses,
    IReadOnlyCollection<JsonObject>? Nodes);

/// <summary>Builds the rows of <c>edgectl get devices</c>.</summary>
internal static class DeviceRows
{
    // Clocks of machines that are looked after differ by less.
    private static readonly TimeSpan s_skewMax = TimeSpan.FromSeconds(5);

    /// <summary>One row per property, by namespace, name, and the order in the Device.</summary>
    public static IReadOnlyList<PropertyRow> From(DeviceObjects objects, DateTimeOffset now)
    {
        var models = ByName(objects.Models);
        var statuses = ByName(objects.Statuses);
        var nodes = objects.Nodes is null ? null : ByName(objects.Nodes);
        return [.. objects.Devices
            .OrderBy(device => device.Namespace(), StringComparer.Ordinal).ThenBy(device => device.Name(), StringComparer.Ordinal)
            .SelectMany(device => Of(
                device,
                models.GetValueOrDefault((device.Namespace(), device.Text("spec", "deviceModelRef", "name"))),
                statuses.GetValueOrDefault((device.Namespace(), device.Name())),
                nodes,
                now))];
    }

    /// <summary>What is wrong with the device as a whole, in the order in which one would look.</summary>
    public static IReadOnlyList<string> ProblemsOf(JsonObject device, JsonObject? model, JsonObject? status, IReadOnlyDictionary<(string, string), JsonObject>? nodes)
    {
        var problems = new List<string>();
        var node = device.Text("spec", "nodeName");
        if (device.IsDeleting())
            problems.Add("is being deleted");
        if (node.Length == 0)
            problems.Add("spec.nodeName is not set, so no node serves it");
        else if (nodes is not null && !nodes.ContainsKey(("", node)))
            problems.Add($"there is no node '{node}'");
        else if (nodes is not null && !IsReady(nodes[("", node)]))
            problems.Add($"node '{node}' is not ready: values are the last it sent");
        if (model is null)
            problems.Add(device.Text("spec", "deviceModelRef", "name") is { Length: > 0 } name ? $"there is no DeviceModel '{name}' in its namespace" : "spec.deviceModelRef is not set");
        problems.AddRange(status.Texts("status", "extensions", "problems").Where(text => text.Length > 0));
        if (problems.Count == 0 && status is null)
            problems.Add("nothing has been reported yet");
        return problems;
    }

    public static bool IsReady(JsonObject node)
        => node.Items("status", "conditions").FirstOrDefault(one => one.Text("type") == "Ready").Text("status") == "True";

    public static IReadOnlyDictionary<(string Namespace, string Name), JsonObject> ByName(IEnumerable<JsonObject> objects)
        => objects.DistinctBy(one => (one.Namespace(), one.Name())).ToDictionary(one => (one.Namespace(), one.Name()));

    private static IEnumerable<PropertyRow> Of(
        JsonObject device, JsonObject? model, JsonObject? status, IReadOnlyDictionary<(string, string), JsonObject>? nodes, DateTimeOffset now)
    {
        var ofDevice = ProblemsOf(device, model, status, nodes);
        var properties = device.Items("spec", "properties").ToList();

        // What a mapper reports beyond the Device's own list is shown too: somebody asks where it comes from.
        var names = properties.Select(one => one.Text("name")).Concat(status.Items("status", "twins").Select(one => one.Text("propertyName")))
            .Where(name => name.Length > 0).Distinct().ToList();
        if (names.Count == 0)
            names.Add("");
        foreach (var name in names)
        {
            var property = properties.FirstOrDefault(one => one.Text("name") == name);
            var definition = model.Items("spec", "properties").FirstOrDefault(one => one.Text("name") == name);
            var twin = status.Items("status", "twins").FirstOrDefault(one => one.Text("propertyName") == name);
            var reported = twin.At("reported");
            var stamp = DeviceValue.Stamp(reported);
            var problems = new List<string>();
            if (name == names[0])
                problems.AddRange(ofDevice);
            if (reported.Text("metadata", "error") is { Length: > 0 } error)
                problems.Add(error);
            if (name.Length == 0)
                problems.Add("it has no properties");
            else if (model is not null && definition is null)
                problems.Add($"DeviceModel '{model.Name()}' has no property '{name}'");
            if (stamp is { } at && at - now > s_skewMax)
                problems.Add($"its time is {Ages.Short(at - now)} ahead of this machine's clock");
            yield return new PropertyRow(
                device.Namespace(),
                device.Name(),
                device.Text("spec", "nodeName"),
                status.Text("status", "state"),
                name,
                definition.Text("type"),
                definition.Text("accessMode"),
                definition.Text("unit"),
                property.Text("desired", "value"),
                twin.Text("observedDesired", "value"),
                reported.Text("value"),
                stamp,
                problems,
                name == names[0] ? ofDevice.Count : 0);
        }
    }
}
