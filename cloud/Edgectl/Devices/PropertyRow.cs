namespace Edge.Ctl.Devices;

/// <summary>One line of <c>edgectl get devices</c>: a property of a device. Empty text is "there is none".</summary>
/// <param name="Namespace">The device's.</param>
/// <param name="Device">Its name.</param>
/// <param name="Node">The node that serves it.</param>
/// <param name="State">online, offline, ok, unhealthy, unknown: the mapper's word.</param>
/// <param name="Property">Empty in the one row of a device without properties.</param>
/// <param name="Type">Of the model: INT, FLOAT …</param>
/// <param name="Access">Of the model: ReadWrite or ReadOnly.</param>
/// <param name="Unit">Of the model.</param>
/// <param name="Desired">What the cloud wants.</param>
/// <param name="Observed">What the mapper says it wrote.</param>
/// <param name="Reported">What the mapper read.</param>
/// <param name="ReportedAt">When, by the clock of the mapper's machine.</param>
/// <param name="Problems">What is wrong: in a device's first row with the device, then with the property.</param>
/// <param name="DeviceProblems">How many of them are the device's.</param>
internal sealed record PropertyRow(
    string Namespace,
    string Device,
    string Node,
    string State,
    string Property,
    string Type,
    string Access,
    string Unit,
    string Desired,
    string Observed,
    string Reported,
    DateTimeOffset? ReportedAt,
    IReadOnlyList<string> Problems,
    int DeviceProblems = 0)
{
    private static readonly string[] s_none = [];

    public string Id => $"{Namespace}/{Device}";

    /// <summary>The mapper wrote something else than what is desired now: the change is on its way, or was refused.</summary>
    public bool IsBehind => Observed.Length > 0 && Desired.Length > 0 && !DeviceValue.Same(Type, Desired, Observed);

    public string ReportedWithUnit => Reported.Length > 0 && Unit.Length > 0 ? $"{Reported} {Unit}" : Reported;

    /// <summary>Whether a person sees a difference; that the same value was reported again is none.</summary>
    public bool LooksLike(PropertyRow other) => Plain(this) == Plain(other) && Problems.SequenceEqual(other.Problems);

    private static PropertyRow Plain(PropertyRow row) => row with { ReportedAt = null, Problems = s_none };
}
