using System.Text.Json.Nodes;
using Edge.ApiServer.Validation;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Validation;

[Trait("Category", "Kubernetes")]
public sealed class StorageRulesTests
{
    private const string Volume = """{"metadata":{"name":"v"},"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/data"}}}""";
    private const string Claim = """{"metadata":{"name":"c","namespace":"d"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}""";
    private const string Class = """{"metadata":{"name":"s"},"provisioner":"kubernetes.io/no-provisioner"}""";

    [Fact]
    public void Right_ones_get_the_defaults_of_Kubernetes_and_have_no_fault()
    {
        var (volume, claim, storageClass) = (Defaulted(ResourceKind.PersistentVolume, Volume), Defaulted(ResourceKind.PersistentVolumeClaim, Claim), Defaulted(ResourceKind.StorageClass, Class));
        Assert.Equal(("Retain", "Filesystem", "Pending", ""), (volume.Text("spec", "persistentVolumeReclaimPolicy"), volume.Text("spec", "volumeMode"), volume.Text("status", "phase"), volume.Text("spec", "hostPath", "type")));
        Assert.NotNull(volume.At("spec", "hostPath", "type"));
        Assert.Equal(("Filesystem", "Pending"), (claim.Text("spec", "volumeMode"), claim.Text("status", "phase")));
        Assert.Equal(("Delete", "Immediate"), (storageClass.Text("reclaimPolicy"), storageClass.Text("volumeBindingMode")));
        foreach (var (kind, obj) in new[] { (ResourceKind.PersistentVolume, volume), (ResourceKind.PersistentVolumeClaim, claim), (ResourceKind.StorageClass, storageClass) })
        {
            Assert.Empty(BuiltinObjects.Validate(kind, obj, null));
            Assert.Empty(BuiltinObjects.Validate(kind, obj, (JsonObject)obj.DeepClone()));
            Assert.Empty(BuiltinObjects.UnknownFields(kind, obj));
        }
    }

