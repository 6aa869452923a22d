using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Core.Edged.Probes;

/// <summary>What the probes of one running container say now.</summary>
/// <param name="Failed">The probe for which it is to be killed, or null.</param>
internal sealed record ContainerVerdict(bool Started, bool Ready, ProbeKind? Failed);

/// <summary>What the probes of a pod say, by container id. Immutable; replaced whole.</summary>
internal sealed class ProbeVerdicts(IReadOnlyDictionary<string, ContainerVerdict> byId)
{
    public static ProbeVerdicts Empty { get; } = new(new Dictionary<string, ContainerVerdict>());

    /// <summary>What was said last, so that a restart of EdgeCore takes no container that goes on out of its pod's Ready condition (KEP-4781): it holds until
    /// the probe has an answer of its own.</summary>
    public static ProbeVerdicts Of(JsonObject? status)
    {
        var said = new Dictionary<string, ContainerVerdict>(StringComparer.Ordinal);
        foreach (var container in status.Items("initContainerStatuses").Concat(status.Items("containerStatuses")))
        {
            var id = container.Text("containerID");
            if (id.IndexOf("://", StringComparison.Ordinal) is > 0 and var at)
                said[id[(at + 3)..]] = new ContainerVerdict(container.Flag(false, "started"), container.Flag(false, "ready"), null);
        }

        return new ProbeVerdicts(said);
    }

    /// <summary>The verdict of the container with this id, or null when nothing is known of it.</summary>
    public ContainerVerdict? Find(string containerId) => byId.GetValueOrDefault(containerId);

    /// <summary>Whether it runs and its startup probe, if it has one, has succeeded.</summary>
    public bool IsStarted(ContainerDescription container, ContainerView? view)
        => view is { Phase: ContainerPhase.Running } && (container.Startup is null || Find(view.Id) is { Started: true });

    /// <summary>Whether it has started and its readiness probe, if it has one, succeeds.</summary>
    public bool IsReady(ContainerDescription container, ContainerView? view)
        => IsStarted(container, view) && (container.Readiness is null || Find(view!.Id) is { Ready: true });

    public bool IsSameAs(ProbeVerdicts other) => byId.Count == other.Count && byId.All(pair => other.Find(pair.Key) == pair.Value);

    private int Count => byId.Count;
}
