using System.Text.Json.Nodes;
using System.Threading.Channels;
using Edge.Common.Storage;
using Edge.Core.MetaManager;
using Edge.Kubernetes;
using Edge.Protocol.Messages;
using Microsoft.Extensions.Logging;

namespace Edge.Core.Edged.Volumes;

/// <summary>Finds where the claims of a pod lie: asks the cloud for claim and volume, and keeps both as local rows for when it is not there.</summary>
internal sealed class ClaimResolver(IMetaStore meta, CloudQuery cloud, string nodeName, ILogger log)
{
    private static readonly LocalRows s_rows = new("persistentvolume");

    /// <summary>Every claim of the pod, by the volume's name.</summary>
    /// <param name="isNew">Whether the pod is about to get its sandbox: then the cloud is asked also for what is kept, since the claim may be another of the same name.</param>
    public async Task<IReadOnlyDictionary<string, ClaimedVolume>> ResolveAsync(PodDescription pod, bool isNew, CancellationToken cancellationToken)
    {
        var found = new Dictionary<string, ClaimedVolume>(StringComparer.Ordinal);
        foreach (var volume in pod.Json.Items("spec", "volumes"))
        {
            var name = volume["ephemeral"] is not null ? $"{pod.Name}-{volume.Text("name")}" : volume.Text("persistentVolumeClaim", "claimName");
            if (name.Length > 0)
                found[volume.Text("name")] = await ResolveAsync(pod.Namespace, name, volume.Flag(false, "persistentVolumeClaim", "readOnly"), isNew, cancellationToken);
        }

        return found;
    }

    /// <summary>Removes the rows of claims that none of these pods uses, and of their volumes.</summary>
    /// <exception cref="StoreException">A row could not be removed.</exception>
    public async Task ForgetUnusedAsync(IEnumerable<JsonObject> pods, CancellationToken cancellationToken)
    {
        var used = new HashSet<string>(StringComparer.Ordinal);
        foreach (var pod in pods)
        {
            foreach (var volume in pod.Items("spec", "volumes"))
                used.Add(ClaimKey(pod.Namespace(), volume["ephemeral"] is not null ? $"{pod.Name()}-{volume.Text("name")}" : volume.Text("persistentVolumeClaim", "claimName")));
        }

        foreach (var claim in used.ToList())
        {
            if (Kept(claim) is { } held)
                used.Add(VolumeKey(held.Text("spec", "volumeName")));
        }

        foreach (var key in s_rows.Keys(meta).Where(key => !used.Contains(key)))
            await s_rows.DeleteAsync(meta, key, cancellationToken);
    }

    private static string ClaimKey(string @namespace, string name) => $"{@namespace}/{ResourceTypes.PersistentVolumeClaim}/{name}";

    private static string VolumeKey(string name) => $"{ResourcePath.ClusterScope}/{ResourceTypes.PersistentVolume}/{name}";

    private async Task<ClaimedVolume> ResolveAsync(string @namespace, string name, bool isReadOnly, bool isNew, CancellationToken cancellationToken)
    {
        ClaimedVolume Unresolved(string problem) => new("", null, isReadOnly, $"error processing PVC {@namespace}/{name}: {problem}") { IsUnresolved = true };

        var (claim, claimProblem) = await GetAsync(ClaimKey(@namespace, name), kept => !isNew && ClaimRules.IsBound(kept), cancellationToken);
        var problem = ClaimRules.Check(claim, claimProblem);
        if (claim is null || problem.Length > 0)
            return Unresolved(problem);
        var (volume, volumeProblem) = await GetAsync(VolumeKey(claim.Text("spec", "volumeName")), kept => !isNew && ClaimRules.Check(claim, kept, "").Length == 0, cancellationToken);
        problem = ClaimRules.Check(claim, volume, volumeProblem);
        if (volume is null || problem.Length > 0)
            return Unresolved(problem);
        var node = meta.Get(ResourceTypes.Node, ResourcePath.ClusterScope, nodeName);
        return ClaimRules.Place(claim, volume, isReadOnly, node is null ? null : JsonNode.Parse(node.Json.Span) as JsonObject);
    }

    private async Task<(JsonObject? Object, string Problem)> GetAsync(string key, Func<JsonObject, bool> isEnough, CancellationToken cancellationToken)
    {
        var kept = Kept(key);
        if (kept is not null && isEnough(kept))
            return (kept, "");
        var reply = await cloud.AskAsync(key, null, cancellationToken);
        if (reply.Object is null && !reply.IsFinal)
            return (kept, reply.Problem);
        try
        {
            if (reply.Object is { } found)
                await s_rows.PutAsync(meta, key, found, cancellationToken);
            else
                await s_rows.DeleteAsync(meta, key, cancellationToken);
        }
        catch (Exception e) when (e is StoreException or ChannelClosedException)
        {
            EdgedLog.NotKept(log, "a claim's place", key, e.Message); // it serves now; a restart without the cloud would not have it
        }

        return (reply.Object, reply.Problem);
    }

    private JsonObject? Kept(string key) => s_rows.Get(meta, key);
}
