using System.Globalization;
using Edge.Devices.Push;
using Edge.Protocol.Dmi;
using Edge.Protocol.Dmi.V1Beta1;

namespace Edge.Devices;

/// <summary>One property of a running device: when it is due, what was read, what is still to be written or reported. No I/O, no clock.</summary>
internal sealed class PropertyState
{
    private const long CycleMsDefault = 1000;
    private const long CycleMsMin = 10;

    // Samples of the same moment are told apart by a millisecond; a clock that was set back by more than this is believed.
    private const long BehindMsMax = 1000;
    private SampleQueue<(string Value, long Ms)>? _samples; // for EdgeCore; null without a history
    private string? _sampled; // the newest of them since the last report

    public PropertyState(DeviceProperty property, ModelProperty? model, long nowMs)
    {
        Property = property;
        var problems = new List<string>();
        Info = new PropertyInfo(
            property.Name,
            model?.Type.ToLowerInvariant() ?? "",
            model is null || model.AccessMode.Equals("ReadWrite", StringComparison.OrdinalIgnoreCase),
            model?.Minimum ?? "",
            model?.Maximum ?? "",
            property.Visitors?.ProtocolName ?? "",
            DmiConvert.ToJson(property.Visitors?.ConfigData, problems),
            property.KeepHistory);
        _samples = property.KeepHistory && property.ReportToCloud ? new() : null;
        ReportCycleMs = Math.Max(CycleMsMin, property.ReportCycle > 0 ? property.ReportCycle : CycleMsDefault);
        CollectCycleMs = Math.Max(CycleMsMin, property.CollectCycle > 0 ? property.CollectCycle : ReportCycleMs);
        NextCollectMs = nowMs;
        NextReportMs = nowMs;
        var deadband = DmiConvert.Text(Info.Visitor, "deadband");
        if (deadband.Length > 0)
        {
            if (double.TryParse(deadband, NumberStyles.Float, CultureInfo.InvariantCulture, out var width) && width >= 0)
                Deadband = width;
            else
                problems.Add($"configData.deadband is {deadband}, must be a number from 0 on");
        }

        Refusal = problems.Count > 0 ? $"visitor {string.Join("; ", problems)}" : model is null ? $"the model has no property '{property.Name}'" : "";
        if (property.Desired is { Value.Length: > 0 } desired)
            Desired = desired.Value;
    }

    public DeviceProperty Property { get; }

    public PropertyInfo Info { get; }

    public long CollectCycleMs { get; }

    public long ReportCycleMs { get; }

    public IPropertyAccess? Access { get; set; }

    /// <summary>Why the property is not served at all; empty when it is.</summary>
    public string Refusal { get; set; }

    /// <summary>The value that the cloud wants; null when it wants none.</summary>
    public string? Desired { get; }

    /// <summary>The desired value is not on the device yet.</summary>
    public bool WritePending { get; set; }

    public long NextWriteMs { get; set; }

    public long NextCollectMs { get; set; }

    public long NextReportMs { get; set; }

    public string? Value { get; set; }

    public long ValueMs { get; set; }

    /// <summary>Why the last read or write failed; empty when it did not.</summary>
    public string Error { get; set; } = "";

    public string WriteError { get; set; } = "";

    /// <summary>Why samples are not pushed; empty when they are, or need not be.</summary>
    public string PushError { get; set; } = "";

    /// <summary>Where samples go.</summary>
    public IReadOnlyList<PushQueue> Targets { get; set; } = [];

    public string? Observed { get; set; }

    public long ObservedMs { get; set; }

    /// <summary>How far a value must have moved from the one last reported to be reported again; null when each collected value is reported.</summary>
    public double? Deadband { get; }

    /// <summary>The value that EdgeCore has; null when it has none.</summary>
    public string? ReportedValue { get; private set; }

    /// <summary>There is something that EdgeCore has not got.</summary>
    public bool Dirty { get; set; }

    // Of the value that EdgeCore has.
    private long ReportedMs { get; set; }

    // The error is that the device is away.
    private bool IsLost { get; set; }

    /// <summary>Samples were lost since the last report.</summary>
    public bool IsLosing { get; set; }

    /// <summary>Samples that wait for the next report, and their characters.</summary>
    public (int Count, int Size) Waiting => (_samples?.Count ?? 0, _samples?.Size ?? 0);

    /// <summary>Takes over what is known of the same property before its manifest changed.</summary>
    public void Inherit(PropertyState old)
    {
        Value = old.Value;
        ValueMs = old.ValueMs;
        ReportedValue = old.ReportedValue;
        ReportedMs = old.ReportedMs;
        Error = old.Error;
        IsLost = old.IsLost;
        Observed = old.Observed;
        ObservedMs = old.ObservedMs;
        if (_samples is null || old._samples is not { Count: > 0 })
            return;
        (_samples, _sampled) = (old._samples, old._sampled);
        Dirty = true;
    }

