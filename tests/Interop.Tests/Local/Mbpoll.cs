using System.Globalization;
using Edge.Local.Processes;

namespace Edge.Interop.Tests;

/// <summary>The stock Modbus master, reading the simulator's thermostat.</summary>
internal static class Mbpoll
{
    /// <summary>Degrees. Holding register 0 is the setpoint, input register 0 the temperature, both in tenths; mbpoll counts from 1.</summary>
    public static async Task<double> ReadAsync(int port, string property)
    {
        var table = property == "setpoint" ? "4" : "3";
        var output = await Tool.RunAsync(
            "mbpoll",
            ["-m", "tcp", "-p", port.ToString(CultureInfo.InvariantCulture), "-a", "1", "-t", table, "-r", "1", "-c", "1", "-1", "-q", "127.0.0.1"],
            new ToolOptions(TimeProvider.System),
            CancellationToken.None);

        // "[1]:  215"
        var line = output.Split('\n').Single(one => one.StartsWith("[1]:", StringComparison.Ordinal));
        return int.Parse(line["[1]:".Length..].Trim().Split(' ', '\t')[0], CultureInfo.InvariantCulture) / 10.0;
    }
}
