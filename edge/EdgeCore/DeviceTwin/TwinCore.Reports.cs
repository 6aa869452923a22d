using System.Globalization;
using Edge.Protocol.Dmi.V1Beta1;
using Edge.Protocol.Grpc;

namespace Edge.Core.DeviceTwin;

/// <content>What mappers report: values, states, and their own silence.</content>
internal sealed partial class TwinCore
{
    /// <summary>A report that is older than the last one by at most this was overtaken by it.</summary>
    public const long LateMsMax = 60_000;

    /// <summary>When a device was there last is stored with what changes, and at least so often: after a restart it is known but for that.</summary>
    public const long OnlineStoreMs = 60_000;

    /// <summary>When <see cref="TwinInput.Tick"/> is due, ms since the epoch; null when nothing waits.</summary>
    public long? NextTickMs
    {
        get
        {
            long? window = TryFirstDue(out var sentMs) ? sentMs + windowMs : null;
            return TryFirstWithoutMapper(out var graceEndMs) && !(window < graceEndMs) ? graceEndMs : window;
        }
    }

    private void OnStatus(ReportDeviceStatusRequest request, long now, List<TwinOutput> outputs)
    {
        if (!TryFind(request.DeviceNamespace, request.DeviceName, outputs, out var device))
            return;
        var before = PublishesToApps ? new Dictionary<string, PropertyTwin>(device.Row.Properties) : null;
        foreach (var twin in request.ReportedDevice?.Twins ?? [])
            Report(device, twin, now, outputs);
        Settle(device, now, outputs);
        if (before is not null)
            AnnounceChanges(device, before, now, outputs);
        outputs.Add(new TwinOutput.Answer(new ReportDeviceStatusResponse()));
    }

    // Takes what it can of one property's report.
    private void Report(DeviceEntry device, Twin twin, long now, List<TwinOutput> outputs)
    {
        var known = device.Row.Properties.GetValueOrDefault(twin.PropertyName) ?? new PropertyTwin();
        if (!device.HasProperty(twin.PropertyName))
        {
            const string Reason = "neither the device nor its model has this property";
            outputs.Add(new TwinOutput.Dropped(device.Id, TwinValues.Cut(twin.PropertyName), Reason));
            if (twin.PropertyName.Length > 0)
                Complain(device, DeviceEntry.PropertyProblem + TwinValues.Cut(twin.PropertyName), $"property '{TwinValues.Cut(twin.PropertyName)}': {Reason}");
            return;
        }

        var next = known;
        if (twin.Reported is { } reported)
            next = Reported(device, twin.PropertyName, reported, known, now, outputs);

        // An empty message stands for "absent" with some mappers.
        if (twin.ObservedDesired is { } observed && (observed.Value.Length > 0 || observed.Metadata.Count > 0))
        {
            if (TwinValues.Refusal(observed.Value, null) is { } reason)
                outputs.Add(new TwinOutput.Dropped(device.Id, twin.PropertyName, $"observed desired {reason}"));
            else
                next = next with { Expected = observed.Value, ExpectedTimestampMs = Timestamp(observed, now) };
        }

        if (ReferenceEquals(next, known))
            return;
        device.Row.Properties[twin.PropertyName] = next;
        device.IsChanged |= next.Differs(known);
    }

    private PropertyTwin Reported(DeviceEntry device, string property, TwinProperty reported, PropertyTwin known, long now, List<TwinOutput> outputs)
    {
        var model = device.PropertyModel(property);
        var error = TwinValues.Cut(reported.Metadata.GetValueOrDefault("error", ""), TwinValues.ReasonLengthMax);
        var isUnread = error.Length > 0 && reported.Value.Length == 0;
        if (!isUnread && TwinValues.Refusal(reported.Value, model) is { } reason)
        {
            // The last good value stays, with the reason beside it.
            outputs.Add(new TwinOutput.Dropped(device.Id, property, reason));
            return known with { Error = reason };
        }

        var timestamp = Timestamp(reported, now);
        if (IsLate(timestamp, known.TimestampMs, now))
        {
            // A newer one overtook it: it is a sample of the past, not what the device says now.
            if (!isUnread && device.KeepsHistory(property))
                outputs.Add(new TwinOutput.SendSample(device.Namespace, device.Name, device.Uid, property, reported.Value, timestamp));
            return known;
        }

        var next = known with
        {
            Value = isUnread ? known.Value : reported.Value,
            Error = error,
            TimestampMs = isUnread && known.Value is not null ? known.TimestampMs : timestamp, // the value's own
            Type = reported.Metadata.TryGetValue("type", out var type) && type.Length > 0 ? TwinValues.Cut(type) : model?.Type.ToLowerInvariant() ?? "",
        };
        if (isUnread)
            return next;
        if (next.Value != known.Value)
            next = next with { EdgeVersion = known.EdgeVersion + 1 };
        if (device.KeepsHistory(property))
            outputs.Add(new TwinOutput.SendSample(device.Namespace, device.Name, device.Uid, property, reported.Value, next.TimestampMs));
        device.Row.LastOnlineMs = now;
        HeardOf(device);

        // A device that answers is there, whatever was thought of it; what its mapper said of it is another matter.
        if (device.Row.State is "" or "unknown")
            SetState(device, "online", now, outputs);
        return next;
    }

    // Not where the newer one is of the future, or newer by more than messages are late: then a clock was set back, and what comes now counts.
    private static bool IsLate(long timestamp, long newest, long now) => timestamp < newest && newest <= now && newest - timestamp <= LateMsMax;