    /// <summary>Takes a value that was read, or that came at <paramref name="atMs"/>. With a history it waits for the next report as a sample; where half of the room is taken, that is due.</summary>
    /// <returns>How many older samples are lost: EdgeCore has taken no report for so long.</returns>
    public int Collected(string value, long atMs)
    {
        if (_samples is not null && Value is not null && atMs <= ValueMs && ValueMs - atMs < BehindMsMax)
            atMs = ValueMs + 1;
        (Value, ValueMs) = (value, atMs);
        var isNews = Property.ReportToCloud && HasMoved(value);
        Dirty |= isNews || (Property.ReportToCloud && Error.Length > 0);
        if (IsLost)
            NextReportMs = 0; // that the device is back is told at once, as it was that it went
        IsLost = false;
        Error = "";
        if (_samples is null || !isNews)
            return 0;
        _sampled = value;
        var dropped = _samples.Add((value, atMs), value.Length);
        if (_samples.IsHalfFull)
            NextReportMs = 0;
        return dropped;
    }

    /// <summary>The device went away: its reason is the property's error until a value comes, and the value stays that of the last good reading.</summary>
    public void Lost(string reason)
    {
        if (Access is null || (IsLost && Error == reason))
            return;
        (Error, IsLost) = (reason, true);
        Dirty |= Property.ReportToCloud;
        (NextCollectMs, NextReportMs) = (0, 0);
    }

    /// <summary>EdgeCore took the report.</summary>
    public void Reported(long nowMs)
    {
        Dirty = false;
        ReportedValue = Value;
        ReportedMs = ValueMs;
        _samples?.TakeAll();
        _sampled = null;
        IsLosing = false;
        NextReportMs = nowMs + ReportCycleMs;
    }

    private bool HasMoved(string value)
    {
        if (Deadband is not { } width || (_sampled ?? ReportedValue) is not { } last)
            return true;
        if (double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var now)
            && double.TryParse(last, NumberStyles.Float, CultureInfo.InvariantCulture, out var before))
        {
            return !(Math.Abs(now - before) <= width);
        }

        return value != last;
    }

    /// <summary>Why <paramref name="value"/> must not be written; null when it may.</summary>
    public string? DesiredRefusal(string value)
    {
        if (!Info.Writable)
            return $"desired value {value} is not written: the model's accessMode is ReadOnly";
        if (Info.Type is not ("int" or "float" or "double") || !double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var number))
            return null;
        if (double.TryParse(Info.Minimum, NumberStyles.Float, CultureInfo.InvariantCulture, out var minimum) && !(number >= minimum))
            return $"desired value {value} is not written: it is below the model's minimum {Info.Minimum}";
        if (double.TryParse(Info.Maximum, NumberStyles.Float, CultureInfo.InvariantCulture, out var maximum) && !(number <= maximum))
            return $"desired value {value} is not written: it is above the model's maximum {Info.Maximum}";
        return null;
    }

    /// <summary>The reports of this property: samples that wait, oldest first, and what is so now.</summary>
    public IEnumerable<Twin> ToTwins(long nowMs)
    {
        foreach (var (value, ms) in _samples?.Waiting ?? [])
        {
            // The newest is what is so now, if need be with the reason of a read that failed since.
            if (ms != ValueMs || Refusal.Length > 0)
                yield return new Twin { PropertyName = Info.Name, Reported = ToProperty(value, ms) };
        }

        yield return ToTwin(nowMs);
    }

    /// <summary>The report of this property. Without a good reading since the last one it has no value, but the reason and the last good reading's time: EdgeCore
    /// keeps the value that it has.</summary>
    /// <param name="whole">The last good reading goes with the reason in any case, for who has none yet.</param>
    public Twin ToTwin(long nowMs, bool whole = false)
    {
        var twin = new Twin { PropertyName = Info.Name };
        var error = Refusal.Length > 0 ? Refusal : Error.Length > 0 ? Error : WriteError.Length > 0 ? WriteError : PushError;
        if (Value is not null || error.Length > 0)
        {
            // A failed write, or a read that failed later, makes what was read no less true: then the value goes up with the error beside it.
            var goesUp = Value is not null && (whole || (Refusal.Length == 0 && (Error.Length == 0 || (Property.ReportToCloud && ValueMs > ReportedMs))));
            twin.Reported = ToProperty(goesUp ? Value! : "", Value is null ? nowMs : ValueMs);
            if (error.Length > 0)
                twin.Reported.Metadata["error"] = error;
        }

        if (Observed is not null)
            twin.ObservedDesired = ToProperty(Observed, ObservedMs);
        return twin;
    }

    private TwinProperty ToProperty(string value, long stamp) => new()
    {
        Value = value,
        Metadata = { ["timestamp"] = stamp.ToString(CultureInfo.InvariantCulture), ["type"] = Info.Type },
    };
}
