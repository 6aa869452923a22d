using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Common.Text;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Messages;

namespace Edge.Core.DeviceTwin;

/// <content>Applications at this edge, on MQTT: topics and payloads of KubeEdge (kubeedge-wire §4.6). A field of a wrong type counts as absent, as with stock peers.</content>
internal sealed partial class TwinCore
{
    /// <summary>Most properties that one message may carry.</summary>
    public const int PropertiesMax = 1024;

    private const int BadRequest = 400;
    private const int NotFound = 404;
    private const int VersionConflict = 409;

    /// <summary>Whether anybody can hear what is published; without, nothing is built.</summary>
    public bool PublishesToApps { get; set; }

    /// <summary>The name of this node, for the topics of its membership.</summary>
    public string NodeName { get; init; } = "";

    private void OnApp(string topic, ReadOnlyMemory<byte> payload, long now, List<TwinOutput> outputs)
    {
        switch (topic.Split('/'))
        {
            case ["$hw", "events", "device", var space, var name, "twin", "update"]: OnAppUpdate(TwinTopics.Device(space, name, "twin/update"), space, name, payload, now, outputs); break;
            case ["$hw", "events", "device", var space, var name, "twin", "get"]: OnAppGet(TwinTopics.Device(space, name, "twin/get/result"), space, name, payload, now, outputs); break;
            case ["$hw", "events", "device", var space, var name, "state", "update"]: OnAppState(TwinTopics.Device(space, name, "state/update/result"), space, name, payload, now, outputs); break;
            case ["$hw", "events", "node", var node, "membership", "get"] when node == NodeName:
                var id = Read(payload, out _) is { } body ? DmiConvert.Text(body, "event_id") : "";
                outputs.Add(new TwinOutput.Publish($"$hw/events/node/{node}/membership/get/result", TwinTopics.Members(id, now, _devices.Values.OrderBy(device => device.Id, StringComparer.Ordinal))));
                break;
        }
    }

    private void OnAppUpdate(string topic, string space, string name, ReadOnlyMemory<byte> payload, long now, List<TwinOutput> outputs)
    {
        var result = topic + "/result";
        if (!TryTake(result, space, name, payload, now, outputs, out var device, out var body))
            return;
        var id = DmiConvert.Text(body, "event_id");
        if (DmiConvert.Get(body, "twin") is not JsonObject { Count: > 0 } twins)
        {
            outputs.Add(Failed(result, id, now, BadRequest, "the message has no twin"));
            return;
        }

        if (twins.Count > PropertiesMax)
        {
            outputs.Add(Failed(result, id, now, BadRequest, $"{twins.Count} properties, the limit is {PropertiesMax}"));
            return;
        }

        var before = new Dictionary<string, PropertyTwin>(device.Row.Properties);
        var failures = new List<string>();
        var isConflict = false;
        foreach (var (property, twin) in twins)
        {
            if (DmiConvert.Get(twin, "expected") is JsonObject expected && DmiConvert.Get(expected, "value") is not null)
            {
                long? version = DmiConvert.Get(twin, "expected_version") is JsonObject seen && long.TryParse(DmiConvert.Text(seen, "cloud"), out var cloud) ? cloud : null;
                if (DesireHere(device, property, DmiConvert.Text(expected, "value"), version, DmiConvert.Text(DmiConvert.Get(expected, "metadata"), "timestamp"), now, outputs) is { } failure)
                {
                    failures.Add(failure);
                    isConflict |= failure.Contains("version conflict", StringComparison.Ordinal);
                }
            }

            if (DmiConvert.Get(twin, "actual") is JsonObject actual && DmiConvert.Get(actual, "value") is not null)
            {
                Report(device, new Twin { PropertyName = property, Reported = ToProperty(actual, DmiConvert.Get(twin, "metadata")) }, now, outputs);
                if (!device.HasProperty(property))
                    failures.Add($"property '{property}': neither the device nor its model has it");
                else if (device.Row.Properties.GetValueOrDefault(property)?.Error is { Length: > 0 } error)
                    failures.Add($"property '{property}': {error}");
            }
        }

        Settle(device, now, outputs);
        outputs.Add(failures.Count > 0
            ? Failed(result, id, now, isConflict ? VersionConflict : BadRequest, string.Join("; ", failures))
            : new TwinOutput.Publish(result, TwinTopics.Twin(id, now, device.Row.Properties.Where(pair => twins.ContainsKey(pair.Key)))));
        AnnounceChanges(device, before, now, outputs);
    }

