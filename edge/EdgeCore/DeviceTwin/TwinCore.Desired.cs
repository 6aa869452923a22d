using System.Globalization;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;

namespace Edge.Core.DeviceTwin;

/// <content>
/// Desired values: the cloud's, and those that applications at this edge set. The later one counts: by their timestamps where both have one (<c>desired.metadata.timestamp</c> of the Device,
/// <c>expected.metadata.timestamp</c> of the application, ms since the epoch; one of the future counts as now), else by their arrival here. Who loses is told, with both versions.
/// </content>
internal sealed partial class TwinCore
{
    // Compares what the cloud desires with what it desired before, and lays this edge's own values over what it left as it was. Values of properties that are gone go.
    private void TakeDesired(DeviceEntry device, long now, List<TwinOutput> outputs)
    {
        var before = PublishesToApps ? new Dictionary<string, PropertyTwin>(device.Row.Properties) : [];
        _ = long.TryParse(DmiConvert.Text(DmiConvert.Get(device.Object, "metadata"), "resourceVersion"), out var version);
        var changed = false;
        var isToldUp = false;
        foreach (var property in device.Message!.Spec.Properties)
        {
            var known = device.Row.Properties.GetValueOrDefault(property.Name) ?? new PropertyTwin();
            var model = device.PropertyModel(property.Name);
            var next = known;
            var cloud = property.Desired?.Value;
            var refusal = Refused(property.Name, cloud, model);
            if (refusal.Length == 0 && cloud != known.CloudDesired)
            {
                // One that stayed as it was while the value changed is not this value's.
                var said = property.Desired is null ? 0 : SetAt(property.Desired.Metadata.GetValueOrDefault("timestamp", ""), long.MaxValue);
                next = FromCloud(known, cloud, version, said == known.CloudTimestampMs ? 0 : Math.Min(said, now)) with { CloudTimestampMs = said };
                if (next.Conflict.Length > 0)
                    outputs.Add(new TwinOutput.Conflict(device.Id, property.Name, next.Conflict));
                changed = true;
            }

            // What stood before stays, where the model (which may be new) still allows it.
            if (refusal.Length > 0 || next.IsDesiredHere)
            {
                var standing = Refused(property.Name, next.Desired, model);
                property.Desired = next.Desired is null || standing.Length > 0 ? null : new TwinProperty { Value = next.Desired };
                if (refusal.Length == 0)
                    refusal = standing;
            }

            next = next with { Refused = refusal };
            isToldUp |= Say(device, DeviceEntry.DesiredProblem + property.Name, refusal) | next.Differs(known);
            if (next != known)
                device.Row.Properties[property.Name] = next;
        }

        foreach (var name in device.Row.Properties.Keys.Where(name => !device.HasProperty(name)).ToList())
        {
            changed = isToldUp = true;
            device.Row.Properties.Remove(name);
        }

        foreach (var key in device.Problems.Keys.Where(key => key.StartsWith(DeviceEntry.DesiredProblem, StringComparison.Ordinal)).ToList())
        {
            if (device.Message.Spec.Properties.All(one => one.Name != key[DeviceEntry.DesiredProblem.Length..]))
                isToldUp |= device.Problems.Remove(key);
        }

        if (changed)
        {
            Store(device, outputs);
            AnnounceChanges(device, before, now, outputs);
        }

        foreach (var property in device.PropertyProblems().Where(device.HasProperty).ToList())
            isToldUp |= device.Problems.Remove(DeviceEntry.PropertyProblem + property);
        if (!isToldUp)
            return;
        device.IsTwinDue = true;
        Settle(device, now, outputs);
    }

    // Why a desired value does not go to the mapper; empty where it does. An empty value desires nothing.
    private static string Refused(string property, string? desired, ModelProperty? model)
        => desired is { Length: > 0 } && TwinValues.DesiredRefusal(desired, model) is { } reason ? $"property '{property}': the desired value '{TwinValues.Cut(desired)}' is not written: {reason}" : "";

