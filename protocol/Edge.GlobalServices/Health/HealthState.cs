namespace Edge.GlobalServices.Health;

/// <summary>The health of one target. Pure: time comes as milliseconds that never go back, on any clock.</summary>
/// <remarks><code>
/// state     success                    failure                   node gone
/// Unknown   Up                         Down                      NodeGone      (counts as up: nothing is known against it)
/// Up        stay, failures = 0         fall-th in a row: Down    NodeGone
/// Down      rise-th in a row: Up       stay, successes = 0       NodeGone
/// NodeGone  nothing counts             nothing counts            stay; node back: Down with 0 successes, Up where nothing is checked
/// </code>
/// A target that goes down again and again is held down: each fall costs 1,000, which halves every minute; from 2,500 it is held until it is below 1,500.</remarks>
internal struct HealthState
{
    private const double Penalty = 1_000;
    private const double HoldFrom = 2_500;
    private const double ReleaseBelow = 1_500;
    private const double HalfLifeMs = 60_000;

    private double _penalty;
    private long _penaltyAtMs;

    public HealthStatus Status { get; private set; }

    /// <summary>In a row, of what the status waits for.</summary>
    public int Streak { get; private set; }

    /// <summary>It flaps, and successes do not bring it back before it is quiet.</summary>
    public bool IsHeld { get; private set; }

    /// <summary>Why it is down; empty when it is up.</summary>
    public string Reason { get; private set; }

    /// <summary>A state that somebody else found out.</summary>
    public static HealthState Told(HealthStatus status, string reason) => new() { Status = status, Reason = reason };

    public readonly bool IsUp => Status is HealthStatus.Unknown or HealthStatus.Up;

    /// <summary>A check ended. True when <see cref="IsUp"/> or the status changed.</summary>
    /// <param name="error">Null for a success.</param>
    public bool Checked(string? error, int rise, int fall, long nowMs)
    {
        switch (Status)
        {
            case HealthStatus.NodeGone:
                return false;
            case HealthStatus.Unknown:
                Status = error is null ? HealthStatus.Up : HealthStatus.Down;
                (Streak, Reason) = (0, error ?? "");
                return true;
            case HealthStatus.Up when error is null:
                Streak = 0;
                return false;
            case HealthStatus.Up:
                if (++Streak < fall)
                    return false;
                (Status, Streak, Reason) = (HealthStatus.Down, 0, error);
                Fell(nowMs);
                return true;
            case HealthStatus.Down when error is not null:
                (Streak, Reason) = (0, error);
                return false;
            default:
                if (IsHeld && Decayed(nowMs) < ReleaseBelow)
                    IsHeld = false;
                if (++Streak < rise || IsHeld)
                {
                    if (IsHeld)
                        Reason = "it flaps, and is held back until it stays well";
                    return false;
                }

                (Status, Streak, Reason) = (HealthStatus.Up, 0, "");
                return true;
        }
    }

    /// <summary>Somebody who counted rise and fall himself says how it is. True when the status changed.</summary>
    /// <param name="error">Null for well.</param>
    public bool Reported(string? error)
    {
        var status = error is null ? HealthStatus.Up : HealthStatus.Down;
        if (Status == HealthStatus.NodeGone || (Status == status && Reason == (error ?? "")))
            return false;
        (Status, Streak, Reason) = (status, 0, error ?? "");
        return true;
    }

    /// <summary>The session of the target's node ended, or came back. True when the status changed.</summary>
    /// <param name="isChecked">Whether checks decide when it is up again.</param>
    public bool NodeChanged(bool isConnected, string reason, bool isChecked)
    {
        if (!isConnected)
        {
            if (Status == HealthStatus.NodeGone)
                return false;
            (Status, Streak, Reason) = (HealthStatus.NodeGone, 0, reason);
            return true;
        }

        if (Status != HealthStatus.NodeGone)
            return false;
        (Status, Streak, Reason) = isChecked ? (HealthStatus.Down, 0, "its node is back, and has not passed its checks yet") : (HealthStatus.Up, 0, "");
        return true;
    }

    private void Fell(long nowMs)
    {
        _penalty = Decayed(nowMs) + Penalty;
        _penaltyAtMs = nowMs;
        IsHeld |= _penalty >= HoldFrom;
    }

    private readonly double Decayed(long nowMs) => _penalty * Math.Pow(0.5, (nowMs - _penaltyAtMs) / HalfLifeMs);
}

internal enum HealthStatus
{
    Unknown,
    Up,
    Down,

    /// <summary>The session of its edge node is gone.</summary>
    NodeGone,
}
