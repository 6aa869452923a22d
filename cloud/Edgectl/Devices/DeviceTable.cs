using System.Globalization;
using System.Text;
using System.Text.Json;
using Edge.Ctl.Commands;
using Edge.Kubernetes;
using Spectre.Console;

namespace Edge.Ctl.Devices;

/// <summary>The rows as a table for pipes, a coloured table that fits a terminal, single lines, and JSON. No I/O, no clock.</summary>
internal static class DeviceTable
{
    // In the order in which they stand. What is left out first on a narrow terminal is what can be found out otherwise.
    private static readonly FittedColumn[] s_columns =
    [
        new("DEVICE", 14, 5),
        new("NODE", 6, 2, IsOptional: true),
        new("STATE", 7, 8),
        new("PROPERTY", 10, 6),
        new("DESIRED", 7, 7),
        new("OBSERVED", 8, 3, IsOptional: true),
        new("REPORTED", 12, 4),
        new("AGE", 3, 9),
        new("PROBLEM", 30, 1, IsOptional: true),
    ];

    /// <summary>How old a report may be before the age is coloured: EdgeCore repeats unchanged values every 10 s.</summary>
    private static readonly TimeSpan s_old = TimeSpan.FromMinutes(1);

    /// <summary>All columns, uncut: for pipes and files.</summary>
    public static string Plain(IReadOnlyList<PropertyRow> rows, DateTimeOffset now)
        => Output.Table([.. s_columns.Select(column => column.Head)], rows.Select(row => (IReadOnlyList<string>)[.. Cells(row, now).Select(cell => cell.Length > 0 ? cell : "-")]));

    /// <summary>Lines in Spectre's markup, none wider than <paramref name="width"/>. What does not fit <paramref name="height"/> is counted; problems that the table cuts
    /// stand in full below where there is room.</summary>
    /// <param name="rows">What to show.</param>
    /// <param name="now">For ages.</param>
    /// <param name="width">Columns of the terminal.</param>
    /// <param name="height">Lines there are, at least 3.</param>
    public static IReadOnlyList<string> Markup(IReadOnlyList<PropertyRow> rows, DateTimeOffset now, int width, int height = int.MaxValue)
    {
        var cells = rows.Select(row => Cells(row, now)).ToList();
        var widths = FittedTable.Widths(s_columns, cells, width);
        var lines = new List<string> { $"[bold]{Line(i => s_columns[i].Head, widths, null)}[/]" };
        var fits = rows.Count <= height - 1 ? rows.Count : Math.Max(1, height - 2);
        for (var i = 0; i < fits; i++)
        {
            var (row, text) = (rows[i], cells[i]);
            lines.Add(Line(column => text[column], widths, column => Colour(row, s_columns[column].Head, now)));
        }

        if (fits < rows.Count)
        {
            lines.Add($"[grey]{FittedTable.Cell(string.Create(CultureInfo.InvariantCulture, $"… {rows.Count - fits} more; name a device or make the window higher"), width).TrimEnd()}[/]");
            return lines;
        }

        foreach (var (row, text) in rows.Zip(cells).Where(one => FittedTable.Width(one.Second[^1]) > widths[^1]))
        {
            // One line each: what is the device's is not said of its first property.
            for (var i = 0; i < row.Problems.Count; i++)
            {
                var full = FittedTable.Clean($"! {row.Id}{(i < row.DeviceProblems || row.Property.Length == 0 ? "" : $" {row.Property}")}: {row.Problems[i]}");
                if (lines.Count + 1 + (FittedTable.Width(full) / Math.Max(1, width)) > height)
                    return lines;
                lines.Add($"[red]{Spectre.Console.Markup.Escape(full)}[/]");
            }
        }

        return lines;
    }

    /// <summary>A row in words, for a log of changes.</summary>
    public static string Sentence(PropertyRow row, DateTimeOffset now)
    {
        var text = new StringBuilder($"{row.Id} {(row.Property.Length > 0 ? row.Property : "-")}");
        if (row.Reported.Length > 0)
            text.Append(CultureInfo.InvariantCulture, $" reported {row.ReportedWithUnit}{(row.ReportedAt is { } at ? $" ({Ages.Short(now - at)} ago)" : "")}");
        if (row.Desired.Length > 0)
            text.Append(CultureInfo.InvariantCulture, $" desired {row.Desired}");
        if (row.IsBehind)
            text.Append(CultureInfo.InvariantCulture, $" observed {row.Observed}");
        text.Append(CultureInfo.InvariantCulture, $" state {(row.State.Length > 0 ? row.State : "-")}");
        if (row.Problems.Count > 0)
            text.Append(CultureInfo.InvariantCulture, $" problem: {string.Join("; ", row.Problems)}");
        return FittedTable.Clean(text.ToString());
    }

    public static void WriteJson(Utf8JsonWriter json, PropertyRow row, DateTimeOffset now)
    {
        json.WriteStartObject();
        json.WriteString("namespace", row.Namespace);
        json.WriteString("name", row.Device);
        json.WriteString("node", row.Node);
        json.WriteString("state", row.State);
        json.WriteString("property", row.Property);
        json.WriteString("type", row.Type);
        json.WriteString("accessMode", row.Access);
        json.WriteString("unit", row.Unit);
        json.WriteString("desired", row.Desired);
        json.WriteString("observed", row.Observed);
        json.WriteString("reported", row.Reported);
        if (row.ReportedAt is { } at)
        {
            json.WriteString("reportedAt", KubeObject.MicroTime(at));
            json.WriteNumber("ageSeconds", Math.Round((now - at).TotalSeconds, 3));
        }

        json.WriteStartArray("problems");
        foreach (var problem in row.Problems)
            json.WriteStringValue(problem);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static string[] Cells(PropertyRow row, DateTimeOffset now) =>
    [
        FittedTable.Clean(row.Id),
        FittedTable.Clean(row.Node),
        FittedTable.Clean(row.State),
        FittedTable.Clean(row.Property),
        FittedTable.Clean(row.Desired),
        row.IsBehind ? FittedTable.Clean(row.Observed) : "",
        FittedTable.Clean(row.ReportedWithUnit),
        row.ReportedAt is { } at ? Ages.Short(now - at) : "",
        FittedTable.Clean(string.Join("; ", row.Problems)),
    ];

    private static string Line(Func<int, string> cell, int[] widths, Func<int, string?>? colour)
    {
        var line = new StringBuilder();
        var last = Array.FindLastIndex(widths, width => width > 0);
        for (var i = 0; i <= last; i++)
        {
            if (widths[i] == 0)
                continue;
            var text = FittedTable.Cell(cell(i), widths[i]);
            text = Spectre.Console.Markup.Escape(i == last ? text.TrimEnd() : text);
            line.Append(colour?.Invoke(i) is { } style && !string.IsNullOrWhiteSpace(text) ? $"[{style}]{text}[/]" : text);
            if (i < last)
                line.Append(' ', FittedTable.Gap);
        }

        return line.ToString();
    }

    private static string? Colour(PropertyRow row, string column, DateTimeOffset now) => column switch
    {
        "STATE" => row.State switch
        {
            "online" or "ok" => "green",
            "offline" => "red",
            "unhealthy" => "yellow",
            _ => "grey",
        },
        "OBSERVED" => "yellow",
        "DESIRED" when row.Desired.Length > 0 && row.Reported.Length > 0 && !DeviceValue.Same(row.Type, row.Desired, row.Reported) => "yellow",
        "AGE" when now - row.ReportedAt > s_old => "yellow",
        "PROBLEM" => "red",
        _ => null,
    };
}
