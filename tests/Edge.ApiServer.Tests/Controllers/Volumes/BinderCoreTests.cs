using Edge.ApiServer.Controllers.Volumes;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Controllers.Volumes;

[Trait("Category", "Unit")]
public sealed class BinderCoreTests
{
    [Fact]
    public void A_claim_gets_the_smallest_volume_that_fits_and_both_say_so()
    {
        var storage = new Storage().Volume("small", "1Gi").Volume("big", "10Gi").Volume("fits", "3Gi").Claim("c", "2Gi").Settle();
        Assert.Equal(("Bound fits", "Bound c", "Available", "Available"), (storage.OfClaim("c"), storage.OfVolume("fits"), storage.OfVolume("small"), storage.OfVolume("big")));
        var claim = storage.Claims["c"];
        Assert.Equal(("yes", "yes"), (claim.Annotation("pv.kubernetes.io/bind-completed"), claim.Annotation("pv.kubernetes.io/bound-by-controller")));
        Assert.Equal("3Gi", claim.Text("status", "capacity", "storage"));
        Assert.Equal(["ReadWriteOnce"], claim.Texts("status", "accessModes"));
        Assert.Equal(("c-c", "d"), (storage.Volumes["fits"].Text("spec", "claimRef", "uid"), storage.Volumes["fits"].Text("spec", "claimRef", "namespace")));
        Assert.Equal("yes", storage.Volumes["fits"].Annotation("pv.kubernetes.io/bound-by-controller"));
    }

    [Theory]
    [InlineData("""{"storageClassName":"fast"}""", "{}", "{}", false)]
    [InlineData("""{"storageClassName":"fast"}""", "{}", """{"storageClassName":"fast"}""", true)]
    [InlineData("{}", "{}", """{"accessModes":["ReadWriteMany"]}""", false)]
    [InlineData("""{"accessModes":["ReadWriteOnce","ReadWriteMany"]}""", "{}", """{"accessModes":["ReadWriteMany"]}""", true)]
    [InlineData("""{"volumeMode":"Block"}""", "{}", "{}", false)]
    [InlineData("{}", """{"labels":{"disk":"ssd"}}""", """{"selector":{"matchLabels":{"disk":"ssd"}}}""", true)]
    [InlineData("{}", """{"labels":{"disk":"hdd"}}""", """{"selector":{"matchExpressions":[{"key":"disk","operator":"In","values":["ssd"]}]}}""", false)]
    [InlineData("{}", """{"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["x/y"]}""", "{}", false)]
    [InlineData("""{"claimRef":{"namespace":"d","name":"other"}}""", "{}", "{}", false)]
    [InlineData("""{"claimRef":{"namespace":"d","name":"c"}}""", "{}", "{}", true)]
    [InlineData("""{"claimRef":{"namespace":"d","name":"c","uid":"another"}}""", "{}", "{}", false)]
    [InlineData("""{"capacity":{"storage":"2000000000"}}""", "{}", "{}", false)]
    public void Class_modes_selector_and_reservation_decide(string volumeSpec, string volumeMetadata, string claimSpec, bool isBound)
    {
        var storage = new Storage().Volume("v", "2Gi", volumeSpec, volumeMetadata).Claim("c", "2Gi", claimSpec).Settle();
        Assert.Equal(isBound ? "Bound v" : "Pending", storage.OfClaim("c"));
    }

    [Fact]
    public void A_reserved_volume_wins_over_a_smaller_one_and_is_not_marked_as_the_controllers()
    {
        var storage = new Storage().Volume("a", "1Gi").Volume("mine", "9Gi", """{"claimRef":{"namespace":"d","name":"c"}}""").Claim("c", "1Gi").Settle();
        Assert.Equal("Bound mine", storage.OfClaim("c"));
        Assert.Null(storage.Volumes["mine"].Annotation("pv.kubernetes.io/bound-by-controller"));
    }

