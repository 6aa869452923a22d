using Edge.Core.EdgeHub;

namespace Edge.Simulation.Tests.Adapters;

/// <summary>The only place that knows <see cref="UplinkCore"/>: the decisions of one edge process's queue.</summary>
internal sealed class Uplink
{
    private readonly UplinkCore _core;
    private readonly int _entriesMax;

    /// <param name="pushedOut">Gets the rows for which the bounds have no room.</param>
    public Uplink(FaultProfile profile, IEnumerable<UplinkSlot> stored, Action<UplinkRow> pushedOut)
    {
        _entriesMax = profile.EntriesMax;
        _core = new UplinkCore(new UplinkLimits(profile.EntriesMax, Qps: 20, Burst: 10));
        foreach (var slot in stored)
        {
            foreach (var row in _core.Apply(slot))
                pushedOut(row);
        }
    }

    public bool IsEmpty
    {
        get
        {
            for (var priority = UplinkPriority.Lease; priority <= UplinkPriority.User; priority++)
            {
                if (_core.Depth(priority) > 0)
                    return false;
            }

            return true;
        }
    }

    public bool IsWithinBounds
    {
        get
        {
            for (var priority = UplinkPriority.Lease; priority <= UplinkPriority.User; priority++)
            {
                if (_core.Depth(priority) > _entriesMax)
                    return false;
            }

            return true;
        }
    }

    public IReadOnlyList<UplinkRow> Apply(UplinkSlot slot) => _core.Apply(slot);

    public void LinkUp(long nowMs) => _core.LinkUp(nowMs, edgeWire: false);

    public void LinkDown() => _core.LinkDown();

    public bool TryNext(long nowMs, string id, out UplinkSend send) => _core.TryNext(nowMs, id, out send);

    public void Sent(UplinkSend send) => _core.Sent(send);

    public void Missing(UplinkSend send) => _core.Missing(send);

    public long NextSequence() => _core.NextSequence();

    public void Proved(long sequence, List<UplinkRow> done) => _core.Proved(sequence, done);

    public UplinkSlot? Answer(string parentId, UplinkOutcome outcome, long nowMs, List<UplinkRow> done) => _core.Answer(parentId, outcome, nowMs, done);

    public long? NextDueMs(long nowMs) => _core.NextDueMs(nowMs);
}
