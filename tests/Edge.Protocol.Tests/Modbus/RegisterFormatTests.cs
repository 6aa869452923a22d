using Edge.Protocol.Modbus;
using Xunit;

namespace Edge.Protocol.Tests.Modbus;

/// <summary>BCD, strings, and byte orders beyond the four common ones.</summary>
[Trait("Category", "Devices")]
public sealed class RegisterFormatTests
{
    [Theory]
    [InlineData(1, "1234", "1234")]
    [InlineData(2, "00120034", "120034")]
    [InlineData(4, "9999999999999999", "9999999999999999")]
    public void A_bcd_comes_out_of_registers_and_goes_back(int registers, string hex, string text)
    {
        var format = new RegisterFormat(RegisterType.Bcd, Registers: registers);
        Assert.Equal(text, format.Decode(ModbusPdu.ToRegisters(Convert.FromHexString(hex))));
        Assert.True(format.TryEncode(text, out var back, out var error), error);
        Assert.Equal(hex, Convert.ToHexString(ModbusPdu.FromRegisters(back)));
    }

    [Fact]
    public void A_register_with_a_digit_above_nine_holds_no_bcd_and_one_that_does_not_fit_is_refused()
    {
        Assert.Null(new RegisterFormat(RegisterType.Bcd).Decode([0x12A4]));
        Assert.False(new RegisterFormat(RegisterType.Bcd).TryEncode("10000", out _, out _));
        Assert.False(new RegisterFormat(RegisterType.Bcd).TryEncode("-1", out _, out _));
        Assert.True(new RegisterFormat(RegisterType.Bcd, Scale: 0.1m).TryEncode("123.4", out var registers, out _));
        Assert.Equal(0x1234, registers[0]);
    }

    [Theory]
    [InlineData(false, false, "45646765204F53", "Edge OS")]
    [InlineData(true, false, "64456567 4F20 0053", "Edge OS")]
    [InlineData(false, true, "5300 204F 6765 4564", "Edge OS")]
    public void A_string_comes_out_of_registers_and_goes_back(bool swapBytes, bool swapWords, string hex, string text)
    {
        var format = new RegisterFormat(RegisterType.Text, swapBytes, swapWords, Registers: 4);
        var bytes = Convert.FromHexString(hex.Replace(" ", "")).Concat(new byte[8]).Take(8).ToArray();
        Assert.Equal(text, format.Decode(ModbusPdu.ToRegisters(bytes)));
        Assert.True(format.TryEncode(text, out var back, out var error), error);
        Assert.Equal(Convert.ToHexString(bytes), Convert.ToHexString(ModbusPdu.FromRegisters(back)));
    }

    [Fact]
    public void Strings_that_do_not_fit_are_refused_and_what_is_not_printable_shows_as_a_question_mark()
    {
        var format = new RegisterFormat(RegisterType.Text, Registers: 2);
        Assert.False(format.TryEncode("Edge1", out _, out var error));
        Assert.Contains("5 characters", error, StringComparison.Ordinal);
        Assert.False(format.TryEncode("a\nb", out _, out _));
        Assert.Equal("A?B", format.Decode([0x4107, 0x4220]));
    }

    [Fact]
    public void Every_order_of_the_bytes_of_every_number_reads_and_goes_back()
    {
        var big = new RegisterFormat(RegisterType.UInt32);
        Assert.True(big.TryEncode("16909060", out var plain, out _)); // 01 02 03 04
        foreach (var order in Permutations("ABCD"))
        {
            var format = new RegisterFormat(RegisterType.UInt32, ByteOrder: order);
            Assert.Null(format.ByteOrderProblem);
            Assert.True(format.TryEncode("16909060", out var registers, out _));
            Assert.Equal(string.Concat(order.Select(letter => $"0{letter - 'A' + 1}")), Convert.ToHexString(ModbusPdu.FromRegisters(registers)));
            Assert.Equal("16909060", format.Decode(registers));
        }

        Assert.Equal(plain, Encode(RegisterType.UInt32, "ABCD"));
        Assert.Equal(new RegisterFormat(RegisterType.Float, SwapWords: true).Decode([1, 2]), new RegisterFormat(RegisterType.Float, ByteOrder: "CDAB").Decode([1, 2]));
        Assert.Equal(new RegisterFormat(RegisterType.Float, SwapBytes: true).Decode([1, 2]), new RegisterFormat(RegisterType.Float, ByteOrder: "BADC").Decode([1, 2]));
        var random = new Random(8);
        foreach (var order in Permutations("ABCDEFGH").Where(_ => random.Next(200) == 0))
        {
            var format = new RegisterFormat(RegisterType.Double, ByteOrder: order);
            Assert.True(format.TryEncode("-1234.5678", out var registers, out _));
            Assert.Equal("-1234.5678", format.Decode(registers));
        }

        static ushort[] Encode(RegisterType type, string order) => new RegisterFormat(type, ByteOrder: order).TryEncode("16909060", out var registers, out _) ? registers : [];
    }

    [Theory]
    [InlineData(RegisterType.UInt32, "ABC")]
    [InlineData(RegisterType.UInt32, "AABB")]
    [InlineData(RegisterType.UInt16, "ABCD")]
    [InlineData(RegisterType.Text, "AB")]
    public void An_order_that_is_none_has_a_reason(RegisterType type, string order) => Assert.NotNull(new RegisterFormat(type, ByteOrder: order).ByteOrderProblem);

    private static IEnumerable<string> Permutations(string letters)
        => letters.Length == 0 ? [""] : letters.SelectMany(letter => Permutations(letters.Replace($"{letter}", "")).Select(rest => letter + rest));
}