    private static PropertyTwin FromCloud(PropertyTwin known, string? cloud, long version, long timestamp)
    {
        var next = known with { CloudDesired = cloud, DesiredCloudVersion = version, Conflict = "" };
        var wins = !(known.IsDesiredHere && timestamp > 0 && timestamp < known.DesiredTimestampMs);
        if (known.IsDesiredHere && known.Desired != cloud)
        {
            var theirs = $"the cloud's desired '{TwinValues.Cut(cloud)}' (version {version}{(timestamp > 0 ? $", set at {timestamp}" : "")})";
            var ours = $"'{TwinValues.Cut(known.Desired)}' of this edge (version {known.DesiredEdgeVersion}, set at {known.DesiredTimestampMs})";
            next = next with { Conflict = wins ? $"{theirs} replaced {ours}" : $"{theirs} is older than {ours}, which stays" };
        }

        return wins ? next with { Desired = cloud, IsDesiredHere = false, DesiredTimestampMs = timestamp } : next;
    }

    // ms since the epoch; 0 where it is not said. A clock that is ahead must not win for as long as it is.
    private static long SetAt(string text, long now)
        => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var timestamp) ? Math.Min(timestamp, now) : 0;

    /// <summary>An application at this edge desires a value. Returns why it cannot, or null.</summary>
    /// <param name="cloudVersion">The cloud's version that it has seen; null where it does not say.</param>
    /// <param name="timestamp">When it was desired, as the application says it; empty where it does not.</param>
    private string? DesireHere(DeviceEntry device, string name, string value, long? cloudVersion, string timestamp, long now, List<TwinOutput> outputs)
    {
        if (device.Message is null)
            return $"device {device.Id} waits for its model";
        if (TwinValues.DesiredRefusal(value, device.PropertyModel(name)) is { } refusal)
            return $"property '{name}': {refusal}";
        if (device.Message.Spec.Properties.All(one => one.Name != name))
            return $"property '{name}': the device does not say how it is reached (no visitors)";
        var known = device.Row.Properties.GetValueOrDefault(name) ?? new PropertyTwin();
        if (cloudVersion is { } seen && seen < known.DesiredCloudVersion)
            return $"property '{name}': version conflict, the cloud desired '{TwinValues.Cut(known.CloudDesired)}' with version {known.DesiredCloudVersion} since version {seen}";
        var setAt = SetAt(timestamp, now);
        if (setAt > 0 && setAt < known.DesiredTimestampMs)
        {
            var whose = known.IsDesiredHere ? $"this edge desired '{TwinValues.Cut(known.Desired)}' with version {known.DesiredEdgeVersion}" : $"the cloud desired '{TwinValues.Cut(known.Desired)}' with version {known.DesiredCloudVersion}";
            var conflict = $"property '{name}': version conflict, {whose} at {known.DesiredTimestampMs}, which is later than '{TwinValues.Cut(value)}' (after version {known.DesiredEdgeVersion} of this edge, set at {setAt})";
            outputs.Add(new TwinOutput.Conflict(device.Id, name, conflict));
            return conflict;
        }

        var next = known with { Desired = value, IsDesiredHere = true, DesiredEdgeVersion = known.DesiredEdgeVersion + 1, DesiredTimestampMs = setAt > 0 ? setAt : now, Conflict = "" };

        // Who desired something else at the cloud hears that it does not stand.
        if (known.CloudDesired is { Length: > 0 } && known.CloudDesired != value)
        {
            next = next with
            {
                Conflict = $"'{TwinValues.Cut(value)}' of this edge (version {next.DesiredEdgeVersion}, set at {next.DesiredTimestampMs}) replaced the cloud's desired '{TwinValues.Cut(known.CloudDesired)}' (version {known.DesiredCloudVersion})",
            };
            outputs.Add(new TwinOutput.Conflict(device.Id, name, next.Conflict));
        }

        device.Row.Properties[name] = next;
        device.IsChanged = true;

        // A new message: those that hold the old one compare it with this.
        device.Message = device.Message.Clone();
        device.Message.Spec.Properties.First(one => one.Name == name).Desired = new TwinProperty { Value = value };
        foreach (var mapper in MappersOf(device.Protocol))
            outputs.Add(new TwinOutput.Deliver(mapper, new MapperCall(false, device.Namespace, device.Name, device.Message)));
        return null;
    }
}
