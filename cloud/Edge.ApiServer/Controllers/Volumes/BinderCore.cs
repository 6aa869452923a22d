using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.Kubernetes;

namespace Edge.ApiServer.Controllers.Volumes;

/// <summary>What to do about claims and volumes, as Kubernetes' persistent volume controller has it (pv_controller.go), with its words. Pure: the
/// same world gives the same actions, and a world in which they are done gives none but what it tells.</summary>
internal sealed class BinderCore
{
    private const string NoProvisionerPrefix = "kubernetes.io/";

    private readonly VolumeWorld _world;
    private readonly DateTimeOffset _now;
    private readonly Dictionary<string, JsonObject> _volumes;
    private readonly Dictionary<string, JsonObject> _classes;
    private readonly Dictionary<(string, string), JsonObject> _claims;
    private readonly HashSet<string> _taken = new(StringComparer.Ordinal);
    private readonly List<VolumeAction> _actions = [];

    private BinderCore(VolumeWorld world, DateTimeOffset now)
    {
        _world = world;
        _now = now;
        _volumes = world.Volumes.ToDictionary(volume => volume.Name(), StringComparer.Ordinal);
        _classes = world.Classes.ToDictionary(storageClass => storageClass.Name(), StringComparer.Ordinal);
        _claims = world.Claims.ToDictionary(claim => (claim.Namespace(), claim.Name()));
    }

    public static IReadOnlyList<VolumeAction> Step(VolumeWorld world, DateTimeOffset now)
    {
        var core = new BinderCore(world, now);
        // Bound claims first: what they have is nobody else's. Then who asked first.
        foreach (var claim in world.Claims.OrderBy(claim => VolumeMatch.IsBound(claim) ? 0 : 1).ThenBy(claim => claim.Text("metadata", "creationTimestamp"), StringComparer.Ordinal)
            .ThenBy(claim => claim.Namespace(), StringComparer.Ordinal).ThenBy(claim => claim.Name(), StringComparer.Ordinal))
        {
            if (VolumeMatch.IsBound(claim))
                core.BoundClaim(claim);
            else if (!claim.IsDeleting())
                core.UnboundClaim(claim);
        }

        foreach (var volume in world.Volumes.OrderBy(volume => volume.Name(), StringComparer.Ordinal).Where(volume => !core._taken.Contains(volume.Name())))
            core.Volume(volume);
        return core._actions;
    }

    private JsonObject? FindClass(string name) => _classes.GetValueOrDefault(name);

