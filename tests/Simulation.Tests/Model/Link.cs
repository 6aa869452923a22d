using Edge.Cloud.CloudHub.Sessions;
using Edge.Core.EdgeHub;

namespace Edge.Simulation.Tests.Model;

/// <summary>What travels over a link. Streams matter only where the profile has them.</summary>
internal abstract record Wire
{
    public virtual int Stream => 0;

    public sealed record Ping : Wire;

    public sealed record Digest(string Id, ReadOnlyMemory<byte> Content) : Wire;

    public sealed record DigestAnswer(string ParentId, ReadOnlyMemory<byte> Content) : Wire;

    public sealed record Part(ReadOnlyMemory<byte> Content) : Wire;

    public sealed record Object(string Id, DownObject State) : Wire
    {
        public override int Stream => 1;
    }

    /// <summary>Tells which devices came or left, as to a stock edge; not answered.</summary>
    public sealed record Members(IReadOnlyList<string> Added, IReadOnlyList<string> Removed) : Wire
    {
        public override int Stream => 1;
    }

    /// <summary>The edge's answer to an object, or to an answer.</summary>
    public sealed record Ack(string ParentId, bool IsRefusal) : Wire
    {
        public override int Stream => 1;
    }

    /// <param name="Value">Stands for the content.</param>
    public sealed record Uplink(string Id, string Key, long Version, long Value, bool IsSingle, bool IsAnswered) : Wire;

    public sealed record UplinkAnswer(string Id, string ParentId, UplinkOutcome Outcome) : Wire;

    public sealed record Query(string Id, string Type, string Name) : Wire;

    /// <param name="State">Null when the cloud has none for this node.</param>
    public sealed record QueryAnswer(string Id, string ParentId, DownObject? State) : Wire
    {
        // It carries an object: were it to take another way than objects, it could bring back one that is taken away meanwhile.
        public override int Stream => 1;
    }
}

/// <summary>One end of a link.</summary>
internal interface ILinkEnd
{
    bool IsOver { get; }

    /// <summary>False when the end cannot take it now; it comes again, and nothing overtakes it.</summary>
    bool Receive(Wire message);

    /// <summary>The peer closed, or the network said that the link is broken.</summary>
    void LinkLost();
}

/// <summary>A connection of an edge: two directions, each in order unless the profile is wild.</summary>
internal sealed class Link(World world, EdgeMachine edge) : Life
{
    private const int StreamMax = 2;

    private readonly Queue<Wire>[] _queues = [new(), new(), new(), new()];
    private readonly long[] _lastMs = new long[4];
    private readonly Dictionary<string, (string Uid, long Version)> _named = [];
    private readonly HashSet<string> _gone = [];

    public ILinkEnd? EdgeEnd { get; set; }

    public ILinkEnd? CloudEnd { get; set; }

    public void Send(bool toCloud, Wire message)
    {
        if (IsDead)
            return;
        var profile = world.Profile;
        var latency = world.Random.Next(profile.LatencyMsMin, profile.LatencyMsMax + 1);
        if (world.HasFaults && profile.IsWild && message is not Wire.Ping)
        {
            if (world.Chance(profile.DuplicateShare))
                world.After(latency + world.Random.Next(5_000), this, () => Arrive(toCloud, message));
            if (world.Chance(profile.ReorderShare))
            {
                world.After(latency + world.Random.Next(3_000), this, () => Arrive(toCloud, message));
                return;
            }
        }

        var lane = (toCloud ? StreamMax : 0) + (profile.HasStreams ? message.Stream : 0);
        _queues[lane].Enqueue(message);
        var at = Math.Max(_lastMs[lane], world.NowMs + latency);
        _lastMs[lane] = at;
        world.After(at - world.NowMs, this, () => Pop(lane));
    }

    /// <summary>The link is gone; each end hears of it, or finds out by the silence.</summary>
    public void Break(bool tellEdge, bool tellCloud)
    {
        if (IsDead)
            return;
        IsDead = true;
        if (tellEdge && EdgeEnd is { } one)
            world.Between(1, 50, null, one.LinkLost);
        if (tellCloud && CloudEnd is { } other)
            world.Between(1, 50, null, other.LinkLost);
    }

    // The event stands for "the next message of this lane", so whatever is held back keeps its place.
    private void Pop(int lane)
    {
        var toCloud = lane >= StreamMax;
        if (edge.HeldUntilMs(toCloud) is var until && until > world.NowMs)
        {
            world.After(until - world.NowMs, this, () => Pop(lane));
            return;
        }

        if (Take(toCloud, _queues[lane].Peek()))
            _queues[lane].Dequeue();
        else
            world.After(20, this, () => Pop(lane));
    }

    private void Arrive(bool toCloud, Wire message)
    {
        if (edge.HeldUntilMs(toCloud) is var until && until > world.NowMs)
            world.After(until - world.NowMs, this, () => Arrive(toCloud, message));
        else if (!Take(toCloud, message))
            world.After(20, this, () => Arrive(toCloud, message));
    }

    private bool Take(bool toCloud, Wire message)
    {
        var end = toCloud ? CloudEnd : EdgeEnd;
        // No state of an object comes once another one of its name is there (a delete may). A link in order keeps to that by itself; without it, no store could tell which of two uids is
        // the newer one.
        if (world.Profile.IsWild && message is Wire.Object { State: { IsDelete: true, IsFinal: true } gone })
            _gone.Add(gone.Uid);
        if (world.Profile.IsWild && message is Wire.Object { State: { IsDelete: false } state })
        {
            if (state.IsRepair && _gone.Contains(state.Uid))
                return true;
            // Nor does an older state that must be taken: it was in its place once.
            if (_named.TryGetValue(state.Resource, out var named) && named.Version > state.Version && (named.Uid != state.Uid || state.IsRepair))
                return true;
            // A late copy of an older one changes nothing of that.
            if (named.Uid != state.Uid || named.Version < state.Version)
                _named[state.Resource] = (state.Uid, state.Version);
        }

        return end is null || end.IsOver || end.Receive(message);
    }
}
