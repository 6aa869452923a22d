using Edge.Ctl.Devices;

namespace Edge.Ctl.Tests;

[Trait("Category", "Devices")]
public sealed class DesiredCheckTests
{
    [Theory]
    [InlineData("setpoint", "5")]
    [InlineData("setpoint", "35.0")]
    [InlineData("setpoint", "2.15e1")]
    [InlineData("steps", "0")]
    [InlineData("steps", "9000000000")]
    [InlineData("fan", "true")]
    [InlineData("fan", "FALSE")]
    [InlineData("fan", "1")]
    [InlineData("label", "hall north, 2 µm")]
    public void What_the_model_allows_passes(string property, string value) => Assert.Empty(DesiredCheck.Check(Objects.Model(), [new Wanted(property, value)]));

    [Theory]
    [InlineData("setpoint", "4.9", "property 'setpoint' takes a number from 5 to 35 celsius; '4.9' is below that")]
    [InlineData("setpoint", "36", "property 'setpoint' takes a number from 5 to 35 celsius; '36' is above that")]
    [InlineData("setpoint", "warm", "property 'setpoint' takes a number from 5 to 35 celsius; 'warm' is not a number")]
    [InlineData("setpoint", "21,5", "property 'setpoint' takes a number from 5 to 35 celsius; '21,5' is not a number: the decimal sign is a point, 21.5")]
    [InlineData("setpoint", "21.5°C", "property 'setpoint' takes a number from 5 to 35 celsius; '21.5°C' is not a number: write it without a unit, 21.5")]
    [InlineData("setpoint", "NaN", "property 'setpoint' takes a number from 5 to 35 celsius; 'NaN' is not a number")]
    [InlineData("steps", "-1", "property 'steps' takes a whole number of at least 0; '-1' is below that")]
    [InlineData("steps", "1.5", "property 'steps' takes a whole number of at least 0; '1.5' is not whole")]
    [InlineData("fan", "on", "property 'fan' takes true or false; 'on' is neither")]
    public void What_it_does_not_is_told_with_what_it_does(string property, string value, string message)
        => Assert.Equal([message], DesiredCheck.Check(Objects.Model(), [new Wanted(property, value)]));

    [Fact]
    public void What_nobody_may_set_is_told_with_what_can_be_set()
        => Assert.Equal(
            ["property 'temperature' is ReadOnly in DeviceModel 'thermostat': the device reports it, nobody sets it; what can be set: setpoint (a number from 5 to 35 celsius), "
                + "steps (a whole number of at least 0), fan (true or false), label (a STRING value)"],
            DesiredCheck.Check(Objects.Model(), [new Wanted("temperature", "3")]));

    [Fact]
    public void A_slip_in_a_name_is_answered_with_the_name_that_was_meant()
        => Assert.StartsWith("DeviceModel 'thermostat' has no property 'setpont'; did you mean 'setpoint'?", DesiredCheck.Check(Objects.Model(), [new Wanted("setpont", "3")]).Single());

    [Fact]
    public void All_problems_are_told_at_once() => Assert.Equal(2, DesiredCheck.Check(Objects.Model(), [new Wanted("setpoint", "99"), new Wanted("fan", "true"), new Wanted("steps", "x")]).Count);

    [Fact]
    public void Assignments_are_read_and_what_is_none_is_told()
    {
        var problems = new List<string>();
        var wanted = DesiredCheck.Read(["setpoint=23", "label=a=b", "fan", "steps=", "=1", "setpoint=24"], problems);
        Assert.Equal([new Wanted("setpoint", "23"), new Wanted("label", "a=b")], wanted);
        Assert.Equal(
            [
                "'fan' must be PROPERTY=VALUE, e.g. setpoint=23.5",
                "'steps=' must be PROPERTY=VALUE, e.g. setpoint=23.5",
                "'=1' must be PROPERTY=VALUE, e.g. setpoint=23.5",
                "'setpoint' is given twice; which value is meant?",
            ],
            problems);
    }
}
