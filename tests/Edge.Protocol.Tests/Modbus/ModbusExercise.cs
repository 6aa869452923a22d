using Edge.Protocol.Modbus;
using Xunit;

namespace Edge.Protocol.Tests.Modbus;

/// <summary>The same requests over every kind of line, against our own slave.</summary>
internal static class ModbusExercise
{
    /// <summary>Functions 1 to 6, 15, 16, 22 and 23. The bank has discrete input 2 on and input register 3 at 4711.</summary>
    public static async Task RunAsync(ModbusUnit unit, MemoryRegisterBank bank)
    {
        await unit.WriteCoilsAsync(3, [true], default);
        await unit.WriteCoilsAsync(4, [true, false, true], default);
        Assert.Equal(new[] { true, true, false, true }, await unit.ReadBitsAsync(false, 3, 4, default));
        Assert.Equal(new[] { false, true }, await unit.ReadBitsAsync(true, 1, 2, default));
        await unit.WriteRegistersAsync(0, [215], default);
        await unit.WriteRegistersAsync(1, [1, 2, 3], default);
        Assert.Equal(new ushort[] { 215, 1, 2, 3 }, await unit.ReadRegistersAsync(false, 0, 4, default));
        Assert.Equal(new ushort[] { 4711 }, await unit.ReadRegistersAsync(true, 3, 1, default));
        Assert.Equal(125, (await unit.ReadRegistersAsync(true, 0, 125, default)).Length);
        await unit.MaskWriteAsync(0, 0xFF00, 0x0081, default);
        Assert.Equal(new ushort[] { 0x0081, 9 }, await unit.ReadWriteRegistersAsync(0, 2, 1, [9], default));
        bank.Access((coils, inputs, holding, input) => Assert.Equal<ushort>([0x81, 9, 2, 3], holding[..4]));
    }
}