    [Theory]
    [InlineData("""{"capacity":null}""", "spec.capacity: Required value")]
    [InlineData("""{"capacity":null}""", "spec.capacity: Unsupported value: core.ResourceList(nil): supported values: \"storage\"")]
    [InlineData("""{"capacity":{"storage":"0"}}""", "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero")]
    [InlineData("""{"capacity":{"storage":"much"}}""", "quantities must match the regular expression")]
    [InlineData("""{"accessModes":null}""", "spec.accessModes: Required value")]
    [InlineData("""{"accessModes":["RWO"]}""", "spec.accessModes: Unsupported value: \"RWO\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"")]
    [InlineData("""{"accessModes":["ReadWriteOncePod","ReadWriteOnce"]}""", "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes")]
    [InlineData("""{"hostPath":null}""", "spec: Required value: must specify a volume type")]
    [InlineData("""{"nfs":{"server":"s","path":"/"}}""", "spec.nfs: Forbidden: may not specify more than 1 volume type")]
    [InlineData("""{"hostPath":{"path":""}}""", "spec.hostPath.path: Required value")]
    [InlineData("""{"hostPath":{"path":"/a/../b"}}""", "spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'")]
    [InlineData("""{"hostPath":{"path":"/a","type":"Dir"}}""", "spec.hostPath.type: Unsupported value: \"Dir\"")]
    [InlineData("""{"hostPath":null,"local":{"path":"/a"}}""", "spec.nodeAffinity: Required value: Local volume requires node affinity")]
    [InlineData("""{"nodeAffinity":{}}""", "spec.nodeAffinity.required: Required value: must specify required node constraints")]
    [InlineData("""{"nodeAffinity":{"required":{"nodeSelectorTerms":[]}}}""", "spec.nodeAffinity.required.nodeSelectorTerms: Required value: must have at least one node selector term")]
    [InlineData("""{"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"k","operator":"In"}]}]}}}""", "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'")]
    [InlineData("""{"persistentVolumeReclaimPolicy":"Keep"}""", "spec.persistentVolumeReclaimPolicy: Unsupported value: \"Keep\": supported values: \"Delete\", \"Recycle\", \"Retain\"")]
    [InlineData("""{"hostPath":{"path":"/"},"persistentVolumeReclaimPolicy":"Recycle"}""", "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'")]
    [InlineData("""{"volumeMode":"Raw"}""", "spec.volumeMode: Unsupported value: \"Raw\": supported values: \"Block\", \"Filesystem\"")]
    [InlineData("""{"storageClassName":"A_b"}""", "spec.storageClassName: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain")]
    public void A_wrong_volume_is_told_what_and_where(string spec, string expected)
        => Told(ResourceKind.PersistentVolume, Patched(Volume, spec), null, expected);

    [Theory]
    [InlineData("""{"accessModes":null}""", "spec.accessModes: Required value: at least 1 access mode is required")]
    [InlineData("""{"resources":null}""", "spec.resources[storage]: Required value")]
    [InlineData("""{"resources":{"requests":{"storage":"-1"}}}""", "spec.resources[storage]: Invalid value: \"-1\": must be greater than zero")]
    [InlineData("""{"selector":{"matchExpressions":[{"key":"a","operator":"Like"}]}}""", "spec.selector.matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator")]
    public void A_wrong_claim_is_told_what_and_where(string spec, string expected)
        => Told(ResourceKind.PersistentVolumeClaim, Patched(Claim, spec), null, expected);

    [Theory]
    [InlineData("""{"hostPath":{"path":"/other"}}""", "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation")]
    [InlineData("""{"volumeMode":"Block"}""", "volumeMode: Invalid value: \"Block\": field is immutable")]
    [InlineData("""{"capacity":{"storage":"2Gi"},"persistentVolumeReclaimPolicy":"Delete","claimRef":{"namespace":"d","name":"c"},"storageClassName":"x"}""", "")]
    public void Of_a_volume_the_source_and_the_mode_stay(string spec, string expected)
        => Told(ResourceKind.PersistentVolume, Patched(Volume, spec), Defaulted(ResourceKind.PersistentVolume, Volume), expected);

    [Theory]
    [InlineData("Pending", """{"volumeName":"v"}""", "")]
    [InlineData("Pending", """{"storageClassName":"s"}""", "")]
    [InlineData("Pending", """{"resources":{"requests":{"storage":"2Gi"}}}""", "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims")]
    [InlineData("Pending", """{"resources":{"requests":{"storage":"1024Mi"}}}""", "")]
    [InlineData("Bound", """{"resources":{"requests":{"storage":"2Gi"}}}""", "")]
    [InlineData("Bound", """{"resources":{"requests":{"storage":"512Mi"}}}""", "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity")]
    [InlineData("Bound", """{"accessModes":["ReadWriteMany"]}""", "spec: Forbidden: spec is immutable after creation")]
    public void Of_a_claim_only_the_size_changes_and_what_was_not_said_may_be_said_once(string phase, string spec, string expected)
    {
        var old = Defaulted(ResourceKind.PersistentVolumeClaim, Claim);
        old["status"] = Json.Object($$$"""{"phase":"{{{phase}}}","capacity":{"storage":"1Gi"}}""");
        var next = Patched(Claim, spec);
        next["status"] = old["status"]!.DeepClone();
        Told(ResourceKind.PersistentVolumeClaim, next, old, expected);
    }

    [Fact]
    public void A_claims_volume_and_class_stay_once_they_are_said()
    {
        var old = Patched(Claim, """{"volumeName":"v","storageClassName":"s"}""");
        Told(ResourceKind.PersistentVolumeClaim, Patched(Claim, """{"volumeName":"w","storageClassName":"s"}"""), old, "changed: spec.volumeName");
        Told(ResourceKind.PersistentVolumeClaim, Patched(Claim, """{"volumeName":"v","storageClassName":"t"}"""), old, "changed: spec.storageClassName");
    }

    [Theory]
    [InlineData("""{"provisioner":null}""", "provisioner: Required value")]
    [InlineData("""{"volumeBindingMode":"Later"}""", "volumeBindingMode: Unsupported value: \"Later\": supported values: \"Immediate\", \"WaitForFirstConsumer\"")]
    [InlineData("""{"provisioner":"other.example.com"}""", "provisioner: Forbidden: updates to provisioner are forbidden.")]
    [InlineData("""{"parameters":{"a":"b"}}""", "parameters: Forbidden: updates to parameters are forbidden.")]
    [InlineData("""{"reclaimPolicy":"Retain"}""", "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.")]
    [InlineData("""{"volumeBindingMode":"WaitForFirstConsumer"}""", "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable")]
    [InlineData("""{"allowVolumeExpansion":true}""", "")]
    public void A_class_is_checked_and_hardly_changes(string patch, string expected)
    {
        var next = Json.Object(Class);
        foreach (var (key, value) in Json.Object(patch))
            next[key] = value?.DeepClone();
        BuiltinObjects.Default(ResourceKind.StorageClass, next);
        Told(ResourceKind.StorageClass, next, Defaulted(ResourceKind.StorageClass, Class), expected);
    }

    private static void Told(ResourceKind kind, JsonObject obj, JsonObject? old, string expected)
    {
        var errors = BuiltinObjects.Validate(kind, obj, old).ConvertAll(error => error.ToString());
        if (expected.Length == 0)
            Assert.Empty(errors);
        else
            Assert.Contains(errors, error => error.Contains(expected, StringComparison.Ordinal));
    }

    private static JsonObject Patched(string json, string spec)
    {
        var obj = Json.Object(json);
        foreach (var (key, value) in Json.Object(spec))
            obj.Child("spec")[key] = value?.DeepClone();
        BuiltinObjects.Default(json == Volume ? ResourceKind.PersistentVolume : ResourceKind.PersistentVolumeClaim, obj);
        return obj;
    }

    private static JsonObject Defaulted(ResourceKind kind, string json)
    {
        var obj = Json.Object(json);
        BuiltinObjects.Default(kind, obj);
        return obj;
    }
}
