using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Housekeeping;

/// <summary>Finds pods that nobody will ever finish: bound to a node that does not exist, or deleted before they had one. Pure.</summary>
internal sealed class PodGcCore
{
    /// <summary>How long a node must be missing before its pods go; Kubernetes' quarantine for nodes that come back under their name.</summary>
    public static readonly TimeSpan Quarantine = TimeSpan.FromSeconds(40);

    private readonly Dictionary<string, DateTimeOffset> _missing = new(StringComparer.Ordinal);

    /// <summary>The pods to delete with force, and when to look again though nothing changes.</summary>
    public (IReadOnlyList<JsonObject> Pods, DateTimeOffset? Next) Step(IEnumerable<JsonObject> pods, Func<string, bool> nodeExists, DateTimeOffset now)
    {
        var go = new List<JsonObject>();
        DateTimeOffset? next = null;
        var stillMissing = new HashSet<string>(StringComparer.Ordinal);
        foreach (var pod in pods)
        {
            var node = pod.Text("spec", "nodeName");
            if (node.Length == 0)
            {
                if (pod.IsDeleting())
                    go.Add(pod);
                continue;
            }

            if (nodeExists(node))
                continue;
            stillMissing.Add(node);
            if (!_missing.TryGetValue(node, out var since))
                _missing[node] = since = now;
            if (now - since >= Quarantine)
                go.Add(pod);
            else if (next is null || since + Quarantine < next)
                next = since + Quarantine;
        }

        foreach (var back in _missing.Keys.Where(node => !stillMissing.Contains(node)).ToList())
            _missing.Remove(back);
        return (go, next);
    }
}
