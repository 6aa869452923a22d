using System.Globalization;
using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Volumes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Controllers.Volumes;

/// <summary>Volumes, claims, classes and pods in memory, to which the binder's actions are done as the API would do them.</summary>
internal sealed class Storage
{
    private static readonly DateTimeOffset s_now = DateTimeOffset.UnixEpoch.AddYears(56);

    private long _version;

    public Dictionary<string, JsonObject> Volumes { get; } = [];

    public Dictionary<string, JsonObject> Claims { get; } = [];

    public Dictionary<string, JsonObject> Classes { get; } = [];

    public List<JsonObject> Pods { get; } = [];

    /// <summary>The reasons of the events told, and what they were about.</summary>
    public List<(string Name, string Reason, string Message)> Told { get; } = [];

    public VolumeWorld World => new([.. Claims.Values], [.. Volumes.Values], [.. Classes.Values], Pods);

    /// <summary>A hostPath volume; <paramref name="spec"/> is merged over its spec.</summary>
    public Storage Volume(string name, string size, string spec = "{}", string metadata = "{}")
    {
        Volumes[name] = Merge(
            new JsonObject
            {
                ["apiVersion"] = "v1",
                ["kind"] = "PersistentVolume",
                ["metadata"] = new JsonObject { ["name"] = name, ["uid"] = "v-" + name },
                ["spec"] = new JsonObject
                {
                    ["capacity"] = new JsonObject { ["storage"] = size },
                    ["accessModes"] = new JsonArray("ReadWriteOnce"),
                    ["hostPath"] = new JsonObject { ["path"] = "/data/" + name },
                    ["persistentVolumeReclaimPolicy"] = "Retain",
                    ["volumeMode"] = "Filesystem",
                },
                ["status"] = new JsonObject { ["phase"] = "Available" },
            },
            $$"""{"metadata":{{metadata}},"spec":{{spec}}}""");
        Number(Volumes[name]);
        return this;
    }

    public Storage Claim(string name, string size, string spec = "{}", string metadata = "{}", string uid = "")
    {
        Claims[name] = Merge(
            new JsonObject
            {
                ["apiVersion"] = "v1",
                ["kind"] = "PersistentVolumeClaim",
                ["metadata"] = new JsonObject { ["name"] = name, ["namespace"] = "d", ["uid"] = uid.Length > 0 ? uid : "c-" + name },
                ["spec"] = new JsonObject
                {
                    ["resources"] = new JsonObject { ["requests"] = new JsonObject { ["storage"] = size } },
                    ["accessModes"] = new JsonArray("ReadWriteOnce"),
                    ["storageClassName"] = "",
                    ["volumeMode"] = "Filesystem",
                },
                ["status"] = new JsonObject { ["phase"] = "Pending" },
            },
            $$"""{"metadata":{{metadata}},"spec":{{spec}}}""");
        Number(Claims[name]);
        return this;
    }

    public Storage Class(string name, string mode = "Immediate", string provisioner = "kubernetes.io/no-provisioner", bool isDefault = false)
    {
        Classes[name] = Json.Object($$"""{"metadata":{"name":"{{name}}","uid":"s-{{name}}"},"provisioner":"{{provisioner}}","volumeBindingMode":"{{mode}}"}""");
        if (isDefault)
            Classes[name].Child("metadata").Child("annotations")["storageclass.kubernetes.io/is-default-class"] = "true";
        return this;
    }

    public JsonObject Pod(string name, string claim, string node = "")
    {
        var pod = Json.Object($$$"""{"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{{name}}}","namespace":"d","uid":"p-{{{name}}}"},"spec":{"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"{{{claim}}}"}}]}}""");
        if (node.Length > 0)
            pod.Child("spec")["nodeName"] = node;
        Pods.Add(pod);
        return pod;
    }

    public Storage Delete(JsonObject obj)
    {
        obj.Child("metadata")["deletionTimestamp"] = KubeObject.Time(s_now);
        return this;
    }

