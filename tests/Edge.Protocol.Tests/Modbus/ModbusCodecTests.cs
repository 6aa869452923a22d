using System.Globalization;
using Edge.Protocol.Modbus;
using Xunit;

namespace Edge.Protocol.Tests.Modbus;

[Trait("Category", "Devices")]
public sealed class ModbusCodecTests
{
    // The examples of the Modbus Application Protocol, V1.1b3 §6.
    [Theory]
    [InlineData(ModbusFunction.ReadCoils, 0x13, 19, "", "0100130013")]
    [InlineData(ModbusFunction.ReadDiscreteInputs, 0xC4, 22, "", "0200C40016")]
    [InlineData(ModbusFunction.ReadHoldingRegisters, 0x6B, 3, "", "03006B0003")]
    [InlineData(ModbusFunction.ReadInputRegisters, 8, 1, "", "0400080001")]
    [InlineData(ModbusFunction.WriteSingleCoil, 0xAC, 1, "01", "0500ACFF00")]
    [InlineData(ModbusFunction.WriteSingleRegister, 1, 1, "0003", "0600010003")]
    [InlineData(ModbusFunction.WriteMultipleCoils, 0x13, 10, "CD01", "0F0013000A02CD01")]
    [InlineData(ModbusFunction.WriteMultipleRegisters, 1, 2, "000A0102", "100001000204000A0102")]
    public void A_request_has_the_bytes_of_the_specification_and_reads_back(ModbusFunction function, int address, int count, string data, string pdu)
    {
        var request = new ModbusRequest(function, (ushort)address, (ushort)count, Convert.FromHexString(data));
        Assert.Equal(pdu, Convert.ToHexString(ModbusPdu.WriteRequest(request)));
        Assert.Equal(ModbusExceptionCode.None, ModbusPdu.ReadRequest(Convert.FromHexString(pdu), out var read));
        Assert.Equal((request.Function, request.Address, request.Count), (read.Function, read.Address, read.Count));
        Assert.Equal(data, Convert.ToHexString(read.Data.Span));
    }

    [Fact]
    public void A_read_is_answered_as_in_the_specification()
    {
        var request = new ModbusRequest(ModbusFunction.ReadHoldingRegisters, 0x6B, 3, default);
        var pdu = ModbusPdu.WriteResponse(request, Convert.FromHexString("022B00000064"));
        Assert.Equal("0306022B00000064", Convert.ToHexString(pdu));
        Assert.True(ModbusPdu.TryReadResponse(request, pdu, out var data, out _, out _));
        Assert.Equal<ushort>([555, 0, 100], ModbusPdu.ToRegisters(data.Span));
    }

    [Theory]
    [InlineData("", ModbusExceptionCode.IllegalFunction)]
    [InlineData("2B0D0100", ModbusExceptionCode.IllegalFunction)]
    [InlineData("2B0E0000", ModbusExceptionCode.IllegalDataValue)]
    [InlineData("2B0E", ModbusExceptionCode.IllegalDataValue)]
    [InlineData("16000400F200", ModbusExceptionCode.IllegalDataValue)]
    [InlineData("1700030006000E00030600FF00FF00", ModbusExceptionCode.IllegalDataValue)]
    [InlineData("170003007E000E00010200FF", ModbusExceptionCode.IllegalDataValue)]
    [InlineData("17FFFF0002000E00010200FF", ModbusExceptionCode.IllegalDataAddress)]
    [InlineData("63", ModbusExceptionCode.IllegalFunction)]
    [InlineData("03006B", ModbusExceptionCode.IllegalDataValue)]
    [InlineData("03006B0000", ModbusExceptionCode.IllegalDataValue)]
    [InlineData("03006B007E", ModbusExceptionCode.IllegalDataValue)]
    [InlineData("03FFFF0002", ModbusExceptionCode.IllegalDataAddress)]
    [InlineData("0500AC1234", ModbusExceptionCode.IllegalDataValue)]
    [InlineData("10000100020300000000", ModbusExceptionCode.IllegalDataValue)]
    [InlineData("100001000204000A01", ModbusExceptionCode.IllegalDataValue)]
    [InlineData("03006B000300", ModbusExceptionCode.IllegalDataValue)]
    public void A_hostile_request_gets_an_exception_code(string pdu, ModbusExceptionCode code)
        => Assert.Equal(code, ModbusPdu.ReadRequest(Convert.FromHexString(pdu), out _));

    [Fact]
    public void Every_prefix_of_a_frame_needs_more_and_the_whole_is_complete()
    {
        var frame = MbapFrame.Write(0x1234, 7, Convert.FromHexString("03006B0003"));
        for (var length = 0; length < frame.Length; length++)
            Assert.Equal(FrameStatus.NeedMore, MbapFrame.Read(frame.AsMemory(0, length), out _, out _, out _));
        Assert.Equal(FrameStatus.Complete, MbapFrame.Read(frame.Concat(frame).ToArray(), out var read, out var consumed, out _));
        Assert.Equal((0x1234, 7, frame.Length), (read.TransactionId, read.UnitId, consumed));
        Assert.Equal("03006B0003", Convert.ToHexString(read.Pdu.Span));
    }

