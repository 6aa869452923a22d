using Edge.ApiServer.Controllers.Workloads;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Controllers.Workloads;

[Trait("Category", "Unit")]
public sealed class JobCoreTests
{
    private readonly FakeCluster _cluster = new();

    private void Make(string extra, string restartPolicy = "Never") => _cluster.Add(ResourceKind.Job, $$$$$$$$"""
        {"metadata":{"name":"j"},"spec":{ {{{{{{{{extra}}}}}}}} "template":{"spec":{"restartPolicy":"{{{{{{{{restartPolicy}}}}}}}}","containers":[{"name":"c","image":"i"}]}}}}
        """);

    private void Restart(string pod, int count) => _cluster.Patch(ResourceKind.Pod, pod, $$$"""{"status":{"containerStatuses":[{"name":"c","restartCount":{{{count}}}}]}}""");

    private void Settle() => _cluster.Settle(ResourceKind.Job, "j", JobCore.Reconcile);

    private System.Text.Json.Nodes.JsonNode? Status => _cluster.Get(ResourceKind.Job, "j")["status"];

    private string End => JobCore.EndOf(_cluster.Get(ResourceKind.Job, "j")) is { } end ? $"{end.Text("type")}/{end.Text("reason")}" : "";

    [Fact]
    public void Pods_run_in_parallel_until_enough_have_succeeded()
    {
        Make("\"completions\":3,\"parallelism\":2,");
        Settle();
        Assert.Equal(2, _cluster.Alive.Count());
        foreach (var pod in _cluster.Alive.ToList())
            _cluster.Finish(pod.Name(), "Succeeded");
        Settle();
        Assert.Equal((2, 1), (Status.Number(0, "succeeded"), Status.Number(0, "active")));
        Assert.Equal("", End);
        _cluster.Finish(_cluster.Alive.Single().Name(), "Succeeded");
        Settle();
        Assert.Equal(3, Status.Number(0, "succeeded"));
        Assert.Equal("Complete/CompletionsReached", End);
        Assert.NotEqual("", Status.Text("completionTime"));
        Assert.All(_cluster.All(ResourceKind.Pod), pod => Assert.Empty(pod.Texts("metadata", "finalizers")));
    }

    [Fact]
    public void A_finished_pod_counts_once_even_when_it_is_deleted_at_once()
    {
        Make("\"completions\":2,\"parallelism\":1,");
        Settle();
        var pod = _cluster.Alive.Single().Name();
        _cluster.Finish(pod, "Succeeded");
        _cluster.Delete(ResourceKind.Pod, pod);
        Assert.Contains(_cluster.All(ResourceKind.Pod), left => left.Name() == pod); // the finalizer holds it
        Settle();
        Assert.DoesNotContain(_cluster.All(ResourceKind.Pod), left => left.Name() == pod);
        Assert.Equal((1, 1), (Status.Number(0, "succeeded"), Status.Number(0, "active")));
    }

    [Fact]
    public void A_pod_that_is_deleted_by_force_does_not_hold_the_job_up()
    {
        Make("\"completions\":1,");
        Settle();
        var pod = _cluster.Alive.Single().Name();
        _cluster.Run();
        _cluster.Patch(ResourceKind.Pod, pod, """{"metadata":{"deletionTimestamp":"2026-03-01T12:00:00Z","deletionGracePeriodSeconds":0}}""");
        Settle();
        Assert.DoesNotContain(_cluster.All(ResourceKind.Pod), left => left.Name() == pod);
        Assert.Equal((1, 1), (Status.Number(0, "failed"), Status.Number(0, "active")));
    }

    [Fact]
    public void Failures_pause_longer_each_time_and_end_the_job_at_the_limit()
    {
        Make("\"backoffLimit\":1,");
        Settle();
        _cluster.Finish(_cluster.Alive.Single().Name(), "Failed");
        Settle();
        Assert.Empty(_cluster.Alive);
        Assert.InRange(_cluster.Next!.Value.TotalSeconds, 9, 10);
        _cluster.Now = _cluster.Now.AddSeconds(11);
        Settle();
        _cluster.Finish(_cluster.Alive.Single().Name(), "Failed");
        Settle();
        Assert.Equal("Failed/BackoffLimitExceeded", End);
        Assert.Equal(2, Status.Number(0, "failed"));
        Assert.Empty(_cluster.Alive);
    }

    [Fact]
    public void The_deadline_ends_the_job_and_its_pods()
    {
        Make("\"activeDeadlineSeconds\":30,");
        Settle();
        Assert.InRange(_cluster.Next!.Value.TotalSeconds, 1, 30);
        _cluster.Now = _cluster.Now.AddSeconds(31);
        Settle();
        Assert.Empty(_cluster.Alive);
        foreach (var pod in _cluster.All(ResourceKind.Pod).ToList())
            _cluster.Finish(pod.Name(), "Failed"); // as the kubelet reports a pod that it has stopped
        Settle();
        Assert.Equal("Failed/DeadlineExceeded", End);
    }

