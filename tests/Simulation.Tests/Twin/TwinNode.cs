using System.Text.Json.Nodes;
using Edge.Core.DeviceTwin;
using Edge.Protocol.Dmi.V1Beta1;

namespace Edge.Simulation.Tests.Twin;

/// <summary>One row of the durable queue; a newer value of a key takes the place of the older one.</summary>
internal sealed record TwinEntry(string Key, long Version, IReadOnlyList<TwinOutput> Content);

/// <summary>What a crash leaves: rows, queue and Devices of one node.</summary>
internal sealed class TwinDisk
{
    public Dictionary<string, byte[]> Rows { get; } = new(StringComparer.Ordinal);

    public SortedDictionary<string, TwinEntry> Queue { get; } = new(StringComparer.Ordinal);

    public Dictionary<string, (JsonObject Device, long Version)> Devices { get; } = new(StringComparer.Ordinal);

    public long LastVersion { get; set; }
}

/// <summary>TwinCore in a process that may end between any two effects; as TwinService runs it: a batch shares its commits, and what it promises leaves after them.</summary>
internal sealed class TwinNode
{
    private readonly TwinWorld _world;
    private readonly TwinSite _site;
    private readonly TwinDisk _disk;
    private readonly TwinCore _core;
    private readonly Queue<(TwinInput Input, Action<TwinOutput?> Done)> _inbox = new();
    private readonly HashSet<(string Key, long Version)> _sent = [];
    private bool _isBusy;

    public TwinNode(TwinWorld world, TwinSite site, TwinDisk disk)
    {
        (_world, _site, _disk) = (world, site, disk);
        _core = new TwinCore(world.Faults.WindowMs) { NodeName = "edge", PublishesToApps = true };
        var outputs = new List<TwinOutput>();
        var rows = world.Bug == TwinBug.RowsForgotten ? [] : disk.Rows.ToDictionary(row => row.Key, row => (ReadOnlyMemory<byte>)row.Value);
        if (_core.Restore(rows, outputs) is { Count: > 0 } unreadable)
            throw new TwinInvariantException(TwinSimulation.RowsAreReadable, string.Join(", ", unreadable));
        _core.Step(new TwinInput.ObjectChanged("devicemodel", "default", "model", TwinSite.Model(), world.NowMs), outputs);
        foreach (var (name, (device, _)) in disk.Devices)
            _core.Step(new TwinInput.ObjectChanged("device", "default", name, (JsonObject)device.DeepClone(), world.NowMs), outputs);
        _core.ForgetOrphans(outputs);
        _isBusy = true;
        Perform(outputs, []);
        world.After(world.Random.Next(50, 150), Pump);
        world.After(200, Tick);
    }

    /// <summary>Ended: nothing that it began goes on.</summary>
    public bool IsDead { get; set; }

    /// <summary>Some call of a mapper, or message of an application.</summary>
    public void Take(TwinInput input, Action<TwinOutput?> done)
    {
        if (IsDead)
            return;
        _inbox.Enqueue((input, done));
        RunBatch();
    }

    /// <summary>MetaManager has a newer Device on its disk.</summary>
    public void TakeDevice(string name, JsonObject device, long version)
    {
        if (IsDead || (_disk.Devices.TryGetValue(name, out var known) && known.Version >= version))
            return;
        _disk.Devices[name] = (device, version);
        Take(new TwinInput.ObjectChanged("device", "default", name, (JsonObject)device.DeepClone(), _world.NowMs), _ => { });
    }

    public bool IsIdle => !_isBusy && _inbox.Count == 0 && _core.NextTickMs is null && _disk.Queue.Count == 0;

    private void After(long ms, Action action) => _world.After(ms, () =>
    {
        if (!IsDead)
            action();
    });

    // The loop's own wake for windows that are over.
    private void Tick()
    {
        if (IsDead)
            return;
        RunBatch();
        _world.After(50, Tick);
    }

