using System.Globalization;
using System.Text;

namespace Edge.Devices.Local;

/// <summary>Metrics in Prometheus' text form, version 0.0.4.</summary>
public sealed class MetricsText
{
    private readonly StringBuilder _text = new();

    /// <summary>Begins a family; its values follow.</summary>
    /// <param name="type">gauge, counter or histogram.</param>
    public MetricsText Family(string name, string type, string help)
    {
        _text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} {type}\n");
        return this;
    }

    /// <summary>One value, with labels as pairs of name and value.</summary>
    public MetricsText Value(string name, double value, params ReadOnlySpan<(string Name, string Value)> labels)
    {
        _text.Append(name);
        for (var i = 0; i < labels.Length; i++)
            _text.Append(i == 0 ? '{' : ',').Append(labels[i].Name).Append("=\"").Append(Escape(labels[i].Value)).Append('"');
        if (labels.Length > 0)
            _text.Append('}');
        _text.Append(' ').Append(value.ToString("R", CultureInfo.InvariantCulture)).Append('\n');
        return this;
    }

    /// <summary>A histogram's buckets, sum and count.</summary>
    internal void Histogram(string name, LatencyCounts counts, (string Name, string Value) label)
    {
        var cumulative = counts.Cumulative();
        for (var i = 0; i < cumulative.Count; i++)
        {
            var bound = i < LatencyCounts.Bounds.Count ? LatencyCounts.Bounds[i].ToString("R", CultureInfo.InvariantCulture) : "+Inf";
            Value($"{name}_bucket", cumulative[i], label, ("le", bound));
        }

        Value($"{name}_sum", counts.Sum, label);
        Value($"{name}_count", cumulative[^1], label);
    }

    public override string ToString() => _text.ToString();

    private static string Escape(string value)
        => value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);
}
