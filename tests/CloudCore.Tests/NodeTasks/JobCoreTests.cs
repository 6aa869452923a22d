using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Cloud.NodeTasks;
using Edge.Kubernetes;
using Edge.Protocol.Messages;

namespace Edge.Cloud.Tests.NodeTasks;

/// <summary>The rules of jobs for nodes.</summary>
[Trait("Category", "Unit")]
public sealed class JobCoreTests
{
    private static readonly DateTimeOffset s_start = DateTimeOffset.Parse("2026-01-01T00:00:00Z", CultureInfo.InvariantCulture);

    [Fact]
    public void Nodes_start_as_many_as_concurrency_allows_those_that_are_ready_first_and_the_job_completes()
    {
        var job = Pull("""{"nodeNames": ["a", "b", "c"], "images": ["x"], "concurrency": 2}""");
        var nodes = Nodes("a!", "b", "c");

        var (isChanged, next) = JobCore.Advance(TaskKind.ImagePrePull, job, nodes, s_start);

        Assert.True(isChanged);
        Assert.Equal(s_start.AddSeconds(300), next);
        Assert.Equal("a Pending, b InProgress, c InProgress", Phases(job));
        Assert.Equal((false, next), JobCore.Advance(TaskKind.ImagePrePull, job, nodes, s_start.AddSeconds(1)));
        Report(job, "b", "Check");
        Assert.Equal("a Pending, b InProgress, c InProgress", Phases(job));
        Report(job, "b", "Pull", extend: """[{"image":"x","status":"True"}]""");
        Assert.Equal("x True", string.Join(", ", Task(job, "b").Items("imageStatus").Select(one => $"{one.Text("image")} {one.Text("status")}")));
        JobCore.Advance(TaskKind.ImagePrePull, job, nodes, s_start.AddSeconds(2));
        Assert.Equal("a InProgress, b Successful, c InProgress", Phases(job));
        foreach (var node in (string[])["a", "c"])
        {
            Report(job, node, "Check");
            Report(job, node, "Pull");
        }

        Assert.Equal((true, (DateTimeOffset?)null), JobCore.Advance(TaskKind.ImagePrePull, job, nodes, s_start.AddSeconds(3)));
        Assert.Equal("Completed", job.Text("status", "phase"));
        Assert.False(JobCore.Advance(TaskKind.ImagePrePull, job, nodes, s_start.AddDays(1)).IsChanged);
    }

    [Fact]
    public void Node_that_tells_nothing_in_time_fails_and_what_it_tells_late_counts()
    {
        var job = Pull("""{"nodeNames": ["a", "b"], "images": ["x"], "concurrency": 2, "timeoutSeconds": 10, "failureTolerate": "0.5"}""");
        JobCore.Advance(TaskKind.ImagePrePull, job, Nodes("a", "b"), s_start);
        Report(job, "a", "Check");
        Assert.False(JobCore.Advance(TaskKind.ImagePrePull, job, Nodes("a", "b"), s_start.AddSeconds(9)).IsChanged);
        Report(job, "a", "Pull");

        JobCore.Advance(TaskKind.ImagePrePull, job, Nodes("a", "b"), s_start.AddSeconds(10));

        Assert.Equal("a Successful, b Failure", Phases(job));
        Assert.StartsWith("timed out: the node told nothing for 10 s", Task(job, "b").Text("reason"), StringComparison.Ordinal);
        Assert.Equal("Completed", job.Text("status", "phase"));
        Assert.Equal("1 of 2 nodes failed, which failureTolerate 0.5 allows", job.Text("status", "reason"));
        Report(job, "b", "Check");
        Assert.Equal("a Successful, b Failure", Phases(job));
        Report(job, "b", "Pull");
        Assert.Equal("a Successful, b Successful", Phases(job));
        Assert.Null(Task(job, "b")["reason"]);
    }

