using System.Text.Json.Nodes;
using Edge.Core.Edged;
using Edge.Core.Edged.Probes;

namespace Edge.Core.Tests;

/// <summary>A pod, its core and a runtime of lists: <see cref="Step"/> does at once what the core decides, as the shell would.</summary>
internal sealed class PodBench
{
    public static readonly DateTimeOffset Start = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly List<SandboxView> _sandboxes = [];
    private readonly List<ContainerView> _containers = [];
    private int _ids;

    public PodBench(string json)
        => Pod = Read(json);

    public PodCore Core { get; private set; } = new() { StartTime = Start };

    /// <summary>What the probes say.</summary>
    public ProbeVerdicts Probes { get; set; } = ProbeVerdicts.Empty;

    public PodDescription Pod { get; set; }

    public bool Removed { get; set; }

    public DateTimeOffset Now { get; private set; } = Start;

    /// <summary>Containers whose start fails, by name, and how.</summary>
    public Dictionary<string, StartFailure> Failing { get; } = [];

    /// <summary>When the core wants to be asked again; null when it waits for a change only.</summary>
    public DateTimeOffset? Until { get; private set; }

    public PodSnapshot Snapshot => new([.. _sandboxes], [.. _containers]);

    public double Seconds => (Now - Start).TotalSeconds;

    /// <summary>A pod named p of namespace default whose spec is given; uid u1 and 30 s of grace unless metadata says otherwise.</summary>
    public static PodDescription Read(string spec, string metadata = "{}", string status = "{}")
    {
        var json = new JsonObject
        {
            ["metadata"] = new JsonObject { ["namespace"] = "default", ["name"] = "p", ["uid"] = "u1" },
            ["spec"] = JsonNode.Parse(spec),
            ["status"] = JsonNode.Parse(status),
        };
        foreach (var (key, value) in (JsonObject)JsonNode.Parse(metadata)!)
            json["metadata"]![key] = value?.DeepClone();
        return PodDescription.TryRead(json, out var pod, out var error) ? pod : throw new ArgumentException(error);
    }

    /// <summary>Asks the core until it has nothing more to do, and returns what was done, in order.</summary>
    public string Step()
    {
        var done = new List<string>();
        for (var round = 0; round < 20; round++)
        {
            Until = null;
            var before = done.Count;
            foreach (var action in Core.Decide(Pod, Removed, Snapshot, Probes, Now))
                done.AddRange(Do(action));
            if (done.Count == before || done[^1] == "finish")
                return string.Join(", ", done);
        }

        throw new InvalidOperationException("the core does not come to rest: " + string.Join(", ", done));
    }

    public void Wait(TimeSpan time) => Now += time;

    /// <summary>Moves the clock to the time the core asked for.</summary>
    public void WaitUntilDue() => Now = Until ?? throw new InvalidOperationException("the core waits for no time");

    public void Exit(string name, int code)
        => Change(name, view => view with { Phase = ContainerPhase.Exited, ExitCode = code, Finished = Now });

    public void Change(string name, Func<ContainerView, ContainerView> change)
    {
        var newest = Snapshot.Newest(name)!;
        _containers[_containers.IndexOf(newest)] = change(newest);
    }

    /// <param name="alone">Whether its containers go on.</param>
    public void LoseSandbox(bool alone = false)
    {
        for (var i = 0; i < _sandboxes.Count; i++)
            _sandboxes[i] = _sandboxes[i] with { Ready = false, Ips = [] };
        foreach (var view in Snapshot.Containers.Where(view => !alone && view.Phase == ContainerPhase.Running))
            Exit(view.Name, 137);
    }

    /// <summary>As after a restart of EdgeCore: nothing is remembered but the runtime.</summary>
    public void Forget() => Core = new PodCore { StartTime = Start };

    public JsonObject Status(PodStatusBuilder? builder = null)
        => (builder ?? new PodStatusBuilder(Pod.Json["status"] as JsonObject, Now)).Build(Pod, Snapshot, Core, Probes, "192.0.2.1", Now);

    private List<string> Do(PodAction action)
    {
        switch (action)
        {
            case PodAction.WaitUntil wait:
                Until = wait.Time;
                return [];
            case PodAction.Report report:
                return [$"report {report.Reason}"];
            case PodAction.RunSandbox run:
                _sandboxes.Add(new SandboxView($"s{run.Attempt}", run.Attempt, true, Now, ["10.0.0.2"]));
                Core.NoteSandboxStarted();
                return [$"sandbox {run.Attempt}"];
            case PodAction.StartContainer start when Failing.TryGetValue(start.Container.Name, out var failure):
                Core.NoteStartFailed(start.Container.Name, failure, Now);
                return [$"failed {start.Container.Name}"];
            case PodAction.StartContainer start:
                _containers.Add(new ContainerView(
                    $"c{++_ids}", start.SandboxId, start.Container.Name, start.Attempt, ContainerPhase.Running, Now, Now, default, 0, "", "", "", "") { Hash = start.Container.Hash });
                Core.NoteStarted(start.Container.Name);
                return [$"start {start.Container.Name} {start.Attempt}"];
            case PodAction.StopContainer stop:
                _containers[_containers.IndexOf(stop.Container)] = stop.Container with { Phase = ContainerPhase.Exited, ExitCode = 143, Finished = Now };
                return [$"stop {stop.Container.Name} {stop.Grace.TotalSeconds}s"];
            case PodAction.StopSandbox stop:
                var at = _sandboxes.FindIndex(sandbox => sandbox.Id == stop.Id);
                _sandboxes[at] = _sandboxes[at] with { Ready = false, Ips = [] };
                return [$"stop {stop.Id}"];
            case PodAction.RemoveContainer remove:
                var name = _containers.Single(view => view.Id == remove.Id).Name;
                _containers.RemoveAll(view => view.Id == remove.Id);
                return [$"remove {name}"];
            case PodAction.RemoveSandbox remove:
                _sandboxes.RemoveAll(sandbox => sandbox.Id == remove.Id);
                return [$"remove {remove.Id}"];
            case PodAction.RemoveVolumes:
                Core.NoteVolumesRemoved();
                return ["remove volumes"];
            default:
                return ["finish"];
        }
    }
}
