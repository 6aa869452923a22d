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
    private long _refusedConnections;
    private long _abandonedConnections;
    private long _failedHandshakes;
    private long _syncRecordWrites;
    private long _syncRecordDrops;
    private long _forbidden;

    /// <summary>Reads the gauges: connected nodes, objects waiting or unanswered, once-only messages waiting, requests from edges waiting, connections that wait
    /// for their handshake.</summary>
    public Func<(int Nodes, int Objects, int Messages, int Requests, int Admissions)> Gauges { get; set; } = () => default;

    /// <summary>Reads how many sync records of stock edges wait to be written.</summary>
    public Func<int> WaitingSyncRecords { get; set; } = () => 0;

    /// <summary>Reads how many streams to nodes are waiting or open.</summary>
    public Func<int> NodeStreams { get; set; } = () => 0;

    /// <summary>Tunnels of stock edges, and how many of their streams were ended for standing still.</summary>
    public Func<(int Tunnels, long Stalls)> Tunnels { get; set; } = () => (0, 0);

    /// <summary>The router's figures, in the same form.</summary>
    internal Func<string> Router { get; set; } = () => "";

    /// <summary>The dynamic controller's figures, in the same form.</summary>
    internal Func<string> Applications { get; set; } = () => "";

    /// <summary>The figures of this process's meters, in the same form.</summary>
    internal Func<string> Meters { get; set; } = () => "";

    /// <summary>Figures of further modules in this process, in the same form.</summary>
    public Func<string> More { get; set; } = () => "";

    /// <summary>Writes of sync records, deletes included.</summary>
    public long SyncRecordWrites => Interlocked.Read(ref _syncRecordWrites);

    /// <summary>Objects that an edge confirmed as stored.</summary>
    public long Acks => Interlocked.Read(ref _acks);

    /// <summary>Sends of an object after its first.</summary>
    public long Resends => Interlocked.Read(ref _resends);

    /// <summary>Objects that an edge could not store.</summary>
    public long Refusals => Interlocked.Read(ref _refusals);

    /// <summary>Messages received from edges.</summary>
    public long Upstream => Interlocked.Read(ref _upstream);

    /// <summary>What was lost to a full queue, of all queues.</summary>
    public long Drops => Interlocked.Read(ref _objectDrops) + Interlocked.Read(ref _messageDrops) + Interlocked.Read(ref _upstreamDrops) + Interlocked.Read(ref _eventDrops) + Interlocked.Read(ref _syncRecordDrops);

    /// <summary>Reads how many objects were sent and not answered.</summary>
    public Func<int> InFlight { get; set; } = () => 0;

    /// <summary>Reads how many pages of the dashboard listen.</summary>
    internal Func<int> DashboardListeners { get; set; } = () => 0;

    /// <summary>Device reports that came in.</summary>
    public long DeviceReports => Interlocked.Read(ref _deviceReports);

    /// <summary>Writes of a DeviceStatus that came of them.</summary>
    public long DeviceWrites => Interlocked.Read(ref _deviceWrites);

    internal void ConnectionRefused() => Interlocked.Increment(ref _refusedConnections);

    internal void ConnectionAbandoned() => Interlocked.Increment(ref _abandonedConnections);

    internal void HandshakeFailed() => Interlocked.Increment(ref _failedHandshakes);

    internal void SyncRecordWritten() => Interlocked.Increment(ref _syncRecordWrites);

    internal void SyncRecordDropped() => Interlocked.Increment(ref _syncRecordDrops);

    /// <summary>Requests of edges for what is not theirs; each was refused with 403 or answered as such.</summary>
    public long ForbiddenRequests => Interlocked.Read(ref _forbidden);

    /// <summary>Reads how many clients were accepted with a certificate of a former CA.</summary>
    internal Func<long> FormerCaClients { get; set; } = () => 0;

    internal void Forbidden() => Interlocked.Increment(ref _forbidden);

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
        var (nodes, objects, messages, requests, admissions) = Gauges();
        // KubeEdge's own name for this one, so that dashboards keep working.
        Write(text, "KubeEdge_CloudHub_connected_nodes", "gauge", "Nodes connected to this cloudcore.", nodes);
        Write(text, "edge_cloudhub_queue_depth{queue=\"objects\"}", "gauge", "Entries waiting or unanswered, by queue.", objects);
        Write(text, "edge_cloudhub_queue_depth{queue=\"messages\"}", null, null, messages);
        Write(text, "edge_cloudhub_queue_depth{queue=\"upstream\"}", null, null, requests);
        Write(text, "edge_cloudhub_queue_depth{queue=\"admissions\"}", null, null, admissions);
        Write(text, "edge_cloudhub_queue_depth{queue=\"syncrecords\"}", null, null, WaitingSyncRecords());
        Write(text, "edge_cloudhub_in_flight", "gauge", "Objects sent to edges and not answered.", InFlight());
        Write(text, "edge_dashboard_listeners", "gauge", "Pages of the dashboard that listen, at most 64.", DashboardListeners());
        Write(text, "edge_cloudstream_streams", "gauge", "Streams to nodes (logs, exec, attach, port-forward) waiting or open.", NodeStreams());
        var (tunnels, stalls) = Tunnels();
        Write(text, "edge_cloudstream_tunnels", "gauge", "Tunnels that stock edges dialed.", tunnels);
        Write(text, "edge_cloudstream_tunnel_stalls_total", "counter", "Streams ended because their reader held up the others in a stock edge's tunnel.", stalls);
        Write(text, "edge_cloudhub_queue_drops_total{queue=\"objects\"}", "counter", "Entries lost to a full queue, by queue; upstream: messages of edges that nobody takes.", Interlocked.Read(ref _objectDrops));
        Write(text, "edge_cloudhub_queue_drops_total{queue=\"messages\"}", null, null, Interlocked.Read(ref _messageDrops));
        Write(text, "edge_cloudhub_queue_drops_total{queue=\"upstream\"}", null, null, Interlocked.Read(ref _upstreamDrops));
        Write(text, "edge_cloudhub_queue_drops_total{queue=\"events\"}", null, null, Interlocked.Read(ref _eventDrops));
        Write(text, "edge_cloudhub_queue_drops_total{queue=\"syncrecords\"}", null, null, Interlocked.Read(ref _syncRecordDrops));
        Write(text, "edge_cloudhub_refused_connections_total", "counter", "Connections refused with a reason, or because too many waited.", Interlocked.Read(ref _refusedConnections));
        Write(text, "edge_cloudhub_abandoned_connections_total", "counter", "Connections that their peers gave up while they waited for their handshake.", Interlocked.Read(ref _abandonedConnections));
        Write(text, "edge_cloudhub_failed_handshakes_total", "counter", "Connections that did not get through TLS and the request's head in time.", Interlocked.Read(ref _failedHandshakes));
        Write(text, "edge_cloudhub_acks_total", "counter", "Objects that an edge confirmed as stored.", Acks);
        Write(text, "edge_cloudhub_resends_total", "counter", "Objects sent again for want of an answer.", Resends);
        Write(text, "edge_cloudhub_refusals_total", "counter", "Objects that an edge could not store.", Interlocked.Read(ref _refusals));
        Write(text, "edge_cloudhub_upstream_messages_total", "counter", "Messages received from edges.", Interlocked.Read(ref _upstream));
        Write(text, "edge_synccontroller_record_writes_total", "counter", "Writes of ObjectSync and ClusterObjectSync, deletes included.", SyncRecordWrites);
        Write(text, "edge_cloudhub_forbidden_total", "counter", "Requests of edges for what is not theirs.", ForbiddenRequests);
        Write(text, "edge_cloudhub_former_ca_clients_total", "counter", "Clients accepted with a certificate of the CA before the rollover.", FormerCaClients());
        Write(text, "edge_devicecontroller_reports_total", "counter", "Device reports received.", DeviceReports);
        Write(text, "edge_devicecontroller_status_writes_total", "counter", "DeviceStatus writes made of them.", DeviceWrites);
        return text.Append(Router()).Append(Applications()).Append(More()).Append(Meters()).ToString();
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
