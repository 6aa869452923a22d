namespace Edge.Core.Edged;

/// <summary>Decides at which seconds the runtime's pods are listed: at each, and at every tenth while the runtime tells of changes itself. Pure.</summary>
internal sealed class RelistPace
{
    /// <summary>Seconds between two lists while the runtime tells of changes: what it failed to tell is found within this.</summary>
    public const int BesideEvents = 10;

    private int _since;

    /// <summary>Whether the list is due at this second.</summary>
    /// <param name="isTold">Whether the runtime tells of changes.</param>
    public bool IsDue(bool isTold)
    {
        if (isTold && ++_since < BesideEvents)
            return false;
        _since = 0;
        return true;
    }
}
