using Edge.Ctl.Devices;

namespace Edge.Ctl.Tests;

[Trait("Category", "Devices")]
public sealed class AgesTests
{
    [Theory]
    [InlineData(-3, "0s")]
    [InlineData(0.9, "0s")]
    [InlineData(2, "2s")]
    [InlineData(119.9, "119s")]
    [InlineData(120, "2m")]
    [InlineData(300, "5m")]
    [InlineData(7200, "2h")]
    [InlineData(172_800, "2d")]
    public void An_age_is_shown_in_its_largest_unit(double seconds, string text) => Assert.Equal(text, Ages.Short(TimeSpan.FromSeconds(seconds)));

    [Theory]
    [InlineData(85, "85ms")]
    [InlineData(1240, "1.24s")]
    [InlineData(31_500, "31.5s")]
    [InlineData(-250, "-250ms")]
    [InlineData(240_000, "4m")]
    public void A_delay_is_shown_with_what_matters_of_it(double milliseconds, string text) => Assert.Equal(text, Ages.Precise(TimeSpan.FromMilliseconds(milliseconds)));

    [Theory]
    [InlineData("500ms", 0.5)]
    [InlineData("30s", 30)]
    [InlineData("1h30m", 5400)]
    [InlineData("2d", 172_800)]
    public void A_time_is_read(string text, double seconds) => Assert.Equal(TimeSpan.FromSeconds(seconds), Ages.TryRead(text));

    [Theory]
    [InlineData("")]
    [InlineData("30")]
    [InlineData("-1s")]
    [InlineData("0s")]
    [InlineData("1.5s")]
    [InlineData("1y")]
    [InlineData("9999999s")]
    [InlineData("30s\n")]
    [InlineData("366d")]
    public void What_is_no_time_is_not(string text) => Assert.Null(Ages.TryRead(text));
}
