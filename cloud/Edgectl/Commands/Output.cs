using System.CommandLine;
using System.Text;
using System.Text.Json;

namespace Edge.Ctl.Commands;

/// <summary>Tables for people, JSON for scripts.</summary>
internal static class Output
{
    private static readonly JsonWriterOptions s_indented = new() { Indented = true };

    /// <summary><c>-o json</c>; without it a table.</summary>
    public static Option<string> CreateOption()
    {
        var option = new Option<string>("--output", "-o") { Description = "table, or json for scripts.", DefaultValueFactory = _ => "table" };
        option.AcceptOnlyFromAmong("table", "json");
        return option;
    }

    /// <summary>Columns three blanks apart, as kubectl has them; blanks at the end of a line are left out.</summary>
    public static string Table(IReadOnlyList<string> head, IEnumerable<IReadOnlyList<string>> rows)
    {
        IReadOnlyList<string>[] lines = [head, .. rows];
        var widths = Enumerable.Range(0, head.Count).Select(column => lines.Max(line => line[column].Length)).ToArray();
        var text = new StringBuilder();
        foreach (var line in lines)
            text.Append(string.Join("   ", line.Select((cell, column) => cell.PadRight(widths[column]))).TrimEnd()).Append('\n');
        return text.ToString();
    }

    public static string Json(Action<Utf8JsonWriter> write)
    {
        using var bytes = new MemoryStream();
        using (var writer = new Utf8JsonWriter(bytes, s_indented))
            write(writer);
        return Encoding.UTF8.GetString(bytes.ToArray()) + "\n";
    }

    /// <summary>A stretch of time in its two largest units, e.g. <c>23h59m</c>, <c>6d4h</c>, <c>45s</c>.</summary>
    public static string Span(TimeSpan span)
        => span.TotalDays >= 1 ? $"{(int)span.TotalDays}d{span.Hours}h"
            : span.TotalHours >= 1 ? $"{span.Hours}h{span.Minutes}m"
            : span.TotalMinutes >= 1 ? $"{span.Minutes}m{span.Seconds}s"
            : $"{Math.Max(0, span.Seconds)}s";
}
