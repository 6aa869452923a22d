using Edge.Protocol.Modbus;

namespace Edge.Simulators.Modbus;

/// <summary>A thermostat with registers. Pure but for the given randomness: <see cref="Step"/> moves it on by some seconds.</summary>
/// <remarks>
/// Holding 0: setpoint, tenths of a degree, int16, writable from 0 to 500. Input 0: temperature, tenths, int16; input 1-2: pressure in
/// bar, float; input 3-4: cycles counted, uint32; input 5-8: energy in kWh, double. Coil 0: fan; coil 1: alarm reset, falls back to 0.
/// Discrete input 0: alarm, set above 35 degrees and held until reset. High word first throughout.
/// </remarks>
internal sealed class Thermostat : IRegisterBank
{
    private const int SetpointMax = 500;
    private const double AlarmAbove = 35;
    private const double SettleSeconds = 3;
    private readonly MemoryRegisterBank _bank = new(coils: 16, discreteInputs: 16, holdingRegisters: 16, inputRegisters: 16);
    private readonly Random _random;
    private double _temperature = 18;
    private double _energy = 1.5;
    private uint _cycles;
    private bool _alarm;

    public Thermostat(Random random)
    {
        _random = random;
        _bank.Access((coils, inputs, holding, input) => holding[0] = 200);
        Step(0);
    }

    /// <summary>Moves on: the temperature nears the setpoint (twice as fast with the fan on), with a wobble of at most 0.05 degrees.</summary>
    public void Step(double seconds)
        => _bank.Access((coils, inputs, holding, input) =>
        {
            var fan = coils[0];
            var setpoint = (short)holding[0] / 10.0;
            var share = 1 - Math.Exp(-seconds / (fan ? SettleSeconds / 2 : SettleSeconds));
            _temperature += (setpoint - _temperature) * share;
            _energy += seconds / 3600 * (fan ? 2.2 : 2.0);
            _cycles++;
            if (coils[1])
                (coils[1], _alarm) = (false, false);
            var shown = _temperature + (_random.NextDouble() - 0.5) / 10;
            _alarm |= shown > AlarmAbove;
            inputs[0] = _alarm;
            input[0] = (ushort)(short)Math.Round(shown * 10);
            Put(new RegisterFormat(RegisterType.Float), (1.013 + (_random.NextDouble() - 0.5) / 100).ToString("F4", System.Globalization.CultureInfo.InvariantCulture), input.AsSpan(1));
            Put(new RegisterFormat(RegisterType.UInt32), _cycles.ToString(System.Globalization.CultureInfo.InvariantCulture), input.AsSpan(3));
            Put(new RegisterFormat(RegisterType.Double), _energy.ToString("R", System.Globalization.CultureInfo.InvariantCulture), input.AsSpan(5));
        });

    /// <summary>Runs <paramref name="look"/> with coils, discrete inputs, holding and input registers.</summary>
    public void Access(Action<bool[], bool[], ushort[], ushort[]> look) => _bank.Access(look);

    public ModbusExceptionCode ReadBits(byte unit, bool inputs, ushort address, Span<bool> bits) => _bank.ReadBits(unit, inputs, address, bits);

    public ModbusExceptionCode ReadRegisters(byte unit, bool inputs, ushort address, Span<ushort> registers)
        => _bank.ReadRegisters(unit, inputs, address, registers);

    public ModbusExceptionCode WriteCoils(byte unit, ushort address, ReadOnlySpan<bool> bits) => _bank.WriteCoils(unit, address, bits);

    public ModbusExceptionCode WriteRegisters(byte unit, ushort address, ReadOnlySpan<ushort> registers)
        => address == 0 && registers[0] > SetpointMax ? ModbusExceptionCode.IllegalDataValue : _bank.WriteRegisters(unit, address, registers);

    public ModbusExceptionCode MaskWriteRegister(byte unit, ushort address, ushort and, ushort or)
    {
        var result = ModbusExceptionCode.None;
        if (address == 0)
            _bank.Access((coils, inputs, holding, input) => result = ((holding[0] & and) | (or & ~and)) > SetpointMax ? ModbusExceptionCode.IllegalDataValue : ModbusExceptionCode.None);
        return result == ModbusExceptionCode.None ? _bank.MaskWriteRegister(unit, address, and, or) : result;
    }

    public IReadOnlyList<ModbusIdentity> Identification(byte unit) => [new(0, "Edge"), new(1, "THERMOSTAT"), new(2, "1.0"), new(4, "Edge simulator"), new(5, "thermostat")];

    private static void Put(RegisterFormat format, string value, Span<ushort> at)
    {
        if (!format.TryEncode(value, out var registers, out var error))
            throw new System.Diagnostics.UnreachableException(error);
        registers.CopyTo(at);
    }
}