    [Fact]
    public void Each_index_completes_once()
    {
        Make("\"completions\":4,\"parallelism\":4,\"completionMode\":\"Indexed\",");
        Settle();
        Assert.Equal(["0", "1", "2", "3"], _cluster.Alive.Select(pod => pod.Annotation(JobCore.IndexKey)!).Order(StringComparer.Ordinal));
        Assert.Equal("j-2", _cluster.Alive.First(pod => pod.Annotation(JobCore.IndexKey) == "2").Text("spec", "hostname"));
        Assert.Contains("JOB_COMPLETION_INDEX", _cluster.Alive.First().Items("spec", "containers").First().Items("env").Select(variable => variable.Text("name")));
        foreach (var pod in _cluster.Alive.Where(pod => pod.Annotation(JobCore.IndexKey) != "1").ToList())
            _cluster.Finish(pod.Name(), "Succeeded");
        _cluster.Finish(_cluster.Alive.Single().Name(), "Failed");
        Settle();
        Assert.Equal("0,2,3", Status.Text("completedIndexes"));
        _cluster.Now = _cluster.Now.AddSeconds(20);
        Settle();
        Assert.Equal("1", _cluster.Alive.Single().Annotation(JobCore.IndexKey));
        _cluster.Finish(_cluster.Alive.Single().Name(), "Succeeded");
        Settle();
        Assert.Equal(("0-3", 4, 1), (Status.Text("completedIndexes"), Status.Number(0, "succeeded"), Status.Number(0, "failed")));
        Assert.Equal("Complete/CompletionsReached", End);
    }

    [Fact]
    public void A_suspended_job_has_no_pods_and_starts_anew()
    {
        Make("\"suspend\":true,");
        Settle();
        Assert.Empty(_cluster.All(ResourceKind.Pod));
        Assert.Equal("", Status.Text("startTime"));
        _cluster.Patch(ResourceKind.Job, "j", """{"spec":{"suspend":false}}""");
        Settle();
        Assert.Single(_cluster.Alive);
        Assert.NotEqual("", Status.Text("startTime"));
    }

    [Fact]
    public void A_finished_job_goes_when_its_time_is_over()
    {
        Make("\"ttlSecondsAfterFinished\":60,");
        Settle();
        _cluster.Finish(_cluster.Alive.Single().Name(), "Succeeded");
        Settle();
        Assert.InRange(_cluster.Next!.Value.TotalSeconds, 1, 60);
        _cluster.Now = _cluster.Now.AddSeconds(61);
        Settle();
        Assert.Empty(_cluster.All(ResourceKind.Job));
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(2, 2)]
    public void Restarts_within_a_pod_end_the_job_at_the_limit(int limit, int restarts)
    {
        Make($"\"backoffLimit\":{limit},", "OnFailure");
        Settle();
        var pod = _cluster.Alive.Single().Name();
        _cluster.Run();
        Restart(pod, restarts - 1);
        Settle();
        Assert.Single(_cluster.Alive);
        Restart(pod, restarts);
        Settle();
        Assert.Empty(_cluster.Alive);
        Assert.Equal("", End); // the pod is still on its way out
        _cluster.Finish(pod, "Failed");
        Settle();
        Assert.Equal("Failed/BackoffLimitExceeded", End);
        Assert.Empty(_cluster.Alive);
    }

    [Theory]
    [InlineData("FailureTarget", "PodFailurePolicy", "Failed/PodFailurePolicy")]
    [InlineData("SuccessCriteriaMet", "SuccessPolicy", "Complete/SuccessPolicy")]
    public void An_end_that_is_decided_stays_decided(string condition, string reason, string end)
    {
        Make("\"completions\":2,\"parallelism\":2,");
        Settle();
        _cluster.Patch(ResourceKind.Job, "j", $$$"""{"status":{"conditions":[{"type":"{{{condition}}}","status":"True","reason":"{{{reason}}}","message":"m"}]}}""");
        Settle();
        Assert.Empty(_cluster.Alive);
        foreach (var pod in _cluster.All(ResourceKind.Pod).ToList())
            _cluster.Finish(pod.Name(), "Failed");
        Settle();
        Assert.Equal(end, End);
    }

    [Fact]
    public void A_second_success_of_an_index_counts_for_nothing()
    {
        Make("\"completions\":2,\"parallelism\":2,\"backoffLimit\":0,\"completionMode\":\"Indexed\",");
        Settle();
        var first = _cluster.Alive.First(pod => pod.Annotation(JobCore.IndexKey) == "0").DeepClone().AsObject();
        first.Child("metadata").Remove("name");
        var twin = _cluster.Add(ResourceKind.Pod, first).Name();
        foreach (var pod in _cluster.Alive.Where(pod => pod.Annotation(JobCore.IndexKey) == "0").ToList())
            _cluster.Finish(pod.Name(), "Succeeded");
        Settle();
        Assert.Equal(("0", 1, 0), (Status.Text("completedIndexes"), Status.Number(0, "succeeded"), Status.Number(0, "failed")));
        Assert.Empty(_cluster.Get(ResourceKind.Pod, twin).Texts("metadata", "finalizers"));
        _cluster.Finish(_cluster.Alive.Single().Name(), "Succeeded");
        Settle();
        Assert.Equal(("0,1", "Complete/CompletionsReached"), (Status.Text("completedIndexes"), End));
    }

    [Theory]
    [InlineData("0-3,5,7,8", "0,1,2,3,5,7,8")]
    [InlineData("", "")]
    [InlineData("4", "4")]
    public void Indexes_are_written_as_ranges(string text, string all)
    {
        var read = JobState.Read(text);
        Assert.Equal(all, string.Join(",", read));
        Assert.Equal(text, JobState.Ranges(read));
    }
}
