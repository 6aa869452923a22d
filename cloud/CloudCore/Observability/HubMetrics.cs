using System.Globalization;
using System.Text;

namespace Edge.Cloud.Observability;

/// <summary>Counters of one CloudCore; <see cref="Render"/> writes them in Prometheus' text form.</summary>
public sealed class HubMetrics
{
    private long _acks;
    private long _resends;
    private long _refusals;
    private long _messageDrops;
    private long _objectDrops;
    private long _upstream;
    private long _upstreamDrops;
    private long _deviceReports;
    private long _deviceWrites;
    private long _eventDrops;

    /// <summary>Reads the gauges: connected nodes, objects waiting or unanswered, once-only messages waiting, requests from edges waiting.</summary>
    public Func<(int Nodes, int Objects, int Messages, int Requests)> Gauges { get; set; } = () => default;

    /// <summary>Objects that an edge confirmed as stored.</summary>
    public long Acks => Interlocked.Read(ref _acks);

    /// <summary>Sends of an object after its first.</summary>
    public long Resends => Interlocked.Read(ref _resends);

    /// <summary>Device reports that came in.</summary>
    public long DeviceReports => Interlocked.Read(ref _deviceReports);

    /// <summary>Writes of a DeviceStatus that came of them.</summary>
    public long DeviceWrites => Interlocked.Read(ref _deviceWrites);

    internal void Acked() => Interlocked.Increment(ref _acks);

    internal void Resent() => Interlocked.Increment(ref _resends);

    internal void Refused() => Interlocked.Increment(ref _refusals);

    internal void MessageDropped() => Interlocked.Increment(ref _messageDrops);

    internal void ObjectDropped() => Interlocked.Increment(ref _objectDrops);

    internal void UpstreamReceived() => Interlocked.Increment(ref _upstream);

    internal void UpstreamDropped() => Interlocked.Increment(ref _upstreamDrops);

    internal void DeviceReported() => Interlocked.Increment(ref _deviceReports);

    internal void DeviceWritten() => Interlocked.Increment(ref _deviceWrites);

    internal void EventDropped() => Interlocked.Increment(ref _eventDrops);

    /// <summary>All figures in Prometheus' text exposition format.</summary>
    public string Render()
    {
        var text = new StringBuilder(2048);
        var (nodes, objects, messages, requests) = Gauges();
        // KubeEdge's own name for this one, so that dashboards keep working.
        Write(text, "KubeEdge_CloudHub_connected_nodes", "gauge", "Nodes connected to this cloudcore.", nodes);
        Write(text, "edge_cloudhub_queue_depth{queue=\"objects\"}", "gauge", "Entries waiting or unanswered, by queue.", objects);
        Write(text, "edge_cloudhub_queue_depth{queue=\"messages\"}", null, null, messages);
        Write(text, "edge_cloudhub_queue_depth{queue=\"upstream\"}", null, null, requests);
        Write(text, "edge_cloudhub_queue_drops_total{queue=\"objects\"}", "counter", "Entries lost to a full queue, by queue.", Interlocked.Read(ref _objectDrops));
        Write(text, "edge_cloudhub_queue_drops_total{queue=\"messages\"}", null, null, Interlocked.Read(ref _messageDrops));
        Write(text, "edge_cloudhub_queue_drops_total{queue=\"upstream\"}", null, null, Interlocked.Read(ref _upstreamDrops));
        Write(text, "edge_cloudhub_queue_drops_total{queue=\"events\"}", null, null, Interlocked.Read(ref _eventDrops));
        Write(text, "edge_cloudhub_acks_total", "counter", "Objects that an edge confirmed as stored.", Acks);
        Write(text, "edge_cloudhub_resends_total", "counter", "Objects sent again for want of an answer.", Resends);
        Write(text, "edge_cloudhub_refusals_total", "counter", "Objects that an edge could not store.", Interlocked.Read(ref _refusals));
        Write(text, "edge_cloudhub_upstream_messages_total", "counter", "Messages received from edges.", Interlocked.Read(ref _upstream));
        Write(text, "edge_devicecontroller_reports_total", "counter", "Device reports received.", DeviceReports);
        Write(text, "edge_devicecontroller_status_writes_total", "counter", "DeviceStatus writes made of them.", DeviceWrites);
        return text.ToString();
    }

    private static void Write(StringBuilder text, string name, string? type, string? help, long value)
    {
        var brace = name.IndexOf('{', StringComparison.Ordinal);
        var bare = brace < 0 ? name : name[..brace];
        if (type is not null)
            text.Append("# HELP ").Append(bare).Append(' ').Append(help).Append("\n# TYPE ").Append(bare).Append(' ').Append(type).Append('\n');
        text.Append(name).Append(' ').Append(value.ToString(CultureInfo.InvariantCulture)).Append('\n');
    }
}
