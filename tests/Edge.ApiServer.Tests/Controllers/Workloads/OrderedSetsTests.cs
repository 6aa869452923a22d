using Edge.ApiServer.Controllers.Workloads;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Controllers.Workloads;

[Trait("Category", "Unit")]
public sealed class OrderedSetsTests
{
    private readonly FakeCluster _cluster = new();

    private void Node(string name, string extra = "") => _cluster.Add(ResourceKind.Node, $$$$$$$$"""{"metadata":{"name":"{{{{{{{{name}}}}}}}}","labels":{"kubernetes.io/hostname":"{{{{{{{{name}}}}}}}}"}},"spec":{ {{{{{{{{extra}}}}}}}} } }""");

    private void Daemon(string update = """ "type":"RollingUpdate" """) => _cluster.Add(ResourceKind.DaemonSet, $$$$$$$$"""
        {"metadata":{"name":"d"},"spec":{"updateStrategy":{ {{{{{{{{update}}}}}}}} },"selector":{"matchLabels":{"app":"d"}},
         "template":{"metadata":{"labels":{"app":"d"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}}}
        """);

    private void Stateful(string extra = "") => _cluster.Add(ResourceKind.StatefulSet, $$$$$$$$"""
        {"metadata":{"name":"db"},"spec":{"replicas":3,"serviceName":"db",{{{{{{{{extra}}}}}}}}"selector":{"matchLabels":{"app":"db"}},
         "template":{"metadata":{"labels":{"app":"db"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}},
         "volumeClaimTemplates":[{"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}]}}
        """);

    [Fact]
    public void A_pod_whose_number_is_written_otherwise_is_not_the_sets()
    {
        Stateful();
        Settle();
        var twin = _cluster.Get(ResourceKind.Pod, "db-1").DeepClone().AsObject();
        twin.Child("metadata")["name"] = "db-01";
        twin.Child("metadata").Remove("ownerReferences");
        _cluster.Add(ResourceKind.Pod, twin);
        _cluster.Delete(ResourceKind.Pod, "db-2");
        Settle();
        Assert.Equal(["db-0", "db-01", "db-1", "db-2"], _cluster.Alive.Select(pod => pod.Name()).Order(StringComparer.Ordinal));
        Assert.Empty(_cluster.Get(ResourceKind.Pod, "db-01").Items("metadata", "ownerReferences"));
    }

    private void Settle(bool run = true)
    {
        if (_cluster.All(ResourceKind.DaemonSet).Count > 0)
            _cluster.Settle(ResourceKind.DaemonSet, "d", DaemonSetCore.Reconcile, Between(run));
        else
            _cluster.Settle(ResourceKind.StatefulSet, "db", StatefulSetCore.Reconcile, Between(run));
    }

    // Stands for the scheduler, too: a daemon pod goes where its affinity says.
    private Action Between(bool run) => () =>
    {
        foreach (var pod in _cluster.Alive.Where(pod => pod.Text("spec", "nodeName").Length == 0 && NodeOf(pod).Length > 0).ToList())
            _cluster.Patch(ResourceKind.Pod, pod.Name(), $$$$$$$$"""{"spec":{"nodeName":"{{{{{{{{NodeOf(pod)}}}}}}}}"}}""");
        if (run)
            _cluster.Run();
    };

    private static string NodeOf(System.Text.Json.Nodes.JsonObject pod)
        => pod.Items("spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms").SelectMany(term => term.Items("matchFields"))
            .SelectMany(field => field.Texts("values")).FirstOrDefault() ?? "";

    private void SetImage(ResourceKind kind, string name, string image) => _cluster.Patch(kind, name, $$$$$$$$"""{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"{{{{{{{{image}}}}}}}}"}]}}}}""");

    private IEnumerable<string> Images => _cluster.Alive.OrderBy(pod => pod.Name(), StringComparer.Ordinal).Select(pod => pod.Items("spec", "containers").First().Text("image"));

    [Fact]
    public void A_daemon_set_has_one_pod_on_every_node_it_fits_and_on_new_ones()
    {
        Node("a");
        Node("b");
        Node("tainted", """ "taints":[{"key":"k","effect":"NoSchedule"}] """);
        Node("cordoned", """ "unschedulable":true,"taints":[{"key":"node.kubernetes.io/unschedulable","effect":"NoSchedule"}] """);
        Node("lost", """ "taints":[{"key":"node.kubernetes.io/unreachable","effect":"NoExecute"}] """);
        Daemon();
        Settle();
        Assert.Equal(["a", "b", "cordoned", "lost"], _cluster.Alive.Select(pod => pod.Text("spec", "nodeName")).Order(StringComparer.Ordinal));
        Node("c");
        Settle();
        Assert.Contains("c", _cluster.Alive.Select(pod => pod.Text("spec", "nodeName")));
        var status = _cluster.Get(ResourceKind.DaemonSet, "d")["status"];
        Assert.Equal((5, 5, 5), (status.Number(0, "desiredNumberScheduled"), status.Number(0, "numberReady"), status.Number(0, "numberAvailable")));
    }

