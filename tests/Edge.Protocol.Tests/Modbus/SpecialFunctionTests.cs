using Edge.Protocol.Modbus;
using Xunit;

namespace Edge.Protocol.Tests.Modbus;

/// <summary>Functions 22, 23 and 43/14, and where RTU frames begin and end.</summary>
[Trait("Category", "Devices")]
public sealed class SpecialFunctionTests
{
    [Fact]
    public void Mask_write_has_the_bytes_of_the_specification_and_is_repeated_as_the_answer()
    {
        var request = ModbusRequest.MaskWrite(4, 0x00F2, 0x0025);
        var pdu = ModbusPdu.WriteRequest(request);
        Assert.Equal("16000400F20025", Convert.ToHexString(pdu));
        var bank = new MemoryRegisterBank(1, 1, 10, 1);
        bank.Access((coils, inputs, holding, input) => holding[4] = 0x12);
        var answer = ModbusSlave.Answer(bank, 1, pdu);
        Assert.Equal(pdu, answer);
        Assert.True(ModbusPdu.TryReadResponse(request, answer, out _, out var exception, out var error), error);
        Assert.Equal(ModbusExceptionCode.None, exception);

        // The specification's own example: 0x12 with these masks becomes 0x17.
        bank.Access((coils, inputs, holding, input) => Assert.Equal(0x17, holding[4]));
    }

    [Fact]
    public void Read_and_write_has_the_bytes_of_the_specification_and_writes_before_it_reads()
    {
        var request = ModbusRequest.ReadWrite(3, 6, 14, [0xFF, 0xFF, 0xFF]);
        var pdu = ModbusPdu.WriteRequest(request);
        Assert.Equal("1700030006000E00030600FF00FF00FF", Convert.ToHexString(pdu));
        var bank = new MemoryRegisterBank(1, 1, 20, 1);
        Assert.Equal("170C000000000000000000000000", Convert.ToHexString(ModbusSlave.Answer(bank, 1, pdu)));
        Assert.Equal("170600FF00FF00FF", Convert.ToHexString(ModbusSlave.Answer(bank, 1, ModbusPdu.WriteRequest(ModbusRequest.ReadWrite(14, 3, 0, [1])))));
        Assert.Equal("1704000200FF", Convert.ToHexString(ModbusSlave.Answer(bank, 1, ModbusPdu.WriteRequest(ModbusRequest.ReadWrite(13, 2, 13, [2])))));

        // What cannot be read is not written either.
        Assert.Equal("9702", Convert.ToHexString(ModbusSlave.Answer(bank, 1, ModbusPdu.WriteRequest(ModbusRequest.ReadWrite(19, 2, 0, [7])))));
        bank.Access((coils, inputs, holding, input) => Assert.Equal(1, holding[0]));
    }

    [Fact]
    public void Identification_goes_over_as_many_answers_as_it_takes()
    {
        var objects = new List<ModbusIdentity> { new(0, "Edge"), new(1, "E-1"), new(2, "V1.0"), new(4, new string('p', 200)), new(5, new string('m', 200)), new(0x80, "own") };
        var bank = new MemoryRegisterBank(1, 1, 1, 1) { Identity = objects };
        Assert.Equal("2B0E01830000030004456467650103452D31020456312E30", Convert.ToHexString(ModbusSlave.Answer(bank, 1, ModbusPdu.WriteRequest(ModbusRequest.Identification(1, 0)))));
        var read = new List<ModbusIdentity>();
        byte? next = 0;
        var answers = 0;
        while (next is { } first)
        {
            var request = ModbusRequest.Identification(3, first);
            var pdu = ModbusSlave.Answer(bank, 1, ModbusPdu.WriteRequest(request));
            Assert.True(pdu.Length <= ModbusPdu.SizeMax);
            Assert.True(ModbusPdu.TryReadResponse(request, pdu, out var data, out _, out var error), error);
            Assert.True(ModbusPdu.TryReadIdentification(data.Span, read, out next, out error), error);
            answers++;
        }

        Assert.Equal(2, answers);
        Assert.Equal(objects, read);
        Assert.Equal("AB02", Convert.ToHexString(ModbusSlave.Answer(bank, 1, ModbusPdu.WriteRequest(ModbusRequest.Identification(4, 9)))));
        Assert.Equal("AB01", Convert.ToHexString(ModbusSlave.Answer(new MemoryRegisterBank(1, 1, 1, 1), 1, ModbusPdu.WriteRequest(ModbusRequest.Identification(1, 0)))));
    }

    [Fact]
    public void Every_answer_of_every_function_is_found_behind_noise_and_not_before_its_last_byte()
    {
        var bank = new MemoryRegisterBank(50, 50, 50, 50) { Identity = [new(0, "Edge"), new(1, "x")] };
        ModbusRequest[] requests =
        [
            new(ModbusFunction.ReadCoils, 0, 9, default), new(ModbusFunction.ReadDiscreteInputs, 0, 1, default), new(ModbusFunction.ReadHoldingRegisters, 0, 3, default),
            new(ModbusFunction.ReadInputRegisters, 60, 1, default), new(ModbusFunction.WriteSingleCoil, 1, 1, new byte[] { 1 }), new(ModbusFunction.WriteSingleRegister, 1, 1, new byte[2]),
            new(ModbusFunction.WriteMultipleCoils, 1, 9, new byte[2]), new(ModbusFunction.WriteMultipleRegisters, 1, 2, new byte[4]), ModbusRequest.MaskWrite(0, 1, 2),
            ModbusRequest.ReadWrite(0, 2, 0, [5]), ModbusRequest.Identification(1, 0),
        ];
        byte[] noise = [0, 0xFF, 17, 3, 2, 17];
        foreach (var request in requests)
        {
            var pdu = ModbusPdu.WriteRequest(request);
            var asked = noise.Concat(RtuFrame.Write(17, pdu)).ToArray();
            Assert.True(RtuScanner.TryFindRequest(asked, out var at, out var size), request.ToString());
            Assert.Equal((noise.Length, pdu.Length + 3), (at, size));
            var answered = noise.Concat(RtuFrame.Write(17, ModbusSlave.Answer(bank, 17, pdu))).ToArray();
            for (var length = 0; length < answered.Length; length++)
                Assert.False(RtuScanner.TryFindAnswer(answered.AsSpan(0, length), 17, pdu[0], out _, out _), $"{request} at {length}");
            Assert.True(RtuScanner.TryFindAnswer(answered, 17, pdu[0], out at, out size), request.ToString());
            Assert.Equal((noise.Length, answered.Length - noise.Length), (at, size));
            Assert.False(RtuScanner.TryFindAnswer(answered, 18, pdu[0], out _, out _));
        }
    }
}
