using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;

namespace Edge.Common.Metrics;

/// <summary>Every instrument of the process's own meters (<c>Edge.…</c>) in Prometheus' text form: counters with <c>_total</c>, gauges, and histograms of seconds. Counts from when it was made.
/// Safe for concurrent calls.</summary>
/// <remarks>At most <see cref="SeriesMax"/> series; further ones are counted in <c>edge_metrics_series_dropped_total</c> and nowhere else.</remarks>
public sealed class MeterText : IDisposable
{
    public const int SeriesMax = 1000;

    /// <summary>Upper bounds of a histogram, in seconds; one more bucket holds the rest.</summary>
    private static readonly double[] s_bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

    private readonly MeterListener _listener = new();
    private readonly ConcurrentDictionary<(Instrument Instrument, string Labels), Cell> _cells = new();
    private readonly Lock _gate = new();
    private long _dropped;

    public MeterText()
    {
        ProcessMeter.Register();
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter.Name.StartsWith("Edge.", StringComparison.Ordinal))
                listener.EnableMeasurementEvents(instrument);
        };
        // A meter that is gone (a broker that was closed) says nothing any more.
        _listener.MeasurementsCompleted = (instrument, state) =>
        {
            foreach (var key in _cells.Keys.Where(key => key.Instrument == instrument && instrument.IsObservable))
                _cells.TryRemove(key, out _);
        };
        _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Record(instrument, value, tags));
        _listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Record(instrument, value, tags));
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Record(instrument, value, tags));
        _listener.Start();
    }

    public string Render()
    {
        lock (_gate)
        {
            _listener.RecordObservableInstruments();
            var text = new StringBuilder();
            // Two brokers in one process have two instruments of one name: one family, its series added up.
            foreach (var family in _cells.GroupBy(pair => NameOf(pair.Key.Instrument)).OrderBy(family => family.Key, StringComparer.Ordinal))
            {
                var instrument = family.First().Key.Instrument;
                var kind = IsHistogram(instrument) ? "histogram" : IsCounter(instrument) ? "counter" : "gauge";
                text.Append("# HELP ").Append(family.Key).Append(' ').Append((instrument.Description ?? "").ReplaceLineEndings(" ")).Append("\n# TYPE ").Append(family.Key).Append(' ').Append(kind).Append('\n');
                foreach (var series in family.GroupBy(pair => pair.Key.Labels).OrderBy(series => series.Key, StringComparer.Ordinal))
                {
                    if (kind == "histogram")
                        AppendHistogram(text, family.Key, series.Key, [.. series.Select(pair => pair.Value)]);
                    else
                        AppendLine(text, family.Key, series.Key, series.Sum(pair => pair.Value.Value));
                }
            }

            if (Interlocked.Read(ref _dropped) is > 0 and var dropped)
                text.Append("# HELP edge_metrics_series_dropped_total Measurements without a series of their own, because there were too many.\n# TYPE edge_metrics_series_dropped_total counter\nedge_metrics_series_dropped_total ").Append(dropped).Append('\n');
            return text.ToString();
        }
    }

    public void Dispose() => _listener.Dispose();

    private static bool IsHistogram(Instrument instrument) => instrument is Histogram<double> or Histogram<long> or Histogram<int>;

    private static bool IsCounter(Instrument instrument)
        => instrument is Counter<long> or Counter<int> or Counter<double> or ObservableCounter<long> or ObservableCounter<int> or ObservableCounter<double>;

    private static string NameOf(Instrument instrument) => IsCounter(instrument) && !instrument.Name.EndsWith("_total", StringComparison.Ordinal) ? instrument.Name + "_total" : instrument.Name;

    private static void AppendHistogram(StringBuilder text, string name, string labels, IReadOnlyList<Cell> cells)
    {
        var running = 0L;
        for (var i = 0; i <= s_bounds.Length; i++)
        {
            running += cells.Sum(cell => cell.Bucket(i));
            var bound = i < s_bounds.Length ? s_bounds[i].ToString(CultureInfo.InvariantCulture) : "+Inf";
            AppendLine(text, name + "_bucket", $"{labels}{(labels.Length > 0 ? "," : "")}le=\"{bound}\"", running);
        }

        AppendLine(text, name + "_sum", labels, cells.Sum(cell => cell.Value));
        AppendLine(text, name + "_count", labels, running);
    }

    private static void AppendLine(StringBuilder text, string name, string labels, double value)
    {
        text.Append(name);
        if (labels.Length > 0)
            text.Append('{').Append(labels).Append('}');
        text.Append(' ').Append(value.ToString("R", CultureInfo.InvariantCulture)).Append('\n');
    }

    private void Record(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        var key = (instrument, LabelsOf(tags));
        if (!_cells.TryGetValue(key, out var cell))
        {
            if (_cells.Count >= SeriesMax)
            {
                Interlocked.Increment(ref _dropped);
                return;
            }

            cell = _cells.GetOrAdd(key, _ => new Cell());
        }

        cell.Record(value, instrument.IsObservable || instrument is Gauge<long> or Gauge<double>, IsHistogram(instrument));
    }

    private static string LabelsOf(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (tags.Length == 0)
            return "";
        var text = new StringBuilder();
        foreach (var (name, value) in tags)
        {
            var escaped = string.Create(CultureInfo.InvariantCulture, $"{value}").Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);
            text.Append(text.Length > 0 ? "," : "").Append(name).Append("=\"").Append(escaped).Append('"');
        }

        return text.ToString();
    }

    private sealed class Cell
    {
        private readonly Lock _gate = new();
        private readonly long[] _buckets = new long[s_bounds.Length + 1];
        private double _value;

        public double Value
        {
            get
            {
                lock (_gate)
                    return _value;
            }
        }

        public long Bucket(int i)
        {
            lock (_gate)
                return _buckets[i];
        }

        public void Record(double value, bool isState, bool isHistogram)
        {
            lock (_gate)
            {
                _value = isState ? value : _value + value;
                if (!isHistogram)
                    return;
                var at = Array.FindIndex(s_bounds, bound => value <= bound);
                _buckets[at < 0 ? s_bounds.Length : at]++;
            }
        }
    }
}
