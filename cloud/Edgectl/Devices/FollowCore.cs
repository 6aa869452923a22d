using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Ctl.Devices;

internal enum FollowStage
{
    /// <summary>Stored at the API, nothing seen of it yet.</summary>
    Desired,

    /// <summary>The mapper says that it wrote it.</summary>
    Observed,

    /// <summary>The mapper read it back.</summary>
    Reported,

    /// <summary>Only in steps: the mapper has told of a problem; its text is the step's value.</summary>
    Problem,
}

/// <summary>A step that a value has made on its way.</summary>
/// <param name="Property">Whose.</param>
/// <param name="Stage">How far it is now.</param>
/// <param name="Value">As the mapper wrote or read it, which may be rounded.</param>
internal sealed record FollowStep(string Property, FollowStage Stage, string Value);

/// <summary>Follows desired values to the device and back: sees each state of the DeviceStatus, says what is new in it. No I/O, no clock.</summary>
/// <remarks>A value counts as observed when the mapper's entry is another one than before the change: the same value may have been written last week. Reported counts when it is
/// observed and the value is the desired one, or, for mappers that do not tell what they wrote, when the reported entry is another one than before.</remarks>
internal sealed class FollowCore
{
    private readonly Dictionary<string, Track> _tracks = [];

    /// <param name="device">Before the change.</param>
    /// <param name="model">Its model.</param>
    /// <param name="status">Before the change; null when there is none.</param>
    /// <param name="wanted">What is to arrive.</param>
    public FollowCore(JsonObject device, JsonObject model, JsonObject? status, IEnumerable<Wanted> wanted)
    {
        foreach (var one in wanted)
        {
            var property = device.Items("spec", "properties").FirstOrDefault(item => item.Text("name") == one.Property);
            var definition = model.Items("spec", "properties").FirstOrDefault(item => item.Text("name") == one.Property);
            var twin = TwinOf(status, one.Property);
            _tracks[one.Property] = new Track(
                one.Value,
                definition.Text("type"),
                DeviceValue.Tolerance(property, definition),
                IsChanged: property.Text("desired", "value") != one.Value,
                Entry(twin.At("observedDesired")),
                Entry(twin.At("reported")))
            {
                Error = twin.Text("reported", "metadata", "error"),
            };
        }
    }

    public bool IsDone => _tracks.Values.All(track => track.Stage == FollowStage.Reported);

    /// <summary>How far each has come, in the order given.</summary>
    public IEnumerable<(string Property, string Value, FollowStage Stage)> Stages => _tracks.Select(one => (one.Key, one.Value.Value, one.Value.Stage));

    public void Step(JsonObject? status, List<FollowStep> steps)
    {
        foreach (var (name, track) in _tracks)
        {
            if (track.Stage == FollowStage.Reported)
                continue;
            var twin = TwinOf(status, name);
            var (observed, reported) = (twin.At("observedDesired"), twin.At("reported"));
            if (track.Stage == FollowStage.Desired && DeviceValue.Same(track.Type, track.Value, observed.Text("value"), track.Tolerance)
                && (!track.IsChanged || Entry(observed) != track.ObservedBefore))
            {
                track.Stage = FollowStage.Observed;
                steps.Add(new FollowStep(name, FollowStage.Observed, observed.Text("value")));
            }

            var error = reported.Text("metadata", "error");
            if (error != track.Error && error.Length > 0)
                steps.Add(new FollowStep(name, FollowStage.Problem, error));
            track.Error = error;
            var isFresh = track.Stage == FollowStage.Observed || !track.IsChanged || Entry(reported) != track.ReportedBefore;
            if (isFresh && error.Length == 0 && DeviceValue.Same(track.Type, track.Value, reported.Text("value"), track.Tolerance))
            {
                track.Stage = FollowStage.Reported;
                steps.Add(new FollowStep(name, FollowStage.Reported, reported.Text("value")));
            }
        }
    }

    private static JsonObject? TwinOf(JsonObject? status, string property) => status.Items("status", "twins").FirstOrDefault(one => one.Text("propertyName") == property);

    private static string Entry(JsonNode? side) => $"{side.Text("metadata", "timestamp")}|{side.Text("value")}";

    private sealed record Track(string Value, string Type, double Tolerance, bool IsChanged, string ObservedBefore, string ReportedBefore)
    {
        public FollowStage Stage { get; set; }

        public string Error { get; set; } = "";
    }
}
