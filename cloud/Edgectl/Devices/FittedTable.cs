using System.Text;

namespace Edge.Ctl.Devices;

/// <summary>A column of a table that has to fit.</summary>
/// <param name="Head">Its title.</param>
/// <param name="WidthMin">How narrow it may get before others do.</param>
/// <param name="Yields">Order in which columns give room: the lowest first.</param>
/// <param name="IsOptional">It is left out when all its cells are empty, and when the table is too wide, before others get narrower.</param>
internal sealed record FittedColumn(string Head, int WidthMin, int Yields, bool IsOptional = false);

/// <summary>Lays a table into a width: columns that matter less get narrower first, and cut cells end in <c>…</c>.</summary>
internal static class FittedTable
{
    public const int Gap = 2;

    /// <summary>For each column its width, or 0 for one that is left out.</summary>
    public static int[] Widths(IReadOnlyList<FittedColumn> columns, IReadOnlyList<IReadOnlyList<string>> rows, int width)
    {
        var widths = new int[columns.Count];
        for (var i = 0; i < columns.Count; i++)
        {
            var longest = rows.Count == 0 ? 0 : rows.Max(row => Width(row[i]));
            widths[i] = columns[i].IsOptional && longest == 0 ? 0 : Math.Max(longest, columns[i].Head.Length);
        }

        // An optional column gives room or its place before others get narrower: a name that is cut cannot be typed.
        var order = Enumerable.Range(0, columns.Count).OrderBy(i => columns[i].Yields).ToList();
        foreach (var i in order.Where(i => columns[i].IsOptional))
        {
            Shrink(i, Math.Max(columns[i].WidthMin, columns[i].Head.Length));
            if (Total(widths) > width)
                widths[i] = 0;
        }

        foreach (var i in order)
            Shrink(i, Math.Max(columns[i].WidthMin, columns[i].Head.Length));
        foreach (var i in order)
            Shrink(i, 1);
        return widths;

        void Shrink(int column, int least)
        {
            if (widths[column] > least)
                widths[column] = Math.Max(least, widths[column] - Math.Max(0, Total(widths) - width));
        }
    }

    /// <summary>The text in exactly <paramref name="width"/> places.</summary>
    public static string Cell(string text, int width)
    {
        var over = Width(text) > width;
        var room = over ? width - 1 : width;
        var cell = new StringBuilder();
        foreach (var rune in text.EnumerateRunes())
        {
            if (Width(rune) > room)
                break;
            room -= Width(rune);
            cell.Append(rune.ToString());
        }

        return cell.Append(over ? "…" : "").Append(' ', room).ToString();
    }

    /// <summary>The places that a text takes in a terminal.</summary>
    public static int Width(string text)
    {
        var width = 0;
        foreach (var rune in text.EnumerateRunes())
            width += Width(rune);
        return width;
    }

    /// <summary>Text that came from a device must not steer the terminal: control characters become <c>·</c>.</summary>
    public static string Clean(string text) => text.Any(char.IsControl) ? string.Concat(text.Select(one => char.IsControl(one) ? '·' : one)) : text;

    // East Asian wide characters take two places (Unicode TR 11, the blocks that units and names are written in).
    private static int Width(Rune rune) => rune.Value is (>= 0x1100 and <= 0x115F) or (>= 0x2E80 and <= 0xA4CF) or (>= 0xAC00 and <= 0xD7A3) or (>= 0xF900 and <= 0xFAFF)
        or (>= 0xFE30 and <= 0xFE6F) or (>= 0xFF00 and <= 0xFF60) or (>= 0x1F300 and <= 0x1FAFF) or (>= 0x20000 and <= 0x3FFFD) ? 2 : 1;

    private static int Total(int[] widths) => widths.Sum() + (Gap * Math.Max(0, widths.Count(width => width > 0) - 1));
}
