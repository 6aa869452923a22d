using System.Diagnostics;
using Edge.Common.Tracing;

namespace Edge.Core.DeviceTwin;

/// <summary>Follows a change of a device through the twin: the calls to its mapper that come of it, and the first report of the device after it. The twin's loop alone uses it.</summary>
internal sealed class TwinTraces
{
    // Devices whose change was in a trace and that have reported nothing since; beyond, a report is in no trace.
    private const int DevicesMax = 256;

    private readonly Dictionary<string, string> _changed = [];
    private readonly Dictionary<string, string> _reports = [];

    /// <summary>Tells what <paramref name="input"/> came to: the outputs from place <paramref name="from"/> on.</summary>
    public void Follow(TwinInput input, string? trace, List<TwinOutput> outputs, int from)
    {
        if (trace is not null && input is TwinInput.ObjectChanged changed)
        {
            using var span = EdgeTrace.Continue("change twin", ActivityKind.Internal, trace);
            span?.SetTag("edge.resource", $"{changed.Type}/{changed.Namespace}/{changed.Name}");
            if (span?.Id is not { } id)
                return;
            for (var i = from; i < outputs.Count; i++)
            {
                if (outputs[i] is TwinOutput.Deliver deliver)
                    outputs[i] = deliver with { Call = deliver.Call with { Trace = id } };
            }

            if (_changed.Count < DevicesMax)
                _changed[$"{changed.Namespace}/{changed.Name}"] = id;
        }
        else if (_changed.Count > 0 && input is TwinInput.ReportStatus(var request, _) && _changed.Remove($"{request.DeviceNamespace}/{request.DeviceName}", out var change))
        {
            using var span = EdgeTrace.Continue("report", ActivityKind.Server, change);
            if (span?.Id is { } id)
                _reports[$"{request.DeviceNamespace}/{request.DeviceName}"] = id;
        }
    }

    /// <summary>The trace that the device's next message to the cloud is in; null when it is in none.</summary>
    public string? TakeReport(string @namespace, string name) => _reports.Count > 0 && _reports.Remove($"{@namespace}/{name}", out var trace) ? trace : null;
}