    [Fact]
    public void Volumes_with_no_more_modes_than_asked_come_first()
        => Assert.Equal("Bound exact", new Storage().Volume("wide", "1Gi", """{"accessModes":["ReadWriteOnce","ReadWriteMany"]}""").Volume("exact", "5Gi").Claim("c", "1Gi").Settle().OfClaim("c"));

    [Theory]
    [InlineData("1Gi", "{}", "{}", "Bound v", "", "")]
    [InlineData("9Gi", "{}", "{}", "Pending v", "VolumeMismatch", "Cannot bind to requested volume \"v\": requested PV is too small")]
    [InlineData("1Gi", """{"storageClassName":"x"}""", "{}", "Pending v", "VolumeMismatch", "Cannot bind to requested volume \"v\": storageClassName does not match")]
    [InlineData("1Gi", """{"volumeMode":"Block"}""", "{}", "Pending v", "VolumeMismatch", "Cannot bind to requested volume \"v\": incompatible volumeMode")]
    [InlineData("1Gi", """{"accessModes":["ReadOnlyMany"]}""", "{}", "Pending v", "VolumeMismatch", "Cannot bind to requested volume \"v\": incompatible accessMode")]
    [InlineData("1Gi", """{"selector":{"matchLabels":{"a":"b"}}}""", "{}", "Bound v", "", "")]
    [InlineData("1Gi", "{}", """{"claimRef":{"namespace":"d","name":"other"}}""", "Pending v", "FailedBinding", "volume \"v\" already bound to a different claim.")]
    public void A_claim_that_names_its_volume_gets_that_or_is_told_why_not(string size, string claimSpec, string volumeSpec, string state, string reason, string message)
    {
        var storage = new Storage().Volume("v", "2Gi", volumeSpec).Claim("c", size, claimSpec);
        storage.Claims["c"].Child("spec")["volumeName"] = "v";
        storage.Settle();
        Assert.Equal(state, storage.OfClaim("c"));
        Assert.Equal(reason.Length == 0 ? [] : [("c", reason, message)], storage.Told.Distinct());
    }

    [Fact]
    public void Why_a_claim_waits_is_said_in_Kubernetes_words()
    {
        var storage = new Storage().Class("none").Class("late", "WaitForFirstConsumer").Class("csi", provisioner: "csi.example.com").Volume("v", "1Gi", """{"storageClassName":"late"}""")
            .Claim("classless", "1Gi").Claim("static", "1Gi", """{"storageClassName":"none"}""").Claim("unknown", "1Gi", """{"storageClassName":"nope"}""")
            .Claim("external", "1Gi", """{"storageClassName":"csi"}""").Claim("first", "1Gi", """{"storageClassName":"late"}""").Claim("pod", "1Gi", """{"storageClassName":"late"}""")
            .Claim("pods", "1Gi", """{"storageClassName":"late"}""");
        storage.Pod("b", "pods");
        storage.Pod("a", "pods");
        storage.Pod("only", "pod");
        storage.Settle();
        Assert.Equal(
            [
                ("classless", "FailedBinding", "no persistent volumes available for this claim and no storage class is set"),
                ("external", "ExternalProvisioning", "Waiting for a volume to be created either by the external provisioner 'csi.example.com' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."),
                ("first", "WaitForFirstConsumer", "waiting for first consumer to be created before binding"),
                ("pod", "WaitForPodScheduled", "waiting for pod only to be scheduled"),
                ("pods", "WaitForPodScheduled", "waiting for pods a,b to be scheduled"),
                ("static", "ProvisioningFailed", "no volume plugin matched name: kubernetes.io/no-provisioner"),
                ("unknown", "ProvisioningFailed", "storageclass.storage.k8s.io \"nope\" not found"),
            ],
            storage.Told.Distinct().OrderBy(told => told.Name, StringComparer.Ordinal));
        Assert.Equal("Available", storage.OfVolume("v"));
    }

