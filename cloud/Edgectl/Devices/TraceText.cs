using System.Globalization;
using System.Text;
using System.Text.Json;
using Edge.Ctl.Commands;
using Edge.Kubernetes;

namespace Edge.Ctl.Devices;

/// <summary>The lines and the summary of a trace, as text and as JSON. No I/O.</summary>
internal static class TraceText
{
    /// <summary><c>18:40:02.020  setpoint  reported  21.5 → 23 celsius  read 18:40:01.900, 120ms old; 0.78s after desired</c></summary>
    /// <param name="line">What changed.</param>
    /// <param name="unit">Of the property; may be empty.</param>
    /// <param name="zone">For the times.</param>
    /// <param name="nameWidth">Places for the property's name.</param>
    public static string Line(TraceLine line, string unit, TimeZoneInfo zone, int nameWidth)
    {
        var text = new StringBuilder($"{Time(line.Seen)}  {(line.Property.Length > 0 ? line.Property : "(device)").PadRight(nameWidth)}  {Word(line.Kind),-8}");
        if (line.Kind == TraceKind.Deleted)
            return FittedTable.Clean(text.ToString().TrimEnd());
        var isValue = line.Kind is TraceKind.Desired or TraceKind.Observed or TraceKind.Reported;
        text.Append(CultureInfo.InvariantCulture, $"  {(line.From.Length > 0 ? $"{line.From} → " : "")}{(line.To.Length > 0 ? line.To : "(none)")}{(isValue && unit.Length > 0 ? $" {unit}" : "")}");
        var notes = new List<string>();
        if (line.MapperTime is { } mapper)
            notes.Add(line.Age is { } age ? $"mapper's time {Time(mapper)}, {Ages.Precise(age)} before" : $"mapper's time {Time(mapper)}");
        if (line.SinceDesired is { } since)
            notes.Add($"{Ages.Precise(since)} after desired");
        if (line.IsFirst)
            notes.Add("so at the start");
        return FittedTable.Clean(text.Append(notes.Count > 0 ? $"  ({string.Join("; ", notes)})" : "").ToString());

        string Time(DateTimeOffset at) => TimeZoneInfo.ConvertTime(at, zone).ToString("HH:mm:ss.fff", CultureInfo.InvariantCulture);
    }

    public static void WriteJson(Utf8JsonWriter json, DeviceName device, TraceLine line)
    {
        json.WriteStartObject();
        json.WriteString("seen", KubeObject.MicroTime(line.Seen));
        json.WriteString("device", device.ToString());
        json.WriteString("property", line.Property);
        json.WriteString("what", Word(line.Kind));
        json.WriteString("from", line.From);
        json.WriteString("to", line.To);
        if (line.MapperTime is { } mapper)
            json.WriteString("mapperTime", KubeObject.MicroTime(mapper));
        if (line.Age is { } age)
            json.WriteNumber("ageSeconds", Seconds(age));
        if (line.SinceDesired is { } since)
            json.WriteNumber("sinceDesiredSeconds", Seconds(since));
        json.WriteBoolean("first", line.IsFirst);
        json.WriteEndObject();
    }

    /// <summary>A table of the figures.</summary>
    public static string Summary(IReadOnlyList<TraceFigures> figures)
        => Output.Table(
            ["PROPERTY", "REPORTS", "CHANGES", "ERRORS", "INTERVAL p50", "p99", "AGE p50", "p99", "DESIRED TO REPORTED p50", "max"],
            figures.Select(one => (IReadOnlyList<string>)
                [FittedTable.Clean(one.Property), Number(one.Reports), Number(one.Changes), Number(one.Errors), Text(one.Interval?.Half), Text(one.Interval?.P99), Text(one.Age?.Half), Text(one.Age?.P99),
                Text(one.Follow?.Half), Text(one.Follow?.Most)]));

    public static void WriteJson(Utf8JsonWriter json, DeviceName device, IReadOnlyList<TraceFigures> figures)
    {
        json.WriteStartObject();
        json.WriteStartObject("summary");
        json.WriteString("device", device.ToString());
        json.WriteStartArray("properties");
        foreach (var one in figures)
        {
            json.WriteStartObject();
            json.WriteString("property", one.Property);
            json.WriteNumber("reports", one.Reports);
            json.WriteNumber("changes", one.Changes);
            json.WriteNumber("errors", one.Errors);
            Write("intervalSeconds", one.Interval);
            Write("ageSeconds", one.Age);
            Write("desiredToReportedSeconds", one.Follow);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndObject();

        void Write(string name, Quantiles? quantiles)
        {
            if (quantiles is null)
                return;
            json.WriteStartObject(name);
            json.WriteNumber("p50", Seconds(quantiles.Half));
            json.WriteNumber("p99", Seconds(quantiles.P99));
            json.WriteNumber("max", Seconds(quantiles.Most));
            json.WriteEndObject();
        }
    }

    private static string Word(TraceKind kind) => kind switch
    {
        TraceKind.Desired => "desired",
        TraceKind.Observed => "observed",
        TraceKind.Reported => "reported",
        TraceKind.Error => "error",
        TraceKind.State => "state",
        TraceKind.Problem => "problem",
        _ => "deleted",
    };

    private static double Seconds(TimeSpan span) => Math.Round(span.TotalSeconds, 3);

    private static string Text(TimeSpan? span) => span is { } one ? Ages.Precise(one) : "-";

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);
}
