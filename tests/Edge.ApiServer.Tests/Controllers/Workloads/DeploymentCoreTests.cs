using Edge.ApiServer.Controllers.Workloads;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Controllers.Workloads;

[Trait("Category", "Unit")]
public sealed class DeploymentCoreTests
{
    private readonly FakeCluster _cluster = new();
    private readonly List<(int Total, int Ready)> _seen = [];

    private void Make(string extra = "", int replicas = 4) => _cluster.Add(ResourceKind.Deployment, $$$$$$$$"""
        {"metadata":{"name":"web","annotations":{"note":"x"}},"spec":{"replicas":{{{{{{{{replicas}}}}}}}},{{{{{{{{extra}}}}}}}}"selector":{"matchLabels":{"app":"web"}},
         "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}}}
        """);

    // Both controllers in turn, until neither has anything to do; pods become ready as told.
    private void Settle(bool run = true)
    {
        for (var i = 0; i < 100; i++)
        {
            var writes = _cluster.Look(ResourceKind.Deployment, "web", DeploymentCore.Reconcile);
            foreach (var set in _cluster.All(ResourceKind.ReplicaSet))
                writes += _cluster.Look(ResourceKind.ReplicaSet, set.Name(), ReplicaSetCore.Reconcile);
            _seen.Add((_cluster.Alive.Count(), _cluster.Alive.Count(PodFacts.IsReady)));
            if (run)
                _cluster.Run();
            if (writes == 0)
                return;
        }

        Assert.Fail("no rest");
    }

    private void SetImage(string image) => _cluster.Patch(ResourceKind.Deployment, "web", $$$$$$$$"""{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"{{{{{{{{image}}}}}}}}","imagePullPolicy":"IfNotPresent","terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","resources":{}}]}}}}""");

    private string Condition(string type) => Edge.ApiServer.Controllers.Conditions.Find(_cluster.Get(ResourceKind.Deployment, "web"), type).Text("reason");

    [Fact]
    public void A_deployment_makes_one_replica_set_and_becomes_available()
    {
        Make();
        Settle();
        var set = Assert.Single(_cluster.All(ResourceKind.ReplicaSet));
        Assert.Equal("1", set.Annotation("deployment.kubernetes.io/revision"));
        Assert.Equal("x", set.Annotation("note"));
        Assert.Equal(set.Label("pod-template-hash"), _cluster.Alive.First().Label("pod-template-hash"));
        Assert.Equal(4, _cluster.Alive.Count());
        Assert.Equal(("NewReplicaSetAvailable", "MinimumReplicasAvailable"), (Condition("Progressing"), Condition("Available")));
        Assert.Equal(4, _cluster.Get(ResourceKind.Deployment, "web").Number(0, "status", "availableReplicas"));
    }

    [Fact]
    public void A_rollout_keeps_within_surge_and_unavailability_at_every_step()
    {
        Make("""  "strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":1}},""");
        Settle();
        _seen.Clear();
        SetImage("i:2");
        Settle();
        Assert.All(_seen, step => Assert.InRange(step.Total, 3, 5));
        Assert.All(_seen, step => Assert.True(step.Ready >= 3, $"only {step.Ready} ready"));
        Assert.All(_cluster.Alive, pod => Assert.Equal("i:2", pod.Items("spec", "containers").First().Text("image")));
        Assert.Equal("2", _cluster.Get(ResourceKind.Deployment, "web").Annotation("deployment.kubernetes.io/revision"));
    }

    [Fact]
    public void A_rollout_whose_pods_never_become_ready_stops_and_tells_so_at_its_deadline()
    {
        Make("\"progressDeadlineSeconds\":60,");
        Settle();
        SetImage("i:broken");
        Settle(run: false);
        Assert.Equal(3, _cluster.Alive.Count(PodFacts.IsReady));
        _cluster.Look(ResourceKind.Deployment, "web", DeploymentCore.Reconcile);
        Assert.InRange(_cluster.Next!.Value.TotalSeconds, 1, 60);
        _cluster.Now = _cluster.Now.AddSeconds(61);
        Settle(run: false);
        Assert.Equal("ProgressDeadlineExceeded", Condition("Progressing"));
        Assert.Equal(3, _cluster.Alive.Count(PodFacts.IsReady));
    }

