using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Volumes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Scheduling;

/// <summary>What the scheduler sees of claims and volumes in one pass.</summary>
/// <param name="Claim">Finds a claim by namespace and name.</param>
/// <param name="Volumes">All volumes by name; what the pass reserves is put in here.</param>
/// <param name="Class">Finds a StorageClass by name.</param>
/// <param name="Pods">All pods.</param>
internal sealed record VolumeCatalog(
    Func<string, string, JsonObject?> Claim, Dictionary<string, JsonObject> Volumes, Func<string, JsonObject?> Class, IReadOnlyCollection<JsonObject> Pods);

/// <summary>What a pod's claims ask of its node (kube-scheduler's plug-ins VolumeBinding and VolumeRestrictions, with their words). Pure.</summary>
internal sealed class PodVolumes
{
    private readonly VolumeCatalog? _catalog;
    private readonly List<JsonObject> _bound = [];
    private readonly List<JsonObject> _delayed = [];
    private bool _isMissingVolume;
    private bool _isUsedByOther;

    private PodVolumes(VolumeCatalog? catalog) => _catalog = catalog;

    /// <summary>Of a pod without claims.</summary>
    public static PodVolumes None { get; } = new(null);

    /// <summary>Why no node would do; empty when it depends on the node.</summary>
    public string Problem { get; private set; } = "";

    /// <summary>Whether claims wait for the pod's node; they are bound before the pod is.</summary>
    public bool IsWaiting => _delayed.Count > 0;

    public static PodVolumes Read(JsonObject pod, VolumeCatalog catalog)
    {
        var uses = PodClaims.Of(pod).ToList();
        if (uses.Count == 0)
            return None;
        var found = new PodVolumes(catalog);
        foreach (var use in uses.DistinctBy(use => use.Name))
        {
            found.Problem = found.Add(pod, use);
            if (found.Problem.Length > 0)
                break;
        }

        return found;
    }

    /// <summary>Why the node does not do; empty when it does.</summary>
    public IReadOnlyList<string> Filter(JsonObject node)
    {
        if (_isUsedByOther)
            return ["node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"];
        var why = new List<string>();
        if (_isMissingVolume)
            why.Add("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)");
        if (!_bound.TrueForAll(volume => VolumeMatch.IsReachable(volume, node)))
            why.Add("node(s) had volume node affinity conflict");
        if (Choose(node) is null)
            why.Add("node(s) didn't find available persistent volumes to bind");
        return why;
    }

    /// <summary>A volume for each claim that waits, smallest claim first; null when there are not enough.</summary>
    public IReadOnlyList<(JsonObject Volume, JsonObject Claim)>? Choose(JsonObject node)
    {
        var chosen = new List<(JsonObject, JsonObject)>();
        var taken = new HashSet<string>(StringComparer.Ordinal);
        foreach (var claim in _delayed.OrderBy(VolumeMatch.Asked).ThenBy(claim => claim.Name(), StringComparer.Ordinal))
        {
            if (VolumeMatch.Find(claim, _catalog!.Volumes.Values, taken, node, true) is not { } volume)
                return null;
            taken.Add(volume.Name());
            chosen.Add((volume, claim));
        }

        return chosen;
    }

    private string Add(JsonObject pod, ClaimUse use)
    {
        if (_catalog!.Claim(pod.Namespace(), use.Name) is not { } claim)
            return use.IsEphemeral ? $"waiting for ephemeral volume controller to create the persistentvolumeclaim \"{use.Name}\"" : $"persistentvolumeclaim \"{use.Name}\" not found";
        if (use.IsEphemeral && !PodClaims.IsOwnedBy(claim, pod))
            return EphemeralCore.NotOwner(claim, pod);
        var name = claim.Text("spec", "volumeName");
        if (claim.Text("status", "phase") == "Lost")
            return $"persistentvolumeclaim \"{use.Name}\" bound to non-existent persistentvolume \"{name}\"";
        if (claim.IsDeleting())
            return $"persistentvolumeclaim \"{use.Name}\" is being deleted";
        _isUsedByOther |= claim.Texts("spec", "accessModes").Contains("ReadWriteOncePod", StringComparer.Ordinal)
            && _catalog.Pods.Any(other => other.Uid() != pod.Uid() && !Conditions.IsFinished(other) && PodClaims.Holds(other, claim));
        if (VolumeMatch.IsBound(claim) && name.Length > 0)
        {
            if (_catalog.Volumes.TryGetValue(name, out var volume))
                _bound.Add(volume);
            else
                _isMissingVolume = true;
        }
        else if (name.Length == 0 && VolumeMatch.IsDelayed(claim, _catalog.Class))
        {
            _delayed.Add(claim);
        }
        else
        {
            return "pod has unbound immediate PersistentVolumeClaims";
        }

        return "";
    }
}