    [Fact]
    public void A_claim_without_a_class_takes_the_default_one_that_comes_later_unless_it_says_none()
    {
        var storage = new Storage().Volume("v", "1Gi", """{"storageClassName":"std"}""").Claim("any", "1Gi", """{"storageClassName":null}""").Claim("none", "1Gi").Settle();
        Assert.Equal("Pending", storage.OfClaim("any"));
        storage.Class("std", isDefault: true).Settle();
        Assert.Equal(("Bound v", "Pending"), (storage.OfClaim("any"), storage.OfClaim("none")));
        Assert.Equal("std", storage.Claims["any"].Text("spec", "storageClassName"));
    }

    [Theory]
    [InlineData("Retain", "Released c", "", "")]
    [InlineData("Delete", "Failed c", "VolumeFailedDelete", "error getting deleter volume plugin for volume \"v\": no deletable volume plugin matched")]
    [InlineData("Recycle", "Failed c", "VolumeFailedRecycle", "No recycler plugin found for the volume!")]
    public void A_volume_whose_claim_went_is_released_and_kept_and_serves_nobody_until_it_is_freed_by_hand(string policy, string state, string reason, string message)
    {
        var storage = new Storage().Volume("v", "1Gi", $$"""{"persistentVolumeReclaimPolicy":"{{policy}}"}""").Claim("c", "1Gi").Settle();
        storage.Claims.Remove("c");
        storage.Settle();
        Assert.Equal(state, storage.OfVolume("v"));
        Assert.Equal(reason.Length == 0 ? [] : [("v", reason, message)], storage.Told);
        Assert.Equal(message, storage.Volumes["v"].Text("status", "message"));

        // Neither the same name again nor another claim gets it.
        storage.Claim("c", "1Gi", uid: "c-second").Claim("other", "1Gi").Settle();
        Assert.Equal(("Pending", "Pending"), (storage.OfClaim("c"), storage.OfClaim("other")));
        storage.Volumes["v"].Child("spec").Remove("claimRef");
        storage.Settle();
        Assert.Equal("Bound v", storage.OfClaim("c"));
    }

    [Fact]
    public void What_an_external_provisioner_made_is_left_to_it()
    {
        var storage = new Storage().Volume("v", "1Gi", """{"persistentVolumeReclaimPolicy":"Delete"}""", """{"annotations":{"pv.kubernetes.io/provisioned-by":"csi.example.com"}}""").Claim("c", "1Gi").Settle();
        storage.Claims.Remove("c");
        Assert.Equal("Released c", storage.Settle().OfVolume("v"));
    }

    [Fact]
    public void A_bound_claim_whose_volume_goes_or_turns_away_is_lost()
    {
        var storage = new Storage().Volume("v", "1Gi").Volume("w", "2Gi").Claim("c", "1Gi").Claim("e", "2Gi").Settle();
        storage.Volumes.Remove("v");
        storage.Volumes["w"].Child("spec").Child("claimRef")["uid"] = "someone";
        storage.Settle();
        Assert.Equal(("Lost v", "Lost w"), (storage.OfClaim("c"), storage.OfClaim("e")));
        Assert.Equal(
            [("c", "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"), ("e", "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")],
            storage.Told.OrderBy(told => told.Name, StringComparer.Ordinal));
        Assert.Null(storage.Claims["c"].At("status", "capacity"));
    }

    [Fact]
    public void A_second_volume_reserved_for_a_bound_claim_is_let_go()
    {
        var storage = new Storage().Volume("v", "1Gi").Claim("c", "1Gi").Settle();
        storage.Volume("byController", "1Gi", """{"claimRef":{"namespace":"d","name":"c","uid":"c-c"}}""", """{"annotations":{"pv.kubernetes.io/bound-by-controller":"yes"}}""")
            .Volume("byUser", "1Gi", """{"claimRef":{"namespace":"d","name":"c","uid":"c-c"}}""").Settle();
        Assert.Equal(("Available", "Available c"), (storage.OfVolume("byController"), storage.OfVolume("byUser")));
        Assert.Equal("", storage.Volumes["byUser"].Text("spec", "claimRef", "uid"));
    }