    [Fact]
    public void A_node_that_no_longer_fits_loses_its_pod()
    {
        Node("a");
        Node("b");
        Daemon();
        Settle();
        _cluster.Patch(ResourceKind.Node, "b", """{"spec":{"taints":[{"key":"k","effect":"NoExecute"}]}}""");
        Settle();
        Assert.Equal(["a"], _cluster.Alive.Select(pod => pod.Text("spec", "nodeName")));
        // NoSchedule lets what runs stay.
        _cluster.Patch(ResourceKind.Node, "a", """{"spec":{"taints":[{"key":"k","effect":"NoSchedule"}]}}""");
        Settle();
        Assert.Single(_cluster.Alive);
        Assert.Equal(1, _cluster.Get(ResourceKind.DaemonSet, "d").Number(0, "status", "numberMisscheduled"));
    }

    [Fact]
    public void A_daemon_set_rolls_one_node_at_a_time_and_not_on_OnDelete()
    {
        foreach (var node in (string[])["a", "b", "c"])
            Node(node);
        Daemon();
        Settle();
        SetImage(ResourceKind.DaemonSet, "d", "i:2");
        Settle(run: false);
        Assert.Equal(2, _cluster.Alive.Count(PodFacts.IsReady)); // the next waits for the first
        Settle();
        Assert.All(Images, image => Assert.Equal("i:2", image));
        Assert.Equal(2, _cluster.All(ResourceKind.ControllerRevision).Count);
        _cluster.Patch(ResourceKind.DaemonSet, "d", """{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}""");
        SetImage(ResourceKind.DaemonSet, "d", "i:3");
        Settle();
        Assert.All(Images, image => Assert.Equal("i:2", image));
    }

    [Fact]
    public void A_failed_daemon_pod_is_made_again_after_a_pause()
    {
        Node("a");
        Daemon();
        Settle();
        var first = _cluster.Alive.Single().Name();
        _cluster.Finish(first, "Failed");
        Settle();
        Assert.Equal(first, Assert.Single(_cluster.All(ResourceKind.Pod)).Name());
        Assert.InRange(_cluster.Next!.Value.TotalSeconds, 1, 5);
        _cluster.Now = _cluster.Now.AddSeconds(6);
        Settle();
        Assert.NotEqual(first, _cluster.Alive.Single().Name());
        Assert.Contains("FailedDaemonPod", _cluster.Events);
    }

    [Fact]
    public void A_stateful_set_makes_its_pods_in_order_with_names_and_claims()
    {
        Stateful();
        Settle(run: false);
        Assert.Equal(["db-0"], _cluster.Alive.Select(pod => pod.Name())); // waits for it to be ready
        Settle();
        Assert.Equal(["db-0", "db-1", "db-2"], _cluster.Alive.Select(pod => pod.Name()).Order(StringComparer.Ordinal));
        Assert.Equal(["data-db-0", "data-db-1", "data-db-2"], _cluster.All(ResourceKind.PersistentVolumeClaim).Select(claim => claim.Name()).Order(StringComparer.Ordinal));
        var pod = _cluster.Get(ResourceKind.Pod, "db-1");
        Assert.Equal(("db-1", "db", "1", "data-db-1"), (pod.Text("spec", "hostname"), pod.Text("spec", "subdomain"), pod.Label("apps.kubernetes.io/pod-index"),
            pod.Items("spec", "volumes").First(volume => volume.Text("name") == "data").Text("persistentVolumeClaim", "claimName")));
        _cluster.Patch(ResourceKind.StatefulSet, "db", """{"spec":{"replicas":1}}""");
        _cluster.Look(ResourceKind.StatefulSet, "db", StatefulSetCore.Reconcile);
        Assert.Equal(["db-0", "db-1"], _cluster.Alive.Select(left => left.Name()).Order(StringComparer.Ordinal));
        Settle();
        Assert.Equal(["db-0"], _cluster.Alive.Select(left => left.Name()));
        Assert.Equal(3, _cluster.All(ResourceKind.PersistentVolumeClaim).Count);
    }

    [Fact]
    public void A_parallel_set_makes_them_all_at_once()
    {
        Stateful("\"podManagementPolicy\":\"Parallel\",");
        Settle(run: false);
        Assert.Equal(3, _cluster.Alive.Count());
    }

    [Fact]
    public void An_update_goes_from_the_highest_down_to_the_partition()
    {
        Stateful("""  "updateStrategy":{"rollingUpdate":{"partition":1}},""");
        Settle();
        SetImage(ResourceKind.StatefulSet, "db", "i:2");
        _cluster.Look(ResourceKind.StatefulSet, "db", StatefulSetCore.Reconcile);
        Assert.Equal(["db-0", "db-1"], _cluster.Alive.Select(pod => pod.Name()).Order(StringComparer.Ordinal));
        Settle();
        Assert.Equal(["i:1", "i:2", "i:2"], Images);
        var status = _cluster.Get(ResourceKind.StatefulSet, "db")["status"];
        Assert.NotEqual(status.Text("currentRevision"), status.Text("updateRevision"));
        // A pod below the partition that is lost comes back as it was.
        _cluster.Delete(ResourceKind.Pod, "db-0");
        Settle();
        Assert.Equal(["i:1", "i:2", "i:2"], Images);
        _cluster.Patch(ResourceKind.StatefulSet, "db", """{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}""");
        Settle();
        Assert.Equal(["i:2", "i:2", "i:2"], Images);
        status = _cluster.Get(ResourceKind.StatefulSet, "db")["status"];
        Assert.Equal(status.Text("currentRevision"), status.Text("updateRevision"));
    }
}