    [Theory]
    [InlineData("000100010006", "protocol identifier is 1")]
    [InlineData("000100000000", "length field is 0")]
    [InlineData("000100000001", "length field is 1")]
    [InlineData("0001000000FF", "length field is 255")]
    [InlineData("00010000FFFF", "length field is 65535")]
    public void A_hostile_header_is_malformed_before_any_more_is_awaited(string bytes, string reason)
    {
        Assert.Equal(FrameStatus.Malformed, MbapFrame.Read(Convert.FromHexString(bytes), out _, out _, out var error));
        Assert.Contains(reason, error, StringComparison.Ordinal);
    }

    [Fact]
    public void No_bytes_make_the_readers_throw()
    {
        var random = new Random(5);
        for (var round = 0; round < 20_000; round++)
        {
            var bytes = new byte[random.Next(0, 40)];
            random.NextBytes(bytes);
            _ = MbapFrame.Read(bytes, out _, out _, out _);
            _ = RtuFrame.TryRead(bytes, out _, out _);
            _ = RtuScanner.TryFindRequest(bytes, out _, out _);
            _ = RtuScanner.TryFindAnswer(bytes, 1, 43, out _, out _);
            _ = ModbusPdu.TryReadIdentification(bytes, new List<ModbusIdentity>(), out _, out _);
            var code = ModbusPdu.ReadRequest(bytes, out var request);
            if (code == ModbusExceptionCode.None)
                _ = ModbusPdu.TryReadResponse(request, bytes, out _, out _, out _);
            _ = ModbusSlave.Answer(new MemoryRegisterBank(10, 10, 10, 10), 1, bytes);
        }
    }

    [Fact]
    public void An_rtu_frame_has_the_known_checksum_and_a_damaged_one_is_refused()
    {
        var frame = RtuFrame.Write(0x11, Convert.FromHexString("03006B0003"));
        Assert.Equal("1103006B00037687", Convert.ToHexString(frame));
        Assert.True(RtuFrame.TryRead(frame, out var read, out _));
        Assert.Equal(0x11, read.SlaveId);
        for (var i = 0; i < frame.Length; i++)
        {
            var damaged = (byte[])frame.Clone();
            damaged[i] ^= 0x10;
            Assert.False(RtuFrame.TryRead(damaged, out _, out _));
        }
    }

    [Theory]
    [InlineData(RegisterType.Int16, false, false, 1.0, "FFFE", "-2")]
    [InlineData(RegisterType.Int16, false, false, 0.1, "00D7", "21.5")]
    [InlineData(RegisterType.UInt16, true, false, 1.0, "0100", "1")]
    [InlineData(RegisterType.UInt32, false, false, 1.0, "00010000", "65536")]
    [InlineData(RegisterType.UInt32, false, true, 1.0, "00000001", "65536")]
    [InlineData(RegisterType.Int32, false, false, 1.0, "FFFFFFFF", "-1")]
    [InlineData(RegisterType.Int64, false, false, 1.0, "7FFFFFFFFFFFFFFF", "9223372036854775807")]
    [InlineData(RegisterType.UInt64, false, false, 1.0, "FFFFFFFFFFFFFFFF", "18446744073709551615")]
    [InlineData(RegisterType.Float, false, false, 1.0, "3F800000", "1")]
    [InlineData(RegisterType.Float, false, true, 1.0, "CCCD3DCC", "0.1")]
    [InlineData(RegisterType.Float, true, false, 1.0, "CC3DCDCC", "0.1")]
    [InlineData(RegisterType.Double, false, false, 1.0, "3FB999999999999A", "0.1")]
    public void A_value_comes_out_of_registers_and_goes_back_exactly(RegisterType type, bool swapBytes, bool swapWords, double scale, string hex, string text)
    {
        var format = new RegisterFormat(type, swapBytes, swapWords, (decimal)scale);
        var registers = ModbusPdu.ToRegisters(Convert.FromHexString(hex));
        Assert.Equal(text, format.Decode(registers));
        Assert.True(format.TryEncode(text, out var back, out _));
        Assert.Equal(hex, Convert.ToHexString(ModbusPdu.FromRegisters(back)));
    }

    [Fact]
    public void Every_register_value_survives_scaling_there_and_back()
    {
        foreach (var scale in (decimal[])[1, 0.1m, 0.01m, 2.5m, 1000, -0.5m, 3])
        {
            var format = new RegisterFormat(RegisterType.Int16, Scale: scale, Offset: 1.5m);
            for (var raw = 0; raw <= ushort.MaxValue; raw += 7)
            {
                Assert.True(format.TryEncode(format.Decode([(ushort)raw])!, out var back, out var error), error);
                Assert.Equal((ushort)raw, back[0]);
            }
        }
    }