    private void BoundClaim(JsonObject claim)
    {
        var name = claim.Text("spec", "volumeName");
        if (name.Length == 0)
            Lose(claim, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
        else if (!_volumes.TryGetValue(name, out var volume))
            Lose(claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
        else if (volume.At("spec", "claimRef") is null || volume.Text("spec", "claimRef", "uid") == claim.Uid())
            Bind(volume, claim);
        else
            Lose(claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly");
    }

    private void Lose(JsonObject claim, string reason, string message)
    {
        if (VolumeWrites.Unbound(claim, "Lost") is { } next)
            _actions.Add(new LoseAction(claim, next, new VolumeEvent("Warning", reason, message)));
    }

    private void UnboundClaim(JsonObject claim)
    {
        if (claim.Text("spec", "volumeName") is { Length: > 0 } asked)
        {
            AskedVolume(claim, asked);
            return;
        }

        var isDelayed = VolumeMatch.IsDelayed(claim, FindClass);
        if (VolumeMatch.Find(claim, _world.Volumes, _taken, null, isDelayed) is { } volume)
            Bind(volume, claim);
        else if (StorageAnnotations.HasNoClass(claim) && StorageAnnotations.DefaultClass(_world.Classes) is { } defaultClass)
            SetClass(claim, defaultClass.Name());
        else
            Wait(claim, Reason(claim, isDelayed));
    }

    private void AskedVolume(JsonObject claim, string name)
    {
        if (!_volumes.TryGetValue(name, out var volume))
            Wait(claim, null);
        else if (VolumeMatch.IsReservedFor(volume, claim))
            Bind(volume, claim);
        else if (volume.At("spec", "claimRef") is not null || _taken.Contains(name))
            Wait(claim, new VolumeEvent("Warning", "FailedBinding", $"volume \"{name}\" already bound to a different claim."));
        else if (VolumeMatch.Mismatch(volume, claim) is { } mismatch)
            Wait(claim, new VolumeEvent("Warning", "VolumeMismatch", $"Cannot bind to requested volume \"{name}\": {mismatch}"));
        else
            Bind(volume, claim);
    }

    private VolumeEvent Reason(JsonObject claim, bool isDelayed)
    {
        if (isDelayed)
        {
            var pods = _world.Pods.Where(pod => pod.Text("spec", "nodeName").Length == 0 && PodClaims.Uses(pod, claim)).Select(pod => pod.Name()).Order(StringComparer.Ordinal).ToList();
            return pods.Count == 0
                ? new VolumeEvent("Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding")
                : new VolumeEvent("Normal", "WaitForPodScheduled", $"waiting for pod{(pods.Count > 1 ? "s" : "")} {string.Join(",", pods)} to be scheduled");
        }

        var name = StorageAnnotations.ClassOf(claim);
        if (name.Length == 0)
            return new VolumeEvent("Normal", "FailedBinding", "no persistent volumes available for this claim and no storage class is set");
        if (FindClass(name) is not { } storageClass)
            return new VolumeEvent("Warning", "ProvisioningFailed", $"storageclass.storage.k8s.io \"{name}\" not found");
        var provisioner = storageClass.Text("provisioner");
        return provisioner.StartsWith(NoProvisionerPrefix, StringComparison.Ordinal)
            ? new VolumeEvent("Warning", "ProvisioningFailed", $"no volume plugin matched name: {provisioner}")
            : new VolumeEvent("Normal", "ExternalProvisioning",
                $"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.");
    }

    private void Wait(JsonObject claim, VolumeEvent? why)
    {
        if (VolumeWrites.Unbound(claim, "Pending") is { } next)
            _actions.Add(new WriteAction(ResourceKind.PersistentVolumeClaim, next, "status"));
        if (why is not null)
            _actions.Add(new TellAction(claim, why));
    }

    private void SetClass(JsonObject claim, string name)
    {
        var next = (JsonObject)claim.DeepClone();
        next.Child("spec")["storageClassName"] = name;
        _actions.Add(new WriteAction(ResourceKind.PersistentVolumeClaim, next, null));
    }

    private void Bind(JsonObject volume, JsonObject claim)
    {
        _taken.Add(volume.Name());
        if (VolumeWrites.Reserve(volume, claim) is not null || VolumeWrites.Phase(volume, "Bound", _now) is not null
            || VolumeWrites.Bind(claim, volume) is not null || VolumeWrites.Bound(claim, volume) is not null)
        {
            _actions.Add(new BindAction(volume, claim));
        }
        else if (claim.At("status", "capacity", "storage") is { } capacity && VolumeMatch.Asked(claim) > VolumeMatch.Read(capacity))
        {
            _actions.Add(new TellAction(claim, new VolumeEvent("Normal", "ExternalExpanding", "waiting for an external controller to expand this PVC")));
        }
    }

    private void Volume(JsonObject volume)
    {
        var reference = volume.At("spec", "claimRef");
        if (reference is null || reference.Text("uid").Length == 0)
        {
            SetPhase(volume, "Available");
            return;
        }

        var claim = _claims.GetValueOrDefault((reference.Text("namespace"), reference.Text("name")));
        if (claim is null || claim.Uid() != reference.Text("uid"))
            Reclaim(volume);
        else if (claim.Text("spec", "volumeName") == volume.Name())
            SetPhase(volume, "Bound");
        else if (claim.Text("spec", "volumeName").Length > 0)
            _actions.Add(new WriteAction(ResourceKind.PersistentVolume, VolumeWrites.Unreserve(volume), null));
        else if (claim.Text("spec", "volumeMode") != volume.Text("spec", "volumeMode"))
            _actions.Add(new TellAction(volume, new VolumeEvent("Warning", "VolumeMismatch",
                $"Cannot bind PersistentVolume to requested PersistentVolumeClaim \"{claim.Namespace()}/{claim.Name()}\" due to incompatible volumeMode.")));
    }

    // The claim is gone. What a node keeps in a directory nobody can delete from here.
    private void Reclaim(JsonObject volume)
    {
        var phase = volume.Text("status", "phase");
        if (phase is not ("Released" or "Failed"))
        {
            _actions.Add(new ReleaseAction(volume, VolumeWrites.Phase(volume, "Released", _now)!));
            return;
        }

        // An external provisioner deletes what it made.
        var isExternal = volume.Annotation(StorageAnnotations.ProvisionedBy) is { } provisioner && !provisioner.StartsWith(NoProvisionerPrefix, StringComparison.Ordinal);
        if (phase == "Failed" || isExternal)
            return;
        var (reason, message) = volume.Text("spec", "persistentVolumeReclaimPolicy") switch
        {
            "Delete" => ("VolumeFailedDelete", $"error getting deleter volume plugin for volume \"{volume.Name()}\": no deletable volume plugin matched"),
            "Recycle" => ("VolumeFailedRecycle", "No recycler plugin found for the volume!"),
            _ => ("", ""),
        };
        if (reason.Length > 0)
            _actions.Add(new WriteAction(ResourceKind.PersistentVolume, VolumeWrites.Phase(volume, "Failed", _now, message)!, "status", new VolumeEvent("Warning", reason, message)));
    }

    private void SetPhase(JsonObject volume, string phase)
    {
        if (VolumeWrites.Phase(volume, phase, _now) is { } next)
            _actions.Add(new WriteAction(ResourceKind.PersistentVolume, next, "status"));
    }
}
