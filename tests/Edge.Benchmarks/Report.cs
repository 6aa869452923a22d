using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Benchmarks;

/// <summary>One figure. Null stands for "there is none" (no peer, no target) or "could not be measured" (ours).</summary>
internal sealed record Row(string Figure, string Unit, double? Ours, double? Peer, string? PeerName, double? Target, bool? Met)
{
    /// <summary>Ours by the peer's.</summary>
    public double? Ratio => Ours is { } ours && Peer is > 0 and var peer ? ours / peer : null;
}

/// <summary>The rows of a run: a table for people and <c>artifacts/bench/NAME.json</c>.</summary>
internal sealed class Report(string name)
{
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };
    private readonly List<Row> _rows = [];

    public IReadOnlyList<Row> Rows => _rows;

    /// <summary>A figure that should be at least the target.</summary>
    public void AtLeast(string figure, string unit, double? ours, double? target, double? peer = null, string? peerName = null)
        => Add(new Row(figure, unit, ours, peer, peerName, target, target is null ? null : ours >= target));

    /// <summary>A figure that should be at most the target.</summary>
    public void AtMost(string figure, string unit, double? ours, double? target, double? peer = null, string? peerName = null)
        => Add(new Row(figure, unit, ours, peer, peerName, target, target is null ? null : ours <= target));

    /// <summary>A figure without a target.</summary>
    public void Plain(string figure, string unit, double? ours) => Add(new Row(figure, unit, ours, null, null, null, null));

    /// <summary>Writes the file and prints the table.</summary>
    public void Write()
    {
        var rows = new JsonArray([.. _rows.Select(row => new JsonObject
        {
            ["figure"] = row.Figure,
            ["unit"] = row.Unit,
            ["ours"] = Rounded(row.Ours),
            ["peer"] = Rounded(row.Peer),
            ["peerName"] = row.PeerName,
            ["ratio"] = Rounded(row.Ratio),
            ["target"] = row.Target,
            ["met"] = row.Met,
        })]);
        var root = new JsonObject { ["name"] = name, ["commit"] = Machine.Commit(), ["machine"] = Machine.Describe(), ["rows"] = rows };
        Directory.CreateDirectory("artifacts/bench");
        var path = $"artifacts/bench/{name}.json";
        File.WriteAllText(path, root.ToJsonString(s_indented) + "\n");
        Console.WriteLine();
        Console.WriteLine($"{name} at {Machine.Commit()} on {Machine.Describe()}");
        Console.WriteLine($"{"figure",-66} {"ours",12} {"peer",10} {"ratio",8} {"target",9}  unit");
        foreach (var row in _rows)
            Console.WriteLine($"{row.Figure,-66} {Text(row.Ours),12} {Text(row.Peer),10} {Text(row.Ratio),8} {Text(row.Target),9}  {row.Unit}{(row.Met is { } met ? met ? "  met" : "  NOT MET" : "")}");
        foreach (var peer in _rows.Select(row => row.PeerName).Where(peer => peer is not null).Distinct())
            Console.WriteLine($"peer: {peer}");
        Console.WriteLine($"written to {path}");
    }

    private void Add(Row row)
    {
        _rows.Add(row);
        Console.Error.WriteLine($"  {row.Figure}: {Text(row.Ours)} {row.Unit}");
    }

    private static double? Rounded(double? value) => value is { } number ? Math.Round(number, number < 10 ? 3 : 1) : null;

    private static string Text(double? value) => Rounded(value)?.ToString(CultureInfo.InvariantCulture) ?? "-";
}

/// <summary>What the figures were taken on.</summary>
internal static class Machine
{
    public static string Describe()
    {
        var model = File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(':', 2)[1].Trim() ?? "an unknown CPU";
        var memory = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes >> 30;
        var load = File.ReadAllText("/proc/loadavg").Split(' ')[0];
        return $"{Environment.ProcessorCount} cores of {model}, {memory} GiB, load {load} at the end";
    }

    public static string Commit()
    {
        using var git = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("git", ["rev-parse", "--short", "HEAD"]) { RedirectStandardOutput = true, RedirectStandardError = true });
        if (git is null)
            return "unknown";
        var text = git.StandardOutput.ReadToEnd().Trim();
        git.WaitForExit();
        return git.ExitCode == 0 ? text : "unknown";
    }

    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
    }

    public static double Share(IReadOnlyCollection<double> values, double share)
    {
        var sorted = values.Order().ToArray();
        return sorted[Math.Min(sorted.Length - 1, (int)(sorted.Length * share))];
    }
}
