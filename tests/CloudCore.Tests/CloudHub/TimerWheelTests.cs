using Edge.Cloud.CloudHub.Sessions;
using Edge.Testing;

namespace Edge.Cloud.Tests;

[Trait("Category", "Sync")]
public sealed class TimerWheelTests : IDisposable
{
    private readonly ManualTimeProvider _time = new(DateTimeOffset.UnixEpoch);
    private readonly TimerWheel _wheel;
    private readonly List<string> _fired = [];

    public TimerWheelTests() => _wheel = new TimerWheel(_time);

    public void Dispose() => _wheel.Dispose();

    [Fact]
    public void Entry_fires_once_at_its_time_and_no_earlier()
    {
        _wheel.Arm(new Entry("a", _fired), 1000);
        Advance(999);
        Assert.Empty(_fired);
        Advance(TimerWheel.ResolutionMs + 1);
        Assert.Equal(["a"], _fired);
        Advance(200_000);
        Assert.Equal(["a"], _fired);
    }

    [Fact]
    public void Later_arming_replaces_the_earlier_one_unless_it_may_only_bring_it_forward()
    {
        var (a, b) = (new Entry("a", _fired), new Entry("b", _fired));
        _wheel.Arm(a, 100);
        _wheel.Arm(a, 5000);
        _wheel.Arm(b, 100);
        _wheel.ArmNoLater(b, 5000);
        Advance(1000);
        Assert.Equal(["b"], _fired);
        _wheel.ArmNoLater(a, 1100);
        Advance(200);
        Assert.Equal(["b", "a"], _fired);
    }

    [Fact]
    public void Entry_due_after_more_than_one_turn_waits_its_turns()
    {
        _wheel.Arm(new Entry("far", _fired), 180_000);
        Advance(179_900);
        Assert.Empty(_fired);
        Advance(200);
        Assert.Equal(["far"], _fired);
    }

    [Fact]
    public void Cancelled_entry_does_not_fire_and_its_neighbours_do()
    {
        Entry[] entries = [new("a", _fired), new("b", _fired), new("c", _fired)];
        foreach (var entry in entries)
            _wheel.Arm(entry, 500);
        _wheel.Cancel(entries[1]);
        _wheel.Cancel(entries[1]);
        Advance(1000);
        Assert.Equal(["a", "c"], _fired.Order());
    }

    [Fact]
    public void Entry_armed_for_the_past_fires_at_the_next_turn_and_may_arm_itself_again()
    {
        Advance(10_000);
        Entry entry = null!;
        var left = 3;
        entry = new Entry("again", _fired, () =>
        {
            if (--left > 0)
                _wheel.Arm(entry, 0);
        });
        _wheel.Arm(entry, 0);
        Advance(1000);
        Assert.Equal(3, _fired.Count);
    }

    [Fact]
    public void Any_mix_of_arming_and_cancelling_fires_what_is_due_and_nothing_else()
    {
        var random = new Random(7);
        var entries = Enumerable.Range(0, 300).Select(i => new Entry($"{i}", _fired)).ToArray();
        var due = new Dictionary<string, long>();
        for (var round = 0; round < 2000; round++)
        {
            var entry = entries[random.Next(entries.Length)];
            if (random.Next(4) == 0)
            {
                _wheel.Cancel(entry);
                due.Remove(entry.Name);
            }
            else
            {
                var at = _wheel.NowMs + random.Next(120_000);
                _wheel.Arm(entry, at);
                due[entry.Name] = at;
            }

            _fired.Clear();
            Advance(random.Next(400));
            var now = _wheel.NowMs;
            Assert.All(_fired, name => Assert.True(due[name] <= now));
            foreach (var name in _fired)
                due.Remove(name);
            Assert.All(due, pair => Assert.True(pair.Value > now - (2 * TimerWheel.ResolutionMs)));
        }
    }

    private void Advance(int ms) => _time.Advance(TimeSpan.FromMilliseconds(ms));

    private sealed class Entry(string name, List<string> fired, Action? then = null) : WheelEntry
    {
        public string Name => name;

        public override void Fire(long nowMs)
        {
            fired.Add(name);
            then?.Invoke();
        }
    }
}
