namespace Edge.Protocol.Modbus;

/// <summary>Decides when a silent unit of a shared line is asked again, so that it costs the others little. Pure; one writer.</summary>
/// <remarks>A unit that did not answer a request with all its retries rests 4 times its time-out, twice as long after each further failure, at most
/// <see cref="RestMsMax"/>; after a rest it is asked once without retries. So it takes at most a fifth of the line's time at first, and a
/// thirtieth with a time-out of a second later. A unit alone on its line never rests: nobody waits for it.</remarks>
internal sealed class UnitRest
{
    public const long RestMsMax = 30_000;
    private readonly (int Failures, long UntilMs, string Reason)[] _units = new (int, long, string)[256];
    private readonly bool[] _seen = new bool[256];
    private int _seenCount;

    /// <summary>Milliseconds until the unit may be asked; 0 when it may now.</summary>
    public long Remaining(byte unit, long nowMs) => _seenCount > 1 ? Math.Max(0, _units[unit].UntilMs - nowMs) : 0;

    /// <summary>Why the unit rests.</summary>
    public string Reason(byte unit) => _units[unit].Reason ?? "";

    /// <summary>True when a request must not be repeated, because the unit was silent before.</summary>
    public bool IsProbe(byte unit) => _seenCount > 1 && _units[unit].Failures > 0;

    /// <summary>A request for this unit is about to be made.</summary>
    public void Ask(byte unit)
    {
        if (_seen[unit])
            return;
        _seen[unit] = true;
        _seenCount++;
    }

    public void Answered(byte unit) => _units[unit] = default;

    public void Failed(byte unit, long timeoutMs, long nowMs, string reason = "")
    {
        var failures = _units[unit].Failures + 1;
        var rest = Math.Min(RestMsMax, 4 * timeoutMs * (1L << Math.Min(failures - 1, 16)));
        _units[unit] = (failures, nowMs + rest, reason);
    }
}
