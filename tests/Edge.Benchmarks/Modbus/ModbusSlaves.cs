using System.Diagnostics;
using System.Globalization;
using Edge.Testing.Modbus;

namespace Edge.Benchmarks.Modbus;

/// <summary>Slaves in a process of their own, so that the masters' processor time is theirs alone. libmodbus serves both sides.</summary>
internal sealed class ModbusSlaves : IDisposable
{
    private readonly Process _process;

    private ModbusSlaves(Process process, IReadOnlyList<int> ports)
    {
        _process = process;
        Ports = ports;
    }

    public IReadOnlyList<int> Ports { get; }

    /// <summary>The child: serves until its input ends.</summary>
    public static int Run(int count)
    {
        var slaves = Enumerable.Range(0, count).Select(_ => LibModbusSlave.Tcp(1)).ToList();
        foreach (var slave in slaves)
        {
            for (var i = 0; i < 200; i++)
                slave.SetInputRegister(i, (ushort)(i * 7));
        }

        Console.WriteLine(string.Join(' ', slaves.Select(slave => slave.Port)));
        Console.In.ReadToEnd();
        foreach (var slave in slaves)
            slave.Dispose();
        return 0;
    }

    public static async Task<ModbusSlaves> StartAsync(int count, CancellationToken cancellationToken)
    {
        var process = Process.Start(new ProcessStartInfo(
            "dotnet", [typeof(ModbusSlaves).Assembly.Location, "modbus-slaves", count.ToString(CultureInfo.InvariantCulture)]) { RedirectStandardInput = true, RedirectStandardOutput = true })
            ?? throw new BenchException("the slaves could not be started");
        var line = await process.StandardOutput.ReadLineAsync(cancellationToken) ?? throw new BenchException("the slaves ended at once");
        return new ModbusSlaves(process, [.. line.Split(' ').Select(port => int.Parse(port, CultureInfo.InvariantCulture))]);
    }

    public void Dispose()
    {
        _process.StandardInput.Close();
        _process.WaitForExit();
        _process.Dispose();
    }
}
