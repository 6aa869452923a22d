using System.Text.Json.Nodes;
using Edge.Protocol.Cri.V1;
using Edge.Protocol.Grpc;

namespace Edge.Core.Edged;

/// <summary>A pod of this node as the runtime knows it.</summary>
/// <param name="Fingerprint">Changes whenever a sandbox or container of it changes its state.</param>
internal sealed record SeenPod(string Namespace, string Name, string Fingerprint);

/// <summary>Asks the runtime for all pods of this node at once, and tells which of them changed since it was asked last. For one caller.</summary>
internal sealed class PodRelist(PodContext context)
{
    // A kubelet's, for containers whose pod it does not know.
    private const int OrphanGraceSeconds = 1;

    private readonly Dictionary<string, string> _fingerprints = new(StringComparer.Ordinal);

    /// <summary>Every pod of this node at the runtime, by uid; null when it does not answer.</summary>
    public async Task<IReadOnlyDictionary<string, SeenPod>?> ReadAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await ListAsync(cancellationToken);
        }
        catch (GrpcException e)
        {
            // The state's own question logs it once; here only that nothing is known now.
            if (e.Code != GrpcStatusCode.Unavailable)
                EdgedLog.RuntimeMissing(context.Log, context.Cri.SocketPath, e.Detail);
            return null;
        }
    }

    /// <summary>Those of the wanted pods whose containers are not as they were at the last call.</summary>
    public List<string> Changed(IReadOnlyDictionary<string, SeenPod> seen, IReadOnlyCollection<string> wanted)
    {
        var changed = new List<string>();
        foreach (var uid in wanted)
        {
            var fingerprint = seen.GetValueOrDefault(uid)?.Fingerprint ?? "";
            if (_fingerprints.TryGetValue(uid, out var old) && old == fingerprint)
                continue;
            _fingerprints[uid] = fingerprint;
            changed.Add(uid);
        }

        foreach (var uid in _fingerprints.Keys.Except(wanted, StringComparer.Ordinal).ToList())
            _fingerprints.Remove(uid);
        return changed;
    }

    /// <summary>A pod of which only the containers are left, as far as its end needs it; null when they do not tell.</summary>
    public static PodDescription? Orphan(string uid, SeenPod found)
    {
        var json = new JsonObject
        {
            ["metadata"] = new JsonObject { ["namespace"] = found.Namespace, ["name"] = found.Name, ["uid"] = uid },
            ["spec"] = new JsonObject { ["terminationGracePeriodSeconds"] = OrphanGraceSeconds, ["containers"] = new JsonArray(new JsonObject { ["name"] = "unknown" }) },
        };
        return found.Name.Length > 0 && PodDescription.TryRead(json, out var pod, out _) ? pod : null;
    }

    private async Task<Dictionary<string, SeenPod>> ListAsync(CancellationToken cancellationToken)
    {
        var podFilter = new PodSandboxFilter();
        podFilter.LabelSelector[CriConfigs.NodeLabel] = context.NodeName;
        var filter = new ContainerFilter();
        filter.LabelSelector[CriConfigs.NodeLabel] = context.NodeName;
        var sandboxes = await context.Cri.ListPodSandboxAsync(podFilter, cancellationToken);
        var containers = await context.Cri.ListContainersAsync(filter, cancellationToken);
        var parts = sandboxes.Select(item => (item.Labels, Text: $"{item.Id}{item.State}"))
            .Concat(containers.Select(item => (item.Labels, Text: $"{item.Id}{item.State}")));
        var seen = new Dictionary<string, SeenPod>(StringComparer.Ordinal);
        foreach (var (labels, text) in parts.OrderBy(part => part.Text, StringComparer.Ordinal))
        {
            if (!labels.TryGetValue(CriConfigs.UidLabel, out var uid))
                continue;
            var old = seen.GetValueOrDefault(uid);
            seen[uid] = new SeenPod(labels.GetValueOrDefault(CriConfigs.NamespaceLabel) ?? "", labels.GetValueOrDefault(CriConfigs.NameLabel) ?? "", (old?.Fingerprint ?? "") + text);
        }

        return seen;
    }
}
