using System.Buffers;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Edge.Cloud.Dashboard;

/// <summary>The JSON of the page's API. Field names are short where there are thousands of rows.</summary>
internal static class DashboardJson
{
    /// <summary>Objects of a node's queue that are named; the rest is counted.</summary>
    public const int QueueMax = 50;

    private static readonly JsonWriterOptions s_options = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static byte[] Of(Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>(1024);
        using (var json = new Utf8JsonWriter(buffer, s_options))
            write(json);
        return buffer.WrittenSpan.ToArray();
    }

    public static byte[] Overview(FleetModel model, DashboardState state)
    {
        var counts = model.Counts();
        var depth = state.Sync.Depth;
        var metrics = state.Metrics;
        var (sessions, _, _, requests, admissions) = metrics.Gauges();
        return Of(json =>
        {
            json.WriteStartObject();
            Counts(json, "nodes", counts.Nodes);
            Counts(json, "pods", counts.Pods);
            Counts(json, "devices", counts.Devices);
            json.WriteStartObject("hub");
            json.WriteNumber("sessions", sessions);
            json.WriteNumber("inFlight", state.Sync.InFlight);
            json.WriteNumber("objects", depth.Objects);
            json.WriteNumber("messages", depth.Messages);
            json.WriteNumber("upstream", requests);
            json.WriteNumber("admissions", admissions);
            json.WriteNumber("syncRecords", metrics.WaitingSyncRecords());
            json.WriteNumber("streams", metrics.NodeStreams());
            json.WriteEndObject();
            json.WriteStartObject("totals");
            json.WriteNumber("acks", metrics.Acks);
            json.WriteNumber("resends", metrics.Resends);
            json.WriteNumber("refusals", metrics.Refusals);
            json.WriteNumber("upstream", metrics.Upstream);
            json.WriteNumber("reports", metrics.DeviceReports);
            json.WriteNumber("drops", metrics.Drops);
            json.WriteEndObject();
            json.WriteStartObject("process");
            json.WriteString("version", typeof(DashboardJson).Assembly.GetName().Version?.ToString(3));
            json.WriteNumber("startedMs", state.StartedAt.ToUnixTimeMilliseconds());
            json.WriteNumber("memory", Environment.WorkingSet);
            json.WriteBoolean("gslb", state.HasGslb);
            json.WriteEndObject();
            json.WriteEndObject();
        });
    }

