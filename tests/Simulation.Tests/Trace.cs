using System.Globalization;
using System.Text;

namespace Edge.Simulation.Tests;

/// <summary>The last events of a run, and a hash over all of them.</summary>
internal sealed class Trace(int kept)
{
    private readonly (long AtMs, long Step, string What, int Edge, string Text, long Number)[] _ring = new (long, long, string, int, string, long)[kept];
    private ulong _hash = 14695981039346656037;
    private long _count;

    public ulong Hash => _hash;

    public long Count => _count;

    public void Add(long atMs, long step, string what, int edge, string text = "", long number = 0)
    {
        _ring[_count++ % kept] = (atMs, step, what, edge, text, number);
        Mix((ulong)atMs);
        Mix((ulong)edge);
        Mix((ulong)number);
        foreach (var letter in what)
            Mix(letter);
        foreach (var letter in text)
            Mix(letter);
    }

    public override string ToString()
    {
        var text = new StringBuilder();
        for (var i = Math.Max(0, _count - kept); i < _count; i++)
        {
            var (at, step, what, edge, about, number) = _ring[i % kept];
            text.Append(CultureInfo.InvariantCulture, $"  step {step,6}  {at / 1000.0,9:F3} s  {(edge < 0 ? "cloud " : $"edge {edge}")}  {what} {about}");
            if (number != 0)
                text.Append(CultureInfo.InvariantCulture, $" v{number}");
            text.AppendLine();
        }

        return text.ToString();
    }

    private void Mix(ulong value) => _hash = (_hash ^ value) * 1099511628211;
}