    [Fact]
    public void A_claim_grown_beyond_its_volume_waits_for_an_expander()
    {
        var storage = new Storage().Volume("v", "1Gi").Claim("c", "1Gi").Settle();
        storage.Claims["c"].Child("spec").Child("resources").Child("requests")["storage"] = "2Gi";
        storage.Settle();
        Assert.Equal(("c", "ExternalExpanding", "waiting for an external controller to expand this PVC"), Assert.Single(storage.Told));
        Assert.Equal("1Gi", storage.Claims["c"].Text("status", "capacity", "storage"));
    }

    [Fact]
    public void A_claim_goes_when_no_pod_on_a_node_has_it_and_a_volume_when_it_is_not_bound()
    {
        var storage = new Storage().Volume("v", "1Gi").Claim("c", "1Gi");
        var pod = storage.Pod("p", "c", "n");
        storage.Pod("waiting", "c");
        storage.Settle();
        Assert.Equal([["kubernetes.io/pvc-protection"], ["kubernetes.io/pv-protection"]], new[] { storage.Claims["c"], storage.Volumes["v"] }.Select(obj => obj.Texts("metadata", "finalizers").ToArray()));
        storage.Delete(storage.Claims["c"]).Delete(storage.Volumes["v"]).Settle();
        Assert.Equal(("Bound v", "Bound c"), (storage.OfClaim("c"), storage.OfVolume("v")));

        // A pod that has ended still has it.
        pod.Child("status")["phase"] = "Succeeded";
        Assert.NotEmpty(storage.Settle().Claims);
        storage.Pods.Remove(pod);
        storage.Settle();
        Assert.Empty(storage.Claims);
        Assert.Empty(storage.Volumes);
    }

    // Claims and volumes come and go, writes get lost or done; a volume never has two claims, nor a claim two volumes for good.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public void However_writes_are_lost_each_volume_has_one_claim_and_none_waits_in_vain(int seed)
    {
        var random = new Random(seed);
        var storage = new Storage();
        for (var step = 0; step < 300; step++)
        {
            var name = $"o{random.Next(12)}";
            switch (random.Next(8))
            {
                case 0 when !storage.Volumes.ContainsKey(name):
                    storage.Volume(name, $"{random.Next(1, 6)}Gi");
                    break;
                case 1 when !storage.Claims.ContainsKey(name):
                    storage.Claim(name, $"{random.Next(1, 6)}Gi", uid: $"u{step}");
                    break;
                case 2 when random.Next(4) == 0:
                    storage.Claims.Remove(name);
                    break;
                case 3 when random.Next(8) == 0 && storage.Volumes.TryGetValue(name, out var released) && released.Text("status", "phase") == "Released":
                    released.Child("spec").Remove("claimRef");
                    break;
                default:
                    storage.Step(() => random.Next(3) > 0);
                    break;
            }

            Check(storage, $"seed {seed} step {step}");
        }

        storage.Settle();
        Check(storage, $"seed {seed} end");
        foreach (var claim in storage.Claims.Values.Where(claim => claim.Text("status", "phase") == "Pending"))
            Assert.Null(VolumeMatch.Find(claim, storage.Volumes.Values, new HashSet<string>(), null, false));
        Assert.Contains(storage.Claims.Values, claim => claim.Text("status", "phase") == "Bound");
    }

    private static void Check(Storage storage, string when)
    {
        var bound = storage.Claims.Values.Where(VolumeMatch.IsBound).ToList();
        Assert.True(bound.Select(claim => claim.Text("spec", "volumeName")).Distinct().Count() == bound.Count, $"{when}: two claims have one volume");
        foreach (var claim in bound)
        {
            var volume = storage.Volumes[claim.Text("spec", "volumeName")];
            Assert.True(volume.Text("spec", "claimRef", "uid") == claim.Uid(), $"{when}: claim {claim.Name()} is bound to a volume that does not know it");
            Assert.True(VolumeMatch.Capacity(volume) >= VolumeMatch.Asked(claim), $"{when}: claim {claim.Name()} has too small a volume");
        }
    }
}