    // Stores what changed, and sends it now or with the window.
    private void Settle(DeviceEntry device, long now, List<TwinOutput> outputs)
    {
        if (device.IsChanged || IsOnlineTimeDue(device))
            Store(device, outputs);
        device.IsTwinDue |= device.IsChanged || (device.Row.Properties.Count > 0 && now - device.TwinSentMs >= RefreshMs);
        device.IsChanged = false;
        if (!device.IsTwinDue)
            return;
        // A clock that was set back must not hold reports for as long.
        if (now - device.TwinSentMs >= windowMs || now < device.TwinSentMs)
            SendTwin(device, now, outputs);
        else
            Wait(device);
    }

    private static void Store(DeviceEntry device, List<TwinOutput> outputs)
    {
        device.OnlineStoredMs = device.Row.LastOnlineMs;
        outputs.Add(new TwinOutput.Persist(device.RowKey, TwinRows.WriteDevice(device.Row)));
    }

    // A device whose values stay as they are is there all the same. Either way: a clock may be set back.
    private static bool IsOnlineTimeDue(DeviceEntry device) => Math.Abs(device.Row.LastOnlineMs - device.OnlineStoredMs) >= OnlineStoreMs;

    // For the end of its window.
    private void Wait(DeviceEntry device)
    {
        if (_due.Add(device))
            _dueOrder.Enqueue(device, device.TwinSentMs);
    }

    // Of the devices that wait for the end of their window: when the one whose window ends first was sent.
    private bool TryFirstDue(out long sentMs)
    {
        while (_dueOrder.TryPeek(out var device, out sentMs))
        {
            if (device.TwinSentMs == sentMs && _due.Contains(device))
                return true;
            _dueOrder.Dequeue();
        }

        return false;
    }

    private void SendTwin(DeviceEntry device, long now, List<TwinOutput> outputs)
    {
        _due.Remove(device);
        device.IsTwinDue = false;
        device.TwinSentMs = now;
        var properties = new SortedList<string, PropertyTwin>(device.Row.Properties, StringComparer.Ordinal);
        List<string> problems = [.. device.Problems.Values];
        if (TwinPayload.Fit(properties) is { Count: > 0 } left)
        {
            problems.Add(TwinValues.Cut(
                $"{left.Count} of {device.Row.Properties.Count} properties are not reported, a DeviceStatus has room for {TwinPayload.TwinPropertiesMax} and {TwinPayload.TwinBytesMax} bytes: {string.Join(", ", left.Take(20))}",
                TwinValues.ReasonLengthMax));
        }

        outputs.Add(new TwinOutput.SendTwin(device.Namespace, device.Name, device.Uid, properties, problems));
    }

    private void OnTick(long now, List<TwinOutput> outputs)
    {
        // A clock that was set back has windows that end far in the future: all are looked at.
        if (now < _tickedMs)
        {
            foreach (var device in _due.Where(device => now - device.TwinSentMs >= windowMs || now < device.TwinSentMs).ToList())
                SendTwin(device, now, outputs);
        }

        _tickedMs = now;
        TellOfMissingMappers(now, outputs);
        while (TryFirstDue(out var sentMs) && now - sentMs >= windowMs)
            SendTwin(_dueOrder.Peek(), now, outputs);
    }

    private void OnState(ReportDeviceStatesRequest request, long now, List<TwinOutput> outputs)
    {
        if (!TryFind(request.DeviceNamespace, request.DeviceName, outputs, out var device))
            return;
        var state = request.State.ToLowerInvariant();
        if (!IsState(state))
        {
            outputs.Add(new TwinOutput.Refuse(
                GrpcStatusCode.InvalidArgument, $"state '{request.State}' of device {device.Id} must be online, offline, ok, unknown or unhealthy"));
            return;
        }

        device.Row.MapperState = state;
        HeardOf(device);
        SetState(device, state, now, outputs);
        if (device.IsChanged)
            Settle(device, now, outputs);
        outputs.Add(new TwinOutput.Answer(new ReportDeviceStatesResponse()));
    }

    private static bool IsState(string state) => state is "online" or "offline" or "ok" or "unknown" or "unhealthy";

    // A change goes up at once.
    private static void SetState(DeviceEntry device, string state, long now, List<TwinOutput> outputs)
    {
        var changed = state != device.Row.State;
        device.Row.State = state;
        if (state is "online" or "ok")
            device.Row.LastOnlineMs = now;
        if (changed || IsOnlineTimeDue(device))
            Store(device, outputs);
        if (!changed && now - device.StateSentMs < RefreshMs)
            return;
        device.StateSentMs = now;
        outputs.Add(new TwinOutput.SendState(device.Namespace, device.Name, device.Uid, state, device.Row.LastOnlineMs));
    }

    private static void Complain(DeviceEntry device, string key, string problem) => device.IsChanged |= Say(device, key, problem);

    // An empty problem is over. True where what the cloud has heard is no longer so.
    private static bool Say(DeviceEntry device, string key, string problem)
    {
        if (problem.Length == 0)
            return device.Problems.Remove(key);
        if (device.Problems.GetValueOrDefault(key) == problem || (device.Problems.Count >= ProblemsMax && key.Contains('/') && !device.Problems.ContainsKey(key)))
            return false;
        device.Problems[key] = problem;
        return true;
    }

    private static long Timestamp(TwinProperty property, long now)
        => property.Metadata.TryGetValue("timestamp", out var text) && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var stamp) ? stamp : now;
}
