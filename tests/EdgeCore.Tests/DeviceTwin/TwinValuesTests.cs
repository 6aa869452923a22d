using Edge.Core.DeviceTwin;
using Edge.Protocol.Dmi.V1Beta1;
using Xunit;

namespace Edge.Core.Tests.DeviceTwin;

/// <summary>Every type of a DeviceModel: what counts as a value of it, and what does not.</summary>
[Trait("Category", "Devices")]
public sealed class TwinValuesTests
{
    [Theory]
    [InlineData("INT", "0", null)]
    [InlineData("int", "-17", null)]
    [InlineData("INT", "+5", null)]
    [InlineData("INT", " 5 ", null)]
    [InlineData("INT", "21.0", null)]
    [InlineData("INT", "2.1e1", null)]
    [InlineData("INT", "9223372036854775807", null)]
    [InlineData("INT", "-9223372036854775808", null)]
    [InlineData("INT", "18446744073709551615", null)]
    [InlineData("INT", "", null)]
    [InlineData("INT", "18446744073709551616", "is not a whole number of 64 bits, the model's type is INT")]
    [InlineData("INT", "-9223372036854775809", "is not a whole number")]
    [InlineData("INT", "21.5", "is not a whole number")]
    [InlineData("INT", "1e300", "is not a whole number")]
    [InlineData("INT", "1e-30", "is not a whole number")]
    [InlineData("INT", "NaN", "is not a whole number")]
    [InlineData("INT", "Infinity", "is not a whole number")]
    [InlineData("INT", "0x10", "is not a whole number")]
    [InlineData("INT", "true", "is not a whole number")]
    [InlineData("FLOAT", "21.5", null)]
    [InlineData("FLOAT", "1e-30", null)]
    [InlineData("FLOAT", "NaN", null)]
    [InlineData("FLOAT", "warm", "is not a number, the model's type is FLOAT")]
    [InlineData("FLOAT", "1,5", "is not a number")]
    [InlineData("DOUBLE", "-1.7976931348623157E+308", null)]
    [InlineData("DOUBLE", "7", null)]
    [InlineData("DOUBLE", "warm", "is not a number, the model's type is DOUBLE")]
    [InlineData("STRING", "", null)]
    [InlineData("STRING", "21 °C\n", null)]
    [InlineData("BOOLEAN", "true", null)]
    [InlineData("BOOLEAN", "False", null)]
    [InlineData("BOOLEAN", "0", null)]
    [InlineData("BOOLEAN", "ON", null)]
    [InlineData("BOOLEAN", "2", "is not true or false, the model's type is BOOLEAN")]
    [InlineData("BOOLEAN", "yes", "is not true or false")]
    [InlineData("BYTES", "AAEC/w==", null)]
    [InlineData("BYTES", "00 ff", null)]
    [InlineData("STREAM", "rtsp://camera/1", null)]
    public void A_value_is_of_its_models_type_or_is_refused(string type, string value, string? refusal)
    {
        var model = new ModelProperty { Name = "p", Type = type };
        foreach (var said in (string?[])[TwinValues.Refusal(value, model), .. value == "NaN" ? [] : new[] { TwinValues.DesiredRefusal(value, model) }])
        {
            if (refusal is null)
                Assert.Null(said);
            else
                Assert.Contains(refusal, said, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("INT")]
    [InlineData("FLOAT")]
    [InlineData("DOUBLE")]
    [InlineData("STRING")]
    [InlineData("BOOLEAN")]
    [InlineData("BYTES")]
    [InlineData("STREAM")]
    public void A_value_over_64_KiB_is_refused_whatever_the_type(string type)
        => Assert.Contains("over the limit of 65536", TwinValues.Refusal(new string('1', 65537), new ModelProperty { Name = "p", Type = type }), StringComparison.Ordinal);

    [Theory]
    [InlineData("INT", "9007199254740992", "9007199254740993", "", "below")]
    [InlineData("INT", "9007199254740993", "9007199254740993", "9007199254740993", null)]
    [InlineData("INT", "9007199254740994", "", "9007199254740993", "above")]
    [InlineData("INT", "20", "20.5", "", "below")]
    [InlineData("INT", "5", "-1e300", "1e300", null)]
    [InlineData("INT", "5", "none", "none", null)]
    [InlineData("FLOAT", "20.4", "20.5", "", "below")]
    [InlineData("DOUBLE", "Infinity", "", "1e308", "above")]
    [InlineData("DOUBLE", "NaN", "0", "", "below")]
    public void Limits_hold_to_the_last_digit(string type, string value, string minimum, string maximum, string? refusal)
    {
        var said = TwinValues.Refusal(value, new ModelProperty { Name = "p", Type = type, Minimum = minimum, Maximum = maximum });
        if (refusal is null)
            Assert.Null(said);
        else
            Assert.Contains($"is {refusal} the model's", said, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("FLOAT", "NaN")]
    [InlineData("DOUBLE", "-Infinity")]
    [InlineData("INT", "NaN")]
    public void Nothing_can_be_set_to_what_is_no_number(string type, string value)
        => Assert.Contains("is not a", TwinValues.DesiredRefusal(value, new ModelProperty { Name = "p", Type = type }), StringComparison.Ordinal);
}
