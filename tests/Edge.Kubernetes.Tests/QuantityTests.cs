namespace Edge.Kubernetes.Tests;

[Trait("Category", "Kubernetes")]
public sealed class QuantityTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("1", 1000)]
    [InlineData("+1", 1000)]
    [InlineData("-1", -1000)]
    [InlineData("100m", 100)]
    [InlineData("1.5", 1500)]
    [InlineData(".5", 500)]
    [InlineData("5.", 5000)]
    [InlineData("0.0001", 1)]
    [InlineData("-0.0001", -1)]
    [InlineData("1n", 1)]
    [InlineData("2500u", 3)]
    [InlineData("1e3", 1_000_000)]
    [InlineData("1E3", 1_000_000)]
    [InlineData("15e-1", 1500)]
    [InlineData("1k", 1_000_000)]
    [InlineData("128Mi", 134_217_728_000)]
    [InlineData("1.5Gi", 1_610_612_736_000)]
    [InlineData("1E", long.MaxValue)]
    public void A_quantity_reads_as_its_thousandths(string text, long milli) => Assert.Equal(milli, Quantity.Parse(text).MilliValue);

    [Theory]
    [InlineData("1E", 1_000_000_000_000_000_000)]
    [InlineData("1Ei", 1_152_921_504_606_846_976)]
    [InlineData("1m", 1)]
    [InlineData("1500m", 2)]
    [InlineData("-1500m", -1)]
    public void Whole_units_round_up(string text, long value) => Assert.Equal(value, Quantity.Parse(text).Value);

    // As apimachinery's ParseQuantity, which Kubernetes' API reads with: what it takes must not count as nothing here.
    [Theory]
    [InlineData("8Ei", long.MaxValue)]
    [InlineData("1e28", long.MaxValue)]
    [InlineData("1e99", long.MaxValue)]
    [InlineData("-1e2000000000", -long.MaxValue)]
    [InlineData("9223372036854775807.5", long.MaxValue)]
    [InlineData("99999999999999999999999999999999999999999999999", long.MaxValue)]
    [InlineData("99999999999999999999999999999999999999999999999n", long.MaxValue)]
    [InlineData("1.000000000000000000000000000000000000000", 1)]
    [InlineData("1.00000000000000000000000000000Ei", 1_152_921_504_606_846_976)]
    [InlineData("1e-99", 1)]
    [InlineData("0e99", 0)]
    public void What_is_too_large_counts_as_the_largest(string text, long value) => Assert.Equal(value, Quantity.Parse(text).Value);

    [Theory]
    [InlineData("")]
    [InlineData("m")]
    [InlineData("1 Gi")]
    [InlineData("1gi")]
    [InlineData("1KiB")]
    [InlineData("1.2.3")]
    [InlineData("e3")]
    [InlineData("1e")]
    [InlineData("--1")]
    [InlineData("NaN")]
    public void What_is_no_quantity_is_refused(string text)
    {
        Assert.False(Quantity.TryParse(text, out _));
        Assert.Throws<FormatException>(() => Quantity.Parse(text));
    }

    [Fact]
    public void Quantities_of_different_notation_compare_and_add()
    {
        Assert.Equal(Quantity.Parse("1Gi"), Quantity.Parse("1024Mi"));
        Assert.True(Quantity.Parse("100m") < Quantity.Parse("0.2"));
        Assert.Equal("1100m", (Quantity.Parse("1") + Quantity.Parse("100m")).ToString());
        Assert.Equal("2", (Quantity.Parse("3") - Quantity.Parse("1")).ToString());
    }
}
