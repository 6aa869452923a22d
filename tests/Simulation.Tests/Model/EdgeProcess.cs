using Edge.Cloud.CloudHub.Sessions;
using Edge.Core.EdgeHub;
using Edge.Simulation.Tests.Adapters;

namespace Edge.Simulation.Tests.Model;

/// <summary>EdgeCore while it runs: its writer with group commit, its queue, and its connection. A crash loses all but what is committed.</summary>
internal sealed class EdgeProcess : SimProcess
{
    private static readonly string[] s_types = ["configmap", "configmap", "secret"];

    private readonly EdgeMachine _machine;
    private readonly SideClock _clock;
    private readonly List<(Func<bool> Run, Action<bool> Done)> _jobs = [];
    private readonly HashSet<UplinkRow> _stranded = [];
    private bool _isCommitting;
    private long _version;
    private long _pumpAtMs = long.MaxValue;
    private int _failures;

    public EdgeProcess(World world, EdgeMachine machine)
        : base(world)
    {
        _machine = machine;
        _clock = new SideClock(world);
        Uplink = new Uplink(world.Profile, machine.Rows.Values.Select(row => row.Slot), row => _stranded.Add(row));
        _version = world.Bug == PlantedBug.UplinkVersionsStartAgain ? machine.Rows.Values.Select(row => row.Version).DefaultIfEmpty().Max() : machine.LastVersion;
        World.Note("edge starts", machine.Index);
        Reconnect();
        NextPost();
        NextQuery();
    }

    public Uplink Uplink { get; }

    /// <summary>Objects that came and made this process doubt that the two sides agree.</summary>
    public long Doubts { get; set; }

    public EdgeSession? Session { get; private set; }

    /// <summary>Whether this row is done with but stays on disk until the next start, as UplinkQueue leaves it: the disk did not take its delete, or the bounds pushed
    /// it out while starting.</summary>
    public bool IsStranded(UplinkEntryRow row) => _stranded.Contains(new UplinkRow(row.Id, row.Version));

    /// <summary>Runs <paramref name="run"/> in the next transaction; <paramref name="done"/> hears after the commit whether it took effect.</summary>
    public void Write(Func<bool> run, Action<bool> done)
    {
        _jobs.Add((run, done));
        if (!_isCommitting)
            Commit();
    }

    public void PumpUplink()
    {
        if (IsDead || Session is not { IsOver: false } session)
            return;
        while (Uplink.TryNext(_clock.NowMs, World.NewId("m"), out var send))
        {
            if (!_machine.Rows.TryGetValue(send.Slot.Id, out var row))
            {
                Uplink.Missing(send);
                continue;
            }

            if (!Effect())
                return;
            World.Note("uplink sent", _machine.Index, row.Key, row.Version);
            session.Link.Send(toCloud: true, new Wire.Uplink(send.MessageId, row.Key, row.Version, row.Value, row.IsSingle, row.IsAnswered));
            Uplink.Sent(send);
            if (World.Bug == PlantedBug.UplinkForgottenWhenSent)
                Forget([new UplinkRow(row.Id, row.Version)], () => { });
        }

        if (Uplink.NextDueMs(_clock.NowMs) is not { } due)
            return;
        var at = World.NowMs + _clock.Until(due);
        if (_pumpAtMs > World.NowMs && _pumpAtMs <= at)
            return;
        _pumpAtMs = at;
        World.After(at - World.NowMs, this, () =>
        {
            if (_pumpAtMs != World.NowMs)
                return;
            _pumpAtMs = long.MaxValue;
            PumpUplink();
        });
    }

    /// <summary>Deletes rows that are done with.</summary>
    public void Forget(IReadOnlyList<UplinkRow> rows, Action then)
    {
        if (rows.Count == 0)
        {
            then();
            return;
        }

        foreach (var row in rows)
            World.Check.Forgotten(_machine, row);
        Delete(rows, then);
    }

    public void Answered(Wire.UplinkAnswer answer, Action then)
    {
        var done = new List<UplinkRow>();
        var slot = Uplink.Answer(answer.ParentId, answer.Outcome, _clock.NowMs, done);
        Forget(done, () =>
        {
            if (slot is not null)
                PumpUplink();
            then();
        });
    }

    /// <summary>The session has ended and all it had taken in is done.</summary>
    public void SessionOver()
    {
        Session = null;
        Reconnect();
    }