    /// <summary>One round: decides and does, with the number of writes.</summary>
    /// <param name="works">Whether the next write arrives; null lets all arrive.</param>
    public int Step(Func<bool>? works = null)
    {
        var writes = 0;
        foreach (var action in (VolumeAction[])[.. BinderCore.Step(World, s_now), .. ProtectionCore.Step(World)])
        {
            if (action is not TellAction)
                writes++;
            Do(action, works ?? (() => true));
        }

        return writes;
    }

    /// <summary>Rounds until nothing is left to write.</summary>
    public Storage Settle()
    {
        for (var round = 0; round < 20; round++)
        {
            if (Step() == 0)
                return this;
        }

        throw new InvalidOperationException("does not settle");
    }

    /// <summary>Phase, and the other side: <c>Bound v</c>, <c>Pending</c>.</summary>
    public string OfClaim(string name) => $"{Claims[name].Text("status", "phase")} {Claims[name].Text("spec", "volumeName")}".TrimEnd();

    public string OfVolume(string name) => $"{Volumes[name].Text("status", "phase")} {Volumes[name].Text("spec", "claimRef", "name")}".TrimEnd();

    private void Do(VolumeAction action, Func<bool> works)
    {
        switch (action)
        {
            case BindAction bind:
                var (volume, claim) = (bind.Volume, bind.Claim);
                if (Write(Volumes, ref volume, VolumeWrites.Reserve(volume, claim)) && Write(Volumes, ref volume, VolumeWrites.Phase(volume, "Bound", s_now))
                    && Write(Claims, ref claim, VolumeWrites.Bind(claim, volume)))
                    Write(Claims, ref claim, VolumeWrites.Bound(claim, volume));
                break;
            case WriteAction write:
                if (Put(write.Kind == ResourceKind.PersistentVolume ? Volumes : Claims, write.Next) && write.Event is { } said)
                    Told.Add((write.Next.Name(), said.Reason, said.Message));
                break;
            case LoseAction lose:
                if (Put(Claims, lose.Next))
                    Told.Add((lose.Claim.Name(), lose.Event.Reason, lose.Event.Message));
                break;
            case ReleaseAction release:
                Put(Volumes, release.Next);
                break;
            case FreeClaimAction free:
                Put(Claims, free.Next);
                break;
            case TellAction tell:
                Told.Add((tell.About.Name(), tell.Event.Reason, tell.Event.Message));
                break;
            default:
                throw new InvalidOperationException(action.ToString());
        }

        bool Write(Dictionary<string, JsonObject> objects, ref JsonObject obj, JsonObject? next)
        {
            if (next is null)
                return true;
            if (!Put(objects, next))
                return false;
            obj = objects[next.Name()];
            return true;
        }

        // As the API: only over the version that it was made from; gone once it is deleted and has no finalizer.
        bool Put(Dictionary<string, JsonObject> objects, JsonObject next)
        {
            if (!works() || objects.GetValueOrDefault(next.Name())?.ResourceVersion() != next.ResourceVersion())
                return false;
            var stored = (JsonObject)next.DeepClone();
            Number(stored);
            if (next.IsDeleting() && !next.Texts("metadata", "finalizers").Any())
                objects.Remove(next.Name());
            else
                objects[next.Name()] = stored;
            return true;
        }
    }

    private void Number(JsonObject obj) => obj.Child("metadata")["resourceVersion"] = (++_version).ToString(CultureInfo.InvariantCulture);

    private static JsonObject Merge(JsonObject target, string patch) => Merge(target, Json.Object(patch));

    private static JsonObject Merge(JsonObject target, JsonObject patch)
    {
        foreach (var (key, value) in patch)
        {
            if (value is JsonObject nested && target[key] is JsonObject existing)
                Merge(existing, nested);
            else if (value is null)
                target.Remove(key);
            else
                target[key] = value.DeepClone();
        }

        return target;
    }
}
