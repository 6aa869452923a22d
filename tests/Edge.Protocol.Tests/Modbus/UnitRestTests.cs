using Edge.Protocol.Modbus;
using Xunit;

namespace Edge.Protocol.Tests.Modbus;

[Trait("Category", "Devices")]
public sealed class UnitRestTests
{
    [Fact]
    public void A_silent_unit_of_a_shared_line_rests_twice_as_long_each_time_and_not_longer_than_the_most()
    {
        var rest = new UnitRest();
        rest.Ask(1);
        rest.Ask(2);
        Assert.Equal(0, rest.Remaining(1, 0));
        long now = 0, expected = 4000;
        for (var i = 0; i < 8; i++)
        {
            rest.Failed(1, timeoutMs: 1000, now);
            Assert.Equal(Math.Min(expected, UnitRest.RestMsMax), rest.Remaining(1, now));
            Assert.Equal(0, rest.Remaining(2, now));
            Assert.True(rest.IsProbe(1));
            now += rest.Remaining(1, now);
            expected *= 2;
        }

        Assert.Equal(0, rest.Remaining(1, now));
        rest.Answered(1);
        Assert.False(rest.IsProbe(1));
    }

    [Fact]
    public void A_unit_alone_on_its_line_never_rests()
    {
        var rest = new UnitRest();
        rest.Ask(1);
        rest.Failed(1, 1000, 0);
        Assert.Equal(0, rest.Remaining(1, 0));
        Assert.False(rest.IsProbe(1));
    }
}