    [Fact]
    public void Going_back_uses_the_old_replica_set_under_a_new_revision()
    {
        Make();
        Settle();
        SetImage("i:2");
        Settle();
        SetImage("i:1");
        Settle();
        Assert.Equal(2, _cluster.All(ResourceKind.ReplicaSet).Count);
        var set = Assert.Single(_cluster.All(ResourceKind.ReplicaSet), set => set.Number(0, "spec", "replicas") == 4);
        Assert.Equal(("3", "1"), (set.Annotation("deployment.kubernetes.io/revision"), set.Annotation("deployment.kubernetes.io/revision-history")));
    }

    [Fact]
    public void While_paused_nothing_rolls_but_scaling_works()
    {
        Make();
        Settle();
        _cluster.Patch(ResourceKind.Deployment, "web", """{"spec":{"paused":true,"replicas":6}}""");
        SetImage("i:2");
        Settle();
        Assert.Equal(6, _cluster.Alive.Count());
        Assert.All(_cluster.Alive, pod => Assert.Equal("i:1", pod.Items("spec", "containers").First().Text("image")));
        Assert.Equal("DeploymentPaused", Condition("Progressing"));
        _cluster.Patch(ResourceKind.Deployment, "web", """{"spec":{"paused":null}}""");
        Settle();
        Assert.All(_cluster.Alive, pod => Assert.Equal("i:2", pod.Items("spec", "containers").First().Text("image")));
    }

    [Fact]
    public void Recreate_has_no_old_pod_beside_a_new_one()
    {
        Make("\"strategy\":{\"type\":\"Recreate\"},");
        Settle();
        SetImage("i:2");
        for (var i = 0; i < 30; i++)
        {
            _cluster.Look(ResourceKind.Deployment, "web", DeploymentCore.Reconcile);
            foreach (var set in _cluster.All(ResourceKind.ReplicaSet))
                _cluster.Look(ResourceKind.ReplicaSet, set.Name(), ReplicaSetCore.Reconcile);
            Assert.True(_cluster.Alive.Select(pod => pod.Items("spec", "containers").First().Text("image")).Distinct().Count() <= 1);
            _cluster.Run();
        }

        Assert.Equal(4, _cluster.Alive.Count(pod => pod.Items("spec", "containers").First().Text("image") == "i:2"));
    }

    [Fact]
    public void Old_replica_sets_beyond_the_limit_go()
    {
        Make("\"revisionHistoryLimit\":1,");
        Settle();
        for (var i = 2; i <= 4; i++)
        {
            _cluster.Now = _cluster.Now.AddSeconds(5);
            SetImage($"i:{i}");
            Settle();
        }

        Assert.Equal(["3", "4"], _cluster.All(ResourceKind.ReplicaSet).Select(set => set.Annotation("deployment.kubernetes.io/revision")!).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Scaling_in_the_middle_of_a_rollout_is_shared_by_size()
    {
        Make(replicas: 10);
        Settle();
        SetImage("i:2");
        Settle(run: false);
        var before = _cluster.All(ResourceKind.ReplicaSet).ToDictionary(set => set.Name(), set => set.Number(0, "spec", "replicas"));
        Assert.All(before.Values, count => Assert.True(count > 0));
        _cluster.Patch(ResourceKind.Deployment, "web", """{"spec":{"replicas":20}}""");
        _cluster.Look(ResourceKind.Deployment, "web", DeploymentCore.Reconcile);
        var after = _cluster.All(ResourceKind.ReplicaSet).ToDictionary(set => set.Name(), set => set.Number(0, "spec", "replicas"));
        Assert.Equal(25, after.Values.Sum());
        Assert.All(before, pair => Assert.True(after[pair.Key] > pair.Value, "both grow"));
    }

    [Fact]
    public void A_replica_set_adopts_what_it_selects_and_releases_what_it_does_not()
    {
        Make(replicas: 2);
        Settle();
        var set = Assert.Single(_cluster.All(ResourceKind.ReplicaSet));
        var pod = _cluster.Alive.First().Name();
        _cluster.Patch(ResourceKind.Pod, pod, """{"metadata":{"labels":{"app":"other"}}}""");
        Settle();
        Assert.Empty(_cluster.Get(ResourceKind.Pod, pod).Items("metadata", "ownerReferences"));
        Assert.Equal(3, _cluster.Alive.Count());
        // Back again: it is one too many, and the newest that is not ready goes first.
        _cluster.Patch(ResourceKind.Pod, pod, """{"metadata":{"labels":{"app":"web"}},"status":{"conditions":null}}""");
        _cluster.Settle(ResourceKind.ReplicaSet, set.Name(), ReplicaSetCore.Reconcile);
        Assert.DoesNotContain(_cluster.Alive, left => left.Name() == pod);
        Assert.Equal(2, _cluster.Alive.Count());
    }
}
