using Edge.Cloud.CloudHub.Sessions;
using Edge.Core.EdgeHub;
using Edge.Core.MetaManager;
using Edge.Simulation.Tests.Adapters;

namespace Edge.Simulation.Tests.Model;

/// <summary>The edge's end of one connection: takes what comes, in order, and answers in that order once it is on disk.</summary>
internal sealed class EdgeSession(World world, EdgeMachine machine, EdgeProcess process, Link link) : Life, ILinkEnd
{
    public const int WorkMax = 128;
    public const int HeartbeatMs = 5_000;
    public const int SilenceMs = 15_000;

    private readonly Queue<Work> _work = new();
    private readonly Dictionary<string, long> _pending = [];
    private (string Id, int Buckets) _digest = ("", 1);
    private long _doubts;
    private long _heardAtMs;
    private bool _isWorking;
    private bool _hasEnded;

    public override Life Process => process;

    public Link Link => link;

    public int WorkCount => _work.Count;

    public void Start(SideClock clock)
    {
        _heardAtMs = world.NowMs;
        if (!process.Effect())
            return;
        SendDigest();
        process.Uplink.LinkUp(clock.NowMs);
        process.PumpUplink();
        Beat();
    }

    public void Query(string type, string name)
    {
        var id = world.NewId("q");
        _pending[id] = process.Uplink.NextSequence();
        link.Send(toCloud: true, new Wire.Query(id, type, name));
    }

    public bool Receive(Wire message)
    {
        _heardAtMs = world.NowMs;
        if (message is Wire.Ping)
            return true;
        if (_work.Count >= WorkMax)
            return false;
        switch (message)
        {
            case Wire.Members members:
                machine.Members.UnionWith(members.Added);
                machine.Members.ExceptWith(members.Removed);
                break;
            case Wire.Object obj:
                TakeObject(new Work
                {
                    AnswerTo = obj.Id, State = obj.State, Sequence = machine.Objects.Sequence, WasTold = machine.Members.Contains(obj.State.Resource),
                });
                break;
            case Wire.DigestAnswer answer when answer.ParentId == _digest.Id:
                if (InventoryExchange.Part(machine.Objects, _digest.Buckets, answer.Content, world.Bug) is { } part)
                    _work.Enqueue(new Work { Part = new Wire.Part(part), IsDone = true });
                break;
            case Wire.UplinkAnswer answer:
                _work.Enqueue(new Work { AnswerTo = answer.Id, UplinkAnswer = answer });
                break;
            case Wire.QueryAnswer answer when _pending.Remove(answer.ParentId, out var sequence):
                _work.Enqueue(new Work { Proved = sequence });
                if (answer.State is { } found)
                    Store(found, isStored => { if (isStored) Send(new Wire.Ack(answer.Id, IsRefusal: false)); });
                break;
            case Wire.QueryAnswer { State: { } late } answer:
                // Nobody waits for it any more; it is kept all the same, so that the "OK" is true.
                TakeObject(new Work { AnswerTo = answer.Id, State = late, Sequence = machine.Objects.Sequence });
                break;
        }

        PumpWork();
        return true;
    }

    public void LinkLost() => End();

    private void TakeObject(Work work)
    {
        _work.Enqueue(work);
        if (world.Bug == PlantedBug.AckBeforeCommit)
            work.IsDone = true;
        Store(work.State!, isStored =>
        {
            work.IsRefusal = !isStored;
            work.IsDone = true;
            PumpWork();
        });
    }

    private void Store(DownObject state, Action<bool> done) => process.Write(
        () =>
        {
            if (machine.Refuses(state.Resource))
                return false;
            var decision = machine.Objects.Apply(state);
            world.Note(decision.ToString(), machine.Index, $"{state.Operation} {state.Resource} {state.Uid}", state.Version);
            world.Check.Committed(machine, state, decision);
            if (decision == MetaDecision.Doubtful)
                process.Doubts++;
            return true;
        },
        done);

    // Answers go out in the order in which the messages came.
    private void PumpWork()
    {
        while (!process.IsDead && !_isWorking && _work.TryPeek(out var work))
        {
            if (work.UplinkAnswer is { } answer)
            {
                _isWorking = true;
                process.Answered(answer, () => Finish(work));
                continue;
            }

            if (work.Proved is { } sequence)
            {
                _isWorking = true;
                var done = new List<UplinkRow>();
                process.Uplink.Proved(sequence, done);
                process.Forget(done, () => Finish(work));
                continue;
            }

            if (!work.IsDone)
                return;
            _isWorking = true;
            Finish(work);
        }

        if (_hasEnded && _work.Count == 0 && !process.IsDead && process.Session == this)
            process.SessionOver();
    }

    private void Finish(Work work)
    {
        _work.Dequeue();
        _isWorking = false;
        if (work.Part is { } part && !IsDead && process.Effect())
            link.Send(toCloud: true, part);
        if (work.AnswerTo is { } id && !IsDead)
            Send(new Wire.Ack(id, work.IsRefusal), work);
        PumpWork();
    }

    private void Send(Wire.Ack ack, Work? work = null)
    {
        if (IsDead || !process.Effect())
            return;
        if (work?.State is { } state && !ack.IsRefusal)
        {
            world.Check.Acked(machine, state, work.Sequence);
            world.Check.AckedMember(machine, state, work.WasTold);
        }

        world.Note(ack.IsRefusal ? "refuses" : "acks", machine.Index, ack.ParentId);
        link.Send(toCloud: true, ack);
    }

    private void Beat() => world.After(HeartbeatMs, this, () =>
    {
        if (world.NowMs - _heardAtMs > SilenceMs)
        {
            End();
            return;
        }

        if (process.Effect())
        {
            link.Send(toCloud: true, new Wire.Ping());
            if (process.Doubts != _doubts)
                SendDigest();
        }

        Beat();
    });

    // With the greeting, and again when a pod came back that was deleted here, or a version went back.
    private void SendDigest()
    {
        _doubts = process.Doubts;
        _digest = (world.NewId("i"), InventoryExchange.BucketsOf(machine.Objects));
        link.Send(toCloud: true, new Wire.Digest(_digest.Id, InventoryExchange.Digest(machine.Objects, world.Bug)));
    }

    private void End()
    {
        if (IsOver)
            return;
        world.Note("edge ends its session", machine.Index);
        IsDead = true;
        _hasEnded = true;
        _pending.Clear();
        process.Uplink.LinkDown();
        link.Break(tellEdge: false, tellCloud: !machine.IsHeld(toCloud: true));
        PumpWork();
    }

    private sealed class Work
    {
        /// <summary>The message to answer, or null when none is due.</summary>
        public string? AnswerTo { get; init; }

        public DownObject? State { get; init; }

        /// <summary>Of the store, when the message came.</summary>
        public long Sequence { get; init; }

        /// <summary>The edge had been told of the device when the message came.</summary>
        public bool WasTold { get; init; }

        /// <summary>To be told to the cloud.</summary>
        public Wire.Part? Part { get; init; }

        public Wire.UplinkAnswer? UplinkAnswer { get; init; }

        public long? Proved { get; init; }

        public bool IsDone { get; set; }

        public bool IsRefusal { get; set; }
    }
}
