using Edge.Cloud.Leadership;

namespace Edge.Cloud.Tests.Leadership;

[Trait("Category", "Unit")]
public sealed class LeaseCoreTests
{
    private readonly LeaseCore _core = new("us", new LeaseTimes(15_000, 10_000, 2_000));

    [Fact]
    public void Missing_lease_is_created_and_then_led()
    {
        Assert.Equal(LeaseStep.Create, _core.Seen(null, 0));
        Assert.False(_core.IsLeader(0));
        _core.Written("1", 0);
        Assert.True(_core.IsLeader(9_999));
    }

    [Fact]
    public void Leader_that_cannot_renew_steps_down_before_another_may_take_it()
    {
        _core.Seen(null, 0);
        _core.Written("1", 0);
        Assert.False(_core.IsLeader(10_000));
        var other = new LeaseCore("them", new LeaseTimes(15_000, 10_000, 2_000));
        Assert.Equal(LeaseStep.Wait, other.Seen(new LeaseState("us", 15_000, "1"), 0));
        Assert.Equal(LeaseStep.Wait, other.Seen(new LeaseState("us", 15_000, "1"), 14_999));
        Assert.Equal(LeaseStep.Take, other.Seen(new LeaseState("us", 15_000, "1"), 15_000));
    }

    [Fact]
    public void Slow_write_counts_from_its_beginning()
    {
        _core.Seen(null, 1_000);
        _core.Written("1", 1_000);
        Assert.False(_core.IsLeader(11_000));
    }

    [Fact]
    public void Lease_that_its_holder_renews_is_left_alone()
    {
        for (var i = 0; i < 100; i++)
            Assert.Equal(LeaseStep.Wait, _core.Seen(new LeaseState("them", 15_000, $"{i}"), i * 2_000));
    }

    [Fact]
    public void Holder_that_asked_for_more_time_has_it()
    {
        Assert.Equal(LeaseStep.Wait, _core.Seen(new LeaseState("them", 60_000, "1"), 0));
        Assert.Equal(LeaseStep.Wait, _core.Seen(new LeaseState("them", 60_000, "1"), 59_999));
        Assert.Equal(LeaseStep.Take, _core.Seen(new LeaseState("them", 60_000, "1"), 60_000));
    }

    [Fact]
    public void Lease_that_was_given_up_is_taken_at_once()
        => Assert.Equal(LeaseStep.Take, _core.Seen(new LeaseState("", 15_000, "1"), 0));

    [Fact]
    public void Leader_that_sees_another_holder_leads_no_longer()
    {
        _core.Seen(null, 0);
        _core.Written("1", 0);
        Assert.Equal(LeaseStep.Wait, _core.Seen(new LeaseState("them", 15_000, "2"), 1_000));
        Assert.False(_core.IsLeader(1_000));
    }

    [Fact]
    public void Own_lease_is_renewed_also_when_the_answer_to_the_write_was_lost()
    {
        Assert.Equal(LeaseStep.Create, _core.Seen(null, 0));
        Assert.Equal(LeaseStep.Renew, _core.Seen(new LeaseState("us", 15_000, "1"), 2_000));
        Assert.False(_core.IsLeader(2_000));
        _core.Written("2", 2_000);
        Assert.True(_core.IsLeader(2_000));
    }

    // Random reads, writes that fail or come late, and clocks that start anywhere: never two leaders.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Two_never_lead_at_once(int seed)
    {
        var random = new Random(seed);
        var times = new LeaseTimes(15_000, 10_000, 2_000);
        var offsets = Enumerable.Range(0, 3).Select(_ => random.NextInt64(1_000_000)).ToArray();
        var cores = Enumerable.Range(0, 3).Select(i => new LeaseCore($"c{i}", times)).ToArray();
        var next = new long[3];
        LeaseState? stored = null;
        var (version, terms, last) = (0, 0, -1);
        for (var now = 0L; now < 3_000_000; now += 100)
        {
            for (var i = 0; i < cores.Length; i++)
            {
                if (next[i] > now)
                    continue;
                // Now and then one is cut off for long enough that another takes over.
                next[i] = now + (random.Next(40) == 0 ? random.Next(8_000, 40_000) : 2_000);
                var step = cores[i].Seen(stored, now + offsets[i]);
                if (step == LeaseStep.Wait || random.Next(10) == 0)
                    continue;
                stored = new LeaseState($"c{i}", 15_000, $"{++version}");
                // The answer may be lost: then it holds the lease without knowing.
                if (random.Next(10) != 0)
                    cores[i].Written(stored.Version, now + offsets[i]);
            }

            var leading = Enumerable.Range(0, cores.Length).Where(i => cores[i].IsLeader(now + offsets[i])).ToList();
            Assert.True(leading.Count <= 1, $"seed {seed}, {now} ms: {string.Join(" and ", leading)} lead");
            if (leading.Count == 1 && leading[0] != last)
                (last, terms) = (leading[0], terms + 1);
        }

        Assert.True(terms > 3, $"only {terms} terms: nothing was tried");
    }
}