    [Fact]
    public void When_too_many_have_failed_no_further_node_starts_and_the_job_fails_once_the_others_have_ended()
    {
        var job = Pull("""{"nodeNames": ["a", "b", "c", "d"], "images": ["x"], "concurrency": 2, "failureTolerate": "0.25"}""");
        var nodes = Nodes("a", "b", "c"); // d is none
        JobCore.Advance(TaskKind.ImagePrePull, job, nodes, s_start);
        Assert.Equal("a InProgress, b InProgress, c Pending, d Failure", Phases(job));
        Report(job, "a", "Check", "disk is full");
        JobCore.Advance(TaskKind.ImagePrePull, job, nodes, s_start);
        Assert.Equal(("a Failure, b InProgress, c Pending, d Failure", "InProgress"), (Phases(job), job.Text("status", "phase")));
        Report(job, "b", "Check");
        Report(job, "b", "Pull");

        JobCore.Advance(TaskKind.ImagePrePull, job, nodes, s_start);

        Assert.Equal(("a Failure, b Successful, c Pending, d Failure", "Failure"), (Phases(job), job.Text("status", "phase")));
        Assert.Equal("2 of 4 nodes failed, more than failureTolerate 0.25 allows", job.Text("status", "reason"));
        Assert.Equal(("Check failed: disk is full", "there is no edge node of this name", "not started: too many nodes had failed before"),
            (Task(job, "a").Text("reason"), Task(job, "d").Text("reason"), Task(job, "c").Text("reason")));
    }

    [Theory]
    [InlineData("""{"images": ["x"]}""", "spec must have either nodeNames or labelSelector")]
    [InlineData("""{"images": ["x"], "nodeNames": ["a"], "labelSelector": {"matchLabels": {"town": "one"}}}""", "spec must have either nodeNames or labelSelector")]
    [InlineData("""{"nodeNames": ["a"]}""", "spec.imagePrePullTemplate.images is empty")]
    [InlineData("""{"images": ["x"], "labelSelector": {"matchLabels": {"town": "none"}}}""", "no edge node has the labels of labelSelector")]
    [InlineData("""{"images": ["x"], "nodeNames": ["a"], "failureTolerate": "2"}""", "spec's failureTolerate is '2', must be a share of the nodes from 0 to 1, e.g. 0.1")]
    [InlineData("""{"images": ["x"], "labelSelector": {"matchExpressions": [{"key": "town", "operator": "Near"}]}}""", null)]
    public void Spec_that_cannot_be_done_fails_with_why(string template, string? reason)
    {
        var job = Pull(template);
        Assert.True(JobCore.Advance(TaskKind.ImagePrePull, job, Nodes("a"), s_start).IsChanged);
        Assert.Equal("Failure", job.Text("status", "phase"));
        Assert.NotEmpty(job.Text("status", "reason"));
        if (reason is not null)
            Assert.Equal(reason, job.Text("status", "reason"));
    }

    [Fact]
    public void What_a_node_says_of_an_action_that_succeeded_stands_in_the_status_and_fails_nothing()
    {
        var job = Pull("""{"nodeNames": ["a"], "images": ["x"]}""");
        JobCore.Advance(TaskKind.ImagePrePull, job, Nodes("a"), s_start);
        Assert.Null(JobCore.Report(TaskKind.ImagePrePull, job, "a", new NodeTaskReport("Check", true, "", "comments are lost", ""), s_start));
        Assert.Equal(("True", "comments are lost"), (Task(job, "a").Items("actionFlow").Single().Text("status"), Task(job, "a").Items("actionFlow").Single().Text("reason")));
        Report(job, "a", "Pull");
        Assert.Equal("a Successful", Phases(job));
        Assert.Null(Task(job, "a")["reason"]);
    }

    [Fact]
    public void Selector_takes_the_nodes_with_its_labels()
    {
        var job = Pull("""{"images": ["x"], "labelSelector": {"matchLabels": {"town": "one"}}, "concurrency": 9}""");
        JobCore.Advance(TaskKind.ImagePrePull, job, [.. Nodes("a", "b"), new TaskNode("c", new Dictionary<string, string> { ["town"] = "two" }, true)], s_start);
        Assert.Equal("a InProgress, b InProgress", Phases(job));
    }

