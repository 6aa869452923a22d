using Edge.Cloud.CloudHub;
using Edge.Simulation.Tests.Model;

namespace Edge.Simulation.Tests.Adapters;

/// <summary>The only place that knows <see cref="UplinkGuard"/>: what of one edge's queue this CloudCore has applied.</summary>
internal sealed class Guard(PlantedBug bug)
{
    private readonly UplinkGuard _core = new();

    public bool IsWithinBounds => _core.Count <= 3 * UplinkGuard.DefaultKeysMax;

    public UplinkVerdict Begin(Wire.Uplink entry)
    {
        if (bug == PlantedBug.GuardMissing)
            return UplinkVerdict.Apply;
        var verdict = _core.Begin(entry.Key, entry.Id, entry.Version, entry.IsSingle);
        if (bug == PlantedBug.GuardNotesTooEarly && verdict == UplinkVerdict.Apply)
            _core.End(entry.Key, entry.Id, entry.Version, entry.IsSingle, isDone: true);
        return verdict;
    }

    public void End(Wire.Uplink entry, bool isDone)
    {
        if (bug is not (PlantedBug.GuardMissing or PlantedBug.GuardNotesTooEarly))
            _core.End(entry.Key, entry.Id, entry.Version, entry.IsSingle, isDone);
    }
}
