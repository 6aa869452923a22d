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
            DmiConvert.ToJson(property.Visitors?.ConfigData, problems));
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
    }

    /// <summary>Takes a value that was read.</summary>
    public void Collected(string value, long nowMs)
    {
        (Value, ValueMs) = (value, nowMs);
        Dirty |= Property.ReportToCloud && (Error.Length > 0 || HasMoved(value));
        if (IsLost)
            NextReportMs = 0; // that the device is back is told at once, as it was that it went
        IsLost = false;
        Error = "";
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
        NextReportMs = nowMs + ReportCycleMs;
    }

    private bool HasMoved(string value)
    {
        if (Deadband is not { } width || ReportedValue is null)
            return true;
        if (double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var now)
            && double.TryParse(ReportedValue, NumberStyles.Float, CultureInfo.InvariantCulture, out var before))
        {
            return !(Math.Abs(now - before) <= width);
        }

        return value != ReportedValue;
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