    [Fact]
    public void Config_that_was_rolled_back_is_a_failure_with_both_reasons()
    {
        var job = new JsonObject { ["metadata"] = new JsonObject { ["name"] = "j" }, ["spec"] = JsonNode.Parse("""{"nodeNames": ["a"], "updateFields": {"modules.edgeHub.heartbeat": "5"}}""") };
        JobCore.Advance(TaskKind.ConfigUpdate, job, Nodes("a"), s_start);
        foreach (var action in (string[])["Check", "BackUp"])
            Assert.Null(JobCore.Report(TaskKind.ConfigUpdate, job, "a", new NodeTaskReport(action, true, "", "", ""), s_start));
        Assert.Null(JobCore.Report(TaskKind.ConfigUpdate, job, "a", new NodeTaskReport("Update", false, "", "not connected", ""), s_start));
        Assert.Equal("a InProgress", Phases(job));
        var back = new NodeTaskReport("RollBack", true, "2026-01-01T00:00:07Z", "", "");
        Assert.Null(JobCore.Report(TaskKind.ConfigUpdate, job, "a", back, s_start));
        Assert.Null(JobCore.Report(TaskKind.ConfigUpdate, job, "a", back, s_start)); // sent again

        Assert.Equal("a Failure", Phases(job));
        Assert.Equal("Update failed: not connected; the node was rolled back", Task(job, "a").Text("reason"));
        Assert.Equal("Check True, BackUp True, Update False, RollBack True", string.Join(", ", Task(job, "a").Items("actionFlow").Select(one => $"{one.Text("action")} {one.Text("status")}")));
        Assert.Equal("2026-01-01T00:00:07Z", Task(job, "a").Items("actionFlow").Last().Text("time"));
    }

    [Fact]
    public void Upgrade_that_waits_for_its_operator_does_not_time_out_and_its_versions_are_noted()
    {
        var job = new JsonObject { ["metadata"] = new JsonObject { ["name"] = "j" }, ["spec"] = JsonNode.Parse("""{"nodeNames": ["a"], "version": "v2", "requireConfirmation": true}""") };
        void Tell(string action, DateTimeOffset now, string extend = "") => Assert.Null(JobCore.Report(TaskKind.NodeUpgrade, job, "a", new NodeTaskReport(action, true, "", "", extend), now));
        JobCore.Advance(TaskKind.NodeUpgrade, job, Nodes("a"), s_start);
        Tell("Check", s_start);
        Tell("WaitingConfirmation", s_start);
        Assert.Equal((false, (DateTimeOffset?)null), JobCore.Advance(TaskKind.NodeUpgrade, job, Nodes("a"), s_start.AddHours(9)));
        Assert.Equal("a InProgress", Phases(job));

        Tell("BackUp", s_start.AddHours(9), "v1,v1");
        Assert.Equal((false, (DateTimeOffset?)s_start.AddHours(9).AddSeconds(300)), JobCore.Advance(TaskKind.NodeUpgrade, job, Nodes("a"), s_start.AddHours(9)));
        Tell("Upgrade", s_start.AddHours(9), "v1,v2");

        Assert.Equal("a Successful", Phases(job));
        Assert.Equal(("v1", "v2"), (Task(job, "a").Text("historicVersion"), Task(job, "a").Text("currentVersion")));
    }

    [Fact]
    public void An_upgrade_that_was_confirmed_times_out_when_nothing_more_comes()
    {
        var job = new JsonObject { ["metadata"] = new JsonObject { ["name"] = "j" }, ["spec"] = JsonNode.Parse("""{"nodeNames": ["a"], "version": "v2", "requireConfirmation": true}""") };
        void Tell(string action, string reason, DateTimeOffset now) => Assert.Null(JobCore.Report(TaskKind.NodeUpgrade, job, "a", new NodeTaskReport(action, true, "", reason, ""), now));
        JobCore.Advance(TaskKind.NodeUpgrade, job, Nodes("a"), s_start);
        Tell("Check", "", s_start);
        Tell("WaitingConfirmation", "", s_start);
        Tell("WaitingConfirmation", NodeTaskWire.Confirmed, s_start.AddHours(9));
        Assert.Equal((false, (DateTimeOffset?)s_start.AddHours(9).AddSeconds(300)), JobCore.Advance(TaskKind.NodeUpgrade, job, Nodes("a"), s_start.AddHours(9)));
        Assert.Equal("a InProgress", Phases(job));
        JobCore.Advance(TaskKind.NodeUpgrade, job, Nodes("a"), s_start.AddHours(9).AddSeconds(300));
        Assert.Equal("a Failure", Phases(job));
        Assert.Equal("timed out: nothing came for 300 s in all after WaitingConfirmation", Task(job, "a").Text("reason"));
    }