    /// <summary>Rows of nodes: n name, h health, r reason, g group, v version, p pods, l connected here, t when the link changed, c cordoned, a labels.</summary>
    public static void Nodes(Utf8JsonWriter json, IEnumerable<NodeView> nodes)
    {
        json.WriteStartArray("nodes");
        foreach (var node in nodes)
        {
            json.WriteStartObject();
            json.WriteString("n", node.Row.Name);
            json.WriteString("h", node.Health);
            if (node.Row.Reason.Length > 0 && node.Health != "ready")
                json.WriteString("r", node.Row.Reason);
            if (node.Row.Group.Length > 0)
                json.WriteString("g", node.Row.Group);
            json.WriteString("v", node.Row.Version);
            json.WriteNumber("p", node.Pods);
            if (node.Link is { } link)
            {
                json.WriteBoolean("l", link.IsConnect);
                json.WriteNumber("t", link.At.ToUnixTimeMilliseconds());
            }

            if (node.Row.IsCordoned)
                json.WriteBoolean("c", true);
            json.WriteStartObject("a");
            foreach (var (key, value) in node.Row.Labels)
                json.WriteString(key, value);
            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    public static byte[] Node(FleetModel model, NodeView node, DashboardState state) => Of(json =>
    {
        var row = node.Row;
        json.WriteStartObject();
        foreach (var (name, text) in ((string, string)[])[("name", row.Name), ("health", node.Health), ("reason", row.Reason), ("group", row.Group), ("version", row.Version), ("runtime", row.Runtime),
            ("address", row.Address), ("platform", row.Platform), ("created", row.Created), ("cpu", row.Cpu), ("memory", row.Memory)])
            json.WriteString(name, text);
        json.WriteBoolean("cordoned", row.IsCordoned);
        json.WriteStartObject("labels");
        foreach (var (key, value) in row.Labels)
            json.WriteString(key, value);
        json.WriteEndObject();
        json.WriteStartArray("conditions");
        foreach (var one in row.Conditions)
        {
            json.WriteStartObject();
            json.WriteString("type", one.Type);
            json.WriteString("status", one.Status);
            json.WriteString("reason", one.Reason);
            json.WriteString("message", one.Message);
            json.WriteString("since", one.Since);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        Session(json, node, state);
        json.WriteStartArray("links");
        foreach (var one in state.Links.Of(row.Name, 100))
        {
            json.WriteStartObject();
            json.WriteNumber("at", one.At.ToUnixTimeMilliseconds());
            json.WriteBoolean("connect", one.IsConnect);
            json.WriteString("detail", one.Detail);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("pods");
        foreach (var pod in model.PodsOf(row.Name))
        {
            json.WriteStartObject();
            json.WriteString("namespace", pod.Namespace);
            json.WriteString("name", pod.Name);
            json.WriteString("phase", pod.Phase);
            json.WriteString("reason", pod.Reason);
            json.WriteString("ready", $"{pod.Ready}/{pod.Containers}");
            json.WriteNumber("restarts", pod.Restarts);
            json.WriteString("ip", pod.Ip);
            json.WriteString("created", pod.Created);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        Devices(json, model.Devices(row.Name));
        json.WriteEndObject();
    });

    /// <summary>Rows of devices: s namespace, n name, o node, m model, p protocol, t state, l last online, w problems, v values of the first properties.</summary>
    public static void Devices(Utf8JsonWriter json, IEnumerable<(DeviceRow Device, DeviceStatusRow Status)> devices)
    {
        json.WriteStartArray("devices");
        foreach (var (device, status) in devices)
        {
            json.WriteStartObject();
            json.WriteString("s", device.Namespace);
            json.WriteString("n", device.Name);
            json.WriteString("o", device.Node);
            json.WriteString("m", device.Model);
            json.WriteString("p", device.Protocol);
            json.WriteString("t", status.State);
            json.WriteString("l", status.LastOnline);
            json.WriteNumber("w", status.Problems.Count);
            json.WriteStartArray("v");
            foreach (var twin in status.Twins.Take(3))
                json.WriteStringValue($"{twin.Property} {(twin.Reported.Length > 24 ? twin.Reported[..24] + "…" : twin.Reported)}");
            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    public static byte[] Device(DeviceRow device, DeviceStatusRow status) => Of(json =>
    {
        json.WriteStartObject();
        foreach (var (name, text) in ((string, string)[])[("namespace", device.Namespace), ("name", device.Name), ("node", device.Node), ("model", device.Model), ("protocol", device.Protocol),
            ("state", status.State), ("lastOnline", status.LastOnline)])
            json.WriteString(name, text);
        json.WriteStartArray("problems");
        foreach (var problem in status.Problems)
            json.WriteStringValue(problem);
        json.WriteEndArray();
        json.WriteStartArray("twins");
        foreach (var property in device.Properties.Concat(status.Twins.Select(twin => twin.Property)).Distinct())
        {
            var twin = status.Twins.FirstOrDefault(one => one.Property == property);
            json.WriteStartObject();
            json.WriteString("property", property);
            json.WriteString("desired", device.Desired.GetValueOrDefault(property));
            json.WriteString("observed", twin?.Observed);
            json.WriteString("reported", twin?.Reported);
            json.WriteNumber("at", twin?.ReportedMs ?? 0);
            json.WriteString("error", twin?.Error ?? "");
            json.WriteString("type", twin?.Type ?? "");
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    public static byte[] Series(Sample[] samples) => Of(json =>
    {
        json.WriteStartArray();
        foreach (var sample in samples)
        {
            json.WriteStartArray();
            json.WriteNumberValue(sample.UnixMs);
            json.WriteNumberValue(sample.Value);
            json.WriteEndArray();
        }

        json.WriteEndArray();
    });

    public static byte[] Services(FleetModel model, DashboardState state) => Of(json =>
    {
        json.WriteStartObject();
        json.WriteBoolean("served", state.HasGslb);
        json.WriteStartArray("services");
        foreach (var service in model.Services())
        {
            json.WriteStartObject();
            json.WriteString("namespace", service.Namespace);
            json.WriteString("name", service.Name);
            json.WriteString("policy", service.Policy);
            json.WriteString("ready", service.Ready);
            json.WriteString("message", service.Message);
            json.WriteStartArray("hosts");
            foreach (var host in service.Hosts)
                json.WriteStringValue(host);
            json.WriteEndArray();
            json.WriteStartArray("endpoints");
            foreach (var one in service.Endpoints)
            {
                json.WriteStartObject();
                foreach (var (name, text) in ((string, string)[])[("name", one.Name), ("addresses", one.Addresses), ("node", one.Node), ("state", one.State), ("reason", one.Reason), ("location", one.Location)])
                    json.WriteString(name, text);
                if (one is { Latitude: { } latitude, Longitude: { } longitude })
                {
                    json.WriteNumber("latitude", latitude);
                    json.WriteNumber("longitude", longitude);
                }

                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("clients");
        foreach (var one in state.Clients())
        {
            json.WriteStartObject();
            json.WriteString("service", one.Service);
            json.WriteString("endpoint", one.Endpoint);
            json.WriteString("location", one.Location);
            json.WriteNumber("answers", one.Answers);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });

    public static byte[] Events(IEnumerable<EventRow> events) => Of(json =>
    {
        json.WriteStartArray();
        foreach (var one in events)
        {
            json.WriteStartObject();
            foreach (var (name, text) in ((string, string)[])[("uid", one.Uid), ("time", one.Time), ("type", one.Type), ("reason", one.Reason), ("kind", one.Kind), ("namespace", one.Namespace),
                ("name", one.Name), ("message", one.Message), ("source", one.Source)])
                json.WriteString(name, text);
            json.WriteNumber("count", one.Count);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    });

    private static void Session(Utf8JsonWriter json, NodeView node, DashboardState state)
    {
        if (state.SessionOf(node.Row.Name) is not { } session)
        {
            json.WriteNull("session");
            return;
        }

        json.WriteStartObject("session");
        json.WriteString("wire", session.IsEdgeWire ? "Edge" : "KubeEdge");
        json.WriteNumber("since", node.Link is { IsConnect: true } link ? link.At.ToUnixTimeMilliseconds() : 0);
        json.WriteNumber("objects", session.Depth.Objects);
        json.WriteNumber("messages", session.Depth.Messages);
        json.WriteNumber("inFlight", session.InFlight);
        json.WriteStartArray("queue");
        foreach (var one in session.Queued(QueueMax))
        {
            json.WriteStartObject();
            json.WriteString("resource", one.Resource);
            json.WriteString("operation", one.Operation);
            json.WriteString("version", one.Version.ToString(CultureInfo.InvariantCulture));
            json.WriteNumber("attempts", one.Attempts);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void Counts(Utf8JsonWriter json, string name, Dictionary<string, int> counts)
    {
        json.WriteStartObject(name);
        foreach (var (key, count) in counts.Where(pair => pair.Value > 0))
            json.WriteNumber(key.Length > 0 ? key : "unknown", count);
        json.WriteEndObject();
    }
}
