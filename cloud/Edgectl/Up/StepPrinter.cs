using System.Globalization;
using Edge.Local;

namespace Edge.Ctl.Up;

/// <summary>Prints each step on a line when it is done, and notes at once. Several steps run at a time.</summary>
internal sealed class StepPrinter(TextWriter output) : IProgress<LocalStep>
{
    private readonly Lock _gate = new();

    public void Report(LocalStep value)
    {
        lock (_gate)
        {
            if (value.IsNote)
                output.WriteLine($"  !  {value.Name}: {value.Detail}");
            else if (value.Took is { } took)
                output.WriteLine($"  ok {value.Name,-28} {took.TotalSeconds.ToString("0.0", CultureInfo.InvariantCulture),6} s  {value.Detail}".TrimEnd());
        }
    }
}
