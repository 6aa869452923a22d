using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Devices;

/// <summary>What changed, in the words of the tables.</summary>
internal enum TraceKind
{
    Desired,
    Observed,
    Reported,
    Error,
    State,
    Problem,
    Deleted,
}

/// <summary>One line of a trace.</summary>
/// <param name="Seen">When the change was seen here.</param>
/// <param name="Property">Empty for what is the device's.</param>
/// <param name="Kind">What changed.</param>
/// <param name="From">The value before; empty when there was none.</param>
/// <param name="To">The value now.</param>
/// <param name="MapperTime">The mapper's own time of the value, by its clock; null when it gives none.</param>
/// <param name="SinceDesired">For the first observed and reported value that is the desired one: the time since the desired value was seen to change. Null else.</param>
/// <param name="IsFirst">It was so when the trace began.</param>
internal sealed record TraceLine(DateTimeOffset Seen, string Property, TraceKind Kind, string From, string To, DateTimeOffset? MapperTime, TimeSpan? SinceDesired, bool IsFirst)
{
    /// <summary>From the mapper's time to the time seen; the difference of the two clocks is in it. Null without a mapper's time, and for what was so before.</summary>
    public TimeSpan? Age => IsFirst ? null : Seen - MapperTime;
}

/// <summary>Turns the states of a Device and its DeviceStatus into lines of what changed, and keeps figures for the summary. No I/O, no clock.</summary>
/// <param name="model">For types; null when there is none.</param>
/// <param name="only">The properties to follow; empty for all.</param>
internal sealed class TraceCore(JsonObject? model, IReadOnlyCollection<string> only)
{
    private readonly SortedDictionary<string, PropertyTrace> _properties = new(StringComparer.Ordinal);
    private bool _deviceSeen;
    private bool _statusSeen;
    private string _state = "";
    private string _problems = "";

    /// <summary>The figures so far, by name of the property.</summary>
    public IReadOnlyList<TraceFigures> Figures => [.. _properties.Select(one => one.Value.ToFigures(one.Key))];

    /// <summary>The Device as it is now; null when it is gone.</summary>
    public void Device(JsonObject? device, DateTimeOffset seen, List<TraceLine> lines)
    {
        if (device is null)
        {
            if (_deviceSeen)
                lines.Add(new TraceLine(seen, "", TraceKind.Deleted, "", "", null, null, false));
            return;
        }

        foreach (var property in device.Items("spec", "properties"))
        {
            var name = property.Text("name");
            var desired = property.Text("desired", "value");
            if (!IsFollowed(name))
                continue;
            var trace = Of(name);
            trace.Tolerance = DeviceValue.Tolerance(property, null);
            if (desired == trace.Desired)
                continue;
            lines.Add(new TraceLine(seen, name, TraceKind.Desired, trace.Desired, desired, null, null, !_deviceSeen));
            if (_deviceSeen)
                trace.DesiredChanged(seen);
            trace.Desired = desired;
        }

        _deviceSeen = true;
    }

    /// <summary>The DeviceStatus as it is now; null when there is none.</summary>
    public void Status(JsonObject? status, DateTimeOffset seen, List<TraceLine> lines)
    {
        var first = !_statusSeen;
        _statusSeen = true;
        if (status is null)
            return;
        Changed(TraceKind.State, ref _state, status.Text("status", "state"));
        Changed(TraceKind.Problem, ref _problems, string.Join("; ", status.Texts("status", "extensions", "problems").Where(text => text.Length > 0)));
        foreach (var twin in status.Items("status", "twins"))
        {
            var name = twin.Text("propertyName");
            if (IsFollowed(name))
                Twin(name, twin, seen, first, lines);
        }

        void Changed(TraceKind kind, ref string before, string now)
        {
            if (before == now)
                return;
            lines.Add(new TraceLine(seen, "", kind, before, now, null, null, first));
            before = now;
        }
    }

    private void Twin(string name, JsonObject twin, DateTimeOffset seen, bool first, List<TraceLine> lines)
    {
        var trace = Of(name);
        var (observed, reported) = (twin.At("observedDesired"), twin.At("reported"));
        if (observed.Text("value") is var wrote && (wrote != trace.Observed || trace.AwaitsObserved) && Entry(observed) is var observedEntry && observedEntry != trace.ObservedEntry)
        {
            lines.Add(new TraceLine(seen, name, TraceKind.Observed, trace.Observed, wrote, DeviceValue.Stamp(observed), trace.Arrived(FollowStage.Observed, wrote, seen), first));
            trace.Observed = wrote;
            trace.ObservedEntry = observedEntry;
        }

        var entry = Entry(reported);
        if (entry == trace.ReportedEntry)
            return;
        var stamp = DeviceValue.Stamp(reported);
        var (value, error) = (reported.Text("value"), reported.Text("metadata", "error"));
        var since = error.Length == 0 ? trace.Arrived(FollowStage.Reported, value, seen) : null;
        if (!first)
            trace.Report(stamp, seen, isChange: value != trace.Reported, isError: error.Length > 0 && error != trace.Error);
        trace.LastStamp = stamp;
        if (value != trace.Reported || since is not null)
            lines.Add(new TraceLine(seen, name, TraceKind.Reported, trace.Reported, value, stamp, since, first));
        if (error != trace.Error)
            lines.Add(new TraceLine(seen, name, TraceKind.Error, trace.Error, error, stamp, null, first));
        (trace.ReportedEntry, trace.Reported, trace.Error) = (entry, value, error);
    }

    private bool IsFollowed(string property) => property.Length > 0 && (only.Count == 0 || only.Contains(property));

    private PropertyTrace Of(string name)
    {
        if (!_properties.TryGetValue(name, out var trace))
            _properties[name] = trace = new PropertyTrace(model.Items("spec", "properties").FirstOrDefault(one => one.Text("name") == name).Text("type"));
        return trace;
    }

    private static string Entry(JsonNode? side) => $"{side.Text("metadata", "timestamp")}|{side.Text("metadata", "error")}|{side.Text("value")}";
}
