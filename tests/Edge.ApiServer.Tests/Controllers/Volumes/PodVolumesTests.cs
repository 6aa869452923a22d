using System.Text.Json.Nodes;
using Edge.ApiServer.Controllers.Scheduling;
using Edge.ApiServer.Controllers.Volumes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Controllers.Volumes;

[Trait("Category", "Unit")]
public sealed class PodVolumesTests
{
    private const string OnB = """{"storageClassName":"late","local":{"path":"/x"},"hostPath":null,"nodeAffinity":{"required":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"kubernetes.io/hostname","operator":"In","values":["b"]}]}]}}}""";
    private const string Late = """{"storageClassName":"late"}""";

    [Fact]
    public void A_pod_goes_where_its_bound_volume_is()
    {
        var storage = new Storage().Volume("v", "1Gi", OnB).Claim("c", "1Gi", Late).Settle();
        Assert.Equal("b", Place(storage, storage.Pod("p", "c")).Node);
        Assert.Equal("0/1 nodes are available: 1 node(s) had volume node affinity conflict.", Place(storage, storage.Pod("q", "c"), "a").Message);
    }

    [Fact]
    public void A_claim_that_waits_chooses_among_the_volumes_of_the_pods_node()
    {
        var storage = new Storage().Class("late", "WaitForFirstConsumer").Volume("small", "1Gi", Late).Volume("there", "2Gi", OnB).Claim("c", "2Gi", Late).Settle();
        Assert.Equal("Pending", storage.OfClaim("c"));
        var pod = storage.Pod("p", "c");
        Assert.Equal("0/1 nodes are available: 1 node(s) didn't find available persistent volumes to bind.", Place(storage, pod, "a").Message);
        var volumes = PodVolumes.Read(pod, Catalog(storage));
        Assert.True(volumes.IsWaiting);
        Assert.Equal("b", Place(storage, pod).Node);
        var (volume, claim) = Assert.Single(volumes.Choose(Node("b"))!);
        Assert.Equal(("there", "c"), (volume.Name(), claim.Name()));

        // Once it is reserved the binder binds it, and the pod waits no more.
        storage.Volumes["there"] = VolumeWrites.Reserve(volume, claim)!;
        Assert.Equal("Bound there", storage.Settle().OfClaim("c"));
        Assert.False(PodVolumes.Read(pod, Catalog(storage)).IsWaiting);
        Assert.Equal("b", Place(storage, pod).Node);
    }

    [Fact]
    public void Two_claims_of_a_pod_need_two_volumes_and_the_larger_one_is_left_to_the_larger_claim()
    {
        var storage = new Storage().Class("late", "WaitForFirstConsumer").Volume("large", "5Gi", Late).Claim("big", "4Gi", Late).Claim("little", "1Gi", Late).Settle();
        var pod = storage.Pod("p", "big");
        pod.Child("spec")["volumes"]!.AsArray().Add((JsonNode)Json.Object("""{"name":"w","persistentVolumeClaim":{"claimName":"little"}}"""));
        Assert.Null(PodVolumes.Read(pod, Catalog(storage)).Choose(Node("a")));
        storage.Volume("other", "2Gi", Late);
        Assert.Equal([("other", "little"), ("large", "big")], PodVolumes.Read(pod, Catalog(storage)).Choose(Node("a"))!.Select(pair => (pair.Volume.Name(), pair.Claim.Name())));
    }

    [Fact]
    public void What_no_node_can_mend_is_said_in_Kubernetes_words()
    {
        var storage = new Storage().Volume("v", "1Gi").Volume("gone", "9Gi").Claim("bound", "9Gi").Claim("once", "1Gi", """{"accessModes":["ReadWriteOncePod"]}""").Claim("waits", "3Gi").Settle();
        storage.Volumes["v"].Child("spec")["accessModes"] = new JsonArray("ReadWriteOncePod");
        storage.Settle();
        Assert.Equal("0/2 nodes are available: persistentvolumeclaim \"nope\" not found.", Place(storage, storage.Pod("a", "nope")).Message);
        Assert.Equal("0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.", Place(storage, storage.Pod("b", "waits")).Message);
        storage.Pod("user", "once", "a");
        Assert.Equal("0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode.", Place(storage, storage.Pod("c", "once")).Message);
        storage.Volumes.Remove("gone");
        Assert.Equal("0/2 nodes are available: 2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s).", Place(storage, storage.Pod("d", "bound")).Message);
        storage.Settle();
        Assert.Equal("0/2 nodes are available: persistentvolumeclaim \"bound\" bound to non-existent persistentvolume \"gone\".", Place(storage, storage.Pod("e", "bound")).Message);
        storage.Delete(storage.Claims["waits"]);
        Assert.Equal("0/2 nodes are available: persistentvolumeclaim \"waits\" is being deleted.", Place(storage, storage.Pod("f", "waits")).Message);
    }

    [Fact]
    public void An_ephemeral_volume_has_a_claim_of_its_pods_own()
    {
        var storage = new Storage();
        var pod = Json.Object("""
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"d","uid":"p1"},"spec":{"volumes":[{"name":"scratch","ephemeral":{"volumeClaimTemplate":
              {"metadata":{"labels":{"a":"b"}},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}}}]}}
            """);
        storage.Pods.Add(pod);
        Assert.Equal("0/2 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim \"p-scratch\".", Place(storage, pod).Message);
        var made = Assert.IsType<CreateClaimAction>(Assert.Single(EphemeralCore.Step(storage.World))).Claim;
        Assert.Equal(("p-scratch", "d", "b", "1Gi"), (made.Name(), made.Namespace(), made.Label("a"), made.Text("spec", "resources", "requests", "storage")));
        Assert.True(PodClaims.IsOwnedBy(made, pod));
        storage.Claims["p-scratch"] = made;
        Assert.Empty(EphemeralCore.Step(storage.World));

        // A claim of that name that is another's is not used.
        storage.Claim("p-scratch", "1Gi");
        const string NotOwner = "PVC d/p-scratch was not created for pod d/p (pod is not owner)";
        Assert.Equal(NotOwner, Assert.IsType<TellAction>(Assert.Single(EphemeralCore.Step(storage.World))).Event.Message);
        Assert.Equal($"0/2 nodes are available: {NotOwner}.", Place(storage, pod).Message);
    }

    private static Placement Place(Storage storage, JsonObject pod, params string[] nodes)
        => SchedulerCore.Place(pod, [.. (nodes.Length > 0 ? nodes : ["a", "b"]).Select(name => new NodeInfo(Node(name)))], PodVolumes.Read(pod, Catalog(storage)));

    private static VolumeCatalog Catalog(Storage storage)
        => new((_, name) => storage.Claims.GetValueOrDefault(name), new Dictionary<string, JsonObject>(storage.Volumes), name => storage.Classes.GetValueOrDefault(name), storage.Pods);

    private static JsonObject Node(string name)
        => Json.Object($$$"""{"metadata":{"name":"{{{name}}}","labels":{"kubernetes.io/hostname":"{{{name}}}"}},"status":{"allocatable":{"cpu":"4","memory":"8Gi"},"conditions":[{"type":"Ready","status":"True"}]}}""");
}