    private void OnAppGet(string result, string space, string name, ReadOnlyMemory<byte> payload, long now, List<TwinOutput> outputs)
    {
        if (TryTake(result, space, name, payload, now, outputs, out var device, out var body))
            outputs.Add(new TwinOutput.Publish(result, TwinTopics.Twin(DmiConvert.Text(body, "event_id"), now, device.Row.Properties)));
    }

    private void OnAppState(string result, string space, string name, ReadOnlyMemory<byte> payload, long now, List<TwinOutput> outputs)
    {
        if (!TryTake(result, space, name, payload, now, outputs, out var device, out var body))
            return;
        var id = DmiConvert.Text(body, "event_id");
        var state = DmiConvert.Text(body, "state").ToLowerInvariant();
        if (!IsState(state))
        {
            outputs.Add(Failed(result, id, now, BadRequest, $"state '{state}' must be online, offline, ok, unknown or unhealthy"));
            return;
        }

        device.Row.MapperState = state;
        HeardOf(device);
        SetState(device, state, now, outputs);
        if (device.IsChanged)
            Settle(device, now, outputs);
        outputs.Add(new TwinOutput.Publish(result, TwinTopics.State(id, now, device)));
    }

    private bool TryTake(string result, string space, string name, ReadOnlyMemory<byte> payload, long now, List<TwinOutput> outputs, out DeviceEntry device, out JsonObject body)
    {
        device = null!;
        body = Read(payload, out var error)!;
        if (body is null)
            outputs.Add(Failed(result, "", now, BadRequest, error));
        else if (!_devices.TryGetValue((space, name), out device!))
            outputs.Add(Failed(result, DmiConvert.Text(body, "event_id"), now, NotFound, $"there is no device {space}/{name} on this node"));
        else
            return true;
        return false;
    }

    // What changed, and where desired and reported differ.
    private void AnnounceChanges(DeviceEntry device, Dictionary<string, PropertyTwin> before, long now, List<TwinOutput> outputs)
    {
        if (!PublishesToApps)
            return;
        var changed = device.Row.Properties.Where(pair => pair.Value.Value is not null || pair.Value.Desired is not null)
            .Select(pair => (Name: pair.Key, Last: before.GetValueOrDefault(pair.Key), Current: pair.Value))
            .Where(one => one.Last is null || one.Current.Differs(one.Last) || one.Current.Desired != one.Last.Desired).ToList();
        if (changed.Count == 0)
            return;
        outputs.Add(new TwinOutput.Publish(TwinTopics.Device(device.Namespace, device.Name, "twin/update/document"), TwinTopics.Document("", now, changed)));
        var open = changed.Where(one => one.Current.Desired is not null && one.Current.Desired != one.Current.Value).Select(one => KeyValuePair.Create(one.Name, one.Current)).ToList();
        if (open.Count > 0)
            outputs.Add(new TwinOutput.Publish(TwinTopics.Device(device.Namespace, device.Name, "twin/update/delta"), TwinTopics.Delta("", now, open)));
    }

    private void AnnounceMembership(IReadOnlyList<DeviceEntry> added, IReadOnlyList<DeviceEntry> removed, long now, List<TwinOutput> outputs)
    {
        if (PublishesToApps)
            outputs.Add(new TwinOutput.Publish($"$hw/events/node/{NodeName}/membership/updated", TwinTopics.Membership(now, added, removed)));
    }

    private static TwinOutput.Publish Failed(string topic, string id, long now, int code, string reason) => new(topic, TwinTopics.Failure(id, now, code, reason));

    private static TwinProperty ToProperty(JsonObject side, JsonNode? metadata)
    {
        var property = new TwinProperty { Value = DmiConvert.Text(side, "value") };
        if (DmiConvert.Text(DmiConvert.Get(side, "metadata"), "timestamp") is { Length: > 0 } timestamp)
            property.Metadata["timestamp"] = timestamp;
        if (DmiConvert.Text(metadata, "type") is { Length: > 0 } type)
            property.Metadata["type"] = type;
        return property;
    }

    private static JsonObject? Read(ReadOnlyMemory<byte> payload, out string error)
    {
        // A string that is no Unicode, or a name that stands twice, would only show when it is read.
        if (!JsonText.IsUnicode(payload.Span))
        {
            error = "the message is not JSON: it is not valid UTF-8, or has half of a surrogate pair";
            return null;
        }

        error = "the message is not a JSON object";
        try
        {
            return StrictJson.Parse(payload.Span) as JsonObject;
        }
        catch (JsonException e)
        {
            error = $"the message is not JSON: {e.Message}";
            return null;
        }
    }
}