    protected override void Crashed()
    {
        World.Note("edge crashes", _machine.Index);
        // The kernel closes the socket; whether the cloud hears of it is the network's business.
        Session?.Link.Break(tellEdge: false, tellCloud: !_machine.IsHeld(toCloud: true));
        _machine.Process = null;
        World.Between(100, World.Profile.DownMsMax, null, _machine.Start);
    }

    private void Delete(IReadOnlyList<UplinkRow> rows, Action then) => Write(
        () =>
        {
            foreach (var row in rows)
            {
                if (_machine.Rows.TryGetValue(row.Id, out var kept) && kept.Version == row.Version)
                    _machine.Rows.Remove(row.Id);
            }

            return true;
        },
        isDone =>
        {
            if (!isDone)
                _stranded.UnionWith(rows);
            then();
        });

    private void Commit()
    {
        _isCommitting = true;
        var batch = _jobs.ToArray();
        _jobs.Clear();
        World.Between(1, World.HasFaults ? World.Profile.CommitMsMax : 10, this, () =>
        {
            if (!Effect())
                return;
            var isFull = _machine.IsDiskFull;
            foreach (var (run, done) in batch)
            {
                var isDone = !isFull && run();
                World.After(0, this, () => done(isDone));
            }

            _isCommitting = false;
            if (_jobs.Count > 0)
                Commit();
        });
    }

    private void Reconnect()
    {
        // Full jitter, as EdgeHub's own.
        var step = Math.Min(10_000, 500 << Math.Min(_failures++, 8));
        World.Between(50, Math.Max(51, step), this, () =>
        {
            if (World.Clouds[World.Random.Next(World.Clouds.Length)] is not { IsReady: true } cloud || _machine.IsHeld(toCloud: true) || _machine.IsHeld(toCloud: false))
            {
                Reconnect();
                return;
            }

            _failures = 0;
            World.Note("connects", _machine.Index);
            var link = new Link(World, _machine);
            link.CloudEnd = cloud.Accept(link, _machine);
            Session = new EdgeSession(World, _machine, this, link);
            link.EdgeEnd = Session;
            Session.Start(_clock);
        });
    }

    private void NextPost() => World.Between(1, World.Profile.PostEveryMs * 2, this, () =>
    {
        if (!World.HasFaults)
            return;
        Post();
        NextPost();
    });

    private void Post()
    {
        var number = World.Random.Next(4);
        var (key, priority, isSingle, isAnswered) = World.Random.Next(9) switch
        {
            0 => ("lease", UplinkPriority.Lease, false, true),
            1 => ("nodestatus", UplinkPriority.NodeStatus, false, true),
            2 or 3 => ($"podstatus/pod{World.Random.Next(12)}", UplinkPriority.PodStatus, false, true),
            4 or 5 => ($"twin/device{number}", UplinkPriority.Twin, false, true),
            6 => ("request", UplinkPriority.PodStatus, true, true),
            7 => ("event", UplinkPriority.Event, true, false),
            _ => ("user", UplinkPriority.User, true, false),
        };
        UplinkEntryRow? row = null;
        Write(
            () =>
            {
                row = Store(key, priority, isSingle, isAnswered);
                return true;
            },
            isDone =>
            {
                if (!isDone)
                    return; // whoever posted was told so
                var pushedOut = Uplink.Apply(row!.Slot);
                if (pushedOut.Count > 0)
                    Delete(pushedOut, () => { });
                PumpUplink();
            });
    }

    private UplinkEntryRow Store(string key, UplinkPriority priority, bool isSingle, bool isAnswered)
    {
        var version = ++_version;
        _machine.LastVersion = Math.Max(_machine.LastVersion, version);
        long? known = null;
        if (!isSingle)
        {
            foreach (var (id, held) in _machine.Rows)
            {
                if (held.Key == key)
                    known = id;
            }
        }

        var row = new UplinkEntryRow(known ?? ++_machine.LastRowId, key, isSingle, isAnswered, priority, version, World.Check.NextValue());
        _machine.Rows[row.Id] = row;
        World.Note("uplink stored", _machine.Index, key, version);
        return row;
    }

    // Goes on when the faults have stopped: it stands for the lease too, whose answers prove what was sent before.
    private void NextQuery() => World.Between(1, World.Profile.QueryEveryMs * 2, this, () =>
    {
        if (Session is { IsOver: false } session && Effect())
            session.Query(s_types[World.Random.Next(3)], $"config{World.Random.Next(3)}");
        NextQuery();
    });
}