    [Fact]
    public void What_does_not_fit_the_job_is_refused()
    {
        var job = Pull("""{"nodeNames": ["a"], "images": ["x"]}""");
        JobCore.Advance(TaskKind.ImagePrePull, job, Nodes("a"), s_start);
        Assert.Equal("node 'b' has no part in ImagePrePullJob 'j'", JobCore.Report(TaskKind.ImagePrePull, job, "b", new NodeTaskReport("Check", true, "", "", ""), s_start));
        Assert.Equal("a ImagePrePullJob has no action 'RollBack'", JobCore.Report(TaskKind.ImagePrePull, job, "a", new NodeTaskReport("RollBack", true, "", "", ""), s_start));
        Assert.Null(JobCore.Report(TaskKind.ImagePrePull, job, "a", new NodeTaskReport("Pull", true, "soon", "", "{["), s_start));
        Assert.Equal("a Successful", Phases(job));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Whatever_nodes_tell_and_leaders_lose_never_more_than_concurrency_work_and_every_job_ends(int seed)
    {
        var random = new Random(seed);
        for (var round = 0; round < 100; round++)
        {
            var names = Enumerable.Range(0, random.Next(1, 12)).Select(i => $"n{i:00}").ToArray();
            var concurrency = random.Next(1, 5);
            var job = Pull($$"""{"nodeNames": [{{string.Join(", ", names.Select(name => $"\"{name}\""))}}], "images": ["x"], "concurrency": {{concurrency}}, "failureTolerate": "{{random.Next(0, 11) / 10.0}}", "timeoutSeconds": 20 }""");
            var now = s_start;
            var ended = new HashSet<string>();
            for (var step = 0; !JobCore.HasEnded(job); step++)
            {
                Assert.True(step < 2000, $"seed {seed}, round {round}: the job does not end: {job.ToJsonString()}");
                now += TimeSpan.FromSeconds(random.Next(0, 4));
                var before = job.DeepClone().AsObject();
                if (JobCore.Advance(TaskKind.ImagePrePull, job, Nodes(names), now).IsChanged && random.Next(5) == 0)
                    job = before; // the write was lost, with the leader
                var working = job["status"].Items("nodeStatus").Where(one => one.Text("phase") == "InProgress").Select(one => one.Text("nodeName")).ToList();
                Assert.True(working.Count <= concurrency, $"seed {seed}, round {round}, step {step}: {working.Count} nodes work");
                foreach (var name in working.Where(_ => random.Next(3) == 0))
                    Report(job, name, random.Next(2) == 0 ? "Check" : "Pull", random.Next(6) == 0 ? "no" : "");
                var over = job["status"].Items("nodeStatus").Where(one => one.Text("phase") == "Successful").Select(one => one.Text("nodeName")).ToHashSet();
                Assert.True(ended.IsSubsetOf(over), $"seed {seed}, round {round}, step {step}: a node that was done is not any more");
                ended = over;
            }
        }
    }

    private static JsonObject Pull(string template)
        => new() { ["metadata"] = new JsonObject { ["name"] = "j" }, ["spec"] = new JsonObject { ["imagePrePullTemplate"] = JsonNode.Parse(template) } };

    // A name with "!" is of a node that is not ready.
    private static List<TaskNode> Nodes(params string[] names)
        => [.. names.Select(name => new TaskNode(name.TrimEnd('!'), new Dictionary<string, string> { ["town"] = "one" }, !name.EndsWith('!')))];

    private static void Report(JsonObject job, string node, string action, string reason = "", string extend = "")
        => Assert.Null(JobCore.Report(TaskKind.ImagePrePull, job, node, new NodeTaskReport(action, reason.Length == 0, "", reason, extend), s_start));

    private static JsonObject Task(JsonObject job, string node) => job["status"].Items("nodeStatus").Single(one => one.Text("nodeName") == node);

    private static string Phases(JsonObject job) => string.Join(", ", job["status"].Items("nodeStatus").Select(one => $"{one.Text("nodeName")} {one.Text("phase")}"));
}