    [Fact]
    public void Random_registers_of_every_type_and_order_round_trip()
    {
        var random = new Random(6);
        foreach (var type in Enum.GetValues<RegisterType>().Where(type => type is not (RegisterType.Bool or RegisterType.Bcd or RegisterType.Text)))
        {
            for (var round = 0; round < 500; round++)
            {
                var format = new RegisterFormat(type, random.Next(2) == 0, random.Next(2) == 0);
                var bytes = new byte[format.RegisterCount * 2];
                random.NextBytes(bytes);
                var registers = ModbusPdu.ToRegisters(bytes);
                if (format.Decode(registers) is not { } text)
                    continue; // many bit patterns are NaN
                Assert.True(format.TryEncode(text, out var back, out var error), error);
                Assert.Equal(registers, back);
            }
        }
    }

    [Theory]
    [InlineData(RegisterType.Int16, "32768")]
    [InlineData(RegisterType.UInt16, "-1")]
    [InlineData(RegisterType.UInt32, "abc")]
    [InlineData(RegisterType.Float, "1e300")]
    [InlineData(RegisterType.Float, "1e400")]
    [InlineData(RegisterType.Float, "NaN")]
    [InlineData(RegisterType.Double, "1e400")]
    [InlineData(RegisterType.Double, "Infinity")]
    [InlineData(RegisterType.Bool, "maybe")]
    public void A_value_that_does_not_fit_is_refused_with_a_reason(RegisterType type, string text)
    {
        Assert.False(new RegisterFormat(type).TryEncode(text, out _, out var error));
        Assert.Contains(text, error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(RegisterType.Float, "1e38", 0.001)]
    [InlineData(RegisterType.Float, "-1e38", 0.001)]
    [InlineData(RegisterType.Double, "1e308", 0.001)]
    [InlineData(RegisterType.Float, "1e400", 10)]
    public void A_value_that_overflows_by_its_scale_is_refused(RegisterType type, string text, double scale)
    {
        Assert.False(new RegisterFormat(type, Scale: (decimal)scale).TryEncode(text, out _, out var error));
        Assert.Contains(text, error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("7FC00000", "NaN")]
    [InlineData("7F800000", "an infinity")]
    [InlineData("FF800000", "an infinity")]
    [InlineData("7FF8000000000000", "NaN")]
    [InlineData("FFF0000000000000", "an infinity")]
    public void A_register_that_holds_no_number_has_no_value_but_a_reason(string hex, string what)
    {
        var registers = ModbusPdu.ToRegisters(Convert.FromHexString(hex));
        foreach (var scale in (decimal[])[1, 0.1m])
        {
            var format = new RegisterFormat(registers.Length == 2 ? RegisterType.Float : RegisterType.Double, Scale: scale);
            Assert.False(format.TryDecode(registers, out _, out var reason));
            Assert.Equal($"holds {what}, which is no value", reason);
            Assert.Null(format.Decode(registers));
        }
    }

    [Theory]
    [InlineData(RegisterType.Float, "0.1", "10", "1")]
    [InlineData(RegisterType.Float, "21.7", "0.1", "2.17")]
    [InlineData(RegisterType.Float, "1E+30", "10", "1E+31")]
    [InlineData(RegisterType.Float, "1E-30", "10", "1E-29")]
    [InlineData(RegisterType.Double, "0.1", "3", "0.3")]
    [InlineData(RegisterType.Double, "123456789.125", "1000", "123456789125")]
    public void A_scaled_floating_point_value_has_the_digits_of_its_register_and_no_others(RegisterType type, string raw, string scale, string text)
    {
        Assert.True(new RegisterFormat(type).TryEncode(raw, out var registers, out _));
        var format = new RegisterFormat(type, Scale: decimal.Parse(scale, CultureInfo.InvariantCulture));
        Assert.Equal(text, format.Decode(registers));
        Assert.True(format.TryEncode(text, out var back, out _));
        Assert.Equal(registers, back);
    }

    [Fact]
    public void One_bit_of_a_register_is_read_and_written_without_touching_the_others()
    {
        var format = new RegisterFormat(RegisterType.Bool, Bit: 3);
        Assert.Equal("true", format.Decode([0x0008]));
        Assert.Equal(0xFFF7, format.EncodeBit(0xFFFF, false));
        Assert.Equal(0x0009, format.EncodeBit(0x0001, true));
        Assert.Equal("0x0800", string.Create(CultureInfo.InvariantCulture, $"0x{new RegisterFormat(RegisterType.Bool, SwapBytes: true, Bit: 3).EncodeBit(0, true):X4}"));
    }
}
