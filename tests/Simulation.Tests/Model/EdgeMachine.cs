using Edge.Core.EdgeHub;
using Edge.Protocol.Messages;
using Edge.Simulation.Tests.Adapters;

namespace Edge.Simulation.Tests.Model;

/// <summary>A row of the uplink table.</summary>
/// <param name="Value">Unique in the run and growing: tells values apart even where versions are wrong.</param>
internal sealed record UplinkEntryRow(long Id, string Key, bool IsSingle, bool IsAnswered, UplinkPriority Priority, long Version, long Value)
{
    public UplinkSlot Slot => new(Id, Version, Key, Priority, IsAnswered, Size: 100);
}

/// <summary>An edge node: its disk, its network, and the process that runs on it, if any.</summary>
internal sealed class EdgeMachine(World world, int index)
{
    private readonly long[] _heldUntilMs = new long[2];
    private readonly Dictionary<string, long> _refusedUntilMs = [];
    private ObjectStoreCopy? _copy;

    public int Index { get; } = index;

    public string Name { get; } = $"edge{index}";

    /// <summary>The path of its own Node.</summary>
    public string NodeKey => $"{ResourcePath.ClusterScope}/{ResourceTypes.Node}/{Name}";

    public ObjectStore Objects { get; } = new(world.Bug);

    /// <summary>The committed uplink rows by id.</summary>
    public SortedDictionary<long, UplinkEntryRow> Rows { get; } = [];

    public long LastRowId { get; set; }

    public long LastVersion { get; set; }

    public long DiskFullUntilMs { get; set; }

    public EdgeProcess? Process { get; set; }

    public bool IsDiskFull => world.HasFaults && world.NowMs < DiskFullUntilMs;

    /// <summary>Paths of the devices that it was told of; on its disk, like all that a stock edge's twin module knows.</summary>
    public HashSet<string> Members { get; } = [];

    /// <summary>Keeps a copy of the objects on the disk, in place of the last.</summary>
    public void CopyObjects()
    {
        world.Note("disk copied", Index);
        _copy = Objects.Copy();
    }

    /// <summary>Puts the last copy in place of the objects on the disk, or nothing where there is none. The process must be down.</summary>
    public void SetObjectsBack(bool isLost)
    {
        world.Note(isLost || _copy is null ? "disk lost" : "disk set back", Index);
        Objects.SetBack(isLost ? null : _copy);
    }

    public void Start() => Process = new EdgeProcess(world, this);

    /// <summary>Messages of this direction are held back until then; past when they are not.</summary>
    public long HeldUntilMs(bool toCloud) => world.HasFaults ? _heldUntilMs[toCloud ? 1 : 0] : 0;

    public bool IsHeld(bool toCloud) => HeldUntilMs(toCloud) > world.NowMs;

    public void Hold(bool toCloud, long untilMs) => _heldUntilMs[toCloud ? 1 : 0] = untilMs;

    public void ReleaseHeld() => Array.Clear(_heldUntilMs);

    public void Refuse(string resource, long untilMs) => _refusedUntilMs[resource] = untilMs;

    public bool Refuses(string resource) => world.HasFaults && _refusedUntilMs.GetValueOrDefault(resource) > world.NowMs;

    public bool HasRefused(string resource) => _refusedUntilMs.ContainsKey(resource);
}