    private void RunBatch()
    {
        var isTickDue = _core.NextTickMs <= _world.NowMs && _world.Bug != TwinBug.WindowNeverEnds;
        if (_isBusy || (_inbox.Count == 0 && !isTickDue))
            return;
        _isBusy = true;
        var outputs = new List<TwinOutput>();
        var answers = new List<(Action<TwinOutput?> Done, TwinOutput? Answer)>();
        for (var count = _world.Random.Next(1, 6); count > 0 && _inbox.TryDequeue(out var job); count--)
        {
            var from = outputs.Count;
            _core.Step(job.Input, outputs);
            answers.Add((job.Done, outputs.Skip(from).FirstOrDefault(one => one is TwinOutput.Answer or TwinOutput.Refuse)));
        }

        if (isTickDue)
            _core.Step(new TwinInput.Tick(_world.NowMs), outputs);
        Perform(outputs, answers);
    }

    private void Perform(List<TwinOutput> outputs, List<(Action<TwinOutput?> Done, TwinOutput? Answer)> answers)
    {
        if (_world.Bug == TwinBug.AnswersBeforeCommit)
            Answer(answers);
        After(_world.Random.Next(1, 15), () =>
        {
            foreach (var output in outputs)
            {
                if (output is TwinOutput.Persist(var key, var row))
                    _disk.Rows[key] = row;
                else if (output is TwinOutput.Forget(var gone))
                    _disk.Rows.Remove(gone);
            }

            // Mostly one commit; a full one leaves the end for the next.
            var isOneCommit = _world.Random.Next(4) > 0;
            if (isOneCommit)
                Post(outputs);
            After(_world.Random.Next(1, 15), () =>
            {
                if (!isOneCommit)
                    Post(outputs);
                foreach (var call in outputs.OfType<TwinOutput.Deliver>())
                    _site.Told(this, call.Call);
                if (_world.Bug != TwinBug.AnswersBeforeCommit)
                    Answer(answers);
                foreach (var published in outputs.OfType<TwinOutput.Publish>())
                    _site.Heard(published);
                _isBusy = false;
                RunBatch();
            });
        });
    }

    private static void Answer(List<(Action<TwinOutput?> Done, TwinOutput? Answer)> answers)
    {
        foreach (var (done, answer) in answers)
            done(answer);
    }

    private void Post(List<TwinOutput> outputs)
    {
        foreach (var twin in outputs.OfType<TwinOutput.SendTwin>())
            Put($"twin/{twin.Name}", [twin]);
        foreach (var state in outputs.OfType<TwinOutput.SendState>())
            Put($"state/{state.Name}", [state]);
        var samples = outputs.OfType<TwinOutput.SendSample>().ToList();
        if (_world.Bug == TwinBug.SamplesCoalesced)
            samples = [.. samples.GroupBy(sample => (sample.Name, sample.Property)).Select(group => group.Last())];
        if (samples.Count > 0)
            Put($"history/{_disk.LastVersion + 1:D12}", samples);
    }

    private void Put(string key, IReadOnlyList<TwinOutput> content) => _disk.Queue[key] = new TwinEntry(key, ++_disk.LastVersion, content);

    // Everything in the queue goes up until the cloud has answered it; at most one value of a key at once.
    private void Pump()
    {
        if (IsDead)
            return;
        foreach (var entry in _disk.Queue.Values)
        {
            if (!_sent.Add((entry.Key, entry.Version)))
                continue;
            _world.Send(() =>
            {
                _site.Apply(entry);
                _world.Send(() =>
                {
                    if (!IsDead && _disk.Queue.TryGetValue(entry.Key, out var now) && now.Version == entry.Version)
                        _disk.Queue.Remove(entry.Key);
                });
            });
            After(3000, () => _sent.Remove((entry.Key, entry.Version)));
        }

        _world.After(50, Pump);
    }
}
