using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;

namespace Edge.Core.DeviceTwin;

/// <content>Desired values: the cloud's, and those that applications at this edge set. The later one counts, and where it replaces one that the other side did not know, both are told.</content>
internal sealed partial class TwinCore
{
    // Compares what the cloud desires with what it desired before, and lays this edge's own values over what it left as it was.
    private void TakeDesired(DeviceEntry device, long now, List<TwinOutput> outputs)
    {
        var before = PublishesToApps ? new Dictionary<string, PropertyTwin>(device.Row.Properties) : [];
        _ = long.TryParse(DmiConvert.Text(DmiConvert.Get(device.Object, "metadata"), "resourceVersion"), out var version);
        var changed = false;
        foreach (var property in device.Message!.Spec.Properties)
        {
            var known = device.Row.Properties.GetValueOrDefault(property.Name) ?? new PropertyTwin();
            var cloud = property.Desired?.Value;
            if (cloud == known.CloudDesired)
            {
                if (known.IsDesiredHere)
                    property.Desired = new TwinProperty { Value = known.Desired };
                continue;
            }

            var conflict = "";
            if (known.IsDesiredHere && known.Desired != cloud)
            {
                conflict = $"the cloud's desired '{cloud}' (version {version}) replaced '{known.Desired}' of this edge (version {known.DesiredEdgeVersion}, set at {known.DesiredTimestampMs})";
                outputs.Add(new TwinOutput.Conflict(device.Id, property.Name, conflict));
            }

            device.Row.Properties[property.Name] = known with
            {
                CloudDesired = cloud, Desired = cloud, IsDesiredHere = false, DesiredCloudVersion = version, Conflict = conflict,
            };
            changed = true;
        }

        if (changed)
        {
            outputs.Add(new TwinOutput.Persist(device.RowKey, TwinRows.WriteDevice(device.Row)));
            AnnounceChanges(device, before, now, outputs);
        }

        foreach (var property in device.Problems.Keys.Where(device.HasProperty).ToList())
            device.Problems.Remove(property);
    }

    /// <summary>An application at this edge desires a value. Returns why it cannot, or null.</summary>
    private string? DesireHere(DeviceEntry device, string name, string value, long? cloudVersion, long now, List<TwinOutput> outputs)
    {
        if (device.Message is null)
            return $"device {device.Id} waits for its model";
        if (TwinValues.DesiredRefusal(value, device.PropertyModel(name)) is { } refusal)
            return $"property '{name}': {refusal}";
        if (device.Message.Spec.Properties.All(one => one.Name != name))
            return $"property '{name}': the device does not say how it is reached (no visitors)";
        var known = device.Row.Properties.GetValueOrDefault(name) ?? new PropertyTwin();
        if (cloudVersion is { } seen && seen < known.DesiredCloudVersion)
            return $"property '{name}': version conflict, the cloud desired '{known.CloudDesired}' with version {known.DesiredCloudVersion} since version {seen}";
        device.Row.Properties[name] = known with
        {
            Desired = value, IsDesiredHere = true, DesiredEdgeVersion = known.DesiredEdgeVersion + 1, DesiredTimestampMs = now, Conflict = "",
        };
        device.IsChanged = true;

        // A new message: those that hold the old one compare it with this.
        device.Message = device.Message.Clone();
        device.Message.Spec.Properties.First(one => one.Name == name).Desired = new TwinProperty { Value = value };
        foreach (var mapper in MappersOf(device.Protocol))
            outputs.Add(new TwinOutput.Deliver(mapper, new MapperCall(false, device.Namespace, device.Name, device.Message)));
        return null;
    }
}
