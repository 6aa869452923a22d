using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Scheduling;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Controllers.Scheduling;

/// <summary>A cluster in a few words: nodes <c>NAME ZONE</c>, and pods on them.</summary>
internal sealed class Sketch
{
    private readonly List<NodeInfo> _nodes = [];
    private readonly Dictionary<string, IReadOnlyDictionary<string, string>> _spaces = [];
    private int _uid;

    public Sketch Node(string name, string zone, string cpu = "4", string extra = "{}")
    {
        var node = Json.Object($$$$$$"""{"metadata":{"name":"{{{{{{name}}}}}}","labels":{"host":"{{{{{{name}}}}}}","kubernetes.io/hostname":"{{{{{{name}}}}}}"}},"spec":{},"status":{"allocatable":{"cpu":"{{{{{{cpu}}}}}}","memory":"8Gi","pods":"110"},"conditions":[{"type":"Ready","status":"True"}]}}""");
        if (zone.Length > 0)
            node["metadata"]!["labels"]!["zone"] = zone;
        foreach (var (key, value) in Json.Object(extra))
            node["spec"]![key] = value?.DeepClone();
        _nodes.Add(new NodeInfo(node));
        return this;
    }

    public Sketch Space(string name, string labels)
    {
        _spaces[name] = new Dictionary<string, string>(Json.Object(labels).Map());
        return this;
    }

    public Sketch On(string node, PodInfo pod)
    {
        _nodes.Single(candidate => candidate.Name == node).Add(pod);
        return this;
    }

    public ClusterView View() => new(_nodes, name => _spaces.GetValueOrDefault(name) ?? ClusterView.NoLabels);

    /// <summary>A pod with labels <c>app=APP</c>.</summary>
    public PodInfo Pod(string app, string spec = "{}", string space = "default", long priority = 0, string cpu = "", string owner = "", bool isDeleting = false)
    {
        var pod = Json.Object($$$$$$"""{"metadata":{"name":"{{{{{{app}}}}}}-{{{{{{++_uid}}}}}}","uid":"{{{{{{_uid}}}}}}","namespace":"{{{{{{space}}}}}}","labels":{"app":"{{{{{{app}}}}}}"}},"spec":{{{{{{spec}}}}}},"status":{}}""");
        pod["spec"]!["priority"] = priority;
        if (cpu.Length > 0)
            pod["spec"]!["containers"] = new JsonArray(Json.Object($$$$$$"""{"resources":{"requests":{"cpu":"{{{{{{cpu}}}}}}"}}}"""));
        if (owner.Length > 0)
            pod["metadata"]!["ownerReferences"] = new JsonArray(new JsonObject { ["uid"] = owner, ["controller"] = true });
        if (isDeleting)
            pod["metadata"]!["deletionTimestamp"] = "2026-01-01T00:00:00Z";
        return new PodInfo(pod);
    }

    /// <summary>Where it goes, or what is said.</summary>
    public string Place(PodInfo pod)
    {
        var verdict = SchedulerCore.Decide(pod, View());
        return verdict.Node?.Name ?? verdict.Message;
    }

    /// <summary>Places it and leaves it there; the node's name.</summary>
    public string Put(PodInfo pod)
    {
        var name = Place(pod);
        On(name, pod);
        return name;
    }
}
