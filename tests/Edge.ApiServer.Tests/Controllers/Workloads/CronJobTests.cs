using Edge.ApiServer.Controllers.Workloads;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Controllers.Workloads;

[Trait("Category", "Unit")]
public sealed class CronJobTests
{
    private readonly FakeCluster _cluster = new();

    private void Make(string extra = "") => _cluster.Add(ResourceKind.CronJob, $$$$$$$$"""
        {"metadata":{"name":"c"},"spec":{"schedule":"*/5 * * * *",{{{{{{{{extra}}}}}}}}"jobTemplate":{"metadata":{"labels":{"a":"b"}},"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}}}
        """);

    private void Settle() => _cluster.Settle(ResourceKind.CronJob, "c", CronJobCore.Reconcile);

    private void After(int seconds)
    {
        _cluster.Now = _cluster.Now.AddSeconds(seconds);
        Settle();
    }

    private void End(string job, string type) => _cluster.Patch(ResourceKind.Job, job, $$$$$$$$"""{"status":{"startTime":"{{{{{{{{KubeObject.Time(_cluster.Now)}}}}}}}}","completionTime":"{{{{{{{{KubeObject.Time(_cluster.Now)}}}}}}}}","conditions":[{"type":"{{{{{{{{type}}}}}}}}","status":"True"}]}}""");

    [Theory]
    [InlineData("*/15 * * * *", "2026-03-01T12:07:00Z", "2026-03-01T12:15:00Z")]
    [InlineData("0 0 29 2 *", "2026-03-01T12:07:00Z", "2028-02-29T00:00:00Z")]
    [InlineData("0 9 * * mon-fri", "2026-02-27T09:00:00Z", "2026-03-02T09:00:00Z")]
    [InlineData("0 0 13 * 5", "2026-03-01T00:00:00Z", "2026-03-06T00:00:00Z")] // either day, when both are named
    [InlineData("0 0 */2 * 1", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")] // a step names days
    [InlineData("0 0 */1 * 1", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z")]
    [InlineData("30 4 1,15 JAN,mar *", "2026-03-01T04:30:00Z", "2026-03-15T04:30:00Z")]
    [InlineData("@hourly", "2026-03-01T12:07:00Z", "2026-03-01T13:00:00Z")]
    [InlineData("@every 1h30m", "2026-03-01T12:07:00Z", "2026-03-01T13:37:00Z")]
    public void A_schedule_names_the_next_time(string text, string after, string next)
    {
        Assert.True(CronSchedule.TryParse(text, out var schedule, out var fault), fault);
        Assert.Equal(DateTimeOffset.Parse(next, null), schedule.Next(DateTimeOffset.Parse(after, null), TimeZoneInfo.Utc));
    }

    [Fact]
    public void A_schedule_follows_its_time_zone_through_the_change_of_clocks()
    {
        var zone = TimeZoneInfo.FindSystemTimeZoneById("Europe/Berlin");
        Assert.True(CronSchedule.TryParse("30 2 * * *", out var schedule, out _));
        var at = new DateTimeOffset(2026, 3, 28, 12, 0, 0, TimeSpan.Zero);
        at = schedule.Next(at, zone)!.Value; // 29 March has no 2:30
        Assert.Equal(new DateTimeOffset(2026, 3, 30, 0, 30, 0, TimeSpan.Zero), at);
        at = schedule.Next(new DateTimeOffset(2026, 10, 24, 12, 0, 0, TimeSpan.Zero), zone)!.Value; // 25 October has two
        Assert.Equal(new DateTimeOffset(2026, 10, 25, 0, 30, 0, TimeSpan.Zero), at);
        Assert.Equal(new DateTimeOffset(2026, 10, 26, 1, 30, 0, TimeSpan.Zero), schedule.Next(at, zone));
    }

    [Theory]
    [InlineData("* * * *", "expected exactly 5 fields, found 4")]
    [InlineData("60 * * * *", "above maximum (59)")]
    [InlineData("5-1 * * * *", "beyond end of range")]
    [InlineData("*/0 * * * *", "positive number")]
    [InlineData("x * * * *", "failed to parse int from x")]
    [InlineData("@never", "unrecognized descriptor")]
    public void A_bad_schedule_says_what_is_wrong(string text, string fault)
    {
        Assert.False(CronSchedule.TryParse(text, out _, out var why));
        Assert.Contains(fault, why, StringComparison.Ordinal);
    }

    [Fact]
    public void Jobs_are_made_when_due_once_each_and_old_ones_go()
    {
        Make("\"successfulJobsHistoryLimit\":1,");
        Settle();
        Assert.Empty(_cluster.All(ResourceKind.Job));
        Assert.Equal(TimeSpan.FromMinutes(5), _cluster.Next);
        After(301);
        var job = Assert.Single(_cluster.All(ResourceKind.Job));
        Assert.Equal(("b", "2026-03-01T12:05:00Z"), (job.Label("a"), job.Annotation("batch.kubernetes.io/cronjob-scheduled-timestamp")));
        Assert.Equal("2026-03-01T12:05:00Z", _cluster.Get(ResourceKind.CronJob, "c").Text("status", "lastScheduleTime"));
        Assert.Single(_cluster.Get(ResourceKind.CronJob, "c").Items("status", "active"));
        End(job.Name(), "Complete");
        After(300);
        End(_cluster.All(ResourceKind.Job).Single(other => other.Name() != job.Name()).Name(), "Complete");
        Settle();
        Assert.DoesNotContain(_cluster.All(ResourceKind.Job), left => left.Name() == job.Name());
        Assert.Single(_cluster.All(ResourceKind.Job));
        Assert.Equal(KubeObject.Time(_cluster.Now), _cluster.Get(ResourceKind.CronJob, "c").Text("status", "lastSuccessfulTime"));
    }

    [Theory]
    [InlineData("Allow", 2)]
    [InlineData("Forbid", 1)]
    [InlineData("Replace", 1)]
    public void Concurrency_is_as_the_policy_says(string policy, int jobs)
    {
        Make($"\"concurrencyPolicy\":\"{policy}\",");
        After(301);
        var first = Assert.Single(_cluster.All(ResourceKind.Job)).Name();
        After(300);
        Assert.Equal(jobs, _cluster.All(ResourceKind.Job).Count);
        Assert.Equal(policy != "Replace", _cluster.All(ResourceKind.Job).Exists(job => job.Name() == first));
    }

    [Fact]
    public void After_a_long_stop_only_the_last_time_is_made_up_for_and_none_beyond_the_deadline()
    {
        Make();
        After(3600 + 60);
        Assert.Equal("2026-03-01T13:00:00Z", Assert.Single(_cluster.All(ResourceKind.Job)).Annotation("batch.kubernetes.io/cronjob-scheduled-timestamp"));
        _cluster.Patch(ResourceKind.CronJob, "c", """{"spec":{"startingDeadlineSeconds":30}}""");
        After(3600 + 60);
        Assert.Single(_cluster.All(ResourceKind.Job));
        _cluster.Patch(ResourceKind.CronJob, "c", """{"spec":{"suspend":true,"startingDeadlineSeconds":null}}""");
        After(3600);
        Assert.Single(_cluster.All(ResourceKind.Job));
    }
}
